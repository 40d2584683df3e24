"""The page of all records: whole, self-contained, readable without seeing; and in a real browser where there is one."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from art_plugins.errors import InvalidInputError
from art_plugins.files.sound_files import wav_bytes
from art_plugins.reports.evaluation_page import KIND_TITLES, filled, write_evaluation_report
from art_plugins.reports.record_files import IN_FLIGHT, KINDS, REPRODUCTION
from art_plugins.reports.records import TABLES, gather, record_markdown
from art_plugins.reports.suspects import write_suspects
from art_plugins.reproduction.runner import find_items, item_record, write_item

RECORDS = Path(__file__).parents[1] / "records"
BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
# What a person would see as broken, counted by the browser itself once the page is there.
COUNTER = """<script>addEventListener("load", async () => {
  for (const one of document.querySelectorAll("details")) one.open = true;
  const images = [...document.images];
  const sounds = [...document.querySelectorAll("audio")];
  const decoder = new OfflineAudioContext(1, 1, 8000);
  const heard = await Promise.allSettled(sounds.map(async (sound) =>
    decoder.decodeAudioData(await (await fetch(sound.src)).arrayBuffer())));
  const out = document.createElement("p");
  out.textContent = JSON.stringify({images: images.length, sounds: sounds.length,
    broken: images.filter((image) => !image.naturalWidth).length + heard.filter((one) => one.status !== "fulfilled").length,
    wide: document.documentElement.scrollWidth - innerWidth});
  out.id = "counted"; document.body.append(out); });</script></body>"""


@pytest.fixture(scope="module")
def written(tmp_path_factory) -> Path:
    """The page of an item of each paper, of all committed records, and of a comparison with suspects to hear and to see."""
    out = tmp_path_factory.mktemp("report")
    for paper, name in (("mehlman", "fig2"), ("li", "table3"), ("preetha", "profiles")):
        (item,) = find_items(paper, name)
        known = {study: json.loads((RECORDS / f"{study}.json").read_text(encoding="utf-8")) for study in item.studies}
        write_item(item, item_record(item, "cpu", known), known, out / "reproduce" / paper / name)
    record = json.loads((RECORDS / "default.json").read_text(encoding="utf-8"))
    times = [[0.1, -0.2, 0.3] * 800] * 2
    suspects = [
        {"row": 0, "called": True, "score": 4.5, "is_poison": True},
        {"row": 1, "called": False, "score": None, "is_poison": False},
    ]
    record["runs"][1]["suspects"] = write_suspects(times, suspects, "words", 8_000, out / "compare" / "suspects")
    record["runs"][0]["suspects"] = write_suspects(
        [[[[0.0, 1.0]]]], suspects[:1], "digits", None, out / "compare" / "suspects"
    )
    (out / "compare" / "record.json").write_text(json.dumps(record), encoding="utf-8")
    (out / "compare" / "other.json").write_text('{"command": "something else"}', encoding="utf-8")
    (out / "compare" / "half.json").write_text('{"command": ', encoding="utf-8")
    write_evaluation_report(gather([out / "reproduce", out / "compare", RECORDS]), out)
    return out


def test_page_holds_every_item_and_record_and_needs_no_other_file(written, read_page):
    page = read_page(written / "report.html")
    for text in (
        "Fig. 2, poison likelihood scores",
        "Table 3, Neural Cleanse",
        "layer profiles",
        "in_flight_cifar10",
        "sweep",
    ):
        assert text in page.text
    links = page.links()
    assert all(link.startswith(("data:", "#")) for link in links)
    assert page.all("script") == page.all("link") == []


def test_page_is_readable_without_seeing(written, read_page):
    page = read_page(written / "report.html")
    assert page.all("html")[0]["lang"] == "en"
    assert all(len(image["alt"]) > 10 for image in page.all("img"))
    assert all(sound["aria-label"] for sound in page.all("audio"))
    assert len(page.all("caption")) == len(page.all("table"))
    assert all(header["scope"] in ("col", "row") for header in page.all("th"))
    ids = [tag["id"] for _, tag in page.elements if "id" in tag]
    assert len(ids) == len(set(ids))
    assert {link["href"][1:] for link in page.all("a")} <= set(ids)


def test_page_suspects_say_the_verdict_and_the_truth(written, read_page):
    page = read_page(written / "report.html")
    assert [sound["aria-label"] for sound in page.all("audio")] == [
        "called poison, score 4.50; in truth poison",
        "kept; in truth clean",
    ]


def test_markdown_has_every_table_of_the_records(written):
    text = (written / "report.md").read_text(encoding="utf-8")
    for file in RECORDS.glob("*.json"):
        record = json.loads(file.read_text(encoding="utf-8"))
        assert record_markdown(record).strip() in text, file.name
        assert f"`{record['command']}`" in text


def test_every_committed_record_is_of_a_known_kind():
    assert {json.loads(file.read_text(encoding="utf-8"))["kind"] for file in RECORDS.glob("*.json")} >= {
        "compare",
        "sweep",
        "in-flight",
        "layerwise",
        "armory",
    }


@pytest.mark.parametrize("make", [lambda folder: folder / "none", lambda folder: folder])
def test_gather_without_a_record_says_what_to_run(tmp_path, make):
    with pytest.raises(InvalidInputError, match="reproduce"):
        gather([make(tmp_path)])


def test_gather_passes_over_the_sweeps_that_an_ablation_made(tmp_path):
    ablation = json.loads((RECORDS / "ablation.json").read_text(encoding="utf-8"))
    sweep = json.loads((RECORDS / "sweep.json").read_text(encoding="utf-8"))
    for name, record in {
        "ablation": ablation,
        "ablation/default": {**sweep, "command": ablation["command"]},
        "sweep": sweep,
    }.items():
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "record.json").write_text(json.dumps(record), encoding="utf-8")
    assert [(one.kind, one.name) for one in gather([tmp_path])] == [("sweep", "sweep"), ("ablation", "ablation")]


def test_suspects_outside_the_records_folder_are_not_read(tmp_path, written, read_page):
    (tmp_path / "secret.wav").write_bytes(wav_bytes([0.0] * 100, 8_000))
    folder = tmp_path / "compare"
    folder.mkdir()
    record = json.loads((written / "compare" / "record.json").read_text(encoding="utf-8"))
    for task in record["runs"]:
        task["suspects"] = [{"file": "../secret.wav", "called": True, "score": 1.0, "is_poison": True}]
    (folder / "record.json").write_text(json.dumps(record), encoding="utf-8")
    write_evaluation_report(gather([folder]), tmp_path / "out")
    assert read_page(tmp_path / "out" / "report.html").all("audio") == []


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
@pytest.mark.parametrize("width", [390, 1280])
def test_page_in_a_browser_has_no_error_nothing_broken_and_fits(written, tmp_path, width):
    file = tmp_path / "page.html"
    file.write_text((written / "report.html").read_text(encoding="utf-8").replace("</body>", COUNTER), encoding="utf-8")
    command = [BROWSER, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", f"--window-size={width},900"]
    command += ["--enable-logging=stderr", "--virtual-time-budget=120000", "--dump-dom", file.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    assert "CONSOLE" not in done.stderr
    counted = json.loads(re.search(r'id="counted">(.*?)</p>', done.stdout)[1])
    assert counted["broken"] == 0
    assert counted["images"] >= 4
    assert counted["sounds"] == 2
    assert counted["wide"] <= 0


def test_filled_blocks_hold_the_records_tables_and_the_rest_stays(written):
    gathered = gather([written / "reproduce", RECORDS])
    text = "before\n<!-- sweep 2 -->\nold\n<!-- end -->\nbetween\n<!-- reproduction -->\n<!-- end -->\nafter\n"
    found = filled(text, gathered)
    assert "old" not in found
    assert "Clean draws" in found
    assert "Attacks with a share" not in found  # the first table of the sweep
    assert "Figures that the papers report" in found
    assert re.sub(r"<!--.*?<!-- end -->", "", found, flags=re.DOTALL) == "before\n\nbetween\n\nafter\n"
    assert filled(found, gathered) == found


@pytest.mark.parametrize("block", ["nothing", "sweep 9"])
def test_filled_block_that_names_nothing_is_refused(block):
    with pytest.raises(InvalidInputError, match=block.split()[0]):
        filled(f"<!-- {block} -->\n<!-- end -->", gather([RECORDS]))


def test_every_kind_of_record_has_a_heading_and_tables():
    assert {*KIND_TITLES, REPRODUCTION} == set(KINDS)
    assert set(TABLES) | {IN_FLIGHT} == set(KINDS)
