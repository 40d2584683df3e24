"""Counts of keys, against brute force, and the bound, against the exact tail."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import binom

from art_plugins.groups.pictures.shared_keys import SharedKey, holders_of, most_shared, share_nats


def test_holders_are_grouped_by_key_once_each_and_lone_ones_are_left_out() -> None:
    keys = np.array([7, 5, 7, 7, 9, 5, 7], dtype=np.uint64)
    held = holders_of(keys, np.array([0, 0, 1, 1, 1, 2, 3]))
    groups = {
        int(keys[entry]): list(part)
        for entry, part in zip(held.entries, np.split(held.samples, held.starts[1:]), strict=True)
    }
    assert groups == {5: [0, 2], 7: [0, 1, 3]}


def test_no_keys_have_no_holders() -> None:
    held = holders_of(np.zeros(0, dtype=np.uint64), np.zeros(0, dtype=np.int64))
    assert [len(part) for part in held] == [0, 0, 0]
    assert most_shared(held, np.array([0, 1]), 2, np.ones(2, dtype=bool)) == [SharedKey(0.0, -1, 0.0)] * 2


@pytest.mark.parametrize("share", [0.04, 0.1, 0.5])
def test_share_nats_bounds_the_tail_of_the_binomial_distribution(share: float) -> None:
    holders = np.repeat(np.arange(1, 40), 40)
    inside = np.tile(np.arange(40), 39)
    inside, holders = inside[inside <= holders], holders[inside <= holders]
    nats = share_nats(inside, holders, np.full(len(inside), share))
    assert (binom.sf(inside - 1, holders, share) <= np.exp(-nats) * (1 + 1e-9)).all()
    assert (nats[inside <= holders * share] == 0).all()


def test_share_nats_of_holders_that_are_all_inside_is_their_number_times_the_logarithm_of_the_share() -> None:
    assert share_nats(np.array([26]), np.array([26]), np.array([0.1])) == pytest.approx(26 * np.log(10))


def test_most_shared_is_the_most_unlikely_key_by_brute_force(random: np.random.Generator) -> None:
    n, nb_classes = 60, 4
    labels = random.integers(0, nb_classes - 1, size=n)  # the last class is empty
    samples = np.sort(random.integers(0, n, size=400))
    keys = random.integers(0, 40, size=400).astype(np.uint64)
    left = random.random(n) < 0.8
    found = most_shared(holders_of(keys, samples), labels, nb_classes, left)
    for label in range(nb_classes):
        best = 0.0
        for key in range(40):
            everyone = np.unique(samples[keys == key])
            who = everyone[left[everyone]]
            inside, share = int((labels[who] == label).sum()), (labels[left] == label).mean()
            if len(everyone) > 1 and 2 * inside > len(who):
                best = max(best, float(share_nats(np.array([inside]), np.array([len(who)]), np.array([share]))[0]))
        assert found[label].nats == pytest.approx(best)
        if best:
            who = np.unique(samples[keys == keys[found[label].entry]])
            assert found[label].purity == pytest.approx((labels[who[left[who]]] == label).mean())
