"""The threshold at a false-discovery rate: by Benjamini and Hochberg's rule, and how often clean scores are above it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.stats import f as fisher
from scipy.stats import false_discovery_control

from art_plugins.statistics.benign_threshold import FALSE_DISCOVERIES, TAIL, threshold_at_fdr


def p_values(scores: np.ndarray, benign: np.ndarray) -> np.ndarray:
    """Of an exponential tail whose mean is estimated; below it, 1: such scores are never called at these rates."""
    border = np.quantile(benign, 1 - TAIL)
    above = benign[benign > border] - border
    share = (len(above) + 1) / (len(benign) + 1)
    excess = np.maximum(scores - border, 0) / above.mean()
    return np.where(scores > border, share * fisher.sf(excess, 2, 2 * len(above)), 1.0)


@pytest.mark.parametrize("n_poison", [0, 3, 30, 300])
@pytest.mark.parametrize("rate", [0.01, 0.05, 0.1])
def test_calls_what_the_rule_of_benjamini_and_hochberg_calls(n_poison: int, rate: float) -> None:
    random = np.random.default_rng(n_poison)
    benign = random.normal(size=200)
    scores = np.concatenate([random.normal(size=2_000), random.normal(4, 1, size=n_poison)])
    expected = false_discovery_control(p_values(scores, benign)) <= rate
    np.testing.assert_array_equal(scores > threshold_at_fdr(scores, benign, rate), expected)


@pytest.mark.parametrize("n_trusted", [40, 200, 1_000])
def test_clean_sets_seldom_lose_anything(n_trusted: int) -> None:
    """Normal scores have a lighter tail than the exponential one that is assumed, so that the rate is a bound."""
    random = np.random.default_rng(n_trusted)
    n_lost = [
        int((scores > threshold_at_fdr(scores, random.normal(size=n_trusted))).sum())
        for scores in random.normal(size=(200, 3_000))
    ]
    assert np.mean(np.array(n_lost) > 0) <= FALSE_DISCOVERIES


def test_most_of_what_goes_is_poison() -> None:
    random = np.random.default_rng(0)
    shares, found = [], []
    for _ in range(100):
        scores = np.concatenate([random.normal(size=3_000), random.normal(6, 1, size=100)])
        called = scores > threshold_at_fdr(scores, random.normal(size=300))
        shares.append(called[:3_000].sum() / max(1, called.sum()))
        found.append(called[3_000:].mean())
    assert np.mean(shares) <= FALSE_DISCOVERIES
    assert np.mean(found) > 0.9


def test_one_score_far_above_all_is_called_and_equal_scores_are_not() -> None:
    benign = np.random.default_rng(1).normal(size=100)
    scores = np.append(np.zeros(500), 100.0)
    assert (scores > threshold_at_fdr(scores, benign)).nonzero()[0].tolist() == [500]
    assert not (np.zeros(5) > threshold_at_fdr(np.zeros(5), np.zeros(5))).any()
    assert not (np.append(np.zeros(99), 1e-9) > threshold_at_fdr(np.append(np.zeros(99), 1e-9), np.zeros(20))).any()
    assert threshold_at_fdr(np.zeros(0), benign) == np.quantile(benign, 1 - TAIL)


finite = st.floats(-1e6, 1e6)


@given(hnp.arrays(float, st.integers(0, 40), elements=finite), hnp.arrays(float, st.integers(1, 40), elements=finite))
def test_is_finite_and_above_most_benign_scores(scores: np.ndarray, benign: np.ndarray) -> None:
    threshold = threshold_at_fdr(scores, benign)
    assert np.isfinite(threshold)
    assert threshold >= np.quantile(benign, 1 - TAIL)
