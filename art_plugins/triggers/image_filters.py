"""
Triggers that change a whole image as a filter does: fewer levels (BppAttack), a smooth pattern of low frequencies, and a
shift of colour. Each function gives a callable for ART's ``PoisoningAttackBackdoor``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.fft import idctn

from art_plugins.errors import InvalidInputError
from art_plugins.parameters import check_count, check_flag, check_number, plain, shown
from art_plugins.triggers.patterns import Shape, checked_shape
from art_plugins.triggers.stamps import AdditiveTrigger, ImageTrigger

# Shares of the error of a pixel that its neighbours get (Floyd and Steinberg 1976): rows down, columns to the right.
DIFFUSION = ((0, 1, 7 / 16), (1, -1, 3 / 16), (1, 0, 5 / 16), (1, 1, 1 / 16))
MOST_LEVELS = 256


@dataclass(frozen=True, eq=False)
class QuantisationTrigger(ImageTrigger):
    """
    Rounds every value of an image to one of a few levels (BppAttack, Wang et al. 2022, section 3). Dithering spreads the
    error of a pixel over the pixels to the right and below it (Floyd and Steinberg 1976), so that areas keep their mean.

    :param image_shape: (C, H, W).
    :param levels: Number of levels, 2 to 256; the authors use 8.
    :param dither: Spread the errors.
    :param clip_values: Lowest and highest value of the images, which are the lowest and the highest level.
    :raises InvalidInputError: For a bad shape, number of levels, flag or range.
    """

    image_shape: Shape
    levels: int = 8
    dither: bool = True
    clip_values: tuple[float, float] = (0.0, 1.0)

    def __post_init__(self) -> None:
        checked_shape(self.image_shape)
        check_count("levels", plain(self.levels), 2, MOST_LEVELS)
        check_flag("dither", self.dither)
        if not self.clip_values[0] < self.clip_values[1]:
            raise InvalidInputError(f"clip_values must be (lowest, highest); received {shown(self.clip_values)}.")

    @property
    def shape(self) -> tuple[int, ...]:
        return tuple(self.image_shape)

    def _triggered(self, x: np.ndarray) -> np.ndarray:
        lowest, highest = self.clip_values
        steps = self.levels - 1
        values = (x.astype(np.float64) - lowest) / (highest - lowest) * steps
        levels = self._dithered(values) if self.dither else np.rint(values).clip(0, steps)
        quantised: np.ndarray = lowest + levels / steps * (highest - lowest)
        return quantised

    def _dithered(self, values: np.ndarray) -> np.ndarray:
        """Round the values, (..., H, W), to whole numbers pixel by pixel and spread the error of each."""
        height, width = values.shape[-2:]
        rest = np.zeros((*values.shape[:-2], height + 1, width + 2))
        rest[..., :height, 1:-1] = values
        levels = np.empty_like(values)
        for row in range(height):
            for column in range(width):
                value = rest[..., row, column + 1]
                levels[..., row, column] = np.rint(value).clip(0, self.levels - 1)
                error = value - levels[..., row, column]
                for down, right, part in DIFFUSION:
                    rest[..., row + down, column + 1 + right] += part * error
        return levels


def low_frequency(shape: Shape, amplitude: float = 0.1, n_waves: int = 4, random_state: int = 0) -> AdditiveTrigger:
    """
    A smooth pattern that holds low frequencies only (Zeng et al. 2021, section 5), so that a search for high frequencies
    does not see it. The authors optimise the pattern for a network; here its frequencies are drawn at random.

    :param shape: (C, H, W).
    :param amplitude: Largest absolute value that is added, above 0 and at most 1, for images of 0 to 1.
    :param n_waves: Number of cosine frequencies along each side that the pattern may hold; at least 2. It has no constant
        part.
    :param random_state: Random seed of the pattern.
    :raises InvalidInputError: For a bad shape, amplitude, number or seed, or more frequencies than the image has pixels.
    """
    channels, height, width = checked_shape(shape)
    amplitude, n_waves, random_state = plain(amplitude), plain(n_waves), plain(random_state)
    check_number("amplitude", amplitude, "for images of 0 to 1", above=0, most=1)
    check_count("n_waves", n_waves, 2, max(2, min(height, width)))
    check_count("random_state", random_state, 0)
    weights = np.zeros((channels, height, width))
    weights[:, :n_waves, :n_waves] = np.random.default_rng(random_state).normal(size=(channels, n_waves, n_waves))
    weights[:, 0, 0] = 0
    pattern = idctn(weights, axes=(1, 2), norm="ortho")
    return AdditiveTrigger((amplitude * pattern / np.abs(pattern).max()).astype(np.float32))


def colour_shift(shape: Shape, shift: float | tuple[float, ...] = (0.12, -0.12, 0.12)) -> AdditiveTrigger:
    """
    Adds one constant to every pixel of a channel and clips the sum (Jiang et al. 2023, Color Backdoor, section 4). The
    authors search for the shift and the colour space; here the colours are red, green and blue, and the shift is given. A
    grey image becomes lighter by the first value.

    :param shape: (C, H, W).
    :param shift: Value that is added to each channel, -1 to 1, for images of 0 to 1; one number counts for all channels.
    :raises InvalidInputError: For a bad shape or shift, or a shift of nothing.
    """
    channels, _, _ = checked_shape(shape)
    values = [plain(value) for value in (shift if isinstance(shift, (tuple, list)) else [shift] * channels)]
    for value in values:
        check_number("shift", value, "for images of 0 to 1", least=-1, most=1)
    if len(values) < channels or not any(values[:channels]):
        raise InvalidInputError(
            f"shift must have a value for each of {channels} channels, not all 0; received {shown(shift)}."
        )
    by_channel = np.array(values[:channels], dtype=np.float32)[:, None, None]
    return AdditiveTrigger(np.broadcast_to(by_channel, shape).copy())
