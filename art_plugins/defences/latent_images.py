"""Groups of images that stand apart in their pixels, found without the autoencoder and joined with its verdict."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.defences.latent_sounds import is_tested
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.sample_shapes import has_channels_first, image_shape
from art_plugins.groups.find import find_groups
from art_plugins.groups.image_views import image_views
from art_plugins.groups.verdict import Judged, judge_groups
from art_plugins.statistics.latents.latent_classes import LatentClasses
from art_plugins.statistics.latents.scoring_settings import ScoringSettings
from art_plugins.statistics.outlying import LEAST

N_IMAGE_VERDICTS = 2  # latents, groups: each has a half of the false-alarm rate (Bonferroni)


def search_images(
    encoder: Autoencoder, x: np.ndarray, labels: np.ndarray, nb_classes: int, settings: ScoringSettings, random_state: int
) -> list[Judged] | None:
    """
    Look in images for groups that stand apart from everyone, at half of the false-alarm rate.

    With fewer than four classes nothing is called poison, as for latents: what stands apart is to be looked at.

    :return: The groups, the clearest first; ``None`` where there are no images, or a single class, or where the settings
        name a rule that has no false-alarm rate.
    """
    n_classes = len(np.unique(labels))
    if encoder.settings.kind != "image" or not is_tested(settings) or n_classes < 2:
        return None
    shape = x.shape[1:]
    first = len(shape) == 2 or has_channels_first(shape, encoder.settings.channels_first)
    channels, height, width = image_shape(shape, encoder.settings.channels_first)

    def pictures(rows: np.ndarray) -> np.ndarray:
        some = np.asarray(x[rows], dtype=np.float32)
        return some.reshape(-1, channels, height, width) if first else some.transpose(0, 3, 1, 2)

    views = image_views(pictures, labels, nb_classes, random_state)
    groups = find_groups(views, labels, nb_classes, random_state) if views else []
    judged = judge_groups(groups, views, labels, n_classes, settings.false_alarm_rate / N_IMAGE_VERDICTS)
    if n_classes < LEAST:
        judged = [one._replace(verdict="look here") if one.verdict == "poison" else one for one in judged]
    return judged


def with_groups(placed: LatentClasses, judged: Sequence[Judged], labels: np.ndarray) -> LatentClasses:
    """
    Call the classes that either verdict names. In a class that has a group which is poison, the group are the suspects.

    A group that is only to be looked at is shown as suspects where the latents do not call the class.

    :param placed: By latents, at half of the false-alarm rate.
    :param judged: What :func:`search_images` gave.
    """
    of_groups = {label for one in judged if one.verdict == "poison" for label in one.group.classes}
    called = {*placed.poisoned_classes, *of_groups}
    soft_labels, p_values = placed.soft_labels.copy(), placed.class_p_values.copy()
    shown: set[int] = set()
    for verdict in ("poison", "look here"):
        groups = [one.group for one in judged if one.verdict == verdict]
        classes = {label for group in groups for label in group.classes} - shown - (called - of_groups)
        for label in classes:
            own = labels == label
            soft_labels[own] = np.max(
                [_soft(one.places, one.members)[own] for one in groups if label in one.classes], axis=0
            )
        shown |= classes
    for one in judged:
        for label in one.group.classes if one.verdict != "look here" else []:
            p_values[label] = np.fmin(p_values[label], one.p_value)
    return placed._replace(
        class_p_values=np.minimum(1, N_IMAGE_VERDICTS * p_values),
        poisoned_classes=sorted(called),
        soft_labels=soft_labels,
        suspects=soft_labels > 0.5,
        not_judged={label: why for label, why in placed.not_judged.items() if label not in called},
    )


def clearness_of(judged: Sequence[Judged], nb_classes: int) -> np.ndarray:
    """How clear the clearest group that is poison is in each class; 0 for the others; (K,)."""
    clearness = np.zeros(nb_classes)
    for one in judged:
        if one.verdict == "poison":
            clearness[one.group.classes] = np.maximum(clearness, one.group.evidence.clearness)[one.group.classes]
    return clearness


def group_report(judged: Sequence[Judged], label: int) -> dict[str, Any] | None:
    """What is known of the group of a class, JSON-safe: the poison, or what is to be looked at, or the clearest."""
    for verdict in ("poison", "look here", "nothing"):
        for one in judged:
            if one.verdict == verdict and label in one.group.classes:
                return one.summary()
    return None


def group_warnings(judged: Sequence[Judged], labels: np.ndarray) -> list[str]:
    """A caution for each class that has no poison, but a group that stands apart from the rest of it."""
    warnings: dict[int, str] = {}
    poisoned = {label for one in judged if one.verdict == "poison" for label in one.group.classes}
    for one in judged:
        for label in {*one.group.classes} - poisoned if one.verdict == "look here" else set():
            n_images = int(one.group.members[labels == label].sum())
            warnings.setdefault(
                label,
                f"Class {label}: {n_images} images stand apart from the rest of the class, which does not show that they "
                "are poison. They may be a sub-population, near copies, or a clean-label attack: look at its suspects.",
            )
    return [warnings[label] for label in sorted(warnings)]


def _soft(places: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Above one half for the members of a group, by how far each is on the way to it; (n,), 0 to 1."""
    half: np.ndarray = np.clip(places, 0, 1) / 2
    return np.where(members, np.nextafter(0.5, 1) + half, half).clip(max=1)
