"""The page of a comparison of filters, which holds its own figures, and the tables as Markdown."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.optional import import_optional
from art_plugins.reports.comparison import comparison_figures, curve_figures
from art_plugins.reports.comparison.comparison_tables import (
    class_table,
    defence_table,
    loss_table,
    markdown_report,
    markdown_table,
    same_but_for_seed,
    seed_table,
    title,
)
from art_plugins.reports.comparison.rate_figures import BOUNDS, CAUGHT_FPR, CAUGHT_TPR, rate_picture
from art_plugins.reports.pages import Picture, picture, render_page
from art_plugins.reports.suspects import shown_suspects
from art_plugins.reports.tables import DASH, one_decimal, pairs_table, rate, runs_of_one_task
from art_plugins.storage import atomic_path, write_text

__all__ = ["check_report_packages", "finding", "markdown_report", "markdown_table", "write_compare_report"]

ATTACK_WORKS = 0.5  # attack success below which its fall says little
TASK_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def write_compare_report(out_dir: str | Path, record: Mapping[str, Any], arrays: Mapping[str, Mapping[str, Any]]) -> None:
    """
    Write ``table.md``, ``report.html`` and ``figures/<task>_<name>.png``. Each file is either complete or absent.

    All figures are drawn before the first file is written. The page holds all figures and is written last.

    :param out_dir: Folder for the files.
    :param record: Record of the whole run, JSON-safe. A value that is not known is ``None``.
    :param arrays: Arrays of each task by its name: ``target_latents_2d`` (m, 2), ``target_clusters`` (m,) and
        ``target_is_poison`` (m,); see :func:`~art_plugins.reports.comparison.comparison_figures.cluster_figure`.
    :raises MissingPackageError: If jinja2 or matplotlib cannot be imported. Nothing is written then.
    :raises InvalidInputError: If two tasks have the same name, if a name cannot be that of a file, or if the folder cannot
        be written.
    """
    check_report_packages()
    names = [task["name"] for task in record["runs"]]
    if len(set(names)) < len(names) or not all(TASK_NAME.fullmatch(name) for name in names):
        raise InvalidInputError(f"Tasks must have unique names of letters, digits, '.', '_' and '-'; received {names}.")
    pictures = {task["name"]: _pictures(task, arrays[task["name"]]) for task in record["runs"]}
    out = Path(out_dir)
    overview = [_overview(tasks) for tasks in runs_of_one_task(record["runs"])]
    page, markdown = _page(record, overview, pictures, out), markdown_report(record)
    for name in names:
        for drawn in pictures[name]:
            with atomic_path(out / "figures" / f"{name}_{drawn.name}.png") as partial:
                partial.write_bytes(drawn.content)
    for part in overview:
        with atomic_path(out / "figures" / f"{part['tasks'][0]['name']}_{part['picture'].name}.png") as partial:
            partial.write_bytes(part["picture"].content)
    write_text(out / "table.md", markdown)
    write_text(out / "report.html", page)


def check_report_packages() -> None:
    """
    Check that a report can be made.

    :raises MissingPackageError: If jinja2 or matplotlib, which the extra ``report`` installs, cannot be imported.
    """
    import_optional("jinja2")
    import_optional("matplotlib.figure")


def finding(task: Mapping[str, Any]) -> str:
    """Describe the result of a task: the attack without a filter, and which filters caught the poison."""
    before = task["undefended"]
    sentences = [
        f"Without a filter the attack succeeds on a share of {rate(before['attack_success'])} of the "
        f"{before['n_triggered_test']} triggered test samples, and clean accuracy is {rate(before['clean_accuracy'])} on "
        f"{before['n_clean_test']}."
    ]
    if before["attack_success"] < ATTACK_WORKS:
        sentences.append("The attack itself hardly works here, so its fall after a filter says little.")
    judged = [row for row in task["defences"] if row["name"] not in BOUNDS]
    caught = "; ".join(_outcome(row) for row in judged if _caught(row))
    missed = "; ".join(row["title"] for row in judged if not _caught(row))
    sentences.append(f"The poison was caught by {caught}." if caught else "No filter caught the poison.")
    if missed:
        sentences.append(f"It was not caught by {missed}.")
    return " ".join(sentences)


def _overview(tasks: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Give the first part of the page: a picture of the runs that differ only in their seed, and the result of each."""
    return {
        "title": tasks[0]["title"] if len(tasks) > 1 else title(tasks[0]),
        "picture": rate_picture(tasks),
        "tasks": [{"name": task["name"], "title": title(task), "finding": finding(task)} for task in tasks],
    }


def _page(
    record: Mapping[str, Any],
    overview: Sequence[Mapping[str, Any]],
    pictures: Mapping[str, Sequence[Picture]],
    folder: Path,
) -> str:
    return render_page(
        "compare.html.j2",
        command=record["command"],
        seconds=one_decimal(record["seconds"]),
        caught_tpr=rate(CAUGHT_TPR),
        caught_fpr=rate(CAUGHT_FPR),
        dash=DASH,
        overview=overview,
        seed_tables=[seed_table(tasks) for tasks in same_but_for_seed(record["runs"])],
        versions=pairs_table("Versions this run was made with", "Package", "Version", record["versions"]),
        tasks=[
            {
                "name": task["name"],
                "title": title(task),
                "notes": task.get("notes", []),
                "defences": defence_table(task),
                "classes": class_table(task),
                "settings": pairs_table("Settings of this task", "Setting", "Value", task["settings"]),
                "losses": loss_table(task["autoencoder_history"]),
                "pictures": pictures[task["name"]],
                "suspects": shown_suspects(task, folder),
            }
            for task in record["runs"]
        ],
    )


def _pictures(task: Mapping[str, Any], arrays: Mapping[str, Any]) -> list[Picture]:
    classes = (task["classes"], task["target"], task["score_limit"])
    latents = (
        np.asarray(arrays["target_latents_2d"], dtype=float).reshape(-1, 2),
        np.asarray(arrays["target_clusters"]),
        np.asarray(arrays["target_is_poison"], dtype=bool),
        task["target"],
    )
    return [
        picture(
            "class_scores",
            "Score of every class: how much more it varies than the others do in its most unusual direction.",
            comparison_figures.class_score_figure(*classes),
            comparison_figures.class_score_words(*classes),
        ),
        picture(
            "clusters",
            "Latents of the target class on two principal components: as clustered, and as they truly are.",
            comparison_figures.cluster_figure(*latents),
            comparison_figures.cluster_words(*latents),
        ),
        picture(
            "confusion",
            "Samples removed and kept by each filter; below each count its share of the row.",
            comparison_figures.confusion_figure(task["defences"]),
            comparison_figures.confusion_words(task["defences"]),
        ),
        picture(
            "losses",
            "Training of the autoencoder.",
            curve_figures.loss_figure(task["autoencoder_history"]),
            curve_figures.loss_words(task["autoencoder_history"]),
        ),
    ]


def _caught(row: Mapping[str, Any]) -> bool:
    return row["tpr"] is not None and row["tpr"] >= CAUGHT_TPR and (row["fpr"] or 0) <= CAUGHT_FPR


def _outcome(row: Mapping[str, Any]) -> str:
    retrained = f"then attack {rate(row['attack_success'])}, clean accuracy {rate(row['clean_accuracy'])}"
    return f"{row['title']} (TPR {rate(row['tpr'])}, FPR {rate(row['fpr'])}; {retrained})"
