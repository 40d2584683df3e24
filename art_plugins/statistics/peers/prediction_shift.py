"""How dropout shifts the predictions of a model: prediction shift uncertainty (Li et al. 2025), and the rate to take."""

from __future__ import annotations

import numpy as np

LEAST_SHIFT = 0.8  # share of shifted predictions of clean samples from which a dropout rate is taken, the authors' value


def shift_uncertainty(probabilities: np.ndarray, dropped: np.ndarray) -> np.ndarray:
    """
    Give the prediction shift uncertainty: how much probability the predicted class loses on average under dropout.

    :param probabilities: Class probabilities without dropout, (n, K).
    :param dropped: Class probabilities in each pass with dropout, (passes, n, K).
    :return: Shape (n,), -1 to 1. A small value says that the prediction survives dropout.
    """
    rows, predicted = np.arange(len(probabilities)), probabilities.argmax(axis=1)
    lost: np.ndarray = probabilities[rows, predicted] - dropped[:, rows, predicted].mean(axis=0)
    return lost


def shift_ratio(probabilities: np.ndarray, dropped: np.ndarray) -> float:
    """
    Give the share of passes and samples in which dropout changes the predicted class.

    :param probabilities: Class probabilities without dropout, (n, K).
    :param dropped: Class probabilities in each pass with dropout, (passes, n, K).
    """
    return float((dropped.argmax(axis=2) != probabilities.argmax(axis=1)).mean())


def best_rate(clean_ratios: np.ndarray, train_ratios: np.ndarray) -> int:
    """
    Choose the dropout rate at which clean samples shift most more often than training samples, some of which are poison.

    Only rates at which at least ``LEAST_SHIFT`` of the clean predictions shift are taken, if there are any.

    :param clean_ratios: Shift ratio of the clean samples at each rate, (R,).
    :param train_ratios: Shift ratio of the training samples at each rate, (R,).
    :return: Index of the rate.
    """
    enough = clean_ratios >= LEAST_SHIFT
    candidates = np.flatnonzero(enough) if enough.any() else np.arange(len(clean_ratios))
    return int(candidates[np.argmax((clean_ratios - train_ratios)[candidates])])
