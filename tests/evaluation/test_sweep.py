"""The sweep on drawn views: counts by hand, resumption, tables and figures of a record."""

from __future__ import annotations

import json
from types import SimpleNamespace

import numpy as np
import pytest
from sklearn.metrics import adjusted_rand_score

from art_plugins.errors import InvalidInputError
from art_plugins.evaluation import encoded, sweep, sweep_judges
from art_plugins.evaluation.encoded import EncodedData
from art_plugins.evaluation.running.runs import Recording
from art_plugins.evaluation.running.workers import Workers
from art_plugins.evaluation.sweep import SweepPlan, check_sweep, judge_set, run_sweep
from art_plugins.evaluation.sweep_judges import judge, judge_attack, judge_clean
from art_plugins.features.views import Views
from art_plugins.reports.records import record_markdown
from art_plugins.reports.studies.sweep_figures import heat_map_figure, roc_figure, share_figure, write_sweep_figures
from art_plugins.reports.studies.sweep_tables import attack_table, class_auc, rows_of
from art_plugins.statistics.latents import latent_classes

NAMES = ("a", "b", "c", "d", "e", "_unknown_")
SIZE, D = 120, 6


@pytest.fixture
def data(random):
    labels = np.repeat(np.arange(len(NAMES)), SIZE)

    def draw():
        return random.normal(size=(len(labels), D)).astype(np.float32)

    clean = Views(draw(), [draw(), draw()], [draw(), draw(), draw()])
    triggered = Views(clean.latents, clean.steps, [3 + 0.2 * draw(), *clean.frames[1:]])
    return EncodedData(labels, NAMES, clean, {"clapping": triggered})


def test_encode_all_reads_what_lies_there_unless_the_windows_are_others(data, tmp_path, monkeypatch):
    given = SimpleNamespace(x_train=np.zeros((4, 3)), y_train=data.labels, class_names=NAMES)
    autoencoder = SimpleNamespace(state_settings=dict, state_arrays=dict)
    made = []
    monkeypatch.setattr(encoded, "describe_alike", lambda *arguments: made.append(1) or [data.clean])
    for _ in range(2):
        found = encoded.encode_all(given, autoencoder, [], tmp_path, verbose=False)
        np.testing.assert_array_equal(found.clean.windows, data.clean.windows)
        assert len(found.clean.steps) == 2
    assert made == [1]
    monkeypatch.setattr(encoded, "VIEW_SETTINGS", (7,))
    encoded.encode_all(given, autoencoder, [], tmp_path, verbose=False)
    assert made == [1, 1]


def test_judge_attack_counts_are_those_of_the_attack_and_the_planted_poison_is_found(data):
    clean = judge(data.clean, data.labels, len(NAMES))
    row = judge_attack(data, clean, "clapping", 1, 3, 0.15, 0)
    assert (row["source"], row["target"], row["n_poison"], row["n_target"]) == ("b", "d", 18, SIZE + 18)
    for scoring in ("contrastive", "frames"):
        assert row[scoring]["found"]
        assert row[scoring]["rank"] == 1
        assert row[scoring]["p_value"] < 0.01
        assert row[scoring]["ari"] > 0.95
    assert not row["steps"]["found"]  # the trigger is in no step
    assert row["paper"]["p_value"] is None
    assert row == judge_attack(data, clean, "clapping", 1, 3, 0.15, 0)
    assert row["contrastive"]["ari"] != judge_attack(data, clean, "clapping", 1, 3, 0.02, 0)["contrastive"]["ari"]


def test_judge_attack_large_crowd_is_split_and_called_as_by_the_defence(data):
    triggered = data.triggered["clapping"]
    data.triggered["clapping"] = triggered._replace(latents=data.clean.latents + np.array([4, 0, 0, 0, 0, 0]))
    row = judge_attack(data, judge(data.clean, data.labels, len(NAMES)), "clapping", 1, 3, 0.5, 0)
    chosen = np.random.default_rng([0, 1, 3]).choice(np.flatnonzero(data.labels == 1), size=60, replace=False)
    labels = data.labels.copy()
    labels[chosen] = 3
    views = sweep_judges._with_rows(data.clean, data.triggered["clapping"], chosen)
    found = latent_classes.cluster_latent_classes(views.latents, labels, len(NAMES), windows=views.windows)
    is_poison = np.isin(np.flatnonzero(labels == 3), chosen)
    assert row["contrastive"]["ari"] == adjusted_rand_score(is_poison, found.suspects[labels == 3]) > 0.9
    assert row["contrastive"]["found"] == (3 in found.poisoned_classes)


def test_judge_attack_whole_latents_are_scored_and_split_as_by_the_defence_without_windows(data):
    triggered = data.triggered["clapping"]
    data.triggered["clapping"] = triggered._replace(latents=data.clean.latents + np.array([8, 0, 0, 0, 0, 0]))
    row = judge_attack(data, judge(data.clean, data.labels, len(NAMES)), "clapping", 1, 3, 0.3, 0)["latents"]
    chosen = np.random.default_rng([0, 1, 3]).choice(np.flatnonzero(data.labels == 1), size=36, replace=False)
    labels = data.labels.copy()
    labels[chosen] = 3
    latents = sweep_judges._with_rows(data.clean, data.triggered["clapping"], chosen).latents
    found = latent_classes.cluster_latent_classes(latents, labels, len(NAMES))
    is_poison = np.isin(np.flatnonzero(labels == 3), chosen)
    assert row["ari"] == adjusted_rand_score(is_poison, found.suspects[labels == 3]) > 0.9
    assert row["score"] == pytest.approx(found.class_scores[3])
    assert row["p_value"] == pytest.approx(found.class_p_values[3])
    assert row["found"]


def test_judge_clean_has_a_score_for_every_class_and_calls_none(data):
    row = judge_clean(data, 5)
    for scoring in sweep_judges.WINDOWS:
        assert len(row[scoring]["scores"]) == len(NAMES)
    assert row["contrastive"]["n_called"] == 0
    json.dumps(row, allow_nan=False)


def sweep_of(plan, out):
    return run_sweep(None, None, plan, Recording(out, "art-plugins sweep", verbose=False), Workers(jobs=1))


@pytest.fixture
def record(data, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "encode_all", lambda *args: data)
    monkeypatch.setattr(sweep, "FRACTIONS", (0.1, 0.3))
    made = sweep_of(SweepPlan(["clapping"], 2, [("a", "b")], n_pairs=5), tmp_path)
    return made, tmp_path


def test_run_sweep_has_every_kind_of_row_and_writes_record_table_and_figures(record):
    made, out = record
    assert [len(rows_of(made, kind)) for kind in ("attacks", "clean", "curve")] == [5, 2, 2]
    assert json.loads((out / "record.json").read_text(encoding="utf-8")) == made
    assert (out / "table.md").read_text(encoding="utf-8") == record_markdown(made)
    assert not (out / "unfinished").exists()
    files = write_sweep_figures(made, out)
    assert [file.name for file in files] == ["heat_map.png", "roc.png", "share_curve.png"]
    assert all(file.read_bytes().startswith(b"\x89PNG") for file in files)


def test_run_sweep_interrupted_goes_on_where_it_stopped(data, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "encode_all", lambda *args: data)
    judged = []

    def counted(*args):
        judged.append(args)
        if len(judged) == 4:
            raise KeyboardInterrupt
        return judge_attack(*args)

    monkeypatch.setattr(sweep, "judge_attack", counted)
    plan = SweepPlan(["clapping"], 0, n_pairs=5)
    with pytest.raises(KeyboardInterrupt):
        sweep_of(plan, tmp_path)
    n_kept = len(
        rows_of({"runs": [json.loads(f.read_text()) for f in (tmp_path / "unfinished").glob("*.json")]}, "attacks")
    )
    n_before = len(judged)
    made = sweep_of(plan, tmp_path)
    assert 0 < n_kept < 5
    assert len(judged) - n_before == 5 - n_kept
    assert len(rows_of(made, "attacks")) == 5


def test_run_sweep_classes_too_small_to_judge_are_null_in_a_whole_record(data, tmp_path, monkeypatch):
    """As `--cap 60 --pairs 3 --clean 1 --curve right:left` met them: a score of NaN ended every call at its record."""
    monkeypatch.setattr(sweep, "encode_all", lambda *args: data)
    judged = sweep.judge

    def without_scores(*args):
        found = judged(*args)
        for name in sweep_judges.WINDOWS:
            found[name] = np.where(np.arange(len(NAMES)) == 3, np.nan, found[name])
        return found

    for module in (sweep, sweep_judges):
        monkeypatch.setattr(module, "judge", without_scores)
    made = sweep_of(SweepPlan(["clapping"], 1, [("a", "d")], n_pairs=10), tmp_path)
    written = json.loads((tmp_path / "record.json").read_text(encoding="utf-8"), parse_constant=pytest.fail)
    assert written == made
    rows = rows_of(made, "attacks") + rows_of(made, "curve")
    unjudged = [row for row in rows if row["target"] == "d"]
    assert 0 < len(unjudged) < len(rows)
    for row in unjudged:
        one = row["contrastive"]
        assert (one["score"], one["rank"], one["p_value"], one["found"]) == (None, None, None, False)
    assert [row["contrastive"]["scores"].count(None) for row in rows_of(made, "clean")] == [1]
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == record_markdown(made)
    assert len(write_sweep_figures(made, tmp_path)) == 3


def test_run_sweep_damaged_run_is_judged_again(data, tmp_path, monkeypatch):
    monkeypatch.setattr(sweep, "encode_all", lambda *args: data)
    plan = SweepPlan(["clapping"], 1, n_pairs=2)
    names = []
    monkeypatch.setattr("art_plugins.evaluation.running.runs.shutil.rmtree", lambda *args, **kwargs: None)
    made = sweep_of(plan, tmp_path)
    files = sorted((tmp_path / "unfinished").glob("*.json"))
    files[0].write_bytes(b"")
    files[1].write_text('{"kind": "atta')
    monkeypatch.setattr(sweep, "judge_set", lambda shared, task: names.append(task) or judge_set(shared, task))
    again = sweep_of(plan, tmp_path)
    assert len(names) == 2
    assert again["runs"] == made["runs"]


def test_class_auc_a_target_that_was_not_judged_lies_below_every_class():
    def row(score):
        return {"contrastive": {"score": score}}

    clean = [{"contrastive": {"scores": [0.1, None]}}]
    assert class_auc([row(2.0)], clean, "contrastive") == 1
    assert class_auc([row(None)], clean, "contrastive") == 0.25  # below one, level with the other
    assert class_auc([row(0.05)], clean, "contrastive") == 0.5
    assert class_auc([row(None)], [{"contrastive": {"scores": [None]}}], "contrastive") is None


def test_class_auc_and_table_are_those_by_hand():
    def row(score, ari, found, target="a"):
        one = {"score": score, "ari": ari, "found": found, "rank": 1 if found else 2, "p_value": 0.1}
        judged = dict.fromkeys(sweep_judges.WINDOWS, one)
        return {"trigger": "whistle", "source": "b", "target": target, "fraction": 0.1, **judged}

    attacks = [row(2.0, 1.0, True), row(0.4, 0.5, False, "_unknown_")]
    clean = [{name: {"scores": [0.1, 0.5], "n_called": 0} for name in sweep_judges.WINDOWS}]
    assert class_auc(attacks, clean, "contrastive") == 0.75  # above both; above one of two
    assert class_auc(attacks, [], "contrastive") is None
    cells = attack_table(attacks, clean).rows[0][2:]
    assert cells == ["0.750", "0.50 (1 of 2)", "0.50 (1 of 2)", "0.00 (0 of 1)", "0.750", "0.50 (1 of 2)"]


def test_figures_show_a_cross_for_every_target_that_is_not_called(record):
    made, _ = record
    attacks, clean, curve = (rows_of(made, kind) for kind in ("attacks", "clean", "curve"))
    panels = heat_map_figure(attacks).axes[:2]
    for axes, scoring in zip(panels, ("contrastive", "paper"), strict=True):
        assert len(axes.lines) == sum(not row[scoring]["found"] for row in attacks)
    assert len(roc_figure(attacks, clean).axes[0].lines) == 3  # two scorings and the diagonal
    assert len(share_figure(curve).axes[0].lines) == 2


@pytest.mark.parametrize(
    ("trigger", "curve", "message"),
    [
        ("gong", ("a", "b"), "trigger must be one of"),
        ("tone", ("a", "z"), "from one class to another"),
        ("tone", ("a", "a"), "A curve"),
    ],
)
def test_check_sweep_refuses_what_there_is_not(trigger, curve, message):
    with pytest.raises(InvalidInputError, match=message):
        check_sweep(NAMES, [trigger], [curve])
    check_sweep(NAMES, ["tone", "burst"], [("a", "b")])
