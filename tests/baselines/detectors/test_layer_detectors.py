"""Beatrix, TED and TED++: the scores in loops, held-out clean images, and what they catch on digits."""

from __future__ import annotations

import functools
import sys
from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from scipy.stats import median_abs_deviation
from sklearn.metrics import roc_auc_score
from torch import nn

from art_plugins.baselines import pyod_filter
from art_plugins.baselines.detectors.beatrix import N_FOLDS, Beatrix
from art_plugins.baselines.detectors.ted import TED
from art_plugins.baselines.detectors.ted_plus_plus import TEDPlusPlus
from art_plugins.errors import InvalidInputError, MissingPackageError
from art_plugins.features.vae.training import seeded

needs_pyod = pytest.mark.skipif(not pyod_filter.pyod_is_installed(), reason="PyOD is not installed")


def wrapped(network: nn.Module, shape: tuple[int, ...] = (1, 8, 8)) -> PyTorchClassifier:
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), shape, 10, device_type="cpu")


def outputs_of(network: Any, x: np.ndarray) -> list[np.ndarray]:
    found = []
    with torch.no_grad():
        value = torch.tensor(np.array(x))
        for module in network:
            value = module(value)
            found.append(value.double().numpy())
    return found


@pytest.fixture(scope="module")
def triggered(digits):
    return digits.white_square(digits.x_test[digits.y_test != digits.target])


@needs_pyod
@pytest.mark.parametrize(("kind", "n_components"), [(TED, None), (TEDPlusPlus, 2)])
def test_ted_ranks_and_scores_equal_a_recomputation_with_pyods_detector(digits, triggered, kind, n_components):
    from pyod.models.pca import PCA

    network = digits.network("white_square")
    detector = kind(wrapped(network), layers=["2", "4", "5"])
    detector.fit(digits.x_clean, digits.y_clean)
    clean, new = (outputs_of(network, x) for x in (digits.x_clean, triggered[:40]))
    right = clean[-1].argmax(axis=1) == digits.y_clean
    labels = digits.y_clean[right]

    def rank(one: np.ndarray, label: int, layer: int, left_out: int | None = None) -> int:
        known = clean[layer][right]
        distances = np.linalg.norm(known - one, axis=1)
        order = [row for row in np.argsort(distances) if row != left_out]
        found = [labels[row] == label for row in order].index(True)
        if kind is TED:
            return found
        nearest, members = order[found], known[labels == label]
        half = int(np.ceil(len(members) / 2))
        radius = np.sort(np.linalg.norm(members - known[nearest], axis=1))[half]  # the image itself is the first one
        return found if distances[nearest] <= radius else len(labels) - 1

    own = np.array([[rank(clean[i][right][row], labels[row], i, row) for i in (2, 4, 5)] for row in range(len(labels))])
    np.testing.assert_array_equal(detector.clean_ranks_, own)
    assert (own == len(labels) - 1).any() == (kind is TEDPlusPlus)
    pca = PCA(n_components=n_components, svd_solver="full").fit(own)
    np.testing.assert_allclose(detector.clean_scores_[right], pca.decision_scores_, rtol=1e-6)
    predicted = new[-1].argmax(axis=1)
    others = [[rank(new[i][row], predicted[row], i) for i in (2, 4, 5)] for row in range(40)]
    np.testing.assert_allclose(detector.outlier_scores(triggered[:40]), pca.decision_function(others), rtol=1e-6)


@needs_pyod
def test_ted_plus_plus_image_of_a_class_without_clean_images_is_compared_with_the_likeliest_other(digits):
    network = digits.network("white_square")
    kept = digits.y_clean != 5
    detector = TEDPlusPlus(wrapped(network), layers=["2", "4"])
    detector.fit(digits.x_clean[kept], digits.y_clean[kept])
    outputs = outputs_of(network, digits.x_test)[-1]
    sent = outputs.argmax(axis=1) == 5
    assert sent.any()

    def without_five(module: nn.Module, given: Any, logits: torch.Tensor) -> torch.Tensor:
        return logits.index_fill(1, torch.tensor([5]), -1e9)

    found = detector.outlier_scores(digits.x_test[sent])
    handle = network.register_forward_hook(without_five)
    try:
        expected = detector.outlier_scores(digits.x_test[sent])
    finally:
        handle.remove()
    np.testing.assert_array_equal(found, expected)
    assert (found > 0).all()
    # Clean images that are predicted to be of the class that is left out are scored in the same way, not passed.
    absent = detector._absent
    if absent.any():
        np.testing.assert_array_equal(detector.clean_scores_[absent], detector.outlier_scores(digits.x_clean[kept][absent]))


@needs_pyod
def test_ted_layers_that_say_the_same_leave_the_scores_finite(digits, triggered):
    """One layer moves nothing: its ranks are those of the one before, and a direction of the ranks has no variance."""
    with seeded(0):
        flat, *others = digits.network("white_square")
        network = nn.Sequential(flat, nn.Identity(), *others)
    detector = TED(wrapped(network), layers=["0", "1", "5"])
    detector.fit(digits.x_clean, digits.y_clean)
    np.testing.assert_array_equal(detector.clean_ranks_[:, 0], detector.clean_ranks_[:, 1])
    assert np.isfinite(detector.outlier_scores(triggered)).all()


def test_ted_without_pyod_says_what_to_install_before_any_pass(digits, monkeypatch):
    monkeypatch.setitem(sys.modules, "pyod", None)
    monkeypatch.setitem(sys.modules, "pyod.models.pca", None)
    monkeypatch.setattr("art_plugins.baselines.detectors.layer_detector.stream_activations", None)
    with pytest.raises(MissingPackageError, match=r"pip install \"art-plugins\[peers\]\""):
        TED(wrapped(digits.network("white_square")), layers=["2"]).fit(digits.x_clean, digits.y_clean)


@needs_pyod
def test_ted_too_few_clean_images_are_refused(digits):
    detector = TED(wrapped(digits.network("white_square")), layers=["2", "4"])
    one_each = np.unique(digits.y_clean, return_index=True)[1]
    with pytest.raises(InvalidInputError, match="TED compares 0 clean images"):
        detector.fit(digits.x_clean[one_each], digits.y_clean[one_each])


def test_beatrix_scores_equal_a_recomputation_in_loops(digits, triggered):
    network = digits.network("white_square")
    detector = Beatrix(wrapped(network), layers=["3", "4"], orders=(1, 3), width=2.0)
    detector.fit(digits.x_clean, digits.y_clean)
    clean, new = (outputs_of(network, x) for x in (digits.x_clean, triggered[:5]))
    right = clean[-1].argmax(axis=1) == digits.y_clean
    upper = np.triu_indices(32)

    def gram(features: np.ndarray, order: int) -> np.ndarray:
        product = np.outer(features**order, features**order)[upper]
        return np.asarray(np.sign(product) * np.abs(product) ** (1 / order))

    for row, found in enumerate(detector.outlier_scores(triggered[:5])):
        members = np.flatnonzero(right & (digits.y_clean == new[-1][row].argmax()))
        deviations = []
        for layer in (3, 4):
            for order in (1, 3):
                known = np.stack([gram(clean[layer][member], order) for member in members])
                centre, spread = np.median(known, axis=0), median_abs_deviation(known, axis=0)
                low, high, one = centre - 2 * spread, centre + 2 * spread, gram(new[layer][row], order)
                below = np.where(one < low, (low - one) / (np.abs(low) + 1e-6), 0)
                deviations.append((below + np.where(one > high, (one - high) / (np.abs(high) + 1e-6), 0)).mean())
        assert found == pytest.approx(np.mean(deviations), rel=1e-3)


def test_beatrix_scores_of_clean_images_are_those_of_a_detector_that_never_saw_them(digits):
    network = digits.network("white_square")
    make = functools.partial(Beatrix, wrapped(network), layers=["4"], orders=(2,))
    detector = make()
    detector.fit(digits.x_clean, digits.y_clean)
    folds = np.random.default_rng(0).permutation(len(digits.x_clean)) % N_FOLDS
    other = make()
    other.fit(digits.x_clean[folds != 1], digits.y_clean[folds != 1])
    np.testing.assert_allclose(detector.clean_scores_[folds == 1], other.outlier_scores(digits.x_clean[folds == 1]))


def test_beatrix_layer_is_the_map_nearest_to_two_thirds_of_the_way():
    with seeded(0):
        convolutions = [nn.Sequential(nn.Conv2d(n, 3, 3, padding=1), nn.ReLU()) for n in (1, 3, 3)]
        deep = nn.Sequential(*convolutions, nn.Flatten(), nn.Linear(192, 10))
        flat = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 10))
    x = np.zeros((1, 1, 8, 8), dtype=np.float32)
    assert Beatrix(wrapped(deep))._default_layers(x) == ["2.1"]
    assert Beatrix(wrapped(flat))._default_layers(x) == ["4"]


@pytest.mark.parametrize(
    ("kind", "layers"),
    [
        (Beatrix, ["1", "3"]),
        pytest.param(TED, ["0", "2", "4"], marks=needs_pyod),
        pytest.param(TEDPlusPlus, ["0", "2", "4"], marks=needs_pyod),
    ],
)
def test_detector_ranks_triggered_images_above_clean_ones(digits, triggered, kind, layers):
    detector = kind(wrapped(digits.network("white_square")), layers=layers)
    detector.fit(digits.x_clean, digits.y_clean)
    sent = outputs_of(digits.network("white_square"), triggered)[-1].argmax(axis=1) == digits.target
    scores = np.concatenate([detector.outlier_scores(digits.x_test), detector.outlier_scores(triggered[sent])])
    assert roc_auc_score(np.arange(len(scores)) >= len(digits.x_test), scores) > 0.9


@pytest.mark.parametrize("kind", [Beatrix, pytest.param(TED, marks=needs_pyod)])
def test_image_of_a_class_without_clean_images_passes_with_the_score_0(digits, kind):
    network = digits.network("white_square")
    kept = digits.y_clean != 5
    detector = kind(wrapped(network), layers=["2", "4"])
    detector.fit(digits.x_clean[kept], digits.y_clean[kept])
    sent = outputs_of(network, digits.x_test)[-1].argmax(axis=1) == 5
    assert sent.any()
    report, is_trigger = detector.detect(digits.x_test[sent])
    np.testing.assert_array_equal(report["outlier_scores"], 0)
    assert not is_trigger.any()


@pytest.mark.parametrize("kind", [Beatrix, pytest.param(TED, marks=needs_pyod)])
def test_labels_that_the_model_never_predicts_are_refused(digits, kind):
    detector = kind(wrapped(digits.network("white_square")), layers=["2"])
    wrong = (outputs_of(digits.network("white_square"), digits.x_clean)[-1].argmax(axis=1) + 1) % 10
    with pytest.raises(InvalidInputError, match="predicts none of the 200 clean images as labelled"):
        detector.fit(digits.x_clean, wrong)
