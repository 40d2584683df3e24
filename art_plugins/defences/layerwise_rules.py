"""What a rule of layer-wise feature analysis has to offer: learn from benign samples, then judge others."""

from __future__ import annotations

import abc
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import ActivationBatch, stream_activations
from art_plugins.features.outputs import check_outputs
from art_plugins.file_rules import ArrayRule

LEAST_SAMPLES = 20  # of a class, for statistics of its own
LARGEST = float(np.sqrt(np.finfo(np.float32).max))  # what is larger has no square in single precision
MOST_SCORE = 1e12  # of benign samples; the paper's rule gives at most some millions, where a class does not vary


class Judgement(NamedTuple):
    """
    ``predicted`` (n,): the model's classes; ``scores`` (n,): higher is more suspicious, 0 in classes that cannot be judged,
    infinite where features or outputs are not finite; ``by_layer`` (n, L): what was measured at each layer;
    ``layer_scores`` (n, L): the same as a score, higher is more suspicious.
    """

    predicted: np.ndarray
    scores: np.ndarray
    by_layer: np.ndarray
    layer_scores: np.ndarray


@dataclass
class LayerRule(abc.ABC):
    """
    Base of the rules: :meth:`observe` and :meth:`learn` on benign samples, then :meth:`judge`.

    :param layers: Names, in the order in which they run.
    :param nb_classes: K.
    :param n_folds: Parts that benign samples are cut into, so that each is judged by the others.
    :param max_dims: Longest vector that is kept of a sample and layer.
    :param random_state: Seed of folds and projections.
    :param batch_size: Of the forward passes over benign samples.

    :ivar n_benign: Samples of each class that the model predicts right and that were learned from, (K,).
    :ivar sound: Observed samples whose features and outputs are finite, (n,), bool; the others are not learned from.
    :ivar unsound: Number of the others, for each layer (``"outputs"``: the model's) where there are any.
    """

    layers: list[str]
    nb_classes: int
    n_folds: int = 10
    max_dims: int = 512
    random_state: int = 0
    batch_size: int = 128

    @abc.abstractmethod
    def observe(self, classifier: Any, x: np.ndarray) -> None:
        """Take what :meth:`learn` needs of the samples that are sound, and say which those are."""

    @abc.abstractmethod
    def learn(self, labels: np.ndarray, by_label: bool, kept: np.ndarray, robust: bool) -> tuple[np.ndarray, np.ndarray]:
        """
        Learn from the observed sound samples that are kept and predicted right.

        :param labels: Classes of the sound samples, (n,).
        :param by_label: Judge samples by their label; else by the class that the model sends them to.
        :param kept: (n,), bool.
        :param robust: Take medians, since poison may be among the samples.
        :return: Scores of all of them, (n,), each by what was learned without it, and the classes judged by, (n,).
        """

    @abc.abstractmethod
    def judge(self, classifier: Any, x: np.ndarray, batch_size: int, labels: np.ndarray | None = None) -> Judgement:
        """Judge samples by their labels, or by the model's classes."""

    @abc.abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """What was learned, to be saved."""

    @abc.abstractmethod
    def array_rules(self, names: Collection[str], trusted: bool) -> dict[str, ArrayRule]:
        """
        What :meth:`arrays` must be; ``K`` and ``L`` name the numbers of classes and layers.

        :param names: Of the arrays that are there, since some are optional.
        :param trusted: Whether the samples were known to be benign.
        """

    @abc.abstractmethod
    def take_arrays(self, arrays: Mapping[str, np.ndarray], trusted: bool) -> None:
        """
        The reverse of :meth:`arrays`, of arrays that are as :meth:`array_rules` says.

        :raises InvalidInputError: If they contradict each other.
        """

    def _stream(
        self, classifier: Any, x: np.ndarray, batch_size: int
    ) -> Iterator[tuple[slice, np.ndarray, ActivationBatch]]:
        """Rows, the model's classes, and activations of each batch."""
        for batch in stream_activations(classifier, x, self.layers, batch_size):
            check_outputs(batch.outputs, self.nb_classes)
            predicted = batch.outputs.argmax(dim=1).cpu().numpy()
            yield slice(batch.start, batch.start + len(predicted)), predicted, batch

    def _note_sound(self, finite: np.ndarray) -> None:
        """
        :param finite: A column for each layer, and one for the outputs, (n, L + 1), bool.
        """
        self.sound = np.asarray(finite.all(axis=1))
        n_bad = (~finite).sum(axis=0)
        self.unsound = {name: int(n) for name, n in zip([*self.layers, "outputs"], n_bad, strict=True) if n}

    def _of_judged(self, scores: np.ndarray, judged: np.ndarray, sound: np.ndarray | bool = True) -> np.ndarray:
        """0 in classes that cannot be judged; infinite where a sample is not sound or has no score."""
        scores = np.asarray(np.where(self.n_benign[judged] > 0, scores, 0.0))
        usable = np.isfinite(scores) & sound
        return np.asarray(np.where(usable, scores, np.inf))

    def _note_fits(self, fits: np.ndarray, labels: np.ndarray) -> None:
        if not fits.any():
            raise InvalidInputError(
                f"The model predicts none of the {len(labels)} benign samples as labelled: check the labels, and that the "
                "samples are scaled as the classifier takes them."
            )
        self.n_benign = np.bincount(labels[fits], minlength=self.nb_classes)


def is_sound(values: np.ndarray) -> np.ndarray:
    """
    Whether all that a layer, or the model, gives for a sample is finite, and its square as well, (n,), bool.

    :param values: (n, ...).
    """
    sound: np.ndarray = (np.abs(values) < LARGEST).reshape(len(values), -1).all(axis=1)
    return sound


def other_length(layer: str, length: int, learned: int) -> str:
    """What to say where a layer's activations are not as long as those that were learned from."""
    return (
        f"The layer {layer} gives {length} features, but {learned} were learned: the detector was fitted on samples of "
        "another shape or for another model; fit it anew."
    )
