"""From the measures of all layers to one score: standardise, ask a few questions of the layers, and add the answers."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_plugins.statistics.layer_gaussian import DISTANCE_RATIO, MAHALANOBIS_DISTANCE
from art_plugins.statistics.moments import centre_and_spread
from art_plugins.statistics.thresholds import threshold_at_fpr

MOST_LAYERS = 5  # layers that count in each question
CONTRADICTING = 0.005  # share of benign samples that contradict themselves
MOST_DEVIATIONS = 6.0  # of a layer: a benign sample that is far off at one layer shall not outweigh all others


def logit_margin(outputs: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """
    Square root of the logit margin of a class: how far its output lies above the largest output of the other classes.

    The margin is 0 where another output is larger. The square root is taken because it matters more whether the model is
    sure at all than how sure it is. In standard deviations of benign samples it does not depend on the outputs' scale.

    :param outputs: Logits (or probabilities, which tell less), (n, K).
    :param labels: The class of each sample whose margin is wanted, (n,).
    :return: (n,), at least 0; all equal if the model has only one output.
    """
    rows = np.arange(len(outputs))
    others = np.array(outputs, dtype=np.float64)
    own = others[rows, labels]
    others[rows, labels] = -np.inf
    margin = np.maximum(own - others.max(axis=1), 0)
    found: np.ndarray = np.sqrt(np.where(np.isfinite(margin), margin, 0))
    return found


class Calibration(NamedTuple):
    """
    Mean and standard deviation of each of M measures over benign samples: ``means`` and ``deviations``, (M,).

    They are taken over all classes together. Those of a single class would rest on few samples, and a class with a large
    deviation would let more samples pass.
    """

    means: np.ndarray
    deviations: np.ndarray

    def standardise(self, measured: np.ndarray) -> np.ndarray:
        """
        Measures in standard deviations above the mean of benign samples.

        :param measured: (n, M).
        :return: (n, M); 0 for a measure in which benign samples do not vary.
        """
        varies = self.deviations > 1e-9
        return np.where(varies, (measured - self.means) / np.where(varies, self.deviations, 1), 0.0)


def fit_calibration(measured: np.ndarray) -> Calibration:
    """
    Give the mean and standard deviation of each measure.

    :param measured: Measures of benign samples by Gaussians that were fitted without them, (n, M).
    """
    return Calibration(*centre_and_spread(measured))


class Question(NamedTuple):
    """A question that is asked of every layer: a ``measure`` (see ``LayerGaussian``) of a ``view`` of its activations."""

    view: str
    measure: str


# What is asked of every layer. Does the sample look like another class in the activations pooled over a grid? Does it in
# the mean and the spread of each channel? Is it far from its own class in these? On its way through the network a
# triggered sample first looks like the class that it really is. Later it comes to the attacker's class by features that
# no benign sample of that class has. At which layer this happens differs between models and is not known. A patch shows
# in the grid. A blended pattern or a warp changes the contrast of channels everywhere.
QUESTIONS = (
    Question("grid", DISTANCE_RATIO),
    Question("channels", DISTANCE_RATIO),
    Question("channels", MAHALANOBIS_DISTANCE),
)


def answers(standardised: np.ndarray, n_questions: int) -> np.ndarray:
    """
    The answer to each question is the sum of the five largest values of its layers; values above 6 count as 6.

    :param standardised: Measures in standard deviations, a column for each layer of each question, (n, Q L).
    :param n_questions: Q.
    :return: (n, Q).
    """
    bounded = np.minimum(standardised, MOST_DEVIATIONS).reshape(len(standardised), n_questions, -1)
    sums: np.ndarray = np.sort(bounded, axis=2)[:, :, -MOST_LAYERS:].sum(axis=2)
    return sums


class Contradiction(NamedTuple):
    """
    When a sample contradicts itself: at the layers it looks like another class, and yet the model is sure of its class.

    Benign samples seldom do both, since the model is unsure of a sample that lies between two classes. Samples from
    elsewhere (turned, noisy, darker) look odd at the layers, but the model is less sure of them too. A trigger makes the
    model sure of a class that the layers do not see. The score is the sum of both in standard deviations of benign samples.

    :ivar centre: Mean over benign samples of how much a sample looks like another class, which is the sum of the answers to
        the questions that ask for it, and of the logit margin, (2,).
    :ivar spread: Standard deviations of the same values, (2,).
    :ivar threshold: The score exceeds it for 1 in 200 benign samples.
    """

    centre: np.ndarray
    spread: np.ndarray
    threshold: float

    def of(self, parts: np.ndarray) -> np.ndarray:
        """
        Which samples contradict themselves, (n,), bool.

        :param parts: The answers to ``QUESTIONS`` and the logit margin, (n, Q + 1).
        """
        found: np.ndarray = _score(parts, self.centre, self.spread) > self.threshold
        return found


def fit_contradiction(parts: np.ndarray) -> Contradiction:
    """
    Learn from benign samples when a sample contradicts itself.

    :param parts: Those of benign samples, by Gaussians that were fitted without them, (n, Q + 1).
    """
    centre, spread = centre_and_spread(_both(parts))
    spread = np.where(spread > 0, spread, 1.0)
    return Contradiction(centre, spread, threshold_at_fpr(_score(parts, centre, spread), CONTRADICTING))


def _both(parts: np.ndarray) -> np.ndarray:
    """How much samples look like another class, and how sure the model is, (n, 2)."""
    ratios = [column for column, question in enumerate(QUESTIONS) if question.measure == DISTANCE_RATIO]
    return np.column_stack([parts[:, ratios].sum(axis=1), parts[:, -1]])


def _score(parts: np.ndarray, centre: np.ndarray, spread: np.ndarray) -> np.ndarray:
    total: np.ndarray = ((_both(parts) - centre) / spread).sum(axis=1)
    return total
