"""Effects of a music studio as triggers (JingleBack, Koffas et al. 2023), by torchaudio, alone or in chains."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from art_plugins.errors import InvalidInputError
from art_plugins.optional import import_optional
from art_plugins.parameters import check_choice, plain
from art_plugins.triggers.sound_spectra import by_rows
from art_plugins.triggers.sounds import n_samples_of

LOWEST_RATE_HZ = 8_000  # the equaliser's highest band is at 3 kHz


@dataclass(frozen=True)
class Effects:
    """
    Sends each waveform through a chain of effects at fixed settings and clips to [-1, 1].

    ``"flanger"``: a copy with a delay that swings between 1 and 2 ms is added. ``"phaser"``: notches that swing.
    ``"equaliser"``: bass and treble are lowered by 12 dB, and 1 kHz and 3 kHz raised by 12 and lowered by 18 dB.
    ``"overdrive"``: soft clipping at 20 dB of gain. The authors use the effects of another library (Pedalboard), so that
    the settings are not theirs.

    :param chain: Names of effects, which follow one another; at least one.
    :param sample_rate_hz: Sample rate of the waveforms, at least 8 kHz.
    :raises InvalidInputError: For an unknown name, no name, or another rate.
    """

    chain: Sequence[str]
    sample_rate_hz: int = 16_000

    def __post_init__(self) -> None:
        if isinstance(self.chain, str) or not len(self.chain):
            raise InvalidInputError(f"chain must be a sequence of {', '.join(EFFECTS)}; received {self.chain!r}.")
        for name in self.chain:
            check_choice("chain", name, EFFECTS)
        n_samples_of(self.sample_rate_hz, "The clip", 1.0)
        if plain(self.sample_rate_hz) < LOWEST_RATE_HZ:
            raise InvalidInputError(f"sample_rate_hz must be at least {LOWEST_RATE_HZ}; received {self.sample_rate_hz}.")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Change waveforms in [-1, 1], shape (n, S) or (S,); a copy of the same shape and dtype.

        :raises MissingPackageError: If torchaudio cannot be imported.
        """

        def changed(rows: Tensor) -> Tensor:
            effects = import_optional("torchaudio.functional")
            for name in self.chain:
                rows = EFFECTS[name](effects, rows, plain(self.sample_rate_hz)).clamp(-1, 1)
            return rows

        return by_rows(x, changed)


def _flanger(effects: Any, rows: Tensor, rate_hz: int) -> Tensor:
    flanged: Tensor = effects.flanger(rows[:, None], rate_hz, delay=1.0, depth=1.0, regen=50.0, width=90.0, speed=1.0)
    return flanged[:, 0]


def _phaser(effects: Any, rows: Tensor, rate_hz: int) -> Tensor:
    phased: Tensor = effects.phaser(rows, rate_hz, gain_in=0.7, gain_out=0.9, delay_ms=3.0, decay=0.6, mod_speed=1.0)
    return phased


def _equaliser(effects: Any, rows: Tensor, rate_hz: int) -> Tensor:
    rows = effects.bass_biquad(rows, rate_hz, gain=-12.0, central_freq=300.0)
    rows = effects.treble_biquad(rows, rate_hz, gain=-12.0, central_freq=3_500.0)
    rows = effects.equalizer_biquad(rows, rate_hz, center_freq=1_000.0, gain=12.0, Q=1.0)
    equalised: Tensor = effects.equalizer_biquad(rows, rate_hz, center_freq=3_000.0, gain=-18.0, Q=1.0)
    return equalised


def _overdrive(effects: Any, rows: Tensor, rate_hz: int) -> Tensor:
    driven: Tensor = effects.overdrive(rows, gain=20.0, colour=20.0)
    return driven


EFFECTS: dict[str, Callable[[Any, Tensor, int], Tensor]] = {
    "flanger": _flanger,
    "phaser": _phaser,
    "equaliser": _equaliser,
    "overdrive": _overdrive,
}
