"""The two forms of pattern that trigger inversion optimises: a masked patch and an additive perturbation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Patch:
    """
    A mask (one value for each pixel) and a pattern for each search. Both are kept between 0 and 1 by a hyperbolic tangent,
    as in Neural Cleanse (Wang et al. 2019).

    :param nb_classes: Number of searches, K.
    :param shape: Shape of one image, (C, H, W) or (H, W, C).
    :param channels_first: Whether the channels are the first axis of an image.
    :param device: PyTorch device of the parameters.
    """

    learning_rate, first_cost = 0.1, 1e-3
    least_sigma = 0.25  # standard deviation of the log norms of clean classes, measured on LeNet-5

    def __init__(self, nb_classes: int, shape: tuple[int, ...], channels_first: bool, device: Any) -> None:
        mask_shape = (1, *shape[1:]) if channels_first else (*shape[:2], 1)
        self._mask = (0.1 * torch.randn(nb_classes, *mask_shape)).to(device).requires_grad_()
        self._pattern = (0.1 * torch.randn(nb_classes, *shape)).to(device).requires_grad_()
        self.parameters = [self._mask, self._pattern]

    def start_small(self) -> None:
        """Start from masks of about an eighth in place of a half, so that a few steps tell a small pattern."""
        with torch.no_grad():
            self._mask -= 1

    def screening_cost(self, distance: float) -> float:
        """Give the cost of a pixel of the mask while searches are compared after few steps: 16 for a mask of all pixels."""
        return 16 / self._mask[0].numel()

    def values(self) -> tuple[Tensor, Tensor]:
        """Give the masks, (K, 1, H, W), and the patterns, (K, C, H, W), both from 0 to 1."""
        return (torch.tanh(self._mask) + 1) / 2, (torch.tanh(self._pattern) + 1) / 2

    @staticmethod
    def stamp(images: Tensor, mask: Tensor, pattern: Tensor) -> Tensor:
        """Give (1 - mask) x + mask * pattern (Eq. 2 of Wang et al. 2019)."""
        return images + mask * (pattern - images)

    @staticmethod
    def norms(masks: Tensor, patterns: Tensor) -> Tensor:
        """Give the L1 norm of each mask, in pixels, (K,)."""
        return masks.flatten(1).sum(dim=1)


class Additive:
    """A perturbation for each search, which starts near zero. The parameters are those of :class:`Patch`."""

    learning_rate, first_cost = 0.01, 1e-2
    least_sigma = 0.1

    def __init__(self, nb_classes: int, shape: tuple[int, ...], channels_first: bool, device: Any) -> None:
        self._pattern = (1e-3 * torch.randn(nb_classes, *shape)).to(device).requires_grad_()
        self._ones = torch.ones(nb_classes, *[1] * len(shape), device=device)
        self.parameters = [self._pattern]

    def start_small(self) -> None:
        """Nothing is needed: a perturbation starts near zero."""

    def screening_cost(self, distance: float) -> float:
        """
        Give the cost of a unit of the norm while searches are compared after few steps: .3 for the median distance of
        single images from another class.
        """
        return 0.3 / distance

    def values(self) -> tuple[Tensor, Tensor]:
        """Give masks of ones, (K, 1, 1, 1), and the perturbations, (K, C, H, W)."""
        return self._ones, self._pattern

    @staticmethod
    def stamp(images: Tensor, mask: Tensor, pattern: Tensor) -> Tensor:
        """Give the sum of image and perturbation, clipped to 0 to 1."""
        return (images + pattern).clamp(0, 1)

    @staticmethod
    def norms(masks: Tensor, patterns: Tensor) -> Tensor:
        """Give the L2 norm of each perturbation, (K,)."""
        return (patterns.flatten(1).square().sum(dim=1) + 1e-12).sqrt()


FORMS: dict[str, type[Patch] | type[Additive]] = {"patch": Patch, "additive": Additive}
