"""The notebooks: stripped in git, without an algorithm of their own, and run from top to bottom."""

from __future__ import annotations

import ast
import importlib
import json
import os
import re
from pathlib import Path

import nbformat
import pytest

FOLDER = Path(__file__).parents[2] / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
# tqdm's own words where the extra `notebooks` is only half installed; nothing is wrong with the notebook then.
HARMLESS = re.compile(r"IProgress not found|from \.autonotebook import")
COMPLAINT = re.compile(r"warning|error|traceback", re.IGNORECASE)
ALLOWED_IMPORTS = {"IPython", "art_plugins", "logging", "numpy", "sklearn", "torch"}


def sources(path: Path, kind: str) -> list[str]:
    return [cell["source"] for cell in nbformat.read(path, as_version=4).cells if cell["cell_type"] == kind]


def named(path: Path) -> str:
    return path.stem


def test_there_is_a_notebook_for_each_defence_and_one_to_choose() -> None:
    assert [path.stem for path in NOTEBOOKS] == [
        "1_vae_latent_clustering",
        "2_in_flight_detection",
        "3_layerwise_features",
        "4_which_defence_when",
    ]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_notebook_in_git_is_valid_stripped_and_of_one_kernel(path: Path) -> None:
    raw = json.loads(path.read_text(encoding="utf-8"))
    nbformat.validate(raw)
    assert (raw["nbformat"], raw["nbformat_minor"]) >= (4, 5)
    assert raw["metadata"]["kernelspec"] == {"display_name": "Python 3", "language": "python", "name": "python3"}
    names = [cell["id"] for cell in raw["cells"]]
    assert len(set(names)) == len(names)
    for cell in raw["cells"]:
        assert not cell.get("outputs"), f"clear the outputs of {path.name}"
        assert cell.get("execution_count") is None, f"clear the execution counts of {path.name}"
        assert cell["metadata"] == {}


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_notebook_imports_the_package_and_defines_no_class(path: Path) -> None:
    tree = ast.parse("\n".join(sources(path, "code")))
    roots = {alias.name.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    roots |= {node.module.split(".")[0] for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and node.module}
    assert "art_plugins" in roots
    assert roots <= ALLOWED_IMPORTS
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_notebook_imports_only_names_that_the_package_has(path: Path) -> None:
    """The notebooks run in the slow tests only; a name that has moved is to be seen before."""
    tree = ast.parse("\n".join(sources(path, "code")))
    wanted = [
        (node.module, alias.name)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("art_plugins")
        for alias in node.names
    ]
    assert wanted
    assert not [pair for pair in wanted if not hasattr(importlib.import_module(pair[0]), pair[1])]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_notebook_says_when_it_breaks_and_ends_with_its_claims(path: Path) -> None:
    text = "\n".join(sources(path, "markdown")).lower()
    assert "when this breaks" in text or "does not catch" in text
    last = ast.parse(nbformat.read(path, as_version=4).cells[-1]["source"]).body
    assert sum(isinstance(node, ast.Assert) for node in last) >= 5


@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_notebook_names_only_files_that_are_there(path: Path) -> None:
    for name in re.findall(r"`(\w+\.ipynb)`", "\n".join(sources(path, "markdown"))):
        assert (FOLDER / name).is_file()


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=named)
def test_notebook_runs_to_its_last_claim_without_complaints(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from nbclient import NotebookClient

    package = str(FOLDER.parent)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(filter(None, [package, os.environ.get("PYTHONPATH")])))
    notebook = nbformat.read(path, as_version=4)
    resources = {"metadata": {"path": str(FOLDER)}}
    NotebookClient(notebook, timeout=900, kernel_name="python3", resources=resources).execute()
    outputs = [output for cell in notebook.cells for output in cell.get("outputs", ())]
    said = [line for one in outputs if one.get("name") == "stderr" for line in one["text"].splitlines()]
    complaints = [line for line in said if COMPLAINT.search(line) and not HARMLESS.search(line)]
    assert not complaints
    pictures = [one for one in outputs if "image/png" in one.get("data", {})]
    assert pictures
    for picture in pictures:
        assert len(picture["metadata"]["image/png"]["alt"]) > 20
