"""The page of a scan in a real Chromium: keys, buttons, pages of a list, and the file of decisions that it downloads."""

from __future__ import annotations

import html
import json
import re
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from art_plugins.attacks.datasets.synthetic_speech import SAMPLE_RATE_HZ
from art_plugins.inspection.deciding.decisions import ACCEPT, REJECT, read_decisions
from art_plugins.inspection.scan import scan
from art_plugins.inspection.settings import ScanSettings
from art_plugins.triggers.sounds import WanderingTrigger, noise_burst

BROWSER = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
TARGET, EVIL_NAME = "tuo", "=1+1</script><script>document.title='evil'</script>'\".wav"
# A person at the keyboard and with a mouse; the downloaded file is kept, and what was said after each step.
PERSON = """<script>addEventListener("load", async () => {
  let file = null;
  URL.createObjectURL = (blob) => { file = blob; return "data:,"; };
  HTMLAnchorElement.prototype.click = function () { said.push(this.download); };
  const said = [], status = document.getElementById("said");
  const press = (keys) => { for (const key of keys) {
    document.activeElement.dispatchEvent(new KeyboardEvent("keydown", {key: key, bubbles: true, cancelable: true}));
    said.push(status.textContent); } };
  press("u" + "ja" + "jr" + "jra" + "jru" + "kk");
  const focused = document.activeElement.dataset.file;
  document.querySelector("[data-turn='1']").click();
  const second = [...document.querySelectorAll(".list [data-item]")];
  second[0].querySelector("[data-do=reject]").click();
  const pressed = second[0].querySelector("[data-do=reject]").getAttribute("aria-pressed");
  const states = second.map((item) => item.querySelector(".state").textContent);
  document.querySelector("[data-turn='-1']").click();
  document.getElementById("keys").click();
  press("r");
  document.getElementById("download").click();
  const heard = await Promise.allSettled([...document.querySelectorAll("audio")].map(async (sound) =>
    new OfflineAudioContext(1, 1, 8000).decodeAudioData(await (await fetch(sound.src)).arrayBuffer())));
  const out = document.createElement("p");
  out.textContent = JSON.stringify({text: await file.text(), said, focused, pressed, states, title: document.title,
    broken: [...document.images].filter((one) => !one.naturalWidth).length
      + heard.filter((one) => one.status !== "fulfilled").length,
    wide: document.documentElement.scrollWidth - innerWidth, sounds: heard.length});
  out.id = "counted"; document.body.append(out); });</script></body>"""


@pytest.fixture(scope="module")
def scanned(tmp_path_factory: pytest.TempPathFactory, write_words: Callable[..., Path]) -> tuple[Path, dict[str, Any]]:
    """Drawn words, half of one with a burst at any place; a page that shows five suspects at once."""
    stamp = WanderingTrigger(noise_burst(SAMPLE_RATE_HZ, length_s=0.2), 0.2)
    root = write_words(tmp_path_factory.mktemp("page") / "words", 24, 12, stamp)
    evil = root / TARGET / EVIL_NAME.replace("/", "\u2215")
    (root / TARGET / "00.wav").rename(evil)
    record = scan(root, None, root.parent / "out", ScanSettings(autoencoder="speech", max_listed=5), verbose=False)
    return root.parent / "out", record


@pytest.mark.skipif(BROWSER is None, reason="no Chromium")
def test_page_in_a_browser_takes_decisions_by_keys_and_buttons_that_a_scan_reads(
    scanned: tuple[Path, dict[str, Any]], tmp_path: Path
) -> None:
    out, record = scanned
    file = tmp_path / "page.html"
    file.write_text((out / "report.html").read_text(encoding="utf-8").replace("</body>", PERSON), encoding="utf-8")
    command = [str(BROWSER), *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--window-size=390,900"]
    command += ["--enable-logging=stderr", "--virtual-time-budget=20000", "--dump-dom", file.as_uri()]
    found: list[str] = []
    for _ in range(4):  # decoding sounds takes real time, which the browser's own clock does not wait for on a busy machine
        done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
        assert "CONSOLE" not in done.stderr
        found = re.findall(r'id="counted">(.*?)</p>', done.stdout)
        if found:
            break
    seen = json.loads(html.unescape(found[0]))
    suspects = [row for row in record["suspects"] if row["class"] == TARGET]
    assert len(suspects) >= 10

    (tmp_path / "decisions.json").write_text(seen["text"], encoding="utf-8")
    decisions = read_decisions(tmp_path / "decisions.json")
    expected = [ACCEPT] * len(suspects)
    expected[0] = REJECT  # by its key
    expected[5] = REJECT  # by its button, on the second page
    assert [decisions.of(row["sha256"], TARGET) for row in suspects] == expected
    written = json.loads(seen["text"])
    assert sorted(written["groups"][0]["sha256"]) == sorted(row["sha256"] for row in suspects)
    assert {row["file"] for row in written["files"]} == {suspects[index]["file"] for index in (0, 1, 5)}

    assert seen["said"][0] == "There is nothing to undo."
    assert f"The group in {TARGET} is accepted. 1 decision in all." in seen["said"]
    assert f"{suspects[0]['file']} is rejected. 2 decisions in all." in seen["said"]
    assert "The last decision is undone. 3 decisions in all." in seen["said"]
    assert "decisions.json" in seen["said"]
    assert seen["focused"] == suspects[0]["file"]
    assert seen["pressed"] == "true"
    assert seen["states"] == ["rejected"] + ["accepted"] * (len(seen["states"]) - 1)
    assert seen["title"] != "evil"
    assert seen["broken"] == 0
    assert seen["wide"] <= 0
    assert seen["sounds"] == 5 + 5 + 1  # a page of suspects, the typical ones, and what the group has in common


def test_page_goes_on_from_the_decisions_that_the_scan_was_given(
    scanned: tuple[Path, dict[str, Any]], tmp_path: Path, read_page: Any
) -> None:
    row = scanned[1]["suspects"][0]
    given = {"kind": "decisions", "schema": 1, "files": [{"sha256": row["sha256"], "class": TARGET, "decision": "reject"}]}
    (tmp_path / "d.json").write_text(json.dumps(given), encoding="utf-8")
    settings = ScanSettings(autoencoder="speech", decisions=tmp_path / "d.json")
    scan(scanned[0].parent / "words", None, tmp_path / "out", settings, verbose=False)
    text = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    (earlier,) = re.findall(r'<script type="application/json" id="earlier">(.*?)</script>', text)
    assert json.loads(earlier)["files"] == [
        {"sha256": row["sha256"], "class": TARGET, "decision": "reject", "file": row["file"]}
    ]
    assert "<script>document" not in text
