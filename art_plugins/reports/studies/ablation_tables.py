"""The table of an ablation study: every variant of the autoencoder with every scoring."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from art_plugins.reports.studies.sweep_tables import TITLES, class_auc, rows_of, scorings_of, triggers_of
from art_plugins.reports.tables import Table, rate


def ablation_tables(record: Mapping[str, Any]) -> list[Table]:
    """Give the tables of a record, with a row for each variant and scoring."""
    rows: list[list[str]] = []
    attacks, clean = _sets(record["runs"][0])
    triggers = triggers_of(attacks)
    for run in record["runs"]:
        attacks, clean = _sets(run)
        for scoring in scorings_of(attacks[0]):
            cells = [rate(class_auc(attacks, clean, scoring))]
            for trigger in triggers:
                some = [row[scoring] for row in attacks if row["trigger"] == trigger]
                cells += [f"{sum(one['found'] for one in some)}", rate(float(np.mean([one["ari"] for one in some])))]
            alarms = sum(row[scoring]["n_called"] > 0 for row in clean)
            rows.append([run["variant"], TITLES[scoring], *cells, f"{alarms}"])
    n_pairs = len(attacks) // len(triggers)
    columns = {"Autoencoder": False, "Scoring": False, "AUC": True}
    for trigger in triggers:
        columns |= {f"{trigger}: called": True, f"{trigger}: ARI": True}
    columns["False alarms"] = True
    return [
        Table(
            f"One setting changed at a time, {record['runs'][0]['nb_epochs']} epochs. Called: of {n_pairs} attacks for "
            f"each trigger with {rate(attacks[0]['fraction'])} of the source class; ARI: their mean; false alarms: of "
            f"{len(clean)} clean draws",
            columns,
            rows,
        )
    ]


def _sets(run: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    swept = {"runs": run["sets"]}
    return rows_of(swept, "attacks"), rows_of(swept, "clean")
