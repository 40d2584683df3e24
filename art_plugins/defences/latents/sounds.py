"""Joins what windows with a place, sounds without one and filters tell about each class, in one verdict."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.views import Views
from art_plugins.groups.sounds.shared_filter import cepstra, find_shared_filters
from art_plugins.groups.sounds.shared_sound import Sounds
from art_plugins.groups.sounds.sound_search import SharedSounds, find_shared_sounds
from art_plugins.statistics.latents.class_verdicts import LEAST_SIGMA
from art_plugins.statistics.latents.crowding import N_NEIGHBOURS
from art_plugins.statistics.latents.latent_classes import LatentClasses
from art_plugins.statistics.latents.scoring_settings import ScoringSettings
from art_plugins.statistics.outliers import mad_index

N_VERDICTS = 3  # windows with a place, sounds, filters: each has a third of the false-alarm rate (Bonferroni)
MOST = 0.9  # of the samples that share something, from which on the half that holds them is the same trigger


def search_sounds(
    encoder: Autoencoder,
    x: np.ndarray,
    views: Views,
    labels: np.ndarray,
    nb_classes: int,
    settings: ScoringSettings,
    random_state: int,
) -> dict[str, SharedSounds]:
    """
    Look in waveforms for sounds and for filters that a class shares, each at a third of the false-alarm rate.

    :param views: What :func:`~art_plugins.features.views.describe` gives of the waveforms.

    :return: By name, ``"sound"`` and ``"filter"``; empty where there are no waveforms, or where the settings name a rule
        that has no false-alarm rate.
    """
    spectra = views.spectra
    if encoder.settings.kind != "waveform" or spectra is None or not is_tested(settings):
        return {}
    rate_hz, rate = encoder.settings.sample_rate_hz, settings.false_alarm_rate / N_VERDICTS

    def waveforms(rows: np.ndarray) -> np.ndarray:
        return np.asarray(x[rows]).reshape(len(rows), int(np.prod(x.shape[1:])))

    sounds = Sounds(waveforms, rate_hz)

    def cepstra_of(rows: np.ndarray) -> np.ndarray:
        return cepstra(waveforms(rows), rate_hz)

    return {
        "sound": find_shared_sounds(sounds, lambda rows: spectra[rows], labels, nb_classes, rate, random_state),
        "filter": find_shared_filters(cepstra_of, labels, nb_classes, rate, random_state, sounds.are_one),
    }


def is_tested(settings: ScoringSettings) -> bool:
    """Whether classes are called by a test that has a false-alarm rate."""
    return settings.scoring == "contrastive" and settings.class_rule in ("auto", "false_alarms")


def united(
    placed: LatentClasses,
    searched: Mapping[str, SharedSounds],
    labels: np.ndarray,
    n_verdicts: int = N_VERDICTS,
    split_stays: bool = False,
) -> LatentClasses:
    """
    Call the classes that any of the verdicts names. In a class that shares a sound or a filter, its clips are the suspects.

    The half that windows with a place have split off stays suspected if they call the class as well, it is a crowd, and
    fewer than half of it is among those clips: it is then another trigger.

    :param placed: By windows with a place, at its part of the false-alarm rate.
    :param searched: What :func:`search_sounds` gave, not empty.
    :param n_verdicts: Number of verdicts that share the false-alarm rate.
    :param split_stays: Whether that half stays suspected also if nine tenths of those samples are in it. What is searched
        for may not be seen in all of them, such as a white patch on a white ground.
    """
    found = {label: np.zeros(len(labels)) for one in searched.values() for label in [*one.called, *one.to_hear]}
    for one in searched.values():
        for label in [*one.called, *one.to_hear]:  # one half where the match is at its limit
            found[label] = np.maximum(found[label], np.clip(np.nan_to_num(one.matches) / 2, 0, 1))
    soft_labels = placed.soft_labels.copy()
    for label, soft in found.items():
        own = labels == label
        split = own & placed.suspects
        is_crowd = label in placed.poisoned_classes and split.sum() >= N_NEIGHBOURS
        is_larger = split_stays and (split[own & (soft > 0.5)]).mean() >= MOST
        is_another = is_crowd and (is_larger or (soft[split] > 0.5).mean() < 0.5)
        soft_labels[own] = np.maximum(soft, placed.soft_labels)[own] if is_another else soft[own]
    called = {label for one in searched.values() for label in one.called}
    p_values = np.stack([placed.class_p_values, *(one.p_values for one in searched.values())])
    smallest = np.where(np.isnan(p_values), np.inf, p_values).min(axis=0)
    not_judged = {label: why for label, why in placed.not_judged.items() if label not in called}
    smallest[list(not_judged)] = np.inf
    return placed._replace(
        class_p_values=np.where(np.isinf(smallest), np.nan, np.minimum(1, n_verdicts * smallest)),
        poisoned_classes=sorted({*placed.poisoned_classes, *called}),
        soft_labels=soft_labels,
        suspects=soft_labels > 0.5,
        not_judged=not_judged,
    )


def evidence_of(searched: Mapping[str, SharedSounds], nb_classes: int) -> np.ndarray:
    """How far each called class stands out, by the index of its score (:func:`mad_index`); 0 for the others; (K,)."""
    evidence = np.zeros(nb_classes)
    for one in searched.values():
        index = np.nan_to_num(mad_index(one.scores, LEAST_SIGMA)).clip(min=0)
        evidence[one.called] = np.maximum(evidence, index)[one.called]
    return evidence


def sound_reports(searched: Mapping[str, SharedSounds], labels: np.ndarray, label: int) -> dict[str, Any]:
    """What is known of the sound and of the filter of a class, JSON-safe; ``None`` for what was not measured."""
    return shared_reports(searched, labels, label, "coherence", "n_clips")


def shared_reports(
    searched: Mapping[str, SharedSounds], labels: np.ndarray, label: int, coherence: str, count: str
) -> dict[str, Any]:
    """
    What is known of all that samples of a class share, JSON-safe; ``None`` for what was not measured.

    :param coherence: What a report calls the coherence.
    :param count: What a report calls the number of samples that share it.
    """
    reports: dict[str, Any] = {}
    for name, one in searched.items():
        measured = {"score": one.scores, "p_value": one.p_values, coherence: one.coherence}
        is_searched = label in one.called or label in one.to_hear
        reports[name] = {
            **{key: float(of[label]) if np.isfinite(of[label]) else None for key, of in measured.items()},
            count: int(one.members[labels == label].sum()) if is_searched else None,
        }
    return reports


def sound_warnings(searched: Mapping[str, SharedSounds], labels: np.ndarray) -> list[str]:
    """A caution for each class whose clips share what natural ones do not, where no other classes tell how rare that is."""
    return [
        f"Class {label}: {int(one.members[labels == label].sum())} clips share one {name}, as natural recordings do not, "
        "and there are too few classes to judge it. Listen to its suspects before you trust the data."
        for name, one in searched.items()
        for label in one.to_hear
    ]
