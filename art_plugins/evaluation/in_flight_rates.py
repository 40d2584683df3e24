"""Rates of an in-flight detector on clean and on triggered test images."""

from __future__ import annotations

from typing import Any

import numpy as np

from art_plugins.attacks.success import ratio


def detection_figures(
    clean: tuple[np.ndarray, np.ndarray],
    triggered: tuple[np.ndarray, np.ndarray],
    y_clean: np.ndarray,
    target: int,
) -> dict[str, Any]:
    """
    Rates of a detector, each over two denominators.

    :param clean: Predicted classes (n,) and verdicts (n,) of the clean test images.
    :param triggered: Predicted classes (m,) and verdicts (m,) of the triggered test images.
    :param y_clean: True classes of the clean test images, (n,).
    :return: ``tpr``: share of the triggered images sent to the target that are caught; ``tpr_of_all``: share of all
        triggered images. ``fpr``: share of the clean images of the target class, predicted as such, that are caught;
        ``fpr_of_all``: share of all clean images that are predicted as the target. And the four denominators.
    """
    as_target = triggered[0] == target
    clean_as_target = clean[0] == target
    in_class = clean_as_target & (y_clean == target)
    caught = int((triggered[1] & as_target).sum())
    return {
        "tpr": ratio(caught, int(as_target.sum())),
        "tpr_of_all": ratio(caught, len(as_target)),
        "fpr": ratio(int((clean[1] & in_class).sum()), int(in_class.sum())),
        "fpr_of_all": ratio(int((clean[1] & clean_as_target).sum()), int(clean_as_target.sum())),
        "n_triggered_as_target": int(as_target.sum()),
        "n_triggered": len(as_target),
        "n_clean_target": int(in_class.sum()),
        "n_clean_as_target": int(clean_as_target.sum()),
    }


def source_accuracy(inferred: np.ndarray, y_source: np.ndarray, predicted: np.ndarray, target: int) -> dict[str, Any]:
    """
    Accuracy of the source classes that a detector infers.

    ``sia`` is over the triggered images that the model sends to the target, ``sia_of_all`` is over all triggered images.
    An image that is not caught counts as wrong.
    """
    right = inferred == y_source
    as_target = predicted == target
    return {
        "sia": ratio(int((right & as_target).sum()), int(as_target.sum())),
        "sia_of_all": ratio(int((right & as_target).sum()), len(as_target)),
    }
