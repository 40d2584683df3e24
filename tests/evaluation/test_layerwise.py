"""Rates by hand, the tables and figures of a made-up record, and a whole run on real digits."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from PIL import Image

from art_plugins.attacks import success
from art_plugins.attacks.cases import Folders, ModelCase
from art_plugins.cli.shown import _show_layerwise_run
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.detectors import LAYERWISE_DETECTORS
from art_plugins.evaluation.layerwise import TAUS
from art_plugins.evaluation.layerwise_run import draw, run_layerwise
from art_plugins.evaluation.running.runs import Recording
from art_plugins.reports.drawing import png_bytes
from art_plugins.reports.record_files import LAYERWISE
from art_plugins.reports.records import record_markdown
from art_plugins.reports.studies import layerwise_figures as figures

LAYERS = ["stem", "block 1", "block 2", "hidden", "logits"]


def run(seed: int = 0, dataset: str = "mnist", with_filters: bool = True) -> dict[str, Any]:
    row = {"tpr": 0.5, "fpr": 0.25, "auroc": 0.75, "tpr_of_all": 0.4, "n_triggered_as_target": 8, "n_triggered": 10}
    filtered = {"tp": 9, "fn": 1, "fp": 20, "tn": 80, "tpr": 0.9, "fpr": 0.2, "auroc": None, "seconds": 1.5}
    record = {
        "title": f"{dataset}, net, box",
        "seed": seed,
        "case": {"dataset": dataset},
        "target": 1,
        "class_names": ["ant", "bee", "cat"],
        "model": {"clean_accuracy": 0.9 + seed / 100, "attack_success": 1.0},
        "layers": LAYERS,
        "detectors": [{"title": setting.title, **row, "n_clean": 100} for setting in LAYERWISE_DETECTORS],
        "curves": {
            mode: [{"tau": tau, "tpr": 1 / (1 + tau), "fpr": share / (1 + tau)} for tau in TAUS]
            for mode, share in (("paper", 0.5), ("mahalanobis", 0.1))
        },
        "profiles": {
            "benign": [[0.5, 0.6, 0.7, 0.8, 0.9], [0.4, 0.5, 0.6, 0.9, 0.95], [None] * 5],
            "layer_of_interest": [2, 3, 4],
            "poisoned": [0.3, 0.3, 0.3, 0.8, 0.9],
        },
    }
    if with_filters:
        record["filters"] = [{"title": "one", **filtered, "peak_memory_mb": 7.0}]
    return record


def test_layerwise_report_means_over_seeds_and_published_figures_for_cifar_only() -> None:
    report = record_markdown({"kind": LAYERWISE, "runs": [run(0), run(2)]})
    assert "| mnist, net, box | 0, 2 | 0.910 (0.900 to 0.920) | 1.000 | paper, tau 2 | 0.5000 | 0.2500 | 0.7500 |" in report
    assert "| mnist, net, box | one | 0.9000 | 0.2000 | \u2014 | 10 | 100 | 1.5 | 7 |" in report
    assert "published elsewhere" not in report
    assert "filter" not in record_markdown({"kind": LAYERWISE, "runs": [run(with_filters=False)]})
    published = record_markdown({"kind": LAYERWISE, "runs": [run(dataset="cifar10")]})
    assert "| Input-aware | Layer-wise features, tau 2.5 | 0.9946 | 0.0122 | published elsewhere |" in published
    assert "| BadNets | SCALE-UP | 0.9460 | 0.2770 | published elsewhere |" in published


def test_layerwise_report_shows_the_cost_where_every_row_has_it_and_what_is_missing() -> None:
    one = run()
    assert "Peak memory" not in record_markdown({"kind": LAYERWISE, "runs": [run(with_filters=False)]})
    for row in one["detectors"]:
        row |= {"fit_seconds": 1.26, "milliseconds_per_image": 0.456, "peak_memory_mb": 12.0}
    report = record_markdown({"kind": LAYERWISE, "runs": [{**one, "notes": ["A package is missing"]}]})
    assert "| 8 | 100 | 1.3 | 0.46 | 12 |" in report
    assert "held before. A package is missing\n" in report


def test_attacks_that_fail_are_in_the_table_and_in_no_rate_and_no_figure(tmp_path) -> None:
    weak = {"title": "weak", "seed": 0, "case": {"dataset": "mnist"}, "note": "not judged: too weak"}
    weak["model"] = {"clean_accuracy": 0.9, "attack_success": 0.5}
    record = {"kind": LAYERWISE, "runs": [weak, run(0), {**weak, "title": run()["title"], "seed": 1}]}
    lines = record_markdown(record).splitlines()
    assert "| weak | 0 | 0.900 | 0.500 | not judged: too weak " + "| — " * 6 + "|" in lines
    start = "| mnist, net, box | 0, 1 | 0.900 | 0.750 (0.500 to 1.000) | paper, tau 2 | 0.5000 |"
    assert any(line.startswith(start) for line in lines)
    assert {file.name.partition("_")[0] for file in draw(record, tmp_path)} == {"mnist"}


def test_a_weak_attack_is_recorded_and_not_judged(data_root, monkeypatch, tmp_path, capsys) -> None:
    monkeypatch.setattr(success, "LEAST_SUCCESS", 1.5)
    case = ModelCase("mnist", "white_box", nb_epochs=1, n_train=400, n_poison=9)
    recording = Recording(tmp_path, "", _show_layerwise_run, verbose=False)
    record = run_layerwise([case], Folders(data_root), recording, with_filters=False)
    (one,) = record["runs"]
    assert one["note"] == "not judged: the attack works on less than 1.5 of the triggered test images"
    assert "detectors" not in one
    assert one["note"] in " ".join(capsys.readouterr().out.split())


def lines_of(axes) -> dict[str, np.ndarray]:
    return {line.get_label(): np.asarray(line.get_ydata(), dtype=float) for line in axes.get_lines()}


def test_profile_figure_shows_the_target_beside_the_trigger_and_skips_classes_without_samples() -> None:
    axes = figures.profile_figure(run()).axes[0]
    lines = lines_of(axes)
    np.testing.assert_allclose(lines["benign, target class"], [0.4, 0.5, 0.6, 0.9, 0.95])
    np.testing.assert_allclose(lines["with the trigger"], [0.3, 0.3, 0.3, 0.8, 0.9])
    np.testing.assert_allclose(lines["benign, other classes"], [0.5, 0.6, 0.7, 0.8, 0.9])
    assert len(axes.get_lines()) == 4
    assert [label.get_text() for label in axes.get_xticklabels()] == LAYERS
    words = figures.profile_words(run())
    assert "hidden: 0.90 and 0.80" in words
    assert words.endswith("Layer of interest of the target class: hidden.")


def test_interest_figure_has_a_dot_for_every_class_and_run() -> None:
    axes = figures.interest_figure([run(0), run(1)]).axes[0]
    dots = [tuple(point) for one in axes.collections for point in np.asarray(one.get_offsets())]
    assert sorted({x for x, _ in dots}) == [3, 4, 5]
    assert len(dots) == 6
    assert "bee: hidden" in figures.interest_words([run(0), run(1)])


def test_tau_figure_shows_means_over_runs_of_both_rules() -> None:
    other = run(1)
    for point in other["curves"]["paper"]:
        point["tpr"] = 0.0
    panels = figures.tau_figure([run(0), other]).axes
    np.testing.assert_allclose(lines_of(panels[0])["paper's rule"], [0.5 / (1 + tau) for tau in TAUS])
    np.testing.assert_allclose(lines_of(panels[1])["default rule"], [0.1 / (1 + tau) for tau in TAUS])
    assert "paper's rule: 0.250 and 0.250 at 1" in figures.tau_words([run(0), other])


def test_draw_writes_pictures_that_are_not_blank_and_says_what_they_show(tmp_path) -> None:
    files = draw({"runs": [run(0), run(1)]}, tmp_path)
    assert [file.name for file in files] == [
        f"mnist__net__box_{kind}.png" for kind in ("profile", "layers_of_interest", "tau")
    ]
    for file in files:
        assert np.asarray(Image.open(io.BytesIO(file.read_bytes())).convert("L")).std() > 5
        assert f"{file.name}: " in (tmp_path / "figures.txt").read_text()
    assert png_bytes(figures.profile_figure(run())) == files[0].read_bytes()


def test_run_layerwise_of_a_clean_model_is_refused_before_any_training(tmp_path) -> None:
    with pytest.raises(InvalidInputError, match="name a trigger"):
        run_layerwise([ModelCase("mnist", "none")], Folders(tmp_path / "nowhere"), Recording(tmp_path, "command"))


def test_run_layerwise_with_an_unknown_peer_is_refused_before_any_training(tmp_path) -> None:
    recording = Recording(tmp_path, "command")
    with pytest.raises(InvalidInputError, match=r"'BadExpert' is no detector of other authors.* BaDExpert"):
        run_layerwise([ModelCase("mnist", "white_box")], Folders(tmp_path / "nowhere"), recording, with_peers=["BadExpert"])


@pytest.mark.parametrize("sources", ["all_to_all", "untargeted", "two_targets"])
def test_run_layerwise_of_an_attack_without_one_target_is_refused_before_any_training(sources, tmp_path) -> None:
    case = ModelCase("mnist", "white_box", sources)
    with pytest.raises(InvalidInputError, match=f"one target class; received the sources '{sources}'"):
        run_layerwise([case], Folders(tmp_path / "nowhere"), Recording(tmp_path, "command"))


@pytest.mark.slow
def test_layerwise_on_mnist_finds_the_white_box_and_writes_all_it_promises(data_root, tmp_path) -> None:
    case = ModelCase("mnist", "white_box", nb_epochs=4)
    record = run_layerwise([case], Folders(data_root), Recording(tmp_path, "command", verbose=False), with_filters=False)
    assert json.loads((tmp_path / "record.json").read_text()) == record
    assert (tmp_path / "table.md").read_text() == record_markdown(record)
    assert len(list(tmp_path.glob("*.png"))) == 3
    (only,) = record["runs"]
    default = next(row for row in only["detectors"] if row["title"] == "default, target FPR 0.01")
    assert default["tpr"] >= 0.99
    assert default["fpr"] <= 0.03
