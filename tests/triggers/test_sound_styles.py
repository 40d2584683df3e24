"""What each style does to a clip: the delay and the level of an echo, the decay of a room, the pitch of a tone."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.errors import InvalidInputError
from art_plugins.triggers.sound_styles import Echo, PitchShift, Reverb

RATE_HZ = 16_000


def click(n_samples: int = RATE_HZ) -> np.ndarray:
    x = np.zeros((2, n_samples), dtype=np.float32)
    x[:, 100] = 0.5
    return x


def peak_hz(wave: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(wave * np.hanning(len(wave)))).argmax() * RATE_HZ / len(wave))


def test_echo_of_a_click_is_a_second_click_at_its_delay_and_level() -> None:
    x = click()
    changed = Echo(delay_s=0.01, level_db=-20.0)(x)
    np.testing.assert_allclose(changed[:, 100 + 160], 0.05, rtol=1e-6)
    np.testing.assert_array_equal(np.flatnonzero(changed[0]), [100, 260])
    assert changed.dtype == np.float32
    assert changed.shape == x.shape
    assert (x != 0).sum() == 2


def test_echo_is_clipped_and_needs_waveforms_longer_than_its_delay() -> None:
    assert Echo(delay_s=1 / RATE_HZ, level_db=0.0)(np.full((1, 4), 0.9)).max() == 1
    with pytest.raises(InvalidInputError, match="comes after 160 samples"):
        Echo(delay_s=0.01)(np.zeros((1, 160)))


def test_reverb_of_a_click_has_the_energy_and_the_decay_that_it_says() -> None:
    room = Reverb(decay_s=0.4, level_db=-6.0)
    tail = room(click())[0].astype(np.float64)
    tail[100] -= 0.5
    response = tail[100:] / 0.5
    assert 10 * np.log10((response**2).sum()) == pytest.approx(-6.0, abs=0.01)
    early, late = (10 * np.log10((response[start : start + 800] ** 2).mean()) for start in (0, 3_200))
    assert early - late == pytest.approx(60 * 0.2 / 0.4, abs=2)  # 30 dB in .2 s
    assert not response[round(0.4 * RATE_HZ) :].any() or np.abs(response[round(0.4 * RATE_HZ) :]).max() < 1e-6


def test_reverb_is_one_room_for_all_clips_and_another_for_another_seed() -> None:
    x = click()
    np.testing.assert_array_equal(Reverb()(x)[0], Reverb()(x)[1])
    np.testing.assert_allclose(Reverb()(x)[0], Reverb()(x[0]), atol=1e-7)
    assert np.abs(Reverb(random_state=1)(x) - Reverb()(x)).max() > 0.01


@pytest.mark.parametrize("semitones", [3.0, -5.0, 12.0])
def test_pitch_of_a_tone_is_shifted_and_its_length_is_kept(semitones: float) -> None:
    times_s = np.arange(RATE_HZ) / RATE_HZ
    x = np.stack([0.3 * np.sin(2 * np.pi * frequency_hz * times_s) for frequency_hz in (440.0, 1_000.0)])
    changed = PitchShift(semitones)(x.astype(np.float32))
    assert changed.dtype == np.float32
    assert changed.shape == x.shape
    for row, frequency_hz in zip(changed, (440.0, 1_000.0), strict=True):
        assert peak_hz(row) == pytest.approx(frequency_hz * 2 ** (semitones / 12), abs=2)
        assert row[4_000:12_000].std() == pytest.approx(0.3 / np.sqrt(2), rel=0.15)


def test_pitch_shift_keeps_the_time_of_an_event() -> None:
    x = np.zeros((1, RATE_HZ), dtype=np.float32)
    x[0, 8_000:8_800] = 0.3 * np.sin(2 * np.pi * 700 * np.arange(800) / RATE_HZ)
    energy = PitchShift(3)(x)[0] ** 2
    assert (np.arange(RATE_HZ) * energy).sum() / energy.sum() == pytest.approx(8_400, abs=250)


@pytest.mark.parametrize(
    "make",
    [
        lambda: Echo(delay_s=0),
        lambda: Echo(delay_s=float("nan")),
        lambda: Echo(level_db=1.0),
        lambda: Reverb(decay_s=0),
        lambda: Reverb(level_db=float("nan")),
        lambda: Reverb(random_state=-1),
        lambda: PitchShift(0),
        lambda: PitchShift(25),
        lambda: PitchShift(3, sample_rate_hz=0),
        lambda: Echo()("clip"),  # type: ignore[arg-type]
    ],
)
def test_bad_values_are_refused(make: object) -> None:
    with pytest.raises(InvalidInputError):
        make()  # type: ignore[operator]
