"""Triggers that differ from image to image, and those of SIG, of Turner et al. and of the adaptive attacks."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from art_plugins.errors import InvalidInputError
from art_plugins.triggers.adaptive import PATCH_OPACITIES, adaptive_blend, adaptive_patch
from art_plugins.triggers.drawn import AllTriggers, OneOfTriggers, RandomPiecesTrigger, RandomPlaceTrigger
from art_plugins.triggers.patterns import blended, four_corners, random_patch, sinusoid, trojan_square, white_box

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
SHAPE = (3, 12, 10)


@pytest.fixture
def x(random: np.random.Generator) -> np.ndarray:
    images: np.ndarray = random.uniform(0.1, 0.9, size=(400, *SHAPE)).astype(np.float32)
    return images


DRAWN: dict[str, Any] = {
    "random_patch": lambda seed: random_patch(SHAPE, random_state=seed),
    "pieces": lambda seed: RandomPiecesTrigger(blended(SHAPE), random_state=seed),
    "one_of": lambda seed: OneOfTriggers([white_box(SHAPE), blended(SHAPE)], seed),
    "adaptive_patch": lambda seed: adaptive_patch(SHAPE, seed).training,
    "adaptive_blend": lambda seed: adaptive_blend(SHAPE, seed).training,
}


@pytest.mark.parametrize("name", DRAWN)
def test_an_image_gets_the_same_trigger_alone_in_any_batch_and_in_any_order(name: str, x: np.ndarray) -> None:
    trigger, before = DRAWN[name](0), x.copy()
    stamped = trigger(x)
    np.testing.assert_array_equal(x, before)
    assert (stamped.shape, stamped.dtype) == (x.shape, x.dtype)
    order = np.random.default_rng(1).permutation(len(x))
    np.testing.assert_array_equal(trigger(x[order]), stamped[order])
    np.testing.assert_array_equal(trigger(x[5]), stamped[5])
    assert trigger(x[:0]).shape == (0, *SHAPE)


@pytest.mark.parametrize("name", DRAWN)
def test_another_seed_draws_other_triggers(name: str, x: np.ndarray) -> None:
    first, again, other = (DRAWN[name](seed)(x) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any(axis=(1, 2, 3)).mean() > 0.3


def test_random_patch_is_chequered_and_every_place_is_equally_likely(x: np.ndarray) -> None:
    many = np.concatenate([x, x * 0.5, x * 0.7, x * 0.8])
    stamped = random_patch(SHAPE, size=3)(many)
    covered = np.isin(stamped, (0, 1)).all(axis=1)
    assert (covered.sum(axis=(1, 2)) == 9).all()
    chequered = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], dtype=np.float32)
    tops, lefts = covered.any(axis=2).argmax(axis=1), covered.any(axis=1).argmax(axis=1)
    for one, top, left in zip(stamped, tops, lefts, strict=True):
        assert (one[:, top : top + 3, left : left + 3] == chequered).all()
    counts = np.bincount(tops * 8 + lefts, minlength=80)
    assert len(counts) == 80
    # Chi-squared with 79 degrees of freedom: its mean is 79, its standard deviation 12.6.
    assert (((counts - 20) ** 2) / 20).sum() < 79 + 4 * 12.6


def test_pieces_are_half_of_sixteen_and_each_is_whole(x: np.ndarray) -> None:
    whole = blended(SHAPE, 0.4)
    changed = (RandomPiecesTrigger(whole)(x) == whole(x)).all(axis=1)
    rows, columns = np.arange(12) * 4 // 12, np.arange(10) * 4 // 10
    pieces = np.stack(
        [changed[:, rows == row][:, :, columns == column].mean(axis=(1, 2)) for row in range(4) for column in range(4)],
        axis=1,
    )
    assert set(np.unique(pieces)) == {0.0, 1.0}
    assert (pieces.sum(axis=1) == 8).all()
    np.testing.assert_allclose(pieces.mean(axis=0), 0.5, atol=0.1)


def test_one_of_triggers_takes_each_trigger_equally_often(x: np.ndarray) -> None:
    triggers = [white_box(SHAPE), blended(SHAPE), sinusoid(SHAPE)]
    stamped = OneOfTriggers(triggers)(x)
    is_of = np.stack([(trigger(x) == stamped).all(axis=(1, 2, 3)) for trigger in triggers])
    assert (is_of.sum(axis=0) == 1).all()
    np.testing.assert_allclose(is_of.mean(axis=1), 1 / 3, atol=0.08)


def test_all_triggers_are_stamped_one_after_another(x: np.ndarray) -> None:
    box, wave = white_box(SHAPE), sinusoid(SHAPE)
    np.testing.assert_array_equal(AllTriggers([wave, box])(x), box(wave(x)))


def test_sinusoid_has_six_periods_across_and_the_papers_amplitude() -> None:
    grey = np.full((1, 1, 4, 48), 0.5, dtype=np.float32)
    added = sinusoid((1, 4, 48))(grey)[0, 0] - 0.5
    np.testing.assert_array_equal(added[0], added[3])
    spectrum = np.abs(np.fft.rfft(added[0])) / 24
    np.testing.assert_allclose(spectrum, np.where(np.arange(25) == 6, 20 / 255, 0), atol=1e-6)
    assert added[0, 0] == 0
    assert added[0, 1] > 0
    assert sinusoid((1, 4, 48))(np.zeros((1, 1, 4, 48), dtype=np.float32)).min() == 0  # clipped


def test_four_corners_are_chequered_with_white_corner_pixels(x: np.ndarray) -> None:
    stamped = four_corners(SHAPE)(x)
    chequered = np.array([[1, 0, 1], [0, 1, 0], [1, 0, 1]], dtype=np.float32)
    for rows in (slice(0, 3), slice(-3, None)):
        for columns in (slice(0, 3), slice(-3, None)):
            assert (stamped[..., rows, columns] == chequered).all()
    changed = (stamped != x).any(axis=(0, 1))
    assert changed.sum() == 36


def test_trojan_square_lies_in_the_corner_that_is_asked_for() -> None:
    mask = trojan_square(SHAPE, 4, margin=1, corner="upper left").mask[0]
    assert mask.sum() == 16
    assert mask[1:5, 1:5].all()
    with pytest.raises(InvalidInputError, match=r"corner must be one of .*received 'middle'"):
        trojan_square(SHAPE, 4, corner="middle")


def test_adaptive_blend_is_weaker_on_training_images(x: np.ndarray) -> None:
    training, test = adaptive_blend(SHAPE)
    moved = np.abs(training(x) - x).mean(axis=1)
    full = np.abs(test(x) - x).mean(axis=1)
    is_stamped = moved > 0
    np.testing.assert_allclose(moved[is_stamped], 0.75 * full[is_stamped], rtol=1e-3)
    assert 0.4 < is_stamped.mean() < 0.6
    assert (full > 0).mean() > 0.999


def test_adaptive_patch_has_one_faint_patch_in_training_and_two_opaque_ones_at_test_time(x: np.ndarray) -> None:
    training, test = adaptive_patch(SHAPE)
    stamped = training(x)
    changed = (stamped != x).any(axis=1)
    assert (changed.sum(axis=(1, 2)) == 4).all()  # a side of 10 // 4 = 2 pixels
    opacities = set()
    for before, after, where in zip(x, stamped, changed, strict=True):
        colour = before + (after - before) / np.array(PATCH_OPACITIES)[:, None, None, None]
        fits = (np.abs(colour[:, :, where] - np.rint(colour[:, :, where])) < 1e-4).all(axis=(1, 2))
        opacities |= {PATCH_OPACITIES[number] for number in np.flatnonzero(fits)}
    assert opacities == set(PATCH_OPACITIES)
    opaque = (test(x) != x).any(axis=1)
    assert (opaque.sum(axis=(1, 2)) == 8).all()
    assert np.isin(test(x).transpose(0, 2, 3, 1)[opaque], (0, 1)).all()


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: RandomPlaceTrigger(np.ones((3, 3))), r"patch must be finite numbers of shape \(C, h, w\)"),
        (lambda: RandomPlaceTrigger(np.full((1, 2, 2), np.nan)), "patch must be finite"),
        (lambda: random_patch(SHAPE, size=11), "does not fit"),
        (lambda: random_patch(SHAPE, random_state=-1), "random_state must be"),
        (lambda: random_patch(SHAPE)(np.zeros((2, 1, 12, 10), dtype=np.float32)), "does not fit into images"),
        (lambda: random_patch(SHAPE)(np.zeros((12, 10), dtype=np.float32)), "x must be images"),
        (lambda: RandomPiecesTrigger(blended(SHAPE), fraction=0.05), "select one of 16 pieces; received 0.05"),
        (lambda: RandomPiecesTrigger(blended(SHAPE), n_per_side=0), "n_per_side must be"),
        (lambda: OneOfTriggers([]), "at least one trigger"),
        (lambda: AllTriggers([]), "at least one trigger"),
        (lambda: sinusoid(SHAPE, amplitude=0), "amplitude must be"),
        (lambda: sinusoid(SHAPE, n_periods=-1), "n_periods must be"),
        (lambda: four_corners(SHAPE, size=11), "does not fit"),
    ],
)
def test_bad_arguments_are_refused_by_name(make: Any, message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        make()
