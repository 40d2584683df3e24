"""What trusted samples say of a group: exact binomial tails, and verdicts on made views whose truth is known."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy.stats import hypergeom

from art_plugins.groups.evidence import Evidence
from art_plugins.groups.find import find_groups
from art_plugins.groups.trusted import (
    LEAST_ERROR,
    at_least,
    cut_error,
    is_suspect_side,
    log_likelihood_ratio,
    trusted_evidence,
)
from art_plugins.groups.verdict import NULL_SCALE, JudgedGroup, judge_groups, p_value

K, N = 8, 250


@pytest.mark.parametrize(("n", "share"), [(1, 0.3), (20, 0.1), (50, 0.5)])
def test_log_ratio_without_any_inside_is_one_over_the_binomial_p_value(n, share):
    assert log_likelihood_ratio(0, n, share, 0.0) == pytest.approx(-n * math.log(1 - share))


def test_log_ratio_equals_the_ratio_of_both_probabilities():
    for n, k in itertools.product(range(6), repeat=2):
        if k <= n:
            chances = [p**k * (1 - p) ** (n - k) for p in (0.02, 0.4)]
            assert log_likelihood_ratio(k, n, 0.4, 0.02) == pytest.approx(math.log(chances[0] / chances[1]))
    assert log_likelihood_ratio(0, 0, 1.0, 0.01) == 0
    assert log_likelihood_ratio(3, 9, 0.01, 0.2) == 0  # an error above the share tells nothing


@pytest.mark.parametrize(("n_samples", "n_members", "n"), [(60, 20, 5), (60, 3, 20), (400, 200, 100)])
def test_ratio_of_natural_groups_is_at_most_one_on_average(n_samples, n_members, n):
    inside = np.arange(n + 1)
    chances = hypergeom.pmf(inside, n_samples, n_members, n)
    ratios = np.exp([log_likelihood_ratio(int(k), n, n_members / n_samples, LEAST_ERROR) for k in inside])
    assert chances.sum() == pytest.approx(1)
    assert (chances * ratios).sum() <= 1 + 1e-9


def test_at_least_is_the_exact_binomial_tail():
    n, p = 7, 0.1
    for k in range(n + 1):
        expected = sum(math.comb(n, j) * p**j * (1 - p) ** (n - j) for j in range(k, n + 1))
        assert at_least(k, n, p) == pytest.approx(expected)


def test_evidence_counts_trusted_samples_of_the_classes_of_the_group_only():
    labels = np.repeat([0, 1, 2], 100)
    members, trusted = np.arange(300) % 100 < 30, np.arange(300) % 100 >= 90  # ten trusted a class, all outside
    trusted[:2] = True  # two of class 0 inside
    found = trusted_evidence(members, labels, [0, 1], trusted, 0.02)
    expected = log_likelihood_ratio(2, 12, 0.3, 0.02) + log_likelihood_ratio(0, 10, 0.3, 0.02)
    assert found.n == 22
    assert found.n_inside == 2
    assert found.log_ratio == pytest.approx(expected)
    assert not found.acquits  # 2 of 22 by an error of .02: probability .07
    trusted[2] = True
    assert trusted_evidence(members, labels, [0, 1], trusted, 0.02).acquits  # 3 of 23: .01


def test_evidence_without_trusted_samples_says_nothing():
    labels = np.repeat([0, 1], 50)
    found = trusted_evidence(labels == 0, labels, [0], labels == 1, 0.01)
    assert found == (0, 0, 0.0, False)


def test_cut_error_is_the_normal_tail_of_the_rest_and_a_hundredth():
    random = np.random.default_rng(0)
    places = np.concatenate([random.normal(0, 0.1, 20_000), random.normal(1, 0.1, 500)])
    members = np.arange(len(places)) >= 20_000
    assert cut_error(places, members, 0.2) == pytest.approx(LEAST_ERROR + 0.0228, abs=2e-3)
    assert cut_error(places, members, 0.9) == pytest.approx(LEAST_ERROR)
    assert cut_error(places, members, -9.0) == 0.5  # at most
    assert cut_error(np.ones(5), np.ones(5, bool), 0.0) == LEAST_ERROR


def test_suspect_side_is_the_one_that_the_trusted_samples_avoid():
    side = np.arange(100) < 70
    assert is_suspect_side(side, np.arange(100) >= 95)
    assert not is_suspect_side(side, np.arange(100) < 5)
    tiny = np.arange(100) < 3
    assert is_suspect_side(tiny, (np.arange(100) == 0) | (np.arange(100) >= 81))  # one of 20 by the error of the cut


def test_p_value_is_divided_by_the_ratio_and_never_above_one():
    evidence = Evidence(2.0, math.exp(-NULL_SCALE), 10, 0.1)  # exp(-2)
    assert p_value(evidence, 5) == pytest.approx(5 * math.exp(-2))
    assert p_value(evidence, 5, 3.0) == pytest.approx(5 * math.exp(-5))
    assert p_value(evidence, 5, -3.0) == 1.0


# Verdicts on made views


def classes(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Classes with centres of their own, and a last dimension that no class uses."""
    random = np.random.default_rng(seed)
    y = np.repeat(np.arange(K), N)
    x = random.normal(size=(K * N, 12)) + np.pad(random.normal(0, 4, (K, 11)), ((0, 0), (0, 1)))[y]
    return x.astype(np.float32), y


def judged(x: np.ndarray, y: np.ndarray, natural: np.ndarray, n_trusted: int) -> list[JudgedGroup]:
    """Judge with the first so many of the natural samples of each class as trusted ones."""
    trusted = np.zeros(len(y), bool)
    for label in range(K):
        trusted[np.flatnonzero((y == label) & natural)[:n_trusted]] = True
    views = {"first": x[:, ::2], "second": x[:, 1::2]}
    return judge_groups(find_groups(views, y, K, trusted=trusted), views, y, K, 0.01, trusted)


def removed(found: list[JudgedGroup], n: int) -> np.ndarray:
    return np.any([np.zeros(n, bool)] + [one.group.members for one in found if one.verdict == "poison"], axis=0)


def two_kinds(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A third of class 2 stands apart from everyone, as the digits 0 and 1 under one label do."""
    x, y = classes(seed)
    rows = np.flatnonzero(y == 2)[np.random.default_rng(seed).permutation(N)[: N // 3]]
    x[rows, -1] += 12
    return x, y, np.isin(np.arange(len(y)), rows)


@pytest.mark.slow
def test_natural_kind_that_stands_apart_is_removed_without_trusted_samples_and_stays_with_them():
    x, y, kind = two_kinds(1)
    everyone = np.ones(len(y), bool)
    assert removed(judged(x, y, everyone, 0), len(y))[kind].mean() > 0.98
    for n_trusted in (20, 50):
        found = judged(x, y, everyone, n_trusted)
        assert not removed(found, len(y)).any()
        alike = [one for one in found if (one.group.members == kind).mean() > 0.99]
        assert alike[0].verdict == "look here"
        assert alike[0].trusted.acquits
        assert alike[0].summary()["n_trusted_inside"] > 0


@pytest.mark.slow
def test_poison_is_removed_with_trusted_samples_in_any_number():
    x, y, poison = two_kinds(2)
    for n_trusted in (0, 1, 5, 20, 50):
        caught = removed(judged(x, y, ~poison, n_trusted), len(y))
        assert caught[poison].mean() > 0.98
        assert caught[~poison].mean() < 0.002


@pytest.mark.slow
def test_clean_classes_lose_nothing_whatever_number_is_trusted():
    for seed, n_trusted in itertools.product(range(40, 43), (1, 5, 20)):
        x, y = classes(seed)
        assert not removed(judged(x, y, np.ones(len(y), bool), n_trusted), len(y)).any()


def test_near_copies_stay_although_no_trusted_sample_is_one_of_them():
    """Thirty frames of one film; the trusted samples are of other films."""
    x, y = classes(7)
    rows = np.flatnonzero(y == 2)[-30:]
    x[rows] = x[rows[0]] + 0.1 * np.random.default_rng(1).normal(size=(30, x.shape[1])).astype(np.float32)
    x[rows, -1] += 12
    found = judged(x, y, ~np.isin(np.arange(len(y)), rows), 50)
    assert [one.verdict for one in found if one.group.members[rows].all()][:1] == ["look here"]
    assert not removed(found, len(y)).any()
