"""Ranks of the nearest neighbour of the class: by hand, and by sorting in loops."""

from __future__ import annotations

import math
import tracemalloc

import numpy as np
import pytest

from art_plugins.statistics import neighbour_ranks as module
from art_plugins.statistics.neighbour_ranks import neighbour_ranks, tube_radii, tube_ranks

REFERENCE = np.array([[0.0], [1.0], [3.0], [6.0]])
LABELS = np.array([0, 0, 1, 1])


def test_neighbour_ranks_on_a_line_by_hand():
    samples = np.array([[0.4], [0.4], [3.1], [3.1]])
    np.testing.assert_array_equal(neighbour_ranks(samples, np.array([0, 1, 1, 0]), REFERENCE, LABELS), [0, 2, 0, 1])


def test_neighbour_ranks_of_the_reference_samples_leave_themselves_out():
    np.testing.assert_array_equal(neighbour_ranks(REFERENCE, LABELS, REFERENCE, LABELS, own=True), [0, 0, 1, 0])


@pytest.mark.parametrize("block", [module.BLOCK, 300, 1])
@pytest.mark.parametrize("own", [False, True])
def test_neighbour_ranks_equal_a_sort_in_loops(random, own, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    reference, labels = random.normal(size=(40, 5)), np.arange(40) % 4
    x, classes = (reference, labels) if own else (random.normal(size=(25, 5)), np.arange(25) % 4)
    expected = []
    for index, (one, label) in enumerate(zip(x, classes, strict=True)):
        order = [row for row in np.argsort(((reference - one) ** 2).sum(axis=1)) if not (own and row == index)]
        expected.append([labels[row] == label for row in order].index(True))
    np.testing.assert_array_equal(neighbour_ranks(x, classes, reference, labels, own), expected)
    turned = np.linalg.qr(random.normal(size=(5, 5)))[0]
    np.testing.assert_array_equal(neighbour_ranks(3 * x @ turned, classes, 3 * reference @ turned, labels, own), expected)


def test_neighbour_ranks_hold_a_block_of_distances_and_not_all(random):
    x, labels = random.normal(size=(6_000, 2)), np.arange(6_000) % 3
    tracemalloc.start()
    neighbour_ranks(x, labels, x, labels, own=True)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 120e6  # all distances would be 288 MB, and held twice


def test_tube_radii_on_a_line_by_hand():
    reference, labels = np.array([[0.0], [1.0], [3.0], [7.0], [100.0]]), np.array([0, 0, 0, 0, 1])
    # Half of a class of four: the second nearest other one. The last has no other, and its radius is 0.
    np.testing.assert_array_equal(tube_radii(reference, labels, 0.5), [3, 2, 3, 6, 0])
    np.testing.assert_array_equal(tube_radii(reference, labels, 1.0), [7, 6, 4, 7, 0])
    copies = np.array([[0.0], [0.0], [0.0], [5.0]])
    np.testing.assert_array_equal(tube_radii(copies, np.zeros(4), 0.25), [5, 5, 5, 5])


def test_tube_ranks_inside_keep_their_rank_and_outside_have_the_worst():
    radii = np.array([1.0, 1.0, 3.0, 3.0])
    samples = np.array([[-1.0], [-1.1], [0.4], [4.0]])
    found = tube_ranks(samples, np.array([0, 0, 1, 0]), REFERENCE, LABELS, radii)
    np.testing.assert_array_equal(found, [0, 3, 2, 3])


@pytest.mark.parametrize("block", [module.BLOCK, 300, 1])
@pytest.mark.parametrize("own", [False, True])
def test_tube_ranks_equal_a_sort_in_loops(random, own, block, monkeypatch):
    monkeypatch.setattr(module, "BLOCK", block)
    reference, labels = random.normal(size=(40, 5)), np.arange(40) % 4
    x, classes = (reference, labels) if own else (random.normal(size=(25, 5)), np.arange(25) % 4)
    radii, ranks = tube_radii(reference, labels, 0.25), neighbour_ranks(x, classes, reference, labels, own)
    found = tube_ranks(x, classes, reference, labels, radii, own)
    for index, (one, label) in enumerate(zip(x, classes, strict=True)):
        distances = np.linalg.norm(reference - one, axis=1)
        members = [row for row in np.flatnonzero(labels == label) if not (own and row == index)]
        nearest = min(members, key=lambda row: distances[row])
        around = sorted(math.dist(reference[nearest], reference[row]) for row in np.flatnonzero(labels == label))
        outside = distances[nearest] > around[3]  # itself, and ceil(.25 * 10) = 3 others
        assert found[index] == (39 if outside else ranks[index])
    assert (found == 39).any()
    assert (found < 39).any()
