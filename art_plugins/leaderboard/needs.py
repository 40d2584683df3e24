"""What each method needs, read off the registries of filters and detectors."""

from __future__ import annotations

from art_plugins.evaluation.detectors import DETECTORS
from art_plugins.evaluation.filters import FILTERS, NEED_BATCH_NORM
from art_plugins.leaderboard.results import FILTER, IN_FLIGHT_TITLE, LAYERWISE_TITLE

ORIGINS = {"own": "this package", "art": "ART", "peer": "other authors"}
BATCH_NORM, TRUSTED, MODEL, LABELS = "batch normalisation", "trusted samples", "a model", "labels"


def needs_of(kind: str, method: str) -> tuple[str, str]:
    """
    Say whose a method is and what it needs.

    :param kind: ``"filter"`` or ``"detector"``.
    :param method: Its title.
    :return: Two texts. Both are empty for a method that this release does not know.
    """
    return _of_filter(method) if kind == FILTER else _of_detector(method)


def _of_filter(method: str) -> tuple[str, str]:
    for one in FILTERS:
        if one.title == method:
            with_trusted = one.takes_trusted and method.endswith("(trusted)")
            further = [MODEL] * one.needs_model + [TRUSTED] * with_trusted + [BATCH_NORM] * (one.name in NEED_BATCH_NORM)
            return ORIGINS[one.origin], ", ".join([LABELS, *further])
    if method.startswith(LAYERWISE_TITLE):
        return ORIGINS["own"], ", ".join([LABELS, MODEL, *[TRUSTED] * (not method.endswith("none trusted"))])
    return "", ""


def _of_detector(method: str) -> tuple[str, str]:
    for one in DETECTORS:
        if one.title == method:
            further = ["an inverted trigger"] * one.needs_backdoor + [BATCH_NORM] * one.needs_batch_norm
            return ORIGINS["peer"], ", ".join([MODEL, TRUSTED, *further, *["PyOD"] * one.needs_pyod])
    if method.startswith(IN_FLIGHT_TITLE):
        return ORIGINS["own"], f"{MODEL}, {TRUSTED}, an inverted trigger"
    if method.startswith(LAYERWISE_TITLE):
        return ORIGINS["own"], f"{MODEL}, {TRUSTED}"
    return "", ""
