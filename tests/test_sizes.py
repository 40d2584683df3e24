"""
Functions stay small: at most eight parameters, or a reason in the docstring, and at most sixty lines. So do folders.

The commands of the command line are left out: their parameters are its options, and most of their lines are those.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import armory_scenarios
import art_plugins

MOST_PARAMETERS, MOST_LINES, MOST_MODULES = 8, 60, 20
REASON = r"(There are|It has) \w+ parameters|fixes the parameters"  # of the function, or of the class of a constructor
PACKAGE = Path(art_plugins.__file__).parent
ROOMS = [PACKAGE, Path(armory_scenarios.__file__).parent]
FILES = [file for room in ROOMS for file in sorted(room.rglob("*.py")) if "cli" not in file.parts]


def functions(text: str) -> Iterator[tuple[ast.FunctionDef, str]]:
    """Every function with its docstring, a constructor with that of its class."""
    tree = ast.parse(text)
    classes = [node for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    of_class = {id(node): ast.get_docstring(one) or "" for one in classes for node in one.body}
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef):
            own = ast.get_docstring(node) or ""
            yield node, of_class.get(id(node), "") if node.name == "__init__" else own


def oversized(text: str) -> list[str]:
    """Names of the functions that are too large, and why."""
    found = []
    for function, docstring in functions(text):
        arguments = function.args
        names = [one.arg for one in (*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs)]
        n_parameters = len([name for name in names if name not in ("self", "cls")])
        if n_parameters > MOST_PARAMETERS and not re.search(REASON, docstring):
            found.append(f"{function.name} has {n_parameters} parameters")
        n_lines = (function.end_lineno or 0) - function.lineno + 1
        if n_lines > MOST_LINES:
            found.append(f"{function.name} has {n_lines} lines")
    return found


def test_functions_have_few_parameters_and_lines() -> None:
    for file in FILES:
        assert oversized(file.read_text(encoding="utf-8")) == [], file


def test_folders_hold_few_modules() -> None:
    for folder in {file.parent for file in FILES}:
        assert len(list(folder.glob("*.py"))) - (folder / "__init__.py").exists() <= MOST_MODULES, folder


def test_what_is_too_large_is_found_unless_a_reason_is_given() -> None:
    names = ", ".join("abcdefghi")
    long = "\n".join(["def long():", *["    pass"] * MOST_LINES])
    assert oversized(f"def wide({names}): pass\ndef told({names}):\n    'Armory fixes the parameters.'\n{long}\n") == [
        "wide has 9 parameters",
        f"long has {MOST_LINES + 1} lines",
    ]
