"""constraints.txt has one version of every package that setup.cfg asks for, and setup.cfg allows it."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest
from packaging.markers import default_environment
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PINNED = [
    Requirement(line)
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if line and not line.startswith("#")
]


def asked() -> list[Requirement]:
    """What setup.cfg asks for, with the extras, less this package itself."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    lists = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    found = [Requirement(line) for line in "\n".join(lists).splitlines() if line.strip()]
    return [one for one in found if one.name != "art-plugins"]


def versions(name: str, python: str) -> list[str]:
    """The versions that a Python on Linux gets."""
    here = default_environment() | {"python_version": python, "python_full_version": f"{python}.9", "sys_platform": "linux"}
    lines = [
        one for one in PINNED if canonicalize_name(one.name) == name and (one.marker is None or one.marker.evaluate(here))
    ]
    return [str(one.specifier).removeprefix("==") for one in lines]


@pytest.mark.parametrize("python", ["3.10", "3.11", "3.12"])
@pytest.mark.parametrize("requirement", asked(), ids=str)
def test_package_has_one_version_and_it_is_allowed(requirement: Requirement, python: str) -> None:
    (version,) = versions(canonicalize_name(requirement.name), python)
    assert requirement.specifier.contains(version)


def test_every_line_names_one_version() -> None:
    assert [str(one) for one in PINNED if not re.fullmatch(r"==[\w.+!]+", str(one.specifier))] == []


def test_all_has_every_other_extra() -> None:
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg", encoding="utf-8")
    extras = set(config["options.extras_require"]) - {"all"}
    (everything,) = [Requirement(line) for line in config["options.extras_require"]["all"].split()]
    assert everything.extras == extras
