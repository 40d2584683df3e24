"""The floors of the house: imports point down only. Read from the source, so that lazy imports count as well."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

import art_plugins

PACKAGE = Path(art_plugins.__file__).parent
FILES = sorted(PACKAGE.rglob("*.py"))

# From the ground up. A room may import from itself, and from the rooms of the floors below its own.
STOREYS = [
    {"errors", "locks"},
    {"optional", "storage", "arrays", "parameters", "file_rules", "disk_room", "at_once"},
    {"statistics"},
    {"features"},
    {"groups"},
    {"files", "triggers"},
    {"reports", "defences", "attacks"},
    {"baselines"},
    {"evaluation"},
    {"inspection", "reproduction"},
    {"leaderboard"},
    {"cli"},
    {"__init__", "__main__"},
]
FLOORS = {room: set().union(*STOREYS[:floor]) for floor, rooms in enumerate(STOREYS) for room in rooms}
IMPORTERS = ("import_module", "importlib.import_module", "import_optional", "__import__")
HEAVY = {"torch", "torchaudio", "torchvision", "lightning", "art", "armory", "tensorflow"}
FORBIDDEN = {
    "errors": HEAVY,
    "locks": HEAVY,
    "optional": HEAVY,
    "storage": HEAVY,
    "arrays": HEAVY,
    "parameters": HEAVY,
    "file_rules": HEAVY,
    "disk_room": HEAVY,
    "at_once": HEAVY,
    "statistics": HEAVY,
    "groups": HEAVY,
    "features": {"art", "armory", "tensorflow"},
}


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_modules(path: Path) -> set[str]:
    """Absolute names of everything that a file imports, wherever in the file; `from a import b` gives `a` and `a.b`."""
    package = ["art_plugins", *path.relative_to(PACKAGE).parts[:-1]]
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) - node.level + 1] if node.level else []
            base = ".".join([*start, *([node.module] if node.module else [])])
            names |= {base} | {f"{base}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Call) and called_name(node) in IMPORTERS:
            names |= {argument.value for argument in node.args if isinstance(argument, ast.Constant)}
    return names


def called_name(node: ast.Call) -> str:
    return ast.unparse(node.func)


@pytest.mark.parametrize("room", sorted({room_of(path) for path in FILES}))
def test_imports_of_every_file_point_down_only_and_those_of_the_lower_floors_are_light(room):
    assert room in FLOORS, f"{room} has no floor; give it one in FLOORS"
    above = {entry.stem for entry in PACKAGE.iterdir()} - FLOORS[room] - {room}
    for path in (path for path in FILES if room_of(path) == room):
        names = imported_modules(path)
        rooms = {name.split(".")[1] for name in names if name.startswith("art_plugins.")}
        assert not rooms & above, path
        assert not {name.split(".")[0] for name in names} & FORBIDDEN.get(room, set()), path


def passed_on(sources: dict[str, str]) -> list[str]:
    """
    What a module imports from another one that only imports it as well.

    :param sources: Dotted name of each module -> its text.
    """
    imports = {
        name: [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom)]
        for name, source in sources.items()
    }
    borrowed = {
        name: {alias.asname or alias.name for node in nodes for alias in node.names} for name, nodes in imports.items()
    }
    return [
        f"{name}: {alias.name} from {node.module}"
        for name, nodes in imports.items()
        for node in nodes
        for alias in node.names
        if alias.name in borrowed.get(node.module or "", ())
    ]


def test_names_are_imported_from_where_they_are_defined():
    """The entrances, the modules ``__init__``, may pass names on."""
    files = [path for path in FILES if path.name != "__init__.py"]
    names = [".".join(["art_plugins", *path.relative_to(PACKAGE).with_suffix("").parts]) for path in files]
    texts = [path.read_text(encoding="utf-8") for path in files]
    assert passed_on(dict(zip(names, texts, strict=True))) == []


def test_passed_on_planted_name_is_found():
    sources = {"a": "from b import x\ny = x\n", "b": "x = 1\n", "c": "from a import x, y\nfrom b import x as z\n"}
    assert passed_on(sources) == ["c: x from a"]


def unsafe_loads(source: str) -> list[str]:
    """Calls that may run code from a file."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call):
            continue
        name = called_name(node)
        keywords = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
        module, _, function = name.rpartition(".")
        if (
            (
                module in ("pickle", "dill", "cloudpickle", "joblib", "marshal")
                and function in ("load", "loads", "Unpickler")
            )
            or (name in ("torch.load", "fabric.load") and keywords.get("weights_only") != "True")
            or (module in ("np", "numpy") and keywords.get("allow_pickle", "False") != "False")
            or (name == "yaml.load")
            or (name in ("eval", "exec"))
        ):
            found.append(ast.unparse(node))
    return found


def test_files_of_the_package_never_unpickle():
    forbidden = {"pickle", "dill", "joblib.load", "joblib.dump", "joblib.Memory", "marshal", "shelve"}
    for path in FILES:
        assert unsafe_loads(path.read_text(encoding="utf-8")) == [], path
        assert not forbidden & imported_modules(path), path


@pytest.mark.parametrize(
    "source",
    [
        "pickle.load(f)",
        "torch.load(p)",
        "torch.load(p, weights_only=False)",
        "np.load(p, allow_pickle=True)",
        "fabric.load(p, s)",
        "joblib.load(p)",
    ],
)
def test_unsafe_loads_planted_call_is_found(source):
    assert unsafe_loads(source) == [source]


def test_imported_modules_planted_imports_of_every_form_are_found(tmp_path, monkeypatch):
    monkeypatch.setitem(globals(), "PACKAGE", tmp_path)
    (tmp_path / "features").mkdir()
    planted = tmp_path / "features" / "planted.py"
    planted.write_text("from ..defences import a\nfrom . import b\ndef f():\n    import art_plugins.cli\n")
    assert imported_modules(planted) >= {"art_plugins.defences", "art_plugins.features.b", "art_plugins.cli"}


def test_modules_of_the_package_are_all_in_the_wheel():
    """`packages = find:` needs an __init__.py in every folder with code."""
    assert all((path.parent / "__init__.py").is_file() for path in FILES)
