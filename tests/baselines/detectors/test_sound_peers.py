"""STEP and STRIP-ViTA: perturbations by hand, scores recomputed, and synthesised words with a tone as the trigger."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from scipy.spatial.distance import mahalanobis
from scipy.stats import entropy
from sklearn.metrics import roc_auc_score
from torch import nn

from art_plugins.attacks.datasets.synthetic_speech import synthetic_speech
from art_plugins.attacks.poisoning import poison_classes
from art_plugins.attacks.training_loop import Training
from art_plugins.attacks.waveform_models import train_classifier
from art_plugins.baselines.detectors.step import LEAST_SPREAD, STEP, signed_distances
from art_plugins.baselines.detectors.strip_vita import STRIPViTA
from art_plugins.statistics.gaussian import fit_gaussian
from art_plugins.statistics.peers.label_stability import (
    BREAKING,
    PRESERVING,
    robust_z,
    shuffled,
    silenced,
    smoothed,
    with_noise,
)


class Loudest(nn.Module):
    """The class is the quarter of the time with the largest value; a trigger of 9 in the first step makes it class 3."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = x.unflatten(1, (4, -1)).amax(dim=2)
        return torch.where(x.amax(dim=1, keepdim=True) >= 8, torch.tensor([0.0, 0.0, 0.0, 50.0]), logits)


@pytest.fixture
def loudest() -> PyTorchClassifier:
    return PyTorchClassifier(Loudest().eval(), nn.CrossEntropyLoss(), (16,), 4, device_type="cpu")


def test_perturbations_change_what_they_say(random: np.random.Generator) -> None:
    x = random.normal(size=(3, 64)).astype(np.float32)
    assert np.array_equal(BREAKING[0].change(x, x, random), x[:, ::-1])
    parts = shuffled(x, random)
    assert not np.array_equal(parts, x)
    np.testing.assert_array_equal(np.sort(parts, axis=1), np.sort(x, axis=1))
    assert {tuple(part) for part in parts[0].reshape(8, 8)} == {tuple(part) for part in x[0].reshape(8, 8)}
    assert (silenced(x, 0.5, random) == 0).sum(axis=1).tolist() == [32] * 3
    assert (silenced(x, 0.001, random) == 0).sum(axis=1).tolist() == [1] * 3
    np.testing.assert_allclose(smoothed(np.array([[0.0, 4.0, 0.0, 0.0]])), [[1.0, 2.0, 1.0, 0.0]])
    long = random.normal(size=(2, 20_000)) * [[1.0], [5.0]]
    noise = with_noise(long, 20.0, random) - long
    np.testing.assert_allclose(noise.std(axis=1), [0.1, 0.5], rtol=0.05)
    for way in (*BREAKING, *PRESERVING):
        assert way.change(x, x, random).shape == x.shape


def test_profiles_are_the_shares_of_draws_in_which_the_label_stays(loudest: PyTorchClassifier) -> None:
    random = np.random.default_rng(0)
    x = random.uniform(0, 0.1, size=(40, 16)).astype(np.float32)
    x[np.arange(40), np.arange(40) % 16] = 1
    detector = STEP(loudest, n_draws=4)
    detector.fit(x, np.arange(40) % 16 // 4)
    breaking, preserving = detector.profiles(x)
    for branch, (found, ways) in enumerate(((breaking, BREAKING), (preserving, PRESERVING))):
        assert found.shape == (40, 5)
        for column, way in enumerate(ways):
            draws = [np.random.default_rng((0, branch, column, draw)) for draw in range(4 if way.is_random else 1)]
            changed = [way.change(x, detector.references_, draw).astype(np.float32) for draw in draws]
            stays = [loudest.predict(one).argmax(axis=1) == loudest.predict(x).argmax(axis=1) for one in changed]
            np.testing.assert_allclose(found[:, column], np.mean(stays, axis=0))
    assert (breaking[:, 0] == 0).all()  # reversed, each loudest quarter is another one
    assert (preserving[:, 1] == 1).all()  # louder or quieter, it is the same


def test_distances_are_mahalanobis_with_the_sign_of_the_suspicious_side(random: np.random.Generator) -> None:
    benign, profiles = random.normal(size=(30, 3)), random.normal(size=(5, 3))
    gaussian = fit_gaussian(benign)
    inverse = np.linalg.inv(gaussian.covariance + LEAST_SPREAD**2 * np.eye(3))
    for sign in (1, -1):
        expected = [
            np.sign(sign * (one - gaussian.mean).sum()) * mahalanobis(one, gaussian.mean, inverse) for one in profiles
        ]
        np.testing.assert_allclose(signed_distances(profiles, benign, sign), expected)
    np.testing.assert_allclose(robust_z(np.array([3.0]), np.array([0.0, 0.0, 3.0]), 0.1), [3 / np.std([0, 0, 3])])
    np.testing.assert_allclose(robust_z(np.array([3.0]), np.zeros(4), 0.5), [6.0])


def test_step_scores_a_trigger_that_survives_everything_above_clean_clips(loudest: PyTorchClassifier) -> None:
    random = np.random.default_rng(1)
    x = random.uniform(0, 0.1, size=(80, 16)).astype(np.float32)
    x[np.arange(80), np.arange(80) % 16] = 1
    triggered = x.copy()
    triggered[:, 0] = 40
    detector = STEP(loudest)
    detector.fit(x[:40], np.arange(40) % 16 // 4)
    assert detector.outlier_scores(triggered[40:]).min() > np.median(detector.outlier_scores(x[40:]))


def test_strip_vita_scores_equal_entropies_of_sums_in_loops(loudest: PyTorchClassifier) -> None:
    x = np.random.default_rng(2).normal(size=(12, 16)).astype(np.float32)
    detector = STRIPViTA(loudest, n_blends=5)
    detector.fit(x, np.zeros(12))
    for clip, score in zip(x, detector.outlier_scores(x), strict=True):
        with torch.no_grad():
            logits = Loudest()(torch.tensor(clip + detector.blended_with_)).double()
        assert score == pytest.approx(-entropy(logits.softmax(dim=1).numpy(), axis=1).mean(), rel=1e-5)


@pytest.mark.slow
def test_both_rank_words_with_a_tone_above_clean_words() -> None:
    data = synthetic_speech(60, 40)
    times_s = np.arange(data.x_train.shape[1]) / 8_000

    def tone(x: np.ndarray) -> np.ndarray:
        return np.asarray(np.clip(x + 0.2 * np.sin(2 * np.pi * 3_000 * times_s), -1, 1), dtype=np.float32)

    attack = poison_classes(data, tone, dict.fromkeys(range(1, 6), 0), 8)
    classifier = train_classifier(attack.x_train, attack.y_train, 6, Training(nb_epochs=10))
    clean, y_clean, held = data.x_test[:120], data.y_test[:120], data.x_test[120:]
    triggered = tone(held[data.y_test[120:] != 0])
    sent = triggered[classifier.predict(triggered).argmax(axis=1) == 0]
    assert len(sent) > 0.8 * len(triggered)
    detectors: list[Any] = [STEP(classifier, n_draws=3), STRIPViTA(classifier, n_blends=30)]
    for detector in detectors:
        detector.fit(clean, y_clean)
        scores = np.r_[detector.outlier_scores(held), detector.outlier_scores(sent)]
        assert roc_auc_score(np.arange(len(scores)) >= len(held), scores) > 0.8, type(detector).__name__
