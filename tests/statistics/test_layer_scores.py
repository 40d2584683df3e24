"""Distances and layer scores against SciPy and scikit-learn, and the statements that their thresholds make."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.spatial.distance import mahalanobis
from sklearn.covariance import OAS
from sklearn.preprocessing import StandardScaler

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.benign_threshold import benign_threshold, check_terms, typical_shift
from art_plugins.statistics.layer_gaussian import (
    DISTANCE_RATIO,
    MAHALANOBIS_DISTANCE,
    LayerGaussian,
    cross_fitted_measures,
    fit_layer_gaussian,
)
from art_plugins.statistics.layer_scores import QUESTIONS, answers, fit_calibration, logit_margin


def classes(random: np.random.Generator, n: int = 90, n_dims: int = 6, k: int = 3) -> tuple[np.ndarray, np.ndarray]:
    labels = np.arange(n) % k
    return 3 * random.normal(size=(k, n_dims))[labels] + random.normal(size=(n, n_dims)) * np.arange(1, n_dims + 1), labels


def distance(gaussian: LayerGaussian, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return gaussian.measure(features, labels, [MAHALANOBIS_DISTANCE])[:, 0]


def distance_ratio(gaussian: LayerGaussian, features: np.ndarray, labels: np.ndarray) -> np.ndarray:
    return gaussian.measure(features, labels, [DISTANCE_RATIO])[:, 0]


def test_mahalanobis_distance_equals_scipys_mahalanobis_with_scikit_learns_shrunk_covariance(random):
    features, labels = classes(random)
    z = StandardScaler().fit(features)
    standard = z.transform(features)
    means = np.stack([standard[labels == k].mean(axis=0) for k in range(3)])
    covariance = OAS(assume_centered=True).fit(standard - means[labels]).covariance_ * 90 / 87
    covariance += 1e-3 * np.trace(covariance) / 6 * np.eye(6)
    new, judged = random.normal(size=(5, 6)) * 4, np.array([0, 1, 2, 0, 1])
    expected = [
        2 * np.log(mahalanobis(row, means[k], np.linalg.inv(covariance)))
        for row, k in zip(z.transform(new), judged, strict=True)
    ]
    found = distance(fit_layer_gaussian(features, labels, 3), new, judged)
    np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_measures_do_not_change_with_the_units_of_the_features(random):
    features, labels = classes(random)
    units, offsets = 10.0 ** random.integers(-3, 4, size=6), random.normal(size=6)
    scaled = features * units + offsets
    both = [MAHALANOBIS_DISTANCE, DISTANCE_RATIO]
    expected = fit_layer_gaussian(features, labels, 3).measure(features, labels, both)
    found = fit_layer_gaussian(scaled, labels, 3).measure(scaled, labels, both)
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(found[:, ::-1], fit_layer_gaussian(scaled, labels, 3).measure(scaled, labels, both[::-1]))


def test_distance_ratio_is_the_log_ratio_of_the_distances_to_the_own_and_to_the_nearest_other_class(random):
    features, labels = classes(random)
    gaussian = fit_layer_gaussian(features, labels, 3)
    to_each = np.stack([distance(gaussian, features, np.full(90, k)) for k in range(3)], axis=1)
    for judged in (0, 2):
        others = np.delete(to_each, judged, axis=1).min(axis=1)
        found = distance_ratio(gaussian, features, np.full(90, judged))
        np.testing.assert_allclose(found, to_each[:, judged] - others)
        assert found[labels == judged].mean() < 0 < found[labels != judged].mean()


def test_distance_ratio_knows_no_class_without_samples(random):
    features, labels = classes(random)
    expected = distance_ratio(fit_layer_gaussian(features, labels, 3), features, labels)
    np.testing.assert_allclose(distance_ratio(fit_layer_gaussian(features, labels + 1, 5), features, labels + 1), expected)
    alone = fit_layer_gaussian(features, np.zeros(90, dtype=int), 4)
    np.testing.assert_array_equal(distance_ratio(alone, features, np.zeros(90, dtype=int)), np.zeros(90))


def test_fit_layer_gaussian_constant_features_are_left_out(random):
    features, labels = classes(random)
    expected = distance(fit_layer_gaussian(features, labels, 3), features, labels)
    wider = np.insert(features, 2, 7.0, axis=1)
    found = fit_layer_gaussian(wider, labels, 3)
    np.testing.assert_allclose(distance(found, wider, labels), expected)
    np.testing.assert_array_equal(found.used, [True, True, False, True, True, True, True])


def test_fit_layer_gaussian_layer_without_varying_features_says_the_same_of_all():
    gaussian = fit_layer_gaussian(np.ones((9, 4)), np.arange(9) % 3, 3)
    assert np.ptp(distance(gaussian, np.random.default_rng(0).normal(size=(5, 4)), np.arange(5) % 3)) == 0


@pytest.mark.parametrize("n", [1, 2, 3])
def test_fit_layer_gaussian_hardly_any_samples_give_finite_distances(random, n):
    gaussian = fit_layer_gaussian(random.normal(size=(n, 8)), np.arange(n), 5)
    assert np.isfinite(distance(gaussian, random.normal(size=(6, 8)), np.arange(6) % 5)).all()


def test_cross_fitted_measures_of_n_folds_are_those_left_one_out(random):
    features, labels = classes(random, n=24)
    found = cross_fitted_measures(
        features, labels, labels, np.ones(24, dtype=bool), 3, (DISTANCE_RATIO, MAHALANOBIS_DISTANCE), n_folds=24
    )
    for i in (0, 7, 23):
        rest = np.arange(24) != i
        gaussian = fit_layer_gaussian(features[rest], labels[rest], 3)
        one = features[[i]], labels[[i]]
        assert found[i] == pytest.approx([distance_ratio(gaussian, *one)[0], distance(gaussian, *one)[0]])


def test_cross_fitted_measures_are_as_those_of_new_samples_where_the_fitted_ones_are_not(random):
    labels = np.arange(400) % 3
    # Of unequal variances and correlated, so that little is shrunk.
    features = random.normal(size=(400, 100)) * np.geomspace(1, 0.01, 100) @ random.normal(size=(100, 100))
    fitted, new = features[:200], features[200:]
    gaussian = fit_layer_gaussian(fitted, labels[:200], 3)
    of_new = distance(gaussian, new, labels[200:]).mean()
    crossed = cross_fitted_measures(
        fitted, labels[:200], labels[:200], np.ones(200, dtype=bool), 3, (MAHALANOBIS_DISTANCE,), 20
    ).mean()
    of_fitted = distance(gaussian, fitted, labels[:200]).mean()
    assert of_new - of_fitted > 0.15
    assert abs(of_new - crossed) < 0.04


def test_cross_fitted_measures_samples_that_take_no_part_do_not_change_the_others(random):
    features, labels = classes(random)
    fits = np.arange(90) < 60
    first = cross_fitted_measures(features, labels, labels, fits, 3, (MAHALANOBIS_DISTANCE,), 5)[:, 0]
    changed = np.where(fits[:, None], features, 100.0)
    second = cross_fitted_measures(changed, labels, labels, fits, 3, (MAHALANOBIS_DISTANCE,), 5)[:, 0]
    np.testing.assert_array_equal(first[fits], second[fits])
    assert (second[~fits] > first[fits].max()).all()


def test_logit_margin_is_the_root_of_the_margin_over_all_other_classes():
    outputs = np.array([[5.0, 1, 3], [1, -2, 10], [1, -2, 10], [2, 2, 2], [-4, -1, -3]])
    np.testing.assert_allclose(logit_margin(outputs, np.array([0, 2, 0, 1, 1])), [np.sqrt(2), 3, 0, 0, np.sqrt(2)])
    np.testing.assert_array_equal(logit_margin(np.array([[3.0], [7]]), np.zeros(2, dtype=int)), [0, 0])


def test_logit_margin_in_deviations_does_not_depend_on_scale_or_offset_of_the_outputs(random):
    outputs, labels = random.normal(size=(50, 4)), random.integers(4, size=50)
    expected = logit_margin(outputs, labels)
    found = logit_margin(7 * outputs + 3, labels)
    np.testing.assert_allclose((found - found.mean()) / found.std(), (expected - expected.mean()) / expected.std())
    assert (expected > 0).sum() == (outputs.argmax(axis=1) == labels).sum()


def test_fit_calibration_deviations_of_the_calibrated_are_standard(random):
    values = random.normal(size=(53, 4)) * [1, 10, 0.1, 3] + 5
    found = fit_calibration(values)
    np.testing.assert_allclose(found.standardise(values), StandardScaler().fit_transform(values))


def test_standardise_layer_that_does_not_vary_says_nothing():
    calibration = fit_calibration(np.array([[1.0, 2], [1, 3]] * 10))
    np.testing.assert_array_equal(calibration.standardise(np.array([[9.0, 2.5], [1, 4]])), [[0, 0], [0, 3]])


def test_questions_differ_and_ask_of_both_views():
    assert [question.measure for question in QUESTIONS] == [DISTANCE_RATIO, DISTANCE_RATIO, MAHALANOBIS_DISTANCE]
    assert len(set(QUESTIONS)) == 3


def test_answers_sum_the_five_largest_of_each_question_in_any_order_and_bound_each(random):
    first = np.array([[1.0, -2, 3, -9, -9, 0], [-1, -2, -3, -4, -5, -6], [100, 0, -100, 7, 1, 2]])
    second = np.array([[1.0, 2, -2, 0.5, -9, 1], [0, 0, 0, 0, 0, 1], [7, 8, 9, 0, -9, -9]])
    for _ in range(3):
        found = answers(np.concatenate([first, second], axis=1), 2)
        np.testing.assert_allclose(found, [[-7, 2.5], [-15, 1], [15, 9]])
        first, second = random.permuted(first, axis=1), random.permuted(second, axis=1)
    np.testing.assert_allclose(answers(np.array([[2.0, 3.0]]), 2), [[2, 3]])
    np.testing.assert_allclose(answers(np.array([[1, 2, 3, 4, 5, 7.0]]), 1), [[20]])


def test_benign_threshold_in_both_terms():
    scores = np.random.default_rng(0).permutation(np.arange(1000.0))
    assert benign_threshold(scores, fpr=0.01) == 989
    assert (scores > 989).mean() == 0.01
    assert benign_threshold(scores, tau=2.5) == 2.5


@pytest.mark.parametrize(
    ("terms", "match"),
    [
        ({}, "exactly one of tau and fpr; received none"),
        ({"tau": 1.0, "fpr": 0.1}, r"exactly one.*tau=1\.0 and fpr=0\.1"),
        ({"tau": float("nan")}, "tau must be a finite number; received nan"),
        ({"fpr": 1.0}, r"fpr must be a share at least 0 and below 1; received 1\.0"),
        ({"fpr": -0.1}, "fpr must be"),
        ({"fpr": True}, "fpr must be"),
        ({"fpr": "a"}, "fpr must be"),
        ({"tau": True}, "tau must be"),
    ],
)
def test_check_terms_refuses_none_several_and_bad_ones(terms, match):
    with pytest.raises(InvalidInputError, match=match):
        check_terms(**{"tau": None, "fpr": None, **terms})


def test_typical_shift_is_how_much_higher_most_classes_score(random):
    labels = np.repeat(np.arange(5), 200)
    own_level = np.array([0.0, 3.0, -2.0, 1.0, 7.0])
    benign = random.normal(size=1000) + own_level[labels]
    scores = random.normal(size=1000) + own_level[labels] + 0.5
    assert typical_shift(scores, labels, benign, labels) == pytest.approx(0.5, abs=0.15)
    attacked = np.where((labels < 2) & (random.uniform(size=1000) < 0.6), 50.0, scores)  # most of two classes of five
    assert typical_shift(attacked, labels, benign, labels) == pytest.approx(0.5, abs=0.25)


def test_typical_shift_looks_at_classes_that_are_in_both_only(random):
    scores = np.array([1.0, 1.0, 9.0])
    benign = np.array([0.5, 4.0])
    assert typical_shift(scores, np.array([0, 0, 1]), benign, np.array([0, 2])) == 0.5
    assert typical_shift(scores, np.array([0, 0, 1]), benign, np.array([2, 3])) == 0
