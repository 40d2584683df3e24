"""The sound of one real room as a trigger (TrojanRoom, Chen et al. 2024), by the image method for a box-shaped room."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import oaconvolve

from art_plugins.errors import InvalidInputError
from art_plugins.parameters import check_count, check_number, plain
from art_plugins.triggers.sounds import check_waveforms

SPEED_OF_SOUND = 343.0  # metres a second in air of 20 degrees Celsius
MOST_ORDER = 40  # more reflections than that take minutes
Place = tuple[float, float, float]


@dataclass(frozen=True)
class Room:
    """
    Makes each waveform sound as if it were played at one place of a room and recorded at another (Allen and Berkley 1979).
    The walls mirror the source again and again; each mirror image is heard later and weaker. The direct sound keeps its
    level and its time. The authors of TrojanRoom record the responses of real rooms.

    :param size_m: Length, width and height of the room in metres.
    :param source_m: Place of the loudspeaker, from one corner.
    :param microphone_m: Place of the microphone.
    :param reflection: Share of the sound pressure that a wall reflects, at least 0 and below 1.
    :param order: Largest number of reflections along each axis.
    :param sample_rate_hz: Sample rate of the waveforms.
    :raises InvalidInputError: For a place outside the room, one place for both, or a value out of range.
    """

    size_m: Place = (6.0, 4.0, 3.0)
    source_m: Place = (1.5, 1.2, 1.4)
    microphone_m: Place = (4.5, 2.9, 1.1)
    reflection: float = 0.85
    order: int = 10
    sample_rate_hz: int = 16_000

    def __post_init__(self) -> None:
        for name, place in (("source_m", self.source_m), ("microphone_m", self.microphone_m)):
            if len(place) != 3 or len(self.size_m) != 3:
                raise InvalidInputError(f"size_m and {name} must be three lengths in metres; received {place!r}.")
            for value, side in zip(place, self.size_m, strict=True):
                check_number("size_m", plain(side), "in metres", above=0)
                check_number(name, plain(value), "in metres, inside the room", above=0, below=plain(side))
        if tuple(self.source_m) == tuple(self.microphone_m):
            raise InvalidInputError(
                f"source_m and microphone_m must be different places; received {self.source_m!r} twice."
            )
        check_number("reflection", plain(self.reflection), "a share", least=0, below=1)
        check_count("order", plain(self.order), 0, MOST_ORDER)
        check_count("sample_rate_hz", plain(self.sample_rate_hz))

    def impulse_response(self) -> np.ndarray:
        """Response to a click, (s,); the direct sound is 1 at sample 0."""
        distances, strengths = self._images()
        direct = distances.min()
        delays = np.rint((distances - direct) / SPEED_OF_SOUND * self.sample_rate_hz).astype(int)
        response: np.ndarray = np.bincount(delays, weights=strengths * direct / distances)
        return response

    def _images(self) -> tuple[np.ndarray, np.ndarray]:
        """Distance of every mirror image from the microphone, and what its reflections leave of the pressure."""
        along, bounces = [], []
        for side, source, microphone in zip(self.size_m, self.source_m, self.microphone_m, strict=True):
            number = np.arange(-self.order, self.order + 1)
            # Mirror image n lies in the n-th copy of the room; in every second copy the room is turned round.
            place = number * side + np.where(number % 2 == 0, source, side - source)
            along.append((place - microphone) ** 2)
            bounces.append(np.abs(number))
        squares = along[0][:, None, None] + along[1][:, None] + along[2]
        total = bounces[0][:, None, None] + bounces[1][:, None] + bounces[2]
        return np.sqrt(squares).ravel(), (float(self.reflection) ** total).ravel()

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Put waveforms in [-1, 1], shape (n, S) or (S,), into the room; a copy of the same shape and dtype. Each is scaled to
        the energy that it had, and clipped.
        """
        check_waveforms(x)
        response = self.impulse_response()[: x.shape[-1]].reshape((1,) * (x.ndim - 1) + (-1,))
        clean = x.astype(np.float64)
        heard = oaconvolve(clean, response, axes=-1)[..., : x.shape[-1]]
        energy = np.linalg.norm(heard, axis=-1, keepdims=True)
        heard *= np.linalg.norm(clean, axis=-1, keepdims=True) / np.maximum(energy, np.finfo(np.float64).tiny)
        changed: np.ndarray = np.clip(heard, -1, 1).astype(x.dtype)
        return changed
