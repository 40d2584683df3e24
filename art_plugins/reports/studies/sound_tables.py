"""A record of attacks with shared sounds and filters as tables: classes and clips found, and false alarms."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from art_plugins.reports.tables import Table, rate


def sound_tables(record: Mapping[str, Any]) -> list[Table]:
    """
    Give a table of the attacks, with a row for each trigger and share, and one of the clean draws, where there are any.

    :param record: A record that the command ``sounds`` has written.
    """
    attacks = [row for run in record["runs"] if run["kind"] == "attacks" for row in run["rows"]]
    clean = [row for run in record["runs"] if run["kind"] == "clean" for row in run["rows"]]
    tables = []
    if attacks:
        columns = {"Trigger": False, "Share of the source": True, "Sets": True, "Called": True, "Ranked first": True}
        columns |= {"TPR": True, "FPR": True, "AUC of clips": True, "Other classes called": True}
        caption = "Clips that share a sound or a filter; TPR and FPR: within the target class, means over the sets"
        groups = dict.fromkeys((row["trigger"], row["fraction"]) for row in attacks)
        rows = [_row(*key, [row for row in attacks if (row["trigger"], row["fraction"]) == key]) for key in groups]
        tables.append(Table(caption, columns, rows))
    if clean:
        n_alarms = sum(row["n_called"] > 0 for row in clean)
        lowest = rate(min(min(row["p_values"].values()) for row in clean))
        columns = {"Draws": True, "With a class called": True, "Lowest p-value": True}
        tables.append(Table("Draws without poison", columns, [[f"{len(clean)}", f"{n_alarms}", lowest]]))
    return tables


def _row(trigger: str, fraction: float, rows: Sequence[Mapping[str, Any]]) -> list[str]:
    known = [row["auc"] for row in rows if row["auc"] is not None]
    return [
        trigger,
        f"{fraction:g}",
        f"{len(rows)}",
        f"{sum(row['called'] for row in rows)}",
        f"{sum(row['rank'] == 1 for row in rows)}",
        rate(float(np.mean([row["tpr"] for row in rows]))),
        rate(float(np.mean([row["fpr"] for row in rows]))),
        rate(float(np.mean(known)) if known else None),
        f"{sum(row['n_false'] for row in rows)}",
    ]
