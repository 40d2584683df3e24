"""Spectral scores against ART's full decomposition."""

from __future__ import annotations

import numpy as np
import pytest
from art.defences.detector.poison import SpectralSignatureDefense

from art_plugins.statistics.peers.spectral import spectral_scores


@pytest.mark.parametrize(("n_samples", "n_features"), [(200, 64), (40, 300), (10, 5), (1, 3), (5, 1)])
def test_spectral_scores_equal_arts(n_samples: int, n_features: int) -> None:
    random = np.random.default_rng(n_samples)
    features = random.normal(size=(n_samples, n_features)) + 2 * random.normal(size=(n_samples, 1)) + 1
    theirs = SpectralSignatureDefense.spectral_signature_scores(features)[:, 0]
    if n_samples > 1:  # a single sample has no direction
        np.testing.assert_allclose(spectral_scores(features), theirs, rtol=1e-6, atol=1e-8)
    assert spectral_scores(features).shape == (n_samples,)


def test_spectral_scores_of_a_small_far_group_are_the_highest() -> None:
    random = np.random.default_rng(0)
    features = random.normal(size=(100, 50))
    features[:10] += 3
    assert set(np.argsort(spectral_scores(features))[-10:]) == set(range(10))


def test_spectral_scores_of_equal_samples_are_finite() -> None:
    assert np.isfinite(spectral_scores(np.ones((50, 40)))).all()
