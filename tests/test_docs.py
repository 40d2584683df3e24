"""What the documentation shows is what the package does: its examples run, and the files that it names exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from art.estimators.classification import PyTorchClassifier
from torch import nn

import art_plugins

ROOT = Path(__file__).resolve().parents[1]
PAGES = sorted((ROOT / "docs").rglob("*.md"))
TEXTS = [*PAGES, ROOT / "README.md", ROOT / "CONTRIBUTING.md"]
MODULES = sorted((ROOT / "art_plugins").rglob("*.py"))


def example(page: str) -> dict[str, Any]:
    """What the first Python example of a page defines."""
    (code, *_) = re.findall(r"```python\n(.*?)```", (ROOT / "docs" / page).read_text(encoding="utf-8"), flags=re.S)
    defined: dict[str, Any] = {}
    exec(compile(code, page, "exec"), defined)
    return defined


@pytest.fixture
def classifier(digits: Any) -> PyTorchClassifier:
    network = digits.network("clean")
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), input_shape=(1, 8, 8), nb_classes=10)


@pytest.mark.slow
def test_example_of_a_filter_removes_so_many_of_each_class(digits: Any, classifier: PyTorchClassifier) -> None:
    far_from_mean = example("how_to/add_a_filter.md")["FarFromMean"]
    defence = far_from_mean(classifier, digits.x_clean, digits.y_clean, n_removed=3)
    report, is_clean = defence.detect_poison()
    assert report == {"n_removed": 30}
    assert (np.bincount(digits.y_clean[np.array(is_clean) == 0]) == 3).all()
    with pytest.raises(ValueError, match="n_removed"):
        defence.detect_poison(n_removed=0)


def test_example_of_a_detector_catches_as_many_clean_images_as_said(digits: Any, classifier: PyTorchClassifier) -> None:
    detector = example("how_to/add_a_detector.md")["LowEntropy"](classifier, fpr=0.05)
    detector.fit(digits.x_clean, digits.y_clean)
    report, is_trigger = detector.detect(digits.x_clean)
    assert is_trigger.sum() == 10  # of 200
    assert report["outlier_scores"][is_trigger].min() > report["outlier_scores"][~is_trigger].max()


def test_files_that_a_text_names_exist() -> None:
    path = re.compile(r"`((?:art_plugins|armory_scenarios|tests|docs|notebooks)/[\w./]*)`")
    named = [(text.name, name) for text in TEXTS for name in path.findall(text.read_text(encoding="utf-8"))]
    assert [(text, name) for text, name in named if not (ROOT / name).exists()] == []


def test_every_page_is_in_the_navigation() -> None:
    navigation = (ROOT / "mkdocs.yml").read_text(encoding="utf-8")
    assert [str(page) for page in PAGES if str(page.relative_to(ROOT / "docs")) not in navigation] == []


def test_reference_has_every_public_name() -> None:
    reference = "\n".join(page.read_text(encoding="utf-8") for page in PAGES if page.parent.name == "reference")
    shown = set(re.findall(r"(?m)^::: [\w.]+\.(\w+)$", reference))
    assert sorted(set(art_plugins.__all__) - shown) == []


def torn_docstrings(source: str) -> list[str]:
    """Docstrings with quotation marks around a line break, as if they were two strings."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))]
    found = [ast.get_docstring(node, clean=False) or "" for node in nodes]
    return [text for text in found if re.search(r'"\n\s*"', text)]


def test_docstrings_hold_no_torn_strings() -> None:
    for file in MODULES:
        assert torn_docstrings(file.read_text(encoding="utf-8")) == [], file


def test_torn_docstrings_planted_one_is_found() -> None:
    assert torn_docstrings('"""One "\n"two."""\n') == ['One "\n"two.']


def torn_entries(source: str) -> list[str]:
    """Entries of docstrings that begin with what they belong to, without saying what they are: "Of the inversion."."""
    nodes = [node for node in ast.walk(ast.parse(source)) if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef))]
    found = [ast.get_docstring(node) or "" for node in nodes]
    return [entry for text in found for entry in re.findall(r"(?m)^:[^:\n]+: (?:Of|Their) .*$", text)]


def test_entries_of_docstrings_say_what_they_are() -> None:
    for file in MODULES:
        assert torn_entries(file.read_text(encoding="utf-8")) == [], file


def test_torn_entries_planted_one_is_found() -> None:
    source = 'def f(a, b):\n    """\n    Do.\n\n    :param a: Of the inversion.\n    :return: Seed.\n    """\n'
    assert torn_entries(source) == [":param a: Of the inversion."]
