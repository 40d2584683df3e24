"""Files of the in-flight detector: its densities, its trigger, and for which model it was fitted."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from art_plugins.defences.contract import CheckedParameters
from art_plugins.defences.flight.densities import OLD_NAMES
from art_plugins.errors import InvalidInputError, NotFittedError
from art_plugins.features.classifiers import torch_module
from art_plugins.features.fingerprint import check_known_layers, check_saved_for, model_fingerprint
from art_plugins.file_rules import ArrayRule, SettingRule, check_arrays, check_names, check_settings, reading
from art_plugins.parameters import old_names_allowed, renamed
from art_plugins.statistics.density import ClassDensities, MixtureDensities, mixture_rules
from art_plugins.statistics.factor_densities import FactorDensities, factor_rules
from art_plugins.storage import load_arrays, save_arrays, target_file
from art_plugins.triggers.stamps import AdditiveTrigger, MaskedTrigger
from art_plugins.triggers.trigger import Trigger

if TYPE_CHECKING:
    from typing_extensions import Self

FILE_KIND = "in_flight_detector"
SETTINGS = {
    "parameters": SettingRule(dict),
    "target_class": SettingRule(int, low=0),
    "layers": SettingRule(list, low=1, items=SettingRule(str)),
    "success_rate": SettingRule(float, low=0, high=1),
    "margin": SettingRule(float, low=0, high=1e12),  # nats; of a few dozen features, some thousands
    "network_sha256": SettingRule(str),
}


class SavedInFlight(CheckedParameters):
    """
    Saving and loading of a detector.

    :ivar layers_: The layers whose inputs are the features.
    :ivar margin_: The margin in nats.
    :ivar success_rate_: Success rate of the trigger.
    """

    trigger: Trigger
    layers_: list[str]
    margin_: float
    success_rate_: float
    _densities: ClassDensities | None

    if TYPE_CHECKING:  # the detector has it from its base class

        def _target(self) -> int: ...

    def fitted_densities(self) -> tuple[ClassDensities, list[str]]:
        """
        The fitted densities, and the layers whose inputs are their features.

        :raises NotFittedError: Before :meth:`fit`.
        """
        if self._densities is None:
            raise NotFittedError("This detector has no densities; call fit(x_clean, y_clean) first.")
        return self._densities, self.layers_

    def _fitted_layers(self) -> list[str]:
        return self.fitted_densities()[1]

    def save(self, filename: str | Path, path: str | Path | None = None) -> None:
        """
        Write what was fitted as one safetensors file, atomically. The file holds the trigger if this is a mask and a
        pattern, or an added perturbation, as an inversion gives them. It holds a checksum of the classifier's weights.

        :param filename: Name of the file, or its whole path.
        :param path: The folder, as in ART; ``None`` if ``filename`` is the whole path.
        :raises NotFittedError: Before :meth:`fit`.
        """
        save_arrays(target_file(filename, path), FILE_KIND, *self.saved_parts())

    def saved_parts(self) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """
        The arrays and the settings that :meth:`save` writes.

        :raises NotFittedError: Before :meth:`fit`.
        """
        densities, layers = self.fitted_densities()
        settings = {
            "parameters": self.tunables(),
            "target_class": self._target(),
            "layers": layers,
            "success_rate": self.success_rate_,
            "margin": self.margin_,
            "network_sha256": model_fingerprint(self.classifier),
        }
        return densities._asdict() | trigger_arrays(self.trigger), settings

    @classmethod
    def load(cls, path: str | Path, classifier: Any, trigger: Trigger | None = None) -> Self:
        """
        Read a fitted detector for the model that it was saved for.

        :param trigger: Taken in place of the trigger in the file. Without any trigger, the detector catches the same
            images, but it infers their sources from the densities alone and cannot be fitted again.
        :raises FileFormatError: If the file is damaged, of another kind or version, or belongs to another model.
        """
        arrays, settings = load_arrays(path, FILE_KIND)
        make: Any = cls
        what = f"{path} does not hold a detector"
        with reading(what):
            check_settings(settings, SETTINGS)
        check_saved_for(path, settings["network_sha256"], classifier)
        with reading(what):
            check_known_layers(settings["layers"], torch_module(classifier))
            saved, densities = checked_arrays(arrays, classifier)
            with old_names_allowed():
                parameters = renamed(settings["parameters"], OLD_NAMES, {})
            check_names("parameter", parameters, cls.defence_params)
            detector: Self = make(classifier, trigger or saved, settings["target_class"], **parameters)
            if not densities.known[detector._target()] or densities.known.sum() < 2:
                raise InvalidInputError("the target class and another one have no density")
        detector.layers_, detector._densities = settings["layers"], densities
        detector.success_rate_, detector.margin_ = float(settings["success_rate"]), float(settings["margin"])
        return detector


def trigger_arrays(trigger: Trigger) -> dict[str, np.ndarray]:
    """The arrays of a mask and a pattern, or of an added perturbation; none for another trigger."""
    if isinstance(trigger, MaskedTrigger):
        return {"trigger_mask": np.asarray(trigger.mask), "trigger_pattern": np.asarray(trigger.pattern)}
    if isinstance(trigger, AdditiveTrigger):
        return {
            "trigger_perturbation": np.asarray(trigger.perturbation),
            "trigger_clip_values": np.asarray(trigger.clip_values, dtype=np.float64),
        }
    return {}


def checked_arrays(arrays: dict[str, np.ndarray], classifier: Any) -> tuple[Trigger, ClassDensities]:
    """
    The trigger (if none was saved, one that cannot stamp) and the densities.

    :raises InvalidInputError: If arrays are missing, have a wrong form, or contradict each other.
    """
    shape = tuple(classifier.input_shape)
    has_patch, is_additive = "trigger_mask" in arrays, "trigger_perturbation" in arrays
    is_mixture = "whitening" in arrays
    kind: Any = MixtureDensities if is_mixture else FactorDensities
    rules = mixture_rules(is_diagonal=arrays["whitening"].ndim == 3) if is_mixture else factor_rules()
    if has_patch:
        mask = ArrayRule("fiub", arrays["trigger_mask"].shape, low=0, high=1)
        rules |= {"trigger_mask": mask, "trigger_pattern": ArrayRule("fiu", shape)}
    if is_additive:
        rules |= {"trigger_perturbation": ArrayRule("fiu", shape), "trigger_clip_values": ArrayRule("f", (2,))}
    nb_classes = int(classifier.nb_classes)
    check_arrays(arrays, rules, {"K": nb_classes})
    densities: ClassDensities = kind(**{name: arrays[name] for name in kind._fields})
    if int(densities.used.sum()) != arrays["means" if is_mixture else "basis"].shape[-1]:
        raise InvalidInputError("the densities' arrays contradict each other")
    if not is_mixture and ((np.diff(arrays["owners"]) < 0).any() or (arrays["owners"] >= nb_classes).any()):
        raise InvalidInputError("the owners of the factors must be classes in ascending order")
    if has_patch:
        return MaskedTrigger(arrays["trigger_mask"], arrays["trigger_pattern"]), densities
    if is_additive:
        low, high = arrays["trigger_clip_values"].tolist()
        return AdditiveTrigger(arrays["trigger_perturbation"], (low, high)), densities
    return no_trigger, densities


def no_trigger(x: np.ndarray) -> np.ndarray:
    """The trigger of a detector that was loaded from a file without one."""
    raise NotFittedError(
        "A loaded detector has no trigger and cannot be fitted again; make a new InFlightDetector with one."
    )
