"""Inference of the source class: the true class of an image that carries a trigger."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

# Trigger inversion gives the smallest pattern that works, so the attacker's trigger may be stronger.
STRENGTHS = (1.0, 1.25, 1.5)
LET_GO_WEIGHT, HELD_WEIGHT = 0.1, 1.0  # weight of the densities where the prediction leaves the target, and where not
LEAST_PROBABILITY = 1e-12


def infer_sources(log_likelihoods: np.ndarray, outputs: np.ndarray, target: int) -> np.ndarray:
    """
    Give the most likely class c of each image, other than the target. It maximises
    mean_s log p(c | image minus s times the pattern, c is not the target) + w log p(features of the image | c).

    An additive trigger can be subtracted, and the model then predicts the true class. If the prediction at the largest
    strength is no longer the target, w = 0.1. The pixels under a patch are lost, so the model mostly still predicts the
    target; then w = 1. A larger w would be wrong, because densities over dozens of features are overconfident.

    :param log_likelihoods: Log-likelihood of the images' features under the density of each class, (n, K), in nats; -inf
        for a class without samples, which is then never inferred.
    :param outputs: Logits or probabilities that the model gives for the images minus s times the pattern, for S increasing
        strengths s, (S, n, K).
    :param target: Target class of the backdoor.
    :return: Source classes, (n,), int.
    """
    columns = np.arange(log_likelihoods.shape[1])
    others = np.delete(columns, target)
    seen = log_softmax(log_scores(outputs)[:, :, others], axis=2).mean(axis=0)
    let_go = outputs[-1].argmax(axis=1) != target
    weight = np.where(let_go, LET_GO_WEIGHT, HELD_WEIGHT)[:, None]
    sources: np.ndarray = others[(seen + weight * log_likelihoods[:, others]).argmax(axis=1)]
    return sources


def log_scores(outputs: np.ndarray) -> np.ndarray:
    """
    Give logits unchanged, and the logarithms of probabilities. Rows that are not negative and sum to 1 are probabilities.

    :param outputs: Outputs of the model, (..., K).
    :return: Shape (..., K), float64.
    """
    outputs = np.asarray(outputs, dtype=np.float64)
    are_probabilities = bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3))
    return np.log(np.maximum(outputs, LEAST_PROBABILITY)) if are_probabilities else outputs
