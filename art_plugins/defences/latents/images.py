"""Patches that images of one class share, found in their pixels, and what the report says of them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from art_plugins.defences.latents.sounds import is_tested, shared_reports
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.sample_shapes import has_channels_first, image_shape
from art_plugins.groups.pictures.shared_patch import find_shared_patches
from art_plugins.groups.sounds.sound_search import SharedSounds
from art_plugins.statistics.latents.scoring_settings import ScoringSettings

N_IMAGE_VERDICTS = 2  # latents, patches: each has a half of the false-alarm rate (Bonferroni)


def search_patches(
    encoder: Autoencoder, x: np.ndarray, labels: np.ndarray, nb_classes: int, settings: ScoringSettings, random_state: int
) -> dict[str, SharedSounds]:
    """
    Look in images for patches that a class shares, at half of the false-alarm rate.

    :return: By name, ``"patch"``; empty where there are no images, or where the settings name a rule that has no
        false-alarm rate.
    """
    if encoder.settings.kind != "image" or not is_tested(settings):
        return {}
    shape = x.shape[1:]
    is_first = len(shape) == 2 or has_channels_first(shape, encoder.settings.channels_first)
    channels, height, width = image_shape(shape, encoder.settings.channels_first)

    def pictures(rows: np.ndarray) -> np.ndarray:
        some = np.asarray(x[rows], dtype=np.float32)
        return some.reshape(len(rows), channels, height, width) if is_first else some.transpose(0, 3, 1, 2)

    rate = settings.false_alarm_rate / N_IMAGE_VERDICTS
    return {"patch": find_shared_patches(pictures, labels, nb_classes, rate, random_state)}


def patch_reports(searched: Mapping[str, SharedSounds], labels: np.ndarray, label: int) -> dict[str, Any]:
    """What is known of the patch of a class, JSON-safe; ``None`` for what was not measured."""
    return shared_reports(searched, labels, label, "purity", "n_images")


def patch_warnings(searched: Mapping[str, SharedSounds], labels: np.ndarray) -> list[str]:
    """A caution for each class whose images share a patch that does not show that they are poison."""
    return [
        f"Class {label}: {int(one.members[labels == label].sum())} images hold one {name}, pixel by pixel. There are too "
        "few classes to judge it, or these images are near copies of one another. Look at its suspects before you trust "
        "the data."
        for name, one in searched.items()
        for label in one.to_hear
    ]
