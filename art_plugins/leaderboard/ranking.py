"""Which method is beaten on which task, and the order that follows from it."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from art_plugins.leaderboard.results import Result

# A difference of two standard errors comes about by chance in about one of twenty comparisons of equals (normal law).
N_ERRORS = 2.0


class Rates(NamedTuple):
    """
    Rates of a method over all seeds of a task.

    :param tpr: Share of the poison that is caught; ``None``: the data are clean.
    :param fpr: Share of the clean samples that are taken for poison.
    :param lead: TPR less FPR; on clean data the FPR with a minus.
    :param variance: Variance of ``lead``, from the numbers of samples.
    """

    tpr: float | None
    fpr: float
    lead: float
    variance: float


class Standing(NamedTuple):
    """
    How a method stands among the others.

    :param method: Title of the method.
    :param results: All its results.
    :param n_unbeaten: Number of tasks on which no other method beats it, of ``n_contested``.
    :param n_contested: Number of tasks on which another method was measured too.
    """

    method: str
    results: list[Result]
    n_unbeaten: int
    n_contested: int

    @property
    def place(self) -> float:
        """Share of the tasks that it holds, as if it had won and lost one more; few tasks do not lead the list."""
        return (self.n_unbeaten + 1) / (self.n_contested + 2)


def rates(results: Sequence[Result]) -> Rates:
    """
    Give the rates over several results of one method, with their counts added.

    The variance counts one more sample that is caught and one more that is not. So a rate of 0 or 1 over few samples is not
    taken for exact.
    """
    caught, n_positive = sum(one.caught for one in results), sum(one.n_positive for one in results)
    alarms, n_negative = sum(one.alarms for one in results), sum(one.n_negative for one in results)
    tpr, fpr = (caught / n_positive if n_positive else None), (alarms / n_negative if n_negative else 0.0)
    variance = _variance(caught, n_positive) + _variance(alarms, n_negative)
    return Rates(tpr, fpr, (tpr or 0.0) - fpr, variance)


def beats(one: Sequence[Result], other: Sequence[Result]) -> bool:
    """
    Say whether a method beats another one on a task: its TPR less its FPR is higher by more than two standard errors.

    Only the seeds that both were measured with are compared. What two trainings differ by is no part of the error.
    """
    seeds = {result.seed for result in one} & {result.seed for result in other}
    if not seeds:
        return False
    first, second = (rates([result for result in results if result.seed in seeds]) for results in (one, other))
    return first.lead - second.lead > N_ERRORS * math.sqrt(first.variance + second.variance)


def by_task(results: Sequence[Result]) -> list[dict[str, list[Result]]]:
    """Group the results by task and then by method, both in the order of the results."""
    tasks: dict[str, dict[str, list[Result]]] = {}
    for one in results:
        tasks.setdefault(one.task.key, {}).setdefault(one.method, []).append(one)
    return list(tasks.values())


def unbeaten(task: dict[str, list[Result]]) -> list[str]:
    """Give the methods of a task that no other one beats."""
    return [
        method
        for method, own in task.items()
        if not any(beats(other, own) for name, other in task.items() if name != method)
    ]


def standings(results: Sequence[Result]) -> list[Standing]:
    """Give all methods, the best one first; equal ones in the order of their names."""
    methods: dict[str, list[Result]] = {}
    for one in results:
        methods.setdefault(one.method, []).append(one)
    contested = [task for task in by_task(results) if len(task) > 1]
    winners = [unbeaten(task) for task in contested]
    found = [
        Standing(
            method,
            own,
            sum(method in names for names in winners),
            sum(method in task for task in contested),
        )
        for method, own in methods.items()
    ]
    return sorted(found, key=lambda one: (-one.place, -one.n_contested, one.method))


def _variance(count: float, n: int) -> float:
    if n == 0:
        return 0.0
    share = (count + 1) / (n + 2)
    return share * (1 - share) / n
