"""The tables of the leaderboard, as blocks of a Markdown page."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from statistics import median

from art_plugins.leaderboard.needs import needs_of
from art_plugins.leaderboard.published import Distance, distances
from art_plugins.leaderboard.ranking import Standing, by_task, rates, standings, unbeaten
from art_plugins.leaderboard.results import DETECTOR, FILTER, Result, n_not_judged, results_of
from art_plugins.reports.records import Gathered
from art_plugins.reports.tables import DASH, Table, count, fixed, markdown, rate, two_decimals

NAMES = ("leaderboard_filters", "leaderboard_detectors", "leaderboard_published", "leaderboard_attacks")
four_decimals = partial(fixed, digits=4)


def leaderboard_blocks(gathered: Sequence[Gathered]) -> dict[str, str]:
    """
    Give the text of each block of the leaderboard, by its name.

    :param gathered: Records; those of kinds that hold no filter and no detector are passed over.
    :return: A text for each of ``NAMES``.
    """
    results = results_of(gathered)
    return {
        "leaderboard_filters": _of_kind(results, FILTER),
        "leaderboard_detectors": _of_kind(results, DETECTOR),
        "leaderboard_published": _of_published(distances(gathered, results)),
        "leaderboard_attacks": _of_attacks(results, n_not_judged(gathered)),
    }


def standing_table(found: Sequence[Standing]) -> Table:
    """Give how often each method holds, and its mean rates."""
    columns = {"Method": False, "Not beaten": True, "TPR": True, "FPR": True, "AUROC": True, "Models": True}
    rows = []
    for one in found:
        each = [rates([result]) for result in one.results]
        tprs = [result.tpr for result in each if result.tpr is not None]
        aurocs = [result.auroc for result in one.results if result.auroc is not None]
        contested = f"{one.n_unbeaten} of {one.n_contested}" if one.n_contested else DASH
        means = [_mean(values, rate) for values in (tprs, [result.fpr for result in each], aurocs)]
        rows.append([one.method, contested, *means, f"{len(one.results)}"])
    return Table(
        "The best method comes first. Rates are means over the models that a method was measured on", columns, rows
    )


def cost_table(kind: str, found: Sequence[Standing]) -> Table:
    """Give what each method needs and what it costs."""
    columns = {"Method": False, "By": False, "Needs": False, "Seconds": True, "MB": True}
    rows = []
    for one in found:
        cost = [[result.seconds for result in one.results], [result.memory_mb for result in one.results]]
        seconds, memory = ([value for value in values if value is not None] for values in cost)
        by, needs = needs_of(kind, one.method)
        shown = [two_decimals(median(seconds)) if seconds else DASH, count(median(memory)) if memory else DASH]
        rows.append([one.method, by or DASH, needs or DASH, *shown])
    caption = "What each needs, seconds for 1,000 samples and peak memory above what was held before (both: the median)"
    return Table(caption, columns, rows)


def distance_table(found: Sequence[Distance]) -> Table:
    """Give the published rates of what was measured here, beside the measured ones."""
    columns = {"Method": False, "Attack": False, "TPR, published": True, "here": True, "difference": True}
    columns |= {"FPR, published": True, "here ": True, "difference ": True, "Measured on": False}
    rows = []
    for one in found:
        if one.over:
            pairs = zip(one.published, one.measured, strict=True)
            cells = [cell for published, measured in pairs for cell in _beside(published, measured)]
            rows.append([one.method, one.attack, *cells, one.over])
    return Table("Published for ResNet-18 on CIFAR-10, or for sounds, and measured here", columns, rows)


def _beside(published: float | None, measured: float | None) -> tuple[str, str, str]:
    known = published is not None and measured is not None
    difference = f"{measured - published:+.4f}" if known else DASH  # type: ignore[operator]
    return four_decimals(published), four_decimals(measured), difference


def _of_published(found: Sequence[Distance]) -> str:
    """The table, and below it what was published and is not measured here."""
    missing: dict[str, list[str]] = {}
    for one in found:
        if not one.over:
            missing.setdefault(one.method, []).append(one.attack)
    words = "; ".join(f"{method} ({', '.join(attacks)})" for method, attacks in missing.items())
    text = markdown(distance_table(found))
    return f"{text}\nPublished as well, but not measured here: {words}.\n" if missing else text


def task_table(task: dict[str, list[Result]]) -> Table:
    """Give the methods that were measured on one task, the best one first."""
    columns = {"Method": False, "TPR": True, "FPR": True, "AUROC": True, "Seeds": True, "Seconds": True, "MB": True}
    best = unbeaten(task)
    order = sorted(task, key=lambda method: -rates(task[method]).lead)
    rows = [[f"{method} \u2605" if method in best else method, *_measures(task[method])] for method in order]
    return Table(next(iter(task.values()))[0].task.title, columns, rows)


def alone_table(tasks: Sequence[dict[str, list[Result]]]) -> Table:
    """Give the tasks on which a single method was measured."""
    columns = {"Attack": False, "Method": False, "TPR": True, "FPR": True, "AUROC": True, "Seeds": True}
    rows = []
    for task in tasks:
        ((method, own),) = task.items()
        rows.append([own[0].task.title, method, *_measures(own)])
    return Table("One method only, so that nothing is compared", columns | {"Seconds": True, "MB": True}, rows)


def _measures(own: Sequence[Result]) -> list[str]:
    found = rates(own)
    aurocs, seconds, memory = (
        [value for value in values if value is not None]
        for values in zip(*((one.auroc, one.seconds, one.memory_mb) for one in own), strict=True)
    )
    seeds = ", ".join(str(seed) for seed in sorted(one.seed for one in own))
    means = [_mean(aurocs, four_decimals), seeds, _mean(seconds, two_decimals), _mean(memory, count)]
    return [four_decimals(found.tpr), four_decimals(found.fpr), *means]


def _of_kind(results: Sequence[Result], kind: str) -> str:
    found = standings([one for one in results if one.task.kind == kind])
    return "\n".join([markdown(standing_table(found)), markdown(cost_table(kind, found))])


def _of_attacks(results: Sequence[Result], n_left_out: int) -> str:
    """Every task, folded by data set."""
    parts = [
        f"There are {len(by_task(results))} attacks and clean sets. {n_left_out} further runs have no rates: "
        "the attack did not work, or the filter refused. The README of the records lists them.\n"
    ]
    for kind, words in ((FILTER, "Filters"), (DETECTOR, "Detectors")):
        own = [one for one in results if one.task.kind == kind]
        for data in dict.fromkeys(one.task.data for one in own):
            tasks = by_task([one for one in own if one.task.data == data])
            parts.append(_folded(f"{words}: {data}", tasks))
    return "\n".join(parts)


def _folded(title: str, tasks: Sequence[dict[str, list[Result]]]) -> str:
    contested, alone = [task for task in tasks if len(task) > 1], [task for task in tasks if len(task) == 1]
    tables = [markdown(task_table(task)) for task in contested] + ([markdown(alone_table(alone))] if alone else [])
    body = "\n".join(f"{table}" for table in tables).strip()
    return f"<details markdown><summary>{title}</summary>\n\n{body}\n\n</details>\n"


def _mean(values: Sequence[float], show: partial[str]) -> str:
    return show(sum(values) / len(values)) if values else DASH
