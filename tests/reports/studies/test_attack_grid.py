"""Attacks by filters: what is in one cell, the picture beside the table, its tones in grey, and the committed file."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
import pytest

from art_plugins.evaluation.filters import FILTERS
from art_plugins.reports.studies.attack_grid import (
    FPR_BOUND,
    WORSE,
    AttackGrid,
    Cell,
    Row,
    attack_grid,
    grid_table,
    grid_words,
)
from art_plugins.reports.studies.attack_picture import (
    FILE_NAME,
    FPR_STEPS,
    TEXT_ON,
    TONES,
    TPR_STEPS,
    attack_svg,
    tone,
    write_attack_picture,
)
from art_plugins.reports.studies.filter_tables import with_trusted

ROOT = Path(__file__).parents[3]
NAME = "{http://www.w3.org/2000/svg}"


def run(tpr: float | None, fpr: float | None, seed: int = 0, **further: Any) -> dict[str, Any]:
    found = {"title": "MNIST, net, box, two targets, 5 %", "filter_title": "A", "n_trusted": 0, "seed": seed, "share": 0.05}
    case = {"dataset": "mnist", "nb_epochs": 3, "seed": seed}
    return {**found, "case": case, "n_train": 15_000, "note": None, "tpr": tpr, "fpr": fpr, **further}


def records() -> list[dict[str, Any]]:
    files = sorted((ROOT / "tests" / "records").glob("filters*.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def luminance(colour: str) -> float:
    """Relative luminance of WCAG 2."""
    channels = np.array([int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)])
    linear = np.where(channels <= 0.04045, channels / 12.92, ((channels + 0.055) / 1.055) ** 2.4)
    return float(linear @ [0.2126, 0.7152, 0.0722])


def test_runs_that_differ_in_their_seed_are_one_cell_also_across_records() -> None:
    grid = attack_grid([{"runs": [run(1.0, 0.0)]}, {"runs": [run(0.5, 0.02, seed=1)]}])
    assert grid == AttackGrid(
        ["A"], [Row("box, two targets, 5 %", "MNIST, net, 15,000", {"A": Cell([1.0, 0.5], [0.0, 0.02])})]
    )


def test_other_settings_are_another_row_and_clean_sets_come_first() -> None:
    other = run(0.9, 0.0, case={"dataset": "mnist", "nb_epochs": 9, "seed": 0}, n_train=100)
    clean = run(None, 0.03, title="MNIST, net, no attack", share=None)
    grid = attack_grid([{"runs": [run(1.0, 0.0), other, clean]}])
    assert [(row.attack, row.model) for row in grid.rows] == [
        ("no attack", "MNIST, net, 15,000"),
        ("box, two targets, 5 %", "MNIST, net, 15,000"),
        ("box, two targets, 5 %", "MNIST, net, 100"),
    ]


def test_a_seed_above_the_bound_is_told_though_the_mean_is_below() -> None:
    grid = attack_grid([{"runs": [run(1.0, 0.0), run(1.0, 1.5 * FPR_BOUND, seed=1)]}])
    assert grid_table(grid).rows[0][2] == f"TPR 1.000, FPR 0.007 (0.000 to 0.015), {WORSE}"
    assert "FPR above 0.01 in 1 of 1 rows" in grid_words(grid)
    assert not Cell([1.0], [FPR_BOUND]).is_worse


def test_what_was_not_judged_and_what_was_not_measured_are_told_apart() -> None:
    weak = run(None, None, note="not judged: the attack works on less than 0.8 of the triggered test images")
    other = run(None, None, note="the filter refuses: no layer", filter_title="B")
    clean = run(None, 0.0, title="MNIST, net, no attack", share=None)
    grid = attack_grid([{"runs": [weak, other, clean]}])
    assert [row[2:] for row in grid_table(grid).rows] == [["no poison, FPR 0.000", "—"], ["attack fails", "no result"]]
    assert "A: TPR of at least 0.9 in 0 of 0 attacks" in grid_words(grid)


def test_picture_has_every_row_every_number_and_a_mark_for_each_that_is_worse() -> None:
    grid = attack_grid(records())
    svg, width, height = attack_svg(grid)
    root = ElementTree.fromstring(svg)
    words = [text.text for text in root.iter(f"{NAME}text")]
    cells = [cell for row in grid.rows for cell in row.cells.values()]
    for values in (values for cell in cells for values in (cell.tpr, cell.fpr) if values):
        assert f"{np.mean(values):.3f}".removeprefix("0") in words
    assert sum(word == "attack fails" for word in words) == sum(cell.note == "attack fails" for cell in cells) > 0
    assert len(list(root.iter(f"{NAME}path"))) == 1 + sum(cell.is_worse for cell in cells) > 3  # one is in the legend
    assert all(row.model in words and row.attack in words for row in grid.rows)
    assert root.findtext(f"{NAME}desc") == grid_words(grid)
    assert all(float(text.get("x")) < width and float(text.get("y")) < height for text in root.iter(f"{NAME}text"))


def test_tones_go_from_light_to_dark_and_numbers_can_be_read_on_them() -> None:
    light = [luminance(colour) for colour in TONES]
    assert light == sorted(light, reverse=True)
    for ground, text in zip(TONES, TEXT_ON, strict=True):
        low, high = sorted((luminance(ground), luminance(text)))
        assert (high + 0.05) / (low + 0.05) >= 4.5
    # Neighbours in the scale are told apart in grey.
    assert all((one + 0.05) / (two + 0.05) > 1.2 for one, two in pairwise(light))


@pytest.mark.parametrize(("steps", "is_tpr"), [(TPR_STEPS, True), (FPR_STEPS, False)])
def test_tone_of_a_step_is_the_better_one_and_the_worst_value_is_darkest(steps: tuple[float, ...], is_tpr: bool) -> None:
    assert [tone(step, is_tpr) for step in steps] == [0, 1, 2, 3]
    assert (tone(1.0, is_tpr), tone(0.0, is_tpr)) == ((0, 4) if is_tpr else (4, 0))


def test_names_are_text_and_no_markup() -> None:
    svg, _, _ = attack_svg(attack_grid([{"runs": [run(1.0, 0.0, filter_title="<script>x</script>")]}]))
    assert "<script" not in svg
    assert ElementTree.fromstring(svg).tag == f"{NAME}svg"


def test_committed_picture_is_that_of_the_records(tmp_path: Path) -> None:
    written = write_attack_picture(records(), tmp_path).read_text(encoding="utf-8")
    assert written == (ROOT / "docs" / "figures" / FILE_NAME).read_text(encoding="utf-8"), (
        "run art-plugins report tests/records --fill docs/results.md"
    )
    block = re.search(r"<!-- attacks_by_filters -->\n!\[(.+?)\]\(figures/(\S+)\)", (ROOT / "docs/results.md").read_text())
    assert block is not None
    assert block[2] == FILE_NAME
    assert block[1] == grid_words(attack_grid(records()))


def test_title_of_a_filter_tells_of_trusted_samples_only_where_it_takes_them() -> None:
    for one in FILTERS:
        title = with_trusted(one.title, 20)
        assert (title != one.title) == one.takes_trusted == title.endswith(", 20 trusted a class")
        assert with_trusted(one.title, 0) == one.title
