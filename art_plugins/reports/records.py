"""Records of all commands, found in folders: which command wrote each, and its tables."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from art_plugins.errors import InvalidInputError
from art_plugins.reports.ablation_tables import ablation_tables
from art_plugins.reports.armory_tables import armory_tables
from art_plugins.reports.comparison_tables import defence_table, same_but_for_seed, seed_table
from art_plugins.reports.in_flight_tables import in_flight_tables
from art_plugins.reports.layerwise_tables import layerwise_tables
from art_plugins.reports.paper_items import KIND
from art_plugins.reports.paper_tables import PAPER_TITLES, item_table
from art_plugins.reports.sweep_tables import sweep_tables
from art_plugins.reports.tables import Table, folded_markdown, markdown

COMPARISON, SWEEP, ABLATION, IN_FLIGHT, LAYERWISE, ARMORY = (
    "compare",
    "sweep",
    "ablation",
    "in-flight",
    "layerwise",
    "armory",
)
TABLES = {SWEEP: sweep_tables, ABLATION: ablation_tables, LAYERWISE: layerwise_tables, ARMORY: armory_tables}
# An entry that only the runs of this command have.
SIGNS = {"config": ARMORY, "variant": ABLATION, "kind": SWEEP, "inversion": IN_FLIGHT, "detectors": LAYERWISE}


class Gathered(NamedTuple):
    """
    A record, what wrote it, and where it lay; ``name`` is its file's or its folder's.

    ``note`` is the item's, or what lies as ``NAME.md`` beside the record ``NAME.json``.
    """

    kind: str
    name: str
    record: dict[str, Any]
    folder: Path
    note: str = ""


def gather(folders: Sequence[Path]) -> list[Gathered]:
    """
    Every record in the folders and below, by kind and then by name; JSON files of other make are passed over, and so are
    the sweeps that an ablation made of its variants: its own record has what they found.

    :raises InvalidInputError: If a folder is none, or no record is found.
    """
    found = []
    for folder in folders:
        if not folder.is_dir():
            raise InvalidInputError(f"{folder} is no folder; name one that holds records, such as out/reproduce.")
        found += [one for file in sorted(folder.rglob("*.json")) if (one := _read(file)) is not None]
    if not found:
        raise InvalidInputError(
            f"No record lies in {', '.join(map(str, folders))}; run art-plugins reproduce or compare first."
        )
    ablated = {one.record["command"] for one in found if one.kind == ABLATION}
    found = [one for one in found if one.kind != SWEEP or one.record["command"] not in ablated]
    kinds = [KIND, COMPARISON, SWEEP, ABLATION, IN_FLIGHT, LAYERWISE, ARMORY]
    return sorted(found, key=lambda one: (kinds.index(one.kind), _place(one.record), one.name))


def kind_of(record: Mapping[str, Any]) -> str | None:
    """What wrote a record; ``None``: nothing of ours that holds tables."""
    if record.get("kind") == KIND:
        return KIND
    if "command" not in record:
        return None
    if record.get("tasks"):
        return COMPARISON
    first = (record.get("runs") or [{}])[0]
    return next((kind for key, kind in SIGNS.items() if key in first), None)


def record_tables(record: Mapping[str, Any]) -> tuple[list[Table], list[Table]]:
    """
    The tables of a record, of a comparison over several seeds the means only: for every reader, and for some.

    :raises InvalidInputError: For a record of another make.
    """
    kind = kind_of(record)
    if kind == IN_FLIGHT:
        return in_flight_tables(record)
    if kind == COMPARISON:
        groups = same_but_for_seed(record["tasks"])
        return ([*map(seed_table, groups)] if groups else [*map(defence_table, record["tasks"])]), []
    if kind == KIND:
        return [item_table(record)], []
    if kind in TABLES:
        return TABLES[kind](record), []
    raise InvalidInputError(f"This is no record with tables; it has the entries {', '.join(record)}.")


def record_markdown(record: Mapping[str, Any]) -> str:
    """The tables of a record as Markdown; those for some readers are folded."""
    shown, folded = record_tables(record)
    return "\n".join([*map(markdown, shown), *map(folded_markdown, folded)])


def _read(file: Path) -> Gathered | None:
    try:
        record = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    kind = kind_of(record) if isinstance(record, dict) else None
    if kind is None:
        return None
    name = file.parent.name if file.stem == "record" else file.stem
    beside = file.with_suffix(".md")
    note = beside.read_text(encoding="utf-8").strip() if beside.is_file() else record.get("note", "")
    return Gathered(kind, name, record, file.parent, note)


def _place(record: Mapping[str, Any]) -> int:
    papers = list(PAPER_TITLES)
    return papers.index(record["paper"]) if record.get("paper") in papers else 0
