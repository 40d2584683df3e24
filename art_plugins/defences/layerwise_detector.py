"""Layer-wise feature analysis at test time, in ART's contract for detectors (the filter is in layerwise.py)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.defences.contract import TriggerDetector
from art_plugins.defences.detector_classifier import ForDetectorClassifier
from art_plugins.defences.layerwise_files import load_model, save_model
from art_plugins.defences.layerwise_model import (
    OPTIONS,
    RULE_OPTIONS,
    LayerwiseModel,
    check_options,
    count_not_finite,
    learn_benign,
    listed,
    mode_of,
    take_paper,
)
from art_plugins.defences.layerwise_rules import Judgement
from art_plugins.errors import InvalidInputError, NotFittedError
from art_plugins.parameters import plain
from art_plugins.statistics.labels import class_labels
from art_plugins.storage import target_file


class LayerwiseFeatureDetector(ForDetectorClassifier, TriggerDetector):
    """
    Does this sample look like the class that the model sends it to, at every layer on the way?

    The test-time face of :class:`LayerwiseFeatureDefence`, which describes the rules: there a sample is held against its
    label, here against the model's class. Stands inside ART's ``DetectorClassifier``. Higher scores are more suspicious.

    When this breaks: as the filter; and a model that is often wrong sends atypical benign samples to every class.

    :param classifier: ART ``PyTorchClassifier``; of images, waveforms or anything else.

    The other parameters are those of :class:`LayerwiseFeatureDefence`.

    :ivar layers_: The layers that are looked at.
    :ivar threshold_: Scores above it are caught.
    :ivar layer_of_interest_: Index into ``layers_`` for each class, (K,); mode ``"paper"``.
    :ivar layer_profiles_: Mean cosine of benign samples, (K, L), NaN for classes without any; mode ``"paper"``.
    """

    defence_params = list(OPTIONS)
    target_class = None

    def __init__(
        self,
        classifier: Any,
        *,
        mode: str = "mahalanobis",
        layers: Sequence[str] | None = None,
        tau: float | None = None,
        quantile: float | None = None,
        fpr: float | None = None,
        pooled: bool = False,
        n_folds: int = 10,
        max_dims: int = 512,
        random_state: int = 0,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in self.defence_params}
        super().__init__()
        self.classifier = classifier
        for name, value in given.items():
            setattr(self, name, value)
        self.set_params(**given)
        self._model: LayerwiseModel | None = None

    def fit(self, x: np.ndarray, y: np.ndarray, batch_size: int = 128, nb_epochs: int = 20, **kwargs: Any) -> None:
        """
        Learn from trusted samples; the model is not trained.

        :param x: Benign samples of all classes, (n, ...); 100 a class are plenty.
        :param y: Their labels, (n,), (n, 1) or one-hot.
        :param batch_size: Samples that the model is given at once.
        :param nb_epochs: ART's; not needed.
        :param kwargs: Any of ``defence_params``; they stay set.
        :raises InvalidInputError: For bad samples, labels or parameters, too few samples or layers.
        """
        self.set_params(**kwargs)
        self._check_images(x)
        nb_classes = int(self.classifier.nb_classes)
        labels, _ = class_labels(y, len(x), nb_classes)
        options = self.tunables()
        model = learn_benign(self.classifier, x, labels, nb_classes, options, batch_size, by_label=False, trusted=True)
        self._take(model)

    def set_threshold(self, *, tau: float | None = None, quantile: float | None = None, fpr: float | None = None) -> None:
        """
        Another threshold for the fitted detector, in one of three terms; none: the mode's own.

        :raises NotFittedError: Before :meth:`fit`.
        :raises InvalidInputError: For several of them, or a value out of range.
        """
        model = self._fitted()
        terms = {"tau": plain(tau), "quantile": plain(quantile), "fpr": plain(fpr)}
        self.set_params(**terms)
        self.threshold_ = model.threshold(**terms)

    def detect(self, x: np.ndarray, batch_size: int = 128, **kwargs: Any) -> tuple[dict[str, Any], np.ndarray]:
        """
        Judge samples.

        :param x: Shape (n, ...).
        :param kwargs: None are accepted.
        :return: A report with ``predicted_class`` (n,); ``outlier_scores`` (n,), higher is more suspicious, 0 in
            classes that cannot be judged, infinite where features or outputs are not finite, which is caught;
            ``n_not_finite``, their number; ``layer_scores`` (n, L), what each layer says, and ``layers``, their names; in
            mode ``"paper"`` also ``layer_similarities`` (n, L) and ``layer_of_interest`` (K,), an index into ``layers``.
            And ``is_trigger`` (n,), bool.
        :raises NotFittedError: Before :meth:`fit`.
        :raises InvalidInputError: For samples of another shape, or that are not finite.
        """
        if kwargs:
            raise InvalidInputError(f"detect() takes no {', '.join(sorted(kwargs))}; set parameters with fit().")
        found = self._judge(x, batch_size)
        report = {
            "predicted_class": found.predicted,
            "outlier_scores": found.scores,
            "layer_scores": found.layer_scores,
            "layers": list(self.layers_),
            "n_not_finite": count_not_finite(found.scores),
        }
        if self._fitted_mode() == "paper":
            report |= {"layer_similarities": found.by_layer, "layer_of_interest": self.layer_of_interest_}
        return report, self._fitted().suspects(found.scores, found.predicted, self.threshold_)

    def save(self, filename: str | Path, path: str | Path | None = None) -> None:
        """
        Write what was learned as one safetensors file, atomically; the classifier is not in it, but a checksum of its
        weights.

        :param filename: Name of the file, or its whole path.
        :param path: The folder, as ART has it; ``None``: ``filename`` says where.
        :raises NotFittedError: Before :meth:`fit`.
        """
        model = self._fitted()
        parameters = {name: listed(value) for name, value in self.tunables().items()}
        parameters |= {"mode": self._fitted_mode(), **{name: getattr(model.rule, name) for name in RULE_OPTIONS}}
        save_model(target_file(filename, path), model, self.classifier, parameters)

    @classmethod
    def load(cls, path: str | Path, classifier: Any) -> LayerwiseFeatureDetector:
        """
        A fitted detector for the model that it was saved for.

        :raises FileFormatError: If the file is damaged, of another kind or version, or belongs to another model.
        """
        model, parameters = load_model(path, classifier)
        detector = cls(classifier)
        detector.set_params(**parameters)
        detector._take(model)
        return detector

    def _take(self, model: LayerwiseModel) -> None:
        self.threshold_ = model.threshold(self.tau, self.quantile, self.fpr)
        self._model, self.layers_ = model, model.rule.layers
        take_paper(self, model)

    def _judge(self, x: np.ndarray, batch_size: int) -> Judgement:
        model = self._fitted()
        self._check_images(x)
        return model.rule.judge(self.classifier, x, batch_size)

    def _fitted(self) -> LayerwiseModel:
        if self._model is None:
            raise NotFittedError("This detector has learned nothing; call fit(x_val, y_val) first.")
        return self._model

    def _fitted_mode(self) -> str:
        return mode_of(self._fitted().rule)

    def _check(self, values: dict[str, Any]) -> None:
        check_options(values)
