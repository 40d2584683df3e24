"""A sound at a random place of some clips of one class is found; data without one have no class called."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from art_plugins.attacks.datasets.synthetic_speech import SAMPLE_RATE_HZ as RATE_HZ
from art_plugins.features.vae.spectrogram import LogMelSpectrogram
from art_plugins.groups.sounds.growing import grow, nearest_seed
from art_plugins.groups.sounds.recordings import are_copies
from art_plugins.groups.sounds.shared_sound import Sounds, above_limit, candidates_of, clips_with_sound
from art_plugins.groups.sounds.sound_search import SharedSounds, confirmed, crowd_height, find_shared_sounds
from art_plugins.triggers.sounds import WanderingTrigger, noise_burst, tone


def search(x: np.ndarray, labels: np.ndarray, rate: float = 0.05) -> SharedSounds:
    front_end = LogMelSpectrogram(RATE_HZ, 24, 0.025, 0.01, 1e-4)

    def frames_of(rows: np.ndarray) -> np.ndarray:
        import torch

        return front_end(torch.from_numpy(x[rows])).numpy()

    return find_shared_sounds(Sounds(x.__getitem__, RATE_HZ), frames_of, labels, labels.max() + 1, rate)


Syllables = Callable[..., tuple[np.ndarray, np.ndarray]]
SOUNDS = {"burst": (noise_burst(RATE_HZ), 0.3), "tone": (tone(RATE_HZ, 2_000.0), 0.3)}
LEAST_FOUND = {"burst": 0.95, "tone": 0.4}  # a tone is masked by the like tones of these voices


@pytest.mark.parametrize("name", SOUNDS)
@pytest.mark.parametrize("n_poison", [20, 30])
def test_sound_at_random_places_of_one_class_is_found_and_nothing_else(
    name: str, n_poison: int, syllables: Syllables
) -> None:
    x, labels = syllables(0)
    x[120 : 120 + n_poison] = WanderingTrigger(*SOUNDS[name])(x[120 : 120 + n_poison])
    found = search(x, labels)
    assert found.called == [2]
    assert found.p_values[2] < 0.03
    assert np.nanargmax(found.scores) == 2
    is_poison = np.isin(np.arange(len(x)), np.arange(120, 120 + n_poison))
    assert found.members[is_poison].mean() >= LEAST_FOUND[name]
    assert found.members[~is_poison & (labels == 2)].mean() <= 0.05
    assert np.isnan(found.matches[labels != 2]).all()


@pytest.mark.parametrize("seed", range(3))
def test_data_without_a_shared_sound_have_no_class_called(seed: int, syllables: Syllables) -> None:
    found = search(*syllables(seed))
    assert found.called == found.to_hear == []
    assert not found.members.any()
    assert np.nanmin(found.p_values) > 0.05


def test_copies_of_one_recording_are_no_shared_sound(syllables: Syllables) -> None:
    x, labels = syllables(1)
    x[60:80] = x[60]
    found = search(x, labels)
    assert found.coherence[1] < 0.7
    assert found.called == []


def test_copies_are_told_from_clips_that_share_a_sound(syllables: Syllables) -> None:
    x, _ = syllables(2)
    with_sound = Sounds(WanderingTrigger(*SOUNDS["burst"])(x[:6]).__getitem__, RATE_HZ)(np.arange(6))
    np.testing.assert_array_equal(are_copies(with_sound), np.eye(6, dtype=bool))
    assert are_copies(np.repeat(with_sound[:1], 3, axis=0)).all()


def test_sound_in_one_of_two_classes_is_a_caution_and_no_verdict(syllables: Syllables) -> None:
    x, labels = syllables(3, nb_classes=2)
    x[:30] = WanderingTrigger(SOUNDS["burst"][0], 0.6)(x[:30])
    found = search(x, labels)
    assert found.called == []
    assert np.isnan(found.p_values).all()
    assert found.to_hear == [0]
    assert found.members[:30].mean() >= 0.9
    assert found.members[30:].mean() <= 0.05
    assert search(*syllables(3, nb_classes=2)).to_hear == []


def test_one_class_and_tiny_classes_have_no_score(syllables: Syllables) -> None:
    x, labels = syllables(4)
    assert np.isnan(search(x[:60], labels[:60]).scores).all()
    few = np.concatenate([np.arange(300), np.arange(300, 308)])
    assert np.isnan(search(x[few], labels[few]).scores[5])


def test_silent_clips_are_no_crowd(syllables: Syllables) -> None:
    x, labels = syllables(5)
    x[60:90] = 0
    assert search(x, labels).called == []


def test_search_is_the_same_twice(syllables: Syllables) -> None:
    x, labels = syllables(6)
    np.testing.assert_array_equal(search(x, labels).scores, search(x, labels).scores)


def test_clips_are_not_judged_by_a_template_that_was_learned_from_them() -> None:
    """In a class that shares nothing, the clips that the template is learned from match it no better than others do."""
    random = np.random.default_rng(0)
    x = random.normal(size=(200, 2_000)).astype(np.float32)
    sounds, rows = Sounds(x.__getitem__, RATE_HZ), np.arange(60)
    candidates = candidates_of(sounds, rows, random.random((60, 5)), np.linspace(300, 1_700, 5).astype(int))
    matches = clips_with_sound(sounds, candidates, rows, np.arange(60, 200))
    assert (matches > 1).sum() <= 3


def test_crowd_height_is_that_of_the_fifth_clip_in_robust_deviations() -> None:
    crowding = np.concatenate([np.linspace(-1, 1, 41), np.full(5, 6.0)])
    spread = 1.4826 * np.median(np.abs(crowding - np.median(crowding)))
    assert crowd_height(crowding) == pytest.approx((6 - np.median(crowding)) / spread)
    assert crowd_height(np.zeros(10)) == pytest.approx(0.1)


def test_nearest_seed_is_that_of_brute_force_and_of_another_clip(random: np.random.Generator) -> None:
    windows = random.normal(size=(7, 4, 3))
    seeds, of_clip = windows[[0, 2], [1, 3]], np.array([0, 2])
    found = nearest_seed(windows, seeds, of_clip)
    for row, (squared, window) in enumerate(zip(*found, strict=True)):
        distances = ((windows[row][:, None] - seeds[None]) ** 2).sum(axis=2)
        distances[:, of_clip == row] = np.inf
        assert squared == pytest.approx(distances.min())
        assert window == distances.min(axis=1).argmin()


def test_grow_finds_all_clips_with_the_window_of_the_seeds(random: np.random.Generator) -> None:
    windows, others = random.normal(size=(80, 6, 8)), random.normal(size=(2_000, 6, 8))
    windows[np.arange(30), random.integers(0, 6, size=30)] = 4 + 0.3 * random.normal(size=(30, 8))
    crowding = np.full((80, 6), -np.inf)
    crowding[:12] = (windows[:12] > 3).all(axis=2)
    ratios = grow(windows, crowding, others, 0.002)
    assert (ratios[:30] > 1).all()
    assert (ratios[30:] > 1).sum() <= 2


def test_limit_is_raised_where_the_group_lies_far_above_it() -> None:
    ratios = np.array([0.5, 1.1, 4.0, 5.0, 6.0])
    np.testing.assert_allclose(above_limit(ratios), ratios / (0.35 * 4.5))
    np.testing.assert_array_equal(above_limit(np.array([0.4, 0.9])), [0.4, 0.9])
    np.testing.assert_array_equal(above_limit(np.array([0.4, 1.2])), [0.4, 1.2])


def test_of_fewer_than_five_recordings_none_stands_out():
    """A class of copies of few recordings keeps a value, so that the other classes can be judged."""
    for n in range(5):
        assert crowd_height(np.linspace(0, 9, n)) == crowd_height(np.zeros(6))


def test_class_of_one_recording_is_searched_without_an_error():
    random = np.random.default_rng(0)
    x = random.normal(size=(60, RATE_HZ)).astype(np.float32) * 0.1
    labels = np.arange(60) % 4
    one = x[0]
    x[labels == 0] = [0.5 * np.roll(one, 40 * place) + 0.01 * random.normal(size=RATE_HZ) for place in range(15)]
    found = search(x, labels)
    assert np.isfinite(found.scores).all()
    assert 0 not in found.called


def test_a_class_in_which_fewer_than_ten_clips_hold_the_sound_is_not_called():
    labels = np.repeat(np.arange(3), 20)
    matches = np.concatenate([[2.0] * 9 + [0.5] * 11, [2.0] * 10 + [0.5] * 10, [np.nan] * 20])
    p_values = np.array([0.001, 0.002, 0.3])
    found = SharedSounds(np.arange(3.0), p_values, np.ones(3), [0, 1], [2], matches)
    kept = confirmed(found, labels)
    assert kept.called == [1]
    assert kept.to_hear == [2]
    np.testing.assert_array_equal(kept.p_values, [1, 0.002, 0.3])
    assert np.isnan(kept.matches[:20]).all()
    np.testing.assert_array_equal(kept.members, (labels == 1) & (matches > 1))
    np.testing.assert_array_equal(found.p_values, p_values)
