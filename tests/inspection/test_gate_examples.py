"""The examples of the page on pipelines do what the page says: the step of GitHub Actions, and the hook of pre-commit."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.slow

yaml = pytest.importorskip("yaml")
PAGE = Path(__file__).parents[2] / "docs" / "how_to" / "gate_a_pipeline.md"
ACTIONS, HOOK = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.S)


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory, write_words: Callable[..., Path]) -> Path:
    """A git repository whose folder data holds drawn words, half of one with a burst of noise."""
    root = tmp_path_factory.mktemp("repository")
    write_words(root / "data", 40, 20)
    (root / ".pre-commit-config.yaml").write_text(HOOK, encoding="utf-8")
    run(root, "git init -q && git add data .pre-commit-config.yaml")
    return root


def run(root: Path, command: str) -> subprocess.CompletedProcess[str]:
    """In a shell in which art-plugins is the command of this package."""
    (root / "bin").mkdir(exist_ok=True)
    program = root / "bin" / "art-plugins"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m art_plugins.cli "$@"\n', encoding="utf-8")
    program.chmod(0o755)
    environment = os.environ | {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(command, shell=True, cwd=root, env=environment, capture_output=True, text=True, timeout=300)


def test_step_of_github_actions_fails_and_leaves_what_the_later_steps_take(repository: Path) -> None:
    steps: list[dict[str, Any]] = yaml.safe_load(ACTIONS)["jobs"]["scan"]["steps"]
    (command,) = [step["run"] for step in steps if step.get("run", "").startswith("art-plugins")]
    done = run(repository, command)
    assert done.returncode == 1, done.stderr
    (artefact,) = [step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", "")]
    assert (repository / artefact / "report.html").is_file()
    (file,) = [step["with"]["sarif_file"] for step in steps if "upload-sarif" in step.get("uses", "")]
    results = json.loads((repository / file).read_text(encoding="utf-8"))["runs"][0]["results"]
    places = [result["locations"][0]["physicalLocation"]["artifactLocation"]["uri"] for result in results]
    assert len(places) >= 20
    assert all((repository / place).is_file() for place in places)


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_hook_of_pre_commit_stops_a_commit_until_a_person_has_cleared_the_files(repository: Path) -> None:
    pytest.importorskip("pre_commit")
    hook = f'"{sys.executable}" -m pre_commit run --all-files'
    run(repository, "echo sha256,class > accepted.csv")
    done = run(repository, hook)
    assert done.returncode == 1, done.stderr
    assert "exit code: 1" in done.stdout
    run(repository, "cp out/scan/suspects.csv accepted.csv")
    done = run(repository, hook)
    assert done.returncode == 0, done.stdout + done.stderr
