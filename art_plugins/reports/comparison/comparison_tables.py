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
N_COUNTS = 4  # number of the first measures that are counts, of which no mean is taken
# Heading, key in the record, and format of each measure, in the order of the columns.
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
    """Give all tables of a run: first the means over the seeds of tasks with several seeds, then the table of each task."""
    tables = [*map(seed_table, same_but_for_seed(record["runs"])), *map(defence_table, record["runs"])]
    return "\n".join(markdown(table) for table in tables)


def markdown_table(task_record: Mapping[str, Any]) -> str:
    """Give the table of a task's filters as Markdown, below a sentence that describes the task."""
    return markdown(defence_table(task_record))


def defence_table(task: Mapping[str, Any]) -> Table:
    """
    Give what each filter removed, and the rates of a model that was trained on the rest. The first row is a model without a
    filter.
    """
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
    """
    Give the mean of each measure over runs that differ only in their seed, with the lowest and the highest value in
    brackets. Counts are left out.
    """
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
    """Give the score and the verdict of the VAE filter for each class."""
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
    """Give the loss terms of the autoencoder, with a row for each epoch."""
    columns = {"Epoch": False, **{term.replace("_", " of the "): True for term in history[0]}}
    rows = [[str(epoch), *(fixed(value, 3) for value in losses.values())] for epoch, losses in enumerate(history, start=1)]
    return Table("Mean losses of each epoch, in nats", columns, rows)


def same_but_for_seed(tasks: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Give the groups of two or more tasks that differ only in their seed."""
    return [group for group in runs_of_one_task(tasks) if len(group) > 1]


def title(task: Mapping[str, Any]) -> str:
    """Give the title of one run of a task."""
    return f"{task['title']}, seed {task['seed']}"


def _note(row: Mapping[str, Any], defences: Sequence[Mapping[str, Any]]) -> str:
    titles = {"undefended": NO_FILTER, **{other["name"]: other["title"] for other in defences}}
    twin = row.get("retrained_as")
    parts = [row.get("note"), twin and f"keeps the same samples as {titles.get(twin, twin)}, so the same model"]
    return "; ".join(part for part in parts if part)
