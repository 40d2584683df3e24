"""Copies of one recording are told from clips that share an added sound, also where they were moved or mixed with noise."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from art_plugins.attacks.datasets.synthetic_speech import SAMPLE_RATE_HZ as RATE_HZ
from art_plugins.features.vae.spectrogram import LogMelSpectrogram
from art_plugins.groups.sounds.coherence import pairwise_coherence, whitened
from art_plugins.groups.sounds.recordings import are_copies, are_moved_copies, one_recording
from art_plugins.groups.sounds.shared_filter import cepstra, cepstral_crowding, find_shared_filters
from art_plugins.groups.sounds.shared_sound import Sounds
from art_plugins.groups.sounds.sound_search import find_shared_sounds
from art_plugins.triggers.sound_styles import Reverb
from art_plugins.triggers.sounds import WanderingTrigger, noise_burst

Syllables = Callable[..., tuple[np.ndarray, np.ndarray]]
WINDOW = 256


def varied(clip: np.ndarray, n: int, random: np.random.Generator) -> np.ndarray:
    """Variations of a clip, (n, S): later by up to a tenth of its length, fainter, over noise of a tenth of its level."""
    places = random.integers(0, len(clip) // 10, n)
    moved = np.stack([np.concatenate([np.zeros(place), clip[: len(clip) - place]]) for place in places])
    noise = 0.1 * clip.std() * random.normal(size=moved.shape)
    varied: np.ndarray = (moved * random.uniform(0.5, 1, (n, 1)) + noise).astype(np.float32)
    return varied


def test_variations_of_one_recording_are_told(syllables: Syllables, random: np.random.Generator) -> None:
    x, _ = syllables(0)
    several = varied(x[3], 12, random)
    assert one_recording(several[:6], several[6:], WINDOW).all()
    assert not one_recording(x[:60], x[60:120], WINDOW).any()
    white = whitened(several, WINDOW)
    assert not are_copies(white)[~np.eye(12, dtype=bool)].any()
    _, lags = pairwise_coherence(white)
    assert are_moved_copies(several, white, lags).all()
    whole = (several / np.abs(several).max() * 32_767).astype(np.int16)
    assert are_moved_copies(whole, white, lags).all()


@pytest.mark.parametrize("level", [0.3, 1.0])
def test_clips_that_share_a_loud_short_sound_are_of_several_recordings(level: float, syllables: Syllables) -> None:
    x, _ = syllables(1)
    x = WanderingTrigger(noise_burst(RATE_HZ), level)(x[:60])
    assert not one_recording(x[:30], x[30:], WINDOW).any()
    white = whitened(x, WINDOW)
    _, lags = pairwise_coherence(white)
    assert are_moved_copies(x, white, lags)[~np.eye(60, dtype=bool)].mean() < 0.001


def test_clips_with_one_sound_as_long_as_they_are_and_louder_count_as_one_recording(
    syllables: Syllables, random: np.random.Generator
) -> None:
    """A limit that is documented: what they share is most of their energy at most times, as of one recording."""
    x, _ = syllables(1)
    noise = random.normal(size=x.shape[1])
    fainter, louder = (x[:30] + share * x[:30].std(axis=1, keepdims=True) * noise for share in (0.8, 1.4))
    assert one_recording(louder[:15], louder[15:], WINDOW).mean() > 0.9
    assert one_recording(fainter[:15], fainter[15:], WINDOW).mean() < 0.1


def test_silent_clips_and_no_clips_are_no_recording() -> None:
    silent = np.zeros((3, 4_000), dtype=np.float32)
    assert not one_recording(silent, silent, WINDOW).any()
    assert not are_moved_copies(silent, silent, np.zeros((3, 3), dtype=int)).any()
    assert one_recording(silent[:0], silent[:0], WINDOW).shape == (0,)


@pytest.mark.slow
def test_classes_with_variations_of_one_recording_are_not_called(syllables: Syllables, random: np.random.Generator) -> None:
    """In some classes only, so that they stand out: each time as many variations as an added sound would have carriers."""
    x, labels = syllables(2)
    for first in (60, 180):
        x[first : first + 20] = varied(x[first], 20, random)
    front_end = LogMelSpectrogram(RATE_HZ, 24, 0.025, 0.01, 1e-4)

    def frames_of(rows: np.ndarray) -> np.ndarray:
        import torch

        return front_end(torch.from_numpy(x[rows])).numpy()

    sounds, nb_classes = Sounds(x.__getitem__, RATE_HZ), labels.max() + 1
    of_sounds = find_shared_sounds(sounds, frames_of, labels, nb_classes, 0.05)
    assert of_sounds.called == []
    assert np.nanmax(of_sounds.coherence) < 0.5

    def cepstra_of(rows: np.ndarray) -> np.ndarray:
        return cepstra(x[rows], RATE_HZ)

    assert find_shared_filters(cepstra_of, labels, nb_classes, 0.05).called != []  # what is left where nobody asks
    assert find_shared_filters(cepstra_of, labels, nb_classes, 0.05, are_one=sounds.are_one).called == []


def test_a_filter_is_found_beside_variations_of_one_recording(syllables: Syllables, random: np.random.Generator) -> None:
    x, labels = syllables(3)
    for first in (60, 180):
        x[first : first + 20] = varied(x[first], 20, random)
    x[120:150] = Reverb(sample_rate_hz=RATE_HZ)(x[120:150])
    sounds = Sounds(x.__getitem__, RATE_HZ)
    found = find_shared_filters(lambda rows: cepstra(x[rows], RATE_HZ), labels, labels.max() + 1, 0.05, 0, sounds.are_one)
    assert found.called == [2]
    assert found.members[120:150].mean() >= 0.9


def test_crowding_without_copies_is_that_of_the_clips_that_are_left(random: np.random.Generator) -> None:
    """Clip i and clip i + 20 are of one recording: the pairs on which the result depends are asked for, and left out."""

    def unit(x: np.ndarray) -> np.ndarray:
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    base = random.normal(size=(20, 30))
    own, others = (
        unit(np.concatenate([base, base + 0.8 * random.normal(size=base.shape)])),
        unit(random.normal(size=(80, 30))),
    )
    like_own, crowding = cepstral_crowding(own, others, lambda first, second: first % 20 == second % 20)
    best = int(crowding.argmax())
    partners = [row for row in range(40) if row % 20 != best % 20]
    assert like_own[best] == pytest.approx(np.sort(own[partners] @ own[best])[-5])
    assert cepstral_crowding(own, others)[0][best] > like_own[best]
