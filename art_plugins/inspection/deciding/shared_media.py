"""What the members of a group share, beside the rest of their class: to be seen, and for sounds to be heard."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from art_plugins.files.image_files import ImageReader, png_bytes
from art_plugins.files.sound_files import SoundReader, wav_bytes
from art_plugins.inspection.deciding.common_sound import common_sound
from art_plugins.reports.drawing import data_uri

MOST_AVERAGED = 200  # samples of a group, and of the rest of its class, that are averaged
RANGE_DB = 60.0  # from the loudest to the palest of a mean spectrogram
NEAR = 8  # levels of 255 by which a pixel may differ from the group's median to agree with it
FEWEST_WINDOWS = 64  # samples of the window of a spectrogram, at least


def shared_media(reader: SoundReader | ImageReader, members: np.ndarray, rest: np.ndarray) -> dict[str, Any]:
    """
    Pictures and the sound that describe a group, as ``data:`` addresses with captions.

    :param members: Decoded samples of the group, the most suspicious first, (m, ...); at most 200 of them are used.
    :param rest: Decoded samples of the class that are not in the group, (m', ...).
    :return: ``pictures``: address, name and caption of each; ``sound``: address of what the members have in common sample
        by sample, ``None`` if that is nothing, or for images.
    """
    members, rest = np.asarray(members[:MOST_AVERAGED]), np.asarray(rest[:MOST_AVERAGED])
    if isinstance(reader, SoundReader):
        return _of_sounds(members, rest, reader.sample_rate_hz)
    return {"pictures": _of_images(members, rest), "sound": None}


def _of_sounds(members: np.ndarray, rest: np.ndarray, rate_hz: int) -> dict[str, Any]:
    levels = [_mean_spectrogram(clips, rate_hz) for clips in (members, rest) if len(clips)]
    loudest = max(level.max() for level in levels)
    axes = (
        f"Time runs from left to right, 0 to {members.shape[1] / rate_hz:.2g} s. Frequency runs from the bottom, 0 Hz, to "
        f"the top, {rate_hz / 2:,.0f} Hz. Darker is louder, on one scale."
    )
    names = ("Mean spectrogram of the group", "Mean spectrogram of the rest of the class")
    pictures = []
    for name, level in zip(names, levels, strict=False):
        grey = 255 - 255 * ((level - loudest) / RANGE_DB + 1).clip(0, 1)
        pictures.append(_picture(np.flipud(grey), name, axes))
    common = common_sound(members, rate_hz)
    if common is None:
        return {"pictures": pictures, "sound": None}
    peak = float(np.abs(common.sound).max())
    return {"pictures": pictures, "sound": data_uri(wav_bytes(0.9 * common.sound / peak, rate_hz), "audio/wav")}


def _mean_spectrogram(clips: np.ndarray, rate_hz: int) -> np.ndarray:
    """Mean power over clips (m, S) in dB, (frequencies, times)."""
    window = max(FEWEST_WINDOWS, round(0.032 * rate_hz))
    long_enough = np.pad(clips.astype(np.float64), ((0, 0), (0, max(0, window - clips.shape[1]))))
    power = ShortTimeFFT(hann(window, sym=False), window // 4, fs=rate_hz).spectrogram(long_enough, axis=-1).mean(axis=0)
    decibel: np.ndarray = 10 * np.log10(power + 1e-12)
    return decibel


def _of_images(members: np.ndarray, rest: np.ndarray) -> list[dict[str, str]]:
    pictures = [_picture(members.mean(axis=0), "Mean image of the group", "The mean over its members, pixel by pixel.")]
    if not len(rest):
        return pictures
    pictures.append(
        _picture(rest.mean(axis=0), "Mean image of the rest of the class", "The mean over the others, pixel by pixel.")
    )
    words = (
        "Bright where most members have one and the same value and the others of the class do not; black where they agree "
        "no more than those. A small bright area is a patch."
    )
    return [*pictures, _picture(255 * agreement(members, rest), "Where the members agree unlike their class", words)]


def agreement(members: np.ndarray, rest: np.ndarray) -> np.ndarray:
    """
    Share of the members that have the group's median value at a pixel, less the share of the others that have it.

    :param members: Values 0 to 255, (m, H, W) or (m, H, W, 3); ``rest``: the others, (m', ...).
    :return: 0 to 1, (H, W).
    """
    median = np.median(members, axis=0)
    shares = []
    for pictures in (members, rest):
        is_near = np.abs(pictures.astype(np.float64) - median) <= NEAR
        shares.append((is_near.all(axis=3) if is_near.ndim == 4 else is_near).mean(axis=0))
    unlike: np.ndarray = (shares[0] - shares[1]).clip(0, 1)
    return unlike


def _picture(values: np.ndarray, name: str, caption: str) -> dict[str, str]:
    png = png_bytes(np.rint(values).clip(0, 255).astype(np.uint8))
    return {"source": data_uri(png), "name": name, "caption": caption}
