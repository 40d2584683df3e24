"""Resampling: a tone stays the same tone, in whatever shape and in however many parts the clips come."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.features import resampling
from art_plugins.features.resampling import resample, resample_clips


def tone(rate_hz: int, hz: float = 440.0) -> np.ndarray:
    return np.sin(2 * np.pi * hz * np.arange(rate_hz) / rate_hz).astype(np.float32)


@pytest.mark.parametrize(("from_hz", "to_hz"), [(8_000, 16_000), (44_100, 16_000), (16_000, 8_000)])
def test_a_tone_of_another_rate_is_the_tone_drawn_at_that_rate(from_hz: int, to_hz: int) -> None:
    found = resample(tone(from_hz), from_hz, to_hz)
    assert found.dtype == np.float32
    assert found.shape == (to_hz,)
    inner = slice(to_hz // 20, -to_hz // 20)  # the filter sees silence beyond the ends
    np.testing.assert_allclose(found[inner], tone(to_hz)[inner], atol=0.02)


@pytest.mark.parametrize("shape", [(5, 800), (5, 800, 1), (5, 1, 800)])
def test_clips_are_resampled_one_by_one_whatever_their_shape(
    shape: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resampling, "BATCH", 2)
    clips = np.random.default_rng(0).normal(size=shape)
    found = resample_clips(clips, 8_000, 16_000)
    assert found.shape == (5, 1_600)
    for clip, one in zip(clips, found, strict=True):
        np.testing.assert_allclose(one, resample(clip.ravel(), 8_000, 16_000), atol=1e-5)


def test_clips_of_the_right_rate_are_not_copied() -> None:
    clips = np.zeros((3, 10))
    assert resample_clips(clips, 16_000, 16_000) is clips
