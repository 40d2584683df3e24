"""Optional packages: one function imports them, and its error names the extra of setup.cfg that brings the package."""

from __future__ import annotations

import ast
import configparser
import sys
from pathlib import Path

import pytest

from art_plugins.errors import MissingPackageError
from art_plugins.optional import PACKAGES, import_optional

ROOT = Path(__file__).parents[1]  # not the installed package: pip leaves setup.cfg behind
IN_SETUP = {
    "PIL": "pillow",
    "distributed": "dask[distributed]",
    "IPython": "ipykernel",
}  # what brings a module of another name


@pytest.mark.parametrize("module", PACKAGES)
def test_missing_package_is_named_with_its_extra_and_the_cause(module, monkeypatch):
    monkeypatch.setitem(sys.modules, module, None)  # what Python keeps for "cannot be imported"
    package = PACKAGES[module]
    with pytest.raises(MissingPackageError) as caught:
        import_optional(module)
    message = str(caught.value)
    assert message.startswith(f"{package.use} need the package {package.name}, which cannot be imported (")
    assert message.endswith(f'pip install "art-plugins[{package.extra}]"')
    assert str(caught.value.__cause__) in message


@pytest.mark.parametrize(
    "error", [OSError("no lib.so"), RuntimeError("made for another torch"), AttributeError("no float4")]
)
def test_package_whose_shared_library_fails_counts_as_missing(error, monkeypatch):
    def fail(_):
        raise error

    monkeypatch.setattr("art_plugins.optional.import_module", fail)
    with pytest.raises(MissingPackageError, match=str(error)):
        import_optional("soundfile")


def test_module_that_is_there_is_given_back():
    assert import_optional("PIL.Image") is sys.modules["PIL.Image"]


@pytest.mark.parametrize("module", PACKAGES)
def test_extra_of_every_package_brings_it(module):
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    required = setup["options.extras_require"][PACKAGES[module].extra].split()
    assert any(line.startswith(IN_SETUP.get(module, module)) for line in required)


def importers(path: Path) -> list[str]:
    """Optional packages that a file imports by itself and guards by itself."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    tries = [node for node in ast.walk(tree) if isinstance(node, ast.Try)]
    nodes = [node for block in tries for node in ast.walk(block)]
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return [name for name in names if name.partition(".")[0] in PACKAGES]


def test_no_file_guards_such_an_import_by_itself():
    for path in (ROOT / "art_plugins").rglob("*.py"):
        assert importers(path) == [], path


def test_importers_planted_guard_is_found(tmp_path):
    planted = tmp_path / "planted.py"
    planted.write_text("try:\n    import PIL.Image\nexcept ImportError:\n    pass\n")
    assert importers(planted) == ["PIL.Image"]
