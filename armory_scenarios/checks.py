"""Names in a config that nobody takes are found before anything is trained."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Collection, Mapping
from importlib import import_module
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError

# What this package's scenarios and Armory's poison scenario read of ``adhoc``.
ADHOC = (
    "compute_fairness_metrics",
    "defense_categorical_labels",
    "defense_model",
    "defense_train_epochs",
    "experiment_id",
    "explanatory_model",
    "fit_batch_size",
    "fit_defense_classifier_outside_defense",
    "fraction_poisoned",
    "majority_masks",
    "poison_dataset",
    "source_class",
    "split_id",
    "target_class",
    "train_epochs",
    "use_poison_filtering_defense",
)
# Armory takes these out of the data set's block itself.
TAKEN_BY_ARMORY = ("batch_size", "eval_split", "framework", "module", "name", "train_split")


def check_config(config: Mapping[str, Any]) -> None:
    """
    :raises InvalidInputError: If ``adhoc``, the data set, the filter or the scenario has a key that is not read, or if
        there is a filter that ``adhoc`` does not turn on.
    """
    check_names(config["adhoc"], ADHOC, "adhoc")
    dataset = config["dataset"]
    given = [name for name in dataset if name not in TAKEN_BY_ARMORY]
    check_names(given, parameter_names(load(dataset)), f"dataset {dataset['name']}")
    defence = config["defense"]
    if is_filter(defence) and not config["adhoc"].get("use_poison_filtering_defense"):
        raise InvalidInputError(
            "The config has a filter in its block defense, but adhoc.use_poison_filtering_defense is not true, so that "
            "Armory would train on all samples; set it to true, or set defense to null."
        )
    if is_filter(defence) and not is_perfect_filter(defence):
        check_names(defence["kwargs"], filter_parameters(load(defence)), f"defense {defence['name']}")
    scenario = config["scenario"]
    check_names(scenario["kwargs"], parameter_names(load(scenario)), f"scenario {scenario['name']}")


def check_names(given: Collection[str], accepted: Collection[str], where: str) -> None:
    """
    :raises InvalidInputError: If one of the given names is not accepted.
    """
    unknown = sorted(set(given) - set(accepted))
    if unknown:
        raise InvalidInputError(
            f"{where} has no {', '.join(unknown)}; it takes: {', '.join(sorted(accepted)) or 'nothing'}."
        )


def bind(target: Callable[..., Any], kwargs: Mapping[str, Any], where: str) -> Any:
    """
    ``target(**kwargs)``.

    :raises InvalidInputError: If a name is unknown or missing.
    """
    parameters = inspect.signature(target).parameters
    check_names(kwargs, parameters, where)
    missing = [name for name, one in parameters.items() if one.default is one.empty and name not in kwargs]
    if missing:
        raise InvalidInputError(f"{where} needs {', '.join(missing)}.")
    return target(**kwargs)


def load(block: Mapping[str, Any]) -> Any:
    """
    What ``module`` and ``name`` of a block of a config say.

    :raises InvalidInputError: If there is no such thing.
    """
    try:
        return getattr(import_module(block["module"]), block["name"])
    except (ImportError, AttributeError) as error:
        raise InvalidInputError(f"{block['module']}.{block['name']} cannot be imported: {error}") from error


def is_filter(defence: Mapping[str, Any] | None) -> bool:
    """Whether the block is a filter; Armory hands defences of other types to the model, and checks them itself."""
    return defence is not None and defence.get("type") == "PoisonFilteringDefence"


def is_perfect_filter(defence: Mapping[str, Any]) -> bool:
    """Armory removes exactly the poison by itself, and imports no module."""
    return bool(defence["kwargs"].get("perfect_filter"))


def parameter_names(target: Callable[..., Any]) -> list[str]:
    """Names that a function, or a class and what it inherits, takes as keywords."""
    constructors = [one.__init__ for one in target.__mro__ if one is not object] if inspect.isclass(target) else [target]  # type: ignore[misc]
    names: list[str] = []
    for constructor in constructors:
        parameters = inspect.signature(constructor).parameters.values()
        names += [one.name for one in parameters if one.kind is not one.VAR_KEYWORD and one.name not in ("self", "config")]
    return names


def filter_parameters(defence: Any) -> list[str]:
    """Names that ``detect_poison`` of a filter takes: its own, and its ``defence_params``."""
    named = [
        one.name for one in inspect.signature(defence.detect_poison).parameters.values() if one.kind is not one.VAR_KEYWORD
    ]
    # Some list them only once they are built.
    built = defence(None, np.zeros((2, 2), dtype=np.float32), np.arange(2))
    return [name for name in named if name != "self"] + list(getattr(built, "defence_params", []))
