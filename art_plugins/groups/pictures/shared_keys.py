"""Which of many keys that samples hold is held by one class more than its share explains: exact counts, in n log n."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import xlogy


class Holders(NamedTuple):
    """
    Keys that several samples hold. ``samples`` (m,): rows of samples, those of one key after those of another; ``starts``
    (k,): where the samples of each key start; ``entries`` (k,): where each key was first given.
    """

    samples: np.ndarray
    starts: np.ndarray
    entries: np.ndarray


class SharedKey(NamedTuple):
    """
    The key that a class holds most beyond its share, of those most of whose holders are of the class. ``nats``: how
    unlikely that is (:func:`share_nats`); ``entry``: where the key was first given, -1: the class has none; ``purity``:
    share of its holders that are of the class.
    """

    nats: float
    entry: int
    purity: float


def holders_of(keys: np.ndarray, samples: np.ndarray) -> Holders:
    """
    Group the samples by key. Who holds a key twice counts once, and keys that one sample holds are left out.

    :param keys: (m,), uint64.
    :param samples: Row of the sample that holds each, (m,), in ascending order for each key.
    """
    order = np.argsort(keys, kind="stable")
    keys, samples = keys[order], samples[order]
    is_new_key = np.diff(keys, prepend=~keys[:1]) != 0
    once = is_new_key | (np.diff(samples, prepend=-1) != 0)
    order, samples, is_new_key = order[once], samples[once], is_new_key[once]
    starts = np.flatnonzero(is_new_key)
    sizes = np.diff(starts, append=len(samples))
    kept = np.repeat(sizes > 1, sizes)
    return Holders(samples[kept], np.flatnonzero(is_new_key[kept]), order[starts[sizes > 1]])


def share_nats(inside: np.ndarray, holders: np.ndarray, share: np.ndarray) -> np.ndarray:
    """
    How unlikely it is that so many holders of a key are of one class, if each is of it with the class's share.

    This is the negative logarithm of Chernoff's bound of the tail of the binomial distribution (H. Chernoff, A measure of
    asymptotic efficiency for tests of a hypothesis, Annals of Mathematical Statistics 23, 1952): n holders, k of them in
    the class, n KL(k / n || share). The probability is nowhere larger than its exponential.

    :param inside: Holders in the class, (m,).
    :param holders: Holders, (m,), at least 1.
    :param share: Share of the samples that are of the class, (m,), above 0.
    :return: Nats, (m,); 0 where there are no more than expected.
    """
    rest = holders - inside
    found = xlogy(inside, inside / (holders * share)) + xlogy(rest, rest / np.maximum(holders * (1 - share), 1e-300))
    return np.where(inside > holders * share, found.clip(min=0), 0.0)


def most_shared(held: Holders, labels: np.ndarray, nb_classes: int, left: np.ndarray) -> list[SharedKey]:
    """
    Find the most unlikely key of every class, of those most of whose holders are of the class.

    What samples of other classes hold more often is a piece of samples in general, which some classes have more of.

    :param labels: Class of each sample, (n,), 0 to K - 1.
    :param left: Samples that count, (n,), bool.
    :return: K values.
    """
    sizes = np.bincount(labels[left], minlength=nb_classes)
    keys = np.repeat(np.arange(len(held.starts)), np.diff(held.starts, append=len(held.samples)))
    counted = left[held.samples]
    cells, inside = np.unique(keys[counted] * nb_classes + labels[held.samples[counted]], return_counts=True)
    key, label = cells // nb_classes, cells % nb_classes
    holders = np.bincount(keys[counted], minlength=len(held.starts))[key]
    is_own = 2 * inside > holders
    key, label, inside, holders = (one[is_own] for one in (key, label, inside, holders))
    nats = share_nats(inside, holders, sizes[label] / max(1, sizes.sum()))
    found = [SharedKey(0.0, -1, 0.0)] * nb_classes
    for index in np.lexsort((nats, label))[np.diff(np.sort(label), append=nb_classes) != 0]:
        purity = float(inside[index] / holders[index])
        found[label[index]] = SharedKey(float(nats[index]), int(held.entries[key[index]]), purity)
    return found
