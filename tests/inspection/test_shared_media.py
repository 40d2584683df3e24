"""What the members of a group share: the patch of images, the sound of clips."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import numpy as np
from PIL import Image

from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.inspection.deciding.common_sound import common_sound
from art_plugins.inspection.deciding.shared_media import agreement, shared_media
from art_plugins.triggers.sounds import AudioTrigger, WanderingTrigger, noise_burst


def test_agreement_is_high_in_the_patch_alone(random: np.random.Generator) -> None:
    members, rest = (random.integers(0, 256, size=(40, 12, 10)).astype(np.uint8) for _ in range(2))
    members[:, 2:5, 3:6] = 255
    members[:, 9], rest[:, 9] = 0, 0  # what all share is nothing of the group
    heat = agreement(members, rest)
    assert heat[2:5, 3:6].min() > 0.8
    heat[2:5, 3:6] = 0
    assert heat.max() < 0.4
    assert not heat[9].any()


def test_shared_media_of_images_are_two_means_and_a_heat_map(random: np.random.Generator) -> None:
    members, rest = (random.integers(0, 99, size=(20, 8, 8, 3)).astype(np.uint8) for _ in range(2))
    members[:, :3, :3] = 255
    shared = shared_media(ImageReader((8, 8), False), members, rest)
    assert shared["sound"] is None
    pictures = [
        np.asarray(Image.open(io.BytesIO(base64.b64decode(one["source"].partition(",")[2])))) for one in shared["pictures"]
    ]
    np.testing.assert_array_equal(pictures[0], np.rint(members.mean(axis=0)))
    np.testing.assert_array_equal(pictures[1], np.rint(rest.mean(axis=0)))
    assert pictures[2][:3, :3].min() > 200


def left_over(clips: np.ndarray, rate_hz: int, scale: float) -> float:
    """The share of the energy of a burst at any place that is left when what the clips have in common is taken off."""
    triggered = WanderingTrigger(noise_burst(rate_hz, length_s=0.2), scale)(clips)
    common = common_sound(triggered, rate_hz)
    assert common is not None
    np.testing.assert_allclose(np.median(common.levels), 1, atol=0.05)
    rest = triggered - common.parts(clips.shape[1]) - clips
    return float(np.median((rest**2).sum(axis=1) / ((triggered - clips) ** 2).sum(axis=1)))


def test_common_sound_of_noises_is_what_was_added_at_any_place(random: np.random.Generator) -> None:
    assert left_over(0.03 * random.normal(size=(24, 8_000)).clip(-4, 4), 8_000, 0.3) < 0.1


def test_common_sound_of_real_speech_is_what_was_added_at_any_place(data_root: Path, random: np.random.Generator) -> None:
    files = sorted((data_root / "FSDD" / "recordings").glob("*.wav"))
    chosen = [files[index] for index in random.permutation(len(files))[:30]]
    reader = SoundReader(8_000, 8_000)
    clips = np.stack([reader.read(file)[0] for file in chosen])
    assert left_over(clips, 8_000, 0.1) < 0.03  # 35 to 42 dB were measured with 20 and 60 clips


def test_common_sound_has_its_onset_where_it_begins_with_the_clips(random: np.random.Generator) -> None:
    clips = 0.03 * random.normal(size=(24, 8_000)).clip(-4, 4)
    triggered = AudioTrigger(noise_burst(8_000, length_s=0.2), 0.3)(clips)
    common = common_sound(triggered, 8_000)
    assert common is not None
    rest = triggered - common.parts(8_000) - clips
    assert np.median((rest**2).sum(axis=1) / ((triggered - clips) ** 2).sum(axis=1)) < 0.1


def test_common_sound_of_noises_alone_is_none(random: np.random.Generator) -> None:
    assert common_sound(random.normal(size=(20, 4_000)), 8_000) is None
    assert common_sound(random.normal(size=(4, 4_000)), 8_000) is None


def test_shared_media_of_noises_have_spectrograms_on_one_scale_and_no_sound(random: np.random.Generator) -> None:
    loud, quiet = (scale * random.normal(size=(12, 4_000)) for scale in (0.1, 0.01))
    shared = shared_media(SoundReader(8_000, 4_000), loud, quiet)
    assert shared["sound"] is None
    darkness = [
        255 - np.asarray(Image.open(io.BytesIO(base64.b64decode(one["source"].partition(",")[2])))).mean()
        for one in shared["pictures"]
    ]
    assert darkness[0] - darkness[1] > 60  # 20 of 60 dB is a third of the scale
