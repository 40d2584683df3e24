"""cleanlab as a filter: its own verdicts on cross-validated probabilities, label errors among digits, and small classes."""

from __future__ import annotations

import sys
from typing import Any

import numpy as np
import pytest
from art.estimators.classification import PyTorchClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold
from sklearn.preprocessing import StandardScaler
from torch import nn

from art_plugins.baselines import label_issues
from art_plugins.baselines.label_issues import LabelIssues
from art_plugins.errors import MissingPackageError
from art_plugins.features.activations import penultimate_activations

needs_cleanlab = pytest.mark.skipif(not label_issues.cleanlab_is_installed(), reason="cleanlab is not installed")


@pytest.fixture(scope="module")
def classifier(digits: Any) -> PyTorchClassifier:
    return PyTorchClassifier(digits.network("clean"), nn.CrossEntropyLoss(), (1, 8, 8), 10, device_type="cpu")


@pytest.fixture(scope="module")
def mislabelled(digits: Any) -> tuple[np.ndarray, np.ndarray]:
    """Test digits of which 30 have a wrong label, and which these are."""
    wrong = np.isin(np.arange(len(digits.y_test)), np.random.default_rng(3).choice(len(digits.y_test), 30, replace=False))
    return np.where(wrong, (digits.y_test + 3) % 10, digits.y_test), wrong


@needs_cleanlab
def test_verdicts_are_cleanlabs_on_probabilities_of_folds(digits: Any, classifier: Any, mislabelled: Any) -> None:
    from cleanlab.filter import find_label_issues

    y, wrong = mislabelled
    defence = LabelIssues(classifier, digits.x_test, y, random_state=2)
    _, is_clean = defence.detect_poison()
    features = penultimate_activations(classifier, digits.x_test).astype(np.float64)
    expected = np.zeros((len(y), 10))
    for rest, fold in StratifiedKFold(5, shuffle=True, random_state=2).split(features, y):
        scaler = StandardScaler().fit(features[rest])
        model = LogisticRegression(max_iter=1000).fit(scaler.transform(features[rest]), y[rest])
        expected[fold] = model.predict_proba(scaler.transform(features[fold]))
    np.testing.assert_allclose(defence.outlier_scores_, 1 - expected[np.arange(len(y)), y], atol=1e-6)
    np.testing.assert_array_equal(np.array(is_clean) == 0, find_label_issues(y, expected, n_jobs=1))
    assert roc_auc_score(wrong, defence.outlier_scores_) > 0.95
    assert (np.array(is_clean)[wrong] == 0).mean() > 0.8


@needs_cleanlab
def test_small_and_empty_classes_pass_and_one_class_alone_is_not_judged(
    digits: Any, classifier: Any, mislabelled: Any
) -> None:
    y, _ = mislabelled
    kept = np.flatnonzero(~np.isin(y, (4, 6)) | (np.cumsum(y == 6) * (y == 6) % 1000 == 1) & (y == 6))
    report, is_clean = LabelIssues(classifier, digits.x_test[kept], y[kept]).detect_poison()
    assert report["classes_not_judged"] == [4, 6]
    assert all(np.array(is_clean)[y[kept] == 6])
    one = np.flatnonzero(y == 2)
    report, is_clean = LabelIssues(classifier, digits.x_test[one], y[one]).detect_poison()
    assert report["classes_not_judged"] == [*range(10)]
    assert all(is_clean)


def test_cleanlab_that_is_missing_is_named_with_what_to_install(digits: Any, classifier: Any, monkeypatch: Any) -> None:
    for module in ("cleanlab", "cleanlab.filter"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(label_issues, "penultimate_activations", None)
    with pytest.raises(MissingPackageError, match=r"cleanlab.*pip install \"art-plugins\[peers\]\""):
        LabelIssues(classifier, digits.x_test, digits.y_test).detect_poison()
