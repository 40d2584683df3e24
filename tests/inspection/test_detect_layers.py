"""The second question of a detection, which needs no pattern: do images contradict themselves at the model's layers?"""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from art_plugins.errors import InvalidInputError
from art_plugins.inspection.detect_words import finding
from art_plugins.inspection.isolation import messages
from art_plugins.inspection.isolation.judge import FittedLayers, Judgement, LayerJudgement, evenly, too_few_for
from art_plugins.inspection.judged import Judged
from art_plugins.inspection.settings import DetectSettings
from art_plugins.inspection.verdicts.by_layers import BACKDOOR, DIFFERENT, NOTHING, exceedance_probability, layer_verdict
from art_plugins.inspection.verdicts.images import image_verdicts, share_of_layers
from art_plugins.inspection.verdicts.words import layer_notes
from art_plugins.statistics.layer_scores import CONTRADICTING, QUESTIONS, fit_contradiction
from art_plugins.statistics.thresholds import threshold_at_fpr
from art_plugins.triggers.found import Inversion, InvertedTriggers

NAMES = ["ant", "bee", "cat"]
FITTED = FittedLayers(0.01, 2.0, 0.0, 1000, ["1", "3"])


def said(n: int, standing_out: int, contradicting: int, moved: float = 0.0) -> LayerJudgement:
    """Of n images, the first stand out; of these, the first contradict themselves; the others lie around ``moved``."""
    rows = np.arange(n)
    scores = np.where(rows < standing_out, 4.0 - rows / n, moved + np.where(rows % 2, 0.5, -0.5))
    return LayerJudgement(scores, rows < standing_out, rows < contradicting, rows % 3, np.where(rows % 2, 0.9, 0.4))


def judged(layers: LayerJudgement | None, by_pattern: int = 0) -> Judged:
    n = 300 if layers is None else len(layers.scores)
    is_trigger = np.arange(n) < by_pattern
    files = [f"{row:03}.png" for row in range(n)]
    scores = np.where(is_trigger, 9.0, np.nan)
    return Judged(files, np.zeros(n, int), is_trigger, np.where(is_trigger, 2, -1), scores, {}, {}, layers)


def made_up(target: int | None = None, unfinished: bool = False) -> Inversion:
    index = np.array([1.0, 2.0, 5.0 if target is not None else 0.5])
    states = {"unfinished": np.array([unfinished, False, False])}
    ones = np.ones((3, 1, 8, 8))
    one = InvertedTriggers("patch", ones, ones, np.arange(1.0, 4), np.full(3, 0.99), index, (0.0, 1.0), **states)
    return Inversion((one,), np.ones(3), index, target, *((None, None) if target is None else ("patch", 0.99)))


# The answer for the model


@pytest.mark.parametrize(
    ("n", "standing_out", "contradicting", "expected"),
    [
        (300, 3, 0, NOTHING),
        (300, 6, 4, NOTHING),  # as chance has it
        (300, 150, 60, BACKDOOR),
        (300, 300, 280, BACKDOOR),  # every image has the trigger
        (1000, 60, 40, BACKDOOR),  # a few have it
        (300, 200, 2, DIFFERENT),
        (300, 200, 0, DIFFERENT),
        (1, 1, 1, NOTHING),  # a single image accuses no model
        (3, 3, 3, BACKDOOR),
    ],
)
def test_layers_tell_a_backdoor_from_other_images(n, standing_out, contradicting, expected):
    found = layer_verdict(said(n, standing_out, contradicting), FITTED, 0.01)
    assert found.verdict == expected
    assert (found.n_judged, found.n_standing_out, found.n_contradicting) == (n, standing_out, contradicting)


@pytest.mark.parametrize("n_clean", [100, 1000])
def test_clean_images_are_called_a_backdoor_no_more_often_than_the_rate(n_clean, random):
    """Also if images contradict themselves twice as often as the trusted ones; with few trusted ones the bound is wider."""
    accused = []
    for _ in range(1000):
        trusted = random.normal(size=n_clean)
        threshold = threshold_at_fpr(trusted, CONTRADICTING)
        contradicts = (random.normal(size=(2, 400)) > threshold).any(axis=0)
        found = LayerJudgement(np.zeros(400), contradicts, contradicts, np.zeros(400, int), np.zeros(400))
        accused.append(layer_verdict(found, FITTED._replace(n_clean=n_clean), 0.05).has_backdoor)
    assert 0.005 < np.mean(accused) <= 0.065  # 0.05, with three standard errors


def test_exceedance_probability_is_that_of_drawn_scores(random):
    drawn = [(random.random(30) > np.sort(random.random(50))[-3]).sum() >= 4 for _ in range(4000)]
    assert exceedance_probability(4, 30, 0.04, 50) == pytest.approx(np.mean(drawn), abs=0.02)
    assert exceedance_probability(0, 30, 0.04, 50) == 1
    assert exceedance_probability(5, 10_000, 0.0, 10**9) < 1e-9


@pytest.mark.parametrize(
    ("standing_out", "contradicting", "moved", "expected"),
    [(290, 14, 0.0, True), (100, 30, 1.0, True), (100, 30, 0.0, False), (290, 30, 0.0, False), (290, 200, 1.0, False)],
)
def test_a_backdoor_among_other_images_is_both(standing_out, contradicting, moved, expected):
    """Few contradict themselves, or those that do not stand out have moved as well."""
    found = layer_verdict(said(300, standing_out, contradicting, moved), FITTED, 0.01)
    assert (found.has_backdoor, found.is_different, found.verdict) == (True, expected, BACKDOOR)


# The verdict on each image


def test_each_image_is_caught_by_either_detector_and_the_record_can_say_which():
    layers = said(300, 100, 60)
    images = image_verdicts(judged(layers, by_pattern=20), FITTED, 0.01)
    assert images.counts() == {"caught": 100, "caught_by_pattern": 20, "caught_by_layers": 100}
    assert [images.found_by(row) for row in (0, 50)] == ["pattern and layers", "layers"]


def test_the_source_comes_from_the_pattern_or_else_from_the_layers_where_they_are_sure_enough():
    one = judged(said(300, 100, 60), by_pattern=20)
    images = image_verdicts(one, FITTED, 0.01)
    assert images.source(one, 5) == (2, None)
    assert images.source(one, 51) == (0, 0.9)
    assert images.source(one, 50) is None
    without = judged(None, by_pattern=20)
    assert image_verdicts(without, FITTED, 0.01).source(without, 5) == (2, None)


def test_among_images_of_another_kind_only_those_that_contradict_themselves_are_caught():
    images = image_verdicts(judged(said(300, 200, 2)), FITTED, 0.01)
    assert np.flatnonzero(images.is_caught).tolist() == [0, 1]


def test_without_layers_the_pattern_judges_alone():
    images = image_verdicts(judged(None, by_pattern=20), FITTED, 0.01)
    assert images.counts() == {"caught": 20, "caught_by_pattern": 20, "caught_by_layers": 0}
    assert images.layers is None


def test_two_detectors_share_the_accepted_rate():
    assert share_of_layers(0.01, True) == 0.005
    assert share_of_layers(0.01, False) == 0.01


def test_images_that_the_pattern_catches_come_first_then_by_the_score_of_the_layers():
    scores, stand_out = np.array([1.0, np.inf, 7.0, 5.0]), np.array([False, True, True, True])
    layers = LayerJudgement(scores, stand_out, np.zeros(4, bool), np.zeros(4, int), np.zeros(4))
    one = Judged(
        list("abcd"),
        np.zeros(4, int),
        np.arange(4) == 0,
        np.array([1, -1, -1, -1]),
        np.array([2.0, np.nan, 0, 1]),
        {},
        {},
        layers,
    )
    assert one.by_score(np.ones(4, bool)).tolist() == [0, 1, 2, 3]
    assert one.by_score(np.array([False, True, False, True])).tolist() == [1, 3]


# In words


def test_finding_says_what_the_layers_say():
    def words(layers: LayerJudgement, inversion: Inversion | None = None) -> str:
        return finding(inversion or made_up(), NAMES, 4.2, image_verdicts(judged(layers), FITTED, 0.01), FITTED)

    unknown = words(said(300, 150, 60))
    assert unknown.startswith(
        "The model has a backdoor of unknown kind. No small pattern was found, but 60 of the 300 images"
    )
    assert unknown.endswith("150 of the 300 images carry the trigger.")
    assert "did not converge" in words(said(300, 150, 60), made_up(unfinished=True))
    different = words(said(300, 200, 2))
    assert different.startswith("No backdoor was found: no class stands out.")
    assert "The images are different from the trusted ones: 200 of the 300 stand out" in different
    assert "has a backdoor" not in different
    assert words(said(300, 1, 0)).endswith(
        "1 of the 300 images stands out at the layers of the model, no more than of clean images."
    )


def test_finding_without_images_or_layers_says_that_only_small_patterns_were_searched_for():
    assert "Only small patterns were searched for." in finding(made_up(), NAMES, 4.2, None, FITTED)
    few = FITTED._replace(problem=too_few_for(0.01, 60))
    text = finding(made_up(), NAMES, 4.2, None, few)
    assert "Only small patterns were searched for." in text
    assert text.endswith(
        "There are 60 clean images, and a threshold that 0.01 of them exceed needs at least 100; give more images with "
        "--clean, or a higher --false-alarm-rate."
    )
    assert too_few_for(0.005, 200) is too_few_for(0.01, 100) is None


def test_notes_say_which_detector_caught_and_that_layers_are_missing():
    both = image_verdicts(judged(said(300, 100, 60), by_pattern=20), FITTED, 0.01)
    (note,) = layer_notes(FITTED, both, has_pattern=True)
    assert note == "Of the caught images, 20 are caught by the pattern and 100 by the layers, 20 of them by both."
    (note,) = layer_notes(FITTED._replace(problem="Too few."), None, has_pattern=True)
    assert note.startswith("The layer-wise detector could not be fitted, so images are judged by the pattern alone.")
    other = image_verdicts(judged(said(300, 290, 14), by_pattern=20), FITTED, 0.01)
    assert layer_notes(FITTED, other, has_pattern=False)[0].startswith("Most images that stand out are different")


def test_a_note_says_that_a_script_without_known_activation_functions_shows_its_last_layers_only():
    images = image_verdicts(judged(said(300, 1, 0)), FITTED, 0.01)
    assert layer_notes(FITTED, images, has_pattern=False) == []
    for names in (["heads.0", ""], ["network.heads.1", ""]):
        (note,) = layer_notes(FITTED._replace(layers=names), images, has_pattern=False)
        assert note.startswith("This TorchScript file has no activation function that is known")
    for names in (["heads.head"], ["shown.0", ""]):  # a layer of torchvision's ViT has the first name
        assert layer_notes(FITTED._replace(layers=names), images, has_pattern=False) == []


@pytest.mark.parametrize("rate", [0.0, 1.0, float("nan"), "x"])
def test_a_false_alarm_rate_out_of_range_is_refused(rate):
    with pytest.raises(InvalidInputError, match="false_alarm_rate must be"):
        DetectSettings(false_alarm_rate=rate)


# What an image must do to contradict itself


def test_contradiction_needs_both_another_class_and_a_sure_model(random):
    parts = random.normal(size=(1000, len(QUESTIONS) + 1))
    parts[:, -1] -= parts[:, 0]  # the model is less sure of what looks like another class
    found = fit_contradiction(parts)
    assert found.of(parts).mean() == CONTRADICTING
    other, margin = parts[:, :2].sum(axis=1), parts[:, -1]
    score = (other - other.mean()) / other.std() + (margin - margin.mean()) / margin.std()
    np.testing.assert_array_equal(found.of(parts), score > np.sort(score)[-6])
    cases = np.array([[4, 0, -9, 1], [0, 4, 0, 1], [4, 0, 0, -4], [0, 0, 9, 2]])
    assert found.of(cases).tolist() == [True, True, False, False]
    np.testing.assert_array_equal(found.of(parts), fit_contradiction(parts * 3 + 1).of(parts * 3 + 1))


def test_of_many_clean_images_equally_many_of_each_class_are_taken():
    labels = np.array([2, 0, 2, 1, 2, 0, 2, 0])
    assert evenly(labels, 8).tolist() == list(range(8))
    assert evenly(labels, 7).tolist() == [0, 1, 2, 3, 5]
    assert evenly(labels, 1).tolist() == [0, 1, 3]


# What comes back from the process of the model


def passed(judgement: Judgement, **changes: np.ndarray) -> messages.Message:
    packed = messages.packed({}, {**messages.pack_judgement(judgement), **changes})
    text, _ = messages.lengths(packed[:16], 2**20)
    return messages.unpacked(packed[16 : 16 + text], packed[16 + text :])


def test_the_report_of_the_layers_comes_through_and_is_checked():
    layers = said(3, 2, 1)
    judgement = Judgement(np.zeros(3, int), np.zeros(3, bool), np.full(3, -1), np.full(3, np.nan), layers)
    back = messages.unpack_judgement(passed(judgement), 3, 5, by_layers=True).layers
    assert back is not None
    for one, other in zip(back, layers, strict=True):
        np.testing.assert_array_equal(one, other)
    assert messages.unpack_judgement(passed(judgement._replace(layers=None)), 3, 5).layers is None
    wrong = {
        "scores": np.full(3, np.nan),
        "stands_out": np.ones(3),
        "contradicts": np.ones(2, bool),
        "likely_class": np.full(3, 5),
        "likely_probability": np.full(3, 1.1),
    }
    for name, values in wrong.items():
        with pytest.raises(InvalidInputError, match="is not to be trusted"):
            messages.unpack_judgement(passed(judgement, **{f"layers.{name}": values}), 3, 5, by_layers=True)


@pytest.mark.parametrize(
    "values",
    [
        {"layers": "a"},
        {"layers": [1]},
        {"problem": 3},
        {"threshold": "x"},
        {"threshold": float("nan")},
        {"n_clean": 0},
        {"n_clean": None},
        {"median": None},
    ],
)
def test_a_layer_wise_detector_that_breaks_the_rules_is_refused(values):
    given: dict[str, Any] = values
    with pytest.raises(InvalidInputError, match="is not to be trusted"):
        messages.unpack_layers(
            messages.Message({"layers": ["1"], "threshold": 2.0, "median": 0.1, "n_clean": 100, **given}, {}), 0.01
        )


def test_a_reason_from_the_process_cannot_control_the_terminal():
    values = {"layers": [], "threshold": 0, "median": 0, "n_clean": 0, "problem": "a\x1b[2Jb"}
    fitted = messages.unpack_layers(messages.Message(values, {}), 0.01)
    assert fitted.problem == "a [2Jb"
