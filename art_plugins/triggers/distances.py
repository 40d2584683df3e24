"""How far patterns of different sizes and sources may be expected to lie apart."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from art_plugins.errors import InvalidInputError
from art_plugins.features.outputs import check_outputs
from art_plugins.triggers.differentiable import DifferentiableClassifier
from art_plugins.triggers.search import CHECKED


def expected_distances(
    model: DifferentiableClassifier, images: Tensor, labels: np.ndarray, nb_classes: int, batch_size: int = 128
) -> np.ndarray:
    """
    How far from each class single images of the others lie, by the median image, but at least as far as from the median
    class.

    A class that lies far from all others is expected to need a larger pattern. One that lies near is not excused by it: a
    backdoor's shortcut may bring single images near as well.

    :param images: In the unit range, (n, ...).
    :param labels: (n,).
    :return: (K,), above 0, in units of the images' range.
    """
    distances = np.zeros(nb_classes)
    for label in range(nb_classes):
        rows = np.flatnonzero(labels != label)
        rows = rows[:: max(1, len(rows) // CHECKED)]
        distances[label] = _median(distances_to_class(model, images[rows], label, nb_classes, batch_size))
    median = np.median(distances)
    return np.maximum(distances, median) if median > 0 else np.ones(nb_classes)


def source_distances(
    model: DifferentiableClassifier, images: Tensor, labels: np.ndarray, target: int, nb_classes: int
) -> np.ndarray:
    """
    How far from the target class single images of each other class lie, by the median image, but at most as far as those
    of the median class.

    Some sources lie near the target without any backdoor, sneakers near ankle boots for example: that their pattern is
    small is no sign of one. That a far one's pattern is as small as the others' is none either.

    :return: (K,), above 0; 1 for classes without images and for the target.
    """
    found = np.ones(nb_classes)
    sources = np.unique(labels[labels != target])
    for label in sources:
        found[label] = _median(distances_to_class(model, images[labels == label], target, nb_classes))
    positive = found[sources][found[sources] > 0]
    if len(positive):
        found[sources] = np.clip(found[sources], positive.min(), np.median(found[sources]))
    return found


def distances_to_class(
    model: DifferentiableClassifier, images: Tensor, label: int, nb_classes: int, batch_size: int = 128
) -> np.ndarray:
    """
    L2 norm of the perturbation that would take each image to class ``label`` if the logits were linear,
    (max_k z_k - z_c) / ||grad (max_k z_k - z_c)|| (first step of DeepFool, Moosavi-Dezfooli et al. 2016).

    :return: (n,), in units of the images' range; 0 for images that are there, or whose saturated softmax has no gradient;
        NaN where a gradient is not finite.
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
    Of those that are finite.

    :raises InvalidInputError: If none is.
    """
    finite = np.isfinite(distances)
    if not finite.any():
        raise InvalidInputError(
            f"The model's gradients are not finite for any of {len(distances)} clean images, so no pattern can be sought."
        )
    return float(np.median(distances[finite]))
