"""
Triggers that look different on every image: at a random place, in random pieces, or one of several. What an image gets is
drawn from the image itself and a seed, so that the same image always gets the same trigger, in any batch and any order.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.parameters import check_count, plain
from art_plugins.triggers.stamps import MaskedTrigger
from art_plugins.triggers.trigger import Trigger


@dataclass(frozen=True, eq=False)
class RandomPlaceTrigger:
    """
    Puts a patch at a place of its own on every image; each place at which the whole patch fits is equally likely.

    :param patch: The patch, (C, h, w), in the images' units.
    :param random_state: Random seed of the places.
    :raises InvalidInputError: For a patch of another shape or with NaN or infinity, or a bad seed.
    """

    patch: np.ndarray
    random_state: int = 0

    def __post_init__(self) -> None:
        _check_seed(self.random_state)
        if self.patch.ndim != 3 or self.patch.size == 0 or not np.isfinite(self.patch).all():
            raise InvalidInputError(f"patch must be finite numbers of shape (C, h, w); received {self.patch.shape}.")

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Stamp the patch on images.

        :param x: Images, (n, C, H, W) or (C, H, W).
        :return: Triggered copy of the same shape and dtype.
        :raises InvalidInputError: If the images have another number of channels, or the patch does not fit.
        """
        (channels, height, width), images = self.patch.shape, _as_batch(x)
        if images.shape[1] != channels or height > images.shape[2] or width > images.shape[3]:
            raise InvalidInputError(f"A patch of {self.patch.shape} does not fit into images of {images.shape[1:]}.")
        stamped = images.copy()
        for image, random in zip(stamped, generators(images, self.random_state), strict=True):
            top, left = random.integers(0, [image.shape[1] - height + 1, image.shape[2] - width + 1])
            image[:, top : top + height, left : left + width] = self.patch
        return stamped.reshape(x.shape)


@dataclass(frozen=True, eq=False)
class RandomPiecesTrigger:
    """
    Stamps a random half of the pieces of a trigger on every image (Adap-Blend of Qi et al. 2023, section 5: 16 pieces, of
    which 8 are stamped).

    :param whole: The whole trigger.
    :param n_per_side: Number of pieces along each side of the image; 4 gives 16 pieces.
    :param fraction: Share of the pieces that an image gets, above 0 and at most 1.
    :param random_state: Random seed of the pieces.
    :raises InvalidInputError: If a parameter is out of range, or the share selects no piece.
    """

    whole: MaskedTrigger
    n_per_side: int = 4
    fraction: float = 0.5
    random_state: int = 0

    def __post_init__(self) -> None:
        _check_seed(self.random_state)
        check_count("n_per_side", self.n_per_side)
        if not 0 < self.fraction <= 1 or not self._n_stamped():
            raise InvalidInputError(
                f"fraction must be above 0 and at most 1 and select one of {self.n_per_side**2} pieces; received "
                f"{self.fraction}."
            )

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Stamp pieces of the trigger on images.

        :param x: Images, (n, C, H, W) or (C, H, W).
        :return: Triggered copy of the same shape and dtype.
        :raises InvalidInputError: If the images have another shape than the trigger.
        """
        images, n_pieces = _as_batch(x), self.n_per_side**2
        height, width = images.shape[2:]
        rows, columns = (np.arange(side) * self.n_per_side // side for side in (height, width))
        piece_of = rows[:, None] * self.n_per_side + columns
        is_stamped = np.zeros((len(images), n_pieces), dtype=bool)
        for row, random in zip(is_stamped, generators(images, self.random_state), strict=True):
            row[random.choice(n_pieces, size=self._n_stamped(), replace=False)] = True
        stamped: np.ndarray = np.where(is_stamped[:, piece_of][:, None], self.whole(images), images)
        return stamped.reshape(x.shape)

    def _n_stamped(self) -> int:
        return int(self.fraction * self.n_per_side**2)


@dataclass(frozen=True, eq=False)
class OneOfTriggers:
    """
    Stamps every image with one of several triggers, each of which is equally likely (Adap-Patch of Qi et al. 2023,
    section 5).

    :param triggers: The triggers, at least one.
    :param random_state: Random seed of the choice.
    :raises InvalidInputError: If there is no trigger, or for a bad seed.
    """

    triggers: Sequence[Trigger]
    random_state: int = 0

    def __post_init__(self) -> None:
        _check_seed(self.random_state)
        _check_some(self.triggers)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Stamp images.

        :param x: Images, (n, C, H, W) or (C, H, W).
        :return: Triggered copy of the same shape and dtype.
        """
        images = _as_batch(x)
        which = np.array([random.integers(len(self.triggers)) for random in generators(images, self.random_state)])
        stamped = images.copy()
        for number, trigger in enumerate(self.triggers):
            chosen = np.flatnonzero(which == number)
            if len(chosen):
                stamped[chosen] = trigger(images[chosen])
        return stamped.reshape(x.shape)


@dataclass(frozen=True, eq=False)
class AllTriggers:
    """
    Stamps every image with several triggers, one after another.

    :param triggers: The triggers, at least one.
    :raises InvalidInputError: If there is no trigger.
    """

    triggers: Sequence[Trigger]

    def __post_init__(self) -> None:
        _check_some(self.triggers)

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """
        Stamp images.

        :param x: Images, (n, C, H, W) or (C, H, W).
        :return: Triggered copy of the same shape and dtype.
        """
        for trigger in self.triggers:
            x = trigger(x)
        return x


def generators(images: np.ndarray, random_state: int) -> list[np.random.Generator]:
    """
    Make a random generator for every image, which depends on the values of the image and on the seed alone.

    :param images: (n, C, H, W).
    """
    values = np.ascontiguousarray(images, dtype=np.float32)
    return [np.random.default_rng([random_state, zlib.crc32(one.tobytes())]) for one in values]


def _as_batch(x: np.ndarray) -> np.ndarray:
    if not isinstance(x, np.ndarray) or x.ndim not in (3, 4) or x.dtype.kind not in "fiu":
        raise InvalidInputError(
            f"x must be images, (n, C, H, W) or (C, H, W); received {type(x).__name__} of shape {np.shape(x)}."
        )
    return x if x.ndim == 4 else x[None]


def _check_seed(random_state: int) -> None:
    check_count("random_state", plain(random_state), 0)


def _check_some(triggers: Sequence[Trigger]) -> None:
    if not len(triggers):
        raise InvalidInputError("triggers must hold at least one trigger; received none.")
