"""Standardisation of hidden features: a signed power that shortens long tails, then mean 0 and variance 1."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_plugins.errors import InvalidInputError


class Standardisation(NamedTuple):
    """
    ``power`` (): exponent of the signed power; ``centre``, ``scale`` (D,): mean and standard deviation of the features
    after it, with 1 as the scale of a constant feature; ``used`` (D,) bool: the d features that vary.
    """

    power: np.ndarray
    centre: np.ndarray
    scale: np.ndarray
    used: np.ndarray


def signed_power(features: np.ndarray, power: float) -> np.ndarray:
    """
    Raise the absolute values to ``power`` and keep the signs: sign(x) |x|^power.

    :param features: Any shape.
    :param power: The exponent, above 0.
    :return: A new array of the same shape, float64.
    """
    powered = np.array(features, dtype=np.float64)
    if power != 1:
        np.abs(powered, out=powered)
        if power == 0.5:
            np.sqrt(powered, out=powered)  # ten times as fast as the power
        else:
            np.power(powered, power, out=powered)
        np.copysign(powered, features, out=powered)
    return powered


def standardise(features: np.ndarray, rule: Standardisation) -> np.ndarray:
    """
    Give the features that vary in their standardised unit.

    :param features: Shape (n, D).
    :return: Shape (n, d), float64.
    """
    z = signed_power(features[:, rule.used], float(rule.power))
    z -= rule.centre[rule.used]
    z /= rule.scale[rule.used]
    return z


def fit_standardisation(powered: np.ndarray, power: float) -> tuple[Standardisation, np.ndarray]:
    """
    Learn the standardisation of features, and apply it.

    :param powered: Features after the signed power, (n, D), float64, finite. They are overwritten, to save memory.
    :param power: Exponent of the signed power.
    :return: The standardisation, and the standardised features that vary, (n, d).
    :raises InvalidInputError: If all features are constant.
    """
    centre = powered.mean(axis=0)
    powered -= centre
    scale = np.sqrt(np.einsum("ij,ij->j", powered, powered) / len(powered))
    # The deviation of equal values may be a rounding error above 0; their range is 0.
    used = (np.ptp(powered, axis=0) > 0) & (scale > 1e-6 * scale.max(initial=0))
    if not used.any():
        raise InvalidInputError("All features are constant over the clean samples; choose another layer.")
    z = powered if used.all() else powered[:, used]
    z /= scale[used]
    return Standardisation(np.array(float(power)), centre, np.where(used, scale, 1.0), used), z
