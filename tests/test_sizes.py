"""Functions stay small: at most eight parameters, or a reason in the docstring, and at most sixty lines."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import armory_scenarios
import art_plugins

MOST_PARAMETERS, MOST_LINES = 8, 60
REASON = "fixes the parameters"  # who does, such as Armory
PACKAGE = Path(art_plugins.__file__).parent
ROOMS = [PACKAGE / "attacks", PACKAGE / "evaluation", PACKAGE / "reproduction", PACKAGE / "reports"]
ROOMS.append(Path(armory_scenarios.__file__).parent)
FILES = [file for room in ROOMS for file in sorted(room.rglob("*.py"))]


def functions(text: str) -> Iterator[ast.FunctionDef]:
    return (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.FunctionDef))


def oversized(text: str) -> list[str]:
    """Names of the functions that are too large, and why."""
    found = []
    for function in functions(text):
        arguments = function.args
        names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        n_parameters = len([name for name in names if name not in ("self", "cls")])
        if n_parameters > MOST_PARAMETERS and REASON not in (ast.get_docstring(function) or ""):
            found.append(f"{function.name} has {n_parameters} parameters")
        n_lines = (function.end_lineno or 0) - function.lineno + 1
        if n_lines > MOST_LINES:
            found.append(f"{function.name} has {n_lines} lines")
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: f"{file.parent.name}/{file.name}")
def test_functions_have_few_parameters_and_lines(file: Path) -> None:
    assert oversized(file.read_text(encoding="utf-8")) == []


def test_what_is_too_large_is_found_unless_a_reason_is_given() -> None:
    names = ", ".join("abcdefghi")
    long = "\n".join(["def long():", *["    pass"] * MOST_LINES])
    assert oversized(f"def wide({names}): pass\ndef told({names}):\n    'Armory fixes the parameters.'\n{long}\n") == [
        "wide has 9 parameters",
        f"long has {MOST_LINES + 1} lines",
    ]
