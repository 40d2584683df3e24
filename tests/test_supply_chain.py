"""What may be installed: compromised releases are excluded, floors lie above known holes, the tested set is audited."""

from __future__ import annotations

import configparser
import json
import subprocess
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

import pytest
from packaging.requirements import Requirement

SETUP = Path(__file__).parents[1] / "setup.cfg"
AUDIT_S = 240  # some dozens of requests


def requirements() -> Iterator[Requirement]:
    """All of setup.cfg, those of the extras as well."""
    config = configparser.ConfigParser()
    config.read(SETUP, encoding="utf-8")
    lists = [config["options"]["install_requires"], *config["options.extras_require"].values()]
    for line in "\n".join(lists).splitlines():
        if line.strip():
            yield Requirement(line)


def allowed(name: str, version: str) -> bool:
    """By every line that names the package."""
    lines = [one for one in requirements() if one.name.lower() == name]
    assert lines, f"setup.cfg does not name {name}"
    return all(one.specifier.contains(version) for one in lines)


@pytest.mark.parametrize(
    ("name", "bad", "good"),
    [
        ("lightning", ["2.6.2", "2.6.3"], ["2.6.1", "2.6.4", "2.6.6"]),  # compromised
        (
            "pillow",
            ["10.1.0", "10.2.0", "11.2.1", "12.1.0"],
            ["12.2.0", "13.0.0"],
        ),  # CVE-2023-50447, 2024-28219, 2025-48379
        ("jinja2", ["3.1.2", "3.1.3", "3.1.4", "3.1.5"], ["3.1.6"]),  # CVE-2024-22195, 2024-34064, 2024-56201, 2025-27516
        ("tqdm", ["4.66.0", "4.66.2"], ["4.66.3", "4.70.1"]),  # CVE-2024-34062
        ("scikit-learn", ["1.4.2"], ["1.5.0"]),  # CVE-2024-5206
        ("ray", ["2.40.0", "2.51.1"], ["2.52.0"]),  # CVE-2025-62593
        ("dask", ["2024.5.0", "2025.12.0"], ["2026.1.0"]),  # CVE-2026-23528, of distributed
    ],
)
def test_setup_excludes_releases_with_known_holes(name, bad, good):
    assert not [version for version in bad if allowed(name, version)]
    assert [version for version in good if allowed(name, version)] == good


def test_what_is_installed_is_allowed():
    for requirement in requirements():
        try:
            version = metadata.version(requirement.name)
        except metadata.PackageNotFoundError:
            continue
        if requirement.name in ("lightning", "pillow", "jinja2", "tqdm", "scikit-learn", "ray", "dask"):
            assert requirement.specifier.contains(version), f"{requirement.name} {version}"


@pytest.mark.slow
def test_tested_versions_have_no_known_holes(tmp_path):
    """pip-audit's data for what is installed here of setup.cfg's packages; skipped where the data cannot be had."""
    pins = {}
    for requirement in requirements():
        try:
            pins[requirement.name.lower()] = metadata.version(requirement.name).split("+")[0]
        except metadata.PackageNotFoundError:
            continue
    pins.pop("art-plugins", None)
    file = tmp_path / "requirements.txt"
    file.write_text("".join(f"{name}=={version}\n" for name, version in sorted(pins.items())), encoding="utf-8")
    command = [sys.executable, "-m", "pip_audit", "-r", str(file), "--no-deps", "--disable-pip", "-f", "json"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=AUDIT_S, check=False)
    except subprocess.TimeoutExpired:
        pytest.skip(f"pip-audit had no answer within {AUDIT_S} seconds")
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        pytest.skip(f"pip-audit cannot be run, or its data cannot be had: {done.stderr.strip()[-200:]}")
    audited = [one for one in found if "vulns" in one]
    if not audited:
        pytest.skip("pip-audit's data cannot be had here: it knows none of the packages")
    holes = {one["name"]: [hole["id"] for hole in one["vulns"]] for one in audited if one["vulns"]}
    assert not {
        name: ids for name, ids in holes.items() if name in ("lightning", "pillow", "jinja2", "tqdm", "scikit-learn")
    }
    print("With known holes, elsewhere:", holes)
