"""What a rule of layer-wise feature analysis has to offer: it learns from benign samples, then it judges others."""

from __future__ import annotations

import abc
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, NamedTuple

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import stream_activations
from art_plugins.features.outputs import check_outputs
from art_plugins.features.watched_modules import ActivationBatch
from art_plugins.file_rules import ArrayRule

LEAST_SAMPLES = 20  # of a class, for statistics of its own
MOST_SCORE = 1e12  # of benign samples; the paper's rule gives at most some millions, where a class does not vary


class Judgement(NamedTuple):
    """
    What a rule says of n samples.

    ``predicted``, (n,), are the model's classes. ``scores``, (n,), are higher for more suspicious samples, 0 in classes
    that cannot be judged, and infinite where features or outputs are not finite. ``layer_scores``, (n, L), are the same for
    each layer. ``attributes`` holds what only this rule has to show, by name.
    """

    predicted: np.ndarray
    scores: np.ndarray
    layer_scores: np.ndarray
    attributes: Mapping[str, np.ndarray]


@dataclass
class LayerRule(abc.ABC):
    """
    Base of the rules. A rule calls :meth:`observe` and :meth:`learn` on benign samples, then :meth:`judge` on others.

    A new rule sets ``name``, ``terms`` and ``attributes``, adds its own settings as fields and checks them in
    :meth:`check_settings`, implements the abstract methods, and is added to ``RULES`` in ``options.py``.

    :param layers: Names of layers in the order in which they run.
    :param nb_classes: Number of classes K.
    :param random_state: Random seed.
    :param batch_size: Number of samples in one forward pass over the benign samples.

    :cvar name: Name of the rule, the ``mode`` of the filter and the detector.
    :cvar terms: Threshold of the rule if the user gives none: ``tau`` or ``fpr``.
    :cvar settings: Names of its own settings, which ``mode_params`` may hold.
    :cvar attributes: Names of the arrays that only this rule has to show.

    :ivar n_benign: Number of samples of each class that the model classifies correctly and the rule learned from, (K,).
    :ivar sound: Observed samples whose features and outputs are finite, (n,), bool. The rule learns from these only.
    :ivar unsound: Number of the others at each layer where there are any (``"outputs"``: the outputs of the model).
    """

    name: ClassVar[str]
    terms: ClassVar[Mapping[str, float]]
    settings: ClassVar[tuple[str, ...]]
    attributes: ClassVar[tuple[str, ...]] = ()

    layers: list[str]
    nb_classes: int
    random_state: int = 0
    batch_size: int = 128

    @classmethod
    @abc.abstractmethod
    def check_settings(cls, values: Mapping[str, Any]) -> None:
        """
        :param values: Some of the rule's own settings by name.
        :raises InvalidInputError: If one of them cannot be used.
        """

    def check_layers(self) -> None:  # noqa: B027  # most rules need no more than one layer
        """
        :raises InvalidInputError: If the rule needs more layers than there are.
        """

    def check_class_sizes(self, sizes: np.ndarray, what: str) -> None:  # noqa: B027  # nor so many samples of every class
        """
        :param sizes: Number of benign samples in each class, (K,).
        :param what: What these samples are, for the message.
        :raises InvalidInputError: If the rule needs more samples of a class than there are.
        """

    def shift(self, scores: np.ndarray, labels: np.ndarray, benign_scores: np.ndarray, benign_labels: np.ndarray) -> float:
        """
        How much higher training samples score than trusted samples; this is subtracted from the scores of the former.

        :param scores: Scores of training samples, (n,).
        :param labels: Classes of these samples, (n,).
        :param benign_scores: Scores of the trusted samples, (m,).
        :param benign_labels: Classes of these samples, (m,).
        """
        return 0.0

    def own_settings(self) -> dict[str, Any] | None:
        """Those of ``settings`` that differ from their defaults; ``None`` if none does."""
        own = {name: getattr(self, name) for name in self.settings}
        return {name: value for name, value in own.items() if value != getattr(type(self), name)} or None

    def learned_attributes(self) -> dict[str, np.ndarray]:
        """Those of ``attributes`` that were learned from benign samples."""
        return {}

    @abc.abstractmethod
    def observe(self, classifier: Any, x: np.ndarray) -> None:
        """Take what :meth:`learn` needs of the samples that are sound, and say which samples those are."""

    @abc.abstractmethod
    def learn(self, labels: np.ndarray, by_label: bool, kept: np.ndarray, robust: bool) -> tuple[np.ndarray, np.ndarray]:
        """
        Learn from the observed sound samples that are kept and that the model classifies correctly.

        :param labels: Classes of the sound samples, (n,).
        :param by_label: Compare each sample with the class of its label; else with the class that the model says.
        :param kept: Samples that may be learned from, (n,), bool.
        :param robust: Take medians, since there may be poison among the samples.
        :return: Scores of all sound samples, (n,), each by what was learned without it, and the classes that they were
            compared with, (n,).
        """

    @abc.abstractmethod
    def judge(self, classifier: Any, x: np.ndarray, batch_size: int, labels: np.ndarray | None = None) -> Judgement:
        """Compare samples with the classes of their labels, or with the model's classes if there are no labels."""

    @abc.abstractmethod
    def arrays(self) -> dict[str, np.ndarray]:
        """What was learned, as a file holds it."""

    @abc.abstractmethod
    def array_rules(self, names: Collection[str], trusted: bool) -> dict[str, ArrayRule]:
        """
        What :meth:`arrays` must be. ``K`` and ``L`` are the numbers of classes and layers.

        :param names: Names of the arrays in the file, since some are optional.
        :param trusted: Whether the benign samples were known to be benign.
        """

    @abc.abstractmethod
    def take_arrays(self, arrays: Mapping[str, np.ndarray], trusted: bool) -> None:
        """
        The reverse of :meth:`arrays`, for arrays that keep to :meth:`array_rules`.

        :raises InvalidInputError: If the arrays contradict each other.
        """

    def _stream(
        self, classifier: Any, x: np.ndarray, batch_size: int
    ) -> Iterator[tuple[slice, np.ndarray, ActivationBatch]]:
        """The rows, the model's classes and the activations of each batch."""
        for batch in stream_activations(classifier, x, self.layers, batch_size):
            check_outputs(batch.outputs, self.nb_classes)
            yield slice(batch.start, batch.start + len(batch.predicted)), batch.predicted, batch

    def _note_sound(self, finite: np.ndarray) -> None:
        """
        :param finite: A column for each layer, and one for the outputs, (n, L + 1), bool.
        """
        self.sound = np.asarray(finite.all(axis=1))
        n_bad = (~finite).sum(axis=0)
        self.unsound = {name: int(n) for name, n in zip([*self.layers, "outputs"], n_bad, strict=True) if n}

    def _of_judged(self, scores: np.ndarray, judged: np.ndarray, sound: np.ndarray | bool = True) -> np.ndarray:
        """Scores that are 0 in classes that cannot be judged, and infinite where a sample is not sound or has no score."""
        scores = np.where(self.n_benign[judged] > 0, scores, 0.0)
        usable = np.isfinite(scores) & sound
        return np.asarray(np.where(usable, scores, np.inf))

    def _note_fits(self, fits: np.ndarray, labels: np.ndarray) -> None:
        if not fits.any():
            raise InvalidInputError(
                f"The model classifies none of the {len(labels)} benign samples as its label says. Check the labels, and "
                "that the samples are scaled as the classifier takes them."
            )
        self.n_benign = np.bincount(labels[fits], minlength=self.nb_classes)


def other_length(layer: str, length: int, learned: int) -> str:
    """The message for a layer whose activations are not as long as those that were learned from."""
    return (
        f"The layer {layer} gives {length} features, but the detector learned from {learned}. It was fitted on samples of "
        "another shape or for another model; fit it again."
    )
