"""Reduction of the latents of one class: normalisation, whitening and PCA (Mehlman et al. 2023, section 3.1)."""

from __future__ import annotations

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.gaussian import fit_gaussian

WHITENINGS = ("after_pca", "before_pca", "none")


def reduce_latents(x: np.ndarray, nb_dims: int = 24, whiten: str = "after_pca") -> np.ndarray:
    """
    Standardise each latent, keep the leading principal components, and scale them to unit variance.

    The paper names the steps in the order normalise, whiten, PCA. Exact whitening gives every direction equal variance, so
    PCA could not choose directions. ``"before_pca"`` therefore whitens with a covariance shrunk by OAS, and the default
    whitens the components that PCA kept. Directions without variance become zero.

    :param x: Latents of one class, shape (n, D), n >= 2.
    :param nb_dims: Largest number of components to keep.
    :param whiten: Place of the whitening: ``"after_pca"``, ``"before_pca"`` or ``"none"``.
    :return: Shape (n, min(nb_dims, D)), float64.
    :raises InvalidInputError: For an unknown ``whiten``.
    """
    if whiten not in WHITENINGS:
        raise InvalidInputError(f"whiten must be one of {WHITENINGS}; received {whiten!r}.")
    x = np.asarray(x, dtype=np.float64)
    centred = x - x.mean(axis=0)
    deviation = centred.std(axis=0)
    alive = deviation > 1e-7 * (np.abs(x).max(axis=0) + 1e-30)  # a smaller spread is rounding error
    normalised = np.where(alive, centred / np.where(alive, deviation, 1), 0)
    if whiten == "before_pca":
        variances, axes = np.linalg.eigh(fit_gaussian(normalised).covariance)
        normalised = normalised @ (axes / np.sqrt(variances)) @ axes.T
    variances, axes = np.linalg.eigh(normalised.T @ normalised / len(x))
    order = np.argsort(variances)[::-1][:nb_dims]
    components: np.ndarray = normalised @ _signed(axes[:, order])
    if whiten != "after_pca":
        return components
    variances = variances[order]
    spread = variances > 1e-12 * max(variances[0], 1e-30)
    return np.where(spread, components / np.sqrt(np.where(spread, variances, 1)), 0)


def _signed(axes: np.ndarray) -> np.ndarray:
    """Make the largest entry of each axis positive, so that the sign does not depend on the eigensolver."""
    largest = axes[np.abs(axes).argmax(axis=0), np.arange(axes.shape[1])]
    return axes * np.where(largest < 0, -1, 1)
