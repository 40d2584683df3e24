"""Groups that stand apart at the layers of a network that was trained on the data, as findings of a scan."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from art_plugins.defences.layerwise import LayerwiseFeatureDefence
from art_plugins.inspection.evidence.found import LOOK_HERE, POISON, Found

LARGEST = float(np.finfo(np.float32).max)  # in place of an infinite score, which JSON does not have


class LayerFindings(NamedTuple):
    """
    What the layers of a network show. ``groups``: JSON-safe, as the report of the defence has them; ``members``: (G, n),
    bool, those of each group; ``scores``: (n,), higher is more suspicious; ``is_clean``: (n,), bool.
    """

    groups: list[dict[str, Any]]
    members: np.ndarray
    scores: np.ndarray
    is_clean: np.ndarray


class Labelled(NamedTuple):
    """Samples, (n, ...), and the label of each, (n,)."""

    x: np.ndarray
    labels: np.ndarray


class LayerSearch(NamedTuple):
    """
    What is looked for at the layers of a network.

    ``data``: the samples to judge; ``false_alarm_rate``: probability that something is called poison in a data set without
    any; ``trusted``: samples that are known to be clean, ``None`` if there are none; ``random_state``: random seed.
    """

    data: Labelled
    false_alarm_rate: float
    trusted: Labelled | None = None
    random_state: int = 0


def look_at_layers(classifier: Any, search: LayerSearch, layers: Sequence[str] | None = None) -> LayerFindings:
    """
    Run the layer-wise filter.

    :param classifier: ART ``PyTorchClassifier``.
    :param search: What is looked for; its samples are as the classifier takes them.
    :param layers: Names of modules; ``None``: the blocks of the network.
    """
    defence = LayerwiseFeatureDefence(
        classifier,
        *search.data,
        *(search.trusted or ()),
        layers=layers,
        fpr=search.false_alarm_rate,
        random_state=search.random_state,
    )
    report, is_clean = defence.detect_poison()
    scores = np.nan_to_num(defence.outlier_scores_, posinf=LARGEST)
    return LayerFindings(report["groups"], defence.group_members_, scores, np.array(is_clean, dtype=bool))


def network_findings(shown: LayerFindings, labels: np.ndarray, n_verdicts: int, whose: str) -> list[Found]:
    """
    What the layers say, as one group for each class that has members of it.

    :param shown: Found at a part of the false-alarm rate of the scan.
    :param n_verdicts: Number of kinds of evidence that share this rate.
    :param whose: The network, as in "the layers of the scan's own network".
    """
    found: list[Found] = []
    in_groups = np.zeros(len(labels), dtype=bool)
    for one, of_group in zip(shown.groups, shown.members, strict=True):
        verdict = POISON if one["verdict"] == "poison" else LOOK_HERE
        for label in one["classes"]:
            members = of_group & (labels == label)
            in_groups |= members & (verdict == POISON)
            words = _words(one, int(members.sum()), whose)
            p = min(1.0, n_verdicts * one["p_value"])
            found.append(Found(int(label), members, shown.scores, verdict, p, (words,), ("network",)))
    alone = ~shown.is_clean & ~in_groups
    words = f"At the layers of {whose}, it is farther from its class than the trusted samples are."
    for label in np.unique(labels[alone]):
        found.append(Found(int(label), alone & (labels == label), shown.scores, POISON, None, (words,), ("network",)))
    return found


def _words(group: Mapping[str, Any], n_members: int, whose: str) -> str:
    text = f"One of {n_members} samples of the class that stand apart at the layers of {whose}"
    if group["by_content"]:
        text = (
            f"One of {n_members} samples of the class that show what other classes show. At the layers of {whose}, they "
            f"look as if they were drawn from {group['drawn_from']:.0%} of the other classes."
        )
    elif group["verdict"] == "poison":
        text += ", from the rest of the class and from all other classes."
    else:
        text += ", but not clearly enough from everyone. This is no verdict."
    n_others = len(group["classes"]) - 1
    if n_others:
        noun = "class belongs" if n_others == 1 else "classes belong"
        text += f" A part of {n_others} other {noun} to the same group."
    if group["n_trusted"]:
        text += f" {group['n_trusted_inside']} of {group['n_trusted']} trusted samples are among them."
    return text
