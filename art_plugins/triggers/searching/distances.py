"""Expected norms of the patterns of different classes, from the distances of single images to the classes."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from art_plugins.errors import InvalidInputError
from art_plugins.features.outputs import check_outputs
from art_plugins.triggers.differentiable import DifferentiableClassifier
from art_plugins.triggers.searching.screening import MOST_FULL
from art_plugins.triggers.searching.search import CHECKED

FEWEST_CHECKED = 64  # images from which the distance of one of many classes is taken; all classes share most of them


def expected_distances(
    model: DifferentiableClassifier, images: Tensor, labels: np.ndarray, nb_classes: int, batch_size: int = 128
) -> np.ndarray:
    """
    Give the distance of each class from the images of the other classes: the median over the images, but at least the
    median over the classes.

    A class far from all others needs a larger pattern. A class that is near does not get a smaller expected distance,
    because the shortcut of a backdoor may also bring single images near.

    :param model: The classifier.
    :param images: Images in the unit range, (n, ...).
    :param labels: Class of each image, (n,).
    :param nb_classes: Number of classes, K.
    :param batch_size: Number of images in one pass.
    :return: Distances, (K,), above 0, in units of the images' range.
    :raises InvalidInputError: If the model gives values that are not finite.
    """
    distances = np.zeros(nb_classes)
    n_checked = min(CHECKED, max(FEWEST_CHECKED, CHECKED * MOST_FULL // nb_classes))  # fewer for more than ten classes
    for label in range(nb_classes):
        rows = np.flatnonzero(labels != label)
        rows = rows[:: max(1, len(rows) // n_checked)]
        distances[label] = _median(distances_to_class(model, images[rows], label, nb_classes, batch_size))
    median = np.median(distances)
    return np.maximum(distances, median) if median > 0 else np.ones(nb_classes)


def source_distances(
    model: DifferentiableClassifier, images: Tensor, labels: np.ndarray, target: int, nb_classes: int
) -> np.ndarray:
    """
    Give the distance of each other class from the target: the median over its images, but at most the median over the
    classes.

    Some classes lie near the target without any backdoor, for example sneakers near ankle boots, so a small pattern for
    them is no sign of a backdoor. The upper bound is needed because a class that is far away would otherwise be suspicious
    with a pattern of usual size.

    The parameters are those of :func:`expected_distances`; ``target`` is the target class.

    :return: Distances, (K,), above 0; 1 for classes without images and for the target.
    :raises InvalidInputError: If the model gives values that are not finite.
    """
    found = np.ones(nb_classes)
    sources = np.unique(labels[labels != target])
    for label in sources:
        found[label] = _median(distances_to_class(model, images[labels == label], target, nb_classes))
    positive = found[sources][found[sources] > 0]
    if len(positive):
        found[sources] = np.clip(found[sources], positive.min(), max(positive.min(), float(np.median(found[sources]))))
    else:
        found[sources] = 1
    return found


def distances_to_class(
    model: DifferentiableClassifier, images: Tensor, label: int, nb_classes: int, batch_size: int = 128
) -> np.ndarray:
    """
    Give the L2 norm of the perturbation that would move each image to class ``label`` if the logits were linear:
    (max_k z_k - z_c) / ||grad (max_k z_k - z_c)|| (first step of DeepFool, Moosavi-Dezfooli et al. 2016).

    :param images: Images in the unit range, (n, ...).
    :return: Distances, (n,), in units of the images' range. They are 0 for images that are already predicted as ``label``,
        or whose softmax is saturated, and NaN if a gradient is not finite.
    :raises InvalidInputError: If the model gives values that are not finite for some of the images.
    """
    found = []
    for start in range(0, len(images), batch_size):
        batch = images[start : start + batch_size].to(model.device).requires_grad_()
        logits = model.logits(batch)
        check_outputs(logits, nb_classes)
        n_bad = int((~torch.isfinite(logits).all(dim=1)).sum())
        if n_bad:
            raise InvalidInputError(
                f"The model gives outputs that are not finite for {n_bad} of {len(batch)} clean images from number {start} "
                "on; check its weights for NaN, and how the images are scaled."
            )
        others = logits.masked_fill(torch.arange(nb_classes, device=logits.device) == label, -torch.inf)
        gaps = others.amax(dim=1) - logits[:, label]
        (gradients,) = torch.autograd.grad(gaps.sum(), batch)
        found.append((gaps.detach().clamp_min(0) / gradients.flatten(1).norm(dim=1).clamp_min(1e-12)).cpu().numpy())
    distances: np.ndarray = np.concatenate(found)
    return distances


def _median(distances: np.ndarray) -> float:
    """
    Give the median of the finite distances.

    :raises InvalidInputError: If none is finite.
    """
    finite = np.isfinite(distances)
    if not finite.any():
        raise InvalidInputError(
            f"The model's gradients are not finite for any of {len(distances)} clean images, so no trigger can be inverted."
        )
    return float(np.median(distances[finite]))
