"""Configs stand on the package, never the package on them; and what has no need of TensorFlow does without it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import art_plugins


def test_package_never_imports_the_configs() -> None:
    sources = Path(art_plugins.__file__).parent.rglob("*.py")
    assert not [path.name for path in sources if "armory_scenarios" in path.read_text(encoding="utf-8")]


@pytest.mark.usefixtures("engine")  # without TensorFlow every other test of these modules holds it
def test_light_modules_do_not_import_tensorflow() -> None:
    modules = "attacks, cache, checks, datasets, filters, generate, models, table"
    code = f"import sys; from armory_scenarios import {modules}; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
