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
    Compute the rates of a detector, each over two denominators.

    :param clean: Predicted classes (n,) and verdicts (n,) of the clean test images.
    :param triggered: Predicted classes (m,) and verdicts (m,) of the triggered test images.
    :param y_clean: True classes of the clean test images, (n,).
    :return: The rates and their four denominators. ``tpr`` is the share caught of the triggered images that the model
        classifies as the target class, and ``tpr_of_all`` that of all triggered images. ``fpr`` is the share caught of the
        clean images of the target class that the model classifies correctly, and ``fpr_of_all`` that of all clean images
        that the model classifies as the target class.
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
    Compute the accuracy of the source classes that a detector infers.

    ``sia`` is the accuracy over the triggered images that the model classifies as the target class. ``sia_of_all`` is the
    accuracy over all triggered images. An image that is not caught counts as wrong.
    """
    right = inferred == y_source
    as_target = predicted == target
    return {
        "sia": ratio(int((right & as_target).sum()), int(as_target.sum())),
        "sia_of_all": ratio(int((right & as_target).sum()), len(as_target)),
    }
