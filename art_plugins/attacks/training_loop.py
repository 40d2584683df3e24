"""Settings of a training, and the loop that trains every attacked classifier."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
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


@dataclass(frozen=True)
class Training:
    """
    How a network is trained; the defaults are those for waveforms.

    :param network: A name in ``art_plugins.attacks.networks.NETWORKS``.
    :param nb_epochs: Number of training epochs; 0 gives an untrained network.
    :param learning_rate: Highest learning rate of the schedule, see :func:`rate_factor`.
    :param precision: Number format of the training, ``"32-true"`` or ``"bf16-mixed"`` (2.5 times faster where the CPU has
        it, and the same as ``"32-true"`` where not); the trained classifier itself has 32 bits.
    :param random_state: Random seed of the weights, the order of the samples and the augmentation. The global generators
        are not touched.
    """

    network: str = "cnn"
    nb_epochs: int = 15
    batch_size: int = 64
    learning_rate: float = 2e-3
    precision: str = "32-true"
    random_state: int = 0


@dataclass(frozen=True)
class ImageTraining(Training):
    """
    How a network for images is trained; see also :class:`Training`.

    :param network: Such as ``"lenet5"``, ``"resnet18_cifar"`` or ``"mobilenet_v2"``.
    :param width: Channels of the network's first stage, where it has such a parameter; ``None``: its default.
    :param augment: ``True``: random crops after padding by 4, and mirror images. ``"crop"``: crops alone, where a mirror
        image is another thing, such as a traffic sign.
    """

    network: str = "lenet5"
    nb_epochs: int = 10
    batch_size: int = 128
    learning_rate: float = 0.05
    width: int | None = None
    augment: bool | str = False


WAVEFORM_TRAINING, IMAGE_TRAINING = Training(), ImageTraining()  # at the defaults


def run_epochs(
    x: Tensor,
    loss_of: Callable[[Tensor, Tensor], Tensor],
    optimisers: Sequence[Any],
    fabric: Fabric,
    training: Training,
    *,
    title: str,
    verbose: bool,
) -> None:
    """
    Minimise a loss over shuffled batches. The learning rates follow :func:`rate_factor`. Random numbers come from torch's
    generator.

    :param x: Samples on the device, (n, ...). Each epoch leaves out a random part of them that does not fill a batch.
    :param loss_of: Gives the loss of a batch from the numbers of its rows and from its augmented samples.
    :param optimisers: As ``fabric.setup`` gave them.
    :param training: Gives the number of epochs, the size of a batch, and for images the augmentation.
    :param title: Title of the progress bar.
    :raises InvalidInputError: When the loss is no longer finite.
    """
    augment = training.augment if isinstance(training, ImageTraining) else False
    n_batches = max(1, len(x) // training.batch_size)
    total_steps = training.nb_epochs * n_batches
    schedules = [
        torch.optim.lr_scheduler.LambdaLR(optimiser.optimizer, lambda step: rate_factor(step, total_steps))
        for optimiser in optimisers
    ]
    epochs = tqdm(range(training.nb_epochs), desc=title, unit="epoch", disable=not verbose or None)
    for _ in epochs:
        total = torch.zeros((), device=x.device)
        for rows in torch.randperm(len(x))[: n_batches * training.batch_size].reshape(n_batches, -1):
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
    """
    Learning rate of a step as a share of the highest one: it rises in a straight line over the first tenth of the steps,
    then falls along half a cosine.

    :param step: Number of the step, from 0.
    """
    rise = max(1, total_steps // 10)
    if step < rise:
        return (step + 1) / rise
    return (1 + math.cos(math.pi * (step - rise + 1) / (total_steps - rise + 1))) / 2


def augmented(images: Tensor, mirror: bool = True) -> Tensor:
    """
    Pad each image by 4 zeros, crop it at a random place, and mirror it with probability one half.

    :param images: (B, C, H, W).
    :param mirror: ``False``: no image is mirrored.
    :return: Images of the same shape.
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
