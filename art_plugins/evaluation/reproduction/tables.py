"""Items of the papers as tables: reported, measured, and whether it was reached."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from art_plugins.evaluation.tables import DASH, Table, fixed, markdown, rate, spread

PAPER_TITLES = {
    "mehlman": "VAE latent clustering (Mehlman et al. 2023)",
    "li": "In-flight detection (Li et al. 2022)",
    "preetha": "Layer-wise feature analysis (Preetha et al.; Jebreel et al. 2023)",
}
AUTHORS = {"mehlman": "Mehlman et al.", "li": "Li et al.", "preetha": "Preetha et al."}
SIZE_WORDS = {"quick": "quick: few epochs, little data", "cpu": "at a size for a CPU", "gpu": "at the paper's size"}


def item_table(record: Mapping[str, Any]) -> Table:
    """A row for each figure of an item."""
    rows = [
        [row["what"], row["over"] or DASH, rate(row["reported"]), spread(row["by_seed"], rate), row["verdict"] or DASH]
        for row in record["rows"]
    ]
    columns = {"Figure": False, "Over": False, "Reported": True, "Measured": True, "Verdict": False}
    return Table(f"{record['title']}; {SIZE_WORDS[record['size']]}", columns, rows)


def summary_table(records: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each item: how many of its figures are as good as reported."""
    rows = []
    for record in records:
        verdicts = [row["verdict"] for row in record["rows"]]
        judged = [verdict for verdict in verdicts if verdict in ("reached", "near", "not reached")]
        n_reached, n_near = judged.count("reached"), judged.count("near")
        rows.append(
            [
                f"{AUTHORS[record['paper']]}, {record['title']}",
                f"{n_reached} of {len(judged)}" if judged else DASH,
                fixed(n_near, 0) if judged else DASH,
                fixed(verdicts.count("not measured"), 0),
                fixed(verdicts.count("first published here"), 0),
            ]
        )
    columns = {
        "Item": False,
        "As good as reported": True,
        "Within .02": True,
        "Not measured": True,
        "Not in the paper": True,
    }
    return Table("Figures of the papers beside ours", columns, rows)


def reproduction_report(records: Sequence[Mapping[str, Any]]) -> str:
    """All items as Markdown, the summary first."""
    return "\n".join(map(markdown, [summary_table(records), *map(item_table, records)]))
