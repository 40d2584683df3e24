"""A search that has not converged neither accuses its class, nor acquits it, nor makes another class look small."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.features.vae.training import seeded
from art_plugins.inspection.detect_record import ALSO_ABOVE, NOT_APART, NOTHING_FOUND, SCREENED, UNFINISHED, rank_classes
from art_plugins.inspection.detect_words import detector_cautions, finding
from art_plugins.statistics.outliers import highest, strongest_index
from art_plugins.triggers.found import INDEX_RULE, Inversion, InvertedTriggers, accused_class, listed
from art_plugins.triggers.inversion import invert_triggers
from art_plugins.triggers.searching import inverted
from art_plugins.triggers.searching.forms import Patch
from art_plugins.triggers.searching.inverted import invert_patterns
from art_plugins.triggers.searching.search import QUIET_WINDOWS, PatternSearch, Search, SearchSettings

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
NAMES = [f"class {label}" for label in range(6)]


def compared(
    monkeypatch: Any, norms: list[float], converged: list[bool], rates: list[float] | None = None
) -> InvertedTriggers:
    """What is said of searches that ended with these norms and success rates; the smallest that counts is .9."""

    class Ended:
        form = Patch

        def __init__(self, *_: Any) -> None:
            self.masks = torch.tensor(norms)[:, None, None, None] * torch.ones(1, 1, 2, 2) / 4
            self.patterns = torch.ones(len(norms), 1, 2, 2)
            self.converged, self.broke_off = np.array(converged), np.zeros(len(norms), dtype=bool)

        def run(self) -> None:
            pass

        def success_rates(self) -> np.ndarray:
            return np.array(rates or [1.0] * len(norms))

    monkeypatch.setattr(inverted, "PatternSearch", Ended)
    model: Any = type("Model", (), {"low": 0.0, "range": 1.0})
    searches = [Search(torch.arange(3), label) for label in range(len(norms))]
    settings = SearchSettings(100, 8, 0.9, verbose=False)
    return invert_patterns(model, "patch", torch.zeros(3, 1, 2, 2), searches, [np.ones(len(norms))], settings)


def test_search_that_did_not_converge_has_no_index_however_small_its_pattern(monkeypatch):
    one = compared(monkeypatch, [0.01, 8, 9, 10, 11, 12], [False, True, True, True, True, True])
    assert np.isnan(one.anomaly_index[0])
    assert one.unfinished.tolist() == [True, False, False, False, False, False]
    rest = compared(monkeypatch, [8.0, 9, 10, 11, 12], [True] * 5)
    np.testing.assert_allclose(one.anomaly_index[1:], rest.anomaly_index)


def test_pattern_below_min_success_has_no_index_and_counts_as_one_that_is_not_small(monkeypatch):
    one = compared(monkeypatch, [0.01, 8, 9, 10, 11], [True] * 5, [0.89, 0.9, 1, 1, 1])
    np.testing.assert_array_equal(np.isfinite(one.anomaly_index), [False, True, True, True, True])
    large = compared(monkeypatch, [11.0, 8, 9, 10, 11], [True] * 5)
    np.testing.assert_allclose(one.anomaly_index[1:], large.anomaly_index[1:])


def test_searches_that_are_still_large_do_not_make_a_finished_one_look_small(monkeypatch):
    norms = [20.0, 21, 22, 100, 101, 102, 103, 104, 105]
    one = compared(monkeypatch, norms, [True] * 3 + [False] * 6)
    assert np.nanmax(one.anomaly_index) < 1
    assert compared(monkeypatch, norms, [True] * 9).anomaly_index[0] > 6  # an alarm, if all had converged


def state(kind: str, index: list[float], unfinished: list[bool], norms: list[float] | None = None) -> InvertedTriggers:
    """Patterns of 2 x 2 with these indices."""
    k, nothing = len(index), np.zeros(len(index), dtype=bool)
    numbers = np.array(norms if norms else range(1, k + 1), dtype=float)
    shapes = np.ones((k, 1, 2, 2)), np.ones((k, 1, 2, 2))
    return InvertedTriggers(
        kind, *shapes, numbers, np.full(k, 0.99), np.array(index), (0.0, 1.0), nothing, np.array(unfinished)
    )


def result(*kinds: InvertedTriggers, threshold: float = 4.2) -> Inversion:
    index = strongest_index([one.anomaly_index for one in kinds])
    target = accused_class(index, threshold)
    kind, rate = (None, None) if target is None else (kinds[0].kind, 0.99)
    return Inversion(kinds, np.ones(len(index)), index, target, kind, rate, () if target is None else kinds)


def test_unfinished_search_of_the_right_class_does_not_hand_the_alarm_to_a_clean_class():
    # As it was on ten classes of photographs: the patch towards class 1 was still large when the steps were over, and
    # the sum of its indices fell below that of class 2, which is clean.
    nan = np.nan
    patch, additive = [0.5, -3.0, 3.2, -0.5, 0.1, -0.2], [0.0, 6.5, 2.9, -0.1, 0.3, -0.3]
    summed = (np.array(patch) + additive) / np.sqrt(2)
    assert highest(summed, 4.2) == 2
    patch[1] = nan
    found = result(state("patch", patch, [False, True] + 4 * [False]), state("additive", additive, [False] * 6))
    assert found.target_class == 1
    assert found.undecided == []  # its additive pattern says enough


def test_without_an_alarm_unfinished_searches_leave_the_model_undecided_in_every_sentence():
    nan = np.nan
    found = result(
        state("patch", [0.5, nan, 1.0, nan, 0.0, -1], [False, True, False, True, False, False]),
        state("additive", [0.5, 0.2, 1.0, 0.4, nan, -1], [False, False, False, False, True, False]),
    )
    assert (found.target_class, found.unfinished, found.undecided) == (None, [1, 3, 4], [1, 3, 4])
    assert found.sentence().startswith("Not decided: the search for class 1, 3, 4 did not converge, so give more steps;")
    words = finding(found, NAMES, 4.2, None)
    assert words.startswith("The result is not decided. The search for a pattern towards class 1, class 3, class 4 did not")
    assert "--nb-steps" in words
    assert "No backdoor" not in words + found.sentence()
    verdicts = {row["label"]: row["verdict"] for row in rank_classes(found, NAMES, 4.2)}
    assert [verdicts[label] for label in range(6)] == [
        NOTHING_FOUND,
        UNFINISHED,
        NOTHING_FOUND,
        UNFINISHED,
        UNFINISHED,
        NOTHING_FOUND,
    ]
    rows = {row["label"]: row["patterns"] for row in rank_classes(found, NAMES, 4.2)}
    assert [rows[1][kind]["converged"] for kind in ("patch", "additive")] == [False, True]


def test_with_an_alarm_unfinished_searches_are_a_caution_and_other_alarms_stay():
    found = result(
        state("patch", [6.0, np.nan, 1.0, np.nan, 0.0, -1], [False, True, False, True, False, False]),
        state("additive", [5.0, 4.9, 1.0, 0.4, 0.0, -1], [False] * 6),
    )
    assert found.target_class == 0
    assert "But the search for class 1, 3 did not converge" in found.sentence()
    assert "towards class 1, class 3 did not converge" in detector_cautions(0.99, found, 4.2, NAMES)[0]
    verdicts = {row["label"]: row["verdict"] for row in rank_classes(found, NAMES, 4.2)}
    assert (verdicts[1], verdicts[3]) == (ALSO_ABOVE, UNFINISHED)


def test_class_that_is_near_to_the_next_one_is_not_accused_and_every_sentence_says_why():
    near = result(state("patch", [5.0, 4.0, 0.5, 0.1, -0.5, -1], [False] * 6))
    assert near.target_class is None
    words = finding(near, NAMES, 4.2, None)
    assert "It is above the threshold, but it lies only 1.00 above the next class" in words
    verdicts = {row["label"]: row["verdict"] for row in rank_classes(near, NAMES, 4.2)}
    assert [verdicts[label] for label in range(3)] == [NOT_APART, NOTHING_FOUND, NOTHING_FOUND]
    apart = result(state("patch", [5.0, 2.0, 0.5, 0.1, -0.5, -1], [False] * 6))
    assert apart.target_class == 0
    assert "lies only" not in finding(result(state("patch", [4.0, 3.9, 0, 0, 0, 0], [False] * 6)), NAMES, 4.2, None)


def test_screened_class_has_its_own_verdict_and_no_numbers():
    one = state("patch", [1.0, np.nan, 0.5], [False] * 3, [3.0, np.nan, 4.0])._replace(
        screened=np.array([False, True, False])
    )
    row = rank_classes(result(one), NAMES[:3], 4.2)[-1]
    assert (row["verdict"], row["index"], row["patterns"]["patch"]["norm"]) == (SCREENED, None, None)


def test_rule_says_what_a_search_that_did_not_converge_means():
    assert "did not converge counts neither for its class nor in the comparison" in INDEX_RULE
    assert "not outvoted" in INDEX_RULE


def test_listed_names_the_first_ten_and_counts_the_rest():
    assert listed("abc") == "a, b, c"
    assert listed(map(str, range(12))) == "0, 1, 2, 3, 4, 5, 6, 7, 8, 9 and 2 more"


@pytest.fixture
def classifier(digits):
    network = digits.network("white_square")
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu")


def test_after_few_steps_of_a_backdoored_model_nothing_is_decided(digits, classifier):
    found = invert_triggers(classifier, digits.x_clean, digits.y_clean, kinds=["patch"], nb_steps=30, verbose=False)
    assert found.inverted[0].unfinished.all()
    assert np.isnan(found.anomaly_index).all()
    assert found.sentence().startswith("Not decided: the search for class 0, 1, 2, 3, 4, 5, 6, 7, 8, 9 did not converge")


@pytest.mark.parametrize(("factor", "settled"), [(1.0, True), (1.2, True), (1.4, False), (np.inf, False)])
def test_search_at_its_last_step_has_converged_if_its_pattern_hardly_shrinks(factor, settled, monkeypatch):
    # A patch's usual standard deviation is .25; log 1.2 = .18 and log 1.4 = .34.
    model: Any = type("Model", (), {"channels_first": True, "device": "cpu"})
    with seeded(0):
        search = PatternSearch(
            model, "patch", torch.zeros(3, 1, 2, 2), [Search(torch.arange(3), 0)], SearchSettings(0, 1, 0.9, verbose=False)
        )
    search._best_sizes = [np.array([5.0 * factor])] + [np.array([5.0])] * QUIET_WINDOWS
    search._best = np.array([5.0])
    monkeypatch.setattr(type(search._schedule), "has_turned", property(lambda _: np.array([True])))
    search.run()
    assert search.converged.tolist() == [settled]
    monkeypatch.setattr(type(search._schedule), "has_turned", property(lambda _: np.array([False])))
    search.converged[:] = False
    search.run()
    assert not search.converged.any()
