"""The papers' items: each is read off the committed records, and a study that is recorded is not run again."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

import pytest
from typer.testing import CliRunner

from art_plugins import cli
from art_plugins.errors import InvalidInputError
from art_plugins.reports.paper_items import Item, Row
from art_plugins.reports.paper_tables import item_table, summary_table
from art_plugins.reproduction import li, mehlman, runner
from art_plugins.reproduction.runner import ITEMS, find_items, item_record, reproduce
from art_plugins.reproduction.studies import STUDIES, Study

RECORDS = Path(__file__).parents[1] / "records"


def known(item: Item) -> dict:
    return {name: json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8")) for name in item.studies}


@pytest.mark.parametrize(
    ("reported", "measured", "better", "verdict"),
    [
        (0.9, [0.9], "higher", "reached"),
        (0.9, [0.8, 1.0], "higher", "reached"),
        (0.9, [0.881], "higher", "near"),
        (0.9, [0.879], "higher", "not reached"),
        (0.05, [0.04], "lower", "reached"),
        (0.05, [0.06], "lower", "near"),
        (0.05, [0.9], "lower", "not reached"),
        (None, [0.5], "higher", "first published here"),
        (0.9, [], "higher", "not measured"),
        (0.9, [0.1], None, ""),
    ],
)
def test_row_verdict_compares_the_mean_in_the_better_direction(reported, measured, better, verdict):
    assert Row("TPR", "ten images", reported, measured, better).verdict == verdict


@pytest.mark.parametrize("item", ITEMS, ids=lambda item: f"{item.paper}-{item.name}")
def test_item_is_read_off_the_committed_records_and_drawn(item):
    records = known(item)
    record = item_record(item, "cpu", records)
    assert record["rows"]
    assert json.loads(json.dumps(record, allow_nan=False)) == record
    assert any(row["measured"] is not None for row in record["rows"])
    assert len({(row["what"], row["by"]) for row in record["rows"]}) == len(record["rows"])
    for drawn in item.pictures(records):
        assert drawn.content.startswith(b"\x89PNG")
        assert len(drawn.words) > 40
    assert len(item_table(record).rows) == len(record["rows"])


def test_table_4_is_what_the_record_of_in_flight_runs_says():
    (item,) = find_items("li", "table4")
    rows = {row["what"]: row for row in item_record(item, "cpu", known(item))["rows"] if row["by"] == "default"}
    runs = [run for run in known(item)["in_flight"]["runs"] if run["title"] == "MNIST, lenet5, chessboard"]
    tpr = [run["detectors"][-1]["tpr"] for run in runs]  # the default form is the last
    row = rows["MNIST, CB: TPR"]
    assert row["by_seed"] == tpr
    assert row["measured"] == pytest.approx(sum(tpr) / 3)
    assert row["reported"] == 1.0


def test_fig7_counts_the_shares_that_are_called_and_names_the_smallest():
    (item,) = find_items("mehlman", "fig7")
    called = {0.01: False, 0.02: True, 0.05: False, 0.1: True, 0.2: True}
    rows = [
        {
            "source": "_unknown_",
            "target": "left",
            "trigger": "clapping",
            "fraction": fraction,
            "n_poison": 5,
            "n_target": 90,
        }
        | {name: {"found": found if name == "contrastive" else False} for name in ("contrastive", "paper")}
        for fraction, found in called.items()
    ]
    ours, smallest, papers = item.rows({"sweep": {"runs": [{"kind": "curve", "rows": rows}]}})
    assert (ours.mean, ours.reported, ours.verdict) == (0.6, 0.8, "not reached")
    assert (smallest.mean, smallest.over) == (0.02, "5 of 90 clips")
    assert (papers.mean, papers.by, papers.verdict) == (0.0, "paper", "not reached")


def test_study_is_recognised_by_what_it_measures_not_by_where():
    study = Study("a", {"cpu": "in-flight --seed 0 --seed 1 --no-baselines"})
    assert study.is_recorded_by("art-plugins in-flight --root 'my data' --seed 1 --seed 0 --no-baselines --out x", "cpu")
    assert not study.is_recorded_by("art-plugins in-flight --root data --seed 0 --no-baselines", "cpu")
    assert not study.is_recorded_by("art-plugins in-flight --root data --seed 0 --seed 1", "cpu")
    assert not study.is_recorded_by("art-plugins layerwise --seed 0 --seed 1 --no-baselines", "cpu")


@pytest.mark.parametrize("study", STUDIES.values(), ids=lambda study: study.name)
def test_study_commands_are_ones_that_the_command_line_takes(study):
    parser = {command.name or command.callback.__name__: command for command in cli.app.registered_commands}
    for size in study.arguments:
        command = study.command(size, Path("data"), Path("out"), download=study.autoencoder is None)
        function = parser[command[0]].callback
        taken = " ".join(str(hint) for hint in function.__annotations__.values()) + " ".join(function.__annotations__)
        for option in (word for word in command[1:] if word.startswith("--")):
            name = option.removeprefix("--").removeprefix("no-").replace("-", "_")
            assert name in taken or option in taken, (size, option)


def record_of(study: str, command: list[str]) -> dict:
    record = json.loads((RECORDS / f"{study}.json").read_text(encoding="utf-8"))
    return {**record, "command": shlex.join(["art-plugins", *command])}


def test_reproduce_runs_what_is_missing_once_and_the_autoencoder_first(tmp_path):
    calls = []

    def run(arguments: list[str]) -> None:
        calls.append(arguments)
        out = Path(arguments[arguments.index("--out") + 1])
        out.mkdir(parents=True)
        (out / "record.json").write_text(json.dumps(record_of(out.name, arguments)), encoding="utf-8")
        (out / "speech_commands.autoencoder.safetensors").touch()

    items = find_items("mehlman", "fig4")
    for _ in range(2):
        written = reproduce(items, "cpu", tmp_path / "data", tmp_path / "out", None, run)
    assert [call[0] for call in calls] == ["compare", "sweep"]
    assert written[0]["rows"][0]["measured"] is not None
    record = json.loads((tmp_path / "out" / "mehlman" / "fig4" / "record.json").read_text(encoding="utf-8"))
    assert record == written[0]
    for figure in record["figures"]:
        assert (tmp_path / "out" / "mehlman" / "fig4" / figure["file"]).is_file()


def test_reproduce_takes_records_from_a_folder_and_needs_no_data(tmp_path):
    written = reproduce(find_items("li", None), "cpu", None, tmp_path, RECORDS, pytest.fail)
    assert [record["item"] for record in written] == ["table1", "table2", "table3", "table4"]
    assert len(summary_table(written).rows) == 4


def test_reproduce_without_data_and_records_names_the_studies(tmp_path):
    with pytest.raises(InvalidInputError, match=r"layerwise_cifar10.*--root"):
        reproduce(find_items("preetha", "fig5"), "cpu", None, tmp_path, None, pytest.fail)
    assert not any(tmp_path.iterdir())


def test_reproduce_records_of_another_size_do_not_count(tmp_path):
    with pytest.raises(InvalidInputError, match="in_flight"):
        reproduce(find_items("li", "table4"), "quick", None, tmp_path, RECORDS, pytest.fail)


@pytest.mark.parametrize(
    ("arguments", "message"), [(["nobody"], "mehlman, li, preetha"), (["li", "fig9"], "table1, table2, table3, table4")]
)
def test_reproduce_unknown_names_are_refused_with_those_that_there_are(arguments, message):
    result = CliRunner().invoke(cli.app, ["reproduce", *arguments])
    assert isinstance(result.exception, InvalidInputError)
    assert message in str(result.exception)


def test_claims_that_a_paper_makes_in_words_have_a_verdict():
    """Fig. 5 of Mehlman et al. and Table 3 of Li et al.: who is ahead of whom, by hand from the committed records."""
    speech = json.loads((RECORDS / "speech_commands.json").read_text(encoding="utf-8"))
    ahead = []
    for task in speech["runs"]:
        margin = {row["name"]: row["tpr"] - row["fpr"] for row in task["defences"]}
        art = [value for name, value in margin.items() if name.startswith(("activation_clustering", "spectral_signatures"))]
        assert len(art) == 4
        ahead.append(margin["vae_latent"] - max(art))
    (row,) = [row for row in mehlman.fig5({"speech_commands": speech}) if "ahead" in row.what]
    assert row.measured == pytest.approx(ahead)
    assert row.verdict == "reached"

    cifar = json.loads((RECORDS / "in_flight_cifar10.json").read_text(encoding="utf-8"))
    (run,) = [run for run in cifar["runs"] if run["case"]["trigger"] == "white_box"]
    best = max(one["sia"] for one in run["patching"])
    row = li.table3({"in_flight_cifar10": cifar})[-1]
    assert row.measured == pytest.approx([run["detectors"][-1]["sia"] - best])
    assert row.reported == pytest.approx(0.8945 - 0.8086)


def test_items_have_unique_names_and_their_studies_exist():
    assert len({(item.paper, item.name) for item in ITEMS}) == len(ITEMS)
    assert {name for item in ITEMS for name in item.studies} == set(STUDIES)
    assert runner.PAPERS == ("mehlman", "li", "preetha")
