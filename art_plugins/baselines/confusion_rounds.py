"""The rounds of Confusion Training (Qi et al. 2023): learn the set, confuse a copy of the network, distil the set."""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from scipy.special import log_softmax
from torch import nn

from art_plugins.baselines.fine_tuning import training_step, wrapped_like
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import collect_outputs
from art_plugins.statistics.peers.confusion import class_weights, distilled_rows, wrong_labels


class Confusion(NamedTuple):
    """
    How the network is confused in a round.

    :param factor: The confusion factor: the loss is (factor - 1) / factor of that of the trusted samples with wrong labels,
        and 1 / factor of that of the distilled set.
    :param rate: Learning rate, as a share of the one with which the network learns the distilled set.
    :param momentum: Momentum of the optimiser.
    """

    factor: float
    rate: float
    momentum: float


# All values are the authors'.
ROUNDS = (Confusion(20, 0.1, 0.5), Confusion(40, 0.1, 0.5), Confusion(60, 0.3, 0.5), Confusion(30, 0.5, 0.7))
LAST_ROUND = Confusion(20, 0.5, 0.7)
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4  # of the learning; the decay is that of the confusion as well
LONG_ROUNDS, SHORTER = 2, 0.4  # the first rounds learn for all epochs, the later ones for this share of them
EVERY = 2  # every second step of the confusion has samples of the distilled set as well


class Confused(NamedTuple):
    """A confused network as a classifier, its outputs for the suspect samples, (n, K), and their losses, (n,)."""

    classifier: PyTorchClassifier
    outputs: np.ndarray
    losses: np.ndarray


class Samples(NamedTuple):
    """Samples, (n, ...), and their labels, (n,): the suspect ones as given, or the trusted ones with their true labels."""

    x: np.ndarray
    labels: np.ndarray


@dataclass(frozen=True)
class ConfusionRounds:
    """
    Trains networks of a classifier's architecture in rounds. Random numbers of torch, for dropout, come from its global
    generator, which the caller has seeded.

    :param classifier: ART ``PyTorchClassifier`` whose preprocessing and device are used.
    :param suspect: The training set.
    :param trusted: The trusted samples, at least two.
    :param nb_classes: Number of classes, K, at least 2.
    :param shares: Share of the training set that each round but the last distils.
    :param nb_epochs: Number of epochs of learning in the first two rounds.
    :param n_steps: Number of steps of confusion in each round.
    :param learning_rate: Learning rate of the learning.
    :param batch_size: Largest number of samples in a batch.
    """

    classifier: Any
    suspect: Samples
    trusted: Samples
    nb_classes: int
    shares: Sequence[float]
    nb_epochs: int
    n_steps: int
    learning_rate: float
    batch_size: int

    def run(self, network: nn.Module, random: np.random.Generator) -> Confused:
        """
        Learn, confuse and distil in turn.

        :param network: It is trained in place; a copy of it is confused in each round.
        :param random: Draws the batches and the wrong labels.
        :return: The copy that was confused last.
        :raises InvalidInputError: If a copy gives outputs that are not finite.
        """
        rows = np.arange(len(self.suspect.labels))
        for number, share in enumerate(self.shares):
            nb_epochs = self.nb_epochs if number < LONG_ROUNDS else self._fewer_epochs()
            self._learn(network, self.suspect, rows, nb_epochs, random)
            weights = class_weights(self.suspect.labels[rows], self.nb_classes)
            losses = self._confuse(network, rows, ROUNDS[min(number, len(ROUNDS) - 1)], weights, random).losses
            rows = distilled_rows(losses, self.suspect.labels, self.nb_classes, share)
        everything = self._with_shifted_trusted(rows)
        self._learn(network, everything, np.arange(len(everything.labels)), self._fewer_epochs(), random)
        return self._confuse(network, rows, LAST_ROUND, np.ones(self.nb_classes), random)

    def _fewer_epochs(self) -> int:
        return max(1, round(SHORTER * self.nb_epochs))

    def _with_shifted_trusted(self, rows: np.ndarray) -> Samples:
        """The distilled set, and the trusted samples with the label of the next class."""
        shifted = (self.trusted.labels + 1) % self.nb_classes
        x = np.concatenate([self.suspect.x[rows], self.trusted.x])
        return Samples(x, np.concatenate([self.suspect.labels[rows], shifted]))

    def _learn(
        self, network: nn.Module, samples: Samples, rows: np.ndarray, nb_epochs: int, random: np.random.Generator
    ) -> None:
        """Train the network on some of the samples."""
        optimiser = self._optimiser(network, self.learning_rate, MOMENTUM)
        network.train()
        batches = _batches(len(rows), self.batch_size, random)
        for _ in range(nb_epochs * -(-len(rows) // self.batch_size)):
            batch = rows[next(batches)]
            training_step(self.classifier, network, optimiser, samples.x[batch], samples.labels[batch])

    def _confuse(
        self, network: nn.Module, rows: np.ndarray, how: Confusion, weights: np.ndarray, random: np.random.Generator
    ) -> Confused:
        """
        Train a copy of the network on wrong labels of the trusted samples, and on the distilled set as it is labelled.

        :param weights: Weight of the samples of each class of the distilled set, (K,).
        """
        confused = copy.deepcopy(network).train()
        optimiser = self._optimiser(confused, how.rate * self.learning_rate, how.momentum)
        clean, suspect = (_batches(n, self.batch_size, random) for n in (len(self.trusted.labels), len(rows)))
        for step in range(self.n_steps):
            batch = next(clean)
            x, labels = self.trusted.x[batch], wrong_labels(self.trusted.labels[batch], self.nb_classes, random)
            shares = np.full(len(batch), 1 / len(batch))
            if step % EVERY == 0:
                batch = rows[next(suspect)]
                own = self.suspect.labels[batch]
                x, labels = np.concatenate([x, self.suspect.x[batch]]), np.concatenate([labels, own])
                shares = np.concatenate([shares * (how.factor - 1), weights[own] / weights[own].sum()]) / how.factor
            training_step(self.classifier, confused, optimiser, x, labels, shares)
        optimiser.zero_grad()
        wrapped = wrapped_like(self.classifier, confused.eval(), optimiser)
        outputs = collect_outputs(wrapped, self.suspect.x)
        if not np.isfinite(outputs).all():
            raise InvalidInputError(
                "The confused network gives NaN or infinity after training with learning_rate "
                f"{self.learning_rate:g}: give a lower learning_rate."
            )
        return Confused(wrapped, outputs, label_losses(outputs, self.suspect.labels))

    def _optimiser(self, network: nn.Module, learning_rate: float, momentum: float) -> torch.optim.Optimizer:
        return torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=momentum, weight_decay=WEIGHT_DECAY)


def with_new_weights(network: nn.Module) -> tuple[nn.Module, int]:
    """
    Copy a network, and initialise the copy by the modules' own ``reset_parameters``, with torch's generator.

    :return: The copy, and how many of its parameters kept their values, because their module has no such method.
    """
    fresh = copy.deepcopy(network).requires_grad_(True)
    kept = 0
    for module in fresh.modules():
        reset = getattr(module, "reset_parameters", getattr(module, "_reset_parameters", None))
        if callable(reset):
            reset()
        else:
            kept += len([*module.parameters(recurse=False)])
    return fresh, kept


def label_losses(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """
    Give the cross-entropy of each sample.

    :param outputs: Shape (n, K), finite.
    :param labels: Shape (n,).
    :return: Shape (n,), at least 0.
    """
    losses: np.ndarray = -log_softmax(outputs.astype(np.float64), axis=1)[np.arange(len(labels)), labels]
    return losses


def _batches(n_samples: int, size: int, random: np.random.Generator) -> Iterator[np.ndarray]:
    """Batches of nearly equal sizes, in a new order each time round. Batch normalisation meets no last batch of one."""
    while True:
        yield from np.array_split(random.permutation(n_samples), -(-n_samples // size))
