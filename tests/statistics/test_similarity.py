"""Cosine profiles against scikit-learn and by hand, and the layer of interest on profiles of known shape."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics.pairwise import cosine_similarity

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.similarity import (
    ClassThresholds,
    class_profiles,
    cosine_similarities,
    deviations_below,
    fit_class_thresholds,
    interest_sums,
    layer_of_interest,
    leave_one_out_cosines,
)


def products(features: np.ndarray, total: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    return features @ total, (features**2).sum(axis=1), np.full(len(features), total @ total)


def test_cosine_similarities_equal_scikit_learns_for_the_centroid_and_any_multiple(random):
    features = random.normal(size=(7, 5))
    centroid = features.mean(axis=0)
    expected = cosine_similarity(features, centroid[None])[:, 0]
    for factor in (1, 7, 0.01):
        np.testing.assert_allclose(cosine_similarities(*products(features, factor * centroid)), expected, atol=1e-12)


def test_leave_one_out_cosines_equal_those_to_the_mean_of_the_others(random):
    features = random.normal(1, 1, size=(6, 4))
    expected = [
        cosine_similarity(features[[i]], np.delete(features, i, axis=0).mean(axis=0, keepdims=True))[0, 0] for i in range(6)
    ]
    found = leave_one_out_cosines(*products(features, features.sum(axis=0)))
    np.testing.assert_allclose(found, expected, atol=1e-12)


def test_leave_one_out_cosines_of_random_directions_are_centred_where_plain_cosines_are_not(random):
    features = random.normal(size=(20, 2_000))
    triple = products(features, features.sum(axis=0))
    assert cosine_similarities(*triple).min() > 0.15  # about 1 / sqrt(20)
    assert abs(leave_one_out_cosines(*triple).mean()) < 0.03


def test_cosines_without_length_are_zero():
    features = np.array([[0.0, 0.0], [1.0, 0.0]])
    np.testing.assert_array_equal(cosine_similarities(*products(features, np.zeros(2))), [0, 0])
    np.testing.assert_array_equal(cosine_similarities(*products(features, np.array([2.0, 0.0]))), [0, 1])
    only = np.array([[3.0, 4.0]])  # its class's only sample: there are no others
    np.testing.assert_array_equal(leave_one_out_cosines(*products(only, only[0])), [0])


@pytest.mark.parametrize(
    ("profile", "expected"),
    [
        ([0.9, 0.1, 0.2, 0.3, 0.9], 4),
        ([0, 1, 1, 1, 1, 1], 3),  # L = 6: the rise to the second layer is in the lower half
        ([0, 0, 0.5, 0.75, 1, 1], 3),  # of equal rises the earliest
        ([0.5, 0.5, 0.1, 0.2], 3),
        ([0.5, 0.5, 0.9, 0.2], 2),  # L = 4: layers 3 and 4, counted from 1
        ([0.9, 0.8, 0.7, 0.5, 0.2, 0.1], 5),  # all fall; the least
        ([1.0] * 5, 2),
    ],
)
def test_layer_of_interest_is_where_the_upper_half_rises_most(profile, expected):
    assert layer_of_interest(np.array(profile, dtype=float)) == expected


@pytest.mark.parametrize("n_layers", range(4, 12))
def test_layer_of_interest_may_be_each_of_the_upper_half_and_has_two_layers_before_it(n_layers):
    found = set()
    for step in range(1, n_layers):
        profile = np.zeros(n_layers)
        profile[step:] = 1
        found.add(layer_of_interest(profile))
    assert found == set(range(n_layers // 2, n_layers))
    assert min(found) >= 2


def test_layer_of_interest_of_three_layers_is_refused():
    with pytest.raises(InvalidInputError, match=r"At least 4 layers are needed.*received 3"):
        layer_of_interest(np.zeros(3))


def test_interest_sums_by_hand():
    similarities = np.array([[1, 2, 4, 8, 16], [1, 2, 4, 8, 16.0]])
    np.testing.assert_array_equal(interest_sums(similarities, np.array([2, 4])), [7, 28])


def test_class_profiles_are_means_and_nan_for_a_class_without_samples():
    profiles = class_profiles(np.array([[0.0, 1], [1, 1], [0.25, 0.5]]), np.array([0, 0, 2]), 3)
    np.testing.assert_array_equal(profiles, [[0.5, 1], [np.nan, np.nan], [0.25, 0.5]])


def test_fit_class_thresholds_are_mean_and_deviation_of_the_sums(random):
    similarities, labels = random.uniform(size=(80, 6)), np.arange(80) % 2
    profiles = class_profiles(similarities, labels, 2)
    found = fit_class_thresholds(profiles, similarities, labels, least=20)
    for label in (0, 1):
        layer = layer_of_interest(profiles[label])
        sums = similarities[labels == label, layer - 2 : layer + 1].sum(axis=1)
        assert found.layer_of_interest[label] == layer
        assert found.means[label] == pytest.approx(sums.mean())
        assert found.deviations[label] == pytest.approx(sums.std())


def test_fit_class_thresholds_small_class_keeps_its_mean_and_takes_the_deviation_of_all(random):
    similarities, labels = random.uniform(size=(63, 6)), np.array([0] * 60 + [1] * 3)
    profiles = class_profiles(similarities, labels, 3)
    found = fit_class_thresholds(profiles, similarities, labels, least=20)
    sums = interest_sums(similarities, found.layer_of_interest[labels])
    means = np.array([sums[:60].mean(), sums[60:].mean()])
    np.testing.assert_allclose(found.means[:2], means)
    assert found.deviations[0] == pytest.approx(sums[:60].std())
    assert found.deviations[1] == found.deviations[2] == pytest.approx(np.sqrt(((sums - means[labels]) ** 2).mean()))


def test_deviations_below_by_hand_also_for_a_class_that_does_not_vary():
    thresholds = ClassThresholds(np.array([2, 2]), np.array([2.0, 1.0]), np.array([0.5, 0.0]))
    scores = deviations_below(np.array([1.0, 2.5, 1.0, 0.9]), np.array([0, 0, 1, 1]), thresholds)
    np.testing.assert_allclose(scores[:3], [2, -1, 0])
    assert scores[3] > 1e4
