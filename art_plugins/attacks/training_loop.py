"""The loop that trains every classifier here: shuffled batches, random crops and mirror images, a warm-up and a cosine."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from tqdm.auto import tqdm

from art_plugins.errors import InvalidInputError

if TYPE_CHECKING:
    from lightning.fabric import Fabric

PADDING = 4  # zeros on each side before the random crop


def run_epochs(
    x: Tensor,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    optimisers: Sequence[Any],
    fabric: Fabric,
    *,
    nb_epochs: int,
    batch_size: int,
    augment: bool | str = False,
    title: str,
    verbose: bool,
) -> None:
    """
    Minimise a loss over shuffled batches; the learning rates follow :func:`rate_factor`. Draws from torch's generator.

    :param x: Samples on the device, (n, ...); each epoch leaves out a random part of them that does not fill a batch.
    :param loss_of: The loss of a batch, from the numbers of its rows and its samples, augmented.
    :param optimisers: As ``fabric.setup`` gave them.
    :param augment: ``True``: random crops and mirror images; ``"crop"``: crops alone. For images.
    :param title: Of the progress bar.
    :raises InvalidInputError: When the loss is no longer finite.
    """
    n_batches = max(1, len(x) // batch_size)
    total_steps = nb_epochs * n_batches
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimiser.optimizer, lambda step: rate_factor(step, total_steps))
        for optimiser in optimisers
    ]
    epochs = tqdm(range(nb_epochs), desc=title, unit="epoch", disable=not verbose or None)
    for _ in epochs:
        total = torch.zeros((), device=x.device)
        for rows in torch.randperm(len(x))[: n_batches * batch_size].reshape(n_batches, -1):
            batch = augmented(x[rows], mirror=augment != "crop") if augment else x[rows]
            loss = loss_of(rows, batch)
            for optimiser in optimisers:
                optimiser.zero_grad()
            fabric.backward(loss)
            for optimiser, schedule in zip(optimisers, schedules, strict=True):
                optimiser.step()
                schedule.step()
            total += loss.detach()
        mean = float(total) / n_batches
        if not np.isfinite(mean):
            raise InvalidInputError("The classifier's loss is no longer finite; lower learning_rate.")
        epochs.set_postfix(loss=f"{mean:.3f}")


def rate_factor(step: int, total_steps: int) -> float:
    """Share of the highest learning rate at a step, from 0: a straight rise over the first tenth, then half a cosine."""
    rise = max(1, total_steps // 10)
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise + 1) / (total_steps - rise + 1))) / 2


def augmented(images: Tensor, mirror: bool = True) -> Tensor:
    """
    Each image cropped at a random place after padding by 4 zeros, and mirrored with probability one half.

    :param images: (B, C, H, W).
    :param mirror: ``False``: never mirrored.
    :return: The same shape.
    """
    n, channels, height, width = images.shape
    top, left = torch.randint(0, 2 * PADDING + 1, (2, n))
    rows = top[:, None] + torch.arange(height)
    columns = left[:, None] + torch.arange(width)
    if mirror:
        columns = torch.where(torch.rand(n, 1) < 0.5, columns.flip(1), columns)
    padded = functional.pad(images, [PADDING] * 4)
    return padded[
        torch.arange(n)[:, None, None, None],
        torch.arange(channels)[None, :, None, None],
        rows[:, None, :, None],
        columns[:, None, None, :],
    ]
