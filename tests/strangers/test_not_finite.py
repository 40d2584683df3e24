"""What is not finite is an error that counts it, or suspicious; never clean."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.defences.layers.model import LayerwiseModel
from art_plugins.defences.layerwise import LayerwiseFeatureDefence
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import logits_and_hidden
from art_plugins.statistics.outliers import highest, strongest_index
from art_plugins.triggers.found import INDEX_RULE, Inversion
from art_plugins.triggers.inversion import invert_triggers
from art_plugins.triggers.searching import search

MODES = ("mahalanobis", "paper")
POOLED = {"paper": {"pooled": True}, "mahalanobis": None}  # mode_params that let either mode judge small classes
LAYERS = ["1", "2", "3", "4", "5"]


def wrapped(network: nn.Module) -> PyTorchClassifier:
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, device_type="cpu")


def trusted(digits: Any) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.concatenate([digits.x_clean, digits.x_test]), np.concatenate([digits.y_clean, digits.y_test])
    rows = np.concatenate([np.flatnonzero(y == label)[:30] for label in range(10)])
    return x[rows], y[rows]


class NanWhereBright(nn.Module):
    """Images whose first pixel is above 2 give NaN at one unit of an inner layer."""

    def __init__(self, network: nn.Sequential) -> None:
        super().__init__()
        self.layers = nn.ModuleList(network)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        bright = x[:, 0, 0, 0] > 2
        for layer in self.layers:
            x = layer(x)
        return torch.where(bright[:, None], torch.full_like(x, torch.nan), x)


def caught_or_refused(detect: Any, x: np.ndarray, bad: np.ndarray) -> None:
    """Either an error that counts, or all bad ones are caught with infinite scores and counted, the others unmoved."""
    try:
        report, is_trigger = detect(x)
    except InvalidInputError as error:
        assert str(int(bad.sum())) in str(error)  # noqa: PT017
        return
    assert is_trigger[bad].all()
    assert np.isposinf(report["outlier_scores"][bad]).all()
    assert report["n_not_finite"] == bad.sum()
    expected = detect(x[~bad])
    np.testing.assert_array_equal(is_trigger[~bad], expected[1])
    np.testing.assert_allclose(report["outlier_scores"][~bad], expected[0]["outlier_scores"], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("value", [1e20, 1e25, 3e38, -3e38])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_layerwise_detector_catches_what_overflows_single_precision(digits, mode, value):
    detector = LayerwiseFeatureDetector(
        wrapped(digits.network("white_square")), mode=mode, layers=LAYERS, mode_params=POOLED[mode]
    )
    detector.fit(*trusted(digits))
    x, bad = np.array(digits.x_test[:30]), np.arange(30) % 10 == 0
    x[bad] = value
    caught_or_refused(detector.detect, x, bad)


@pytest.mark.parametrize("mode", MODES)
def test_layerwise_filter_removes_what_overflows_and_counts_it(digits, mode):
    x, y = np.array(digits.x_train[:400]), np.array(digits.y_train[:400])
    x[:5] = 1e25
    for data in (trusted(digits), (None, None)):
        defence = LayerwiseFeatureDefence(
            wrapped(digits.network("clean")), x, y, *data, mode=mode, layers=LAYERS, mode_params=POOLED[mode]
        )
        report, is_clean = defence.detect_poison()
        assert is_clean[:5] == [0] * 5
        assert report["n_not_finite"] == 5
        assert np.mean(is_clean[5:]) > 0.85


@pytest.mark.parametrize("mode", MODES)
def test_layerwise_trusted_samples_that_overflow_are_counted_by_layer(digits, mode):
    x, y = trusted(digits)
    x[[3, 50]] = 1e25
    with pytest.raises(InvalidInputError, match=r"2 of the 300 benign samples.*1: 2"):
        LayerwiseFeatureDetector(wrapped(digits.network("clean")), mode=mode, layers=LAYERS, mode_params=POOLED[mode]).fit(
            x, y
        )


@pytest.mark.parametrize("mode", MODES)
def test_layerwise_detector_of_a_network_that_gives_nan_for_some_inputs_lets_none_of_them_pass(digits, mode):
    names = [f"layers.{name}" for name in LAYERS]
    classifier = wrapped(NanWhereBright(digits.network("white_square")).eval())
    detector = LayerwiseFeatureDetector(classifier, mode=mode, layers=names, mode_params=POOLED[mode])
    detector.fit(*trusted(digits))
    x, bad = np.array(digits.x_test[:30]), np.arange(30) % 3 == 0
    x[bad, 0, 0, 0] = 2.5
    caught_or_refused(detector.detect, x, bad)


def test_layerwise_suspects_infinite_scores_are_caught_at_every_threshold_and_in_every_class():
    class Rule:
        n_benign = np.array([3, 0])

    model = LayerwiseModel(Rule(), np.zeros(1), np.zeros(1), True)  # type: ignore[arg-type]
    scores, classes = np.array([1.0, np.inf, np.nan, 5.0, np.inf, np.nan]), np.array([0, 0, 0, 1, 1, 1])
    for threshold in (-10.0, 2.0, 1e300, np.inf):
        found = model.suspects(scores, classes, threshold)
        assert found[[1, 2, 4, 5]].all()
        assert not found[3]
    np.testing.assert_array_equal(model.suspects(scores, classes, 2.0), [False, True, True, False, True, True])


@pytest.mark.parametrize("value", [1e25, 3e38, -3e38])
def test_in_flight_catches_what_overflows(digits, value):
    detector = InFlightDetector(wrapped(digits.network("white_square")), digits.white_square, digits.target)
    detector.fit(digits.x_clean, digits.y_clean)
    x, bad = np.concatenate([digits.x_test[:20], digits.x_test[:10]]), np.arange(30) >= 20
    x[bad] = value
    outputs, features = (
        np.array(one) for one in logits_and_hidden(detector.classifier, digits.x_test[:30], detector.layers_)
    )
    outputs[bad], features[25:] = np.nan, np.inf
    report, is_trigger = detector.detect_features(outputs, features)
    assert is_trigger[bad].all()
    assert report["n_not_finite"] == 10
    assert np.isposinf(report["outlier_scores"][bad]).all()
    assert (report["source_class"][bad] == -1).all()
    try:
        report, is_trigger = detector.detect(x)
    except InvalidInputError:
        return
    finite = np.isfinite(logits_and_hidden(detector.classifier, x, detector.layers_)[0]).all(axis=1)
    assert is_trigger[~finite].all()
    assert not is_trigger[:20][report["predicted_class"][:20] != digits.target].any()


def test_in_flight_features_that_are_nan_cannot_be_fitted(digits):
    detector = InFlightDetector(wrapped(digits.network("white_square")), digits.white_square, digits.target)
    features = np.random.default_rng(0).normal(size=(50, 4))
    features[7, 1] = np.nan
    with pytest.raises(InvalidInputError, match="Row 7 of the features"):
        detector.fit_features(features, np.arange(50) % 10)


def broken(digits: Any) -> nn.Module:
    """With NaN among its weights."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    with torch.no_grad():
        network[1].weight.fill_(torch.nan)
    return network


@pytest.mark.parametrize(
    "call",
    [
        lambda classifier, x, y: LayerwiseFeatureDetector(classifier, layers=["1"]).fit(x, y),
        lambda classifier, x, y: LayerwiseFeatureDefence(classifier, x, y, layers=["1"]).detect_poison(),
        lambda classifier, x, y: InFlightDetector(classifier, lambda images: images, 3).fit(x, y),
        lambda classifier, x, y: invert_triggers(classifier, x, y, verbose=False),
    ],
    ids=["layerwise", "filter", "in_flight", "inversion"],
)
def test_nan_weights_are_refused_by_name(digits, call):
    with pytest.raises(InvalidInputError, match=r"NaN|not finite"):
        call(wrapped(broken(digits)), digits.x_clean, digits.y_clean)


class NanTowards(nn.Module):
    """Gives NaN where its class is the likeliest though the image is no clean one: where a search for it succeeds."""

    def __init__(self, network: nn.Module, label: int, clean: np.ndarray) -> None:
        super().__init__()
        self.network, self.label = network, label
        self.register_buffer("clean", torch.from_numpy(np.array(clean)).flatten(1))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        outputs = self.network(x)
        known = torch.cdist(x.flatten(1), self.clean).amin(dim=1) < 1e-3
        poisoned = (outputs.argmax(dim=1) == self.label) & ~known
        return torch.where(poisoned[:, None], torch.nan, outputs)


@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_inversion_whose_search_breaks_off_is_not_decided_and_says_so(digits):
    network = NanTowards(digits.network("white_square"), digits.target, digits.x_clean).eval()
    classifier = PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu")
    result = invert_triggers(classifier, digits.x_clean, digits.y_clean, kinds=["patch"], nb_steps=40, verbose=False)
    assert digits.target in result.undecided
    assert result.inverted[0].broke_off[digits.target]
    assert np.isfinite(result.inverted[0].patterns).all()
    assert np.isfinite(result.inverted[0].masks).all()
    assert result.target_class is None
    assert result.sentence().startswith("Not decided: the model gave values or gradients that are not finite")
    assert str(digits.target) in result.sentence()
    assert "No backdoor found" not in result.sentence()


def test_inversion_all_searches_that_break_off_end_at_once(digits, monkeypatch):
    class Broken(nn.Module):
        """Right about the clean images, NaN about all others."""

        def __init__(self) -> None:
            super().__init__()
            self.network = digits.network("clean")
            self.register_buffer("clean", torch.from_numpy(np.array(digits.x_clean)).flatten(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            known = torch.cdist(x.flatten(1), self.clean).amin(dim=1) < 1e-3
            return torch.where(known[:, None], self.network(x), torch.nan)

    classifier = PyTorchClassifier(Broken().eval(), nn.CrossEntropyLoss(), (1, 8, 8), 10, (0, 1), device_type="cpu")
    steps = []
    monkeypatch.setattr(search.functional, "cross_entropy", counted(search.functional.cross_entropy, steps))
    result = invert_triggers(classifier, digits.x_clean, digits.y_clean, kinds=["patch"], verbose=False)
    assert 1 <= len(steps) <= 2
    assert result.undecided == list(range(10))
    assert result.target_class is None
    assert "no class has a pattern that works" in result.sentence()


def counted(function: Any, calls: list[int]) -> Any:
    def call(*args: Any, **kwargs: Any) -> Any:
        calls.append(1)
        return function(*args, **kwargs)

    return call


@pytest.mark.slow
def test_sentence_numbers_are_those_of_the_rule(digits):
    result = invert_triggers(
        wrapped(digits.network("white_square")), digits.x_clean, digits.y_clean, nb_steps=400, threshold=3.0, verbose=False
    )
    patch, additive = (one.anomaly_index for one in result.inverted)
    for label in range(10):
        parts = [one[label] for one in (patch, additive) if not np.isnan(one[label])]
        if parts:
            assert result.anomaly_index[label] == pytest.approx(max(sum(parts) / np.sqrt(len(parts)), *parts))
    assert "the sum of its indices" in INDEX_RULE
    assert "square root of the number of kinds" in INDEX_RULE
    assert "the highest of its indices by each kind" in INDEX_RULE
    target = highest(strongest_index([patch, additive]), 3.0)
    assert target == result.target_class == digits.target
    words = result.sentence()
    assert f"its index is {result.anomaly_index[target]:.2f} (from patch {patch[target]:.2f}" in words
    assert f"its {result.kind} pattern sends {result.success_rate:.3f} of" in words
    one = next(one for one in result.inverted if one.kind == result.kind)
    if result.source_class is None:
        assert one.success_rates[target] == result.success_rate
        assert one.anomaly_index[target] == max(value for value in (patch[target], additive[target]) if value == value)


def test_sentence_without_any_working_pattern_and_without_breaks_asks_for_steps():
    nothing = np.full(3, np.nan)
    assert "give more steps" in Inversion((), np.ones(3), nothing, None, None, None).sentence()
