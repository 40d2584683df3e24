"""Splits a test set into three parts: clean samples to learn from, clean samples to judge, and triggered samples."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_plugins.triggers.trigger import Trigger


class HeldOut(NamedTuple):
    """
    The three parts of a test set.

    ``x_defence``, ``y_defence``: the clean images that the defender has. ``x_clean``, ``y_clean``: the other clean images,
    of all classes. ``x_triggered``, ``y_source``: those of the latter that are of a source class, with the trigger, and
    their true classes.
    """

    x_defence: np.ndarray
    y_defence: np.ndarray
    x_clean: np.ndarray
    y_clean: np.ndarray
    x_triggered: np.ndarray
    y_source: np.ndarray


def split_test_set(
    x_test: np.ndarray,
    y_test: np.ndarray,
    trigger: Trigger,
    sources: list[int],
    n_per_class: int = 100,
    random_state: int = 0,
) -> HeldOut:
    """
    Give ``n_per_class`` test images of every class to the defender and the rest to the evaluation (Li et al., section
    5.1).

    :param sources: Classes whose images get the trigger.
    :param random_state: Random seed of the split.
    """
    random = np.random.default_rng(random_state)
    chosen = np.concatenate(
        [random.choice(np.flatnonzero(y_test == label), n_per_class, replace=False) for label in np.unique(y_test)]
    )
    rest = np.setdiff1d(np.arange(len(y_test)), chosen)
    from_source = rest[np.isin(y_test[rest], sources)]
    return HeldOut(
        x_test[chosen], y_test[chosen], x_test[rest], y_test[rest], trigger(x_test[from_source]), y_test[from_source]
    )
