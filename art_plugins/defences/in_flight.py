"""In-flight detection of backdoor triggers at test time (Li, Xiang, Miller and Kesidis 2022) in ART's detector contract."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.arrays import check_finite
from art_plugins.defences.contract import TriggerDetector
from art_plugins.defences.detector_classifier import ForDetectorClassifier
from art_plugins.defences.in_flight_files import SETTINGS, checked_arrays, no_trigger, trigger_arrays
from art_plugins.errors import FileFormatError, InvalidInputError, NotFittedError
from art_plugins.features.activations import collect_outputs, hidden_layers, logits_and_hidden
from art_plugins.features.classifiers import predicted_classes, torch_module
from art_plugins.features.fingerprint import check_known_layers, model_fingerprint
from art_plugins.features.outputs import check_outputs
from art_plugins.file_rules import check_names, check_settings, reading
from art_plugins.parameters import check_count, check_flag, check_number
from art_plugins.statistics.density import ClassDensities, check_density, cross_fitted_log_likelihoods, fit_class_densities
from art_plugins.statistics.labels import class_labels, indices_by_class
from art_plugins.statistics.source_inference import STRENGTHS, infer_sources
from art_plugins.storage import load_arrays, save_arrays, target_file
from art_plugins.triggers.found import Inversion
from art_plugins.triggers.inversion import invert_triggers
from art_plugins.triggers.trigger import Trigger, check_trigger, stamped

logger = logging.getLogger(__name__)

FILE_KIND = "in_flight_detector"
WEAK_PATTERN = 0.93  # success rate of the estimated pattern below which a detector rests on a weak estimate
FEW_SAMPLES = 10  # clean images a class below which the false-positive rate rises
MISSED = 0.01  # share of the stamped images below the ratio that the margin is a share of
OWN_WEIGHT, ENOUGH_SAMPLES = 0.1, 100  # of a class's own covariance, and from how many samples on
ABSTAIN = -1


class InFlightDetector(ForDetectorClassifier, TriggerDetector):
    """
    Does this image carry the backdoor's trigger, and which class is it really?

    Stamp the estimated trigger on clean images of every class but the target, take their hidden features, and the target
    class's clean ones; fit one density for each class. An image that the model sends to the target class is caught when
    another class's density explains it better, and that class is inferred as its source. No fine-tuning, no training set.

    | Paper: X. Li, Z. Xiang, D. J. Miller, G. Kesidis, Test-time detection of backdoor triggers for poisoned deep neural
      networks, ICASSP 2022, section 4.2.

    Stands inside ART's ``DetectorClassifier``. Higher scores are more suspicious.

    Deviates from the paper: Gaussians whose covariances are shrunk to a common one, on the square roots of the last two
    hidden layers; the other class has to explain an image better by a margin, which the clean images that were stamped
    set by how far beyond it they lie; and for the source of a caught image the model is asked as well, about the image less
    the pattern (:func:`~art_plugins.statistics.source_inference.infer_sources`). ``family="mixture", n_layers=1, power=1,
    margin=0, removal=False`` is the paper's form.

    When this breaks: a wrong target class or a pattern that does not work on the model; triggers that move an image's
    features like no fixed pattern does (warps); fewer than about ten clean images a class.

    :param classifier: ART ``PyTorchClassifier``.
    :param trigger: The estimated (or true) trigger, a callable that stamps a batch of images, such as
        :attr:`Inversion.trigger`.
    :param target_class: The backdoor's target, 0 to K - 1.
    :param family: Density family; see :func:`fit_class_densities`.
    :param tie: Weight of the common covariance, 0 to 1, of the family ``"regularised"``; ``None``: .9 for 100 clean images
        a class and more, nearer to 1 for fewer (.98 for 20), since their own covariances say less.
    :param power: Exponent of a signed power of the features, above 0 and at most 1; 1 leaves them as they are.
    :param n_layers: How many of the last hidden layers are used; at most as many as the model has.
    :param margin: Share, 0 to below 1, of the log-likelihood ratio that all but 1 % of the stamped images exceed when they
        are scored by densities fitted without them; an image is caught above it. 0: any better class will do.
    :param removal: Whether the source of a caught image is inferred from the image without the pattern as well; one
        more pass, of three copies of the caught images only. ``False``: from the densities alone.
    :param random_state: Seed of the mixtures and of the folds.

    :ivar layers_: The linear layers whose inputs are the features.
    :ivar margin_: The margin in nats: of the images that the model sends to the target, those whose score is above it are
        caught; above 0 is not enough.
    :ivar success_rate_: Share of the clean images that the stamped trigger sends to the target, of the other class from
        which it sends most.
    :ivar inversion_: The :class:`Inversion` that :meth:`from_classifier` ran.
    """

    defence_params = ["family", "tie", "power", "n_layers", "margin", "removal", "random_state"]
    inversion_: Inversion | None = None

    def __init__(
        self,
        classifier: Any,
        trigger: Trigger,
        target_class: int,
        *,
        family: str = "regularised",
        tie: float | None = None,
        power: float = 0.5,
        n_layers: int = 2,
        margin: float = 0.5,
        removal: bool = True,
        random_state: int = 0,
    ) -> None:
        super().__init__()
        given = {name: value for name, value in locals().items() if name in self.defence_params}
        self.classifier, self.trigger, self.target_class = classifier, trigger, target_class
        for name, value in given.items():
            setattr(self, name, value)
        self.set_params(**given)
        self._densities: ClassDensities | None = None

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
        Look for a backdoor first; a fitted detector for the one that is found, or ``None``: there is nothing to deploy.

        :param x_clean: Clean images of all classes, (n, ...).
        :param y_clean: Their labels, (n,), (n, 1) or one-hot.
        :param inversion: Keyword arguments of :func:`~art_plugins.triggers.inversion.invert_triggers`.
        :param parameters: ``family``, ``tie``, ``power``, ``n_layers``, ``margin``, ``removal``, ``random_state``.
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
        Fit the densities; seconds, no training of the model.

        :param x: Clean images of all classes, (n, ...); 100 a class in the paper.
        :param y: Their labels, (n,), (n, 1) or one-hot.
        :param nb_epochs: ART's; not needed.
        :param kwargs: Any of ``defence_params``; they stay set.
        :raises InvalidInputError: For bad images, labels or parameters, or without clean images of the target class and of
            another one.
        """
        self.set_params(**kwargs)
        check_trigger(self.trigger)
        self._check_images(x)
        nb_classes = int(self.classifier.nb_classes)
        labels, _ = class_labels(y, len(x), nb_classes)
        target = self._target()
        sizes = np.array([len(indices) for indices in indices_by_class(labels, nb_classes)])
        if sizes[target] == 0 or np.count_nonzero(sizes) < 2:
            raise InvalidInputError(
                f"Clean images of the target class {target} and of at least one other class are needed; received "
                f"{sizes[target]} and {np.count_nonzero(sizes) - (sizes[target] > 0)}."
            )
        if sizes[sizes > 0].min() < FEW_SAMPLES:
            logger.warning(
                "Some class has only %d clean images; with fewer than %d the false-positive rate rises.",
                sizes[sizes > 0].min(),
                FEW_SAMPLES,
            )
        is_source = labels != target
        images = np.array(x)
        images[is_source] = stamped(self.trigger, x[is_source])
        layers = hidden_layers(self.classifier, images, self.n_layers)
        outputs, features = logits_and_hidden(self.classifier, images, layers, batch_size)
        check_outputs(outputs, nb_classes)
        n_bad = int((~_is_sound(outputs, features)).sum())
        if n_bad:
            raise InvalidInputError(
                f"{n_bad} of the {len(x)} images, stamped but for those of the target class, give outputs or features that "
                f"are not finite (features: what the layers {', '.join(layers)} are given). Remove such images, check how "
                "they are scaled, and whether the model's weights hold NaN."
            )
        self.fit_features(features, labels)
        self.layers_ = layers
        sent = predicted_classes(self.classifier, outputs) == target
        # A trigger may work from one class alone.
        self.success_rate_ = float(max(sent[labels == label].mean() for label in np.unique(labels[is_source])))
        if self.success_rate_ < WEAK_PATTERN:
            logger.warning(
                "The trigger sends at most %.3f of a class's images to class %d: the detector rests on a weak estimate.",
                self.success_rate_,
                target,
            )

    def fit_features(self, features: np.ndarray, labels: np.ndarray) -> None:
        """
        Fit the densities on hidden features that are already there, for :meth:`detect_features`.

        :param features: Of stamped images of the other classes and clean ones of the target, (n, D).
        :param labels: True classes, (n,), int.
        :raises InvalidInputError: For features that are not finite, or all constant.
        """
        nb_classes, target = int(self.classifier.nb_classes), self._target()
        check_finite(features, "features", "remove such samples first")
        sizes = np.bincount(labels, minlength=nb_classes)
        smallest = sizes[sizes > 0].min()
        tie = 1 - OWN_WEIGHT * min(1.0, smallest / ENOUGH_SAMPLES) if self.tie is None else self.tie
        density: dict[str, Any] = {"family": self.family, "tie": tie, "power": self.power}
        density["random_state"] = self.random_state
        self._densities = fit_class_densities(features, labels, nb_classes, **density)
        self.margin_ = 0.0
        if self.margin > 0 and sizes.max() > 1:  # of one image a class, none can be held out
            held_out = cross_fitted_log_likelihoods(features, labels, nb_classes, **density)
            ratios = _log_likelihood_ratios(held_out[labels != target], target)
            ratios = ratios[np.isfinite(ratios)]  # a class whose only image is held out has no density then
            self.margin_ = self.margin * max(0.0, float(np.quantile(ratios, MISSED))) if len(ratios) else 0.0

    def detect(self, x: np.ndarray, batch_size: int = 128, **kwargs: Any) -> tuple[dict[str, Any], np.ndarray]:
        """
        Judge images; those that the model does not send to the target class pass untouched.

        :param x: Images (n, ...).
        :param kwargs: None are accepted.
        :return: A report with ``predicted_class`` (n,); ``source_class`` (n,), the inferred class of a caught image, else
            -1; ``log_likelihoods`` (n, K) in nats, NaN for images that pass untouched; ``outlier_scores`` (n,), the best
            other class's log-likelihood less the target's, NaN likewise; ``n_not_finite``, how many images give outputs
            or features that are not finite: they are caught, whatever their class, with an infinite score and no source
            (-1). And ``is_trigger`` (n,), bool.
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
        :meth:`detect` for outputs (n, K) and hidden features (n, D) that are already there.

        :param x: The images (n, ...), for ``removal``; ``None``: sources are inferred from the densities alone.
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
        predicted, sound = predicted_classes(self.classifier, outputs), _is_sound(outputs, features)
        rows = np.flatnonzero((predicted == target) & sound)
        log_likelihoods = np.full(outputs.shape, np.nan)
        source = np.full(len(outputs), -1)
        scores = np.where(sound, np.nan, np.inf)
        is_trigger = ~sound
        if len(rows):
            log_likelihoods[rows] = found = self._densities.log_likelihoods(features[rows])
            ratios = _log_likelihood_ratios(found, target)
            scores[rows] = np.where(np.isnan(ratios), np.inf, ratios)
            is_trigger[rows] = scores[rows] > self.margin_
            others = np.where(np.arange(found.shape[1]) == target, -np.inf, found)
            explained = is_trigger[rows] & ~np.isnan(ratios)
            source[rows] = np.where(explained, others.argmax(axis=1), -1)
            caught = rows[explained]
            if x is not None and self.removal and self.trigger is not no_trigger and len(caught):
                views = self._without_pattern(x[caught], batch_size)
                seen = np.isfinite(views).all(axis=(0, 2))
                source[caught[seen]] = infer_sources(log_likelihoods[caught[seen]], views[:, seen], target)
        n_not_finite = int(np.isposinf(scores).sum())
        if n_not_finite:
            logger.warning("%d of %d images have no finite score: they are caught.", n_not_finite, len(scores))
        report = {
            "predicted_class": predicted,
            "source_class": source,
            "log_likelihoods": log_likelihoods,
            "outlier_scores": scores,
            "n_not_finite": n_not_finite,
        }
        return report, is_trigger

    def _without_pattern(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        """Outputs for the images less the pattern, at each strength, (S, n, K)."""
        added = stamped(self.trigger, x).astype(np.float32) - x
        less = np.concatenate([x - strength * added for strength in STRENGTHS])
        if self.classifier.clip_values is not None:
            less = np.clip(less, *self.classifier.clip_values)
        return collect_outputs(self.classifier, less, batch_size).reshape(len(STRENGTHS), len(x), -1)

    def detect_one(self, image: np.ndarray) -> tuple[int, bool, int]:
        """
        One image of a stream.

        :param image: Shape as one row of ``x``.
        :return: The model's class, whether the image is caught, and the class to act on: the inferred source if caught.
        """
        report, is_trigger = self.detect(image[None])
        predicted, caught = int(report["predicted_class"][0]), bool(is_trigger[0])
        return predicted, caught, int(report["source_class"][0]) if caught else predicted

    def predict_with_correction(self, x: np.ndarray, batch_size: int = 128, abstain: bool = False) -> np.ndarray:
        """
        The model's label, or for a caught image the inferred source class; -1 where a caught image has none.

        :param abstain: Give -1 for a caught image instead.
        :return: (n,), int.
        """
        report, is_trigger = self.detect(x, batch_size)
        corrected = np.full(len(is_trigger), ABSTAIN) if abstain else report["source_class"]
        labels: np.ndarray = np.where(is_trigger, corrected, report["predicted_class"])
        return labels

    def save(self, filename: str | Path, path: str | Path | None = None) -> None:
        """
        Write what was fitted as one safetensors file, atomically, with the trigger if it is a mask and a pattern or an
        added perturbation, as an inversion's is. Of the classifier there is a checksum of its weights.

        :param filename: Name of the file, or its whole path.
        :param path: The folder, as ART has it; ``None``: ``filename`` says where.
        :raises NotFittedError: Before :meth:`fit`.
        """
        save_arrays(target_file(filename, path), FILE_KIND, *self.saved_parts())

    def saved_parts(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """
        The arrays and the settings that :meth:`save` writes.

        :raises NotFittedError: Before :meth:`fit`.
        """
        layers = self._fitted_layers()
        assert self._densities is not None
        settings = {
            "parameters": self.tunables(),
            "target_class": self._target(),
            "layers": layers,
            "success_rate": self.success_rate_,
            "margin": self.margin_,
            "network_sha256": model_fingerprint(self.classifier),
        }
        return self._densities._asdict() | trigger_arrays(self.trigger), settings

    @classmethod
    def load(cls, path: str | Path, classifier: Any, trigger: Trigger | None = None) -> InFlightDetector:
        """
        A fitted detector for the model that it was saved for.

        :param trigger: In place of the file's. Without any, the detector catches the same images, but infers their sources
            from the densities alone and cannot be fitted anew.
        :raises FileFormatError: If the file is damaged, of another kind or version, or belongs to another model.
        """
        arrays, settings = load_arrays(path, FILE_KIND)
        what = f"{path} does not hold a detector"
        with reading(what):
            check_settings(settings, SETTINGS)
        if settings["network_sha256"] != model_fingerprint(classifier):
            raise FileFormatError(f"{path} was saved for another model: the weights differ. Fit a detector for this one.")
        with reading(what):
            check_known_layers(settings["layers"], torch_module(classifier))
            saved, densities = checked_arrays(arrays, classifier)
            detector = cls(classifier, trigger or saved, settings["target_class"])
            check_names("parameter", settings["parameters"], cls.defence_params)
            detector.set_params(**settings["parameters"])
            known = np.isfinite(densities.log_weights).any(axis=1)
            if not known[detector._target()] or known.sum() < 2:
                raise InvalidInputError("the target class and another one have no density")
        detector.layers_, detector._densities = settings["layers"], densities
        detector.success_rate_, detector.margin_ = float(settings["success_rate"]), float(settings["margin"])
        return detector

    def _fitted_layers(self) -> list[str]:
        if self._densities is None:
            raise NotFittedError("This detector has no densities; call fit(x_clean, y_clean) first.")
        return self.layers_

    def _check(self, values: dict[str, Any]) -> None:
        check_density(values["family"], 1.0 if values["tie"] is None else values["tie"], values["power"])
        check_count("n_layers", values["n_layers"])
        margin = values["margin"]
        check_number("margin", margin, "a share", least=0, below=1)
        check_flag("removal", values["removal"])
        check_count("random_state", values["random_state"], 0)


def _is_sound(outputs: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Whether all that the network gives for an image is finite, (n,), bool."""
    sound: np.ndarray = np.isfinite(outputs).all(axis=1) & np.isfinite(features).all(axis=1)
    return sound


def _log_likelihood_ratios(log_likelihoods: np.ndarray, target: int) -> np.ndarray:
    """The best other class's log-likelihood less the target's, (n,), from (n, K)."""
    others = np.delete(log_likelihoods, target, axis=1)
    ratios: np.ndarray = others.max(axis=1) - log_likelihoods[:, target]
    return ratios
