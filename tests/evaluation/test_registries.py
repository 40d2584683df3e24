"""The registries of filters and detectors: names and titles are unique, and every user takes them from there."""

from __future__ import annotations

import json
import re
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from armory_scenarios.table import filters as armory_filters
from art_plugins.attacks.tasks import Task
from art_plugins.evaluation.detectors import DETECTORS, LAYERWISE_DETECTORS, detectors_of
from art_plugins.evaluation.filters import FILTERS, LAYERWISE_FILTERS, ONE_SIGMA, Filter, filter_named, installed_filters
from art_plugins.evaluation.peers import PEER_FPR
from art_plugins.reports.comparison.rate_figures import BOUNDS

RECORDS = Path(__file__).parents[1] / "records"
WITHOUT_SEED = ("spectre", "agpd", "ibd_psc")
X, Y = np.zeros((4, 1, 8, 8), dtype=np.float32), np.array([0, 0, 1, 1])


def runs(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))["runs"]
    return found


def test_names_and_titles_are_unique() -> None:
    for values in (
        [one.name for one in FILTERS],
        [one.title for one in FILTERS],
        [one.title for one in DETECTORS],
        [one.title for one in LAYERWISE_DETECTORS],
    ):
        assert len(set(values)) == len(values)


def test_committed_comparison_has_the_titles_and_the_notes_of_the_registry() -> None:
    """Filters that were added after the record was measured are not in it."""
    for task in runs("default"):
        names = {row["name"] for row in task["defences"]}
        assert names >= {one.name for one in FILTERS if one.origin != "peer"}
        expected = [(one.name, one.title, one.note) for one in FILTERS if one.name in names]
        assert [(row["name"], row["title"], row["note"]) for row in task["defences"]] == expected


def test_committed_layerwise_records_have_the_titles_of_the_registries() -> None:
    of_others = [f"{one.title}, target FPR {PEER_FPR:g}" for one in DETECTORS if "layerwise" in one.evaluations]
    of_rules = [one.title for one in LAYERWISE_DETECTORS]
    titles = [row["title"] for row in runs("layerwise_warp_peers")[0]["detectors"]]
    assert titles == of_rules + [title for title in of_others if title in titles]  # others were added later
    (first, *_) = runs("layerwise")
    of_rules = [f"{one.title}, {which} trusted" for one in LAYERWISE_FILTERS for which in (first["n_trusted"], "none")]
    assert [row["title"] for row in first["filters"]] == of_rules + [one.title for one in FILTERS if one.origin == "art"]


def test_page_of_the_peers_has_the_figures_of_the_record() -> None:
    measured = {row["title"]: row["auroc"] for row in runs("layerwise_new_peers")[0]["detectors"]}
    page = (RECORDS.parents[1] / "docs" / "peers.md").read_text(encoding="utf-8")
    shown = dict(re.findall(r"^\| (\S+) \| [^|]+ \| (0\.\d{3}) \|$", page, re.MULTILINE))
    assert shown == {
        name: f"{measured[f'{name}, target FPR 0.02']:.3f}" for name in ("TED++", "TED", "IBD-PSC", "BaDExpert")
    }


def test_committed_in_flight_record_has_the_baselines_of_the_registry() -> None:
    assert [row["title"] for row in runs("in_flight")[0]["baselines"]] == [one.title for one in detectors_of("in-flight")]


def test_bounds_of_the_figures_are_those_of_the_registry() -> None:
    assert [one.name for one in FILTERS if one.origin == "bound"] == [*BOUNDS]


def test_armory_configs_have_the_settings_of_the_registry() -> None:
    blocks = armory_filters({"name": "digits"}, {"nb_epochs": 1})
    for name, block in (
        ("vae_latent", blocks["vae_latent"]),
        ("layerwise_trusted", blocks["layerwise"]),
        ("activation_clustering_penultimate", blocks["activation_defense_penultimate"]),
        ("spectral_signatures_penultimate", blocks["spectral_signature_defense_penultimate"]),
    ):
        one = filter_named(name)
        assert block is not None
        assert block["name"] == one.kind.__name__
        assert {**block["kwargs"], **one.settings} == block["kwargs"]


@pytest.mark.parametrize("one", installed_filters("own", "art", "peer"), ids=lambda one: one.name)
def test_filter_is_made_with_its_settings_and_its_seed(one: Filter) -> None:
    made = one.make(None, X, Y, 7)
    assert type(made) is one.kind
    assert all(getattr(made, name) == value for name, value in one.settings.items())
    assert getattr(made, "random_state", 7) == 7
    assert hasattr(made, "random_state") == (one.name not in WITHOUT_SEED)


def test_settings_of_a_task_replace_its_seed() -> None:
    data: Any = SimpleNamespace(x_train=X, y_train=Y)
    task = Task("digits", "Digits", data, {}, seed=5, defence={"random_state": 8, "batch_size": 2})
    made: Any = filter_named("vae_latent").make_for(task, None)
    assert (made.random_state, made.batch_size) == (8, 2)
    other: Any = filter_named("layerwise").make_for(task, None)
    assert other.random_state == 5


def test_further_arguments_replace_the_settings() -> None:
    made: Any = filter_named("activation_clustering_logits").make(None, X, Y, 3, features="penultimate")
    assert (made.features, made.random_state) == ("penultimate", 3)


def test_filters_that_take_hours_are_measured_by_name_only() -> None:
    assert "cognitive_distillation" not in [one.name for one in installed_filters()]
    made: Any = filter_named("cognitive_distillation").make(None, X, Y, 3)
    assert (made.detector, made.detector_params) == ("cognitive_distillation", {"fpr": ONE_SIGMA})
    assert "confusion_training" not in [one.name for one in installed_filters()]
    made = filter_named("confusion_training").make(None, X, Y, 3)
    assert (type(made).__name__, made.random_state) == ("ConfusionTraining", 3)
