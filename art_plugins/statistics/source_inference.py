"""Of which class is an image that carries a trigger? The model's view without the pattern, and the densities with it."""

from __future__ import annotations

import numpy as np
from scipy.special import log_softmax

# The inversion seeks the smallest pattern that works, so it is at most as strong as the attacker's.
STRENGTHS = (1.0, 1.25, 1.5)
LET_GO_WEIGHT, HELD_WEIGHT = 0.1, 1.0  # of the densities
LEAST_PROBABILITY = 1e-12


def infer_sources(log_likelihoods: np.ndarray, outputs: np.ndarray, target: int) -> np.ndarray:
    """
    The most likely class c other than the target, by mean_s log p(c | image without s times the pattern, not the target) +
    w log p(features of the image as it came | c).

    A perturbation that was added can be taken away again, and then the model itself says what the image is: where it
    lets go of the target at the last strength, w = .1. What lies under a patch is lost, and the model clings to the target:
    w = 1. Densities over dozens of features are too sure of themselves, hence at most 1.

    :param log_likelihoods: Of the images' features under each class's density, (n, K), in nats; -inf for a class without
        samples, which is then never inferred.
    :param outputs: Of the model, logits or probabilities, for the images less s times the pattern, for S rising
        strengths s, (S, n, K).
    :return: (n,), int.
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
    Logits as they are; of probabilities (rows that are not negative and sum to 1) the logarithms.

    :param outputs: (..., K).
    """
    outputs = np.asarray(outputs, dtype=np.float64)
    are_probabilities = bool((outputs >= 0).all() and np.allclose(outputs.sum(axis=-1), 1, atol=1e-3))
    return np.log(np.maximum(outputs, LEAST_PROBABILITY)) if are_probabilities else outputs
