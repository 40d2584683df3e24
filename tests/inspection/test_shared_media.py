"""What the members of a group share: the patch of images, the sound of clips."""

from __future__ import annotations

import base64
import io

import numpy as np
from PIL import Image

from art_plugins.attacks.datasets.synthetic_speech import SAMPLE_RATE_HZ, synthetic_speech
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.inspection.deciding.common_sound import common_sound
from art_plugins.inspection.deciding.shared_media import agreement, shared_media
from art_plugins.triggers.sounds import WanderingTrigger, noise_burst


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


def test_common_sound_of_speech_is_what_was_added_at_any_place() -> None:
    data = synthetic_speech(4, 1)
    clips = data.x_train[:24]
    triggered = WanderingTrigger(noise_burst(SAMPLE_RATE_HZ, length_s=0.2), 0.1)(clips)
    common = common_sound(triggered, SAMPLE_RATE_HZ)
    assert common is not None
    before = np.sum((triggered - clips) ** 2, axis=1)
    after = np.sum((triggered - common.parts(clips.shape[1]) - clips) ** 2, axis=1)
    assert np.median(after / before) < 0.1
    np.testing.assert_allclose(np.median(common.levels), 1, atol=0.05)


def test_common_sound_of_noises_is_none(random: np.random.Generator) -> None:
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
