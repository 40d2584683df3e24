"""Attacks with sounds at random places and with filters: the rows, the record and its tables; and real speech (slow)."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.attacks.datasets.speech_commands import speech_commands
from art_plugins.attacks.datasets.synthetic_speech import CONSONANTS, VOWELS, speak
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.running.runs import Recording
from art_plugins.evaluation.shared_sounds import SoundPlan, judge_attack, judge_clean, run_shared_sounds, search_all
from art_plugins.reports.records import record_markdown
from art_plugins.reports.studies.sound_tables import sound_tables

NAMES = ("a", "b", "c", "d", "e")


@pytest.fixture(scope="module")
def data() -> LabelledData:
    """Any syllables by any speakers in five classes of 40, read as if at 16 kHz; (200, 4000)."""
    random = np.random.default_rng(0)
    consonants, vowels = [*CONSONANTS], [*VOWELS]
    x = np.stack(
        [
            speak(str(random.choice(consonants)), str(random.choice(vowels)), str(random.choice(vowels)), random)
            for _ in range(200)
        ]
    ).astype(np.float32)
    y = np.repeat(np.arange(5), 40)
    return LabelledData(x, y, x[::10], y[::10], NAMES)


def test_attack_with_an_echo_is_found_and_its_row_says_so(data: LabelledData) -> None:
    clean = search_all(data.x_train, data.y_train, 5)
    row = judge_attack(data, clean, ("echo", 1, 3, 0.5), 0)
    assert (row["source"], row["target"], row["n_poison"], row["n_target"]) == ("b", "d", 20, 60)
    assert row["called"]
    assert row["rank"] == 1
    assert row["n_false"] == 0
    assert row["tpr"] >= 0.9
    assert row["fpr"] <= 0.05
    assert row["auc"] > 0.95
    assert row == judge_attack(data, clean, ("echo", 1, 3, 0.5), 0)


def test_clean_draw_calls_no_class(data: LabelledData) -> None:
    row = judge_clean(data, 3)
    assert row["n_called"] == 0
    assert row["p_values"].keys() == {"sound", "filter"}


def test_record_has_every_set_of_the_plan_and_goes_on_where_it_stopped(data: LabelledData, tmp_path: Path) -> None:
    plan = SoundPlan(["echo"], (0.5,), n_pairs=1, n_clean=1)
    seen: list[str] = []
    record = run_shared_sounds(data, plan, Recording(tmp_path, "test", lambda run: seen.append(run["kind"]), verbose=False))
    assert seen == [run["kind"] for run in record["runs"]] == ["attacks", "clean"]
    text = record_markdown(record)
    assert "| echo | 0.5 | 1 | 1 | 1 |" in text
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == text


def test_tables_are_the_means_of_the_rows() -> None:
    row = {"trigger": "tone", "fraction": 0.1, "called": True, "rank": 1, "tpr": 1.0, "fpr": 0.0, "auc": 1.0, "n_false": 0}
    missed = {**row, "called": False, "rank": 3, "tpr": 0.0, "auc": None, "n_false": 1}
    clean = {"seed": 0, "n_called": 1, "p_values": {"sound": 0.01, "filter": 0.5}}
    runs = [{"kind": "attacks", "rows": [row, missed]}, {"kind": "clean", "rows": [clean]}]
    attacks, draws = sound_tables({"runs": runs})
    assert attacks.rows == [["tone", "0.1", "2", "1", "1", "0.500", "0.000", "1.000", "1"]]
    assert draws.rows == [["1", "1", "0.010"]]
    assert sound_tables({"runs": []}) == []


def test_plan_draws_the_same_pairs_for_every_trigger_and_refuses_what_does_not_exist() -> None:
    sets = SoundPlan(["tone", "echo"], (0.1, 0.3), n_pairs=3, n_clean=2).sets(5)
    assert len(sets) == 2 * 2 * 3 + 2
    pairs = {
        trigger: [one[1:3] for kind, one in sets if kind == "attacks" and one[0] == trigger] for trigger in ("tone", "echo")
    }
    assert pairs["tone"] == pairs["echo"]
    with pytest.raises(InvalidInputError, match="trigger must be one of"):
        SoundPlan(["gong"])
    for fractions in ((), (0.0,), (1.5,), (math.nan,)):
        with pytest.raises(InvalidInputError, match="fractions"):
            SoundPlan(["tone"], fractions)


@pytest.mark.slow
def test_real_speech_sounds_at_random_places_and_filters_are_found_and_clean_draws_are_not(
    data_root: Path, tmp_path: Path
) -> None:
    data = speech_commands(data_root, cap=200)
    triggers = ["clap_anywhere", "whistle_anywhere", "tone", "burst_anywhere", "echo", "reverb"]
    plan = SoundPlan(triggers, (0.1, 0.33), n_pairs=1, n_clean=3, seed=5)
    record = run_shared_sounds(data, plan, Recording(tmp_path, "test", verbose=False))
    rows = [row for run in record["runs"] if run["kind"] == "attacks" for row in run["rows"]]
    assert all(row["rank"] == 1 for row in rows)
    assert sum(row["called"] for row in rows) >= len(rows) - 1
    assert np.mean([row["tpr"] for row in rows]) >= 0.9
    assert np.mean([row["fpr"] for row in rows]) <= 0.005
    assert all(run["rows"][0]["n_called"] == 0 for run in record["runs"] if run["kind"] == "clean")
