"""Coherence: an added sound is found under other sounds, at its place, and unrelated sounds share nothing."""

from __future__ import annotations

import numpy as np
import pytest

from art_plugins.groups.sounds.coherence import (
    cut_segments,
    match_template,
    pairwise_coherence,
    signed_like,
    template_of,
    whitened,
)

WINDOW = 64


def coloured_noise(random: np.random.Generator, n: int, n_samples: int) -> np.ndarray:
    """Noise with most of its energy at low frequencies, as speech has it."""
    x = random.normal(size=(n, n_samples))
    for delay in range(1, 8):
        x[:, delay:] += 0.7 * x[:, :-delay]
    return x


def burst_in(n_samples: int, burst: np.ndarray) -> np.ndarray:
    return np.pad(burst, (150, n_samples - 150 - len(burst)))


def planted(random: np.random.Generator, level: float = 0.5) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Ten noises of 2,000 samples, in each of which one burst of 300 samples starts at another place."""
    x, burst = coloured_noise(random, 10, 2_000), random.normal(size=300)
    starts = random.integers(0, 1_700, size=10)
    for row, start in zip(x, starts, strict=True):
        row[start : start + 300] += level * burst
    return x, burst, starts


def test_whitened_sound_has_like_levels_at_all_frequencies_and_its_phases(random: np.random.Generator) -> None:
    x = coloured_noise(random, 4, 4_096)
    white = whitened(x, WINDOW)
    assert white.shape == x.shape
    assert white.dtype == np.float32

    def spread(sounds: np.ndarray) -> float:
        levels = np.log(
            (np.abs(np.fft.rfft(sounds, axis=1)) ** 2).reshape(4, -1)[:, :2_048].reshape(4, 64, -1).mean(axis=(0, 2))
        )
        return float(levels.std())

    assert spread(white) < 0.5 * spread(x)
    same_phase = np.cos(np.angle(np.fft.rfft(white) / np.fft.rfft(x)))
    assert np.median(same_phase) > 0.9


def test_whitened_silence_is_silent_and_short_sounds_keep_their_length() -> None:
    assert not whitened(np.zeros((2, 500)), WINDOW).any()
    assert whitened(np.ones((2, 10)), WINDOW).shape == (2, 10)
    assert whitened(np.zeros((0, 500)), WINDOW).shape == (0, 500)


def test_cut_segments_before_and_after_a_sound_are_zero() -> None:
    sounds = np.arange(1, 9).reshape(2, 4)
    np.testing.assert_array_equal(cut_segments(sounds, np.array([-1, 2]), 3), [[0, 1, 2], [7, 8, 0]])


def test_pairwise_coherence_of_shifted_copies_is_one_and_gives_the_shift(random: np.random.Generator) -> None:
    burst = random.normal(size=100)
    segments = np.zeros((3, 300))
    for row, start in enumerate((50, 80, 20)):
        segments[row, start : start + 100] = burst * (-1) ** row
    coherence, shifts = pairwise_coherence(segments)
    np.testing.assert_allclose(coherence, 1 - np.eye(3), atol=1e-5)
    assert (shifts[0, 1], shifts[1, 0], shifts[1, 2]) == (-30, 30, 60)
    aligned = cut_segments(segments[[0, 1]], np.array([0, -shifts[0, 1]]), 300)
    np.testing.assert_allclose(aligned[0], -aligned[1], atol=1e-6)


def test_pairwise_coherence_is_the_largest_correlation_over_all_shifts(random: np.random.Generator) -> None:
    segments = random.normal(size=(3, 40))
    coherence, _ = pairwise_coherence(segments)
    expected = np.abs(np.correlate(segments[0], segments[2], "full")).max()
    assert coherence[0, 2] == pytest.approx(expected / np.linalg.norm(segments[0]) / np.linalg.norm(segments[2]), rel=1e-4)


def test_pairwise_coherence_with_silence_is_zero(random: np.random.Generator) -> None:
    coherence, _ = pairwise_coherence(np.stack([np.zeros(50), random.normal(size=50)]))
    assert not coherence.any()


def test_template_of_aligned_sounds_is_what_they_share_whatever_their_signs(random: np.random.Generator) -> None:
    burst = random.normal(size=300)
    aligned = random.normal(size=(12, 600))
    aligned[:, 150:450] += burst
    aligned *= np.where(np.arange(12) % 3, 1, -1)[:, None]
    template = template_of(signed_like(aligned, burst_in(600, burst)), WINDOW)
    assert np.linalg.norm(template) == pytest.approx(1)
    assert abs(template[150:450] @ burst) / np.linalg.norm(burst) > 0.8
    assert (template[150:450] ** 2).sum() > 0.9


def test_template_of_sounds_that_share_nothing_has_little_of_any_of_them(random: np.random.Generator) -> None:
    aligned = random.normal(size=(12, 600))
    others = random.normal(size=(200, 600))
    own = match_template(aligned, template_of(aligned[::2], WINDOW)).peaks[1::2]
    assert own.max() < match_template(others, template_of(aligned[::2], WINDOW)).peaks.max()


def test_match_template_is_the_largest_correlation_at_any_place(random: np.random.Generator) -> None:
    sounds, template = random.normal(size=(3, 70)), random.normal(size=20)
    found = match_template(sounds, template)
    for sound, peak, place in zip(sounds, *found, strict=True):
        correlation = np.correlate(sound, template, "full")
        assert peak == pytest.approx(np.abs(correlation).max(), rel=1e-4)
        assert place == np.abs(correlation).argmax() - 19


def test_added_burst_is_found_under_louder_noise_at_its_place(random: np.random.Generator) -> None:
    x, _, starts = planted(random)
    white = whitened(x, WINDOW)
    template = template_of(cut_segments(white, starts, 300), WINDOW)
    found = match_template(white, template)
    unrelated = match_template(whitened(coloured_noise(random, 100, 2_000), WINDOW), template)
    assert found.peaks.min() > unrelated.peaks.max()
    np.testing.assert_allclose(found.places, starts, atol=2)
