"""Samples as short vectors before any network."""

from __future__ import annotations

import tracemalloc
from pathlib import Path

import numpy as np
import pytest

from art_plugins.features import layer_views as module
from art_plugins.features.views import MAX_DIMS


def input_view(x: np.ndarray) -> np.ndarray:
    return module.input_view(x, np.arange(len(x)))


@pytest.mark.parametrize(
    "shape", [(1, 28, 28), (3, 32, 32), (3, 64, 48), (32, 32, 3), (16_000,), (1, 4000), (40, 101), (5,), (2, 3, 4, 5)]
)
def test_any_shape_gives_a_short_vector(shape: tuple[int, ...]) -> None:
    x = np.random.default_rng(0).random((100, *shape), dtype=np.float32)
    view = input_view(x)
    assert view.shape == (100, min(MAX_DIMS, int(np.prod(shape))))
    assert view.dtype == np.float32
    assert np.isfinite(view).all()
    assert (view == input_view(x)).all()


def test_short_samples_are_only_turned() -> None:
    x = np.random.default_rng(0).normal(size=(50, 6)).astype(np.float32)
    view = input_view(x)
    centred = x - x.mean(axis=0)
    assert view @ view.T == pytest.approx(centred @ centred.T, abs=1e-4)


def test_images_are_averaged_to_cells() -> None:
    random = np.random.default_rng(0)
    coarse = random.random((60, 1, 16, 16), dtype=np.float32)
    fine = coarse.repeat(4, axis=2).repeat(4, axis=3)
    checked = fine + np.where(np.indices((64, 64)).sum(axis=0) % 2, 0.5, -0.5).astype(np.float32)  # no cell sees this
    assert np.abs(input_view(checked)) == pytest.approx(np.abs(input_view(coarse)), abs=1e-3)


def test_long_samples_keep_their_distances_nearly() -> None:
    random = np.random.default_rng(0)
    x = (random.normal(size=(200, 20)) @ random.normal(size=(20, 8_192))).astype(np.float32)
    view = input_view(x)
    pairs = random.integers(200, size=(300, 2))
    pairs = pairs[pairs[:, 0] != pairs[:, 1]]
    before, after = (np.linalg.norm(one[pairs[:, 0]] - one[pairs[:, 1]], axis=1) for one in (x, view))
    assert (np.abs(after / before - 1) < 0.25).all()


def test_samples_that_are_all_alike_give_zeros() -> None:
    assert (input_view(np.ones((5, 1, 8, 8), np.float32)) == 0).all()


def test_one_sample_gives_zeros() -> None:
    assert (input_view(np.ones((1, 7), np.float32)) == 0).all()


def test_a_part_is_read_at_a_time_with_the_same_result(monkeypatch: pytest.MonkeyPatch) -> None:
    x = np.random.default_rng(0).random((70, 3, 20, 20), dtype=np.float32)
    rows = np.flatnonzero(np.arange(70) % 3)
    whole = module.input_view(x, rows)
    monkeypatch.setattr(module, "MOST_AT_ONCE", 5 * 1_200)
    np.testing.assert_allclose(module.input_view(x, rows), whole, atol=1e-5)
    np.testing.assert_allclose(np.abs(whole), np.abs(input_view(x[rows])), atol=1e-5)


@pytest.mark.parametrize("value", [3e38, 1e300, np.inf, np.nan])
def test_a_sample_beyond_measure_lies_in_the_middle_and_moves_no_other(value: float) -> None:
    random = np.random.default_rng(0)
    for shape in ((1, 20, 20), (3_000,)):
        x = random.random((60, *shape))
        odd = x.copy()
        odd[7] = value
        view = input_view(odd)
        assert np.isfinite(view).all()
        assert np.linalg.norm(view[7]) <= np.linalg.norm(view, axis=1).max()
        others = np.arange(60) != 7
        np.testing.assert_allclose(np.abs(view[others]).max(), np.abs(input_view(x)[others]).max(), rtol=0.3)
    assert np.isfinite(input_view(np.full((4, 3, 8, 8), value))).all()


def test_memory_does_not_grow_with_the_data(tmp_path: Path) -> None:
    x = np.lib.format.open_memmap(tmp_path / "x.npy", mode="w+", dtype=np.uint8, shape=(20_000, 3, 40, 40))
    tracemalloc.start()
    view = input_view(x)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert view.nbytes < 6e6
    assert peak < 80e6  # the data are 96 MB as bytes, and four times as much as numbers
