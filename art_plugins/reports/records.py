"""Records of all commands, found in folders, and the tables of each kind of record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from art_plugins.errors import InvalidInputError
from art_plugins.reports.ablation_tables import ablation_tables
from art_plugins.reports.armory_tables import armory_tables
from art_plugins.reports.comparison.comparison_tables import defence_table, same_but_for_seed, seed_table
from art_plugins.reports.in_flight_tables import in_flight_tables
from art_plugins.reports.layerwise_tables import layerwise_tables
from art_plugins.reports.paper_tables import PAPER_TITLES, item_table
from art_plugins.reports.record_files import (
    ABLATION,
    ARMORY,
    COMPARISON,
    IN_FLIGHT,
    KINDS,
    LAYERWISE,
    REPRODUCTION,
    SOUNDS,
    SWEEP,
    read_if_record,
)
from art_plugins.reports.sound_tables import sound_tables
from art_plugins.reports.sweep_tables import sweep_tables
from art_plugins.reports.tables import Table, folded_markdown, markdown


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
    :raises FileFormatError: For a record of an unknown kind, of a newer schema or of an earlier release.
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
    return sorted(found, key=lambda one: (KINDS.index(one.kind), _place(one.record), one.name))


def record_tables(record: Mapping[str, Any]) -> tuple[list[Table], list[Table]]:
    """The tables of a record, of a comparison over several seeds the means only: for every reader, and for some."""
    if record["kind"] == IN_FLIGHT:
        return in_flight_tables(record)
    return TABLES[record["kind"]](record), []


def record_markdown(record: Mapping[str, Any]) -> str:
    """The tables of a record as Markdown; those for some readers are folded."""
    shown, folded = record_tables(record)
    return "\n".join([*map(markdown, shown), *map(folded_markdown, folded)])


def _read(file: Path) -> Gathered | None:
    record = read_if_record(file)
    if record is None:
        return None
    name = file.parent.name if file.stem == "record" else file.stem
    beside = file.with_suffix(".md")
    note = beside.read_text(encoding="utf-8").strip() if beside.is_file() else record.get("note", "")
    return Gathered(record["kind"], name, record, file.parent, note)


def _place(record: Mapping[str, Any]) -> int:
    papers = list(PAPER_TITLES)
    return papers.index(record["paper"]) if record.get("paper") in papers else 0


def _comparison_tables(record: Mapping[str, Any]) -> list[Table]:
    groups = same_but_for_seed(record["runs"])
    return [*map(seed_table, groups)] if groups else [*map(defence_table, record["runs"])]


TABLES: dict[str, Callable[[Mapping[str, Any]], list[Table]]] = {
    REPRODUCTION: lambda record: [item_table(record)],
    COMPARISON: _comparison_tables,
    SWEEP: sweep_tables,
    SOUNDS: sound_tables,
    ABLATION: ablation_tables,
    LAYERWISE: layerwise_tables,
    ARMORY: armory_tables,
}
