"""SPECTRE and PyOD's detectors as filters: the rule of removal, the target class, and PyOD's own scores."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from art.estimators.classification import PyTorchClassifier
from scipy.stats import median_abs_deviation
from sklearn.neighbors import LocalOutlierFactor
from torch import nn

from art_plugins.baselines import pyod_filter
from art_plugins.baselines.pyod_filter import PyODFilter
from art_plugins.baselines.spectre import SPECTRE
from art_plugins.errors import MissingPackageError

D = 6
needs_pyod = pytest.mark.skipif(not pyod_filter.pyod_is_installed(), reason="PyOD is not installed")


def classifier(nb_classes: int = 3) -> Any:
    """Its penultimate features are its inputs."""
    return PyTorchClassifier(
        nn.Sequential(nn.Flatten(), nn.Linear(D, nb_classes)), nn.CrossEntropyLoss(), (D,), nb_classes, device_type="cpu"
    )


@pytest.fixture
def poisoned(random) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Three classes of 300; 12 of class 1 lie far out in a quiet direction."""
    x, y = random.normal(size=(900, D)) * np.linspace(4, 0.5, D), np.repeat(np.arange(3), 300)
    is_poison = (y == 1) & (np.arange(900) % 25 == 0)
    x[is_poison, 4] += 20
    return x.astype(np.float32), y, is_poison


def test_spectre_finds_the_target_class_and_removes_one_and_a_half_times_the_bound(poisoned):
    x, y, is_poison = poisoned
    defence = SPECTRE(classifier(), x, y, fraction=0.08)
    report, is_clean = defence.detect_poison()
    removed = np.array(is_clean) == 0
    assert report["target_class"] == defence.target_class_ == 1
    assert removed.sum() == report["n_removed"] == int(1.5 * 0.08 * 300)
    assert not removed[y != 1].any()
    assert removed[is_poison].all()
    own = np.flatnonzero(y == 1)
    assert defence.outlier_scores_[own[removed[own]]].min() >= defence.outlier_scores_[own[~removed[own]]].max()
    assert report["class_scores"] == defence.class_scores_.tolist()


def test_spectre_small_classes_pass_and_a_set_of_nothing_else_has_no_target(random):
    x, y = random.normal(size=(60, D)).astype(np.float32), np.repeat([0, 1, 2], [40, 10, 10])
    defence = SPECTRE(classifier(), x, y)
    report, is_clean = defence.detect_poison()
    assert report["target_class"] == 0
    assert report["class_scores"][1:] == [None, None]
    assert all(is_clean[40:])
    report, is_clean = SPECTRE(classifier(), x[40:], y[40:]).detect_poison()
    assert report["target_class"] is None
    assert all(is_clean)


@needs_pyod
def test_pyod_scores_are_robust_deviations_of_its_own_and_the_rule_is_the_cutoff(poisoned):
    x, y, _ = poisoned
    defence = PyODFilter(classifier(), x, y, "lof", cutoff=3.0)
    report, is_clean = defence.detect_poison()
    for label in range(3):
        own = x[y == label].astype(np.float64)
        raw = -LocalOutlierFactor(n_neighbors=20).fit(own).negative_outlier_factor_
        expected = (raw - np.median(raw)) / median_abs_deviation(raw, scale="normal")
        np.testing.assert_allclose(defence.outlier_scores_[y == label], expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(np.array(is_clean) == 0, defence.outlier_scores_ > 3.0)
    assert report["n_removed"] == {f"Class_{label}": int((np.array(is_clean)[y == label] == 0).sum()) for label in range(3)}


@needs_pyod
@pytest.mark.parametrize("detector", ["ecod", "iforest"])
def test_pyod_detectors_rank_lone_outliers_highest(poisoned, detector):
    x, y, _ = poisoned
    x = x.copy()
    x[450] = 40
    defence = PyODFilter(classifier(), x, y, detector)
    _, is_clean = defence.detect_poison()
    assert defence.outlier_scores_[y == y[450]].max() == defence.outlier_scores_[450]
    assert is_clean[450] == 0


@needs_pyod
def test_pyod_classes_of_fewer_than_ten_pass(random):
    x, y = random.normal(size=(39, D)).astype(np.float32), np.repeat([0, 1], [30, 9])
    x[35] = 100
    defence = PyODFilter(classifier(), x, y, cutoff=0.1)
    report, is_clean = defence.detect_poison()
    assert report["classes_not_judged"] == [1, 2]
    assert all(is_clean[30:])
    assert not all(is_clean[:30])


def test_pyod_that_is_missing_is_named_with_what_to_install_before_any_pass(poisoned, monkeypatch):
    for module in ("pyod", "pyod.models.ecod"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(pyod_filter, "penultimate_activations", None)
    x, y, _ = poisoned
    with pytest.raises(MissingPackageError, match=r"PyOD.*pip install \"art-plugins\[peers\]\""):
        PyODFilter(classifier(), x, y).detect_poison()
