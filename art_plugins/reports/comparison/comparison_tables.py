"""The tables of a comparison of filters."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from art_plugins.reports.tables import (
    DASH,
    Table,
    count,
    fixed,
    markdown,
    one_decimal,
    rate,
    runs_of_one_task,
    spread,
    two_decimals,
)

NO_FILTER = "No filter"


N_COUNTS = 4  # the first measures, which are not averaged


# Heading, key of the record, how it is written; in the order of the columns.
MEASURES: tuple[tuple[str, str, Callable[[float | None], str]], ...] = (
    ("TP", "tp", count),
    ("FP", "fp", count),
    ("FN", "fn", count),
    ("TN", "tn", count),
    ("TPR", "tpr", rate),
    ("FPR", "fpr", rate),
    ("F1", "f1", rate),
    ("AUROC", "auroc", rate),
    ("ARI of target class", "ari_target", rate),
    ("Share removed", "fraction_removed", rate),
    ("Clean accuracy", "clean_accuracy", rate),
    ("Attack success", "attack_success", rate),
    ("Seconds", "seconds", one_decimal),
    ("Peak memory (MB)", "peak_memory_mb", count),
)


def markdown_report(record: Mapping[str, Any]) -> str:
    """All tables of a run: first means over seeds, where a task was run with several, then each task's own."""
    tables = [*map(seed_table, same_but_for_seed(record["runs"])), *map(defence_table, record["runs"])]
    return "\n".join(markdown(table) for table in tables)


def markdown_table(task_record: Mapping[str, Any]) -> str:
    """A task's filters as a Markdown table under a sentence that says what the task is; ends with a line break."""
    return markdown(defence_table(task_record))


def defence_table(task: Mapping[str, Any]) -> Table:
    """What each filter removed, and what a model trained on the rest does; the first row is the model without a filter."""
    undefended = {"title": NO_FILTER, **task["undefended"]}
    return Table(
        f"{title(task)}: {task['n_poison']} of {task['n_train']} training samples are poison "
        f"({task['trigger']}; {task['source']} \u2192 {task['target']}, {rate(task['fraction'])} of the source class, "
        f"{rate(task['target_share'])} of the target class). {task['n_test']} test samples, and "
        f"{task['undefended']['n_triggered_test']} of the source class with the trigger. Positive = poison.",
        {"Filter": False, **{heading: True for heading, _, _ in MEASURES}, "Note": False},
        [
            [row["title"], *(show(row.get(key)) for _, key, show in MEASURES), _note(row, task["defences"])]
            for row in (undefended, *task["defences"])
        ],
    )


def seed_table(tasks: Sequence[Mapping[str, Any]]) -> Table:
    """Mean and, in brackets, lowest to highest of every measure that is no count, over runs that differ in their seed."""
    rows = [[{"title": NO_FILTER, **task["undefended"]}, *task["defences"]] for task in tasks]
    measures = MEASURES[N_COUNTS:]
    return Table(
        f"{tasks[0]['title']} ({tasks[0]['trigger']}; {tasks[0]['source']} \u2192 {tasks[0]['target']}), mean over seeds "
        f"{', '.join(str(task['seed']) for task in tasks)}; in brackets lowest to highest, where they differ",
        {"Filter": False, **{heading: True for heading, _, _ in measures}},
        [
            [same[0]["title"], *(spread([row.get(key) for row in same], show) for _, key, show in measures)]
            for same in zip(*rows, strict=True)
        ],
    )


def class_table(task: Mapping[str, Any]) -> Table:
    """The VAE filter's judgement of every class."""
    return Table(
        "Classes as VAE latent clustering judges them; called poisoned above a score of "
        f"{two_decimals(task['score_limit'])}. False alarms: chance of a class so far out without poison",
        {
            "Class": False,
            "Samples": True,
            "Poison": True,
            "Score (nats)": True,
            "Index": True,
            "False alarms": True,
            "Verdict": False,
        },
        [
            [
                row["name"],
                count(row["n_samples"]),
                count(row["n_poison"]),
                two_decimals(row["class_score"]),
                two_decimals(row["mad_index"]),
                DASH if row["p_value"] is None else f"{row['p_value']:.2g}",
                row["verdict"],
            ]
            for row in task["classes"]
        ],
    )


def loss_table(history: Sequence[Mapping[str, float]]) -> Table:
    """The autoencoder's loss terms, a row for each epoch."""
    columns = {"Epoch": False, **{term.replace("_", " of the "): True for term in history[0]}}
    rows = [[str(epoch), *(fixed(value, 3) for value in losses.values())] for epoch, losses in enumerate(history, start=1)]
    return Table("Mean losses of each epoch, in nats", columns, rows)


def same_but_for_seed(tasks: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Groups of two and more tasks that differ in nothing but their seed."""
    return [group for group in runs_of_one_task(tasks) if len(group) > 1]


def title(task: Mapping[str, Any]) -> str:
    """Of one run of a task."""
    return f"{task['title']}, seed {task['seed']}"


def _note(row: Mapping[str, Any], defences: Sequence[Mapping[str, Any]]) -> str:
    titles = {"undefended": NO_FILTER, **{other["name"]: other["title"] for other in defences}}
    twin = row.get("retrained_as")
    parts = [row.get("note"), twin and f"keeps the same samples as {titles.get(twin, twin)}, so the same model"]
    return "; ".join(part for part in parts if part)
