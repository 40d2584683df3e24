"""What the records of every kind say of a filter or a detector, in one form."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from art_plugins.attacks.cases import NO_NETWORK, SHORT
from art_plugins.evaluation.filters import FILTERS, filter_named
from art_plugins.evaluation.peers import PEER_FPR
from art_plugins.reports.record_files import COMPARISON, FILTER_RATES, IN_FLIGHT, LAYERWISE, SOUND_DETECTORS
from art_plugins.reports.records import Gathered
from art_plugins.reports.studies.in_flight_tables import DEFAULT_ROW, PAPER_ROW
from art_plugins.reports.tables import judged

Run = Mapping[str, Any]
Kind = Literal["filter", "detector"]
FILTER: Kind = "filter"
DETECTOR: Kind = "detector"
LAYERWISE_TITLE, IN_FLIGHT_TITLE = "Layer-wise features", "In-flight detection"
BOUNDS = tuple(one.title for one in FILTERS if one.origin == "bound")
SOUNDS = "Sounds"


class Task(NamedTuple):
    """
    What methods are compared on: all of them judge the same samples with the same model.

    :param kind: ``"filter"``: a training set is filtered; ``"detector"``: test inputs are judged.
    :param data: Title of the data set.
    :param title: Attack and network, for tables.
    :param key: Two tasks with equal keys are the same task. The seed is no part of it.
    :param samples: The same for training sets that are equal, whatever model was trained on them; empty: not known.
    :param has_model: Whether a model was trained.
    """

    kind: Kind
    data: str
    title: str
    key: str
    samples: str = ""
    has_model: bool = True


class Result(NamedTuple):
    """
    One method on one task with one seed.

    :param caught: Number of poisoned or triggered samples that it catches, of ``n_positive``.
    :param alarms: Number of clean samples that it takes for poison, of ``n_negative``.
    :param auroc: Area under the curve; ``None``: not known.
    :param seconds: Seconds for 1,000 samples; ``None``: not known.
    :param memory_mb: Peak memory above what was held before, in MB; ``None``: not known.
    """

    task: Task
    method: str
    seed: int
    caught: float
    n_positive: int
    alarms: float
    n_negative: int
    auroc: float | None = None
    seconds: float | None = None
    memory_mb: float | None = None


def results_of(gathered: Sequence[Gathered]) -> list[Result]:
    """
    Read the results off the records. Where two records have one method on one task with one seed, the first one counts.

    A filter that needs no model is measured once on a training set. It is compared with the filters of every model that
    was trained on this set.
    """
    found = [
        result
        for one in gathered
        if one.kind in READERS
        for run in judged(one.record["runs"])
        for result in _read(one, run)
    ]
    found = [one for one in found if one.method not in BOUNDS]
    known: dict[tuple[str, str, int], Result] = {}
    for one in [*found, *_with_every_model(found)]:
        known.setdefault((one.task.key, one.method, one.seed), one)
    shared = {one.task.samples for one in found if one.task.has_model and one.task.samples}
    return [one for one in known.values() if one.task.has_model or one.task.samples not in shared]


def n_not_judged(gathered: Sequence[Gathered]) -> int:
    """Count the runs of the records that have no rates, since the attack failed or the method refused."""
    runs = [run for one in gathered if one.kind in READERS for run in one.record["runs"]]
    return len(runs) - len(judged(runs))


def _with_every_model(found: Iterable[Result]) -> Iterator[Result]:
    """The results without a model once more, as results on each task that has the same training set and a model."""
    found = list(found)
    tasks = {one.task.key: one.task for one in found if one.task.has_model and one.task.samples}
    for one in found:
        if not one.task.has_model:
            yield from (one._replace(task=task) for task in tasks.values() if task.samples == one.task.samples)


def _read(one: Gathered, run: Run) -> Iterator[Result]:
    return READERS[one.kind](run)


def _of_filters(run: Run) -> Iterator[Result]:
    samples = {key: value for key, value in run["case"].items() if key not in ("seed", "network", "width", "nb_epochs")}
    title = f"{run['title']}; {run['n_train']:,} samples"
    key, has_model = _key(FILTER_RATES, run), run["case"]["network"] != NO_NETWORK
    task = Task(FILTER, _data(run), title, key, json.dumps([samples, run["n_train"]], sort_keys=True), has_model)
    yield _of_counts(task, _filter_title(run), run["seed"], run)


def _filter_title(run: Run) -> str:
    """The registry's title: with trusted samples, layer-wise features are another row of it."""
    title: str = run["filter_title"]
    return filter_named("layerwise_trusted").title if run["filter"] == "layerwise" and run["n_trusted"] else title


def _of_comparison(run: Run) -> Iterator[Result]:
    what = f"{run['trigger']}, {run['source']} \u2192 {run['target']}, {100 * run['fraction']:g} % of the source"
    settings = {name: value for name, value in run["settings"].items() if name != "seed"}
    key = json.dumps([COMPARISON, run["title"], what, settings, run["n_train"]], sort_keys=True)
    task = Task(FILTER, run["title"], f"{what}; {run['n_train']:,} samples", key)
    for row in run["defences"]:
        yield _of_counts(task, row["title"], run["seed"], row)


def _of_layerwise(run: Run) -> Iterator[Result]:
    if "filters" in run:
        task = Task(FILTER, _data(run), f"{run['title']}; {run['n_train']:,} samples", _key("filters of layerwise", run))
        for row in run["filters"]:
            yield _of_counts(task, _layerwise_title(row["title"]), run["seed"], row)
    if run["model"]["attack_success"] is not None:
        task = Task(DETECTOR, _data(run), f"{run['title']}; images of all classes", _key(LAYERWISE, run))
        for row in run["detectors"]:
            yield _of_rates(task, _layerwise_title(row["title"]), run["seed"], row)


def _layerwise_title(title: str) -> str:
    """The title of a row: rules have that of the defence before theirs, and other detectors have no target FPR."""
    if title.startswith("paper, "):
        return f"{LAYERWISE_TITLE}, the paper's rule, {title.removeprefix('paper, ')}"
    if title.startswith("default, "):
        return f"{LAYERWISE_TITLE}, {title.removeprefix('default, ')}"
    return title.removesuffix(f", target FPR {PEER_FPR:g}")


def _of_sounds(run: Run) -> Iterator[Result]:
    task = Task(DETECTOR, SOUNDS, run["title"], _key(SOUND_DETECTORS, run))
    for row in run["rows"]:
        title = row["title"] if row["title"].startswith(LAYERWISE_TITLE) else _layerwise_title(row["title"])
        yield _of_rates(task, title, run["seed"], row)


def _of_in_flight(run: Run) -> Iterator[Result]:
    if "detectors" not in run:
        return
    task = Task(DETECTOR, _data(run), f"{run['title']}; clean images of the target", _key(IN_FLIGHT, run))
    default = run["detectors"][DEFAULT_ROW]
    sizes = {"n_triggered_as_target": default["n_triggered_as_target"], "n_clean": default["n_clean_target"]}
    forms = ((IN_FLIGHT_TITLE, DEFAULT_ROW), (f"{IN_FLIGHT_TITLE}, the paper's form", PAPER_ROW))
    rows = [{**run["detectors"][index], "title": title} for title, index in forms] + run.get("baselines", [])
    for row in rows:
        if row["tpr"] is not None and row["fpr"] is not None:
            yield _of_rates(task, row["title"], run["seed"], {**row, **sizes})


READERS: dict[str, Callable[[Run], Iterator[Result]]] = {
    FILTER_RATES: _of_filters,
    COMPARISON: _of_comparison,
    LAYERWISE: _of_layerwise,
    IN_FLIGHT: _of_in_flight,
    SOUND_DETECTORS: _of_sounds,
}


def _of_counts(task: Task, method: str, seed: int, row: Run) -> Result:
    """The result of a filter, whose row has counts."""
    n_positive, n_negative = row["tp"] + row["fn"], row["fp"] + row["tn"]
    seconds = 1000 * row["seconds"] / (n_positive + n_negative)
    memory = row.get("peak_memory_mb")
    return Result(task, method, seed, row["tp"], n_positive, row["fp"], n_negative, row["auroc"], seconds, memory)


def _of_rates(task: Task, method: str, seed: int, row: Run) -> Result:
    """The result of a detector, whose row has rates and their denominators; a millisecond each is a second for 1,000."""
    n_positive, n_negative = row["n_triggered_as_target"], row["n_clean"]
    seconds, memory = row.get("milliseconds_per_image"), row.get("peak_memory_mb")
    caught = 0.0 if row["tpr"] is None else row["tpr"] * n_positive
    return Result(
        task, method, seed, caught, n_positive, row["fpr"] * n_negative, n_negative, row.get("auroc"), seconds, memory
    )


def _data(run: Run) -> str:
    name: str = run["case"]["dataset"]
    return SHORT.get(name, name)


def _key(kind: str, run: Run) -> str:
    case = {name: value for name, value in run["case"].items() if name != "seed"}
    sizes = [run.get(name) for name in ("title", "n_train", "n_clean")]
    return json.dumps([kind, case, sizes, run.get("recipe", {}).get("nb_epochs")], sort_keys=True)
