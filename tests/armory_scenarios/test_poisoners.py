"""Several source classes: how many samples, of which classes, and Armory's own draw for one class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from art.attacks.poisoning import PoisoningAttackBackdoor

from art_plugins.errors import InvalidInputError

pytestmark = pytest.mark.usefixtures("engine")
LABELS = np.repeat(np.arange(4), [10, 25, 40, 7])


def poisoner(sources: list[int], target: int = 3, fraction: float = 0.2) -> Any:
    from armory_scenarios.poisoners import ManySourcesPoisoner

    return ManySourcesPoisoner(PoisoningAttackBackdoor(lambda x: x + 1), sources, target, fraction)


def test_poison_dataset_takes_the_fraction_of_every_source_class() -> None:
    np.random.seed(0)  # noqa: NPY002  # what the scenario does
    x = np.zeros((len(LABELS), 2), dtype=np.float32)
    x_poison, y_poison, rows = poisoner([0, 1, 2]).poison_dataset(x, LABELS, return_index=True)
    assert np.bincount(LABELS[rows], minlength=4).tolist() == [2, 5, 8, 0]
    assert (y_poison[rows] == 3).all()
    assert (x_poison[rows] == 1).all()
    others = np.delete(np.arange(len(LABELS)), rows)
    assert np.array_equal(y_poison[others], LABELS[others])
    assert (x_poison[others] == 0).all()


def test_poison_index_of_one_class_is_armorys() -> None:
    from armory.scenarios.poison import DatasetPoisoner

    np.random.seed(3)  # noqa: NPY002
    expected = DatasetPoisoner(None, 2, 3, 0.5).get_poison_index(LABELS)
    np.random.seed(3)  # noqa: NPY002
    assert np.array_equal(poisoner([2], fraction=0.5).get_poison_index(LABELS), expected)


def test_poison_index_of_a_batch_without_sources_is_empty_and_silent(capfd: pytest.CaptureFixture[str]) -> None:
    assert len(poisoner([0, 1]).get_poison_index(np.full(5, 3), fraction=1.0)) == 0
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize("sources", [[], [1, 1], [1, 3]])
def test_poisoner_bad_sources_are_refused(sources: list[int]) -> None:
    with pytest.raises(InvalidInputError, match="each once; received"):
        poisoner(sources)
