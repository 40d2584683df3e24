"""The blocks of the page: published figures beside those of the records, stars, and a row for a method of one's own."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from art_plugins import cli
from art_plugins.leaderboard.published import distances
from art_plugins.leaderboard.ranking import by_task
from art_plugins.leaderboard.results import FILTER, Result, Task, results_of
from art_plugins.leaderboard.tables import NAMES, leaderboard_blocks, task_table
from art_plugins.reports.records import Gathered, gather
from art_plugins.storage import read_record, write_json

RECORDS = Path(__file__).parents[1] / "records"
DIGITS = Task(FILTER, "Digits", "patch", "patch")


@pytest.fixture(scope="module")
def gathered() -> list[Gathered]:
    return gather([RECORDS])


def test_distances_are_of_the_committed_figures(gathered: list[Gathered]) -> None:
    found = {(one.method, one.attack): one for one in distances(gathered, results_of(gathered))}
    (of_peers,) = [one.record for one in gathered if one.name == "layerwise_cifar10_peers"]
    (row,) = [row for row in of_peers["runs"][0]["detectors"] if row["title"].startswith("SCALE-UP, data-limited")]
    one = found["SCALE-UP", "BadNets"]
    assert one.published == (0.946, 0.277)
    assert one.measured == (pytest.approx(row["tpr"]), pytest.approx(row["fpr"]))
    (in_flight,) = [one.record for one in gathered if one.name == "in_flight_cifar10"]
    (run,) = [run for run in in_flight["runs"] if run["case"]["trigger"] == "white_box"]
    (row,) = [row for row in run["baselines"] if row["title"] == "B3D"]
    one = found["B3D", "white box from all classes"]
    assert (one.published, one.measured) == ((0.0535, 0.0511), (row["swept_tpr"], row["swept_fpr"]))


def test_distances_what_was_not_measured_has_no_figure() -> None:
    assert {(one.measured, one.over) for one in distances([], [])} == {((None, None), "")}


def test_task_table_stars_what_is_not_beaten_and_keeps_the_rest() -> None:
    found = [Result(DIGITS, "bad", 0, 0, 100, 90, 900), Result(DIGITS, "good", 0, 100, 100, 0, 900, 0.5, 2.0, 7.0)]
    assert task_table(by_task(found)[0]).rows == [
        ["good \u2605", "1.0000", "0.0000", "0.5000", "0", "2.00", "7"],
        ["bad", "0.0000", "0.1000", "\u2014", "0", "\u2014", "\u2014"],
    ]


def test_blocks_hold_every_method_of_the_records(gathered: list[Gathered]) -> None:
    blocks = leaderboard_blocks(gathered)
    assert tuple(blocks) == NAMES
    for one in results_of(gathered):
        assert f"\n| {one.method} |" in blocks[f"leaderboard_{one.task.kind}s"]


def test_one_command_adds_the_row_of_a_new_record(tmp_path: Path) -> None:
    record = read_record(RECORDS / "filters_peers.json")
    assert record is not None
    psbd = next(run for run in record["runs"] if run["filter"] == "psbd")
    record["runs"] = [{**psbd, "filter": "mine", "filter_title": "My filter"}]
    write_json(tmp_path / "mine" / "record.json", record)
    page = tmp_path / "page.md"
    page.write_text("<!-- leaderboard_filters -->\n<!-- end -->\n<!-- filters -->\n<!-- end -->\n", encoding="utf-8")
    arguments = ["report", str(RECORDS), str(tmp_path / "mine"), "--out", str(tmp_path / "out"), "--fill", str(page)]
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    text = page.read_text(encoding="utf-8")
    assert f"\n| My filter | 0 of 1 | {psbd['tpr']:.3f} | {psbd['fpr']:.3f} |" in text
    assert "F-MNIST, lenet5, no attack" in text  # the other block is filled as well
