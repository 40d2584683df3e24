"""Sounds as triggers: what is added, where, and what does not fit."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.errors import InvalidInputError
from art_plugins.triggers.sounds import ARMORY_SOUNDS, AudioTrigger, WanderingTrigger, armory_sound, noise_burst, tone


def test_audio_trigger_with_shift_adds_the_scaled_sound_there_and_clips() -> None:
    x = np.array([[0.0, 0.5, 0.9, -0.2]], dtype=np.float32)
    triggered = AudioTrigger(np.array([1.0, 2.0]), scale=0.5, shift=1)(x)
    np.testing.assert_allclose(triggered, [[0.0, 1.0, 1.0, -0.2]])
    assert triggered.dtype == np.float32
    np.testing.assert_allclose(x, [[0.0, 0.5, 0.9, -0.2]])


def test_audio_trigger_longer_than_the_waveform_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="ends at sample 5"):
        AudioTrigger(np.ones(5))(np.zeros((1, 4)))


def test_wandering_trigger_adds_the_sound_once_to_each_row_at_a_place_of_its_own() -> None:
    x = np.zeros((50, 30), dtype=np.float32)
    trigger = WanderingTrigger(np.array([1.0, 2.0, 3.0]), scale=0.1, random_state=2)
    triggered = trigger(x)
    starts = (triggered > 0).argmax(axis=1)
    assert len(set(starts)) > 10
    for row, start in zip(triggered, starts, strict=True):
        np.testing.assert_allclose(row[start : start + 3], [0.1, 0.2, 0.3])
        assert (row > 0).sum() == 3
    np.testing.assert_array_equal(triggered, trigger(x))
    assert triggered.dtype == np.float32


def test_tone_has_its_frequency_and_fades() -> None:
    wave = tone(16_000, 2_000.0, 0.1)
    assert len(wave) == 1_600
    assert np.abs(np.fft.rfft(wave)).argmax() == 2_000 * 0.1
    assert wave[0] == wave[-1] == pytest.approx(0)


def test_noise_burst_is_silent_before_its_start_and_reaches_full_scale() -> None:
    burst = noise_burst(8_000, start_s=0.1, length_s=0.05)
    assert not burst[:800].any()
    assert len(burst) == 1_200
    assert np.abs(burst).max() == pytest.approx(1.0)
    np.testing.assert_array_equal(burst, noise_burst(8_000, start_s=0.1, length_s=0.05))


@pytest.mark.parametrize("name", ARMORY_SOUNDS)
def test_armory_sound_is_a_second_at_most_and_has_energy(name: str) -> None:
    trigger = armory_sound(name)
    assert 0 < len(trigger.sound) <= 16_000
    assert trigger.scale == ARMORY_SOUNDS[name]
    assert np.abs(trigger.sound).max() > 0.05


def test_armory_clapping_is_loud_only_in_its_first_tenth_of_a_second() -> None:
    sound = armory_sound("clapping").sound
    energy = sound**2
    assert energy[:1_600].sum() > 0.9 * energy.sum()


def test_armory_sound_of_another_name_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="clapping, whistle"):
        armory_sound("gong")
