"""Records of all commands, found in folders, and the tables of each kind of record."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from art_plugins.errors import InvalidInputError
from art_plugins.reports.comparison.comparison_tables import defence_table, same_but_for_seed, seed_table
from art_plugins.reports.paper_tables import PAPER_TITLES, item_table
from art_plugins.reports.record_files import (
    ABLATION,
    ARMORY,
    ATTACK_RATES,
    COMPARISON,
    FILTER_RATES,
    IN_FLIGHT,
    KINDS,
    LAYERWISE,
    REPRODUCTION,
    SOUND_DETECTORS,
    SOUNDS,
    SWEEP,
    read_if_record,
)
from art_plugins.reports.studies.ablation_tables import ablation_tables
from art_plugins.reports.studies.armory_tables import armory_tables
from art_plugins.reports.studies.attack_tables import attack_tables
from art_plugins.reports.studies.filter_tables import filter_rate_tables
from art_plugins.reports.studies.in_flight_tables import in_flight_tables
from art_plugins.reports.studies.layerwise_tables import layerwise_tables
from art_plugins.reports.studies.sound_detector_tables import sound_detector_tables
from art_plugins.reports.studies.sound_tables import sound_tables
from art_plugins.reports.studies.sweep_tables import sweep_tables
from art_plugins.reports.tables import Table, folded_markdown, markdown


class Gathered(NamedTuple):
    """
    A record that was found in a folder.

    ``kind`` is the kind of the record, and ``name`` the name of its file or folder. ``folder`` is where it was found.
    ``note`` is the note of a paper's item, or the text of the file ``NAME.md`` beside the record ``NAME.json``.
    """

    kind: str
    name: str
    record: dict[str, Any]
    folder: Path
    note: str = ""


def gather(folders: Sequence[Path]) -> list[Gathered]:
    """
    Find every record in the folders and their subfolders, sorted by kind and then by name.

    Other JSON files are left out. The sweeps that an ablation study ran are left out too, because the record of the study
    holds their results.

    :raises InvalidInputError: If a folder does not exist, or no record is found.
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
    """
    Give the tables of a record: first those that are shown at once, then those that are folded. A comparison over several
    seeds has tables of the means only.
    """
    if record["kind"] == IN_FLIGHT:
        return in_flight_tables(record)
    return TABLES[record["kind"]](record), []


def record_markdown(record: Mapping[str, Any]) -> str:
    """Give the tables of a record as Markdown."""
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
    FILTER_RATES: filter_rate_tables,
    SOUND_DETECTORS: sound_detector_tables,
    ATTACK_RATES: attack_tables,
    ARMORY: armory_tables,
}
