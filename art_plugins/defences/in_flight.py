"""In-flight detection of backdoor triggers at test time (Li, Xiang, Miller and Kesidis 2022) in ART's detector contract."""

from __future__ import annotations

import logging
from typing import Any

import numpy as np

from art_plugins.arrays import check_finite
from art_plugins.defences.contract import TriggerDetector
from art_plugins.defences.detector_classifier import ForDetectorClassifier
from art_plugins.defences.flight.corrections import Corrections
from art_plugins.defences.flight.densities import OLD_NAMES, check_density_settings, fit_densities, fit_margin
from art_plugins.defences.flight.files import SavedInFlight, no_trigger
from art_plugins.defences.flight.fit import check_class_sizes, stamped_features
from art_plugins.defences.flight.verdicts import is_sound, judge_features, outputs_without_pattern
from art_plugins.errors import InvalidInputError, NotFittedError
from art_plugins.features.activations import logits_and_hidden
from art_plugins.features.classifiers import predicted_classes
from art_plugins.features.outputs import check_outputs
from art_plugins.parameters import check_count, check_flag, check_number, renamed
from art_plugins.statistics.labels import class_labels
from art_plugins.statistics.source_inference import infer_sources
from art_plugins.triggers.found import Inversion
from art_plugins.triggers.inversion import invert_triggers
from art_plugins.triggers.trigger import Trigger, check_trigger

logger = logging.getLogger(__name__)


class InFlightDetector(SavedInFlight, Corrections, ForDetectorClassifier, TriggerDetector):
    """
    Find images that carry the trigger of a backdoor, and the class that each of them really is.

    The detector stamps the estimated trigger on clean images of every class but the target class and takes their hidden
    features, and those of clean images of the target class. It fits one density to each class. It catches an image that
    the model sends to the target class if the density of another class explains the image better, and infers that class as
    the source of the image. It needs no fine-tuning and no training set.

    | Paper: X. Li, Z. Xiang, D. J. Miller, G. Kesidis, Test-time detection of backdoor triggers for poisoned deep neural
      networks, ICASSP 2022, section 4.2.

    The detector works inside ART's ``DetectorClassifier``. Higher scores are more suspicious.

    Deviates from the paper: the densities are Gaussians whose covariances are shrunk to a common one, on the square roots
    of the inputs of the last two layers. The other class has to explain an image better by a margin; it is set by how much
    better it explains the clean images that were stamped. For the source of a caught image the model is also asked about
    the image without the pattern (:func:`~art_plugins.statistics.source_inference.infer_sources`).
    ``density={"family": "mixture", "power": 1}, n_layers=1, margin=0, removal=False`` is the form of the paper.

    When this breaks: a wrong target class or a pattern that does not work on the model; triggers that move the features of
    an image like no fixed pattern does (warps); fewer than about ten clean images of a class.

    :param classifier: ART ``PyTorchClassifier``.
    :param trigger: The estimated (or true) trigger, a callable that stamps a batch of images, such as
        :attr:`Inversion.trigger`.
    :param target_class: The target class of the backdoor, 0 to K - 1.
    :param density: Settings of the class densities by name; ``None``: the defaults. ``family`` (``"regularised"``): see
        :func:`~art_plugins.statistics.density.fit_class_densities`. ``tie`` (``None``): weight of the common covariance in
        that family, 0 to 1; ``None`` is .9 for 100 clean images of a class and more, and nearer to 1 for fewer (.98 for
        20), since the covariance of a small class says less. ``power`` (.5): exponent of a signed power of the features,
        above 0 and at most 1; 1 leaves them as they are. Before, these three were parameters; their old names work until
        the next release.
    :param n_layers: Number of the last hidden layers that are used, at most as many as the model has.
    :param margin: A share, 0 to below 1, of the log-likelihood ratio that all but 1 % of the stamped images exceed when
        they are scored by densities that were fitted without them. An image is caught if its ratio is above this margin.
        With 0, any class that explains it better is enough.
    :param removal: Whether the source of a caught image is also inferred from the image without the pattern. This takes one
        more pass over three copies of the caught images. ``False``: from the densities alone.
    :param random_state: Random seed of the mixtures and of the folds.

    :ivar layers_: The linear layers whose inputs are the features.
    :ivar margin_: The margin in nats. Images that the model sends to the target class are caught if their score is above
        it.
    :ivar success_rate_: The share of clean images of one class that the stamped trigger sends to the target class, for the
        class from which it sends most.
    :ivar inversion_: The :class:`Inversion` that :meth:`from_classifier` ran.
    """

    defence_params = ["density", "n_layers", "margin", "removal", "random_state"]
    inversion_: Inversion | None = None

    def __init__(
        self,
        classifier: Any,
        trigger: Trigger,
        target_class: int,
        *,
        density: dict[str, Any] | None = None,
        n_layers: int = 2,
        margin: float = 0.5,
        removal: bool = True,
        random_state: int = 0,
        **old: Any,
    ) -> None:
        super().__init__()
        given = {name: value for name, value in locals().items() if name in self.defence_params}
        self.classifier, self.trigger, self.target_class = classifier, trigger, target_class
        for name, value in given.items():
            setattr(self, name, value)
        self.set_params(**given, **old)
        self._densities = None

    def set_params(self, **kwargs: Any) -> None:
        """
        Check, then take over parameters; nothing is changed if one of them is wrong.

        :raises InvalidInputError: For an unknown name, a value out of range, or another classifier.
        """
        super().set_params(**renamed(kwargs, OLD_NAMES, self.tunables()))

    @classmethod
    def from_classifier(
        cls,
        classifier: Any,
        x_clean: np.ndarray,
        y_clean: np.ndarray,
        *,
        inversion: dict[str, Any] | None = None,
        **parameters: Any,
    ) -> InFlightDetector | None:
        """
        Look for a backdoor first, and fit a detector for the backdoor that is found.

        :param x_clean: Clean images of all classes, (n, ...).
        :param y_clean: Labels of these samples, (n,), (n, 1) or one-hot.
        :param inversion: Keyword arguments of :func:`~art_plugins.triggers.inversion.invert_triggers`.
        :param parameters: Any of ``defence_params``.
        :return: The fitted detector; ``None`` if no backdoor is found, since there is nothing to deploy then.
        :raises InvalidInputError: For bad images, labels or parameters.
        """
        if inversion is not None and not isinstance(inversion, dict):
            raise InvalidInputError(f"inversion must hold arguments of invert_triggers by name; received {inversion!r}.")
        cls(classifier, no_trigger, 0, **parameters)  # wrong parameters are refused before the search
        found = invert_triggers(classifier, x_clean, y_clean, **(inversion or {}))
        logger.info(found.sentence())
        if found.target_class is None or found.trigger is None:
            logger.warning("%s There is nothing to deploy.", found.sentence())
            return None
        detector = cls(classifier, found.trigger, found.target_class, **parameters)
        detector.fit(x_clean, y_clean)
        detector.inversion_ = found
        return detector

    def fit(self, x: np.ndarray, y: np.ndarray, batch_size: int = 128, nb_epochs: int = 20, **kwargs: Any) -> None:
        """
        Fit the densities. This takes seconds; the model is not trained.

        :param x: Clean images of all classes, (n, ...); the paper has 100 of each class.
        :param y: Labels of these samples, (n,), (n, 1) or one-hot.
        :param batch_size: Number of images in one forward pass.
        :param nb_epochs: Part of ART's contract; not used.
        :param kwargs: Any of ``defence_params``; they stay set.
        :raises InvalidInputError: For bad images, labels or parameters, or without clean images of the target class and of
            another one.
        """
        self.set_params(**kwargs)
        check_trigger(self.trigger)
        self._check_clean_images(x)
        nb_classes = int(self.classifier.nb_classes)
        labels, _ = class_labels(y, len(x), nb_classes)
        target = self._target()
        check_class_sizes(np.bincount(labels, minlength=nb_classes), target)
        found = stamped_features(self.classifier, self.trigger, x, labels, target, self.n_layers, batch_size)
        self.fit_features(found.features, labels)
        self.layers_, self.success_rate_ = found.layers, found.success_rate

    def fit_features(self, features: np.ndarray, labels: np.ndarray) -> None:
        """
        Fit the densities to hidden features that are already there, for :meth:`detect_features`.

        :param features: Features of stamped images of the other classes and of clean images of the target class, (n, D).
        :param labels: True classes, (n,), int.
        :raises InvalidInputError: For features that are not finite, or all constant.
        """
        nb_classes, target = int(self.classifier.nb_classes), self._target()
        check_finite(features, "features", "remove such samples first")
        data = features, labels, nb_classes
        self._densities, arguments = fit_densities(*data, self.density, self.random_state)
        self.margin_ = fit_margin(*data, target, self.margin, arguments)

    def detect(self, x: np.ndarray, batch_size: int = 128, **kwargs: Any) -> tuple[dict[str, Any], np.ndarray]:
        """
        Judge images. Images that the model does not send to the target class pass untouched.

        :param x: Images (n, ...).
        :param batch_size: Number of images in one forward pass.
        :param kwargs: None are accepted.
        :return: A report, and ``is_trigger`` (n,), bool. The report holds ``predicted_class`` (n,); ``source_class`` (n,),
            the inferred class of a caught image, else -1; ``log_likelihoods`` (n, K) in nats, NaN for images that pass
            untouched; ``outlier_scores`` (n,), the log-likelihood of the best other class less that of the target class,
            NaN likewise; and ``n_not_finite``, the number of images whose outputs or features are not finite. These are
            caught, whatever their class, with an infinite score and no source (-1).
        :raises NotFittedError: Before :meth:`fit`.
        :raises InvalidInputError: For images of another shape, or that are not finite.
        """
        if kwargs:
            raise InvalidInputError(f"detect() takes no {', '.join(sorted(kwargs))}; set parameters with fit().")
        layers = self._fitted_layers()
        self._check_images(x)
        return self.detect_features(*logits_and_hidden(self.classifier, x, layers, batch_size), x, batch_size)

    def detect_features(
        self, outputs: np.ndarray, features: np.ndarray, x: np.ndarray | None = None, batch_size: int = 128
    ) -> tuple[dict[str, Any], np.ndarray]:
        """
        As :meth:`detect`, for outputs (n, K) and hidden features (n, D) that are already there.

        :param x: The images (n, ...), for ``removal``; ``None``: sources are inferred from the densities alone.
        :param batch_size: Number of images in one forward pass.
        :raises NotFittedError: Before a fit.
        """
        if self._densities is None:
            raise NotFittedError("This detector has no densities; call fit(x_clean, y_clean) first.")
        target = self._target()
        check_outputs(outputs, int(self.classifier.nb_classes))
        if len(features) != len(outputs) or features.shape[1:] != self._densities.centre.shape:
            raise InvalidInputError(
                f"Features must be of shape ({len(outputs)}, {len(self._densities.centre)}), as those that were fitted; "
                f"received {features.shape}. Was the detector fitted on another model?"
            )
        predicted, sound = predicted_classes(self.classifier, outputs), is_sound(outputs, features)
        found = judge_features(self._densities, predicted, sound, features, target, self.margin_)
        caught = found.explained
        if x is not None and self.removal and self.trigger is not no_trigger and len(caught):
            views = outputs_without_pattern(self.classifier, self.trigger, x[caught], batch_size)
            seen = np.isfinite(views).all(axis=(0, 2))
            found.source[caught[seen]] = infer_sources(found.log_likelihoods[caught[seen]], views[:, seen], target)
        n_not_finite = int(np.isposinf(found.scores).sum())
        if n_not_finite:
            logger.warning("%d of %d images have no finite score. They are caught.", n_not_finite, len(predicted))
        report = {
            "predicted_class": predicted,
            "source_class": found.source,
            "log_likelihoods": found.log_likelihoods,
            "outlier_scores": found.scores,
            "n_not_finite": n_not_finite,
        }
        return report, found.is_trigger

    def _check(self, values: dict[str, Any]) -> None:
        check_density_settings(values["density"])
        check_count("n_layers", values["n_layers"])
        check_number("margin", values["margin"], "a share", least=0, below=1)
        check_flag("removal", values["removal"])
        check_count("random_state", values["random_state"], 0)
