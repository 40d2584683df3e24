"""The filters and detectors of others in strangers' hands: small classes, copies, NaN, wrong shapes, odd values."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier, SklearnClassifier
from sklearn.linear_model import LogisticRegression
from torch import nn

from art_plugins.baselines.art_filters import ActivationClustering, SpectralSignatures
from art_plugins.baselines.bounds import PerfectFilter, RandomFilter
from art_plugins.baselines.detectors.beatrix import Beatrix
from art_plugins.baselines.detectors.scale_up import ScaleUp
from art_plugins.baselines.detectors.ted import TED
from art_plugins.baselines.pyod_filter import DETECTORS, PyODFilter, pyod_is_installed
from art_plugins.baselines.spectre import SPECTRE
from art_plugins.errors import ArtPluginsError, InvalidInputError

D = 12
needs_pyod = pytest.mark.skipif(not pyod_is_installed(), reason="PyOD is not installed")
FILTERS = [
    ActivationClustering,
    SpectralSignatures,
    SPECTRE,
    pytest.param(PyODFilter, marks=needs_pyod),
]


def classifier(nb_classes: int = 3, network: nn.Module | None = None, shape: tuple[int, ...] = (D,)) -> Any:
    """Its penultimate features are its inputs."""
    network = network or nn.Sequential(nn.Flatten(), nn.Linear(int(np.prod(shape)), nb_classes))
    optimiser = torch.optim.SGD(network.parameters(), lr=0.01)
    loss = nn.CrossEntropyLoss()
    return PyTorchClassifier(network, loss, shape, nb_classes, optimiser, clip_values=(0, 1), device_type="cpu")


def samples(random: np.random.Generator, *sizes: int) -> tuple[np.ndarray, np.ndarray]:
    y = np.repeat(np.arange(len(sizes)), sizes)
    return random.normal(size=(len(y), D)).astype(np.float32), y


@needs_pyod
@pytest.mark.parametrize("detector", DETECTORS)
@pytest.mark.parametrize("n_copies", [0, 1, 19, 25, 45])
def test_pyod_copies_of_one_point_cost_no_other_sample(detector, n_copies):
    """60 samples, of which 25 are one: LOF removed 17, without the copies 3."""
    x = np.random.default_rng(4).normal(size=(60, D)).astype(np.float32)
    alone = PyODFilter(classifier(2), x[: 60 - n_copies], np.zeros(60 - n_copies), detector)
    alone.detect_poison()
    x[60 - n_copies :] = x[0]
    defence = PyODFilter(classifier(2), x, np.zeros(60), detector)
    _, is_clean = defence.detect_poison()
    np.testing.assert_array_equal(defence.outlier_scores_[: 60 - n_copies], alone.outlier_scores_)
    assert (defence.outlier_scores_[60 - n_copies :] == defence.outlier_scores_[0]).all()
    assert is_clean[: 60 - n_copies] == alone.is_clean_.tolist()


@needs_pyod
def test_pyod_samples_that_differ_but_have_one_feature_are_copies(random):
    network = nn.Sequential(nn.Flatten(), nn.ReLU(), nn.Linear(D, 2))
    x, y = samples(random, 60, 60)
    x[:25] = -np.abs(x[:25])  # all features 0
    defence = PyODFilter(classifier(2, network), x, y, "lof")
    _, is_clean = defence.detect_poison()
    alone = PyODFilter(defence.classifier, x[24:], y[24:], "lof")
    assert is_clean[24:] == alone.detect_poison()[1]
    np.testing.assert_allclose(defence.outlier_scores_[:25], alone.outlier_scores_[0])


@needs_pyod
def test_pyod_class_of_nothing_but_copies_is_not_judged(random):
    x, y = samples(random, 60, 60)
    x[:60] = x[0]
    report, is_clean = PyODFilter(classifier(2), x, y, "lof").detect_poison()
    assert report["classes_not_judged"] == [0]
    assert all(is_clean[:60])


@pytest.mark.parametrize("features", ["penultimate", "logits"])
@pytest.mark.parametrize("sizes", [(40, 0, 40), (40, 1, 40), (9, 40, 0), (40, 3, 9), (5, 5, 5), (0, 0, 12)])
def test_activation_clustering_small_and_empty_classes_pass_and_are_listed(random, sizes, features):
    x, y = samples(random, *sizes)
    network = nn.Sequential(nn.Flatten(), nn.Linear(D, 3))
    report, is_clean = ActivationClustering(classifier(3, network), x, y, features).detect_poison()
    small = [label for label, size in enumerate(sizes) if size < 10]
    assert report["classes_not_judged"] == small
    assert all(np.array(is_clean)[np.isin(y, small)])
    for label in set(range(3)) - set(small):
        assert 0 < (np.array(is_clean)[y == label] == 0).sum() <= sizes[label] // 2


def test_activation_clustering_with_small_classes_judges_the_others_as_without_them(random):
    x, y = samples(random, 60, 4, 60)
    defence = ActivationClustering(classifier(3), x, y)
    defence.detect_poison()
    rows = y != 1
    other = ActivationClustering(defence.classifier, x[rows], y[rows])
    other.detect_poison()
    np.testing.assert_array_equal(defence.is_clean_[rows], other.is_clean_)


def test_activation_clustering_silhouette_over_equal_samples_is_a_named_error():
    x = np.ones((30, D), dtype=np.float32)
    defence = ActivationClustering(classifier(2), x, np.zeros(30), cluster_analysis="silhouette-scores")
    with pytest.warns(UserWarning, match="distinct clusters"), pytest.raises(InvalidInputError, match="ActivationDefence"):
        defence.detect_poison()


def test_activation_clustering_reclassification_with_a_class_that_is_not_judged_is_refused(random):
    x, y = samples(random, 40, 4, 40)
    with pytest.raises(InvalidInputError, match="ex_re_threshold"):
        ActivationClustering(classifier(3), x, y, ex_re_threshold=0.5).detect_poison()


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("features", ["penultimate", "logits"])
def test_filters_refuse_a_classifier_of_scikit_learn(random, kind, features):
    x, y = samples(random, 30, 30)
    wrapped = SklearnClassifier(LogisticRegression().fit(x, y), clip_values=(-9, 9))
    options = {"features": features} if kind in (ActivationClustering, SpectralSignatures) else {}
    with pytest.raises(InvalidInputError, match=r"(?i)classifier"):
        kind(wrapped, x, y, **options).detect_poison()


@pytest.mark.parametrize("kind", FILTERS)
@pytest.mark.parametrize("shape", [(D, 1), (D + 1,), (1, D), (3, 4)])
def test_filters_refuse_samples_of_another_shape_before_the_model_runs(kind, shape):
    with pytest.raises(InvalidInputError, match=r"x_train must have the classifier's shape \(12,\)"):
        kind(classifier(), np.zeros((60, *shape), dtype=np.float32), np.arange(60) % 3).detect_poison()


class NaNFromTwo(nn.Module):
    """Gives NaN for samples that begin with more than 2."""

    def __init__(self, shape: tuple[int, ...] = (D,)) -> None:
        super().__init__()
        self.first, self.head = nn.Flatten(), nn.Linear(int(np.prod(shape)), 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.first(x)
        return self.head(torch.where(x[:, :1] > 2, torch.nan, x))


@pytest.mark.parametrize("kind", FILTERS)
def test_filters_name_how_many_samples_the_model_gives_nan_for(random, kind):
    x, y = samples(random, 40, 40, 40)
    x[:, 0] = 0
    x[[7, 50, 90], 0] = 3
    with pytest.raises(InvalidInputError, match=r"NaN or infinity for 3 of 120 samples \(rows 7, .*layer 'penultimate'"):
        kind(classifier(3, NaNFromTwo()), x, y).detect_poison()


@pytest.mark.parametrize("kind", [TED, Beatrix, ScaleUp])
def test_detectors_catch_what_the_model_gives_nan_for_and_learn_from_none(digits, kind):
    if kind is TED:
        pytest.importorskip("pyod")

    class Breaks(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = digits.network("clean")

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.inner(torch.where(x[:, :, :1, :1] == 0.75, torch.nan, x))

    wrapped = classifier(10, Breaks().eval(), (1, 8, 8))
    detector = kind(wrapped, fpr=0.1)
    detector.fit(digits.x_clean, digits.y_clean)
    x = np.array(digits.x_test[:50])
    x[::5, :, 0, 0] = 0.75
    for target in (None, 9):
        detector.target_class = target
        report, caught = detector.detect(x)
        assert caught[::5].all()
        assert np.isinf(report["outlier_scores"][::5]).all()
        assert caught.mean() < 0.6
    x_clean = np.array(digits.x_clean)
    x_clean[3, :, 0, 0] = 0.75
    if kind is not ScaleUp:
        with pytest.raises(InvalidInputError, match="NaN or infinity"):
            detector.fit(x_clean, digits.y_clean)


ODD: tuple[Any, ...] = (True, 10**30, 10**400, [], {}, "1", None, float("nan"), -1)


def makers(x: np.ndarray, y: np.ndarray) -> dict[str, Callable[[], Any]]:
    found: dict[str, Callable[[], Any]] = {
        "clustering": lambda: ActivationClustering(classifier(), x, y),
        "spectral": lambda: SpectralSignatures(classifier(), x, y),
        "spectre": lambda: SPECTRE(classifier(), x, y),
        "random": lambda: RandomFilter(classifier(), x, y),
        "perfect": lambda: PerfectFilter(classifier(), x, y, np.zeros(len(x))),
    }
    if pyod_is_installed():
        found["pyod"] = lambda: PyODFilter(classifier(), x, y)
    return found


@pytest.mark.parametrize("name", ["clustering", "spectral", "spectre", "random", "pyod"])
def test_filters_odd_values_of_every_parameter_give_a_result_or_name_it(random, name):
    x, y = samples(random, 30, 30, 30)
    made = makers(x, y).get(name) or pytest.skip("PyOD is not installed")
    for parameter in made().defence_params:
        for value in ODD:
            defence = made()
            try:
                _, is_clean = defence.detect_poison(**{parameter: value})
            except ArtPluginsError as error:
                assert parameter in str(error), (parameter, value, error)  # noqa: PT017
            else:
                assert len(is_clean) == 90
                assert value is not True, parameter


@pytest.mark.parametrize("kind", [Beatrix, ScaleUp, TED])
def test_detectors_refuse_odd_values_of_every_parameter_by_name(kind):
    detector = kind(classifier())
    for parameter in detector.defence_params:
        for value in (True, 10**400, {}, "1", float("nan"), [True], [10**400] if parameter == "scales" else [2.5]):
            if parameter == "random_state" and value == 10**400:
                continue  # NumPy's own generators take it
            with pytest.raises(InvalidInputError, match=parameter):
                detector.set_params(**{parameter: value})


def test_perfect_filter_of_another_length_is_refused(random):
    x, y = samples(random, 30, 30, 30)
    with pytest.raises(InvalidInputError, match="is_poison must have a value for each of the 90"):
        PerfectFilter(classifier(), x, y, np.zeros(89)).detect_poison()
