"""ART's contracts with their holes mended: unknown parameters, bad values, evaluation of the last run."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np
from art.defences.detector.evasion import EvasionDetector
from art.defences.detector.poison.ground_truth_evaluator import GroundTruthEvaluator
from art.defences.detector.poison.poison_filtering_defence import PoisonFilteringDefence

from art_plugins.arrays import check_finite, check_samples
from art_plugins.defences.data_sets import as_arrays
from art_plugins.errors import InvalidInputError
from art_plugins.features.classifiers import check_classifier
from art_plugins.features.input_checks import check_class_outputs, check_input_range, check_input_shape
from art_plugins.parameters import plain
from art_plugins.statistics.labels import class_labels, indices_by_class


class CheckedParameters:
    """
    Parameters named in ``defence_params``, set by name and checked as a whole before any of them changes.

    ART drops unknown names silently and keeps a bad value after its check has raised.
    """

    defence_params: list[str] = []
    classifier: Any

    def get_params(self) -> dict[str, Any]:
        """All parameters by name, and the classifier, as ART's own filters give them."""
        return {"classifier": self.classifier, **self.tunables()}

    def tunables(self) -> dict[str, Any]:
        """The parameters by name, without the classifier: what reports and files hold."""
        return {name: getattr(self, name) for name in self.defence_params}

    def set_params(self, **kwargs: Any) -> None:
        """
        Check, then take over parameters; nothing is changed when one of them is wrong. A constructor ends with it, so that
        a wrong value is refused at once.

        :raises InvalidInputError: For an unknown name or a value out of range.
        """
        known = {*self.defence_params, "classifier"}
        unknown = sorted(set(kwargs) - known)
        if unknown:
            raise InvalidInputError(
                f"Unknown parameter {', '.join(unknown)}; {type(self).__name__} takes: {', '.join(sorted(known))}."
            )
        kwargs = {name: plain(value) for name, value in kwargs.items()}
        self._check({**self.tunables(), **{name: value for name, value in kwargs.items() if name != "classifier"}})
        for name, value in kwargs.items():
            setattr(self, name, value)

    def _check(self, values: dict[str, Any]) -> None:
        """
        :raises InvalidInputError: If the whole set of parameters is not usable.
        """


class PoisonFilter(CheckedParameters, PoisonFilteringDefence):  # type: ignore[misc]  # ART has no type hints for mypy
    """
    Base of this package's filters. A subclass lists ``defence_params``, sets them in ``__init__``, checks them in
    :meth:`_check`, and implements :meth:`_detect`, which sets ``is_clean_``.

    :ivar is_clean_: (n,), 1 = clean, 0 = poison.
    """

    needs_network = False  # whether hidden layers of the classifier are looked at
    is_clean_: np.ndarray
    x_train: Any
    y_train: Any

    def detect_poison(self, **kwargs: Any) -> tuple[dict[str, Any], list[int]]:
        """
        Find the poisoned samples.

        ``x_train`` may be a data set such as ``torch.utils.data.Dataset``. Its samples are then copied into an array on the
        disk, which takes its place; its labels are used where ``y_train`` is ``None``.

        :param kwargs: Any of ``defence_params``; they stay set.
        :return: A JSON-safe report, and a list in the order of ``x_train``: 1 = clean, 0 = poison.
        :raises InvalidInputError: For bad data, labels or parameters, before any heavy work.
        """
        self.set_params(**kwargs)
        self.x_train, self.y_train = as_arrays(self.x_train, self.y_train)
        self._check_data()
        report = self._detect(*self.labels())
        return report, [int(value) for value in self.is_clean_]

    def _removed(self, labels: np.ndarray, nb_classes: int) -> dict[str, int]:
        """How many samples of each class go, for a report."""
        n_removed = np.bincount(labels[self.is_clean_ == 0], minlength=nb_classes)
        return {f"Class_{label}": int(n) for label, n in enumerate(n_removed)}

    def evaluate_defence(self, is_clean: np.ndarray, **kwargs: Any) -> str:
        """
        Confusion matrix per class of the last detection, which is run first if there was none or ``kwargs`` are given.

        :param is_clean: Ground truth (n,), 1 = clean, 0 = poison.
        :return: ART's JSON: ``class_i`` -> TruePositive | TrueNegative | FalsePositive | FalseNegative -> rate in percent,
            numerator, denominator; positive = poison; rate -1 for 0/0.
        :raises InvalidInputError: If ``is_clean`` is missing, of another length, or holds other values.
        """
        self.x_train, self.y_train = as_arrays(self.x_train, self.y_train)
        check_samples(self.x_train, "x_train")
        try:
            truth = np.asarray([] if is_clean is None else is_clean)
        except ValueError as error:
            raise InvalidInputError(f"is_clean does not form an array ({error}); give (n,), 1 (clean) or 0.") from error
        if truth.shape != (len(self.x_train),) or not np.isin(truth, (0, 1)).all():
            raise InvalidInputError(
                f"is_clean must be of shape ({len(self.x_train)},) and hold 1 (clean) or 0 (poison); "
                f"received shape {truth.shape}."
            )
        if kwargs or not hasattr(self, "is_clean_") or len(self.is_clean_) != len(truth):
            self.detect_poison(**kwargs)
        members = indices_by_class(*self.labels())
        _, matrix = GroundTruthEvaluator().analyze_correctness(
            [self.is_clean_[indices] for indices in members], [truth[indices] for indices in members]
        )
        return str(matrix)

    def labels(self) -> tuple[np.ndarray, int]:
        """Index labels (n,) of ``y_train``, and the number of classes."""
        return class_labels(self.y_train, len(self.x_train), getattr(self.classifier, "nb_classes", None))

    def _check_data(self) -> None:
        """
        :raises InvalidInputError: If ``x_train`` cannot be judged.
        """
        check_samples(self.x_train, "x_train")
        self.labels()
        if self.needs_network:
            check_classifier(self.classifier)
            check_input_shape(self.classifier, self.x_train, "x_train")
            check_finite(self.x_train, "training data", "remove such samples first")
            check_input_range(self.classifier, self.x_train, "x_train")
            check_class_outputs(self.classifier, self.x_train)

    @abc.abstractmethod
    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        """Set ``is_clean_`` and return the report."""


class TriggerDetector(CheckedParameters, EvasionDetector):  # type: ignore[misc]  # ART has no type hints for mypy
    """Base of this package's detectors of triggered images: what they ask of a classifier's images and target class."""

    target_class: int | None

    def set_params(self, **kwargs: Any) -> None:
        """
        Check, then take over parameters; nothing is changed when one of them is wrong.

        :raises InvalidInputError: For an unknown name, a value out of range, or another classifier: what was learned is of
            the one that the detector was made with.
        """
        if kwargs.get("classifier", self.classifier) is not self.classifier:
            raise InvalidInputError(f"classifier cannot be changed; make a new {type(self).__name__} for another one.")
        super().set_params(**kwargs)

    def _check_images(self, x: np.ndarray) -> None:
        """
        :raises InvalidInputError: If the classifier cannot be looked into, or ``x`` is not finite images of its shape and
            range, or has another shape than the images that :meth:`fit` received.
        """
        check_classifier(self.classifier)
        check_input_shape(self.classifier, x)
        fitted = getattr(self, "_fitted_shape", tuple(x.shape[1:]))
        if tuple(x.shape[1:]) != fitted:
            raise InvalidInputError(f"x must have the shape {fitted} of the images in fit(); received {x.shape[1:]}.")
        check_finite(x, "images", "remove such images first")
        check_input_range(self.classifier, x)

    def _check_clean_images(self, x: np.ndarray) -> None:
        """
        Check the images of :meth:`fit`, and take their shape as that of all images to come.

        :raises InvalidInputError: As :meth:`_check_images` does.
        """
        self.__dict__.pop("_fitted_shape", None)
        self._check_images(x)
        check_class_outputs(self.classifier, x)
        self._fitted_shape = tuple(x.shape[1:])

    def _target(self) -> int:
        """
        :raises InvalidInputError: If the target class is none of the classifier's.
        """
        target, nb_classes = self.target_class, int(self.classifier.nb_classes)
        if not isinstance(target, (int, np.integer)) or isinstance(target, bool) or not 0 <= target < nb_classes:
            raise InvalidInputError(f"target_class must be a class from 0 to {nb_classes - 1}; received {target!r}.")
        return int(target)
