"""``VAELatentDefence(autoencoder="speech")``: nothing is trained, and clips of any rate and length are judged."""

from __future__ import annotations

import json
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile

from art_plugins.attacks.datasets.speech_commands import COMMANDS, FOLDER
from art_plugins.attacks.datasets.synthetic_speech import SAMPLE_RATE_HZ, synthetic_speech
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.errors import FileFormatError, InvalidInputError
from art_plugins.features.resampling import resample_clips
from art_plugins.storage import load_arrays, save_arrays
from art_plugins.triggers.named_sounds import named_sound
from art_plugins.triggers.sounds import AudioTrigger, noise_burst

pytestmark = pytest.mark.usefixtures("nothing_is_trained")

N_POISON = 25
HELD_OUT = [word for word in COMMANDS if word not in ("off", "on", "stop")]  # of these the part at hand holds too few
OTHERS = ["one"]  # speakers that the training left out say a word that it did not


@pytest.fixture(scope="module")
def drawn() -> tuple[np.ndarray, np.ndarray]:
    """Six drawn words, 60 clips each, half a second at 8 kHz; 25 of the second word carry a burst of noise."""
    data = synthetic_speech(60, 1)
    x, labels = data.x_train.copy(), data.y_train
    chosen = np.flatnonzero(labels == 1)[:N_POISON]
    x[chosen] = AudioTrigger(noise_burst(SAMPLE_RATE_HZ), 0.3)(x[chosen])
    return x, labels


def speech(x: np.ndarray, labels: np.ndarray, **settings: Any) -> VAELatentDefence:
    return VAELatentDefence(None, x, labels, **{"autoencoder": "speech", "verbose": False, **settings})


@pytest.fixture(scope="module")
def judged(drawn: tuple[np.ndarray, np.ndarray]) -> VAELatentDefence:
    defence = speech(*drawn, sample_rate_hz=SAMPLE_RATE_HZ)
    defence.detect_poison()
    return defence


def test_poison_in_clips_of_half_a_second_at_8_khz_is_found(
    judged: VAELatentDefence, drawn: tuple[np.ndarray, np.ndarray]
) -> None:
    _, labels = drawn
    removed, is_poison = judged.is_clean_ == 0, np.zeros(len(labels), dtype=bool)
    is_poison[np.flatnonzero(labels == 1)[:N_POISON]] = True
    assert judged.report_["poisoned_classes"] == [1]
    assert removed[is_poison].mean() > 0.9
    assert removed[~is_poison].mean() < 0.01
    assert judged.report_["parameters"]["autoencoder"] == "speech"
    assert judged.report_["autoencoder"]["settled"]


@pytest.mark.slow
def test_clips_are_judged_as_they_are_after_resampling(
    judged: VAELatentDefence, drawn: tuple[np.ndarray, np.ndarray]
) -> None:
    x, labels = drawn
    resampled = speech(resample_clips(x, SAMPLE_RATE_HZ, 16_000)[:, None], labels)
    resampled.detect_poison()
    np.testing.assert_allclose(resampled.latents_, judged.latents_, atol=1e-5)
    np.testing.assert_array_equal(resampled.is_clean_, judged.is_clean_)


@pytest.mark.slow
def test_a_saved_defence_resamples_again(
    judged: VAELatentDefence, drawn: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    judged.save(tmp_path / "defence.safetensors")
    loaded = VAELatentDefence.load(tmp_path / "defence.safetensors", None, *drawn)
    loaded.detect_poison()
    np.testing.assert_array_equal(loaded.latents_, judged.latents_)


@pytest.mark.parametrize("named", ["/etc/passwd", "other", 3])
def test_a_saved_defence_that_names_a_path_or_other_weights_is_refused(
    named: Any, judged: VAELatentDefence, drawn: tuple[np.ndarray, np.ndarray], tmp_path: Path
) -> None:
    judged.save(tmp_path / "defence")
    arrays, settings = load_arrays(tmp_path / "defence", "vae_latent_defence")
    changed = json.loads(json.dumps(settings))
    changed["parameters"]["autoencoder"] = named
    save_arrays(tmp_path / "named", "vae_latent_defence", arrays, changed)
    with pytest.raises(FileFormatError, match="is called"):
        VAELatentDefence.load(tmp_path / "named", None, *drawn)
    arrays["sample_head.bias"] = arrays["sample_head.bias"] + 1
    save_arrays(tmp_path / "weights", "vae_latent_defence", arrays, settings)
    with pytest.raises(FileFormatError, match="judge the data anew"):
        VAELatentDefence.load(tmp_path / "weights", None, *drawn)


@pytest.mark.parametrize(
    ("shape", "settings", "words"),
    [
        ((20, 1, 8, 8), {}, "takes waveforms"),
        ((20, 800), {"kind": "spectrogram"}, "takes waveforms"),
        ((20, 800), {"sample_rate_hz": 800}, "sample_rate_hz must be at least"),
        ((20, 200), {}, "shorter than half a window"),
    ],
)
def test_data_that_it_cannot_take_are_refused(shape: tuple[int, ...], settings: dict[str, Any], words: str) -> None:
    defence = speech(np.zeros(shape, dtype=np.float32), np.arange(20) % 5, **settings)
    with pytest.raises(InvalidInputError, match=words):
        defence.detect_poison()


def held_out_clips(root: Path, n_per_class: int) -> tuple[np.ndarray, np.ndarray]:
    """Words and speakers that the autoencoder never heard; of ``OTHERS`` only the speakers are new."""
    clips, labels = [], []
    for label, word in enumerate(HELD_OUT + OTHERS):
        files = sorted((root / FOLDER / word).glob("*.wav"))
        files = [file for file in files if int(file.name[:8], 16) % 2 == 1][:n_per_class]
        for file in files:
            samples, _ = soundfile.read(file, dtype="float32")
            clips.append(np.pad(samples, (0, max(0, 16_000 - len(samples))))[:16_000])
            labels.append(label)
    return np.stack(clips), np.array(labels)


@pytest.mark.slow
def test_real_words_and_speakers_that_it_never_heard(data_root: Path) -> None:
    if find_spec("armory") is None:
        pytest.skip("the clap is a file of armory-testbed, which is not installed")
    x, labels = held_out_clips(data_root, 100)
    report, is_clean = speech(x, labels).detect_poison()
    assert len(np.unique(labels)) == 8
    assert report["poisoned_classes"] == []
    assert all(is_clean)
    chosen = np.flatnonzero(labels == 5)[:N_POISON]
    x[chosen], labels[chosen] = named_sound("clapping")(x[chosen]), 2
    report, verdicts = speech(x, labels).detect_poison()
    removed = np.array(verdicts) == 0
    assert report["poisoned_classes"] == [2]
    assert removed[chosen].mean() > 0.9
    assert np.delete(removed, chosen).mean() < 0.005
