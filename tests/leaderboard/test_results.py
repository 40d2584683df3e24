"""What is read off the committed records: counts that the records have, each method under the title of its registry."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from art_plugins.evaluation.detectors import DETECTORS
from art_plugins.evaluation.filters import FILTERS
from art_plugins.leaderboard.needs import needs_of
from art_plugins.leaderboard.ranking import by_task, rates
from art_plugins.leaderboard.results import DETECTOR, FILTER, Result, n_not_judged, results_of
from art_plugins.reports.records import Gathered, gather

RECORDS = Path(__file__).parents[1] / "records"


@pytest.fixture(scope="module")
def gathered() -> list[Gathered]:
    return gather([RECORDS])


@pytest.fixture(scope="module")
def results(gathered: list[Gathered]) -> list[Result]:
    return results_of(gathered)


def runs(gathered: list[Gathered], name: str) -> list[dict[str, Any]]:
    (one,) = [one for one in gathered if one.name == name]
    found: list[dict[str, Any]] = one.record["runs"]
    return found


def of_filters(run: dict[str, Any], **changes: Any) -> Gathered:
    return Gathered("filters", "made", {"runs": [{**run, **changes}]}, RECORDS)


def test_results_of_filters_have_the_counts_of_the_record(gathered: list[Gathered], results: list[Result]) -> None:
    for run in runs(gathered, "filters_peers"):
        title = "Layer-wise features (trusted)" if run["filter"] == "layerwise" else run["filter_title"]
        own = [one for one in results if one.method == title and one.task.title.startswith(run["title"])]
        (one,) = [one for one in own if one.seed == run["seed"]]
        assert (one.caught, one.n_positive, one.alarms, one.n_negative) == (
            run["tp"],
            run["n_poison"],
            run["fp"],
            run["n_train"] - run["n_poison"],
        )
        assert one.seconds == pytest.approx(run["seconds"] / (run["n_train"] / 1000))


def test_results_of_detectors_have_the_rates_of_the_record(gathered: list[Gathered], results: list[Result]) -> None:
    run = runs(gathered, "layerwise_warp_peers")[0]
    own = {one.method: one for one in results if one.task.title.startswith(run["title"]) and one.seed == run["seed"]}
    for row in run["detectors"]:
        if row["title"].startswith(("TED", "Beatrix", "STRIP")):
            found = rates([own[row["title"].split(",")[0]]])
            assert (found.tpr, found.fpr) == (pytest.approx(row["tpr"]), pytest.approx(row["fpr"]))


def test_results_of_in_flight_are_the_default_and_the_papers_form(gathered: list[Gathered], results: list[Result]) -> None:
    run = runs(gathered, "in_flight_cifar10")[0]
    own = {one.method: one for one in results if one.task.title == f"{run['title']}; clean images of the target"}
    assert rates([own["In-flight detection"]]).tpr == pytest.approx(run["detectors"][-1]["tpr"])
    assert rates([own["In-flight detection, the paper's form"]]).fpr == pytest.approx(run["detectors"][0]["fpr"])
    assert {"Neural Cleanse", "B3D", "STRIP"} < set(own)


def test_results_every_method_is_one_that_the_registries_know(results: list[Result]) -> None:
    assert [one.method for one in results if not all(needs_of(one.task.kind, one.method))] == []
    assert needs_of(FILTER, "something else") == needs_of(DETECTOR, "something else") == ("", "")


def test_results_bounds_are_left_out_and_no_seed_counts_twice(results: list[Result]) -> None:
    assert not {one.method for one in results} & {one.title for one in FILTERS if one.origin == "bound"}
    for task in by_task(results):
        for own in task.values():
            assert len({one.seed for one in own}) == len(own)


def test_results_without_a_model_are_compared_on_every_model_of_the_same_set(gathered: list[Gathered]) -> None:
    run = next(run for run in runs(gathered, "filters") if run["attack"] == "patch")
    other = {**run, "title": "other", "case": {**run["case"], "network": "plain_cnn"}, "filter_title": "B", "filter": "b"}
    alone = {**run, "title": "no model", "case": {**run["case"], "network": "none", "nb_epochs": None}}
    alone |= {"filter_title": "VAE latent clustering", "filter": "vae_latent"}
    found = by_task(results_of([of_filters(run), of_filters(other), of_filters(alone)]))
    assert [sorted(task) for task in found] == [
        ["Layer-wise features (none trusted)", "VAE latent clustering"],
        ["B", "VAE latent clustering"],
    ]
    smaller = {**alone, "n_train": 100}
    found = by_task(results_of([of_filters(run), of_filters(smaller)]))
    assert [len(task) for task in found] == [1, 1]


def test_runs_that_were_not_judged_are_counted_and_give_no_result(gathered: list[Gathered]) -> None:
    weak = next(run for run in runs(gathered, "filters") if run["note"])
    assert results_of([of_filters(weak)]) == []
    assert n_not_judged([of_filters(weak), of_filters(weak, note=None, tp=1)]) == 1


def test_needs_are_those_of_the_registry() -> None:
    assert needs_of(FILTER, "VAE latent clustering") == ("this package", "labels")
    assert needs_of(FILTER, "IBD-PSC (trusted)") == (
        "other authors",
        "labels, a model, trusted samples, batch normalisation",
    )
    assert "trusted" not in needs_of(FILTER, "Layer-wise features (none trusted)")[1]
    assert "trusted" in needs_of(FILTER, "Layer-wise features, target FPR 0.01, 1000 trusted")[1]
    assert "trusted" not in needs_of(FILTER, "Layer-wise features, target FPR 0.01, none trusted")[1]
    assert all("trigger" in needs_of(DETECTOR, one.title)[1] for one in DETECTORS if one.needs_backdoor)
