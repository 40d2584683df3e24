"""The layer-wise filter with trusted samples in any number: poison goes, and sub-populations stay."""

from __future__ import annotations

import json
import logging
from typing import Any

import numpy as np
import pytest
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.defences.layers import groups
from art_plugins.defences.layerwise import LayerwiseFeatureDefence
from art_plugins.errors import InvalidInputError

LAYERS = ["1", "2", "3", "4", "5"]


def wrapped(network: nn.Module) -> PyTorchClassifier:
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu")


def poisoned(digits: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the network of the ``digits`` fixture was trained on."""
    x, y = np.array(digits.x_train), np.array(digits.y_train)
    rows = np.random.default_rng(1).choice(np.flatnonzero(y != digits.target), len(x) // 10, replace=False)
    x[rows], y[rows] = digits.white_square(x[rows]), digits.target
    return x, y, np.isin(np.arange(len(y)), rows)


def first(x: np.ndarray, y: np.ndarray, n: int) -> tuple[np.ndarray, np.ndarray]:
    """The first n of each class."""
    rows = np.concatenate([np.flatnonzero(y == label)[:n] for label in np.unique(y)])
    return x[rows], y[rows]


def trusted(digits: Any, n: int) -> tuple[np.ndarray, np.ndarray]:
    x, y = np.concatenate([digits.x_clean, digits.x_test]), np.concatenate([digits.y_clean, digits.y_test])
    return first(x, y, n)


def test_few_trusted_samples_of_other_types_are_taken_and_the_network_keeps_its_mode(digits):
    x, y, _ = poisoned(digits)
    network = digits.network("white_square").train()
    x_val, y_val = trusted(digits, 2)
    found = []
    for dtype in (np.float32, np.float64):
        defence = LayerwiseFeatureDefence(wrapped(network), x, y, x_val.astype(dtype), y_val, layers=LAYERS)
        found.append(defence.detect_poison()[1])
        assert all(module.training for module in network.modules())
    assert found[0] == found[1]


@pytest.mark.parametrize(
    ("dtype", "of_trusted", "joined"),
    [(np.uint8, np.uint8, np.uint8), (np.uint8, np.float64, np.float32), (np.int64, np.int32, np.int64),
     (np.float64, np.float32, np.float64)],
)  # fmt: skip
def test_training_and_trusted_samples_are_joined_on_the_disk(dtype, of_trusted, joined, monkeypatch):
    monkeypatch.setattr("art_plugins.disk_room.IN_MEMORY_BYTES", 0)
    monkeypatch.setattr(groups, "AT_ONCE", 3)
    x, x_val = np.arange(40).reshape(10, 4).astype(dtype), np.arange(100, 128).reshape(7, 4).astype(of_trusted)
    both = groups._joined(x, x_val)
    assert both.dtype == joined
    np.testing.assert_array_equal(both, np.concatenate([x, x_val]))


@pytest.mark.parametrize("n", [5, *(pytest.param(n, marks=pytest.mark.slow) for n in (1, 19, 20))])
def test_poison_goes_with_trusted_samples_in_any_number(digits, n):
    x, y, is_poison = poisoned(digits)
    data = (x, y, *trusted(digits, n))
    defence = LayerwiseFeatureDefence(wrapped(digits.network("white_square")), *data, layers=LAYERS)
    report, is_clean = defence.detect_poison()
    removed = np.array(is_clean) == 0
    assert removed[is_poison].mean() > 0.95
    assert removed[~is_poison].mean() < 0.005
    assert report["trusted"] is True
    group = next(one for one in report["groups"] if one["verdict"] == "poison")
    assert group["n_trusted"] == n * len(group["classes"])
    assert group["n_trusted_inside"] == 0
    by_score = defence.outlier_scores_ > defence.threshold_
    np.testing.assert_array_equal(removed, by_score | defence.joined_)
    assert not (by_score & defence.joined_).any()
    assert defence.layer_scores_.shape == (len(x), len(LAYERS))
    json.dumps(report, allow_nan=False)


@pytest.mark.slow
def test_group_brings_in_the_poison_that_no_score_shows(digits):
    x, y, is_poison = poisoned(digits)
    classifier = wrapped(digits.network("white_square"))
    defence = LayerwiseFeatureDefence(classifier, x, y, *trusted(digits, 20), layers=LAYERS)
    defence.detect_poison()
    too_high = float(np.quantile(defence.outlier_scores_[is_poison], 0.4))
    report, is_clean = defence.detect_poison(tau=too_high)
    removed = np.array(is_clean) == 0
    assert defence.threshold_ >= too_high
    assert (defence.outlier_scores_ > defence.threshold_)[is_poison].mean() < 0.65
    assert removed[is_poison].mean() > 0.95
    assert removed[~is_poison].mean() < 0.005
    assert [report[f"Class_{label}"]["n_joined"] for label in range(10)] == [
        defence.joined_[y == label].sum() for label in range(10)
    ]


def test_single_samples_go_only_where_they_are_too_many_for_chance(digits, monkeypatch):
    """Without groups the scores find the poison; in the clean set as many high scores are expected, and all stay."""
    monkeypatch.setattr(groups, "find_groups", lambda *_: [])
    x, y, is_poison = poisoned(digits)
    poisoned_set = LayerwiseFeatureDefence(
        wrapped(digits.network("white_square")), x, y, *trusted(digits, 20), layers=LAYERS
    )
    _, is_clean = poisoned_set.detect_poison(fpr=0.05)
    removed = np.array(is_clean) == 0
    assert removed[is_poison].mean() > 0.8
    assert 0 < (~is_poison & removed).sum() < 0.2 * removed.sum()
    assert not poisoned_set.joined_.any()
    data = (digits.x_train, digits.y_train, *trusted(digits, 20))
    clean_set = LayerwiseFeatureDefence(wrapped(digits.network("clean")), *data, layers=LAYERS, fpr=0.05)
    _, is_clean = clean_set.detect_poison()
    assert all(is_clean)
    assert (clean_set.outlier_scores_ > poisoned_set.threshold_).any()


@pytest.mark.slow
def test_clean_training_set_loses_nothing(digits):
    for n in (5, 20):
        data = (digits.x_train, digits.y_train, *trusted(digits, n))
        defence = LayerwiseFeatureDefence(wrapped(digits.network("clean")), *data, layers=LAYERS)
        report, is_clean = defence.detect_poison()
        assert not defence.joined_.any()
        assert not any(one["verdict"] == "poison" for one in report["groups"])
        assert all(is_clean)


@pytest.mark.parametrize("n", [10, 30])
def test_sub_population_of_merged_digits_stays(merged_digits, n):
    """The digits 1 and 7 under one label: neither goes as a group, whatever the number of trusted samples."""
    order = np.random.default_rng(0).permutation(len(merged_digits.y))
    x, y, part = merged_digits.x[order], merged_digits.y[order], merged_digits.part[order]
    kept = np.ones(len(y), bool)
    for label in np.unique(y):
        kept[np.flatnonzero(y == label)[:n]] = False
    data = (x[kept], y[kept], x[~kept], y[~kept])
    defence = LayerwiseFeatureDefence(merged_digits.classifier, *data)
    _, is_clean = defence.detect_poison()
    removed = np.array(is_clean) == 0
    assert not defence.joined_.any()
    for digit in merged_digits.parts:
        assert removed[part[kept] == digit].mean() < 0.2  # single ones, by a rule that learned from 15 of the kind


def test_few_trusted_samples_with_wrong_labels_are_refused_or_warned_of(digits, caplog):
    x, y = trusted(digits, 5)
    classifier = wrapped(digits.network("clean"))
    with pytest.raises(InvalidInputError, match="classifies none of the 50 trusted samples as its label says"):
        LayerwiseFeatureDefence(classifier, digits.x_train, digits.y_train, x, (y + 1) % 10, layers=LAYERS).detect_poison()
    wrong = np.where(np.arange(len(y)) % 5 < 4, (y + 1) % 10, y)
    with caplog.at_level(logging.WARNING):
        LayerwiseFeatureDefence(classifier, digits.x_train, digits.y_train, x, wrong, layers=LAYERS).detect_poison()
    assert "of 50 trusted samples as they are labelled" in caplog.text


def test_trusted_sample_without_finite_features_is_refused(digits):
    x, y = trusted(digits, 5)
    x = np.array(x)
    x[3] = 1e38
    data = (digits.x_train, digits.y_train, x, y)
    with pytest.raises(InvalidInputError, match="1 of the 50 trusted samples give features or outputs that are not finite"):
        LayerwiseFeatureDefence(wrapped(digits.network("clean")), *data, layers=LAYERS).detect_poison()
