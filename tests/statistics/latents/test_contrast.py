"""A class against the others: whitening, directions, score and split, against closed forms and scikit-learn."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.covariance import oas
from sklearn.metrics import adjusted_rand_score
from sklearn.mixture import GaussianMixture

from art_plugins.statistics.latents.contrast import contrast_classes, split_by_mixture
from art_plugins.statistics.latents.two_gaussians import PRIOR_SAMPLES

K, SIZE, D = 4, 150, 6


@pytest.fixture
def data(random):
    """Classes with one covariance and their own means; a third of class 1 is moved along one direction."""
    labels = np.repeat(np.arange(K), SIZE)
    shape = random.normal(size=(D, D))
    latents = random.normal(size=(K * SIZE, D)) @ shape + 9 * random.normal(size=(K, D))[labels]
    is_poison = (labels == 1) & (np.arange(K * SIZE) % 3 == 0)
    direction = random.normal(size=D)
    latents[is_poison] += 7 * direction @ shape / np.linalg.norm(direction)
    return latents, labels, is_poison


def drawn_in(x):
    """From the median, the three of 150 samples that are farthest out at the distance of the fourth."""
    x = x - np.median(x, axis=0)
    far = np.argsort(np.linalg.norm(x, axis=1))[::-1]
    for row in far[:3]:
        x[row] *= np.linalg.norm(x[far[3]]) / np.linalg.norm(x[row])
    return x - x.mean(axis=0)


def test_contrast_classes_projections_are_turned_latents_whitened_by_the_others(data):
    latents, labels, _ = data
    for label, contrast in enumerate(contrast_classes(latents, labels, K)):
        others = np.concatenate([drawn_in(latents[labels == k]) for k in range(K) if k != label])
        inverse = np.linalg.inv(oas(others, assume_centered=True)[0])
        own = latents[labels == label] - np.median(latents[labels == label], axis=0)
        # Whitening keeps Mahalanobis inner products, whatever way the axes are turned.
        np.testing.assert_allclose(contrast.projections @ contrast.projections.T, own @ inverse @ own.T, atol=1e-6)
        assert (np.diff(contrast.variance_ratios) <= 0).all()


def test_contrast_classes_leading_direction_separates_the_planted_poison(data):
    latents, labels, is_poison = data
    leading = contrast_classes(latents, labels, K)[1].projections[:, 0]
    gap = abs(leading[is_poison[labels == 1]].mean() - leading[~is_poison[labels == 1]].mean())
    assert gap == pytest.approx(7, rel=0.1)


def test_score_is_near_zero_without_poison_and_that_of_a_mixture_with_it(data):
    latents, labels, _ = data
    scores = [contrast.score() for contrast in contrast_classes(latents, labels, K)]
    assert np.argmax(scores) == 1
    assert np.delete(scores, 1).max() < 0.3
    # Variance of the mixture along the direction: 1 + p (1 - p) gap^2, over the edge of the Marchenko-Pastur law.
    expected = np.log((1 + 7**2 * 2 / 9) / (1 + np.sqrt(D / SIZE)) ** 2)
    assert scores[1] == pytest.approx(expected, abs=0.2)


@pytest.mark.parametrize("size", [12, 40, 150, 1000])
def test_score_of_a_clean_class_does_not_grow_as_the_class_shrinks(random, size):
    labels = np.concatenate([np.zeros(size, dtype=int), np.repeat([1, 2, 3], 800)])
    latents = random.normal(size=(len(labels), 20))
    assert contrast_classes(latents, labels, 4)[0].score() < 0.2


def test_contrast_classes_any_linear_map_of_the_latents_changes_little(data, random):
    latents, labels, _ = data
    straight = [contrast.score() for contrast in contrast_classes(latents, labels, K)]
    mapped = [contrast.score() for contrast in contrast_classes(latents @ random.normal(size=(D, D)), labels, K)]
    np.testing.assert_allclose(mapped, straight, atol=0.1)  # not exactly: the shrinkage knows the axes' scale


def test_contrast_classes_empty_class_and_others_without_variance_are_none(random):
    labels = np.repeat([0, 2], 20)
    latents = np.where(labels[:, None] == 0, random.normal(size=(40, 3)), 1.0)
    contrasted = contrast_classes(latents, labels, 3)
    assert contrasted[0] is None
    assert contrasted[1] is None
    assert not contrasted[2].projections.any()


def test_split_by_mixture_planted_poison_is_found_and_agrees_with_scikit_learn(data):
    latents, labels, is_poison = data
    projections = contrast_classes(latents, labels, K)[1].projections
    halves = split_by_mixture(projections, 5, nb_trials=3, n_init=5)
    assert adjusted_rand_score(is_poison[labels == 1], halves.labels) > 0.97
    theirs = GaussianMixture(2, random_state=0).fit_predict(projections[:, :2])
    assert adjusted_rand_score(theirs, halves.labels) > 0.95
    assert halves.trial_labels.shape == (3 * 3, SIZE)  # three starts on 2, 3 and 5 directions
    np.testing.assert_allclose(halves.soft_labels, halves.trial_labels.mean(axis=0))


def test_split_by_mixture_permuted_samples_permute_the_split(data, random):
    latents, labels, _ = data
    projections = contrast_classes(latents, labels, K)[1].projections
    order = random.permutation(SIZE)
    straight = split_by_mixture(projections, 3, nb_trials=2, n_init=20).labels
    permuted = split_by_mixture(projections[order], 3, nb_trials=2, n_init=20).labels
    assert adjusted_rand_score(straight[order], permuted) == 1


def test_split_by_mixture_identical_samples_and_two_samples_do_not_crash():
    assert PRIOR_SAMPLES > 0
    for projections in (np.zeros((9, 4)), np.array([[0.0, 1.0, 0.0, 0.0], [5.0, -1.0, 0.0, 0.0]])):
        halves = split_by_mixture(projections, 4, nb_trials=2, n_init=2)
        assert halves.labels.shape == (len(projections),)
