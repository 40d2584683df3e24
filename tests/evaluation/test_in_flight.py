"""Rates by hand, the split, the tables, and a run that goes on where it stopped."""

from __future__ import annotations

import json
from dataclasses import asdict, replace

import numpy as np
import pytest

from art_plugins.attacks import success
from art_plugins.attacks.cases import Folders, ModelCase, check_case
from art_plugins.cli.shown import _show_in_flight_run
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation import in_flight_run
from art_plugins.evaluation.held_out import split_test_set
from art_plugins.evaluation.in_flight_rates import detection_figures, source_accuracy
from art_plugins.evaluation.in_flight_run import run_in_flight
from art_plugins.evaluation.running.runs import Recording
from art_plugins.reports.record_files import IN_FLIGHT
from art_plugins.reports.records import record_markdown

CASE = ModelCase("mnist", "white_box")


def test_detection_figures_of_a_few_images_have_both_denominators() -> None:
    # Six clean images: three of class 9 (one sent elsewhere, one caught), three others (one sent to 9 and caught).
    predicted = np.array([9, 9, 4, 9, 1, 2])
    caught = np.array([True, False, False, True, False, False])
    y_clean = np.array([9, 9, 9, 4, 1, 2])
    # Five triggered images: four sent to 9, three of those caught.
    figures = detection_figures(
        (predicted, caught),
        (np.array([9, 9, 9, 9, 3]), np.array([True, True, True, False, False])),
        y_clean,
        target=9,
    )
    assert figures == {
        "tpr": 3 / 4,
        "tpr_of_all": 3 / 5,
        "fpr": 1 / 2,
        "fpr_of_all": 2 / 3,
        "n_triggered_as_target": 4,
        "n_triggered": 5,
        "n_clean_target": 2,
        "n_clean_as_target": 3,
    }


def test_detection_figures_without_a_denominator_are_none() -> None:
    nothing = (np.array([1]), np.array([False]))
    figures = detection_figures(nothing, nothing, np.array([9]), target=9)
    assert figures["tpr"] is figures["fpr"] is figures["fpr_of_all"] is None
    assert figures["tpr_of_all"] == 0


def test_source_accuracy_counts_an_image_that_is_not_caught_as_wrong() -> None:
    # Right and caught; wrong class; not caught; right class but not sent to the target.
    figures = source_accuracy(np.array([0, 1, -1, 3]), np.array([0, 2, 2, 3]), np.array([9, 9, 9, 3]), 9)
    assert figures == {"sia": 1 / 3, "sia_of_all": 1 / 4}


def test_split_test_set_parts_are_disjoint_and_only_sources_are_stamped() -> None:
    y = np.repeat(np.arange(3), 20)
    x = np.arange(60.0).reshape(60, 1, 1, 1)
    split = split_test_set(x, y, lambda images: images + 100, [0, 1], n_per_class=5, random_state=1)
    assert np.bincount(split.y_defence).tolist() == [5, 5, 5]
    assert sorted(np.concatenate([split.x_defence, split.x_clean]).ravel()) == sorted(x.ravel())
    expected = split.x_clean[split.y_clean != 2] + 100
    np.testing.assert_array_equal(split.x_triggered, expected)
    np.testing.assert_array_equal(split.y_source, split.y_clean[split.y_clean != 2])


@pytest.mark.parametrize(
    ("wrong", "named"),
    [({"dataset": "imagenet"}, "dataset"), ({"trigger": "hat"}, "trigger"), ({"network": "x"}, "network")],
)
def test_check_case_unknown_name_is_refused_with_the_known_ones(wrong, named) -> None:
    with pytest.raises(InvalidInputError, match=f"{named} must be one of .*received"):
        check_case(replace(CASE, **wrong))


def fake_run(case: ModelCase, *arguments, **options) -> dict:
    figures = {"tpr": 0.5, "fpr": 0.25, "sia": 0.125, "tpr_of_all": 0.5, "sia_of_all": 0.1}
    figures |= {"n_triggered_as_target": 8, "n_triggered": 9, "n_clean_target": 4}
    return {
        "title": case.title,
        "seed": case.seed,
        "target": 1,
        "model": {"clean_accuracy": 0.9 + case.seed / 100, "attack_success": 1.0},
        "inversion": {"right_target": case.seed == 0, "anomaly_index": [1.0, 7.0, None], "estimated_attack_success": 0.99},
        "detectors": [{"form": list(form), **figures} for form in in_flight_forms()],
        "wrong_target": {"assumed_class": 2, "tpr_of_all": 0.0, "fpr_of_all": 0.5},
    }


def in_flight_forms():
    from art_plugins.evaluation.in_flight import FORMS

    return FORMS


def test_run_in_flight_goes_on_where_it_stopped_and_tabulates_over_seeds(tmp_path, monkeypatch) -> None:
    seen = []

    def interrupted(case, folders, **options):
        assert (folders, options["n_clean"]) == (Folders("nowhere", tmp_path / "models"), 20)
        if case.seed == 1 and len(seen) == 1:
            seen.append("stop")
            raise KeyboardInterrupt
        seen.append(case.seed)
        return fake_run(case)

    monkeypatch.setattr(in_flight_run, "run_case", interrupted)
    cases = [replace(CASE, seed=seed) for seed in (0, 1)]
    arguments = (cases, Folders("nowhere", tmp_path / "models"), Recording(tmp_path, "command"))
    with pytest.raises(KeyboardInterrupt):
        run_in_flight(*arguments, n_clean=[20])
    assert not (tmp_path / "record.json").exists()
    record = run_in_flight(*arguments, n_clean=[20])
    assert seen == [0, "stop", 1]
    assert json.loads((tmp_path / "record.json").read_text()) == record
    assert not (tmp_path / "unfinished").exists()
    table = (tmp_path / "table.md").read_text()
    row = "| MNIST, lenet5, white box | 0, 1 | 0.905 (0.900 to 0.910) | 1.000 | 1 of 2 | 7.00 | 1.00 | 0.990 |"
    assert row in table
    assert "| MNIST, lenet5, white box | default | 0.5000 | 0.2500 | 0.1250 |" in table
    assert "<details><summary>A detector made for the class after the target</summary>" in table
    assert "| MNIST, lenet5, white box | 0.0000 | 0.5000 |" in table
    assert "reported by the paper" not in table  # the runs do not say what was attacked
    assert table == record_markdown(record)


def test_in_flight_report_has_the_papers_figures_for_its_own_cases_only() -> None:
    cases = [CASE, replace(CASE, trigger="watermark")]
    runs = [{**fake_run(case), "case": asdict(case)} for case in cases]
    lines = record_markdown({"kind": IN_FLIGHT, "runs": runs}).splitlines()
    reported = [line for line in lines if "reported by the paper" in line]
    assert reported == ["| MNIST, lenet5, white box | reported by the paper | 1.0000 | 0.0022 | 0.9764 " + "| — " * 5 + "|"]


def test_table_has_attacks_that_fail_and_counts_only_the_others() -> None:
    weak = {"title": "weak", "seed": 0, "model": {"clean_accuracy": 0.9, "attack_success": 0.5}, "note": "not judged: ..."}
    half = {**weak, "title": CASE.title, "seed": 1}
    lines = record_markdown({"kind": IN_FLIGHT, "runs": [weak, fake_run(CASE), half]}).splitlines()
    assert "| weak | 0 | 0.900 | 0.500 | attack fails | — | — | — |" in lines
    assert f"| {CASE.title} | 0, 1 | 0.900 | 0.750 (0.500 to 1.000) | 1 of 1 | 7.00 | 1.00 | 0.990 |" in lines
    assert sum(line.startswith("| weak") for line in lines) == 1


def test_attack_that_works_too_seldom_is_not_judged(data_root, monkeypatch, capsys) -> None:
    monkeypatch.setattr(success, "LEAST_SUCCESS", 1.5)
    run = in_flight_run.run_case(replace(CASE, nb_epochs=1, n_train=400, n_poison=9), Folders(data_root), verbose=False)
    assert run["note"] == "not judged: the attack works on less than 1.5 of the triggered test images"
    assert "inversion" not in run
    _show_in_flight_run(run)
    assert run["note"] in " ".join(capsys.readouterr().out.split())


@pytest.mark.slow
def test_white_box_on_mnist_is_inverted_and_caught(data_root) -> None:
    run = in_flight_run.run_case(replace(CASE, nb_epochs=4), Folders(data_root), verbose=False)
    default = run["detectors"][-1]
    assert run["inversion"]["right_target"]
    assert run["inversion"]["estimated_attack_success"] >= 0.95
    assert default["tpr"] >= 0.995
    assert default["fpr"] <= 0.0127
    assert default["sia"] >= 0.95


@pytest.mark.parametrize("sources", ["untargeted", "two_targets", "clean_label"])
def test_sources_without_one_right_answer_are_refused_before_any_training(sources, tmp_path) -> None:
    case = ModelCase("mnist", "white_box", sources)
    with pytest.raises(InvalidInputError, match=f"received '{sources}'.* art-plugins filters"):
        run_in_flight([case], Folders(tmp_path / "nowhere"), Recording(tmp_path, "command"))
