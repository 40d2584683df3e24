"""Tables of a sweep: for each scoring the classes found, the samples found and the false alarms (Mehlman et al., 4.4)."""

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
GOOD_ARI = 0.95  # as in Fig. 6 of Mehlman et al. 2023


def rows_of(record: Mapping[str, Any], kind: str) -> list[dict[str, Any]]:
    """Give all rows of the runs of one kind."""
    return [row for run in record["runs"] if run["kind"] == kind for row in run["rows"]]


def scorings_of(row: Mapping[str, Any]) -> list[str]:
    """Give the scorings that a row of a record has. Older records lack some of them."""
    return [scoring for scoring in TITLES if scoring in row]


def triggers_of(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Give the names of the triggers in the order of the record."""
    return list(dict.fromkeys(row["trigger"] for row in rows))


def sweep_tables(record: Mapping[str, Any]) -> list[Table]:
    """Give the table of the attacks, and those of the clean draws and of the curves if the record has them."""
    attacks, clean, curve = (rows_of(record, kind) for kind in ("attacks", "clean", "curve"))
    tables = [attack_table(attacks, clean)]
    if clean:
        tables.append(clean_table(clean))
    if curve:
        tables.append(curve_table(curve))
    return tables


def class_auc(attacks: Sequence[Mapping[str, Any]], clean: Sequence[Mapping[str, Any]], scoring: str) -> float | None:
    """
    Give the area under the curve of Fig. 4. It compares the scores of the target classes with those of all classes of the
    clean draws.

    :return: The area; ``None`` if there are no attacks or no clean draws, or if all scores are equal.
    """
    if not attacks or not clean:
        return None
    truth, scores = ranked_scores(attacks, clean, scoring)
    return float(roc_auc_score(truth, scores)) if np.ptp(scores) > 0 else None


def ranked_scores(
    attacks: Sequence[Mapping[str, Any]], clean: Sequence[Mapping[str, Any]], scoring: str
) -> tuple[np.ndarray, np.ndarray]:
    """
    Give the scores of the target classes and of all classes of the clean draws. A class that was not judged is never called
    poisoned, so it gets a score below all others.

    :return: Whether each class is a target, 1 or 0, and the scores, both of shape (m,).
    """
    targets = [row[scoring]["score"] for row in attacks]
    others = [score for row in clean for score in row[scoring]["scores"]]
    scores = np.array([*targets, *others], dtype=np.float64)  # None becomes NaN
    known = np.isfinite(scores)
    scores[~known] = scores[known].min(initial=0.0) - 1
    return np.repeat([1, 0], [len(targets), len(others)]), scores


def attack_table(attacks: Sequence[Mapping[str, Any]], clean: Sequence[Mapping[str, Any]]) -> Table:
    """Give the table of the attacks, with a row for each scoring and trigger, and one for all triggers together."""
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
    """Give the table of the false alarms with the default settings."""
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
    """
    Give the values of Fig. 7: a row for each pair of classes, trigger and poisoned share, with the default and the paper's
    procedure.
    """
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
    """Give the scores without those of classes that were not judged."""
    return [score for score in scores if score is not None]


def _share(flags: Sequence[bool]) -> str:
    return f"{fixed(float(np.mean(flags)), 2)} ({sum(flags)} of {len(flags)})" if flags else DASH
