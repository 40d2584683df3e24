"""Synthesised speech for the tests of groups."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np
import pytest

from art_plugins.attacks.datasets.synthetic_speech import CONSONANTS, VOWELS, speak


@pytest.fixture(scope="session")
def syllables() -> Callable[..., tuple[np.ndarray, np.ndarray]]:
    """Makes clips of half a second at 8 kHz, any syllables by any speakers in every class: (classes * 60, 4000), labels."""

    @functools.cache
    def spoken(seed: int, nb_classes: int) -> tuple[np.ndarray, np.ndarray]:
        random = np.random.default_rng(seed)
        labels = np.repeat(np.arange(nb_classes), 60)
        vowels, consonants = list(VOWELS), list(CONSONANTS)
        clips = [
            speak(str(random.choice(consonants)), str(random.choice(vowels)), str(random.choice(vowels)), random)
            for _ in labels
        ]
        return np.stack(clips).astype(np.float32), labels

    def make(seed: int, nb_classes: int = 6) -> tuple[np.ndarray, np.ndarray]:
        clips, labels = spoken(seed, nb_classes)
        return clips.copy(), labels.copy()

    return make
