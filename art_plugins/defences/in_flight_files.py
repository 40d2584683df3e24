"""What a saved in-flight detector holds, and its trigger among it."""

from __future__ import annotations

from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError, NotFittedError
from art_plugins.file_rules import ArrayRule, SettingRule, check_arrays
from art_plugins.statistics.density import ClassDensities, density_rules
from art_plugins.triggers.stamps import AdditiveTrigger, MaskedTrigger
from art_plugins.triggers.trigger import Trigger

SETTINGS = {
    "parameters": SettingRule(dict),
    "target_class": SettingRule(int, low=0),
    "layers": SettingRule(list, low=1, items=SettingRule(str)),
    "success_rate": SettingRule(float, low=0, high=1),
    "margin": SettingRule(float, low=0, high=1e12),  # nats; of a few dozen features, some thousands
    "network_sha256": SettingRule(str),
}


def trigger_arrays(trigger: Trigger) -> dict[str, np.ndarray]:
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

    :raises InvalidInputError: If they are not as they should be, or contradict each other.
    """
    shape = tuple(classifier.input_shape)
    has_patch, is_additive = "trigger_mask" in arrays, "trigger_perturbation" in arrays
    rules = density_rules(is_diagonal="whitening" in arrays and arrays["whitening"].ndim == 3)
    if has_patch:
        mask = ArrayRule("fiub", arrays["trigger_mask"].shape, low=0, high=1)
        rules |= {"trigger_mask": mask, "trigger_pattern": ArrayRule("fiu", shape)}
    if is_additive:
        rules |= {"trigger_perturbation": ArrayRule("fiu", shape), "trigger_clip_values": ArrayRule("f", (2,))}
    check_arrays(arrays, rules, {"K": int(classifier.nb_classes)})
    densities = ClassDensities(**{name: arrays[name] for name in ClassDensities._fields})
    if int(densities.used.sum()) != densities.means.shape[2]:
        raise InvalidInputError("the densities' arrays contradict each other")
    if has_patch:
        return MaskedTrigger(arrays["trigger_mask"], arrays["trigger_pattern"]), densities
    if is_additive:
        low, high = arrays["trigger_clip_values"].tolist()
        return AdditiveTrigger(arrays["trigger_perturbation"], (low, high)), densities
    return no_trigger, densities


def no_trigger(x: np.ndarray) -> np.ndarray:
    raise NotFittedError("A loaded detector has no trigger to fit anew with; make a new InFlightDetector with one.")
