"""
Autoencoders that come with the package, by name. Beside each file lies a card (.json): what it was trained on, the licence
and attribution of the data, and the command that made it.

``"speech"``: trained on half of the words and half of the speakers of Speech Commands (P. Warden, Google, CC BY 4.0).
"""

from __future__ import annotations

from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from art_plugins.errors import InvalidInputError
from art_plugins.features.sample_shapes import without_lone_channel

if TYPE_CHECKING:
    from art_plugins.features.autoencoder import Autoencoder

SHIPPED = {"speech": Path(str(files("art_plugins.features.vae") / "pretrained" / "speech.safetensors"))}
LEAST_RATE_HZ = 4_000  # half of a telephone's rate; below, vowels sound alike, and resampling blows a typing error up


def is_shipped(given: object) -> bool:
    """Whether ``given`` names an autoencoder that comes with the package, and is no path."""
    return isinstance(given, str) and given in SHIPPED


def load_autoencoder(given: str | Path) -> Autoencoder:
    """
    Read an autoencoder that comes with the package, by its name, or a saved one, by its path.

    :raises FileFormatError: If the file is absent or damaged.
    """
    from art_plugins.features.autoencoder import Autoencoder  # torch, which the names alone do not need

    return Autoencoder.load(SHIPPED[given] if isinstance(given, str) and given in SHIPPED else given)


def check_speech(shape: tuple[int, ...], kind: str, sample_rate_hz: int) -> None:
    """
    Check that the autoencoder of speech can take samples.

    :param shape: Shape of the data, (n, ...).
    :param kind: Kind of the data, or ``"auto"``.
    :param sample_rate_hz: Sample rate of the waveforms.
    :raises InvalidInputError: If they are no waveforms, or their rate is too low.
    """
    if kind not in ("auto", "waveform") or len(without_lone_channel("waveform", shape[1:])) != 1:
        raise InvalidInputError(
            f'autoencoder="speech" takes waveforms (n, samples); received shape {shape} with kind={kind!r}. '
            "Give autoencoder=None, which trains one on the data."
        )
    if sample_rate_hz < LEAST_RATE_HZ:
        raise InvalidInputError(
            f'sample_rate_hz must be at least {LEAST_RATE_HZ} for autoencoder="speech"; received {sample_rate_hz}. '
            "Give the rate of the waveforms, or autoencoder=None, which trains one on them."
        )
