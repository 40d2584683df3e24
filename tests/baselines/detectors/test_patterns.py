"""
Every detector with a threshold, one table of cases; the scores of STRIP, B3D and Neural Cleanse's filter against SciPy; and
the patching. What holds for all detectors is in tests/defences/test_detector_contract.py.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from scipy.stats import entropy
from sklearn.metrics import roc_auc_score
from torch import nn

from art_plugins.baselines.detectors.beatrix import Beatrix
from art_plugins.baselines.detectors.patterns import B3D, STRIP, NeuralCleanseFilter
from art_plugins.baselines.detectors.scale_up import ScaleUp
from art_plugins.baselines.detectors.ted import TED
from art_plugins.baselines.patching import neural_cleanse_patching
from art_plugins.baselines.pyod_filter import pyod_is_installed
from art_plugins.errors import InvalidInputError, NotFittedError
from art_plugins.features.classifiers import torch_module
from art_plugins.features.vae.training import seeded

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
N_BLENDS = 20


@dataclass(frozen=True)
class Case:
    """
    ``make(digits, target_class, **parameters)``; ``cross_fitted``: whether the threshold is set on scores of clean images
    by what was learned without them.
    """

    make: Callable[..., Any]
    cross_fitted: bool = False


def wrapped(network: nn.Module, shape: tuple[int, ...] = (1, 8, 8), nb_classes: int = 10, **options: Any) -> Any:
    options = {"clip_values": (0, 1) if shape == (1, 8, 8) else None, **options}
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), shape, nb_classes, device_type="cpu", **options)


def strip(digits: Any, target_class: int | None = 3, **parameters: Any) -> STRIP:
    network = parameters.pop("network", None) or digits.network("white_square")
    return STRIP(wrapped(network), target_class=target_class, **{"n_blends": N_BLENDS, **parameters})


def b3d(digits: Any, target_class: int | None = 3, **parameters: Any) -> B3D:
    network = parameters.pop("network", None) or digits.network("white_square")
    return B3D(wrapped(network), parameters.pop("trigger", digits.white_square), target_class, **parameters)


def cleanse(digits: Any, target_class: int | None = 3, **parameters: Any) -> NeuralCleanseFilter:
    network = parameters.pop("network", None) or digits.network("white_square")
    return NeuralCleanseFilter(wrapped(network), parameters.pop("trigger", digits.white_square), target_class, **parameters)


def without_trigger(kind: Callable[..., Any]) -> Callable[..., Any]:
    def make(digits: Any, target_class: int | None = 3, **parameters: Any) -> Any:
        network = parameters.pop("network", None) or digits.network("white_square")
        return kind(wrapped(network), target_class=target_class, **parameters)

    return make


CASES = [
    pytest.param(Case(strip), id="strip"),
    pytest.param(Case(b3d), id="b3d"),
    pytest.param(Case(cleanse), id="cleanse"),
    pytest.param(Case(without_trigger(ScaleUp)), id="scale_up"),
    pytest.param(Case(without_trigger(Beatrix), cross_fitted=True), id="beatrix", marks=pytest.mark.slow),
    pytest.param(
        Case(without_trigger(TED), cross_fitted=True),
        id="ted",
        marks=pytest.mark.skipif(not pyod_is_installed(), reason="PyOD is not installed"),
    ),
]
every_case = pytest.mark.parametrize("case", CASES)
with_trigger = pytest.mark.parametrize("case", CASES[1:3])


def fitted(case: Case, digits: Any, *arguments: Any, **parameters: Any) -> Any:
    detector = case.make(digits, *arguments, **parameters)
    detector.fit(digits.x_clean, digits.y_clean)
    return detector


def predicted(network: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        classes: np.ndarray = network(torch.tensor(x)).argmax(dim=1).numpy()
    return classes


@pytest.fixture(scope="module")
def mixed(digits):
    """Test images, then those of the other classes with the trigger."""
    return np.concatenate([digits.x_test, digits.white_square(digits.x_test[digits.y_test != digits.target])])


# Thresholds, targets and triggers


@every_case
def test_detector_before_fit_says_to_call_fit(case, digits):
    detector = case.make(digits, threshold=0.0)
    for call in (detector.detect, detector.outlier_scores):
        with pytest.raises(NotFittedError, match=r"call fit\(x_clean, y_clean\) first"):
            call(digits.x_test)


@every_case
def test_bad_labels_and_images_are_refused_before_any_forward_pass(case, digits, monkeypatch):
    detector, ready = case.make(digits), fitted(case, digits)
    monkeypatch.setattr("art_plugins.defences.threshold_detector.collect_outputs", None)
    monkeypatch.setattr("art_plugins.baselines.detectors.patterns.penultimate_activations", None)
    monkeypatch.setattr("art_plugins.baselines.detectors.layer_detector.stream_activations", None)
    x, y = digits.x_clean, digits.y_clean
    for labels in (y[:-1], y - 1, y + 1, y + 0.5):
        with pytest.raises(InvalidInputError, match="abel"):
            detector.fit(x, labels)
    with_nan = np.array(x)
    with_nan[7, 0, 1, 2] = np.nan
    bad = [(x.tolist(), "numpy array"), (x[:0], "not be empty"), (x[:, 0], r"received \(8, 8\)"), (with_nan, "Row 7")]
    for images, match in bad:
        for call in (lambda one: detector.fit(one, y), ready.detect, ready.outlier_scores):
            with pytest.raises(InvalidInputError, match=match):
                call(images)


@every_case
@pytest.mark.parametrize("target", [-1, 10, 1.5, "3"])
@pytest.mark.parametrize("threshold", [None, 0.0])
def test_fit_target_class_that_is_none_of_the_classes_is_refused(case, digits, target, threshold):
    with pytest.raises(InvalidInputError, match=f"target_class must be a class from 0 to 9; received {target!r}"):
        fitted(case, digits, target, threshold=threshold)


@with_trigger
@pytest.mark.parametrize("threshold", [None, 0.0])
def test_fit_trigger_that_changes_the_shape_is_refused(case, digits, threshold):
    with pytest.raises(InvalidInputError, match="The trigger turned images of shape"):
        fitted(case, digits, trigger=lambda x: x[..., :7], threshold=threshold)


# Detection


@every_case
def test_detect_report_and_verdict_are_of_the_documented_form(case, digits, mixed):
    detector = fitted(case, digits)
    report, is_trigger = detector.detect(mixed)
    classes = predicted(digits.network("white_square"), mixed)
    judged = classes == digits.target
    assert list(report) == ["predicted_class", "outlier_scores"]
    np.testing.assert_array_equal(report["predicted_class"], classes)
    assert is_trigger.dtype == bool
    assert not is_trigger[~judged].any()
    assert np.isnan(report["outlier_scores"][~judged]).all()
    scores = detector.outlier_scores(mixed)
    assert scores.shape == (len(mixed),)
    assert scores.dtype == np.float64
    np.testing.assert_allclose(report["outlier_scores"][judged], scores[judged], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(is_trigger[judged], report["outlier_scores"][judged] > detector.threshold_)
    only_others = detector.detect(mixed[~judged])
    assert not only_others[1].any()


@every_case
def test_detect_without_a_target_class_judges_every_image(case, digits, mixed):
    detector = fitted(case, digits, None)
    report, is_trigger = detector.detect(mixed)
    assert np.isfinite(report["outlier_scores"]).all()
    np.testing.assert_array_equal(is_trigger, report["outlier_scores"] > detector.threshold_)


@every_case
@pytest.mark.parametrize("target", [3, None])
@pytest.mark.parametrize("fpr", [0.0, 0.05, 0.3])
def test_fit_threshold_is_the_lowest_that_keeps_the_rate_on_the_clean_images(case, digits, target, fpr):
    detector = fitted(case, digits, target, fpr=fpr)
    held = np.ones(len(digits.x_clean), dtype=bool)
    if target is not None:
        held = (digits.y_clean == target) & (predicted(digits.network("white_square"), digits.x_clean) == target)
    scores = detector.clean_scores_
    assert scores.shape == (held.sum(),)
    if not case.cross_fitted:
        np.testing.assert_allclose(detector.outlier_scores(digits.x_clean[held]), scores, rtol=1e-5, atol=1e-6)
    assert (scores > detector.threshold_ + 1e-6).mean() <= fpr
    assert (scores > detector.threshold_ - 1e-6).mean() > fpr


@every_case
def test_fit_given_threshold_is_used_as_it_is_and_needs_no_image_of_the_target(case, digits, mixed):
    detector = case.make(digits, threshold=-0.75)
    others = digits.y_clean != digits.target
    detector.fit(digits.x_clean[others], digits.y_clean[others])
    assert detector.threshold_ == -0.75
    report, is_trigger = detector.detect(mixed)
    np.testing.assert_array_equal(is_trigger, report["outlier_scores"] > -0.75)


def test_detect_score_equal_to_the_threshold_is_not_caught():
    detector = B3D(two_pixels(), lambda x: x)  # all scores are 0
    for threshold, caught in ((0.0, False), (-1e-9, True)):
        detector.fit(pixels((1, 0)), [0], threshold=threshold)
        assert detector.detect(pixels((1, 0)))[1].tolist() == [caught]


@every_case
def test_fit_without_a_clean_image_that_the_model_sends_to_the_target_is_refused(case, digits):
    others = digits.y_clean != digits.target
    with pytest.raises(InvalidInputError, match="None of the 0 clean images of class 3"):
        case.make(digits).fit(digits.x_clean[others], digits.y_clean[others])
    mislabelled = predicted(digits.network("white_square"), digits.x_clean) != digits.target
    with pytest.raises(InvalidInputError, match=rf"None of the {mislabelled.sum()} clean.*give threshold"):
        case.make(digits).fit(digits.x_clean[mislabelled], np.full(mislabelled.sum(), 3))


@every_case
def test_scores_order_of_the_images_and_batch_size_change_nothing(case, digits, mixed, random):
    detector = fitted(case, digits)
    x = mixed[::5]
    order = random.permutation(len(x))
    for batch_size in (1, 7, 3 * N_BLENDS + 1, 4_096):
        np.testing.assert_allclose(
            detector.outlier_scores(x[order], batch_size), detector.outlier_scores(x)[order], rtol=1e-4, atol=1e-5
        )


@every_case
def test_fit_two_runs_of_one_seed_are_equal(case, digits, mixed):
    first, second = (fitted(case, digits) for _ in range(2))
    assert first.threshold_ == second.threshold_
    np.testing.assert_array_equal(first.outlier_scores(mixed), second.outlier_scores(mixed))


@every_case
def test_scores_equal_under_arts_preprocessing_and_its_equivalent_in_the_model(case, digits, mixed):
    """A model that expects standardised images, in a classifier that standardises."""

    class Undone(nn.Module):
        def __init__(self, network: nn.Module) -> None:
            super().__init__()
            self.network = network

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            outputs: torch.Tensor = self.network(x * 0.25 + 0.5)
            return outputs

    expected = fitted(case, digits)
    detector = case.make(digits)
    detector.classifier = wrapped(Undone(digits.network("white_square")), preprocessing=(0.5, 0.25))
    detector.fit(digits.x_clean, digits.y_clean)
    np.testing.assert_allclose(detector.outlier_scores(mixed), expected.outlier_scores(mixed), rtol=1e-4, atol=1e-4)


# STRIP


def two_pixels(scale: float = 1.0, **options: Any) -> Any:
    """The logits are the two pixels, times ``scale``."""
    with seeded(0):
        network = nn.Sequential(nn.Flatten(), nn.Linear(2, 2, bias=False))
    with torch.no_grad():
        network[1].weight.copy_(scale * torch.eye(2))
    return wrapped(network, (1, 1, 2), 2, **options)


def pixels(*rows: tuple[float, float]) -> np.ndarray:
    return np.array(rows, dtype=np.float32).reshape(-1, 1, 1, 2)


def softmax(logits: np.ndarray) -> np.ndarray:
    exponentials: np.ndarray = np.exp(logits - logits.max())
    return exponentials / exponentials.sum()


def test_strip_scores_of_one_blend_by_hand():
    detector = STRIP(two_pixels(), n_blends=1)
    detector.fit(pixels((0, 0)), [0])
    # Blends (a / 2, 0): equal logits give log 2; odds of 3 to 1 give log 4 - .75 log 3.
    scores = detector.outlier_scores(pixels((0, 0), (2 * math.log(3), 0), (0, 2 * math.log(3))))
    expected = -math.log(4) + 0.75 * math.log(3)
    np.testing.assert_allclose(scores, [-math.log(2), expected, expected], rtol=1e-6)


@pytest.mark.parametrize("weight", [0.5, 0.8])
def test_strip_scores_equal_scipys_entropies_in_loops(digits, mixed, weight):
    detector = strip(digits, weight=weight, random_state=6)
    detector.fit(digits.x_clean, digits.y_clean)
    network = digits.network("white_square")
    rows = [
        np.flatnonzero((digits.x_clean == image).all(axis=(1, 2, 3)))[0] for image in detector.blended_with_
    ]  # they are clean images, each drawn once
    assert len(set(rows)) == N_BLENDS
    for image, score in zip(mixed[::60], detector.outlier_scores(mixed[::60]), strict=True):
        entropies = []
        for row in rows:
            blend = weight * image + (1 - weight) * digits.x_clean[row]
            with torch.no_grad():
                logits = network(torch.tensor(blend[None], dtype=torch.float32)).double().numpy()[0]
            entropies.append(entropy(softmax(logits)))
        assert score == pytest.approx(-np.mean(entropies), rel=1e-4)


def test_strip_scores_of_a_model_that_is_very_sure_still_differ():
    detector = STRIP(two_pixels(60), n_blends=1)
    detector.fit(pixels((0, 0)), [0])
    surer, less_sure = detector.outlier_scores(pixels((2, 0), (1.5, 0)))
    assert less_sure < surer < 0
    # The entropy of odds exp(-60) is about (1 + 60) exp(-60).
    assert surer == pytest.approx(-61 * math.exp(-60), rel=1e-4)


def test_strip_image_of_a_class_that_survives_blending_is_more_suspicious():
    detector = STRIP(two_pixels(), n_blends=4)
    detector.fit(pixels((1, 0), (0, 1), (2, 0), (0, 2)), [0, 1, 0, 1])
    scores = detector.outlier_scores(pixels((50, 0), (1, 1)))
    assert scores[0] > scores[1] + 0.5


def test_strip_seed_decides_the_blends_and_all_clean_images_need_none(digits):
    first, other = strip(digits), strip(digits, random_state=1)
    for detector in (first, other):
        detector.fit(digits.x_clean, digits.y_clean)
    assert not np.array_equal(first.blended_with_, other.blended_with_)
    detector = strip(digits, n_blends=len(digits.x_clean))
    detector.fit(digits.x_clean, digits.y_clean)
    np.testing.assert_array_equal(detector.blended_with_, digits.x_clean)


def test_strip_more_blends_than_clean_images_are_refused(digits):
    with pytest.raises(InvalidInputError, match="n_blends is 201, but there are only 200"):
        strip(digits, n_blends=201).fit(digits.x_clean, digits.y_clean)


def test_strip_parameter_that_is_set_takes_effect_at_the_next_fit(digits, mixed):
    detector = strip(digits)
    detector.fit(digits.x_clean, digits.y_clean)
    before = detector.outlier_scores(mixed[:9])
    detector.set_params(weight=0.9, n_blends=3)
    np.testing.assert_array_equal(detector.outlier_scores(mixed[:9]), before)
    detector.fit(digits.x_clean, digits.y_clean)
    assert not np.allclose(detector.outlier_scores(mixed[:9]), before)


@pytest.mark.parametrize(("batch_size", "most"), [(1, 1), (50, 40), (128, 120)])
def test_strip_model_is_given_at_most_a_batch_at_once(digits, mixed, batch_size, most):
    sizes: list[int] = []

    class Watched(nn.Module):
        def forward(self, x: torch.Tensor) -> torch.Tensor:
            sizes.append(len(x))
            return x.flatten(1)[:, :10]

    detector = strip(digits, None, network=Watched())
    detector.fit(digits.x_clean, digits.y_clean, batch_size)
    sizes.clear()
    detector.outlier_scores(mixed[:25], batch_size)
    assert max(sizes) == most
    assert sum(sizes) == 25 * N_BLENDS


def test_strip_images_of_bytes_and_of_double_precision_are_blended_as_numbers(digits):
    detector = STRIP(two_pixels(0.01), n_blends=2)
    clean = np.array([[200, 255], [255, 0]], dtype=np.uint8).reshape(-1, 1, 1, 2)
    detector.fit(clean.astype(np.float32), [0, 1])
    x = clean.astype(np.float64)
    np.testing.assert_array_equal(detector.outlier_scores(clean), detector.outlier_scores(x))


# B3D


def test_b3d_scores_equal_scipys_divergence_in_loops(digits, mixed):
    detector = b3d(digits)
    detector.fit(digits.x_clean, digits.y_clean)
    network = digits.network("white_square")
    scores = detector.outlier_scores(mixed)
    for row in range(0, len(mixed), 40):
        with torch.no_grad():
            images = torch.tensor(np.concatenate([mixed[[row]], digits.white_square(mixed[[row]])]))
            without, stamped = network(images).double().numpy()
        assert scores[row] == pytest.approx(-entropy(softmax(without), softmax(stamped)), rel=1e-3, abs=1e-6)


def test_b3d_two_pixels_by_hand_the_divergence_is_of_the_stamped_from_the_clean_output():
    detector = B3D(two_pixels(), lambda x: x + pixels((math.log(3), 0)))
    detector.fit(pixels((0, 0)), [0])
    # From (1/2, 1/2) to (3/4, 1/4): 1/2 log(2/3) + 1/2 log 2; the other direction would be .131.
    expected = 0.5 * math.log(2 / 3) + 0.5 * math.log(2)
    assert detector.outlier_scores(pixels((0, 0)))[0] == pytest.approx(-expected, rel=1e-6)


def test_b3d_image_that_the_trigger_leaves_as_it_is_has_the_highest_score(digits):
    detector = b3d(digits)
    detector.fit(digits.x_clean, digits.y_clean)
    triggered = digits.white_square(digits.x_test[:50])
    np.testing.assert_array_equal(detector.outlier_scores(triggered), 0)
    assert (detector.outlier_scores(digits.x_test[:50]) <= 0).all()


def test_b3d_scores_of_a_model_that_is_very_sure_are_finite_and_differ():
    detector = B3D(two_pixels(2_000), lambda x: -x)
    detector.fit(pixels((0, 0)), [0])
    # The difference of the log-odds, 4,000 times the pixel.
    np.testing.assert_allclose(detector.outlier_scores(pixels((1, 0), (0.5, 0))), [-2_000, -1_000], rtol=1e-6)


# Neural Cleanse's filter


def mirror() -> Any:
    """The penultimate neurons are the four pixels."""
    with seeded(0):
        network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3, bias=False))
    return wrapped(network, (1, 2, 2), 3)


def raise_two(x: np.ndarray) -> np.ndarray:
    """Pixel 2 by 3, pixel 1 by 1, pixel 0 down by 5."""
    return x + np.array([-5, 1, 3, 0], dtype=np.float32).reshape(1, 2, 2)


@pytest.mark.parametrize(
    ("top", "neurons"), [(0.01, [2]), (0.25, [2]), (0.5, [2, 1]), (0.75, [2, 1, 3]), (1.0, [2, 1, 3, 0])]
)
def test_cleanse_takes_the_neurons_that_the_trigger_raises_most_and_averages_them(random, top, neurons):
    detector = NeuralCleanseFilter(mirror(), raise_two, None, top)
    x = random.normal(size=(11, 1, 2, 2)).astype(np.float32)
    detector.fit(x, np.arange(11) % 3)
    assert detector.neurons_.tolist() == neurons
    expected = [np.mean([image.ravel()[neuron] for neuron in neurons]) for image in x]
    np.testing.assert_allclose(detector.outlier_scores(x), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("top", "expected"), [(0.01, 1), (0.1, 3), (0.5, 16)])
def test_cleanse_scores_equal_a_recomputation_on_the_penultimate_layer(digits, mixed, top, expected):
    detector = cleanse(digits, top=top)
    detector.fit(digits.x_clean, digits.y_clean)
    network = digits.network("white_square")[:5]
    with torch.no_grad():
        clean, stamped, new = (
            network(torch.tensor(x)).double().numpy() for x in (digits.x_clean, digits.white_square(digits.x_clean), mixed)
        )
    ranked = sorted(range(32), key=lambda neuron: -(stamped[:, neuron].mean() - clean[:, neuron].mean()))
    assert detector.neurons_.tolist() == ranked[:expected]
    np.testing.assert_allclose(detector.outlier_scores(mixed), new[:, ranked[:expected]].mean(axis=1), rtol=1e-4, atol=1e-5)


def test_cleanse_scores_the_trigger_of_a_real_backdoor_above_clean_images(digits, mixed):
    detector = cleanse(digits)
    detector.fit(digits.x_clean, digits.y_clean)
    report, _ = detector.detect(mixed)
    judged = report["predicted_class"] == digits.target
    is_triggered = np.arange(len(mixed)) >= len(digits.x_test)
    assert roc_auc_score(is_triggered[judged], report["outlier_scores"][judged]) > 0.75


# Neural Cleanse's patching


def test_patching_unlearns_the_backdoor_and_keeps_the_clean_classes(digits):
    network = digits.network("white_square")
    others = digits.y_test != digits.target
    triggered = digits.white_square(digits.x_test[others])
    patched = neural_cleanse_patching(
        wrapped(network), digits.white_square, digits.x_clean, digits.y_clean, 0.05, nb_epochs=10
    )
    assert (predicted(network, triggered) == digits.target).mean() > 0.95
    guesses = predicted(torch_module(patched), triggered)
    assert (guesses == digits.y_test[others]).mean() > 0.6
    assert (predicted(torch_module(patched), digits.x_test) == digits.y_test).mean() > 0.85


def test_patching_leaves_the_original_and_the_data_as_they_were(digits):
    network = digits.network("white_square")
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    x, y = np.array(digits.x_clean), np.array(digits.y_clean)
    for training in (True, False):
        network.train(training)
        patched = neural_cleanse_patching(wrapped(network), digits.white_square, x, y, 0.1)
        assert network.training is training
        assert not patched.model.training
    np.testing.assert_array_equal(x, digits.x_clean)
    np.testing.assert_array_equal(y, digits.y_clean)
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())
    assert all(parameter.grad is None or not parameter.grad.any() for parameter in network.parameters())
    assert not {id(parameter) for parameter in network.parameters()} & {
        id(parameter) for parameter in patched.model.parameters()
    }


def test_patching_one_step_equals_a_step_of_gradient_descent_by_hand():
    """Both images in one batch, none stamped: W' = W - rate * mean of (p - y) x', of x after ART's preprocessing."""
    classifier = two_pixels(preprocessing=(0.25, 0.5))
    x = pixels((1, 0), (0.5, 2))
    patched = neural_cleanse_patching(classifier, lambda images: images, x, [0, 0], 0.3, fraction_stamped=0)
    rows = (x.reshape(2, 2).astype(np.float64) - 0.25) / 0.5
    gradient = np.mean([np.outer(softmax(row) - [1, 0], row) for row in rows], axis=0)
    np.testing.assert_allclose(torch_module(patched)[1].weight.detach().numpy(), np.eye(2) - 0.3 * gradient, rtol=1e-5)


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 0), (0.2, 8), (1.0, 40)])
def test_patching_stamps_the_asked_share_of_the_images_under_their_true_labels(digits, fraction, expected):
    seen: list[np.ndarray] = []

    class Watched(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.head = nn.Linear(64, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            seen.append(x.numpy().copy())
            outputs: torch.Tensor = self.head(x.flatten(1))
            return outputs

    with seeded(0):
        network = Watched()
    x, y = digits.x_clean[:40], digits.y_clean[:40]
    neural_cleanse_patching(wrapped(network), lambda one: one + 7, x, y, 0.1, fraction_stamped=fraction, nb_epochs=2)
    assert [len(batch) for batch in seen] == [20, 20, 20, 20]
    for epoch in (np.concatenate(seen[:2]), np.concatenate(seen[2:])):
        assert (epoch.min(axis=(1, 2, 3)) >= 7).sum() == expected
        unstamped = np.where(epoch >= 6.5, epoch - 7, epoch)
        np.testing.assert_allclose(np.sort(unstamped.sum(axis=(1, 2, 3))), np.sort(x.sum(axis=(1, 2, 3))), rtol=1e-4)


def test_patching_two_runs_of_one_seed_are_equal_and_another_seed_differs(digits):
    def weights(random_state: int) -> np.ndarray:
        with seeded(3):
            network = nn.Sequential(nn.Flatten(), nn.Dropout(0.5), nn.Linear(64, 10))
        patched = neural_cleanse_patching(
            wrapped(network), digits.white_square, digits.x_clean, digits.y_clean, 0.1, random_state=random_state
        )
        found: np.ndarray = torch_module(patched)[2].weight.detach().numpy()
        return found

    np.testing.assert_array_equal(weights(0), weights(0))
    assert not np.allclose(weights(0), weights(1))


def test_patching_copy_takes_over_the_classifiers_settings(digits):
    classifier = wrapped(digits.network("white_square"), preprocessing=(0.5, 0.25), clip_values=(0, 1), channels_first=True)
    patched = neural_cleanse_patching(classifier, digits.white_square, digits.x_clean, digits.y_clean, 1e-9)
    assert isinstance(patched, PyTorchClassifier)
    with seeded(0):
        np.testing.assert_allclose(patched.predict(digits.x_test), classifier.predict(digits.x_test), atol=1e-3)
    np.testing.assert_array_equal(patched.clip_values, classifier.clip_values)
    assert patched.input_shape == classifier.input_shape
    assert patched.nb_classes == 10


def test_patching_batch_normalisation_and_frozen_weights_are_no_hindrance(digits):
    with seeded(0):
        network = nn.Sequential(nn.Flatten(), nn.BatchNorm1d(64), nn.Linear(64, 10)).requires_grad_(False).eval()
    x, y = digits.x_clean[:33], digits.y_clean[:33]  # a batch of 32 would leave one image
    patched = neural_cleanse_patching(wrapped(network), digits.white_square, x, y, 0.1)
    assert not torch.equal(torch_module(patched)[2].weight, network[2].weight)
    assert not torch.equal(torch_module(patched)[1].running_mean, network[1].running_mean)
    assert not network[2].weight.requires_grad


@pytest.mark.parametrize(
    "given",
    [
        {"learning_rate": 0},
        {"learning_rate": math.nan},
        {"fraction_stamped": 1.2},
        {"fraction_stamped": -0.1},
        {"nb_epochs": 0},
    ],
)
def test_patching_bad_value_is_refused(digits, given):
    options = {"learning_rate": 0.1, **given}
    with pytest.raises(InvalidInputError, match=f"{next(iter(given))}.*received.*{next(iter(given.values()))}"):
        neural_cleanse_patching(
            wrapped(digits.network("clean")), digits.white_square, digits.x_clean, digits.y_clean, **options
        )


def test_patching_bad_data_are_refused(digits):
    classifier = wrapped(digits.network("clean"))
    x, y = digits.x_clean, digits.y_clean
    with_nan = np.array(x)
    with_nan[4] = np.nan
    for images, labels, match in (
        (x, y[:-1], "Labels"),
        (with_nan, y, "Row 4"),
        (x[:1], y[:1], "At least two"),
        (x[:0], y[:0], "not be empty"),
    ):
        with pytest.raises(InvalidInputError, match=match):
            neural_cleanse_patching(classifier, digits.white_square, images, labels, 0.1)
    with pytest.raises(InvalidInputError, match="The trigger turned"):
        neural_cleanse_patching(classifier, lambda one: one[:, 0], x, y, 0.1)
    with pytest.raises(InvalidInputError, match="PyTorchClassifier"):
        neural_cleanse_patching(object(), digits.white_square, x, y, 0.1)
