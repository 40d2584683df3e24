"""What the scenario adds to Armory's: one seed for everything, and JSON without NaN."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from armory_scenarios.running import read_config

pytestmark = pytest.mark.usefixtures("engine")


@pytest.fixture
def scenario(digit_files: Path) -> Iterator[Any]:
    """Of MNIST's white box with a filter whose draws are seeded; the seed is 7."""
    from armory.instrument import del_globals

    from armory_scenarios.scenario import PoisonScenario

    config = read_config("mnist/white_box_multi_layerwise", seed=7)
    config["dataset"] |= {"dataset_dir": str(digit_files)}
    yield PoisonScenario({**config, "eval_id": "test"})
    del_globals()


def test_split_id_seeds_torch_the_model_and_the_defence(scenario: Any) -> None:
    with torch.random.fork_rng(devices=[]):
        scenario.set_random_seed()
        scenario.load_model()
        assert torch.initial_seed() == 7
    assert scenario.model.training.random_state == 7
    assert scenario.model.nb_classes == 10
    assert scenario.config["defense"]["kwargs"]["random_state"] == 7
    assert "random_state" not in scenario.original_config["defense"]["kwargs"]


def test_random_state_that_the_config_names_is_kept(scenario: Any) -> None:
    scenario.config["defense"]["kwargs"]["random_state"] = 3
    with torch.random.fork_rng(devices=[]):
        scenario.set_random_seed()
        scenario.load_model()
    assert scenario.config["defense"]["kwargs"]["random_state"] == 3


def test_without_nan_replaces_it_however_deep() -> None:
    from armory_scenarios.scenario import without_nan

    value = {"a": [1, float("nan"), {"b": np.float64("inf")}], "c": np.float32(0.5), "d": "nan"}
    assert without_nan(value) == {"a": [1, None, {"b": None}], "c": np.float32(0.5), "d": "nan"}


def test_detection_scenario_needs_an_attack() -> None:
    from armory.instrument import del_globals

    from armory_scenarios.detection import LayerwiseScenario
    from art_plugins.errors import InvalidInputError

    config = read_config("mnist/white_box_multi_layerwise_detection", fraction=0.0)
    with pytest.raises(InvalidInputError, match=r"set adhoc\.poison_dataset to true"):
        LayerwiseScenario({**config, "eval_id": "test"}).load()
    del_globals()


@pytest.mark.parametrize(("folder", "precision"), [("mnist", "32-true"), ("cifar10", "bf16-mixed")])
def test_in_flight_scenario_inverts_in_the_precision_of_the_training(
    folder: str, precision: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from armory.instrument import del_globals

    from armory_scenarios import detection

    given: dict[str, Any] = {}
    row = dict.fromkeys(("tpr", "tpr_of_all", "fpr", "fpr_of_all", "sia", "sia_of_all"), 1.0)
    found = {"inversion": {"right_target": True}, "detectors": [row]}
    monkeypatch.setattr(detection, "evaluate_in_flight", lambda *_, **options: given.update(options) or found)
    scenario = detection.InFlightScenario({**read_config(f"{folder}/white_box_multi_in_flight", seed=5), "eval_id": "test"})
    with torch.random.fork_rng(devices=[]):
        scenario.set_random_seed()
    monkeypatch.setattr(scenario, "model", None, raising=False)
    monkeypatch.setattr(scenario, "target_class", 9, raising=False)
    assert scenario.measure(None) == found
    assert given["precision"] == precision
    assert given["random_state"] == 5
    del_globals()
