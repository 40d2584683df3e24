"""Poison as groups that stand apart at the layers of the network, with trusted samples in any number or none."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from art_plugins.disk_room import scratch_array
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import collect_outputs
from art_plugins.features.classifiers import predicted_classes
from art_plugins.features.input_checks import accuracy_warning
from art_plugins.features.layer_views import input_view, layer_views
from art_plugins.groups.discriminant import SelfTrainedDiscriminant
from art_plugins.groups.find import Group, find_groups
from art_plugins.groups.mixture import with_sides_told
from art_plugins.groups.verdict import JudgedGroup, clearest_by_class, clearness_limit, judge_groups
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.outlying import LEAST

logger = logging.getLogger(__name__)

CAUGHT = 0.5  # score above which a sample is poison
TINY = 1e-12
AT_ONCE = 256  # samples that are copied together


class GroupFindings(NamedTuple):
    """
    ``scores``: (n,), a half at the border of a group and 1 at its median, infinite where the samples' features are not
    finite; ``layer_scores``: (n, L), places at each layer alone; ``judged``: the groups, the clearest first; ``members``:
    (G, n), bool, of the groups that have a verdict.
    """

    scores: np.ndarray
    layer_scores: np.ndarray
    judged: list[JudgedGroup]
    members: np.ndarray

    @property
    def summaries(self) -> list[dict[str, Any]]:
        """What a report says of every group with a verdict, JSON-safe."""
        return [one.summary() for one in self.judged if one.verdict != "nothing"]

    def clearest(self, nb_classes: int) -> list[float]:
        """The largest clearness of a group in each class, K values; 0: none."""
        return clearest_by_class([one.group for one in self.judged], nb_classes)


def removed_by_class(is_clean: np.ndarray, labels: np.ndarray, nb_classes: int) -> list[dict[str, Any]]:
    """
    Count what is removed, class by class.

    :param is_clean: 1: the sample stays, (n,).
    :param labels: Class of each sample, (n,), 0 to K - 1.
    :param nb_classes: Number of classes, K.
    :return: ``n_samples``, ``n_removed`` and ``fraction_removed`` of each class, JSON-safe.
    """
    removed = [int((is_clean[rows] == 0).sum()) for rows in indices_by_class(labels, nb_classes)]
    sizes = np.bincount(labels, minlength=nb_classes).tolist()
    return [
        {"n_samples": size, "n_removed": n, "fraction_removed": n / size if size else 0.0}
        for size, n in zip(sizes, removed, strict=True)
    ]


def find_poison(
    classifier: Any,
    x: np.ndarray,
    labels: np.ndarray,
    nb_classes: int,
    layers: Sequence[str],
    fpr: float,
    *,
    content_layers: Sequence[str],
    x_val: np.ndarray | None = None,
    y_val: np.ndarray | None = None,
    **how: int,
) -> GroupFindings:
    """
    Find the groups of training samples that stand apart at the layers of the network.

    Trusted samples take part as samples of their class of which it is known that they are clean, see
    :func:`~art_plugins.groups.verdict.judge_groups`.

    There are nine parameters: six are the model, the data and the rate, two the trusted data.

    :param x: Training samples, (n, ...).
    :param labels: Labels of these samples, (n,).
    :param nb_classes: Number of classes, K.
    :param layers: Names of the layers.
    :param fpr: Probability that something is called poison in a data set without any.
    :param content_layers: Those of the layers that show what a sample is, whatever its label, see :func:`earlier`.
    :param x_val: Trusted samples, (m, ...); ``None``: there are none.
    :param y_val: Labels of these samples, (m,).
    :param how: ``max_dims``, ``batch_size`` and ``random_state`` of :func:`~art_plugins.features.layer_views.layer_views`.
    :raises InvalidInputError: If no sample has finite features, or a trusted one has none.
    """
    n = len(x)
    if x_val is not None and y_val is not None:
        x, labels = _joined(x, x_val), np.concatenate([labels, y_val])
    seen = layer_views(classifier, x, labels, nb_classes, layers, **how)
    _check_sound(seen.sound[:n], seen.sound[n:])
    rows = np.flatnonzero(seen.sound)
    n_classes = int((np.bincount(labels[rows], minlength=nb_classes) > 0).sum())
    if n_classes < LEAST:
        logger.warning(
            "There are only %d classes. What stands apart is told by comparison with the other classes, so poison is "
            "missed more easily here. A filter that takes trusted samples is the better one, if you have some.",
            n_classes,
        )
    views = {name: view if len(rows) == len(x) else view[rows] for name, view in seen.views.items()}
    random_state = how.get("random_state", 0)
    groups = find_groups(views, labels[rows], nb_classes, random_state, rows >= n) if views else []
    of_content = [name for name in views if name.rpartition(" ")[0] in content_layers]
    least = clearness_limit(n_classes, fpr) if fpr > 0 else np.inf
    if any(one.evidence.clearness >= least for one in groups):
        inputs = input_view(x, rows, random_state)
        groups = with_sides_told(groups, inputs, labels[rows], nb_classes, least, rows >= n)
    judged = judge_groups(groups, views, labels[rows], n_classes, fpr, rows >= n, of_content)
    scores = np.full(len(x), np.inf)
    scores[rows] = _scores(judged, labels[rows])
    layer_scores = np.where(np.isfinite(scores), 0.0, np.inf)[:, None].repeat(len(layers), axis=1)
    poison = [one.group for one in judged if one.verdict == "poison"]
    layer_scores[rows] = _places_by_layer(views, layers, poison, len(rows), random_state)
    return GroupFindings(scores[:n], layer_scores[:n], judged, _members(judged, rows, len(x))[:, :n])


def _members(judged: Sequence[JudgedGroup], rows: np.ndarray, n: int) -> np.ndarray:
    """Who of n samples is of each group with a verdict, (G, n), bool; the groups were found among those of ``rows``."""
    with_verdict = [one.group.members for one in judged if one.verdict != "nothing"]
    members = np.zeros((len(with_verdict), n), dtype=bool)
    if with_verdict:
        members[:, rows] = np.stack(with_verdict)
    return members


def earlier(layers: Sequence[str]) -> list[str]:
    """
    Give the earlier half of a network's layers, one at least.

    They show what a sample is. The later ones show what the network was taught to call it, and they have learned the labels
    of the poison.
    """
    return list(layers[: max(1, len(layers) // 2)])


def _check_sound(of_suspects: np.ndarray, of_trusted: np.ndarray) -> None:
    """
    :param of_suspects: Training samples whose features and outputs are finite, (n,), bool.
    :param of_trusted: Trusted samples whose features and outputs are finite, (m,), bool.
    :raises InvalidInputError: If no training sample is sound, or a trusted one is not.
    """
    if not of_suspects.any():
        raise InvalidInputError(
            f"All {len(of_suspects)} samples give features or outputs that are not finite. Check how the samples are "
            "scaled, and whether the model's weights hold NaN."
        )
    n_bad = int((~of_trusted).sum())
    if n_bad:
        raise InvalidInputError(
            f"{n_bad} of the {len(of_trusted)} trusted samples give features or outputs that are not finite, or too large "
            "for single precision. Remove such samples, check how the samples are scaled, and whether the model's weights "
            "hold NaN."
        )


def _joined(x: np.ndarray, x_val: np.ndarray) -> np.ndarray:
    """Both after each other, on the disk where they are large; the training set may be a ``numpy.memmap``."""
    dtype = np.result_type(x.dtype, x_val.dtype)
    dtype = np.dtype(np.float32) if dtype == np.float64 != x.dtype else dtype  # NumPy's usual type: x says the network's
    both = scratch_array((len(x) + len(x_val), *x.shape[1:]), dtype, "The training samples and the trusted ones need")
    for start, part in ((0, x), (len(x), x_val)):
        for row in range(0, len(part), AT_ONCE):
            some = part[row : row + AT_ONCE]
            both[start + row : start + row + len(some)] = some
    return both


def check_known(classifier: Any, x_val: np.ndarray, y_val: np.ndarray, batch_size: int) -> None:
    """
    Warn if the model is wrong about most trusted samples.

    :param x_val: Trusted samples, (m, ...).
    :param y_val: Labels of these samples, (m,).
    :param batch_size: Number of samples in one forward pass.
    :raises InvalidInputError: If it classifies none of them as its label says.
    """
    outputs = collect_outputs(classifier, x_val, batch_size)
    n_right, n = int((predicted_classes(classifier, outputs) == y_val).sum()), len(x_val)
    if not n_right and np.isfinite(outputs).all():
        raise InvalidInputError(
            f"The model classifies none of the {n} trusted samples as its label says. Check the labels, and that the "
            "samples are scaled as the classifier takes them."
        )
    doubt = accuracy_warning(n_right, n)
    if doubt is not None:
        logger.warning(doubt)


def _scores(judged: Sequence[JudgedGroup], labels: np.ndarray) -> np.ndarray:
    """
    A score for each sample: the largest place in a group that is poison, so stretched that the group's cut is at a half.
    Without poison, the places in the clearest group give an order, and no score is above a half.
    """
    scores = np.zeros(len(labels))
    for group in (one.group for one in judged if one.verdict == "poison"):
        below, above = group.places / max(group.cut, TINY), (group.places - group.cut) / max(1 - group.cut, TINY)
        stretched = np.where(group.places > group.cut, CAUGHT + (1 - CAUGHT) * above, CAUGHT * below)
        own = np.isin(labels, group.classes)
        scores[own] = np.maximum(scores[own], stretched[own])
        scores[group.members] = np.maximum(scores[group.members], np.nextafter(CAUGHT, 1))
    if judged and not any(one.verdict == "poison" for one in judged):
        clearest = judged[0].group
        scores = CAUGHT * np.clip(clearest.places, 0, 1) * np.isin(labels, clearest.classes)
    return scores


def _places_by_layer(
    views: Mapping[str, np.ndarray], layers: Sequence[str], groups: Sequence[Group], n: int, random_state: int
) -> np.ndarray:
    """The largest place of each of n samples in a group, by the views of each layer alone, (n, L); 0 without groups."""
    places = np.zeros((n, len(layers)))
    for index, layer in enumerate(layers):
        own = [view for name, view in views.items() if name.rpartition(" ")[0] == layer]
        if groups and own:
            places[:, index] = _places_at(np.concatenate(own, axis=1), groups, random_state)
    return places


def _places_at(x: np.ndarray, groups: Sequence[Group], random_state: int) -> np.ndarray:
    """The largest place of each sample, 0 to 1, by discriminants of the groups on the views of one layer, (n,)."""
    discriminant = SelfTrainedDiscriminant(x, random_state=random_state)
    found = np.zeros(len(x))
    for group in groups:
        places = discriminant.places(group.members)
        if places is not None:
            found = np.maximum(found, np.clip(places, 0, 1))
    return found
