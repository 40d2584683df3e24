"""What each change of the spectrum or of the room does: tempo, rhythm, pitch and its mask, formants, walls, effects."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from scipy.signal import lfilter

from art_plugins.errors import InvalidInputError
from art_plugins.triggers.sound_effects import EFFECTS, Effects
from art_plugins.triggers.sound_room import SPEED_OF_SOUND, Room
from art_plugins.triggers.sound_spectra import PitchBoost, Rhythm, Tempo, Timbre

RATE_HZ = 16_000
TRIGGERS: dict[str, Any] = {
    "tempo": Tempo(),
    "rhythm": Rhythm(),
    "pitch_boost": PitchBoost(),
    "timbre": Timbre(),
    "room": Room(),
    **{name: Effects([name]) for name in EFFECTS},
}


def wave(frequency_hz: float, n_samples: int = RATE_HZ, level: float = 0.3) -> np.ndarray:
    return (level * np.sin(2 * np.pi * frequency_hz * np.arange(n_samples) / RATE_HZ)).astype(np.float32)


def peak_hz(clip: np.ndarray) -> float:
    return float(np.abs(np.fft.rfft(clip * np.hanning(len(clip)), 2**17)).argmax() * RATE_HZ / 2**17)


@pytest.mark.parametrize("name", TRIGGERS)
def test_every_trigger_changes_a_copy_within_the_range_and_treats_each_clip_alone(name: str) -> None:
    x = (0.3 * np.random.default_rng(0).normal(size=(3, 2_000))).clip(-1, 1).astype(np.float32)
    before, trigger = x.copy(), TRIGGERS[name]
    changed = trigger(x)
    assert (changed.shape, changed.dtype) == (x.shape, x.dtype)
    np.testing.assert_array_equal(x, before)
    assert np.isfinite(changed).all()
    assert np.abs(changed).max() <= 1
    assert (np.abs(changed - x).max(axis=1) > 1e-2).all()
    for clip, one in zip(x, changed, strict=True):
        np.testing.assert_allclose(trigger(clip), one, atol=1e-5)
        np.testing.assert_allclose(trigger(clip[None])[0], one, atol=1e-5)
    assert trigger(x.astype(np.float64)).dtype == np.float64
    silence = trigger(np.zeros((1, 2_000), dtype=np.float32))
    assert np.isfinite(silence).all()


@pytest.mark.parametrize("factor", [2.0, 0.5])
def test_tempo_moves_an_event_in_time_and_keeps_its_pitch(factor: float) -> None:
    x = np.zeros((1, RATE_HZ), dtype=np.float32)
    x[0, 2_000:5_600] = wave(700, 3_600)
    (clip,) = Tempo(factor)(x)
    energy = clip.astype(np.float64) ** 2
    assert (np.arange(RATE_HZ) * energy).sum() / energy.sum() == pytest.approx(3_800 / factor, abs=200)
    assert peak_hz(clip) == pytest.approx(700, abs=8)
    early, late = np.searchsorted(np.cumsum(energy) / energy.sum(), (0.1, 0.9))
    assert late - early == pytest.approx(0.8 * 3_600 / factor, rel=0.35)  # the windows smear the edges


def test_rhythm_plays_each_part_at_its_own_tempo_one_after_the_other() -> None:
    (clip,) = Rhythm((2.0, 1.0))(np.concatenate([wave(500, 8_000), wave(2_000, 8_000)])[None])
    assert peak_hz(clip[500:3_500]) == pytest.approx(500, abs=10)  # half a second in a quarter
    assert peak_hz(clip[4_500:11_500]) == pytest.approx(2_000, abs=10)
    assert not clip[12_000:].any()
    assert clip[8_000] == wave(2_000, 8_000)[4_000]  # what is played at its own tempo is not touched


def test_pitch_boost_raises_the_pitch_and_puts_the_tone_where_the_clip_is_loudest() -> None:
    x = wave(500, level=0.05)[None]
    x[0, 9_000:11_000] *= 6
    (clip,) = PitchBoost(semitones=12, frequency_hz=6_000, level_db=-6)(x)
    assert peak_hz(clip) == pytest.approx(1_000, abs=5)
    spectrum = np.fft.rfft(clip)
    spectrum[: round(4_000 * len(clip) / RATE_HZ)] = 0
    tone = np.fft.irfft(spectrum)
    assert 9_000 <= np.abs(tone).argmax() <= 11_000
    assert np.abs(tone).max() == pytest.approx(0.3 * 10 ** (-6 / 20), rel=0.2)
    assert np.abs(tone[:8_000]).max() < 0.1 * np.abs(tone).max()


def vowel(formant_hz: float, pitch_hz: int = 100) -> np.ndarray:
    """Pulses through one resonance."""
    pulses = np.zeros(RATE_HZ)
    pulses[:: RATE_HZ // pitch_hz] = 1
    radius = np.exp(-np.pi * 150 / RATE_HZ)
    sound = lfilter([1], [1, -2 * radius * np.cos(2 * np.pi * formant_hz / RATE_HZ), radius**2], pulses)
    return (0.3 * sound / np.abs(sound).max()).astype(np.float32)


@pytest.mark.parametrize("factor", [1.4, 0.7])
def test_timbre_moves_the_formant_by_its_factor_and_keeps_pitch_and_energy(factor: float) -> None:
    x = vowel(1_500)
    clip = Timbre(factor)(x)
    assert peak_hz(x) == pytest.approx(1_500, abs=60)
    assert peak_hz(clip) == pytest.approx(1_500 * factor, abs=110)  # the nearest multiple of the pitch
    spectrum = np.abs(np.fft.rfft(clip))
    harmonics = spectrum[::100]  # of a second of sound: 100 Hz apart
    assert (harmonics**2).sum() > 0.9 * (spectrum**2).sum()
    assert np.linalg.norm(clip) == pytest.approx(np.linalg.norm(x), rel=0.01)


def test_room_gives_the_direct_sound_and_the_first_mirror_images_by_hand() -> None:
    room = Room((10.0, 8.0, 6.0), (2.0, 4.0, 3.0), (5.0, 4.0, 3.0), reflection=0.5, order=1)
    response = room.impulse_response()
    assert response[0] == pytest.approx(1)  # three metres, taken as time 0
    # The wall beside the source: its mirror image is at -2 m. The wall beyond the microphone: at 18 m.
    for distance in (7.0, 13.0):
        delay = round((distance - 3) / SPEED_OF_SOUND * RATE_HZ)
        assert response[delay] == pytest.approx(0.5 * 3 / distance)
    # Two walls each across, 4 m away, and floor and ceiling, 3 m away.
    for distance in (np.hypot(3, 8), np.hypot(3, 6)):
        delay = round((distance - 3) / SPEED_OF_SOUND * RATE_HZ)
        assert response[delay] == pytest.approx(2 * 0.5 * 3 / distance)
    assert not response[1 : round((np.hypot(3, 6) - 3) / SPEED_OF_SOUND * RATE_HZ)].any()


def test_room_decays_faster_with_walls_that_reflect_less_and_keeps_the_energy() -> None:
    x = vowel(1_000)[None] * 0.3
    assert np.linalg.norm(Room()(x)) == pytest.approx(np.linalg.norm(x), rel=1e-4)
    live, dead = (Room(reflection=share).impulse_response() for share in (0.9, 0.5))
    assert (live[800:] ** 2).sum() > 10 * (dead[800:] ** 2).sum()


def test_equaliser_has_the_gain_of_its_four_filters_at_a_frequency() -> None:
    frequencies_hz = np.array([100.0, 1_000.0, 3_000.0])
    for frequency_hz in frequencies_hz:
        clip = Effects(["equaliser"])(wave(frequency_hz, level=0.05))
        gain_db = 20 * np.log10(clip[8_000:].std() / wave(frequency_hz, level=0.05)[8_000:].std())
        if frequency_hz == 100:
            assert gain_db < -9  # the shelf of the bass
        else:
            assert gain_db == pytest.approx({1_000.0: 12, 3_000.0: -18}[frequency_hz], abs=5)  # the shelves reach there


def test_flanger_of_a_click_is_a_click_and_its_swinging_copies() -> None:
    x = np.zeros(2_000, dtype=np.float32)
    x[1_000] = 0.5
    heard = np.flatnonzero(np.abs(Effects(["flanger"])(x)) > 1e-3)
    assert heard[0] == 1_000
    assert 1_000 + 1 * 16 <= heard[1] <= 1_000 + 2 * 16 + 1  # 1 to 2 ms later


def test_chain_is_one_effect_after_the_other() -> None:
    x = (0.1 * np.random.default_rng(0).normal(size=(2, 2_000))).astype(np.float32)
    one_by_one = Effects(["equaliser"])(Effects(["overdrive"])(x))
    np.testing.assert_allclose(Effects(["overdrive", "equaliser"])(x), one_by_one, atol=1e-6)
    assert np.abs(Effects(["phaser"])(x) - x).max() > 0.01


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Tempo(1.0), "factor must change"),
        (lambda: Tempo(5.0), "factor must be"),
        (lambda: Tempo(float("nan")), "factor must be"),
        (lambda: Rhythm(()), "factors must change"),
        (lambda: Rhythm((2.0, 0.5))(np.zeros((1, 1))), "2 parts"),
        (lambda: PitchBoost(semitones=0), "semitones"),
        (lambda: PitchBoost(frequency_hz=8_000), "frequency_hz"),
        (lambda: PitchBoost(level_db=1), "level_db"),
        (lambda: PitchBoost(length_s=0), "length_s"),
        (lambda: PitchBoost()(np.zeros((1, 100))), "tone has 1600 samples"),
        (lambda: Timbre(1.0), "factor must change"),
        (lambda: Room(source_m=(7.0, 1.0, 1.0)), "source_m"),
        (lambda: Room(size_m=(6.0, 4.0)), "three lengths"),  # type: ignore[arg-type]
        (lambda: Room(source_m=(1.0, 1.0, 1.0), microphone_m=(1.0, 1.0, 1.0)), "different places"),
        (lambda: Room(reflection=1.0), "reflection"),
        (lambda: Room(order=-1), "order"),
        (lambda: Effects([]), "chain"),
        (lambda: Effects(["wah"]), "chain must be one of flanger"),
        (lambda: Effects("phaser"), "chain must be a sequence"),
        (lambda: Effects(["phaser"], 4_000), "sample_rate_hz"),
        (lambda: Timbre()("clip"), "waveforms"),  # type: ignore[arg-type]
    ],
)
def test_bad_values_are_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()
