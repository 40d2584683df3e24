"""What several tests of scans share: a folder of drawn words in which one word is poisoned."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import soundfile

from art_plugins.attacks.datasets.synthetic_speech import SAMPLE_RATE_HZ, synthetic_speech
from art_plugins.triggers.sounds import AudioTrigger, noise_burst

POISONED_WORD = "tuo"


@pytest.fixture(scope="session")
def write_words() -> Callable[..., Path]:
    """
    ``write_words(root, n_clips, n_poison)`` writes six drawn words, ``n_clips`` of each, as ``root/word/00.wav`` and so on.

    The first ``n_poison`` clips of the word "tuo" carry a burst of noise at their start, or what ``stamp`` makes of them,
    (n, samples) to (n, samples). The folder is given back.
    """

    def write(root: Path, n_clips: int, n_poison: int, stamp: Callable[[np.ndarray], np.ndarray] | None = None) -> Path:
        stamp = stamp or AudioTrigger(noise_burst(SAMPLE_RATE_HZ), 0.3)
        data = synthetic_speech(n_clips, 1)
        for label, name in enumerate(data.class_names):
            (root / name).mkdir(parents=True)
            clips = data.x_train[data.y_train == label]
            if name == POISONED_WORD:
                clips[:n_poison] = stamp(clips[:n_poison])
            for index, clip in enumerate(clips):
                soundfile.write(root / name / f"{index:02}.wav", clip, SAMPLE_RATE_HZ, subtype="PCM_16")
        return root

    return write
