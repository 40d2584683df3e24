"""The ablation on a folder of drawn sounds: the same sets for every variant, resumption, the table by hand."""

from __future__ import annotations

import json

import numpy as np
import pytest

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.evaluation import ablation
from art_plugins.evaluation.ablation import VARIANTS, AutoencoderTraining, run_ablation
from art_plugins.evaluation.running.runs import Recording
from art_plugins.evaluation.running.workers import Workers
from art_plugins.evaluation.sweep import SweepPlan
from art_plugins.features.vae.settings import AutoencoderSettings
from art_plugins.reports.record_files import ABLATION
from art_plugins.reports.records import record_markdown
from art_plugins.reports.studies.ablation_tables import ablation_tables

NAMES = ("a", "b", "c", "d", "e")
SIZE = 16


@pytest.fixture
def data(random):
    labels = np.repeat(np.arange(len(NAMES)), SIZE)
    x = random.normal(scale=0.1, size=(len(labels), 8000)).astype(np.float32)
    return LabelledData(x, labels, x[:2], labels[:2], NAMES, (1.0,))


@pytest.fixture
def small(monkeypatch):
    """Variants that train in a moment."""
    tiny = {"embedding_dim": 8, "hidden_dim": 8, "channels": 2}
    monkeypatch.setattr(
        ablation, "VARIANTS", {"default": tiny, "beta / 4": {**tiny, "reconstruction_weight": 768.0}}, raising=True
    )


def ablate(data, out, **options):
    return run_ablation(
        data,
        data.x_train,
        SweepPlan(["burst"], 1, n_pairs=2),
        Recording(out, "art-plugins ablation", verbose=False),
        variants=list(ablation.VARIANTS),
        training=AutoencoderTraining(nb_epochs=1),
        workers=Workers(jobs=1),
        **options,
    )


def test_variants_are_settings_of_the_autoencoder_and_change_one_thing_each():
    default = AutoencoderSettings()
    for name, settings in VARIANTS.items():
        changed = AutoencoderSettings(**settings)
        assert (changed == default) == (name == "default")


@pytest.mark.slow
def test_run_ablation_judges_the_same_sets_with_every_variant_and_resumes(data, small, tmp_path, monkeypatch):
    trained = []
    real = ablation._trained

    def interrupted(*arguments):
        trained.append(arguments[1])
        if len(trained) == 2:
            raise KeyboardInterrupt
        return real(*arguments)

    monkeypatch.setattr(ablation, "_trained", interrupted)
    with pytest.raises(KeyboardInterrupt):
        ablate(data, tmp_path)
    assert not (tmp_path / "record.json").exists()
    record = ablate(data, tmp_path)
    assert len(trained) == 3  # the first variant's run was kept
    assert json.loads((tmp_path / "record.json").read_text(encoding="utf-8")) == record
    assert record["kind"] == ABLATION
    pairs = [
        [(row["source"], row["target"], row["n_poison"]) for one in run["sets"] for row in one["rows"] if "source" in row]
        for run in record["runs"]
    ]
    assert len(pairs[0]) == 2
    assert pairs[0] == pairs[1]
    text = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert "beta / 4" in text
    assert text == record_markdown(record)


def test_ablation_tables_count_for_every_variant_and_scoring():
    def attack(found, ari, trigger):
        one = {"score": 2.0 if found else 0.0, "rank": 1, "found": found, "p_value": 0.5, "ari": ari}
        return {"trigger": trigger, "fraction": 0.1, "frames": one, "steps": {**one, "ari": ari / 2}}

    clean = {"frames": {"scores": [1.0], "n_called": 0}, "steps": {"scores": [1.0], "n_called": 2}}
    attacks = [
        attack(True, 1.0, "tone"),
        attack(False, 0.5, "tone"),
        attack(True, 0.8, "burst"),
        attack(True, 1.0, "burst"),
    ]
    sets = [{"kind": "clean", "rows": [clean]}, {"kind": "attacks", "rows": attacks}]
    runs = [{"variant": name, "nb_epochs": 3, "sets": sets} for name in ("default", "beta x 4")]
    (table,) = ablation_tables({"runs": runs})
    assert [row[:2] for row in table.rows] == [
        ["default", "latents of steps only"],
        ["default", "frames only"],
        ["beta x 4", "latents of steps only"],
        ["beta x 4", "frames only"],
    ]
    assert table.rows[1][2:] == ["0.750", "1", "0.750", "2", "0.900", "0"]
    assert table.rows[0][-1] == "1"
    assert len(table.columns) == len(table.rows[0])
    assert "of 2 attacks for each trigger" in table.caption
