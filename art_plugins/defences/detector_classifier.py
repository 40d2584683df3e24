"""What ART's ``DetectorClassifier`` asks of a detector: verdicts that its formula makes one more class of, and ``save``."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError


class Verdicts(np.ndarray):
    """
    1 for a caught sample, -1 for another, (n, 1), float64. Only the product differs from a plain array's, so that ART's
    formula works for every network.

    ``DetectorClassifier`` puts ``(verdict + 1) * top`` beside the classifier's outputs, where ``top`` is the largest of
    them. That wins for a caught sample if ``top`` is above 0. Where it is below, as log-probabilities are, it loses; where
    it is 0, as the rounded log-probability of a sure network is, every finite verdict gives 0. Here the product is
    ``top + verdict |top|`` (``top + verdict`` where ``top`` is 0): the same for logits and probabilities above 0, and for
    all others above ``top`` for a caught sample and below it for the rest.
    """

    def __mul__(self, top: Any) -> np.ndarray:  # type: ignore[override]
        top = np.asarray(top, dtype=np.float64)
        product: np.ndarray = top + (np.asarray(self) - 1) * np.where(top == 0, 1.0, np.abs(top))
        return product


def verdicts(is_trigger: np.ndarray) -> Verdicts:
    """
    :param is_trigger: (n,), bool.
    :return: 1 or -1, (n, 1), for ``DetectorClassifier``.
    """
    return np.where(is_trigger, 1.0, -1.0)[:, None].view(Verdicts)


class ForDetectorClassifier:
    """:meth:`predict` and :meth:`save` for a detector that has ``detect``."""

    detect: Any

    def predict(self, x: np.ndarray, batch_size: int = 128, **kwargs: Any) -> np.ndarray:
        """
        What ART's ``DetectorClassifier`` combines with the classifier's outputs: a caught sample gets the additional class,
        the others keep theirs, whatever the sign of the outputs (:class:`Verdicts`).

        :return: 1 for a caught sample, else -1, (n, 1).
        """
        return verdicts(self.detect(x, batch_size, **kwargs)[1])

    def save(self, filename: str | Path, path: str | Path | None = None) -> None:
        """
        :raises InvalidInputError: If this kind of detector has no file of its own.
        """
        raise InvalidInputError(
            f"{type(self).__name__} cannot be saved; keep the clean images and fit it again, which takes seconds."
        )
