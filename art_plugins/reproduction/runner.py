"""Runs the studies that an item needs and that no record has, and writes each item's record and figures."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.running.environment import versions
from art_plugins.reports.packages import report_is_possible
from art_plugins.reports.paper_items import Item, Record, Row
from art_plugins.reports.record_files import REPRODUCTION, find_record, heading
from art_plugins.reproduction import li, mehlman, preetha
from art_plugins.reproduction.studies import STUDIES, Size, Study, autoencoder_file
from art_plugins.storage import atomic_path, write_json

ITEMS = (*mehlman.ITEMS, *li.ITEMS, *preetha.ITEMS)
PAPERS = tuple(dict.fromkeys(item.paper for item in ITEMS))


def find_items(paper: str | None, name: str | None) -> list[Item]:
    """
    Find all items, those of a paper, or one.

    :param paper: Name of the paper; ``None``: all papers.
    :param name: Name of the item; ``None``: all items.
    :raises InvalidInputError: If there is no such paper or item.
    """
    if paper is not None and paper not in PAPERS:
        raise InvalidInputError(f"paper must be one of {', '.join(PAPERS)}; received {paper!r}.")
    found = [item for item in ITEMS if paper in (None, item.paper) and name in (None, item.name)]
    if not found:
        names = ", ".join(item.name for item in ITEMS if item.paper == paper)
        raise InvalidInputError(f"{paper} has the items {names}; received {name!r}.")
    return found


def reproduce(
    items: Sequence[Item],
    size: Size,
    root: Path | None,
    out: Path,
    records: Path | None,
    run: Callable[[list[str]], None],
    download: bool = False,
    on_item: Callable[[dict[str, Any]], None] = lambda record: None,
) -> list[dict[str, Any]]:
    """
    Write ``out/<paper>/<item>/record.json`` and the item's figures. Studies that no record has are run first.

    A study's own command goes on where it stopped, so an interrupted call loses nothing that a study had finished.

    :param root: Folder of the data sets; only needed for studies that have to be run.
    :param out: Folder for the results; studies are kept in ``out/studies/<size>``.
    :param records: Folder with records of studies as ``<study>.json``, which are read where ``out`` has none; ``None``:
        none.
    :param run: Runs ``art-plugins`` with these arguments.
    :param download: Download data sets that are missing.
    :param on_item: Called with the record of every item.
    :return: The records of the items.
    :raises InvalidInputError: If a study has to be run and there is no ``root``.
    :raises FileFormatError: If a record is of another schema, or of an earlier release.
    """
    folder = out / "studies" / size
    needed = dict.fromkeys(name for item in items for name in item.studies if size in STUDIES[name].arguments)
    missing = [name for name in needed if recorded(STUDIES[name], size, folder, records) is None]
    if missing and root is None:
        raise InvalidInputError(
            f"No record has the studies {', '.join(missing)}; name the folder of the data sets with --root to run them, or "
            "a folder of records with --records."
        )
    for name in missing:
        study = STUDIES[name]
        assert root is not None
        if study.autoencoder and not autoencoder_file(folder, study.autoencoder).is_file():
            run(STUDIES[study.autoencoder].command(size, root, folder, download))
        run(study.command(size, root, folder, download and not study.autoencoder))
    found = {name: recorded(STUDIES[name], size, folder, records) for name in needed}
    written = []
    for item in items:
        known = {name: record for name in item.studies if (record := found.get(name)) is not None}
        record = item_record(item, size, known)
        write_item(item, record, known, out / item.paper / item.name)
        on_item(record)
        written.append(record)
    return written


def recorded(study: Study, size: Size, folder: Path, records: Path | None) -> Record | None:
    """
    The record of a study at a size, if one of the two folders has it.

    :raises FileFormatError: For a record of another schema, or of an earlier release.
    """
    files = [folder / study.name / "record.json", *([records / f"{study.name}.json"] if records else [])]
    for file in files:
        record = find_record(file)
        if record is not None and study.is_recorded_by(str(record.get("command", "")), size):
            return record
    return None


def item_record(item: Item, size: Size, known: Mapping[str, Record]) -> dict[str, Any]:
    """The record of an item, JSON-safe: the reported figures beside the measured ones, and what they were measured with."""
    return {
        **heading(REPRODUCTION),
        "paper": item.paper,
        "item": item.name,
        "title": item.title,
        "size": size,
        "note": item.note,
        "studies": [
            {"name": name, "command": record["command"], "seconds": record["seconds"], "versions": record["versions"]}
            for name, record in known.items()
        ],
        "versions": versions(),
        "rows": [_row(row) for row in (item.rows(known) if known else [])],
        "figures": [],
    }


def write_item(item: Item, record: dict[str, Any], known: Mapping[str, Record], out: Path) -> None:
    """Write the item's figures, where the extra ``report`` is installed, and last its ``record.json``, which names them."""
    if known and report_is_possible():
        for drawn in item.pictures(known):
            with atomic_path(out / f"{drawn.name}.png") as partial:
                partial.write_bytes(drawn.content)
            figure = {"file": f"{drawn.name}.png", "caption": drawn.caption, "words": drawn.words}
            record["figures"].append({**figure, "width": drawn.width, "height": drawn.height})
    write_json(out / "record.json", record)


def _row(row: Row) -> dict[str, Any]:
    return {
        "what": row.what,
        "over": row.over,
        "by": row.by,
        "reported": row.reported,
        "measured": row.mean,
        "by_seed": list(row.measured),
        "better": row.better,
        "verdict": row.verdict,
    }
