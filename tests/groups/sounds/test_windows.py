"""Windows without a place: how they are cut and described, and their crowding against brute force."""

from __future__ import annotations

import joblib
import numpy as np
import pytest

from art_plugins.groups.sounds.sampled_clips import crowding_by_class, sample_clips
from art_plugins.groups.sounds.window_crowding import SOFTENING, clip_distances, window_crowding
from art_plugins.groups.sounds.windows import principal_window_axes, project_windows, sliding_windows


def test_sliding_windows_hold_the_frames_in_order() -> None:
    frames = np.arange(2 * 7 * 3).reshape(2, 7, 3)
    windows = sliding_windows(frames, width=3, stride=2)
    assert windows.shape == (2, 3, 9)
    np.testing.assert_array_equal(windows[1, 2], frames[1, 4:7].reshape(-1))


def test_sliding_windows_of_too_few_frames_are_one_window_of_all() -> None:
    assert sliding_windows(np.zeros((2, 5, 3)), width=8, stride=2).shape == (2, 1, 15)


def test_projected_windows_have_unit_variance_and_no_correlation(random: np.random.Generator) -> None:
    x = random.normal(size=(400, 2, 6)) @ random.normal(size=(6, 6)) + 5
    projected = project_windows(x, principal_window_axes(x.reshape(-1, 6), 4)).reshape(-1, 4)
    np.testing.assert_allclose(np.cov(projected.T, bias=True), np.eye(4), atol=1e-4)


def test_principal_window_axes_leave_out_directions_without_variance(random: np.random.Generator) -> None:
    x = random.normal(size=(50, 2)) @ random.normal(size=(2, 6))
    assert principal_window_axes(x, 4).axes.shape == (6, 2)
    assert principal_window_axes(np.ones((5, 3)), 4).axes.shape[0] == 3


@pytest.mark.parametrize("rank", [1, 3])
def test_clip_distances_are_those_of_brute_force(random: np.random.Generator, rank: int) -> None:
    windows, clips = random.normal(size=(9, 4)).astype(np.float32), random.normal(size=(5, 6, 4)).astype(np.float32)
    own = np.array([0, 1, 2, 3, 4, -1, 0, -1, 2])
    found = clip_distances(windows, clips, rank, own)
    for window, place, squared in zip(windows, own, found, strict=True):
        nearest = ((clips - window) ** 2).sum(axis=2).min(axis=1)
        if place >= 0:
            nearest[place] = np.inf
        assert squared == pytest.approx(np.sort(nearest)[rank - 1], rel=1e-4)


def test_clip_distances_do_not_depend_on_the_size_of_a_block(
    random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    windows, clips = random.normal(size=(40, 4)), random.normal(size=(5, 6, 4))
    whole = clip_distances(windows, clips, 2)
    monkeypatch.setattr("art_plugins.groups.sounds.window_crowding.BLOCK", 70)
    np.testing.assert_allclose(clip_distances(windows, clips, 2), whole)


def test_clip_distances_with_fewer_clips_than_the_rank_are_infinite() -> None:
    assert np.isinf(clip_distances(np.zeros((2, 3)), np.zeros((2, 1, 3)), 3)).all()
    assert np.isinf(clip_distances(np.zeros((2, 3)), np.zeros((2, 1, 3)), 2, own=np.array([0, 1]))).all()


def test_window_crowding_is_the_softened_log_ratio_of_matched_ranks(random: np.random.Generator) -> None:
    own, others = random.normal(size=(6, 3, 2)), random.normal(size=(12, 3, 2))
    crowding = window_crowding(own[:4], own, np.arange(4), others, n_neighbours=2)
    window = own[1, 2]
    here = np.sort([((clip - window) ** 2).sum(axis=1).min() for clip in np.delete(own, 1, axis=0)])[1]
    there = np.sort([((clip - window) ** 2).sum(axis=1).min() for clip in others])[2 * 12 // 6 - 1]
    assert crowding[1, 2] == pytest.approx(0.5 * np.log((there + 2 * SOFTENING) / (here + 2 * SOFTENING)), rel=1e-3)


def planted(random: np.random.Generator, n_with: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames of three classes of 60 clips; ``n_with`` clips of the first hold one pattern, each at another place."""
    frames = random.normal(size=(180, 40, 5))
    pattern = 3 * random.normal(size=(8, 5))
    for row in range(n_with):
        start = 2 * int(random.integers(0, 17))
        frames[row, start : start + 8] = pattern + 0.3 * random.normal(size=(8, 5))
    return frames, np.repeat(np.arange(3), 60)


def test_class_crowding_ranks_the_clips_that_share_a_pattern_at_any_place_first(random: np.random.Generator) -> None:
    frames, labels = planted(random, 12)
    clips = sample_clips(lambda rows: frames[rows], labels, 3, random)
    scores = next(crowding_by_class(clips, [0], 5, random)).max(axis=1)
    assert set(clips.rows[0][np.argsort(-scores)[:12]]) == set(range(12))
    clean = next(crowding_by_class(clips, [1], 5, random)).max(axis=1)
    assert np.sort(scores)[-12] > clean.max() + 0.5


def test_class_crowding_of_a_sound_that_all_classes_have_is_none(random: np.random.Generator) -> None:
    frames, labels = planted(random, 12)
    frames[60:72], frames[120:132] = frames[:12], frames[:12]
    clips = sample_clips(lambda rows: frames[rows], labels, 3, random)
    assert next(crowding_by_class(clips, [0], 5, random)).max() < 0.7


def test_sample_of_a_large_class_is_bounded_and_its_queries_are_compared_with_the_reference(
    random: np.random.Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in {"MOST_CLIPS": 40, "MOST_REFERENCE": 20, "FEWEST_REFERENCE": 10}.items():
        monkeypatch.setattr(f"art_plugins.groups.sounds.sampled_clips.{name}", value)
    frames, labels = planted(random, 30)
    clips = sample_clips(lambda rows: frames[rows], labels, 3, random)
    assert [len(rows) for rows in clips.rows] == [40, 40, 40]
    assert clips.n_reference == 20
    scores = next(crowding_by_class(clips, [0], 5, random)).max(axis=1)
    assert scores.shape == (40,)
    with_pattern = clips.rows[0] < 30
    assert scores[with_pattern].min() > scores[~with_pattern].max()


def test_windows_of_other_classes_are_drawn_as_from_all_of_them_in_a_row(random: np.random.Generator) -> None:
    frames, labels = planted(random, 0)
    clips = sample_clips(lambda rows: frames[rows], labels, 3, random)
    others = np.concatenate([clips.windows[0], clips.windows[2]])
    for most in (1, 50, 1_000):
        drawn = clips.windows_of_others(1, most, np.random.default_rng(most))
        np.testing.assert_array_equal(drawn, others[np.random.default_rng(most).permutation(len(others))[:most]])


def test_several_processes_give_the_crowding_of_one(random: np.random.Generator) -> None:
    frames, labels = planted(random, 12)
    clips = sample_clips(lambda rows: frames[rows], labels, 3, random)
    alone = list(crowding_by_class(clips, [0, 1, 2], 5, np.random.default_rng(1)))
    with joblib.parallel_config("loky", n_jobs=2, inner_max_num_threads=1):
        together = list(crowding_by_class(clips, [0, 1, 2], 5, np.random.default_rng(1)))
    for one, other in zip(alone, together, strict=True):
        np.testing.assert_array_equal(one, other)
