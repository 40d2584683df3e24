"""The triggers for sound that the commands know by name."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.triggers.sound_effects import Effects
from art_plugins.triggers.sound_room import Room
from art_plugins.triggers.sound_spectra import PitchBoost, Rhythm, Tempo, Timbre
from art_plugins.triggers.sound_styles import Echo, PitchShift, Reverb
from art_plugins.triggers.sounds import (
    ARMORY_SOUNDS,
    AudioTrigger,
    WanderingTrigger,
    armory_sound,
    chord,
    factor_of,
    loudest_part,
    noise_burst,
    tone,
    ultrasound,
)

SoundTrigger = Callable[[np.ndarray], np.ndarray]
CLIP_S = 1.0  # length of the clips of Speech Commands, which the steady sounds fill
# Sounds at a random place all have one peak level, so that they can be compared: that of Armory's clap.
ANYWHERE_DB = -20.0
CLAP_S, WHISTLE_S = 0.1, 0.25  # parts of Armory's recordings that hold nearly all of their energy
CHORD_HZ, CHORD_DB = (440.0, 554.37, 659.26), -20.0  # A major
HIGH_HZ, HIGH_DB = (6_000.0,), -26.0
ULTRASOUND_DB = -20.0
STYLE_CHAIN = ("overdrive", "equaliser", "phaser", "flanger")


def sound_triggers(sample_rate_hz: int = 16_000) -> dict[str, Callable[[], SoundTrigger]]:
    """
    Give functions that make the triggers, by name.

    At a fixed place: Armory's four sounds at its scales; ``burst``, 30 ms of noise at -26 dB. At a random place of each
    clip, with a peak of -20 dB of full scale: ``clap_anywhere`` and ``whistle_anywhere`` (Armory's recordings), ``tone``
    (2.5 kHz, a tenth of a second), ``burst_anywhere`` (60 ms of noise). All along, for clips of a second: ``chord`` at -20
    dB, ``high_tone`` (6 kHz) at -26 dB, ``ultrasonic`` (21 kHz; it needs a sample rate above 42 kHz) at -20 dB. Styles, in
    which the whole clip is changed: ``echo``, ``reverb``, ``pitch`` (three semitones up), ``room`` (TrojanRoom), ``tempo``
    and ``rhythm`` (RSRT), ``pitch_boost`` (PBSM), ``timbre`` (VSVC), and of JingleBack ``flanger``, ``phaser``,
    ``equaliser`` and ``style_chain``, all of them with overdrive.

    :param sample_rate_hz: Sample rate of the waveforms.
    """
    return {
        **{name: partial(armory_sound, name, sample_rate_hz) for name in ARMORY_SOUNDS},
        "tone": lambda: _anywhere(tone(sample_rate_hz)),
        "burst": lambda: AudioTrigger(noise_burst(sample_rate_hz, start_s=0.25, length_s=0.03), scale=0.05),
        "clap_anywhere": lambda: _anywhere(_part("clapping", CLAP_S, sample_rate_hz)),
        "whistle_anywhere": lambda: _anywhere(_part("whistle", WHISTLE_S, sample_rate_hz)),
        "burst_anywhere": lambda: _anywhere(noise_burst(sample_rate_hz)),
        "chord": lambda: AudioTrigger(chord(sample_rate_hz, CHORD_HZ, CLIP_S), scale=factor_of(CHORD_DB)),
        "high_tone": lambda: AudioTrigger(chord(sample_rate_hz, HIGH_HZ, CLIP_S), scale=factor_of(HIGH_DB)),
        "echo": partial(Echo, sample_rate_hz=sample_rate_hz),
        "reverb": partial(Reverb, sample_rate_hz=sample_rate_hz),
        "pitch": partial(PitchShift, sample_rate_hz=sample_rate_hz),
        "ultrasonic": lambda: AudioTrigger(ultrasound(sample_rate_hz, length_s=CLIP_S), scale=factor_of(ULTRASOUND_DB)),
        "room": partial(Room, sample_rate_hz=sample_rate_hz),
        "tempo": partial(Tempo, sample_rate_hz=sample_rate_hz),
        "rhythm": partial(Rhythm, sample_rate_hz=sample_rate_hz),
        "pitch_boost": partial(PitchBoost, sample_rate_hz=sample_rate_hz),
        "timbre": partial(Timbre, sample_rate_hz=sample_rate_hz),
        **{name: partial(Effects, (name,), sample_rate_hz) for name in ("flanger", "phaser", "equaliser")},
        "style_chain": partial(Effects, STYLE_CHAIN, sample_rate_hz),
    }


def named_sound(name: str, sample_rate_hz: int = 16_000) -> SoundTrigger:
    """
    Give a trigger of :func:`sound_triggers`.

    :raises InvalidInputError: For an unknown name.
    """
    makers = sound_triggers(sample_rate_hz)
    if name not in makers:
        raise InvalidInputError(f"trigger must be one of {', '.join(makers)}; received {name!r}.")
    return makers[name]()


def _anywhere(sound: np.ndarray) -> WanderingTrigger:
    return WanderingTrigger(sound, scale=factor_of(ANYWHERE_DB))


def _part(name: str, length_s: float, sample_rate_hz: int) -> np.ndarray:
    """The loudest part of one of Armory's recordings, with a peak of 1."""
    part = loudest_part(armory_sound(name, sample_rate_hz).sound, round(length_s * sample_rate_hz))
    peaked: np.ndarray = part / np.abs(part).max()
    return peaked
