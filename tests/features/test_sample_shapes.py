"""Which axis has the colours: what the shape says, and where it contradicts the user."""

from __future__ import annotations

import pytest

from art_plugins.errors import InvalidInputError
from art_plugins.features.sample_shapes import has_channels_first


@pytest.mark.parametrize(
    ("shape", "said"), [((32, 32, 3), True), ((28, 28, 1), True), ((3, 32, 32), False), ((1, 28, 28), False)]
)
def test_colours_on_the_other_axis_are_refused_with_the_remedy(shape: tuple[int, ...], said: bool) -> None:
    with pytest.raises(InvalidInputError, match=f"channels_first is {said}.*give channels_first={not said}"):
        has_channels_first(shape, said)


@pytest.mark.parametrize(
    ("shape", "said"),
    [
        ((12, 1000, 1), True),
        ((6, 128, 1), True),
        ((3, 3, 103), False),
        ((3, 32, 32), True),
        ((32, 32, 3), False),
        ((12, 32, 32), True),
    ],
)
def test_many_channels_are_taken_as_the_user_says(shape: tuple[int, ...], said: bool) -> None:
    assert has_channels_first(shape, said) is said
