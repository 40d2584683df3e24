"""Old names of the layer-wise parameters still work and give the same verdicts; a rule of one's own needs no other edit."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.defences.layers import files as layerwise_files
from art_plugins.defences.layers import learning as layerwise_learning
from art_plugins.defences.layers.mahalanobis import MahalanobisRule
from art_plugins.defences.layers.options import RULES
from art_plugins.defences.layerwise import LayerwiseFeatureDefence
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
from art_plugins.errors import InvalidInputError
from art_plugins.storage import load_arrays, save_arrays

LAYERS = ["1", "2", "3", "5"]
# Old parameters, and the new ones in their place.
OLD: list[tuple[dict[str, Any], dict[str, Any]]] = [
    ({"quantile": 0.9}, {"fpr": 0.1}),
    ({"quantile": 0.9, "n_folds": 3}, {"fpr": 0.1, "mode_params": {"n_folds": 3}}),
    ({"n_folds": 3, "max_dims": 20}, {"mode_params": {"n_folds": 3, "max_dims": 20}}),
    ({"mode": "paper", "pooled": True}, {"mode": "paper", "mode_params": {"pooled": True}}),
    ({"mode": "paper", "pooled": True, "n_folds": 3}, {"mode": "paper", "mode_params": {"pooled": True}}),
    ({"pooled": True}, {}),
]
every_old = pytest.mark.parametrize(("old", "new"), OLD, ids=lambda one: "-".join(one) or "none")


@pytest.fixture(scope="module")
def classifier(digits):
    network = digits.network("white_square")
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu")


def fitted(classifier: Any, digits: Any, **parameters: Any) -> LayerwiseFeatureDetector:
    detector = LayerwiseFeatureDetector(classifier, layers=LAYERS, **parameters)
    detector.fit(digits.x_clean, digits.y_clean)
    return detector


def pooled(parameters: dict[str, Any]) -> dict[str, Any]:
    """So that 20 images a class are enough for the paper's rule."""
    return {**parameters, **({"mode_params": {"pooled": True}} if parameters.get("mode") == "paper" else {})}


@every_old
def test_detector_old_names_give_the_verdicts_of_the_new_ones(classifier, digits, old, new):
    expected = fitted(classifier, digits, **pooled(new))
    with pytest.warns(FutureWarning, match=f"The parameter {list(old)[-1]} goes with the next release"):
        by_constructor = fitted(classifier, digits, **old)
    by_fit = LayerwiseFeatureDetector(classifier, layers=LAYERS)
    with pytest.warns(FutureWarning):
        by_fit.fit(digits.x_clean, digits.y_clean, **old)
    for detector in (by_constructor, by_fit):
        assert detector.tunables() == expected.tunables()
        assert detector.threshold_ == expected.threshold_
        found, verdict = detector.detect(digits.x_test[:40])
        np.testing.assert_array_equal(found["outlier_scores"], expected.detect(digits.x_test[:40])[0]["outlier_scores"])
        np.testing.assert_array_equal(verdict, expected.detect(digits.x_test[:40])[1])


@pytest.mark.parametrize(
    ("old", "new"),
    [pytest.param(*one, marks=[pytest.mark.slow] if number in (0, 2, 5) else []) for number, one in enumerate(OLD)],
    ids=lambda one: "-".join(one) or "none",
)
def test_filter_old_names_give_the_verdict_of_the_new_ones(classifier, digits, old, new):
    some = np.flatnonzero(digits.y_train < 3)[:120]  # groups of three classes take less time than those of ten
    data = digits.x_train[some], digits.y_train[some], digits.x_clean, digits.y_clean
    expected = LayerwiseFeatureDefence(classifier, *data, layers=LAYERS, **pooled(new)).detect_poison()
    with pytest.warns(FutureWarning):
        by_constructor = LayerwiseFeatureDefence(classifier, *data, layers=LAYERS, **old)
    with pytest.warns(FutureWarning):
        by_call = LayerwiseFeatureDefence(classifier, *data, layers=LAYERS).detect_poison(**old)
    assert by_constructor.detect_poison() == by_call == expected
    assert expected[0]["parameters"]["mode_params"] == pooled(new).get("mode_params")


def test_warning_names_the_new_form_with_the_value():
    with pytest.warns(FutureWarning) as found:
        LayerwiseFeatureDetector(None, n_folds=3, quantile=0.75)
    said = [str(one.message) for one in found]
    assert "write mode_params={'n_folds': 3} in place of n_folds=3" in said[0]
    assert "write fpr=0.25 in place of quantile=0.75" in said[1]


def test_new_names_give_no_warning(classifier, digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        fitted(classifier, digits, fpr=0.1, mode_params={"n_folds": 3}).set_threshold(fpr=0.2)


@pytest.mark.parametrize(
    ("old", "match"),
    [
        ({"quantile": 0}, "fpr must be a share at least 0 and below 1; received 1"),
        ({"quantile": 2}, "fpr must be.*received -1"),
        ({"quantile": "a"}, "fpr must be.*received 'a'"),
        ({"quantile": 0.9, "fpr": 0.1}, "either fpr or its old name quantile"),
        ({"quantile": 0.9, "tau": 1.0}, "exactly one of tau and fpr"),
        ({"n_folds": 1}, "n_folds must be"),
        ({"max_dims": 1.5}, "max_dims must be"),
        ({"mode": "paper", "pooled": 1}, "pooled must be"),
    ],
)
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_bad_value_of_an_old_name_is_refused_and_nothing_changes(old, match):
    detector = LayerwiseFeatureDetector(None)
    before = detector.get_params()
    for call in (detector.set_params, lambda **wrong: LayerwiseFeatureDetector(None, **wrong)):
        with pytest.raises(InvalidInputError, match=match):
            call(**old)
    assert detector.get_params() == before


def test_file_with_old_names_is_read_without_a_warning_and_gives_the_same_detector(classifier, digits, tmp_path):
    for name, parameters, own in (
        ("paper", {"mode": "paper", "mode_params": {"pooled": True}, "tau": 1.5}, {"pooled": True}),
        ("mahalanobis", {"mode_params": {"n_folds": 4}, "fpr": 0.25}, {"n_folds": 4, "max_dims": 512}),
    ):
        saved = fitted(classifier, digits, **parameters)
        saved.save(tmp_path / name)
        arrays, settings = load_arrays(tmp_path / name, layerwise_files.FILE_KIND)
        old = {key: value for key, value in settings["parameters"].items() if key not in ("mode_params", "fpr")}
        quantile = 0.75 if name == "mahalanobis" else None
        old |= {"quantile": quantile, "fpr": None, "pooled": False, "n_folds": 10, "max_dims": 512, **own}
        save_arrays(tmp_path / name, layerwise_files.FILE_KIND, arrays, {**settings, "parameters": old})
        with warnings.catch_warnings():
            warnings.simplefilter("error", FutureWarning)
            loaded = LayerwiseFeatureDetector.load(tmp_path / name, classifier)
        assert loaded.threshold_ == saved.threshold_
        assert (loaded.mode, loaded.tau, loaded.fpr) == (saved.mode, saved.tau, saved.fpr)
        assert loaded.mode_params == own
        np.testing.assert_array_equal(
            loaded.detect(digits.x_test[:40])[0]["outlier_scores"], saved.detect(digits.x_test[:40])[0]["outlier_scores"]
        )


def test_new_mode_starts_with_its_own_settings():
    detector = LayerwiseFeatureDetector(None, mode_params={"n_folds": 3})
    detector.set_params(mode="paper")
    assert detector.mode_params is None
    detector.set_params(mode="mahalanobis", mode_params={"max_dims": 9})
    detector.set_params(mode="mahalanobis")
    assert detector.mode_params == {"max_dims": 9}
    with pytest.raises(InvalidInputError, match="mode_params must hold only pooled"):
        detector.set_params(mode="paper", mode_params={"max_dims": 9})


@pytest.mark.parametrize(
    ("labels", "said"), [([1], "class 1"), ([1, 4], "classes 1 and 4"), ([1, 4, 6], "classes 1, 4 and 6")]
)
def test_named_classes(labels, said):
    assert layerwise_learning.named_classes(labels) == said


@dataclass
class Shy(MahalanobisRule):
    """A rule of one's own: other threshold, constant shift, and an array to show."""

    name = "shy"
    terms = {"tau": 4.0}
    settings = ("n_folds", "amount")
    attributes = ("amounts",)
    amount: float = 0.5

    @classmethod
    def check_settings(cls, values: Any) -> None:
        if values.get("amount", 0) < 0:
            raise InvalidInputError(f"amount must be at least 0; received {values['amount']}.")

    def shift(self, scores: np.ndarray, labels: np.ndarray, benign: np.ndarray, benign_labels: np.ndarray) -> float:
        return self.amount

    def learned_attributes(self) -> dict[str, np.ndarray]:
        return {"amounts": np.full(10, self.amount)}


def test_rule_of_ones_own_brings_its_threshold_shift_and_attributes(classifier, digits, monkeypatch):
    monkeypatch.setitem(RULES, "shy", Shy)
    x, y = np.array(digits.x_train[:300]), np.array(digits.y_train[:300])
    options: dict[str, Any] = {"layers": LAYERS, "mode": "shy"}
    found = {}
    for amount in (0.0, 2.0):
        data = x, y, digits.x_clean, digits.y_clean
        defence = LayerwiseFeatureDefence(classifier, *data, mode_params={"amount": amount}, **options)
        report, _ = defence.detect_poison()
        assert (report["mode"], report["threshold"]) == ("shy", 4.0)
        np.testing.assert_array_equal(defence.amounts_, np.full(10, amount))
        assert not defence.joined_.any()
        found[amount] = defence.outlier_scores_
    np.testing.assert_allclose(found[0.0] - found[2.0], 2.0, atol=1e-6)
    with pytest.raises(InvalidInputError, match="amount must be at least 0; received -1"):
        LayerwiseFeatureDetector(classifier, mode_params={"amount": -1}, **options)
    defence.detect_poison(mode="mahalanobis")
    assert not hasattr(defence, "amounts_")
