"""The named triggers: where each is in a clip, how loud it is, and that the commands know all of them."""

from __future__ import annotations

from typing import get_args

import numpy as np
import pytest

from art_plugins.cli.options import Trigger
from art_plugins.errors import InvalidInputError
from art_plugins.triggers.named_sounds import named_sound, sound_triggers
from art_plugins.triggers.sounds import chord, factor_of, loudest_part, ultrasound

SILENCE = np.zeros((40, 16_000), dtype=np.float32)


@pytest.mark.parametrize("name", ["clap_anywhere", "whistle_anywhere", "tone", "burst_anywhere"])
def test_sound_anywhere_has_a_place_of_its_own_in_each_clip_and_a_peak_of_20_db_below_full_scale(name: str) -> None:
    clips = named_sound(name)(SILENCE)
    peaks = np.abs(clips).argmax(axis=1)
    assert len(set(peaks)) > 30
    assert np.ptp(peaks) > 8_000
    np.testing.assert_allclose(20 * np.log10(np.abs(clips).max(axis=1)), -20, atol=0.01)
    n_heard = (np.abs(clips) > 0).sum(axis=1)
    assert n_heard.max() <= 4_000


@pytest.mark.parametrize(
    ("name", "level_db", "frequencies_hz"), [("chord", -20, (440, 554, 659)), ("high_tone", -26, (6_000,))]
)
def test_sound_all_along_has_its_level_and_its_frequencies_in_every_tenth_of_a_clip(
    name: str, level_db: float, frequencies_hz: tuple[int, ...]
) -> None:
    (clip, *_) = named_sound(name)(SILENCE)
    assert 20 * np.log10(np.abs(clip).max()) == pytest.approx(level_db, abs=0.01)
    strongest = np.sort(np.abs(np.fft.rfft(clip)).argsort()[::-1][: len(frequencies_hz)])
    np.testing.assert_array_equal(strongest, frequencies_hz)
    assert np.abs(clip).reshape(10, -1).max(axis=1).min() > 0.8 * np.abs(clip).max()


SLOW = ("style_chain", "flanger")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[pytest.mark.slow] if name in SLOW else [])
        for name in sound_triggers()
        if name != "ultrasonic"
    ],
)
def test_every_named_trigger_changes_each_clip_and_keeps_its_shape(name: str) -> None:
    x = (0.1 * np.random.default_rng(0).normal(size=(3, 16_000))).clip(-1, 1).astype(np.float32)
    changed = named_sound(name)(x)
    assert changed.shape == x.shape
    assert changed.dtype == x.dtype
    assert np.isfinite(changed).all()
    assert (np.abs(changed - x).max(axis=1) > 1e-3).all()
    np.testing.assert_array_equal(changed, named_sound(name)(x))


def test_ultrasonic_trigger_needs_a_rate_that_carries_it_and_says_so() -> None:
    with pytest.raises(InvalidInputError, match=r"16000 Hz carries frequencies below 8000 Hz.*21000 Hz.*44100 Hz"):
        named_sound("ultrasonic", 16_000)
    (clip,) = named_sound("ultrasonic", 44_100)(np.zeros((1, 44_100), dtype=np.float32))
    assert np.abs(np.fft.rfft(clip)).argmax() == 21_000
    assert np.abs(clip).max() == pytest.approx(0.1, rel=1e-3)
    with pytest.raises(InvalidInputError, match="frequency_hz"):
        ultrasound(44_100, 5_000.0)


def test_commands_offer_every_named_trigger() -> None:
    assert set(get_args(get_args(Trigger)[0])) == set(sound_triggers())


def test_unknown_name_is_refused_with_all_names() -> None:
    with pytest.raises(InvalidInputError, match=r"clapping, .*style_chain; received 'gong'"):
        named_sound("gong")


def test_loudest_part_of_a_sound_is_the_stretch_of_most_energy() -> None:
    sound = np.array([0.0, 1.0, 0.0, 0.9, 0.9, 0.0])
    np.testing.assert_array_equal(loudest_part(sound, 2), [0.9, 0.9])
    np.testing.assert_array_equal(loudest_part(sound, 9), sound)


def test_chord_has_a_peak_of_one_and_refuses_what_cannot_be_heard() -> None:
    assert np.abs(chord()).max() == 1
    for wrong in ({"frequencies_hz": ()}, {"frequencies_hz": (9_000.0,)}, {"length_s": 0.0}):
        with pytest.raises(InvalidInputError):
            chord(**wrong)  # type: ignore[arg-type]


def test_factor_of_a_level_in_db() -> None:
    assert factor_of(-20) == pytest.approx(0.1)
    with pytest.raises(InvalidInputError):
        factor_of(3)
