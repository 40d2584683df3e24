"""Cosine similarities to class centroids, the layer of interest, and the sum of three layers (Preetha et al., V)."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.moments import centre_and_spread

LEAST_LAYERS = 4  # with fewer, the three layers that end at the layer of interest do not all exist
TINY = 1e-30


class ClassThresholds(NamedTuple):
    """``layer_of_interest`` (K,): index from 0 among the layers; ``means``, ``deviations`` (K,): of the sums."""

    layer_of_interest: np.ndarray
    means: np.ndarray
    deviations: np.ndarray


def cosine_similarities(dots: np.ndarray, squared_norms: np.ndarray, centroid_squared_norms: np.ndarray) -> np.ndarray:
    """
    Cosine of the angle between features and a centroid, from inner products alone; 0 where one of them has no length.

    :param dots: Inner products with the centroid, or with any positive multiple of it, any shape.
    :param squared_norms: Squared norms of the features, broadcast against ``dots``.
    :param centroid_squared_norms: Squared norm of the centroid (of the same multiple), broadcast against ``dots``.
    :return: Cosine similarities, in the shape of ``dots``, -1 to 1.
    """
    lengths = np.sqrt(squared_norms * centroid_squared_norms)
    cosines = np.where(lengths > TINY, dots / np.where(lengths > TINY, lengths, 1), 0.0)
    return np.clip(cosines, -1, 1)


def leave_one_out_cosines(dots: np.ndarray, squared_norms: np.ndarray, sum_squared_norms: np.ndarray) -> np.ndarray:
    """
    Cosine of each feature x to the centroid of the *other* features of its class, without going over them again.

    With the class's sum s, that centroid is (s - x) / (n - 1), so that the cosine is (x's - x'x) / (|x| |s - x|), where
    |s - x|^2 = |s|^2 - 2 x's + |x|^2.

    :param dots: x's, shape (n, L) or (n,).
    :param squared_norms: |x|^2, of the same shape.
    :param sum_squared_norms: |s|^2, of the same shape.
    :return: Cosine similarities, in the same shape, -1 to 1; 0 where x or the others' centroid has no length.
    """
    others = sum_squared_norms - 2 * dots + squared_norms
    # A rounding error of the difference is not a length.
    others = np.where(others > 1e-6 * (sum_squared_norms + squared_norms), others, 0.0)
    return cosine_similarities(dots - squared_norms, squared_norms, others)


def layer_of_interest(profile: np.ndarray) -> int:
    """
    The layer at which the mean similarity to the centroid rises most: argmax over l in {floor(L/2) + 1 .. L} of
    cs_l - cs_(l-1), the earliest of equals (Preetha et al., V.C; layers counted from 1 there).

    :param profile: Mean cosine at each layer, (L,).
    :return: Index from 0, floor(L/2) to L - 1.
    :raises InvalidInputError: For fewer than four layers.
    """
    n_layers = len(profile)
    check_layers(n_layers)
    first = n_layers // 2
    rises = np.diff(profile)[first - 1 :]
    # Rises that differ by rounding alone are equal.
    return first + int(np.flatnonzero(rises >= rises.max() - 1e-9)[0])


def interest_sums(similarities: np.ndarray, interest: np.ndarray) -> np.ndarray:
    """
    S: the cosines at the layer of interest and the two before it, added (V.D).

    :param similarities: (n, L).
    :param interest: Layer of interest of each sample's class, index from 0, (n,).
    :return: (n,).
    """
    rows = np.arange(len(similarities))
    sums: np.ndarray = sum(similarities[rows, interest - back] for back in (2, 1, 0))
    return sums


def class_profiles(similarities: np.ndarray, labels: np.ndarray, nb_classes: int) -> np.ndarray:
    """
    Mean cosine of each class at each layer.

    :param similarities: To the own class's centroid, (n, L).
    :return: (K, L); NaN for a class without samples.
    """
    profiles = np.full((nb_classes, similarities.shape[1]), np.nan)
    for label in np.unique(labels):
        profiles[label] = similarities[labels == label].mean(axis=0)
    return profiles


def fit_class_thresholds(
    profiles: np.ndarray, similarities: np.ndarray, labels: np.ndarray, least: int, robust: bool = False
) -> ClassThresholds:
    """
    Layer of interest, mean and standard deviation of S for each class.

    A class of fewer than ``least`` samples gets the standard deviation within the classes, taken over all of them; one
    without samples the mean over all samples as well, at the layer where the classes rise most on the average.

    :param profiles: (K, L), as :func:`class_profiles` gives them.
    :param similarities: Similarities of benign samples to centroids that were fitted without them, (n, L).
    :param labels: Classes of these samples, (n,).
    :param robust: Medians in place of means.
    """
    nb_classes = len(profiles)
    sizes = np.bincount(labels, minlength=nb_classes)
    common = layer_of_interest(np.nanmean(profiles, axis=0))
    interest = np.array([common if np.isnan(row).any() else layer_of_interest(row) for row in profiles])
    sums = interest_sums(similarities, interest[labels])
    means, deviations = (np.full(nb_classes, value) for value in centre_and_spread(sums, robust))
    for label in np.flatnonzero(sizes):
        means[label], deviations[label] = centre_and_spread(sums[labels == label], robust)
    _, within = centre_and_spread(sums - means[labels], robust)
    deviations[sizes < least] = within
    return ClassThresholds(interest, means, deviations)


def deviations_below(sums: np.ndarray, labels: np.ndarray, thresholds: ClassThresholds) -> np.ndarray:
    """
    (mu_t - S) / sigma_t: by how many standard deviations a sample is less like its class than benign ones are. S < mu_t -
    tau sigma_t, the paper's rule, is a value above tau.

    :param sums: S, (n,).
    :param labels: Class t of each sample, (n,).
    :return: (n,), higher is more suspicious. Where sigma_t is 0, 0 for S = mu_t and else a very large number.
    """
    # Cosines are computed to about 1e-6; a smaller spread is none.
    spread = np.maximum(thresholds.deviations[labels], 1e-6)
    delta = thresholds.means[labels] - sums
    scores: np.ndarray = np.where(np.abs(delta) < 1e-6, 0.0, delta) / spread
    return scores


def check_layers(n_layers: int) -> None:
    """
    :raises InvalidInputError: For fewer than four layers.
    """
    if n_layers < LEAST_LAYERS:
        raise InvalidInputError(
            f"At least {LEAST_LAYERS} layers are needed, for a layer of interest in the upper half with two before it; "
            f"received {n_layers}."
        )
