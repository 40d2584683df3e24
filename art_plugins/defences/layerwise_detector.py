"""Layer-wise feature analysis at test time, in ART's contract for detectors. The filter is in layerwise.py."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.defences.contract import TriggerDetector
from art_plugins.defences.detector_classifier import ForDetectorClassifier
from art_plugins.defences.layers.files import load_model, save_model
from art_plugins.defences.layers.learning import learn_benign
from art_plugins.defences.layers.model import LayerwiseModel, count_not_finite, listed, show_attributes
from art_plugins.defences.layers.options import OPTIONS, LayerwiseParameters, present_options
from art_plugins.defences.layers.rules import LayerRule
from art_plugins.errors import InvalidInputError, NotFittedError
from art_plugins.parameters import plain
from art_plugins.statistics.labels import class_labels
from art_plugins.storage import target_file


class LayerwiseFeatureDetector(LayerwiseParameters, ForDetectorClassifier, TriggerDetector):
    """
    Find samples that do not look like the class that the model gives them, at every layer of the model.

    The detector uses the rules of :class:`LayerwiseFeatureDefence`, which describes them, at test time. It compares a
    sample with the class that the model gives it, where the filter compares it with its label. It works inside ART's
    ``DetectorClassifier``. Higher scores are more suspicious.

    When this breaks: in the same cases as the filter. A model that is often wrong also gives atypical benign samples to
    every class.

    :param classifier: ART ``PyTorchClassifier`` for images, waveforms or any other samples.

    The other parameters are those of :class:`LayerwiseFeatureDefence`. The old names ``quantile``, ``pooled``, ``n_folds``
    and ``max_dims`` work until the next release.

    :ivar layers_: The layers that are looked at.
    :ivar threshold_: Samples with a higher score are caught.
    :ivar benign_scores_: Scores of the benign samples, each by what was learned without it, (n,).
    :ivar layer_of_interest_: Index into ``layers_`` for each class, (K,); mode ``"paper"`` only.
    :ivar layer_profiles_: Mean cosine similarity of benign samples, (K, L), NaN for classes without any; mode ``"paper"``
        only.
    """

    defence_params = list(OPTIONS)
    target_class = None

    def __init__(
        self,
        classifier: Any,
        *,
        mode: str = "mahalanobis",
        mode_params: dict[str, Any] | None = None,
        layers: Sequence[str] | None = None,
        tau: float | None = None,
        fpr: float | None = None,
        random_state: int = 0,
        **old: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in self.defence_params}
        super().__init__()
        self.classifier = classifier
        for name, value in given.items():
            setattr(self, name, value)
        self.set_params(**given, **old)
        self._model: LayerwiseModel | None = None

    def fit(self, x: np.ndarray, y: np.ndarray, batch_size: int = 128, nb_epochs: int = 20, **kwargs: Any) -> None:
        """
        Learn from trusted samples; the model is not trained.

        :param x: Benign samples of all classes, (n, ...); 100 a class are plenty.
        :param y: Labels of these samples, (n,), (n, 1) or one-hot.
        :param batch_size: Number of samples in one forward pass.
        :param nb_epochs: Part of ART's contract; not used.
        :param kwargs: Any of ``defence_params``; they stay set.
        :raises InvalidInputError: For bad samples, labels or parameters, or too few samples or layers.
        """
        self.set_params(**kwargs)
        self._check_clean_images(x)
        nb_classes = int(self.classifier.nb_classes)
        labels, _ = class_labels(y, len(x), nb_classes)
        options = self.tunables()
        model = learn_benign(self.classifier, x, labels, nb_classes, options, batch_size, by_label=False, trusted=True)
        self._take(model)

    def set_threshold(self, *, tau: float | None = None, fpr: float | None = None, quantile: float | None = None) -> None:
        """
        Set another threshold for the fitted detector, in one of two terms. Without any, the threshold is the rule's own.

        :param tau: Threshold in standard deviations above the mean of benign samples' scores.
        :param fpr: False-positive rate on benign samples, 0 to below 1.
        :param quantile: Old name for ``fpr = 1 - quantile``; it works until the next release.
        :raises NotFittedError: Before :meth:`fit`.
        :raises InvalidInputError: If both are given, or if a value is out of range.
        """
        model = self._fitted()
        old = {} if quantile is None else {"quantile": quantile}
        terms = present_options({"tau": plain(tau), "fpr": plain(fpr), **old}, self.tunables())
        self.set_params(**terms)
        self.threshold_ = model.threshold(**terms)

    def detect(self, x: np.ndarray, batch_size: int = 128, **kwargs: Any) -> tuple[dict[str, Any], np.ndarray]:
        """
        Judge samples.

        :param x: Shape (n, ...).
        :param kwargs: None are accepted.
        :param batch_size: Number of samples in one forward pass.
        :return: A report, and ``is_trigger`` (n,), bool. The report holds ``predicted_class`` (n,); ``outlier_scores``
            (n,), which are higher for more suspicious samples, 0 in classes that cannot be judged, and infinite for samples
            whose features or outputs are not finite, which are caught; ``n_not_finite``, the number of these; and
            ``layer_scores`` (n, L), the score at each layer, with the names of these in ``layers``. In mode
            ``"mahalanobis"`` it also holds ``contradicts`` (n,), bool: the sample looks like another class at the layers,
            and yet the model is sure of its class (see
            :class:`~art_plugins.statistics.layer_scores.Contradiction`); and ``likely_class`` (n,), the class that the
            sample probably shows if it is not of the predicted class, with ``likely_probability`` (n,), which means
            something for samples that are caught (see
            :class:`~art_plugins.defences.layers.likely_class.LikelyClass`). A saved detector of the release before does not
            tell these. In mode ``"paper"`` it holds ``layer_similarities`` (n, L) and ``layer_of_interest`` (K,), an index
            into ``layers``.
        :raises NotFittedError: Before :meth:`fit`.
        :raises InvalidInputError: For samples of another shape, or that are not finite.
        """
        if kwargs:
            raise InvalidInputError(f"detect() takes no {', '.join(sorted(kwargs))}; set parameters with fit().")
        model = self._fitted()
        self._check_images(x)
        found = model.rule.judge(self.classifier, x, batch_size)
        report = {
            "predicted_class": found.predicted,
            "outlier_scores": found.scores,
            "layer_scores": found.layer_scores,
            "layers": list(self.layers_),
            "n_not_finite": count_not_finite(found.scores),
            **found.attributes,
        }
        return report, model.suspects(found.scores, found.predicted, self.threshold_)

    def save(self, filename: str | Path, path: str | Path | None = None) -> None:
        """
        Write what was learned as one safetensors file, atomically. The file holds a checksum of the classifier's weights,
        but not the classifier.

        :param filename: Name of the file, or its whole path.
        :param path: The folder, as in ART; ``None`` if ``filename`` is the whole path.
        :raises NotFittedError: Before :meth:`fit`.
        """
        model = self._fitted()
        parameters = {name: listed(value) for name, value in self.tunables().items()}
        rule = model.rule
        parameters |= {"mode": rule.name, "mode_params": rule.own_settings(), "random_state": rule.random_state}
        save_model(target_file(filename, path), model, self.classifier, parameters)

    @classmethod
    def load(cls, path: str | Path, classifier: Any) -> LayerwiseFeatureDetector:
        """
        Read a fitted detector for the model that it was saved for.

        :raises FileFormatError: If the file is damaged, of another kind or version, or belongs to another model.
        """
        model, parameters = load_model(path, classifier)
        detector = cls(classifier)
        detector.set_params(**parameters)
        detector._take(model)
        return detector

    def fitted_rule(self) -> LayerRule:
        """
        What was learned, for modules that do without this detector.

        :raises NotFittedError: Before :meth:`fit`.
        """
        return self._fitted().rule

    def _take(self, model: LayerwiseModel) -> None:
        self.threshold_ = model.threshold(self.tau, self.fpr)
        self._model, self.layers_, self.benign_scores_ = model, model.rule.layers, model.benign_scores
        show_attributes(self, model.rule)

    def _fitted(self) -> LayerwiseModel:
        if self._model is None:
            raise NotFittedError("This detector has learned nothing; call fit(x_val, y_val) first.")
        return self._model
