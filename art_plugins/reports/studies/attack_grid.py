"""All records of filters in one grid: attacks are rows, filters are columns, and a cell has TPR and FPR over the seeds."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from art_plugins.reports.studies.filter_tables import with_trusted
from art_plugins.reports.tables import DASH, Table, judged, rate, spread

Run = Mapping[str, Any]
FPR_BOUND = 0.01  # the false-positive rate that this package's own filter and detectors are set to by default
FOUND_TPR = 0.9  # as in the picture of a comparison
WORSE = "above the bound"
CAPTION = (
    "Attacks by filters: the share of the poison that is removed (TPR) and the share of the other samples that is removed "
    "(FPR). Means over the seeds; in brackets the lowest and the highest. An FPR of more than "
    f"{FPR_BOUND:g} in at least one seed is {WORSE}. A dash: not measured"
)


class Cell(NamedTuple):
    """
    What one filter did on one row.

    ``tpr``, ``fpr``: the rates of each seed that was judged; ``tpr`` is empty for a clean set. ``note``: why there are no
    rates, in two words.
    """

    tpr: list[float]
    fpr: list[float]
    note: str = ""

    @property
    def is_worse(self) -> bool:
        """Whether the highest FPR over the seeds is above ``FPR_BOUND``."""
        return bool(self.fpr) and max(self.fpr) > FPR_BOUND


class Row(NamedTuple):
    """One attack with its share, the data set, the network and the size of the training set, and a cell of each filter."""

    attack: str
    model: str
    cells: dict[str, Cell]


class AttackGrid(NamedTuple):
    """Titles of the filters, in the order of the columns, and the rows, those of one attack together, clean sets first."""

    filters: list[str]
    rows: list[Row]


def attack_grid(records: Sequence[Mapping[str, Any]]) -> AttackGrid:
    """
    Put the runs of records of filters into one grid. Runs that differ in nothing but their seed are in one cell.

    :param records: Records of the kind ``"filters"``.
    """
    groups: dict[str, dict[str, list[Run]]] = {}
    filters: dict[str, None] = {}
    for run in (run for record in records for run in record["runs"]):
        case = {name: value for name, value in run.get("case", {}).items() if name != "seed"}
        key = json.dumps([run["title"], run.get("share"), run.get("n_train"), case], sort_keys=True)
        title = with_trusted(run["filter_title"], run["n_trusted"])
        filters[title] = None
        groups.setdefault(key, {}).setdefault(title, []).append(run)
    rows = [_row(found) for found in groups.values()]
    clean = {row.attack for row in rows if not any(cell.tpr or cell.note for cell in row.cells.values())}
    attacks = list(dict.fromkeys(row.attack for row in rows))
    models = list(dict.fromkeys(row.model for row in rows))
    rows.sort(key=lambda row: (row.attack not in clean, attacks.index(row.attack), models.index(row.model)))
    return AttackGrid(list(filters), rows)


def grid_table(grid: AttackGrid) -> Table:
    """Give the same numbers as a table of text, which says in words what the picture says by colour and marks."""
    columns = {"Attack": False, "Data, network, training set": False, **dict.fromkeys(grid.filters, False)}
    rows = [[row.attack, row.model, *(_words(row.cells.get(title)) for title in grid.filters)] for row in grid.rows]
    return Table(CAPTION, columns, rows)


def grid_words(grid: AttackGrid) -> str:
    """Say what the picture shows: of each filter in how many rows it was judged, and how often it found the poison."""
    parts = []
    for title in grid.filters:
        cells = [row.cells[title] for row in grid.rows if title in row.cells]
        attacked = [cell for cell in cells if cell.tpr]
        found = sum(sum(cell.tpr) / len(cell.tpr) >= FOUND_TPR for cell in attacked)
        judged = [cell for cell in cells if cell.fpr]
        parts.append(
            f"{title}: TPR of at least {FOUND_TPR:g} in {found} of {len(attacked)} attacks, FPR above {FPR_BOUND:g} in "
            f"{sum(cell.is_worse for cell in judged)} of {len(judged)} rows"
        )
    return (
        f"A grid of {len(grid.rows)} rows, attacks with their data sets and networks, and {len(grid.filters)} columns, "
        f"filters. {'; '.join(parts)}. The table of attacks by filters has all of its numbers."
    )


def _row(found: Mapping[str, Sequence[Run]]) -> Row:
    run = next(iter(found.values()))[0]
    dataset, network, attack = ("", "", *run["title"].split(", ", 2))[-3:]
    n_train = run.get("n_train") or run.get("case", {}).get("n_train")
    model = ", ".join(part for part in (dataset, network, f"{n_train:,}" if n_train else "") if part)
    return Row(attack, model, {title: _cell(runs) for title, runs in found.items()})


def _cell(runs: Sequence[Run]) -> Cell:
    done = judged(runs)
    if not done:
        return Cell([], [], "attack fails" if runs[0]["note"].startswith("not judged") else "no result")
    tpr, fpr = ([run[name] for run in done if run[name] is not None] for name in ("tpr", "fpr"))
    return Cell(tpr, fpr)


def _words(cell: Cell | None) -> str:
    if cell is None:
        return DASH
    if cell.note:
        return cell.note
    found = f"TPR {spread(cell.tpr, rate)}, " if cell.tpr else "no poison, "
    return f"{found}FPR {spread(cell.fpr, rate)}{f', {WORSE}' if cell.is_worse else ''}"
