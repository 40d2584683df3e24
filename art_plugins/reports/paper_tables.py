"""Tables of the papers' items: the reported and the measured value of each figure, and whether it was reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from art_plugins.reports.tables import DASH, Table, rate, spread

PAPER_TITLES = {
    "mehlman": "VAE latent clustering (Mehlman et al. 2023)",
    "li": "In-flight detection (Li et al. 2022)",
    "preetha": "Layer-wise feature analysis (Preetha et al.; Jebreel et al. 2023)",
}
AUTHORS = {"mehlman": "Mehlman et al.", "li": "Li et al.", "preetha": "Preetha et al."}
BY = {"default": "default", "paper": "paper's procedure", "": DASH}
SIZE_WORDS = {"quick": "quick: few epochs, little data", "cpu": "at a size for a CPU", "gpu": "at the paper's size"}


def item_table(record: Mapping[str, Any]) -> Table:
    """Give the table of an item, with a row for each of its figures."""
    rows = [
        [
            row["what"],
            BY[row["by"]],
            row["over"] or DASH,
            rate(row["reported"]),
            spread(row["by_seed"], rate),
            row["verdict"] or DASH,
        ]
        for row in record["rows"]
    ]
    columns = {"Figure": False, "By": False, "Over": False, "Reported": True, "Measured": True, "Verdict": False}
    return Table(f"{record['title']}; {SIZE_WORDS[record['size']]}", columns, rows)


def summary_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """Give a row for each item: how many of its figures are as good as reported, and how many are worse by at most .02."""
    rows = []
    for record in records:
        cells = [f"{AUTHORS[record['paper']]}, {record['title']}"]
        for by in ("default", "paper"):
            verdicts = [row["verdict"] for row in record["rows"] if row["by"] == by]
            judged = [verdict for verdict in verdicts if verdict in ("reached", "near", "not reached")]
            cells += [f"{judged.count('reached')} of {len(judged)}", str(judged.count("near"))] if judged else [DASH, DASH]
        cells.append(str(sum(row["verdict"] == "not measured" for row in record["rows"])))
        rows.append(cells)
    columns = {"Item": False, "Our default: as good": True, "within .02": True}
    columns |= {"The paper's procedure: as good": True, "within .02 ": True, "Not measured": True}
    return Table("Figures that the papers report, and how many of ours are as good", columns, rows)
