"""One filter in some clips of a class is found by their cepstra; clean data have no class called."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from art_plugins.attacks.datasets.synthetic_speech import SAMPLE_RATE_HZ as RATE_HZ
from art_plugins.groups.sounds.shared_filter import cepstra, cepstral_crowding, clips_with_filter, find_shared_filters
from art_plugins.groups.sounds.sound_search import SharedSounds
from art_plugins.triggers.sound_styles import Echo, PitchShift, Reverb

Syllables = Callable[..., tuple[np.ndarray, np.ndarray]]
FILTERS = {"echo": Echo(sample_rate_hz=RATE_HZ), "reverb": Reverb(sample_rate_hz=RATE_HZ)}


def search(x: np.ndarray, labels: np.ndarray) -> SharedSounds:
    found = cepstra(x, RATE_HZ)
    return find_shared_filters(lambda rows: found[rows], labels, labels.max() + 1, 0.05)


@pytest.mark.parametrize("name", FILTERS)
@pytest.mark.parametrize("n_poison", [12, 30])
def test_filter_of_some_clips_of_one_class_is_found_and_nothing_else(
    name: str, n_poison: int, syllables: Syllables
) -> None:
    x, labels = syllables(0)
    is_poison = np.isin(np.arange(len(x)), np.arange(120, 120 + n_poison))
    x[is_poison] = FILTERS[name](x[is_poison])
    found = search(x, labels)
    assert found.called == [2]
    assert found.p_values[2] < 0.01
    assert found.members[is_poison].mean() >= 0.9
    assert found.members[~is_poison].mean() <= 0.01


@pytest.mark.parametrize("seed", range(5))
def test_clean_data_have_no_class_called(seed: int, syllables: Syllables) -> None:
    found = search(*syllables(seed))
    assert found.called == []
    assert not found.members.any()


def test_room_that_all_classes_share_is_nothing(syllables: Syllables) -> None:
    x, labels = syllables(1)
    x[::3] = FILTERS["reverb"](x[::3])
    assert search(x, labels).called == []


def test_pitch_is_no_filter_and_stays_invisible(syllables: Syllables) -> None:
    x, labels = syllables(2)
    x[120:140] = PitchShift(3, RATE_HZ)(x[120:140])
    assert search(x, labels).called == []


def test_copies_of_one_clip_share_no_filter(syllables: Syllables) -> None:
    x, labels = syllables(3)
    x[120:140] = x[120]
    assert search(x, labels).called == []


def test_one_class_alone_is_not_judged(syllables: Syllables) -> None:
    x, labels = syllables(4, nb_classes=1)
    found = search(x, labels)
    assert np.isnan(found.scores).all()
    assert found.called == []


def test_cepstrum_of_an_echo_has_its_peak_at_the_delay(random: np.random.Generator) -> None:
    noise = random.normal(size=(3, RATE_HZ)) * 0.1
    found = cepstra(Echo(0.1, -6.0, RATE_HZ)(noise), RATE_HZ)
    np.testing.assert_array_equal(found.argmax(axis=1), round(0.1 * RATE_HZ) - round(0.02 * RATE_HZ))
    np.testing.assert_allclose(np.linalg.norm(found, axis=1), 1, rtol=1e-5)


def test_cepstra_do_not_depend_on_the_level_and_are_zero_for_silence(random: np.random.Generator) -> None:
    noise = random.normal(size=(2, 4_000)) * 0.1
    np.testing.assert_allclose(cepstra(noise, RATE_HZ), cepstra(3 * noise, RATE_HZ), atol=1e-4)
    assert not cepstra(np.zeros((2, 4_000)), RATE_HZ).any()
    assert cepstra(noise[:, :600], RATE_HZ).shape == (2, 300 - 160)
    assert cepstra(noise[:0], RATE_HZ).shape[0] == 0


def test_cepstral_crowding_is_that_of_brute_force(random: np.random.Generator) -> None:
    def unit(n: int) -> np.ndarray:
        x = random.normal(size=(n, 30))
        return x / np.linalg.norm(x, axis=1, keepdims=True)

    own, others = unit(20), unit(40)
    like_own, crowding = cepstral_crowding(own, others)
    fifth = np.sort(np.delete(own @ own[3], 3))[-5]
    tenth = np.sort(others @ own[3])[-10]
    assert like_own[3] == pytest.approx(fifth)
    assert crowding[3] == pytest.approx(np.arctanh(fifth) - np.arctanh(tenth))


def test_clips_that_the_mean_is_learned_from_do_not_match_it_by_themselves(random: np.random.Generator) -> None:
    x = random.normal(size=(300, 500))
    x /= np.linalg.norm(x, axis=1, keepdims=True)
    matches = clips_with_filter(lambda rows: x[rows], np.arange(60), np.arange(60), np.arange(60, 300))
    assert (matches > 1).sum() <= 3
