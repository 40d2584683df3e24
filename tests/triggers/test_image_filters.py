"""What each filter does to an image: its levels, its frequencies, its colour, what it reflects."""

from __future__ import annotations

import numpy as np
import pytest
from art.attacks.poisoning import PoisoningAttackBackdoor
from scipy.fft import dctn
from scipy.signal import convolve

from art_plugins.errors import InvalidInputError
from art_plugins.triggers.image_filters import QuantisationTrigger, colour_shift, low_frequency
from art_plugins.triggers.reflections import KINDS, reflected, reflections

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
SHAPE = (3, 10, 12)
MIRRORS = np.random.default_rng(1).uniform(size=(4, *SHAPE)).astype(np.float32)
TRIGGERS = {
    "quantised": QuantisationTrigger(SHAPE, 4),
    "rounded": QuantisationTrigger(SHAPE, 4, dither=False),
    "low_frequency": low_frequency(SHAPE),
    "colour_shift": colour_shift(SHAPE),
    "reflections": reflections(MIRRORS, 0.4),
}


@pytest.fixture
def x(random: np.random.Generator) -> np.ndarray:
    return random.uniform(0.2, 0.8, size=(5, *SHAPE)).astype(np.float32)


@pytest.mark.parametrize("name", TRIGGERS)
def test_every_filter_in_arts_attack_changes_a_copy_within_the_range_and_treats_each_image_alone(
    name: str, x: np.ndarray
) -> None:
    before, trigger = x.copy(), TRIGGERS[name]
    changed, labels = PoisoningAttackBackdoor(trigger).poison(x, np.full(5, 7))
    assert (changed.shape, changed.dtype, labels.tolist()) == (x.shape, x.dtype, [7] * 5)
    np.testing.assert_array_equal(x, before)
    assert (changed != x).reshape(5, -1).any(axis=1).all()
    assert 0 <= changed.min() <= changed.max() <= 1
    np.testing.assert_array_equal(changed[[3, 1]], trigger(x[[3, 1]]))
    np.testing.assert_array_equal(changed[2], trigger(x[2]))


def floyd_steinberg(image: np.ndarray, levels: int) -> np.ndarray:
    """The textbook's loop over one plane of 0 to 1."""
    rest = [[float(value) * (levels - 1) for value in row] for row in image]
    height, width = image.shape
    for i in range(height):
        for j in range(width):
            level = min(max(round(rest[i][j]), 0), levels - 1)
            error, rest[i][j] = rest[i][j] - level, level
            for k, m, part in ((i, j + 1, 7), (i + 1, j - 1, 3), (i + 1, j, 5), (i + 1, j + 1, 1)):
                if k < height and 0 <= m < width:
                    rest[k][m] += error * part / 16
    return np.array(rest) / (levels - 1)


def test_quantised_image_is_that_of_the_textbook(x: np.ndarray) -> None:
    changed = QuantisationTrigger(SHAPE, 8)(x)
    np.testing.assert_allclose(changed, [[floyd_steinberg(plane, 8) for plane in image] for image in x], atol=1e-6)
    assert len(np.unique(changed)) == 8 - 2  # values of .2 to .8, whose nearest of the 8 levels are the inner ones


def test_dithering_keeps_the_mean_of_an_area_that_rounding_loses() -> None:
    grey = np.full((1, 1, 16, 16), 0.4, dtype=np.float32)
    assert QuantisationTrigger((1, 16, 16), 2)(grey).mean() == pytest.approx(0.4, abs=0.02)
    assert QuantisationTrigger((1, 16, 16), 2, dither=False)(grey).mean() == 0


def test_quantised_bytes_have_the_levels_of_bytes() -> None:
    x = np.arange(256, dtype=np.uint8).reshape(1, 1, 16, 16)
    changed = QuantisationTrigger((1, 16, 16), 4, clip_values=(0, 255))(x)
    assert changed.dtype == np.uint8
    assert np.unique(changed).tolist() == [0, 85, 170, 255]


def test_low_frequency_pattern_holds_no_other_frequency_and_its_amplitude() -> None:
    pattern = low_frequency((3, 32, 28), 0.1, n_waves=4).perturbation
    assert np.abs(pattern).max() == pytest.approx(0.1)
    spectrum = np.abs(dctn(pattern, axes=(1, 2), norm="ortho"))
    low = spectrum[:, :4, :4].copy()
    spectrum[:, :4, :4] = 0
    assert spectrum.max() < 1e-5 < low.max()
    assert (pattern != low_frequency((3, 32, 28), 0.1, random_state=1).perturbation).any()


def test_colour_shift_moves_each_channel_by_its_value_and_clips() -> None:
    x = np.full((1, 3, 2, 2), 0.5)
    np.testing.assert_allclose(colour_shift((3, 2, 2), (0.1, -0.2, 0.9))(x)[0, :, 0, 0], [0.6, 0.3, 1.0], rtol=1e-6)
    np.testing.assert_allclose(colour_shift((1, 2, 2))(x[:, :1])[0, 0], 0.62, rtol=1e-6)


def test_sharp_reflection_is_the_image_and_a_blurred_one_its_convolution() -> None:
    image = np.random.default_rng(0).uniform(size=(1, 33, 33))
    np.testing.assert_array_equal(reflected(image, "sharp"), image)
    offsets = np.arange(-12, 13)
    kernel = np.exp(-(offsets**2) / (2 * (33 / 16) ** 2))
    kernel = np.outer(kernel, kernel) / kernel.sum() ** 2
    expected = convolve(image[0], kernel, mode="same")
    np.testing.assert_allclose(reflected(image, "blurred")[0, 12:21, 12:21], expected[12:21, 12:21], atol=1e-4)


def test_ghost_of_a_point_is_two_points_an_eighth_of_the_image_apart() -> None:
    image = np.zeros((1, 16, 16))
    image[0, 5, 6] = 1
    ghost = reflected(image, "ghost")
    assert {(row, column): ghost[0, row, column] for row, column in np.argwhere(ghost[0])} == {(5, 6): 0.6, (7, 8): 0.4}


def test_reflection_is_added_and_drawn_from_the_image(x: np.ndarray) -> None:
    trigger = reflections(MIRRORS, 0.5, "sharp")
    which = []
    many = np.random.default_rng(3).uniform(size=(60, *SHAPE)).astype(np.float32)
    for image, changed in zip(many, trigger(many), strict=True):
        sums = [np.clip(image + 0.5 * mirror, 0, 1) for mirror in MIRRORS]
        which.append(int(np.argmin([np.abs(changed - one).max() for one in sums])))
        np.testing.assert_allclose(changed, sums[which[-1]], atol=1e-6)
    assert set(which) == {0, 1, 2, 3}


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: QuantisationTrigger(SHAPE, 1), "levels"),
        (lambda: QuantisationTrigger(SHAPE, clip_values=(1, 1)), "clip_values"),
        (lambda: QuantisationTrigger((3, 0, 4)), "shape"),
        (lambda: low_frequency(SHAPE, 0), "amplitude"),
        (lambda: low_frequency(SHAPE, n_waves=11), "n_waves"),
        (lambda: low_frequency(SHAPE, random_state=-1), "random_state"),
        (lambda: colour_shift(SHAPE, (0.1, 0.2)), "shift must have a value for each of 3 channels"),
        (lambda: colour_shift(SHAPE, 0.0), "not all 0"),
        (lambda: colour_shift(SHAPE, 1.5), "shift"),
        (lambda: reflected(MIRRORS[0], "dull"), ", ".join(KINDS)),
        (lambda: reflections(MIRRORS, 0), "weight"),
        (lambda: reflections(MIRRORS[:0]), "at least one trigger"),
        (lambda: QuantisationTrigger(SHAPE)(np.zeros((2, 3, 12, 10))), "is made for images of shape"),
    ],
)
def test_bad_values_are_refused_by_name(make: object, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()  # type: ignore[operator]
