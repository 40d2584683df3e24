"""
When has an autoencoder been trained enough? When what its latents hold of the samples has stopped changing.

The loss is a bad witness: the decoder goes on polishing its pictures long after the latents, which are all that is judged,
stand still. What they hold is their divergence from the prior, in nats, a term of the loss that hardly any noise disturbs.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np

# Optimiser's steps, not epochs, are what training takes: 30 epochs of 60 samples are 30 steps. A window of 100 is wider
# than the rests that small sets take on their way, and three epochs even out what one order of the samples does.
WINDOW_STEPS, LEAST_EPOCHS = 100, 3
# The change from one window to the next that counts as none. Chosen on digits: of 1,347, poison is found from 220 steps on
# and training ends after 506; of 300, a clean class is called until 250 steps, and training ends after 395. A window of 50
# steps would end it too early there.
MOST_CHANGE = 0.02
LEAST_NATS = 1.0  # that the change is compared with: latents that hold nothing have settled
TERMS = ("divergence_sample", "divergence_steps")  # of the loss
# What no data set that was measured needs, so that a training without an end has one: several times the steps that digits
# and words take, and the paper's 30 epochs (Table 1) for large sets.
MOST_STEPS, PAPER_EPOCHS = 2_000, 30


def steps_per_epoch(n_samples: int, batch_size: int, n_processes: int = 1) -> int:
    """Batches of an epoch in each process; a last batch of one sample is left out, where there are others."""
    n_own = math.ceil(n_samples / n_processes)
    return n_own // batch_size if leaves_one_out(n_samples, batch_size) else math.ceil(n_own / batch_size)


def leaves_one_out(n_samples: int, batch_size: int) -> bool:
    """Whether a last batch of one sample would be left, which batch normalisation cannot be trained on."""
    return n_samples > batch_size > 1 and n_samples % batch_size == 1


def window_epochs(steps: int) -> int:
    """Epochs of a window, of ``steps`` each."""
    return max(LEAST_EPOCHS, math.ceil(WINDOW_STEPS / steps))


def most_epochs(steps: int) -> int:
    """Epochs after which a training ends that nobody has given an end to, of ``steps`` each."""
    return max(PAPER_EPOCHS, math.ceil(MOST_STEPS / steps))


def changes(history: Sequence[Mapping[str, float]], steps: int) -> np.ndarray:
    """
    Change of what the latents hold from one window of epochs to the next, as a share of it.

    The latents of the sample and those of its time steps are looked at one by one, so that what moves from one to the other
    counts as change.

    :param history: Mean losses of each epoch, with the terms of :class:`~art_plugins.features.variational.Losses`.
    :param steps: Of an epoch.
    :return: One number for each epoch from the second window's last on; empty before.
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
    Whether the latents have stopped changing at some epoch: by less than a fiftieth from one window to the next.

    :param history: As for :func:`changes`.
    :param steps: Of an epoch.
    """
    return bool((changes(history, steps) < MOST_CHANGE).any())


def settled_words(history: Sequence[Mapping[str, float]], steps: int) -> str | None:
    """What to say and to do where the latents are not known to have settled; ``None`` where they have."""
    if has_settled(history, steps):
        return None
    shares, width = changes(history, steps), window_epochs(steps)
    trained = f"{len(history)} epochs of {steps} steps"
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
