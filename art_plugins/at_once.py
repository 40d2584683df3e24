"""Calls that do not need one another, computed at once where the caller has asked joblib for it."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

from joblib import Parallel, delayed, parallel_config
from joblib.externals.loky.process_executor import TerminatedWorkerError

Result = TypeVar("Result")


def at_once(calls: Iterable[Callable[[], Result]]) -> Iterator[Result]:
    """
    Give the results of calls, in their order.

    This process computes them one after the other, unless the caller is inside ``joblib.parallel_config(...)``. Then the
    processes or the workers of a cluster that it names compute them. If local processes die, for want of memory for
    instance, this process computes what is left.
    """
    kept = list(calls)
    n_given = 0
    try:
        for result in _parallel()(delayed(_alone)(call) for call in kept):
            yield result
            n_given += 1
    except TerminatedWorkerError as error:
        warnings.warn(f"Processes died, so that one computes the rest ({error.__class__.__name__}).", stacklevel=2)
        yield from (call() for call in kept[n_given:])


def _alone(call: Callable[[], Result]) -> Result:
    """
    Compute a call in this process alone. A worker of Dask or Ray would otherwise hand the small steps inside it, which ask
    joblib as well, to the cluster once more.
    """
    with parallel_config("sequential"):
        return call()


def _parallel() -> Parallel:
    """What gives each result as soon as it is there; by a backend that cannot, such as Ray's, all of them at the end."""
    try:
        return Parallel(return_as="generator")
    except ValueError:
        return Parallel()
