"""How far each re-implementation is from what was published of the method."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from art_plugins.leaderboard.ranking import rates
from art_plugins.leaderboard.results import DETECTOR, Result
from art_plugins.reports.record_files import IN_FLIGHT
from art_plugins.reports.records import Gathered
from art_plugins.reports.studies.layerwise_tables import PUBLISHED_PEERS
from art_plugins.reproduction.li import TABLE_2

Pair = tuple[float | None, float | None]
CIFAR = "CIFAR-10"
# What the papers call an attack, and what it is called in the titles of this package.
ATTACKS = {"BadNets": "white box", "Blended": "blended", "WaNet": "warp"}
# Name in the publication, and the titles here: a detector before a filter. What is not in it is not written anew here.
TITLES = {
    "IBD-PSC": ("IBD-PSC", "IBD-PSC (trusted)"),
    "SCALE-UP": ("SCALE-UP, data-limited",),
    "AC": ("Activation clustering (penultimate)",),
    "FLARE": ("FLARE",),
}
SPELT_OUT = {"AC": "Activation clustering"}
FLARE_PUBLISHED: dict[str, dict[str, tuple[float, float]]] = {"BadNets": {"FLARE": (1.0, 0.0)}}
# AUROC of STEP over seven attacks on sounds, and TPR of STRIP-ViTA at an FPR of .03 on Speech Commands.
STEP_AUROC, STRIP_VITA = 0.979, (1 - 0.0355, 0.03)
STEP_ATTACK, STRIP_VITA_ATTACK = "seven attacks on sounds, AUROC in place of TPR", "sounds"
SOURCES = {"single": "one class", "multi": "all classes"}


class Distance(NamedTuple):
    """
    Published rates of a method under an attack, and the measured ones.

    :param method: Name of the method.
    :param attack: The attack.
    :param published: TPR and FPR; ``None``: not published.
    :param measured: The same, means over the models; ``None``: not measured.
    :param over: The data that it was measured on; empty: not measured.
    """

    method: str
    attack: str
    published: Pair
    measured: Pair
    over: str


def distances(gathered: Sequence[Gathered], results: Sequence[Result]) -> list[Distance]:
    """
    Give the published rates of every method that is written anew here, beside the measured ones.

    Where a method was measured on CIFAR-10 under the attack, the measured rates are from there. Else they are from another
    data set.
    """
    return [*_of_peers(results), *_of_table_2(gathered), *_of_sounds(results)]


def _of_peers(results: Sequence[Result]) -> list[Distance]:
    found = []
    for attack, word in ATTACKS.items():
        for name, published in {**PUBLISHED_PEERS[attack], **FLARE_PUBLISHED.get(attack, {})}.items():
            if name in TITLES:
                own, over = _measured(results, TITLES[name], word)
                each = [rates([one]) for one in own]
                measured = (_mean([one.tpr for one in each]), _mean([one.fpr for one in each]))
                found.append(Distance(SPELT_OUT.get(name, name), attack, published, measured, over))
    return found


def _measured(results: Sequence[Result], titles: Sequence[str], word: str) -> tuple[list[Result], str]:
    """The results of the first title that has any: on CIFAR-10, or else on the data set that has most of them."""
    for title in titles:
        own = [one for one in results if one.method == title and one.n_positive and _is_attack(one, word)]
        sets = list(dict.fromkeys(one.task.data for one in own))
        if sets:
            data = CIFAR if CIFAR in sets else max(sets, key=lambda name: sum(one.task.data == name for one in own))
            chosen = [one for one in own if one.task.data == data]
            what = "detector" if chosen[0].task.kind == DETECTOR else "filter"
            return chosen, f"{data}, {what}, {_models(len(chosen))}"
    return [], ""


def _is_attack(one: Result, word: str) -> bool:
    """Whether the title of a task names the attack, with images of all classes sent to one class."""
    parts = [part.strip() for part in one.task.title.split(";")[0].split(",")]
    return word in parts and not {"single source", "all to all", "untargeted", "two targets"} & set(parts)


def _of_table_2(gathered: Sequence[Gathered]) -> list[Distance]:
    """Neural Cleanse, B3D and STRIP as Li et al. report them, with the threshold swept on the test images as they do."""
    runs = [run for one in gathered if one.kind == IN_FLIGHT for run in one.record["runs"]]
    found = []
    for (name, sources, trigger), (tpr, fpr, _) in TABLE_2.items():
        wanted = ("cifar10", sources, trigger)
        of_attack = [run for run in runs if tuple(run["case"][key] for key in ("dataset", "sources", "trigger")) == wanted]
        rows = [row for run in of_attack for row in run.get("baselines", []) if row["title"] == name]
        measured = (_mean([row["swept_tpr"] for row in rows]), _mean([row["swept_fpr"] for row in rows]))
        attack = f"{trigger.replace('_', ' ')} from {SOURCES[sources]}"
        over = f"{CIFAR}, detector, {_models(len(rows))}" if rows else ""
        found.append(Distance(name, attack, (tpr, fpr), measured, over))
    return found


def _of_sounds(results: Sequence[Result]) -> list[Distance]:
    """STEP and STRIP-ViTA, over all attacks on sounds that they were measured on."""
    step = [one for one in results if one.method == "STEP" and one.auroc is not None]
    strip = [one for one in results if one.method == "STRIP-ViTA" and one.n_positive]
    each = [rates([one]) for one in strip]
    of_strip = (_mean([one.tpr for one in each]), _mean([one.fpr for one in each]))
    over = [f"sounds, detector, {_models(len(own))}" if own else "" for own in (step, strip)]
    return [
        Distance("STEP", STEP_ATTACK, (STEP_AUROC, None), (_mean([one.auroc for one in step]), None), over[0]),
        Distance("STRIP-ViTA", STRIP_VITA_ATTACK, STRIP_VITA, of_strip, over[1]),
    ]


def _models(n: int) -> str:
    return "1 model" if n == 1 else f"{n} models"


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None
