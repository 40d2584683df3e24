"""What a rule of layer-wise feature analysis has to offer: learn from benign samples, then judge others."""

from __future__ import annotations

import abc
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import ActivationBatch, stream_activations

LEAST_SAMPLES = 20  # of a class, for statistics of its own


class Judgement(NamedTuple):
    """
    ``predicted`` (n,): the model's classes; ``top_output`` (n,): its largest output; ``scores`` (n,): higher is more
    suspicious, 0 in classes that cannot be judged; ``by_layer`` (n, L): what was measured at each layer; ``layer_scores``
    (n, L): the same as a score, higher is more suspicious.
    """

    predicted: np.ndarray
    top_output: np.ndarray
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
    """

    layers: list[str]
    nb_classes: int
    n_folds: int = 10
    max_dims: int = 512
    random_state: int = 0
    batch_size: int = 128

    @abc.abstractmethod
    def observe(self, classifier: Any, x: np.ndarray) -> None:
        """Take what :meth:`learn` needs of the samples."""

    @abc.abstractmethod
    def learn(self, labels: np.ndarray, by_label: bool, kept: np.ndarray, robust: bool) -> tuple[np.ndarray, np.ndarray]:
        """
        Learn from the observed samples that are kept and predicted right.

        :param labels: Classes, (n,).
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
    def take_arrays(self, arrays: Mapping[str, np.ndarray]) -> None:
        """
        The reverse of :meth:`arrays`.

        :raises KeyError: If one is missing.
        :raises InvalidInputError: If they do not fit the layers and classes.
        """

    def _stream(
        self, classifier: Any, x: np.ndarray, batch_size: int
    ) -> Iterator[tuple[slice, np.ndarray, ActivationBatch]]:
        """Rows, the model's classes, and activations of each batch."""
        for batch in stream_activations(classifier, x, self.layers, batch_size):
            yield slice(batch.start, batch.start + len(batch.predicted)), batch.predicted, batch

    def _note_fits(self, fits: np.ndarray, labels: np.ndarray) -> None:
        if not fits.any():
            raise InvalidInputError(
                f"The model predicts none of the {len(labels)} benign samples as labelled: check the labels, and that the "
                "samples are scaled as the classifier takes them."
            )
        self.n_benign = np.bincount(labels[fits], minlength=self.nb_classes)
