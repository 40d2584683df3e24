"""A sweep's record as tables: classes found, samples found, false alarms, by scoring (Mehlman et al. 2023, 4.4)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from sklearn.metrics import roc_auc_score

from art_plugins.reports.tables import DASH, Table, fixed, rate, two_decimals

TITLES = {
    "contrastive": "default: steps and frames",
    "steps": "latents of steps only",
    "frames": "frames only",
    "latents": "latents of whole samples only",
    "paper": "the paper's procedure",
}
GOOD_ARI = 0.95  # of Fig. 6


def rows_of(record: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """All rows of the runs of one kind."""
    return [row for run in record["runs"] if run["kind"] == kind for row in run["rows"]]


def scorings_of(row: Mapping[str, Any]) -> list[str]:
    """Those that a row of a record has; older records lack some."""
    return [scoring for scoring in TITLES if scoring in row]


def triggers_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """In the order of the record."""
    return list(dict.fromkeys(row["trigger"] for row in rows))


def sweep_tables(record: Mapping[str, Any]) -> list[Table]:
    """Attacks; clean draws and curves where the record has them."""
    attacks, clean, curve = (rows_of(record, kind) for kind in ("attacks", "clean", "curve"))
    tables = [attack_table(attacks, clean)]
    if clean:
        tables.append(clean_table(clean))
    if curve:
        tables.append(curve_table(curve))
    return tables


def class_auc(attacks: Sequence[Mapping[str, Any]], clean: Sequence[Mapping[str, Any]], scoring: str) -> float | None:
    """Area under Fig. 4's curve: scores of the targets against those of every class of the clean draws."""
    if not attacks or not clean:
        return None
    truth, scores = ranked_scores(attacks, clean, scoring)
    return float(roc_auc_score(truth, scores)) if np.ptp(scores) > 0 else None


def ranked_scores(
    attacks: Sequence[Mapping[str, Any]], clean: Sequence[Mapping[str, Any]], scoring: str
) -> tuple[np.ndarray, np.ndarray]:
    """
    Scores of the targets and of every class of the clean draws; a class that was not judged, which the record has ``None``
    for, lies below all others, since no threshold ever calls it.

    :return: Which are targets, 1 or 0, and the scores, both (m,).
    """
    targets = [row[scoring]["score"] for row in attacks]
    others = [score for row in clean for score in row[scoring]["scores"]]
    scores = np.array([*targets, *others], dtype=np.float64)  # None becomes NaN
    known = np.isfinite(scores)
    scores[~known] = scores[known].min(initial=0.0) - 1
    return np.repeat([1, 0], [len(targets), len(others)]), scores


def attack_table(attacks: Sequence[Mapping[str, Any]], clean: Sequence[Mapping[str, Any]]) -> Table:
    """A row for each scoring, and each trigger and all of them."""
    triggers = triggers_of(attacks)
    rows = []
    for scoring in scorings_of(attacks[0]):
        for trigger in (*triggers, *(["all"] if len(triggers) > 1 else [])):
            some = [row for row in attacks if trigger in (row["trigger"], "all")]
            mixed = [row[scoring]["found"] for row in some if row["target"] == "_unknown_"]
            rows.append(
                [
                    TITLES[scoring],
                    trigger,
                    rate(class_auc(some, clean, scoring)),
                    _share([row[scoring]["found"] for row in some]),
                    _share([row[scoring]["rank"] == 1 for row in some]),
                    _share(mixed),
                    rate(float(np.mean([row[scoring]["ari"] for row in some]))),
                    _share([row[scoring]["ari"] >= GOOD_ARI for row in some]),
                ]
            )
    fraction = sorted({row["fraction"] for row in attacks})
    return Table(
        f"Attacks with a share of {', '.join(map(two_decimals, fraction))} of the source class, one autoencoder. AUC: "
        "score of the target class against every class of the clean draws. Called: at the defaults",
        {
            "Scoring": False,
            "Trigger": False,
            "AUC": True,
            "Target called": True,
            "Ranked first": True,
            "Called, target is `_unknown_`": True,
            "ARI": True,
            "ARI at least .95": True,
        },
        rows,
    )


def clean_table(clean: Sequence[Mapping[str, Any]]) -> Table:
    """False alarms at the defaults."""
    return Table(
        f"Clean draws, nine tenths of every class each: any class called at the defaults, and the highest score of all "
        f"{len(clean[0]['paper']['scores'])} classes",
        {"Scoring": False, "With a false alarm": True, "Highest score (nats)": True},
        [
            [
                TITLES[scoring],
                _share([row[scoring]["n_called"] > 0 for row in clean]),
                two_decimals(max(known(score for row in clean for score in row[scoring]["scores"]), default=None)),
            ]
            for scoring in scorings_of(clean[0])
        ],
    )


def curve_table(curve: Sequence[Mapping[str, Any]]) -> Table:
    """Fig. 7: a row for each pair, trigger and share, the default beside the paper's procedure."""
    rows = []
    for row in curve:
        cells = [f"{row['source']} \u2192 {row['target']}", row["trigger"], two_decimals(row["fraction"])]
        cells += [str(row["n_poison"]), str(row["n_target"])]
        for scoring in ("contrastive", "paper"):
            cells += [rate(row[scoring]["ari"]), "yes" if row[scoring]["found"] else "no"]
        rows.append(cells)
    return Table(
        "Share of the source class, as in Fig. 7",
        {
            "Attack": False,
            "Trigger": False,
            "Share": True,
            "Poison": True,
            "Class": True,
            "ARI": True,
            "Called": True,
            "ARI, paper": True,
            "Called, paper": True,
        },
        rows,
    )


def known(scores: Iterable[float | None]) -> list[float]:
    """Without those that were not judged."""
    return [score for score in scores if score is not None]


def _share(flags: Sequence[bool]) -> str:
    return f"{fixed(float(np.mean(flags)), 2)} ({sum(flags)} of {len(flags)})" if flags else DASH
