"""The form of the numbers in tables."""

from __future__ import annotations

import pytest

from art_plugins.reports.tables import DASH, fixed


@pytest.mark.parametrize(
    ("value", "expected"),
    [(-0.0004, "0.000"), (-0.0006, "-0.001"), (0.0005001, "0.001"), (-0.0, "0.000"), (1, "1.000")],
)
def test_fixed_gives_zero_no_sign(value: float, expected: str) -> None:
    assert fixed(value, 3) == expected


@pytest.mark.parametrize("value", [None, float("nan"), float("inf")])
def test_fixed_what_is_not_known_is_a_dash(value: float | None) -> None:
    assert fixed(value, 2) == DASH
