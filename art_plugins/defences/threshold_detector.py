"""Base class of detectors that compare a score with a threshold, which clean images set."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from art_plugins.arrays import check_finite_features
from art_plugins.defences.contract import TriggerDetector
from art_plugins.errors import InvalidInputError, NotFittedError
from art_plugins.features.activations import collect_outputs
from art_plugins.features.classifiers import predicted_classes
from art_plugins.parameters import check_count, check_number, plain
from art_plugins.statistics.labels import class_labels
from art_plugins.statistics.thresholds import threshold_at_fpr


class ThresholdDetector(TriggerDetector):
    """
    Base class of detectors that catch an image if its score is above a threshold. A subclass extends ``defence_params`` and
    ``_check``, and implements :meth:`_learn` and :meth:`_scores`. New parameters take effect at the next :meth:`fit`.

    :param classifier: ART ``PyTorchClassifier`` that returns logits. Its postprocessing is not applied.
    :param target_class: Only images that the model classifies as this class are judged; all others pass. ``None``: all
        images are judged.
    :param threshold: Images with a higher score are caught. ``None``: :meth:`fit` sets the threshold.
    :param fpr: False-positive rate that the threshold of :meth:`fit` has on the clean images, 0 to below 1.

    :ivar threshold_: The threshold in use.
    :ivar clean_scores_: Scores of the clean images by which the threshold was set, (m,).
    """

    defence_params = ["threshold", "fpr"]

    def __init__(self, classifier: Any, target_class: int | None, threshold: float | None, fpr: float) -> None:
        super().__init__()
        self.classifier, self.target_class = classifier, target_class
        self.threshold, self.fpr = threshold, fpr

    def fit(self, x: np.ndarray, y: np.ndarray, batch_size: int = 128, nb_epochs: int = 20, **kwargs: Any) -> None:
        """
        Learn from clean images and set the threshold.

        With a target class, the threshold is set by the clean images of that class that the model classifies correctly.
        Without one, it is set by all clean images.

        :param x: Clean images (n, ...).
        :param y: Labels of these samples, (n,), (n, 1) or one-hot.
        :param batch_size: Number of images in one forward pass. On an accelerator, some thousands are faster.
        :param nb_epochs: Not used; ART's interface has it.
        :param kwargs: New values of ``defence_params``. They stay set.
        :raises InvalidInputError: For bad images, labels or parameters, or if no image can set the threshold.
        """
        self.set_params(**kwargs)
        check_count("batch_size", plain(batch_size))
        self._check_clean_images(x)
        labels, _ = class_labels(y, len(x), int(self.classifier.nb_classes))
        rows, target = np.arange(len(x)), None if self.target_class is None else self._target()
        if self.threshold is None and target is not None:
            own = np.flatnonzero(labels == target)
            rows = own[self._predicted(x[own], batch_size) == target] if len(own) else own
            if not len(rows):
                raise InvalidInputError(
                    f"None of the {len(own)} clean images of class {target} is sent there by the model, so no "
                    "threshold can be set; give threshold."
                )
        self._learn(x, labels, batch_size)
        if self.threshold is None:
            self.clean_scores_ = self._clean_scores(x, rows, batch_size)
            check_finite_features(self.clean_scores_[:, None], "scores of the clean images")
            self.threshold_ = threshold_at_fpr(self.clean_scores_, self.fpr)
        else:
            self.threshold_ = float(self.threshold)

    def outlier_scores(self, x: np.ndarray, batch_size: int = 128) -> np.ndarray:
        """
        Compute the score of every image, whatever class the model predicts.

        :param x: Images (n, ...).
        :param batch_size: Number of images in one forward pass.
        :return: Scores (n,), float64; higher is more suspicious.
        :raises NotFittedError: Before :meth:`fit`.
        :raises InvalidInputError: For images of another shape, or that are not finite.
        """
        self._check_fitted()
        check_count("batch_size", plain(batch_size))
        self._check_images(x)
        return self._scores(x, batch_size)

    def detect(self, x: np.ndarray, batch_size: int = 128, **kwargs: Any) -> tuple[dict[str, Any], np.ndarray]:
        """
        Judge images.

        :param x: Images (n, ...).
        :param batch_size: Number of images in one forward pass.
        :param kwargs: Not used; ART's interface has them, and any keyword is an error.
        :return: A report, and ``is_trigger`` (n,), bool. The report has ``predicted_class`` (n,) and ``outlier_scores``
            (n,); a higher score is more suspicious. The score is NaN for images that are not judged. It is infinite, and
            the image is caught, if the model's outputs or the score are not finite.
        :raises NotFittedError: Before :meth:`fit`.
        :raises InvalidInputError: For images of another shape, or that are not finite.
        """
        if kwargs:
            raise InvalidInputError(f"detect() takes no {', '.join(sorted(kwargs))}; set parameters with fit().")
        self._check_fitted()
        check_count("batch_size", plain(batch_size))
        self._check_images(x)
        outputs = self._outputs(x, batch_size)
        predicted, sound = predicted_classes(self.classifier, outputs), np.isfinite(outputs).all(axis=1)
        judged = np.flatnonzero(sound if self.target_class is None else sound & (predicted == self._target()))
        scores = np.where(sound, np.nan, np.inf)
        if len(judged):
            scores[judged] = np.nan_to_num(self._scores(x[judged], batch_size), nan=np.inf, posinf=np.inf)
        return {"predicted_class": predicted, "outlier_scores": scores}, scores > self.threshold_

    @abc.abstractmethod
    def _learn(self, x: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        """Learn what the scores need from the clean images (n, ...) and their labels (n,)."""

    def _clean_scores(self, x: np.ndarray, rows: np.ndarray, batch_size: int) -> np.ndarray:
        """
        Compute the scores of the clean images in ``rows``, (m,). A subclass that learns from these images scores each of
        them with what it learns without it.
        """
        return self._scores(x[rows], batch_size)

    @abc.abstractmethod
    def _scores(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        """Compute the scores (n,) of at least one image, float64; higher is more suspicious."""

    def _outputs(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        """Give the logits (n, K) in float64. In float32, all log-probabilities of a confident model would be 0."""
        return collect_outputs(self.classifier, x, batch_size).astype(np.float64)

    def _predicted(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        return predicted_classes(self.classifier, self._outputs(x, batch_size))

    def _check_fitted(self) -> None:
        if not hasattr(self, "threshold_"):
            raise NotFittedError("This detector has no threshold; call fit(x_clean, y_clean) first.")

    def _check(self, values: dict[str, Any]) -> None:
        threshold, fpr = values["threshold"], values["fpr"]
        if threshold is not None:
            check_number("threshold", threshold, "None or a finite number")
        check_number("fpr", fpr, "a share", least=0, below=1)
