"""Tables of Armory's results, and the names of the configs to run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from armory_scenarios import running
from armory_scenarios.__main__ import app
from armory_scenarios.running import find_configs, first_error, read_config
from art_plugins.errors import InvalidInputError
from art_plugins.reports.record_files import ARMORY
from art_plugins.reports.records import record_markdown


def run(defence: str, seed: int, success: float, **results: Any) -> dict[str, Any]:
    found = {
        "N_poisoned_train_samples": [5],
        "N_clean_train_samples": [95],
        "N_source_class_test_samples": [10],
        "N_test_samples": [40],
        "attack_success_rate": [success],
        "accuracy_on_benign_test_data_all_classes": [0.75],
        "fraction_data_removed": [0.0],
    }
    return {"attack": "A", "fraction": 0.1, "defence": defence, "seed": seed, "results": {**found, **results}}


def test_armory_report_mean_and_range_over_seeds() -> None:
    meter = [{"true_positive_rate": 1.0, "false_positive_rate": None}]
    runs = [run("none", 0, 0.9), run("none", 1, 0.7), run("good", 0, 0.0, filter=meter)]
    lines = record_markdown({"kind": ARMORY, "runs": runs}).splitlines()
    assert lines[0] == (
        "A, 10 % of each source class: 5 of 100 training samples are poison; 10 triggered and 40 clean test samples; "
        "seeds: 0, 1."
    )
    assert lines[4] == "| none | — | — | 0.000 | 0.800 (0.700 to 0.900) | 0.750 |"
    assert lines[5] == "| good | 1.000 | — | 0.000 | 0.000 | 0.750 |"


def test_armory_report_of_detectors_has_both_denominators() -> None:
    row = {"form": ["tied", 2, 0.5, 0.0], "tpr": 1.0, "tpr_of_all": 0.9, "fpr": 0.1, "fpr_of_all": 0.2, "sia": 0.8}
    row |= {"sia_of_all": 0.7}
    detection = {"detectors": [row], "baselines": [{"title": "STRIP", "tpr": 0.25, "fpr": 0.5}]}
    lines = record_markdown({"kind": ARMORY, "runs": [run("in flight", 0, 0.99, in_flight=detection)]}).splitlines()
    assert lines[0].endswith("seeds: 0. The attack succeeds on 0.990.")
    assert lines[4] == "| tied, 2 layers, square root | 1.000 | 0.900 | 0.100 | 0.200 | 0.800 | 0.700 |"
    assert lines[5] == "| STRIP | 0.250 | — | 0.500 | — | — | — |"


def test_find_configs_keeps_the_order_of_the_patterns() -> None:
    found = find_configs(["mnist/white_box_multi_vae_latent", "mnist/white_box_multi_vae*"])
    assert found == ["mnist/white_box_multi_vae_latent", "mnist/white_box_multi_vae_latent_paper"]


def test_find_configs_pattern_without_match_is_named() -> None:
    with pytest.raises(InvalidInputError, match="No config matches 'minst/"):
        find_configs(["minst/*"])


def test_read_config_other_seed_and_fraction() -> None:
    config = read_config("speech_commands/clapping_p10_vae_latent", 2, 0.0)
    assert config["adhoc"]["split_id"] == 2
    assert config["adhoc"]["fraction_poisoned"] == 0.0
    assert config["adhoc"]["poison_dataset"] is False


def test_first_error_is_the_message_without_colours() -> None:
    level, place = "\x1b[31mERROR   \x1b[0m", "\x1b[36ma.b\x1b[0m:\x1b[36mf\x1b[0m:\x1b[36m9\x1b[0m"
    line = f"2026-11-21 12:13:15 1m2s {level} {place} It broke: x.\n"
    assert first_error(f"INFO no ERROR yet\n{line}{line.replace('It', 'Later it')}") == "It broke: x."
    assert first_error("nothing") == "no error was logged."


def test_quick_runs_are_one_table_that_says_which_ended_and_why_others_did_not() -> None:
    ended = {**run("good", 0, 0.0, N_samples_removed=[7]), "config": "a/b", "quick": True, "error": None, "seconds": 1.25}
    failed = {**ended, "config": "a/c", "error": "armory run ended with status 1: no.", "results": {}}
    lines = record_markdown({"kind": ARMORY, "runs": [ended, failed, run("none", 0, 0.9)]}).splitlines()
    assert lines[0].startswith("A, 10 % of each source class: 5 of 100")
    assert any(line.startswith("1 of 2 configs came to their end at a small size") for line in lines)
    assert "| a/b | yes | 5 | 100 | 7 | 10 | 1.2 |  |" in lines
    assert "| a/c | no | — | — | — | — | 1.2 | armory run ended with status 1: no. |" in lines


def test_share_of_an_attack_on_the_whole_set_is_told_as_such() -> None:
    whole = {**run("none", 0, 0.9), "share_of": "the training set"}
    assert "A, 10 % of the training set: 5 of 100" in record_markdown({"kind": ARMORY, "runs": [whole]})


@pytest.mark.parametrize("arguments", [[], ["mnist/*", "--all"]])
def test_run_needs_either_names_or_all(arguments: list[str]) -> None:
    result = CliRunner().invoke(app, ["run", *arguments, "--quick"])
    assert isinstance(result.exception, InvalidInputError)
    assert "Name configs" in str(result.exception)


def test_quick_run_keeps_the_error_of_a_config_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def run_config(config: dict[str, Any], log: Path) -> dict[str, Any]:
        if config["attack"]["kwargs"]["attack"] == "tact":
            raise InvalidInputError("armory run ended with status 1.")
        return {"armory_version": "1", "results": {"N_samples_removed": [config["dataset"]["cap"]]}}

    monkeypatch.setattr(running, "run_config", run_config)
    arguments = ["run", "cifar10/tact_undefended", "cifar10/warp_undefended", "--quick", "--out", str(tmp_path)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 0, result.output
    runs = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"))["runs"]
    assert [(one["error"], one["share_of"]) for one in runs] == [
        ("armory run ended with status 1.", "the training set"),
        (None, "the training set"),
    ]
    assert runs[1]["results"] == {"N_samples_removed": [60]}
    assert "1 of 2 configs came to their end" in (tmp_path / "table.md").read_text(encoding="utf-8")
