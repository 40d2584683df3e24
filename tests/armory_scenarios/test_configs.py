"""Every config: written by the table, valid, sorted, and without a name that nobody reads."""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import armory_scenarios
from armory_scenarios.checks import ADHOC, check_names, filter_parameters, is_perfect_filter, load, parameter_names
from armory_scenarios.generate import FOLDER, config_text, generate
from armory_scenarios.models import get_art_model
from armory_scenarios.quick import quick
from armory_scenarios.running import find_configs, read_config
from armory_scenarios.table import ZOO_SETS
from art_plugins.attacks.zoo.attack import Attack
from art_plugins.attacks.zoo.registry import IMAGE_ATTACKS, SOUND_ATTACKS
from art_plugins.errors import InvalidInputError

PATHS = sorted(FOLDER.glob("**/*.json"))
IDS = [str(path.relative_to(FOLDER).with_suffix("")) for path in PATHS]
HAS_ENGINE = importlib.util.find_spec("tensorflow") is not None
OURS = ("trusted", "ignored_classes")  # what the filters of the configs add to their parameters
NEED_ENGINE = ("armory_scenarios.scenario", "armory_scenarios.detection")
every_config = pytest.mark.parametrize("path", PATHS, ids=IDS)


def read(path: Path) -> dict[str, Any]:
    config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    return config


def named(config: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Every block that names a module, however deep."""
    for value in config.values():
        if isinstance(value, dict):
            if "module" in value and not ("kwargs" in value and is_perfect_filter(value)):
                yield value
            yield from named(value)


def needs_engine(module: str) -> bool:
    return module.startswith("armory.") or module in NEED_ENGINE


def defined_names(module: str) -> set[str]:
    """Top-level functions and classes, read from the source without running it."""
    parts = module.split(".")
    spec = importlib.util.find_spec(parts[0])
    assert spec is not None
    assert spec.submodule_search_locations
    source = Path(spec.submodule_search_locations[0]).joinpath(*parts[1:]).with_suffix(".py").read_text(encoding="utf-8")
    return {node.name for node in ast.parse(source).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))}


def test_table_covers_what_is_promised() -> None:
    filters = {"undefended", "perfect_filter", "random_filter", "activation_defense", "spectral_signature_defense"}
    filters |= {"vae_latent", "vae_latent_paper", "layerwise"}
    triggers, fractions = ("clapping", "whistle", "car_horn", "dog_clicker"), ("p00", "p01", "p05", "p10", "p20", "p30")
    promised = {f"speech_commands/{trigger}_{percent}_undefended" for trigger in triggers for percent in fractions}
    promised |= {f"speech_commands/{trigger}_p10_{name}" for trigger in triggers for name in filters}
    for folder in ("cifar10", "mnist", "fashion_mnist", "gtsrb"):
        promised |= {f"{folder}/white_box_multi_{name}" for name in filters}
        for trigger in ("chessboard", "single_pixel", "white_box"):
            for sources in ("multi", "single"):
                promised |= {f"{folder}/{trigger}_{sources}_{name}" for name in ("in_flight", "layerwise_detection")}
    for name in set(IMAGE_ATTACKS) - {"patch", "chessboard"}:
        promised |= {
            f"{folder}/{name}_{defence}" for folder in ZOO_SETS for defence in ("undefended", "layerwise_untrusted")
        }
    for name in set(SOUND_ATTACKS) - {"clapping", "ultrasonic"}:
        stem = f"speech_commands/{name}" if SOUND_ATTACKS[name].keeps_labels else f"speech_commands/{name}_p10"
        promised |= {f"{stem}_undefended", f"{stem}_vae_latent"}
    peers = {"spectre", "pyod_ecod", "psbd", "agpd", "cleanlab", "layerwise_untrusted"}
    promised |= {f"speech_commands/clapping_p10_{name}" for name in peers}
    promised |= {f"{folder}/white_box_multi_{name}" for name in peers for folder in ("mnist", "fashion_mnist")}
    promised |= {
        f"{folder}/white_box_multi_{name}" for name in {*peers, "flare", "ibd_psc"} for folder in ("cifar10", "gtsrb")
    }
    assert promised <= set(IDS)


@every_config
def test_quick_config_is_small_and_names_nothing_that_is_not_read(path: Path) -> None:
    config = read(path)
    small = quick(config)
    assert config == read(path)
    assert small["dataset"]["cap"] <= 60
    assert small["adhoc"]["train_epochs"] <= 2
    assert small["adhoc"]["poison_dataset"] == config["adhoc"]["poison_dataset"]
    for block in named(small):
        if block["module"] == "armory_scenarios.datasets":
            check_names(set(block) - {"module", "name"}, parameter_names(load(block)), "dataset")


def test_files_are_what_the_table_writes(tmp_path: Path) -> None:
    written = generate(tmp_path)
    assert {path.relative_to(tmp_path): path.read_text(encoding="utf-8") for path in written} == {
        path.relative_to(FOLDER): path.read_text(encoding="utf-8") for path in PATHS
    }, "run python -m armory_scenarios.generate"


def test_generate_leaves_configs_of_others_alone(tmp_path: Path) -> None:
    (tmp_path / "mnist").mkdir()
    (tmp_path / "mnist" / "mine.json").write_text("{}")
    generate(tmp_path)
    assert (tmp_path / "mnist" / "mine.json").read_text() == "{}"


@every_config
def test_config_is_valid_by_armorys_schema(path: Path) -> None:
    from armory.utils.configuration import load_config

    assert load_config(str(path))["_description"]


def test_configs_are_sorted_indented_by_four_and_hold_no_absolute_path() -> None:
    for path in PATHS:
        text = path.read_text(encoding="utf-8")
        assert text == config_text(read(path)), path
        assert absolute_paths(text) == [], path


def absolute_paths(text: str) -> list[str]:
    return re.findall(r'"(?:/|~|[A-Za-z]:[\\/])[^"]*"', text)


@pytest.mark.parametrize("text", ['{"a": "/data/x"}', '["~/x"]', '{"a": "C:\\\\x"}'])
def test_absolute_paths_planted_one_is_found(text: str) -> None:
    assert len(absolute_paths(text)) == 1


@every_config
def test_modules_and_names_of_config_exist(path: Path) -> None:
    for block in named(read(path)):
        if needs_engine(block["module"]) and not HAS_ENGINE:
            assert block["name"] in defined_names(block["module"])
        else:
            assert callable(load(block))


@every_config
def test_names_in_config_are_those_that_their_targets_take(path: Path) -> None:
    config = read(path)
    check_names(config["adhoc"], ADHOC, "adhoc")
    model = {"nb_classes": 12, **config["model"]["model_kwargs"]}  # counted by the scenario where it is not named
    assert nb_classes_of(json.dumps([model, config["model"]["wrapper_kwargs"]])) == 12
    for block in named(config):
        if needs_engine(block["module"]) and not HAS_ENGINE:
            continue
        target = load(block)
        if block["module"] == "armory_scenarios.datasets":
            check_names(set(block) - {"module", "name"}, parameter_names(target), "dataset")
        elif hasattr(target, "detect_poison"):
            check_names(block["kwargs"], filter_parameters(target), "defense")
            if hasattr(target, "defence_params") and block["module"].startswith(("art", "armory_scenarios")):
                built = target(None, *tiny_set())
                built.set_params(**{name: value for name, value in block["kwargs"].items() if name not in OURS})
        elif block is config["attack"]:
            from art.attacks.poisoning import PoisoningAttackBackdoor

            assert isinstance(target(**block["kwargs"]), (PoisoningAttackBackdoor, Attack))


@functools.cache
def nb_classes_of(arguments: str) -> int:
    """Of the model that the arguments of many configs make."""
    return int(get_art_model(*json.loads(arguments)).nb_classes)


def tiny_set() -> tuple[Any, Any]:
    import numpy as np

    return np.zeros((2, 2), dtype=np.float32), np.arange(2)


def test_every_config_of_the_package_is_below_a_folder_of_its_task() -> None:
    assert {path.parent.parent for path in PATHS} == {Path(armory_scenarios.__file__).parent}


def test_configs_of_one_attack_differ_in_defence_and_description_alone() -> None:
    undefended = read(FOLDER / "speech_commands" / "clapping_p10_undefended.json")
    for path in FOLDER.glob("speech_commands/clapping_p10_*.json"):
        config = read(path)
        differing = {key for key in config if config[key] != undefended[key]}
        assert differing <= {"_description", "adhoc", "defense"}
        config["adhoc"].pop("use_poison_filtering_defense")
        assert config["adhoc"].items() <= undefended["adhoc"].items()


@pytest.mark.parametrize(
    ("block", "name"),
    [("adhoc", "fraction_poisonned"), ("dataset", "capp"), ("defense", "nb_epoch"), ("scenario", "nb_step")],
)
def test_check_config_misspelt_name_is_named(engine: None, block: str, name: str) -> None:
    from armory_scenarios.checks import check_config

    config = read(FOLDER / "speech_commands" / "clapping_p10_vae_latent.json")
    check_config(config)
    place = config[block]["kwargs"] if block in ("defense", "scenario") else config[block]
    place[name] = 1
    with pytest.raises(InvalidInputError, match=f"has no {name}; it takes: "):
        check_config(config)


def test_check_config_filter_that_nobody_turns_on_is_refused(engine: None) -> None:
    from armory_scenarios.checks import check_config

    config = read(FOLDER / "speech_commands" / "clapping_p10_vae_latent.json")
    config["adhoc"]["use_poison_filtering_defense"] = False
    with pytest.raises(InvalidInputError, match="use_poison_filtering_defense is not true"):
        check_config(config)
    check_config({**config, "defense": None})
    check_config(
        {**config, "defense": {"type": "Trainer", "module": "armory.no", "name": "No", "kwargs": {}}}
    )  # Armory's own


@pytest.mark.parametrize(("block", "name"), [("model_kwargs", "nb_class"), ("wrapper_kwargs", "lr")])
def test_get_art_model_misspelt_name_is_named(block: str, name: str) -> None:
    model = read(FOLDER / "speech_commands" / "clapping_p10_undefended.json")["model"]
    model[block][name] = 1
    with pytest.raises(InvalidInputError, match=f"{block} has no {name}; it takes: "):
        get_art_model(model["model_kwargs"], model["wrapper_kwargs"])


def test_config_of_ones_own_is_named_by_its_path(tmp_path: Path) -> None:
    mine = tmp_path / "mine.json"
    mine.write_text(json.dumps(read_config("mnist/white_box_multi_layerwise") | {"_description": "Mine"}))
    (name,) = find_configs([str(mine)])
    config = read_config(name, seed=3)
    assert (config["_description"], config["adhoc"]["split_id"]) == ("Mine", 3)
    with pytest.raises(InvalidInputError, match=r"No config matches .*gone.json.*ends in \.json"):
        find_configs([str(tmp_path / "gone.json")])


@pytest.mark.parametrize(
    ("text", "said"), [("{", "is no JSON"), ("[]", "has no _description"), ('{"adhoc": {}}', "has no .*model")]
)
def test_config_of_ones_own_that_cannot_be_run_is_refused_before(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "mine.json").write_text(text)
    (name,) = find_configs([str(tmp_path / "mine.json")])
    with pytest.raises(InvalidInputError, match=said):
        read_config(name)
    (tmp_path / "mine.yaml").write_text(text)
    with pytest.raises(InvalidInputError, match="No config matches"):
        find_configs([str(tmp_path / "mine.yaml")])
