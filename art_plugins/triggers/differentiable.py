"""An ART classifier as a differentiable function of its images."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from torch import Tensor

from art_plugins.errors import InvalidInputError
from art_plugins.features.classifiers import (
    class_outputs,
    forward,
    in_evaluation_mode,
    torch_module,
)
from art_plugins.features.devices import computes_mixed
from art_plugins.features.sample_shapes import has_channels_first


class DifferentiableClassifier:
    """
    An ART ``PyTorchClassifier`` as a differentiable function from images, scaled to 0 to 1, to logits.

    :param classifier: ART ``PyTorchClassifier``.
    :param x: Images, which give the range if the classifier has no clip values.
    :param precision: A name in ``PASS_PRECISIONS``.
    :raises InvalidInputError: If a preprocessing step is not written in PyTorch, or the range is empty or not finite.
    """

    def __init__(self, classifier: Any, x: np.ndarray, precision: str = "32-true") -> None:
        if classifier.preprocessing_operations and not classifier.all_framework_preprocessing:
            raise InvalidInputError(
                "A preprocessing step of the classifier is not written in PyTorch, so no gradient flows through it; "
                "use the PyTorch form of that defence."
            )
        self._classifier, self._network = classifier, torch_module(classifier)
        self.device, self._is_mixed = classifier.device, computes_mixed(precision, classifier.device)
        self.channels_first = bool(classifier.channels_first)
        if x.ndim == 4:
            has_channels_first(x.shape[1:], self.channels_first)  # raises where the shape contradicts it
        low, high = classifier.clip_values if classifier.clip_values is not None else (x.min(), x.max())
        self.low, self.range = float(np.min(low)), float(np.max(high)) - float(np.min(low))
        if not 0 < self.range < np.inf:
            raise InvalidInputError(
                f"The images' range is {self.low} to {self.low + self.range}, which is empty or not finite; give the "
                "classifier their clip_values."
            )

    def to_unit_range(self, images: Tensor) -> Tensor:
        """Scale images from the classifier's range to 0 to 1."""
        return (images - self.low) / self.range

    def logits(self, images: Tensor) -> Tensor:
        """
        Give the logits of images.

        :param images: Images in the unit range, (B, ...).
        :return: Logits, (B, K); for a model that ends in a softmax, the logarithms of its probabilities.
        """
        raw = images * self.range + self.low
        prepared, _ = self._classifier._apply_preprocessing(raw, y=None, fit=False, no_grad=False)
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self._is_mixed):
            outputs = class_outputs(forward(self._classifier, self._network, prepared), len(images))
        if images.requires_grad and torch.is_grad_enabled() and not outputs.requires_grad:
            raise InvalidInputError(
                "No gradient flows from the model's outputs to its images: a part of its forward runs under torch.no_grad, "
                "or detaches its result. Give a network without that; frozen weights (requires_grad=False) are no problem."
            )
        outputs = outputs.float()
        looks_normalised = bool((outputs.min() >= 0) & ((outputs.sum(dim=1) - 1).abs().max() < 1e-3))
        return outputs.clamp_min(1e-12).log() if looks_normalised else outputs

    @contextmanager
    def evaluating(self) -> Iterator[None]:
        """Set evaluation mode and switch off the gradients of the parameters inside the block; restore both at its end."""
        required = [(parameter, parameter.requires_grad) for parameter in self._network.parameters()]
        with in_evaluation_mode(self._network):
            for parameter, _ in required:
                parameter.requires_grad_(False)
            try:
                yield
            finally:
                for parameter, before in required:
                    parameter.requires_grad_(before)
