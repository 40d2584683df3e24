"""The picture that the pages begin with: points as in the record, no name covers another, words that say the same."""

from __future__ import annotations

import base64
import functools
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from art_plugins.reports.comparison.comparison_page import write_compare_report
from art_plugins.reports.comparison.comparison_tables import defence_table
from art_plugins.reports.comparison.rate_figures import rate_figure, rate_picture, rate_words
from art_plugins.reports.drawing import png_bytes
from art_plugins.reports.evaluation_page import write_evaluation_report
from art_plugins.reports.records import gather
from art_plugins.reports.tables import runs_of_one_task

RECORDS = Path(__file__).parents[2] / "records"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
# What sticks out of the page, which boxes scroll, and how far the first column moves when they do, by the browser itself.
MEASURE = """<script>addEventListener("load", () => { const frame = document.querySelector("iframe");
  const page = frame.contentDocument, view = frame.contentWindow;
  for (const one of page.querySelectorAll("details")) one.open = true;
  const boxes = [...page.querySelectorAll(".scroll, .card")];
  const outside = [...page.body.querySelectorAll("*")].filter((one) =>
    !boxes.some((box) => box.contains(one) && box !== one) &&
    one.getBoundingClientRect().right > view.innerWidth + 1).map((one) => one.outerHTML.slice(0, 80));
  const cut = boxes.filter((box) => box.scrollWidth > box.clientWidth + 1);
  const moved = cut.filter((box) => box.querySelector("table")).map((box) => { box.scrollLeft = 60;
    const left = box.getBoundingClientRect().left;
    return Math.max(...[...box.querySelectorAll("tbody th, thead th:first-child")].map((one) =>
      Math.abs(one.getBoundingClientRect().left - left))); });
  const out = document.createElement("p"); out.id = "measured";
  out.textContent = JSON.stringify({outside, moved, width: view.innerWidth, tables: page.querySelectorAll("table").length,
    still: cut.filter((box) => view.getComputedStyle(box).overflowX !== "auto").length,
    wide: cut.filter((box) => box.querySelector("table")).length,
    first: page.querySelector("main img, main table").tagName, dark: view.getComputedStyle(page.body).backgroundColor});
  document.body.append(out); });</script>"""


def groups(name: str) -> list[list[dict]]:
    return runs_of_one_task(json.loads((RECORDS / f"{name}.json").read_text(encoding="utf-8"))["runs"])


ALL = [tasks for name in ("default", "speech_commands") for tasks in groups(name)]


@functools.cache
def figure_of(number: int) -> Any:
    """The figure of ``ALL[number]``, drawn once."""
    return rate_figure(ALL[number])


def points_of(axes) -> np.ndarray:
    return np.array([line.get_xydata()[0] for line in axes.lines if line.get_marker() not in ("None", None, "")])


@pytest.mark.parametrize("number", range(len(ALL)))
def test_rate_figure_points_are_the_means_of_the_record(number):
    tasks, (axes,) = ALL[number], figure_of(number).axes
    expected = np.array([[[row["fpr"], row["tpr"]] for row in task["defences"]] for task in tasks]).mean(axis=0)
    np.testing.assert_allclose(points_of(axes), expected)
    (x0, x1), (y0, y1) = axes.get_xlim(), axes.get_ylim()
    assert ((expected > [x0, y0]) & (expected < [x1, y1])).all()


def boxes_of(figure) -> np.ndarray:
    return np.array([text.get_window_extent().extents for text in figure.axes[0].texts])


def n_covered(figure) -> int:
    """Pairs of names that cover each other, names outside the axes, and points under a name."""
    boxes, frame = boxes_of(figure), figure.axes[0].get_window_extent().extents
    pairs = (boxes[:, None, :2] < boxes[None, :, 2:]) & (boxes[None, :, :2] < boxes[:, None, 2:])
    points = figure.axes[0].transData.transform(points_of(figure.axes[0]))
    under = (boxes[:, None, :2] < points) & (points < boxes[:, None, 2:])
    outside = (boxes[:, :2] < frame[:2]).any() or (boxes[:, 2:] > frame[2:]).any()
    return int(np.triu(pairs.all(axis=-1), 1).sum() + under.all(axis=-1).sum() + outside)


@pytest.mark.parametrize("number", range(len(ALL)))
def test_rate_figure_names_cover_neither_each_other_nor_a_point(number):
    tasks, figure = ALL[number], figure_of(number)
    names = [" ".join(text.get_text().split()) for text in figure.axes[0].texts]
    assert names == [row["title"] for row in tasks[0]["defences"]]
    assert n_covered(figure) == 0


def test_rate_figure_filters_that_all_stand_in_one_point_keep_their_names_apart():
    (task,) = groups("default")[0]
    for rates in ({"tpr": 0.0, "fpr": 0.0}, {"tpr": 1.0, "fpr": 0.0}, {"tpr": 1.0, "fpr": 1.0}):
        figure = rate_figure([{**task, "defences": [row | rates for row in task["defences"]]}])
        assert n_covered(figure) == 0


def test_rate_figure_bounds_differ_from_filters_without_colour_and_bytes_are_equal_for_equal_records():
    figure = figure_of(0)
    markers = [line.get_marker() for line in figure.axes[0].lines if line.get_marker() in ("o", "D")]
    n_filters = len(ALL[0][0]["defences"]) - 2
    assert markers == ["o"] * n_filters + ["D"] * 2
    assert png_bytes(figure) == png_bytes(rate_figure(ALL[0]))


def test_rate_words_hold_every_rate_and_who_is_not_shown():
    (task,) = ALL[0]
    words = rate_words([task])
    for row in task["defences"]:
        assert re.search(re.escape(row["title"]) + rf"[^;]*: TPR {row['tpr']:.3f}, FPR {row['fpr']:.3f}", words)
    rows = [{**task["defences"][0], "tpr": None}, *task["defences"][1:]]
    assert words.index("Layer-wise features (trusted)") < words.index("SPECTRE")
    assert rate_words([{**task, "defences": rows}]).endswith("Not shown, since a rate is not known: VAE latent clustering.")
    assert len(rate_figure([{**task, "defences": rows}]).axes[0].texts) == len(rows) - 1
    assert "Means over 3 seeds" in rate_words(ALL[2])
    assert "VAE latent clustering: TPR 0.998 (0.994 to 1.000)" in rate_words(ALL[2])


def test_rate_figure_without_any_known_rate_is_drawn():
    (task,) = ALL[0]
    rows = [{**row, "tpr": None} for row in task["defences"]]
    assert png_bytes(rate_figure([{**task, "defences": rows}]))
    assert "no filter" in rate_words([{**task, "defences": rows}])


@pytest.fixture(scope="module")
def page_of_all(tmp_path_factory) -> Path:
    """The page of all committed records. Its tables are many, so that it is drawn and read in slow tests alone."""
    folder = tmp_path_factory.mktemp("all")
    write_evaluation_report(gather([RECORDS]), folder)
    return folder / "report.html"


@pytest.fixture(scope="module")
def page_of_one(tmp_path_factory) -> Path:
    """The comparison's page, of what was measured."""
    folder = tmp_path_factory.mktemp("compare")
    record = json.loads((RECORDS / "default.json").read_text(encoding="utf-8"))
    marks = np.arange(30) >= 24
    arrays = {"target_latents_2d": np.eye(30, 2), "target_clusters": marks.astype(int), "target_is_poison": marks}
    record["runs"] = [{**task, "suspects": []} for task in record["runs"]]
    # A second seed: its means stand in a table with ranges, the widest of all.
    second = {**record["runs"][0], "name": "second", "seed": 1, "defences": [*record["runs"][0]["defences"]]}
    second["defences"] = [{**row, "tpr": row["tpr"] / 2, "seconds": row["seconds"] + 1000} for row in second["defences"]]
    record["runs"].append(second)
    write_compare_report(folder, record, {task["name"]: arrays for task in record["runs"]})
    return folder / "report.html"


PAGES = pytest.mark.parametrize("name", ["page_of_one", pytest.param("page_of_all", marks=pytest.mark.slow)])


@PAGES
def test_pages_show_the_picture_with_its_words(request, read_page, name):
    record = json.loads((RECORDS / "default.json").read_text(encoding="utf-8"))
    shown = {image["alt"]: image["src"] for image in read_page(request.getfixturevalue(name)).all("img")}
    drawn = rate_picture([record["runs"][1]])
    assert shown[drawn.words] == drawn.uri
    assert base64.b64decode(drawn.uri.partition(",")[2]) == drawn.content


def test_page_notes_stand_below_the_table_once_with_the_filters_that_they_are_of(page_of_one, read_page):
    text = " ".join(read_page(page_of_one).text.split())
    assert "Activation clustering (logits); Spectral signatures (logits): as ART ships it: on logits" in text
    record = json.loads((RECORDS / "default.json").read_text(encoding="utf-8"))
    for task in record["runs"]:
        assert all(cell in text for row in defence_table(task).rows for cell in row)


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1200])
@PAGES
def test_page_in_a_browser_is_as_wide_as_the_window_and_wide_tables_scroll_beside_their_names(
    request, tmp_path, name, width, scheme
):
    (tmp_path / "page.html").write_text(request.getfixturevalue(name).read_text(encoding="utf-8"), encoding="utf-8")
    # In a frame, since Chromium's own window is never narrower than 500 pixels.
    frame = f'<iframe src="page.html" style="width:{width}px;height:900px;border:0"></iframe>'
    (tmp_path / "frame.html").write_text(f"<!DOCTYPE html><body>{frame}{MEASURE}</body>", encoding="utf-8")
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=1400,1000"]
    command += ["--allow-file-access-from-files", f"--blink-settings=preferredColorScheme={int(scheme == 'light')}"]
    command += ["--virtual-time-budget=20000", "--dump-dom", (tmp_path / "frame.html").as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    found = json.loads(re.search(r'id="measured">(.*?)</p>', done.stdout)[1])
    assert found["outside"] == []
    assert (found["width"], found["still"]) == (width, 0)
    assert found["tables"] > 8
    assert all(distance <= 1.5 for distance in found["moved"])
    assert found["dark"] == ("rgb(255, 255, 255)" if scheme == "light" else "rgb(22, 24, 27)")
    if name == "page_of_one":
        assert found["first"] == "IMG"
        assert found["wide"] == (0 if width == 1200 else len(found["moved"]))
        assert width == 1200 or found["wide"] > 0
