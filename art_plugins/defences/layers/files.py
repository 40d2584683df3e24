"""Files of the layer-wise detector: what it learned from benign samples, and for which network."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from art_plugins.defences.layers.model import LayerwiseModel
from art_plugins.defences.layers.options import OPTIONS, RULES, check_options, present_options
from art_plugins.defences.layers.rules import MOST_SCORE
from art_plugins.errors import InvalidInputError
from art_plugins.features.classifiers import torch_module
from art_plugins.features.fingerprint import check_known_layers, check_saved_for, model_fingerprint
from art_plugins.file_rules import ArrayRule, SettingRule, check_arrays, check_names, check_settings, reading
from art_plugins.parameters import check_layer_names, old_names_allowed
from art_plugins.storage import load_arrays, save_arrays

FILE_KIND = "layerwise_feature_detector"
SETTINGS = {
    "parameters": SettingRule(dict),
    "layers": SettingRule(list, low=1, items=SettingRule(str)),
    "nb_classes": SettingRule(int, low=1),
    "trusted": SettingRule(bool),
    "network_sha256": SettingRule(str),
}


def save_model(path: str | Path, model: LayerwiseModel, classifier: Any, parameters: dict[str, Any]) -> None:
    """Write one safetensors file, with a checksum of the network's weights."""
    rule = model.rule
    settings = {
        "parameters": parameters,
        "layers": rule.layers,
        "nb_classes": rule.nb_classes,
        "trusted": model.trusted,
        "network_sha256": model_fingerprint(classifier),
    }
    benign = {"benign_scores": model.benign_scores, "benign_classes": model.benign_classes}
    save_arrays(path, FILE_KIND, {**benign, **rule.arrays()}, settings)


def load_model(path: str | Path, classifier: Any) -> tuple[LayerwiseModel, dict[str, Any]]:
    """
    Read a file that :func:`save_model` has written.

    :return: The model, and the parameters that were saved with it by their present names.
    :raises FileFormatError: If the file is damaged, of another kind or version, or belongs to another network.
    """
    arrays, settings = load_arrays(path, FILE_KIND)
    what = f"{path} does not hold a detector"
    with reading(what):
        check_settings(settings, SETTINGS)
    check_saved_for(path, settings["network_sha256"], classifier)
    with reading(what):
        parameters, layers, nb_classes = settings["parameters"], settings["layers"], settings["nb_classes"]
        with old_names_allowed():
            parameters = present_options(parameters, {})
        check_names("parameter", parameters, OPTIONS)
        check_options(parameters)
        check_layer_names(layers)
        check_known_layers(layers, torch_module(classifier))
        if nb_classes != int(classifier.nb_classes):
            raise InvalidInputError(f"it is for {nb_classes} classes, the classifier has {classifier.nb_classes}")
        own = {"random_state": parameters["random_state"], **(parameters["mode_params"] or {})}
        rule = RULES[parameters["mode"]](layers, nb_classes, **own)
        benign = {
            "benign_scores": ArrayRule("f", ("N",), low=-MOST_SCORE, high=MOST_SCORE),
            "benign_classes": ArrayRule("iu", ("N",), low=0, high=nb_classes - 1),
        }
        rules = benign | rule.array_rules(arrays.keys(), settings["trusted"])
        check_arrays(arrays, rules, {"K": nb_classes, "L": len(layers)})
        rule.take_arrays(arrays, settings["trusted"])
        model = LayerwiseModel(rule, arrays["benign_scores"], arrays["benign_classes"], settings["trusted"])
        if not (rule.n_benign[model.benign_classes] > 0).any():
            raise InvalidInputError("it has learned no class")
    return model, parameters
