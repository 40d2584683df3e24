"""Several source classes: how many samples, of which classes, and Armory's own draw for one class."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from art.attacks.poisoning import PoisoningAttackBackdoor

from art_plugins.attacks.zoo.attack import CleanLabel, SourceSpecific
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


def zoo_poisoner(attack: Any, sources: list[int], fraction: float = 0.25) -> Any:
    from armory_scenarios.poisoners import ZooPoisoner

    return ZooPoisoner(attack, sources, 3, fraction, random_state=5)


def test_zoo_poisoner_refuses_sources_that_leave_out_a_class_that_is_poisoned() -> None:
    x = np.zeros((len(LABELS), 3), dtype=np.float32)
    with pytest.raises(InvalidInputError, match=r"every class but the target 3, and source_class leaves out \[1, 2\]"):
        zoo_poisoner(CleanLabel(lambda batch: batch + 1), [0]).poison_dataset(x, LABELS)


def test_zoo_poisoner_poisons_the_share_of_the_whole_set_as_the_attack_does() -> None:
    x = np.random.default_rng(0).uniform(size=(len(LABELS), 3)).astype(np.float32)
    attack = CleanLabel(lambda batch: batch + 1)
    done = attack.poison(x, LABELS, 5 / len(LABELS), 3, random_state=5)
    x_poison, y_poison, rows = zoo_poisoner(attack, [0, 1, 2], 5 / len(LABELS)).poison_dataset(x, LABELS, return_index=True)
    assert len(rows) == 5
    assert (LABELS[rows] == 3).all()  # no label changes, so the target class is poisoned
    np.testing.assert_array_equal(y_poison, LABELS)
    np.testing.assert_array_equal(x_poison, done.x)
    np.testing.assert_array_equal(rows, np.flatnonzero(done.is_poison))


def test_zoo_poisoner_stamps_every_sample_of_the_sources_at_test_time() -> None:
    x = np.zeros((len(LABELS), 3), dtype=np.float32)
    x_stamped, y_stamped = zoo_poisoner(SourceSpecific(lambda batch: batch + 1, 1), [1]).poison_dataset(
        x, LABELS, fraction=1.0
    )
    assert (x_stamped[LABELS == 1] == 1).all()
    assert (x_stamped[LABELS != 1] == 0).all()
    np.testing.assert_array_equal(y_stamped, np.where(LABELS == 1, 3, LABELS))
    assert not x.any()


@pytest.mark.parametrize("sources", [[0], [1, 2], [1, 3]])
def test_zoo_poisoner_of_other_sources_is_refused(sources: list[int]) -> None:
    with pytest.raises(InvalidInputError, match="works on class 1 alone"):
        zoo_poisoner(SourceSpecific(lambda batch: batch, 1), sources)
