"""Cognitive Distillation (Huang et al. 2023): a small part of a triggered image already gives the model's output."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import Tensor

from art_plugins.defences.detector_classifier import ForDetectorClassifier
from art_plugins.defences.threshold_detector import ThresholdDetector
from art_plugins.parameters import check_count, check_learning_rate, check_number
from art_plugins.triggers.differentiable import DifferentiableClassifier

BETAS = (0.1, 0.1)  # of Adam, the authors'
BEGINNING = 1.0  # of the mask before tanh, the authors': a mask of .88 everywhere


class CognitiveDistillation(ForDetectorClassifier, ThresholdDetector):
    """
    Cognitive Distillation: for each image, the smallest mask is sought that keeps the logits of the model. The score is
    minus the mean of the mask.

    | Paper: H. Huang, X. Ma, S. Erfani, J. Bailey, Distilling Cognitive Backdoor Patterns within an Image, ICLR 2023, arXiv
      2301.10908.

    The mask m, 0 to 1 with one channel, minimises mean |f(x m + (1 - m) d) - f(x)| + ``sparsity`` |m|_1 + ``smoothness``
    TV(m) by Adam. f gives the logits, d is one random value a channel at each step, 0 to 1, and TV is the sum of squared
    differences of neighbours by the number of pixels. Images are scaled from the classifier's range to 0 to 1.

    Defaults: 100 steps, learning rate 0.1, sparsity 0.01 (the paper's alpha, gamma in the program) and smoothness 10 were
    read from the README of the authors' published program; none of its code is here. The abstract and the program were at
    hand, the full text was not.

    Deviates: the threshold is set on clean images by their false-positive rate, as for the other detectors here; the
    program takes one standard deviation below the mean of clean images. All images get the same random values d, so that a
    score does not depend on the other images. Samples that are no images have a mask of their own shape.

    When this breaks: networks whose logits for a trigger are much larger than for clean images, since a mask must keep them
    all (small networks on 8 x 8 and 32 x 32 digits: triggered images get the larger masks); triggers all over the image,
    which a small mask cannot hold; classes that the model knows by a small
    part of the image, such as a logo; sounds and vectors, for which it was not made. The network runs 100 times forwards
    and backwards on each image.

    :param nb_steps: Number of steps of the optimiser.
    :param learning_rate: Its learning rate, above 0.
    :param sparsity: Weight of the size of the mask, at least 0.
    :param smoothness: Weight of the total variation of the mask, at least 0.
    :param random_state: Random seed of d.

    Scores are -1 to 0. The other parameters are those of :class:`ThresholdDetector`. There are ten parameters: three of
    these are ART's or the threshold's.
    """

    defence_params = [
        *ThresholdDetector.defence_params,
        *("nb_steps", "learning_rate", "sparsity", "smoothness", "random_state"),
    ]

    def __init__(
        self,
        classifier: Any,
        target_class: int | None = None,
        *,
        nb_steps: int = 100,
        learning_rate: float = 0.1,
        sparsity: float = 0.01,
        smoothness: float = 10.0,
        threshold: float | None = None,
        fpr: float = 0.05,
        random_state: int = 0,
    ) -> None:
        super().__init__(classifier, target_class, threshold, fpr)
        self.nb_steps, self.learning_rate = nb_steps, learning_rate
        self.sparsity, self.smoothness, self.random_state = sparsity, smoothness, random_state
        self.set_params(**self.tunables())

    def _check(self, values: dict[str, Any]) -> None:
        super()._check(values)
        check_count("nb_steps", values["nb_steps"])
        check_learning_rate(values["learning_rate"])
        check_number("sparsity", values["sparsity"], least=0)
        check_number("smoothness", values["smoothness"], least=0)
        check_count("random_state", values["random_state"], 0)

    def _learn(self, x: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        self._fitted = dict(self.tunables())
        self._model = DifferentiableClassifier(self.classifier, x)

    def _scores(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        parts = [self._distil(x[start : start + batch_size]) for start in range(0, len(x), batch_size)]
        return -np.concatenate([part.reshape(len(part), -1).mean(axis=1, dtype=np.float64) for part in parts])

    def masks(self, x: np.ndarray) -> np.ndarray:
        """
        Distil one batch of images.

        :param x: Images (n, ...), after :meth:`fit`.
        :return: The masks, 0 to 1, of the shape of ``x`` with one channel.
        """
        self._check_fitted()
        self._check_images(x)
        return self._distil(x)

    def _distil(self, x: np.ndarray) -> np.ndarray:
        model, values = self._model, self._fitted
        sparsity, smoothness = float(values["sparsity"]), float(values["smoothness"])
        random = torch.Generator().manual_seed(values["random_state"])
        with model.evaluating(), torch.inference_mode(False), torch.enable_grad():
            images = model.to_unit_range(torch.from_numpy(np.array(x, dtype=np.float32)).to(model.device))
            channel = None if images.ndim != 4 else 1 if model.channels_first else 3
            shape = [1 if axis == channel else length for axis, length in enumerate(images.shape)]
            colours = [images.shape[axis] if axis == channel else 1 for axis in range(images.ndim)]
            raw = torch.full(shape, BEGINNING, device=model.device, requires_grad=True)
            optimiser = torch.optim.Adam([raw], lr=float(values["learning_rate"]), betas=BETAS)
            with torch.no_grad():
                logits = model.logits(images)
            for _ in range(values["nb_steps"]):
                mask = (torch.tanh(raw) + 1) / 2
                noise = torch.rand(colours, generator=random).to(model.device)
                change = (model.logits(images * mask + (1 - mask) * noise) - logits).abs().mean(dim=1)
                rows = mask.flatten(1)
                loss = change + sparsity * rows.sum(dim=1) + smoothness * total_variation(mask)
                optimiser.zero_grad()
                loss.sum().backward()  # type: ignore[no-untyped-call]
                optimiser.step()
            return ((torch.tanh(raw) + 1) / 2).detach().cpu().numpy()


def total_variation(masks: Tensor) -> Tensor:
    """
    Give the sum of squared differences between neighbours along all axes, by the number of values.

    :param masks: Shape (B, ...).
    :return: Shape (B,).
    """
    total = masks.new_zeros(len(masks))
    for axis in range(1, masks.ndim):
        total = total + masks.diff(dim=axis).square().flatten(1).sum(dim=1)
    return total / masks[0].numel()
