"""
Convergence of an autoencoder: training ends when the information in its latents has stopped changing.

The total loss is a bad measure, because the decoder improves long after the latents have stopped changing, and only the
latents are judged. The information in the latents is their divergence from the prior in nats, a term of the loss with
little noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

# Training needs optimiser steps, not epochs: 30 epochs of 60 samples are 30 steps. A window of 100 steps is longer than the
# pauses in the training on small sets, and three epochs average over the order of the samples.
WINDOW_STEPS, LEAST_EPOCHS = 100, 3
# A change from one window to the next below this share counts as none. It was chosen on images of digits. With 1,347
# images, poison is found from 220 steps on and training ends after 506. With 300 images, a clean class is called poisoned
# until 250 steps, and training ends after 395; with a window of 50 steps it would end too early.
MOST_CHANGE = 0.02
LEAST_NATS = 1.0  # smallest divergence that a change is compared with, because latents without information have settled
TERMS = ("divergence_sample", "divergence_steps")  # terms of the loss
# Upper bounds of a training without a given length. No measured data set needs them: they are several times the steps for
# digits and words, and for large sets the 30 epochs of the paper (Mehlman et al. 2023, Table 1).
MOST_STEPS, PAPER_EPOCHS = 2_000, 30


def steps_per_epoch(n_samples: int, batch_size: int, n_processes: int = 1) -> int:
    """Give the batches of an epoch in each process. A last batch of one sample is left out if there are others."""
    n_own = math.ceil(n_samples / n_processes)
    return n_own // batch_size if leaves_one_out(n_samples, batch_size) else math.ceil(n_own / batch_size)


def leaves_one_out(n_samples: int, batch_size: int) -> bool:
    """Whether the last batch would have one sample, on which batch normalisation cannot be trained."""
    return n_samples > batch_size > 1 and n_samples % batch_size == 1


def window_epochs(steps: int) -> int:
    """Give the number of epochs in a window, for ``steps`` optimiser steps in an epoch."""
    return max(LEAST_EPOCHS, math.ceil(WINDOW_STEPS / steps))


def most_epochs(steps: int) -> int:
    """Give the largest number of epochs of a training without a given length, for ``steps`` optimiser steps in an epoch."""
    return max(PAPER_EPOCHS, math.ceil(MOST_STEPS / steps))


def changes(history: Sequence[Mapping[str, float]], steps: int) -> np.ndarray:
    """
    Give the relative change of the information in the latents from one window of epochs to the next.

    The changes of the latents of the sample and of its time steps are added, so information that moves from one to the
    other counts as change.

    :param history: Mean losses of each epoch, with the terms of :class:`~art_plugins.features.vae.variational.Losses`.
    :param steps: Number of optimiser steps in an epoch.
    :return: One number for each epoch from the end of the second window on; empty before.
    """
    width = window_epochs(steps)
    if len(history) < 2 * width:
        return np.empty(0)
    nats = np.array([[losses[term] for term in TERMS] for losses in history])
    sums = np.concatenate([np.zeros((1, len(TERMS))), nats.cumsum(axis=0)])
    means = (sums[width:] - sums[:-width]) / width
    before, after = means[:-width], means[width:]
    shares: np.ndarray = np.abs(after - before).sum(axis=1) / np.maximum(np.abs(after).sum(axis=1), LEAST_NATS)
    return shares


def has_settled(history: Sequence[Mapping[str, float]], steps: int) -> bool:
    """
    Whether the latents have changed by less than 2 % from one window to the next at some epoch.

    :param history: See :func:`changes`.
    :param steps: Number of optimiser steps in an epoch.
    """
    return bool((changes(history, steps) < MOST_CHANGE).any())


def settled_words(history: Sequence[Mapping[str, float]], steps: int) -> str | None:
    """Give a warning with its remedy if the latents are not known to have settled, or ``None`` if they have."""
    if has_settled(history, steps):
        return None
    shares, width = changes(history, steps), window_epochs(steps)
    trained = f"{len(history)} epoch{'' if len(history) == 1 else 's'} of {steps} steps"
    if len(shares):
        seen = f"after {trained} the autoencoder's latents still change, by {shares[-1]:.1%} in {width} epochs"
    else:
        seen = (
            f"the autoencoder was trained for {trained}, and {2 * width} epochs are needed to tell whether it has settled"
        )
    return (
        f"{seen[0].upper()}{seen[1:]}. Poison may go unseen, and clean classes may be called: raise nb_epochs, or leave it "
        "out to train until they settle."
    )
