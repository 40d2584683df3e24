"""Parts of the variational autoencoders: diagonal Gaussians, their divergence, and the terms of the loss."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

LEAK = 0.2  # slope of the leaky rectified units for negative inputs


class Losses(NamedTuple):
    """Terms of the loss in nats, each summed over a sample and averaged over the batch; reconstruction: squared error."""

    total: Tensor
    reconstruction: Tensor
    divergence_sample: Tensor
    divergence_steps: Tensor


class Normal(NamedTuple):
    """A diagonal Gaussian, given by its mean and the logarithm of its variance, of equal shapes."""

    mean: Tensor
    log_variance: Tensor

    def sample(self) -> Tensor:
        """Draw by the reparameterisation trick, from the generator of torch, which the training loop seeds."""
        return self.mean + torch.randn_like(self.mean) * torch.exp(0.5 * self.log_variance)


def divergence(posterior: Normal, prior: Normal) -> Tensor:
    """Give the Kullback-Leibler divergence KL(posterior || prior), summed over all axes but the first; shape (B,)."""
    ratio = torch.exp(posterior.log_variance - prior.log_variance)
    shift = (posterior.mean - prior.mean) ** 2 / torch.exp(prior.log_variance)
    terms = 0.5 * (prior.log_variance - posterior.log_variance + ratio + shift - 1)
    return terms.flatten(1).sum(1)


def divergence_from_standard(posterior: Normal) -> Tensor:
    """Give the Kullback-Leibler divergence KL(posterior || N(0, I)), shape (B,)."""
    return divergence(posterior, Normal(torch.zeros_like(posterior.mean), torch.zeros_like(posterior.log_variance)))
