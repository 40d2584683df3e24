"""Configs carried out by Armory's own command, made small: the figures of the results JSON, and what fails how."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from armory_scenarios.running import read_config, run_config, run_record
from art_plugins.errors import InvalidInputError

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("engine", "armory_home")]
Run = Callable[[dict[str, Any]], dict[str, Any]]


def small_image_config(name: str) -> dict[str, Any]:
    """On 1,000 digits, of which a tenth of every source class is poisoned."""
    config = read_config(f"mnist/white_box_multi_{name}", fraction=0.1)
    config["adhoc"]["train_epochs"] = 20
    config["dataset"] |= {"batch_size": 32, "n_validation": 30}
    config["model"]["wrapper_kwargs"]["learning_rate"] = 0.03
    trusted = (config["defense"] or {"kwargs": {}})["kwargs"].get("trusted")
    if trusted is not None:
        trusted["n_validation"] = 30
    return config


@pytest.fixture
def digits_run(digit_files: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs a config on the small digits; gives the results."""
    monkeypatch.setenv("ART_PLUGINS_DATA", str(digit_files))

    def run(config: dict[str, Any]) -> dict[str, Any]:
        results: dict[str, Any] = run_config(config, tmp_path / "log.txt")["results"]
        return results

    return run


def n_poison_of_digits(digit_files: Path) -> int:
    with np.load(digit_files / "mnist.npz") as arrays:
        return int(sum(int(0.1 * count) for count in np.bincount(arrays["y_train"])[:9]))


def test_image_attack_works_and_the_perfect_filter_ends_it(digits_run: Run, digit_files: Path) -> None:
    undefended = digits_run(small_image_config("undefended"))
    perfect = digits_run(small_image_config("perfect_filter"))
    assert undefended["N_poisoned_train_samples"] == [n_poison_of_digits(digit_files)]
    assert undefended["N_test_samples"] == [497]
    assert undefended["attack_success_rate"][0] > 0.9
    assert perfect["attack_success_rate"][0] < 0.1
    for results in (undefended, perfect):
        assert results["accuracy_on_benign_test_data_all_classes"][0] > 0.9
        assert len(results["accuracy_on_benign_test_data_per_class"][0]) == 10
    (meter,) = perfect["filter"]
    assert (meter["true_positive_rate"], meter["false_positive_rate"]) == (1.0, 0.0)
    assert meter["true_positives"] == n_poison_of_digits(digit_files)


def test_two_runs_of_one_config_give_the_same_figures(
    digits_run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = small_image_config("layerwise")
    first = digits_run(config)
    again_home = tmp_path / "again"
    again_home.mkdir()
    monkeypatch.setenv("HOME", str(again_home))  # nothing is in the cache
    assert digits_run(config) == first


def test_in_flight_config_finds_the_trigger(digits_run: Run) -> None:
    config = small_image_config("in_flight")
    config["scenario"]["kwargs"]["nb_steps"] = 400
    results = digits_run(config)
    assert results["attack_success_rate"][0] > 0.9
    assert results["in_flight_right_target"] == [True]
    figures = {name: results[f"in_flight_{name}"][0] for name in ("tpr", "tpr_of_all", "fpr", "sia", "sia_of_all")}
    assert figures["tpr"] > 0.9
    assert figures["tpr_of_all"] <= figures["tpr"]
    assert figures["sia_of_all"] <= figures["sia"] <= figures["tpr"]
    assert figures["fpr"] < 0.2
    row = results["in_flight"]["detectors"][0]
    assert row["n_triggered"] == results["N_source_class_test_samples"][0]
    assert {"neural_cleanse_tpr", "b3d_tpr", "strip_tpr"} <= set(results)


def test_layerwise_config_goes_over_tau(digits_run: Run) -> None:
    results = digits_run(small_image_config("layerwise_detection"))
    for curve in results["layerwise"]["curves"].values():
        assert [point["tau"] for point in curve] == sorted(point["tau"] for point in curve)
        for rate in ("tpr", "fpr"):
            values = [point[rate] for point in curve]
            assert values == sorted(values, reverse=True)
    assert results["layerwise"]["detectors"][0]["n_triggered"] == results["N_source_class_test_samples"][0]


def test_speech_configs_filter_the_poison(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_PLUGINS_DATA", str(data_root))
    found = {}
    for name in ("perfect_filter", "vae_latent"):
        config = read_config(f"speech_commands/clapping_p10_{name}", fraction=0.5)
        config["dataset"]["cap"] = 100
        config["model"]["model_kwargs"]["network"] = "cnn"
        if name == "vae_latent":
            config["defense"]["kwargs"]["nb_epochs"] = 8
        found[name] = run_config(config, tmp_path / "log.txt")["results"]
    for results in found.values():
        assert results["N_poisoned_train_samples"] == [50]
        assert results["N_source_class_test_samples"][0] > 100
        assert results["accuracy_on_benign_test_data_all_classes"][0] > 2 / 12
    assert found["perfect_filter"]["filter"][0]["true_positive_rate"] == 1.0
    meter = found["vae_latent"]["filter"][0]
    # A hundred clips a class and eight epochs: what counts here is that Armory carries it to the end.
    assert meter["true_positive_rate"] > 0.5
    assert meter["false_positive_rate"] < 0.1
    assert meter["true_positives"] + meter["false_positives"] == found["vae_latent"]["N_samples_removed"][0]


def test_misspelt_name_ends_the_run_with_a_sentence_before_training(
    digit_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ART_PLUGINS_DATA", str(digit_files))
    config = small_image_config("vae_latent")
    config["defense"]["kwargs"]["nb_epoch"] = 3
    with pytest.raises(InvalidInputError, match=r"status 1: .*VAELatentDefence has no nb_epoch; it takes: "):
        run_config(config, tmp_path / "log.txt")
    log = (tmp_path / "log.txt").read_text(encoding="utf-8")
    assert "Traceback" not in log
    assert "Loading dataset" not in log


def test_missing_data_ends_the_run_with_a_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_PLUGINS_DATA", str(tmp_path))
    with pytest.raises(InvalidInputError, match=r"status 1: .*fashion_mnist\.npz does not exist"):
        run_record("fashion_mnist/white_box_multi_undefended", None, None, tmp_path / "log.txt")


def test_file_given_to_armorys_script_is_run_with_a_readable_log(
    digit_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ART_PLUGINS_DATA", str(digit_files))
    path = tmp_path / "config.json"
    path.write_text(json.dumps(small_image_config("undefended")), encoding="utf-8")
    script = Path(sys.executable).with_name("armory")
    done = subprocess.run([script, "run", path, "--no-docker"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    log = done.stdout + done.stderr
    assert "Saving evaluation results" in log
    # Of Armory: twice two that it is not configured, and one of tensorflow-datasets.
    assert log.count("Warning") + log.count("WARNING") <= 12
    (results,) = Path.home().glob(".armory/outputs/*/*.json")
    assert json.loads(results.read_text(encoding="utf-8"))["config"]["scenario"]["name"] == "PoisonScenario"


def test_attack_of_the_zoo_poisons_the_whole_set_and_a_peer_judges_it(
    digit_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ART_PLUGINS_DATA", str(digit_files))
    config = read_config("fashion_mnist/tact_undefended")
    config["dataset"] |= {"name": "mnist", "batch_size": 32, "n_validation": 30}
    config["defense"] = read_config("mnist/white_box_multi_agpd")["defense"]
    config["defense"]["kwargs"]["trusted"] |= {"n_validation": 30}
    config["adhoc"] |= {"use_poison_filtering_defense": True, "fraction_poisoned": 0.05, "train_epochs": 5}
    results = run_config(config, tmp_path / "log.txt")["results"]
    assert results["N_poisoned_train_samples"] == [50]
    with np.load(digit_files / "mnist.npz") as arrays:
        held_out = arrays["y_test"]
    assert results["N_source_class_test_samples"] == [int((held_out == 0).sum()) - 30]
    meter = results["filter"][0]
    assert meter["true_positives"] + meter["false_positives"] == results["N_samples_removed"][0]


@pytest.mark.skipif(not Path("/proc/self/environ").exists(), reason="looks for processes in /proc")
def test_killed_run_leaves_no_process_of_armorys_behind(digit_files: Path, tmp_path: Path) -> None:
    mark = f"ART_PLUGINS_MARK={uuid.uuid4().hex}"
    name, _, value = mark.partition("=")

    def marked() -> list[str]:
        """Command lines of the processes that came from the run; one that has ended has none."""
        found = []
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                if mark.encode() in (folder / "environ").read_bytes():
                    found.append((folder / "cmdline").read_bytes().decode().replace("\0", " "))
            except OSError:
                continue
        return [command for command in found if command]

    command = [sys.executable, "-m", "armory_scenarios", "run", "mnist/white_box_multi_undefended", "--quick"]
    environment = {**os.environ, "ART_PLUGINS_DATA": str(digit_files), name: value}
    asking = subprocess.Popen([*command, "--out", str(tmp_path / "out")], env=environment, stdout=subprocess.DEVNULL)
    try:
        end = time.monotonic() + 120
        while not any("armory.scenarios.main" in one for one in marked()):
            assert asking.poll() is None
            assert time.monotonic() < end, marked()
            time.sleep(0.2)
    finally:
        asking.kill()
    asking.wait(timeout=20)
    end = time.monotonic() + 20
    while marked():
        assert time.monotonic() < end, marked()
        time.sleep(0.2)
