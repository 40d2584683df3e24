from __future__ import annotations

import base64
import io
import json
import re
import sys

import numpy as np
import pytest
from PIL import Image

from art_plugins.errors import InvalidInputError, MissingPackageError
from art_plugins.reports import drawing
from art_plugins.reports.comparison.comparison_page import check_report_packages, finding, write_compare_report
from art_plugins.reports.comparison.comparison_tables import markdown_report, markdown_table
from art_plugins.reports.record_files import COMPARISON, heading

HOSTILE = "<script>alert(1)</script> \"quoted\" 'a' & |pipe| `tick` $x_1$ *star* \\back\n# line"
PICTURES = ("rates", "class_scores", "clusters", "confusion", "losses")


def defence_row(name, title, tp, fp, fn, tn, **changes):
    return {
        "name": name,
        "title": title,
        "tp": tp,
        "fp": fp,
        "fn": fn,
        "tn": tn,
        "tpr": tp / (tp + fn),
        "fpr": fp / (fp + tn),
        "f1": 2 * tp / (2 * tp + fp + fn),
        "auroc": 0.9876,
        "ari_target": 0.1234,
        "fraction_removed": (tp + fp) / (tp + fp + fn + tn),
        "clean_accuracy": 0.8712,
        "attack_success": 0.0421,
        "retrained_as": None,
        "seconds": 12.34,
        "peak_memory_mb": 456.7,
        "note": None,
    } | changes


def make_task(name="speech_commands", title="Speech Commands (real recordings)", seed=0):
    """Eleven classes of the size of the paper's, with figures as a run may give them."""
    random = np.random.default_rng(seed)
    class_names = ["yes", "no", "up", "down", "left", "right", "on", "off", "stop", "go", "_unknown_"]
    scores = random.normal(31, 1.6, size=11).round(6)
    scores[4], index = 57.123456, None
    median = np.median(scores[:10])
    index = (scores - median) / (1.4826 * np.median(np.abs(scores[:10] - median)))
    classes = [
        {
            "name": class_name,
            "n_samples": 3000 + label,
            "n_poison": 300 if label == 4 else 0,
            "class_score": None if label == 10 else float(scores[label]),
            "mad_index": None if label == 10 else float(index[label]),
            "p_value": None if label == 10 else 0.0025 if label == 4 else 1.0,
            "verdict": "not judged: 7 samples, 48 are needed" if label == 10 else "poisoned" if label == 4 else "clean",
        }
        for label, class_name in enumerate(class_names)
    ]
    as_shipped = "as ART ships it: on logits"
    return {
        "name": name,
        "title": title,
        "settings": {
            "trigger": "clapping",
            "source": "_unknown_",
            "target": "left",
            "fraction": 0.1,
            "cap": None,
            "seed": seed,
            "classifier_network": "cnn",
            "classifier_nb_epochs": 15,
            "silence": False,
        },
        "notes": ["The class _silence_ is left out, as in the paper."],
        "class_names": class_names,
        "source": "_unknown_",
        "target": "left",
        "trigger": "clapping",
        "fraction": 0.1,
        "seed": seed,
        "n_train": 33055,
        "n_test": 4482,
        "n_poison": 300,
        "target_share": 0.0999,
        "undefended": {
            "clean_accuracy": 0.9143,
            "attack_success": 0.9876 - seed / 100,
            "n_clean_test": 4482,
            "n_triggered_test": 408,
        },
        "defences": [
            defence_row("vae_latent", "VAE latent clustering", 297, 12, 3, 32743),
            defence_row(
                "activation_clustering_logits",
                "Activation clustering (logits)",
                41,
                9876,
                259,
                22879,
                note=as_shipped,
                attack_success=0.9511,
            ),
            defence_row(
                "activation_clustering_penultimate",
                "Activation clustering (penultimate)",
                288,
                11832,
                12,
                20923,
                attack_success=0.2134,
            ),
            defence_row(
                "spectral_signatures_logits",
                "Spectral signatures (logits)",
                0,
                1650,
                300,
                31105,
                note=as_shipped,
                auroc=None,
                attack_success=0.9813,
            ),
            defence_row(
                "spectral_signatures_penultimate",
                "Spectral signatures (penultimate)",
                0,
                0,
                300,
                32755,
                f1=0.0,
                attack_success=0.9876,
                clean_accuracy=None,
                retrained_as="undefended",
            ),
            defence_row(
                "perfect_filter",
                "Perfect filter",
                300,
                0,
                0,
                32755,
                auroc=1.0,
                ari_target=1.0,
                attack_success=0.0319,
                note="upper bound: knows the truth",
            ),
            defence_row(
                "random_filter",
                "Random filter",
                3,
                297,
                297,
                32458,
                retrained_as="perfect_filter",
                peak_memory_mb=0.0,
                note="lower bound: removes as many samples as there is poison",
            ),
        ],
        "classes": classes,
        "score_limit": 39.28,
        "autoencoder_history": [
            {
                "total": 1010.5 + 4000 / epoch,
                "reconstruction": 989.25 + 4000 / epoch,
                "divergence_sample": 14.125 - 5 / epoch,
                "divergence_steps": 7.0625 + epoch / 100,
            }
            for epoch in range(1, 31)
        ],
    }


def make_arrays(seed=0, n_clean=2700, n_poison=300):
    random = np.random.default_rng(seed)
    is_poison = np.arange(n_clean + n_poison) >= n_clean
    points = random.normal(size=(n_clean + n_poison, 2)) * [2.0, 1.4] + np.where(is_poison, 6.0, 0.0)[:, None] * [1, 0.3]
    clusters = is_poison.astype(int)
    clusters[-3:] = 0
    clusters[:12] = 1
    return {"target_latents_2d": points, "target_clusters": clusters, "target_is_poison": is_poison}


def make_record(*tasks):
    return {
        **heading(COMPARISON),
        "command": "art-plugins compare --dataset speech_commands --out out/compare",
        "versions": {"python": "3.12.3", "torch": "2.11.0", "art-plugins": "0.1.0"},
        "seconds": 4321.98,
        "runs": list(tasks),
    }


def small_arrays():
    return make_arrays(n_clean=30, n_poison=6)


def hostile_task():
    task = make_task(title=HOSTILE)
    task["classes"][4]["name"] = task["target"] = task["source"] = task["trigger"] = HOSTILE
    task["settings"][HOSTILE] = HOSTILE
    task["notes"] = [HOSTILE]
    task["defences"][1] |= {"title": HOSTILE, "note": HOSTILE}
    return task


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    """The files of a run of a usual task and one with hostile names."""
    folder = tmp_path_factory.mktemp("report")
    tasks = [make_task(), {**hostile_task(), "name": "hostile"}]
    record = json.loads(json.dumps(make_record(*tasks)))
    write_compare_report(folder, record, {task["name"]: small_arrays() for task in tasks})
    return folder


@pytest.fixture(scope="module")
def page(written, read_page):
    return read_page(written / "report.html")


def cells(markdown):
    """Rows of a Markdown table as lists of unescaped cells."""
    lines = [line for line in markdown.splitlines() if line.startswith("|")]
    return [[re.sub(r"\\(.)", r"\1", cell.strip()) for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in lines]


def test_markdown_table_every_figure_of_a_filter_is_in_its_row_under_its_heading():
    heading, _, undefended, vae, *_ = cells(markdown_table(make_task()))
    row = dict(zip(heading, vae, strict=True))
    assert row == {
        "Filter": "VAE latent clustering",
        "TP": "297",
        "FP": "12",
        "FN": "3",
        "TN": "32743",
        "TPR": "0.990",
        "FPR": "0.000",
        "F1": "0.975",
        "AUROC": "0.988",
        "ARI of target class": "0.123",
        "Share removed": "0.009",
        "Clean accuracy": "0.871",
        "Attack success": "0.042",
        "Seconds": "12.3",
        "Peak memory (MB)": "457",
        "Note": "",
    }
    before = dict(zip(heading, undefended, strict=True))
    assert (before["Filter"], before["Clean accuracy"], before["Attack success"]) == ("No filter", "0.914", "0.988")
    assert {before[name] for name in ("TP", "TPR", "AUROC", "Seconds")} == {"\u2014"}


def test_markdown_table_rows_are_as_wide_as_the_heading_and_in_the_order_of_the_record():
    task = make_task()
    heading, rule, *rows = cells(markdown_table(task))
    assert {len(row) for row in rows} == {len(heading)} == {len(rule)}
    assert [row[0] for row in rows] == ["No filter", *(row["title"] for row in task["defences"])]


def test_markdown_table_sentence_above_holds_the_attack():
    first = markdown_table(make_task()).splitlines()[0]
    for part in ("300 of 33055", "clapping", r"\_unknown\_ → left", "0.100", "4482", "408", "seed 0"):
        assert part in first


def test_markdown_table_missing_values_are_dashes():
    task = make_task()
    for key in ("tpr", "fpr", "f1", "auroc", "ari_target", "clean_accuracy", "attack_success"):
        task["defences"][0][key] = None
    task["defences"][1]["f1"] = float("nan")
    text = markdown_table(task)
    assert cells(text)[3].count("\u2014") == 7
    assert not re.search(r"none|nan", text, flags=re.IGNORECASE)


def test_markdown_table_twin_of_another_filter_is_named_in_the_note():
    rows = {row[0]: row[-1] for row in cells(markdown_table(make_task()))}
    assert rows["Random filter"].endswith("keeps the same samples as Perfect filter, so the same model")
    assert "No filter" in rows["Spectral signatures (penultimate)"]


def test_markdown_table_hostile_names_stay_in_their_cell():
    text = markdown_table(hostile_task())
    heading, _, *rows = cells(text)
    assert {len(row) for row in rows} == {len(heading)}
    assert rows[2][0] == " ".join(HOSTILE.split())
    assert not re.search(r"(?<!\\)[<`]", text)
    assert len([line for line in text.splitlines() if not line.startswith("|") and line]) == 1


def test_markdown_report_seeds_of_one_task_get_mean_and_range():
    first, second, third = make_task(), make_task("b", seed=1), make_task("c", seed=2)
    for task, tpr, auroc in ((first, 0.9, 0.5), (second, 0.8, None), (third, 1.0, 0.7)):
        task["defences"][0] |= {"tpr": tpr, "auroc": auroc}
    text = markdown_report(make_record(first, second, third))
    assert "mean over seeds 0, 1, 2" in text.splitlines()[0]
    row = dict(zip(cells(text)[0], cells(text)[3], strict=True))
    assert row["TPR"] == "0.900 (0.800 to 1.000)"
    assert row["AUROC"] == "0.600 (0.500 to 0.700, 2 of 3 known)"
    assert row["Attack success"] == "0.042"


@pytest.mark.parametrize("change", [{"title": "Digits"}, {"target": "go"}, {"settings": {"cap": 400}}])
def test_markdown_report_tasks_that_differ_in_more_than_the_seed_are_not_averaged(change):
    assert "mean over" not in markdown_report(make_record(make_task(), make_task("b", seed=1) | change))


def test_finding_names_who_caught_the_poison_and_who_did_not():
    caught, missed = finding(make_task()).split("It was not caught by")
    assert "0.988 of the 408 triggered" in caught
    assert "caught by VAE latent clustering (TPR 0.990, FPR 0.000; then attack 0.042, clean accuracy 0.871)" in caught
    assert "Activation clustering (logits); Activation clustering (penultimate)" in missed  # their numbers are below
    assert "Perfect" not in caught + missed


def test_finding_says_when_nobody_caught_it_and_when_the_attack_hardly_works():
    task = make_task()
    task["defences"] = task["defences"][1:]
    assert "No filter caught the poison" in finding(task)
    assert "hardly works" not in finding(task)
    task["undefended"]["attack_success"] = 0.2
    assert "hardly works" in finding(task)


def test_report_page_holds_every_figure_of_the_record(written, page):
    task = make_task()
    for cell in (cell for row in cells(markdown_table(task))[2:] for cell in row):
        assert cell in page.text
    for row in task["classes"]:
        for value in (row["class_score"], row["mad_index"]):
            assert value is None or f"{value:.2f}" in page.text
        assert f" {row['n_samples']} " in re.sub(r"\s+", " ", page.text)
        assert row["verdict"] in page.text
    for losses in task["autoencoder_history"]:
        assert all(f"{value:.3f}" in page.text for value in losses.values())
    for name, value in task["settings"].items():
        assert name in page.text
        assert value in (None, False) or str(value) in page.text
    record = make_record()
    for text in (*record["versions"], *record["versions"].values(), record["command"], "4322.0 seconds", *task["notes"]):
        assert text in page.text
    assert {"report.html", "table.md", "figures"} == {entry.name for entry in written.iterdir()}


def test_report_page_missing_values_are_dashes(page):
    assert "\u2014" in page.text
    assert not re.search(r"\b(none|nan|undefined)\b", page.text, flags=re.IGNORECASE)


def test_report_page_needs_nothing_from_outside_and_runs_nothing(written, page):
    source = (written / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?://|url\(|@import|//cdn", source)
    assert not {"script", "link", "iframe", "object", "embed", "form"} & {tag for tag, _ in page.elements}
    for _, attributes in page.elements:
        assert not any(name.startswith("on") for name in attributes)
        assert attributes.get("href", "#").startswith("#")
    assert "prefers-color-scheme: dark" in source
    assert any(attributes.get("name") == "viewport" for attributes in page.all("meta"))


def test_report_page_hostile_names_are_text(page):
    assert page.text.count("<script>alert(1)</script>") > 5
    assert all(alt["alt"].strip() for alt in page.all("img"))
    assert any(HOSTILE in attributes["alt"] for attributes in page.all("img"))


def test_report_page_every_image_is_whole_and_has_words(page, written):
    images = page.all("img")
    assert len(images) == 2 * len(PICTURES)
    for attributes in images:
        kind, _, content = attributes["src"].partition(",")
        assert kind == "data:image/png;base64"
        with Image.open(io.BytesIO(base64.b64decode(content, validate=True))) as image:
            image.load()
            shown = (int(attributes["width"]), int(attributes["height"]))
            np.testing.assert_allclose(image.size, np.array(shown) * drawing.PIXEL_RATIO, atol=drawing.PIXEL_RATIO)
        assert len(attributes["alt"].split()) > 12
    assert len({attributes["alt"] for attributes in images}) > len(PICTURES)


def test_report_page_links_lead_somewhere_and_tables_have_headings_and_captions(page):
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(set(ids)) == len(ids)
    assert {attributes["href"][1:] for attributes in page.all("a")} <= set(ids)
    assert len(page.all("table")) == len(page.all("caption")) == 2 * 4 + 1
    assert all(attributes.get("scope") in ("row", "col") for attributes in page.all("th"))


def test_report_figures_beside_the_page_are_those_of_every_task(written, page):
    names = {path.name for path in (written / "figures").iterdir()}
    assert names == {f"{task}_{name}.png" for task in ("speech_commands", "hostile") for name in PICTURES}
    inside = {base64.b64decode(attributes["src"].partition(",")[2]) for attributes in page.all("img")}
    assert inside == {path.read_bytes() for path in (written / "figures").iterdir()}


def test_report_two_seeds_have_their_means_in_the_page_and_the_markdown_file(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "png_bytes", lambda figure: b"png")
    tasks = [make_task(), make_task("speech_commands_seed1", seed=1)]
    record = make_record(*tasks)
    write_compare_report(tmp_path, record, {task["name"]: small_arrays() for task in tasks})
    for name in ("report.html", "table.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "mean over seeds 0, 1" in text
        assert "0.983 (0.978 to 0.988)" in text
    assert (tmp_path / "table.md").read_text(encoding="utf-8") == markdown_report(record)


@pytest.mark.parametrize("names", [("../up",), ("a/b",), ("",), (".hidden",), ("same", "same")])
def test_report_names_that_are_no_unique_file_names_are_refused(tmp_path, names):
    tasks = [make_task(name) for name in names]
    with pytest.raises(InvalidInputError, match="unique names"):
        write_compare_report(tmp_path / "out", make_record(*tasks), {name: small_arrays() for name in names})
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("package", ["jinja2", "matplotlib"])
def test_report_missing_package_is_named_and_nothing_is_written(tmp_path, monkeypatch, package):
    for name in [name for name in sys.modules if name.split(".")[0] == package]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(MissingPackageError, match=rf"{package}.*art-plugins\[report\]"):
        check_report_packages()
    with pytest.raises(MissingPackageError, match=package):
        write_compare_report(tmp_path / "out", make_record(make_task()), {"speech_commands": small_arrays()})
    assert list(tmp_path.iterdir()) == []
    assert "VAE latent clustering" in markdown_report(make_record(make_task()))


@pytest.mark.parametrize("missing", ["classes", "versions"])
def test_report_incomplete_record_writes_nothing(tmp_path, monkeypatch, missing):
    monkeypatch.setattr(drawing, "png_bytes", lambda figure: b"png")
    record = make_record(make_task())
    (record if missing in record else record["runs"][0]).pop(missing)
    with pytest.raises(KeyError, match=missing):
        write_compare_report(tmp_path / "out", record, {"speech_commands": small_arrays()})
    assert list(tmp_path.iterdir()) == []


def test_report_failure_while_writing_leaves_the_old_page_and_no_fragments(tmp_path, monkeypatch):
    (tmp_path / "report.html").write_text("old")
    (tmp_path / "table.md").mkdir()
    monkeypatch.setattr(drawing, "png_bytes", lambda figure: b"png")
    with pytest.raises(InvalidInputError, match="it is a folder"):
        write_compare_report(tmp_path, make_record(make_task()), {"speech_commands": small_arrays()})
    assert (tmp_path / "report.html").read_text() == "old"
    assert not list(tmp_path.rglob("*.partial"))
