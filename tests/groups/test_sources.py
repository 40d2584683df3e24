"""Groups as mixtures of other classes: the fit by hand, one crowd, and what neighbours cannot tell."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from sklearn.model_selection import StratifiedKFold

from art_plugins.groups import content, sources
from art_plugins.groups.among_classes import AmongClasses
from art_plugins.groups.content import N_NEIGHBOURS, Contents, content_of
from art_plugins.groups.evidence import Evidence
from art_plugins.groups.find import Group
from art_plugins.groups.sources import (
    LEAST_CONTRAST,
    LEAST_VARIANCE,
    MOST_FITTED,
    RATE,
    SourceFit,
    SourceMixtures,
    discriminant_is_better,
    fit_sources,
)

K, SIZE, D = 10, 100, 40


def classes(seed: int = 0, apart: float = 3.0, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray]:
    """
    Ten crowds whose centres differ in eight of forty directions; in the others, samples vary by ``noise``, so that with
    much of it the nearest samples are of any class.
    """
    random = np.random.default_rng(seed)
    labels = np.repeat(np.arange(K), SIZE)
    centres = np.zeros((K, D))
    centres[:, :8] = apart * random.normal(size=(K, 8))
    spread = np.where(np.arange(D) < 8, 1.0, noise)
    return centres[labels] + spread * random.normal(size=(K * SIZE, D)), labels


def poisoned(seed: int = 0, n_each: int = 8, noise: float = 1.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Some samples of every other class, all shifted alike, get the label 0; samples, labels, and who they are."""
    x, y = classes(seed, noise=noise)
    who = (y > 0) & (np.arange(len(y)) % SIZE < n_each)
    x[who] += 4 * np.random.default_rng([seed, 1]).normal(size=D)
    return x, np.where(who, 0, y), who


def group(members: np.ndarray, label: int) -> Group:
    nothing = Evidence(0.0, 1.0, int(members.sum()), 0.5)
    return Group(members, members.astype(float), 0.5, nothing, nothing, label, [label])


def halves(labels: np.ndarray, seed: int = 0) -> list[Group]:
    """A half of each class but the first, drawn at random."""
    drawn = np.random.default_rng([seed, 2]).random(len(labels)) < 0.5
    return [group((labels == label) & drawn, label) for label in range(1, K)]


def test_shares_and_gain_of_crowds_that_lie_far_apart_are_those_by_hand() -> None:
    random = np.random.default_rng(0)
    centres = 100 * np.eye(4)[:, :3]
    counts = np.array([10, 20, 30, 40])
    x = centres[np.repeat(np.arange(4), counts)] + random.normal(size=(100, 3)) + [5, -7, 9]
    shares, contrast, gain = fit_sources(x, centres)
    assert shares == pytest.approx(counts / 100, abs=1e-6)
    assert contrast == 1
    residuals = x - centres[np.repeat(np.arange(4), counts)]
    variance, alone = (residuals - residuals.mean(axis=0)).var(), ((x - x.mean(axis=0)) ** 2).mean()
    by_hand = (shares * np.log(shares)).sum() - 3 / 2 * np.log(variance / alone)
    assert gain == pytest.approx(100 * by_hand - 3 / 2 * np.log(100), rel=1e-3)


def test_a_shift_of_all_samples_changes_nothing() -> None:
    x, y = classes(1)
    centres = np.stack([x[y == label].mean(axis=0) for label in range(K)])
    chosen = x[np.arange(len(x)) % SIZE < 9]
    one, other = fit_sources(chosen, centres), fit_sources(chosen + 50, centres)
    assert one.shares == pytest.approx(other.shares)
    assert one.gain == pytest.approx(other.gain)


def test_a_crowd_at_any_place_is_no_mixture() -> None:
    x, y = classes(2)
    mixtures = SourceMixtures(x, y, K)
    random = np.random.default_rng(3)
    for label in range(K):
        rows = np.flatnonzero(y == label)
        assert mixtures.share(rows, label) == 0
        assert mixtures.share(random.choice(rows, 30, replace=False), label) == 0


@pytest.mark.parametrize("n_classes", [3, 6, 9])
def test_share_is_that_of_the_classes_drawn_from(n_classes: int) -> None:
    x, y = classes(4)
    who = (y > 0) & (y <= n_classes) & (np.arange(len(y)) % SIZE < 20)
    x[who] += 3.0
    labels = np.where(who, 0, y)
    n = who.sum()
    found = SourceMixtures(x, labels, K).share(np.flatnonzero(who), 0)
    assert found == pytest.approx(n_classes / 9 * n / (n + 1), abs=0.06)


def test_a_few_samples_do_not_prove_a_mixture() -> None:
    x, labels, who = poisoned(5)
    mixtures = SourceMixtures(x, labels, K)
    assert mixtures.share(np.flatnonzero(who)[:7], 0) == 0
    assert mixtures.share(np.flatnonzero(who)[::9][:8], 0) < mixtures.share(np.flatnonzero(who), 0)


def test_what_is_no_mixture_by_more_than_chance_has_no_share() -> None:
    """Fewer and fewer of the same samples: the share is 0 where the gain is no more than that of K classes by chance."""
    x, labels, who = poisoned(6)
    mixtures = SourceMixtures(x, labels, K)
    axes = mixtures._others.beside(0)
    assert axes is not None
    rows = np.random.default_rng(0).permutation(np.flatnonzero(who))
    sizes = range(8, len(rows) + 1, 4)
    gains = [fit_sources(mixtures._others.x[rows[:n]] @ axes.along, axes.centres).gain for n in sizes]
    shares = [mixtures.share(rows[:n], 0) for n in sizes]
    assert [share > 0 for share in shares] == [gain > np.log(K / RATE) for gain in gains]
    assert shares[-1] > 0


def test_samples_that_are_all_alike_or_lie_on_the_centres_give_finite_figures() -> None:
    x, labels, _ = poisoned(7)
    centres = np.stack([x[labels == label].mean(axis=0) for label in range(K)])
    for is_changed in (False, True):
        assert fit_sources(np.ones((20, D)), centres, is_changed=is_changed)[1:] == (1.0, 0.0)
    shares, _, gain = fit_sources(np.repeat(centres, 3, axis=0), centres)
    assert np.isfinite(gain)
    assert shares == pytest.approx(np.full(K, 1 / K), abs=1e-6)


def test_two_classes_beside_are_needed() -> None:
    x, labels = classes(8)
    few = labels < 2
    assert SourceMixtures(x[few], labels[few], 2).share(np.flatnonzero(labels[few] == 0), 0) == 0


def test_large_groups_are_drawn_from_by_a_seed() -> None:
    random = np.random.default_rng(9)
    labels = np.repeat(np.arange(4), 600)
    x = (4 * np.eye(4, 8)[labels] + random.normal(size=(2_400, 8))).astype(np.float32)
    who = (labels > 0) & (np.arange(len(x)) % 600 < 300)
    assert who.sum() > MOST_FITTED
    mixtures = SourceMixtures(x, np.where(who, 0, labels), 4)
    first, same, other = (mixtures.share(np.flatnonzero(who), 0, seed) for seed in (0, 0, 1))
    assert first == same
    assert first != other
    assert first == pytest.approx(other, abs=0.05)


def test_neighbours_are_of_any_class_where_most_directions_say_nothing() -> None:
    assert discriminant_is_better(*classes(noise=4.0), N_NEIGHBOURS)


def test_classes_of_several_kinds_are_told_by_their_neighbours() -> None:
    random = np.random.default_rng(10)
    corners = random.integers(2, size=(800, 2))
    x = 6.0 * corners + random.normal(size=(800, 2))
    assert not discriminant_is_better(x, corners.sum(axis=1) % 2, N_NEIGHBOURS)


def test_classes_too_small_to_be_told_are_left_out() -> None:
    x, labels = classes(11)
    labels = labels.copy()
    labels[:3] = K
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # of folds without samples of a class
        discriminant_is_better(x[:300], labels[:300], N_NEIGHBOURS)
    assert not discriminant_is_better(x[:100], np.zeros(100, dtype=np.int64), N_NEIGHBOURS)
    assert not discriminant_is_better(x[:20], np.arange(20), N_NEIGHBOURS)


def test_poison_of_all_classes_is_proven_where_neighbours_see_nothing() -> None:
    x, labels, who = poisoned(12, noise=4.0)
    clean = (labels == 0) & ~who
    groups = [group(who, 0), group(clean, 0), *halves(labels)]
    contents = Contents(groups, {"all": x}, labels, K)
    assert contents.p_value(0, groups[0]) < 1e-4
    assert min(contents.p_value(index, one) for index, one in enumerate(groups) if index) > 0.2
    assert contents._votes.p_value(groups[0], [contents.of(0).score]) > 0.01


def test_what_is_put_aside_is_in_neither_side() -> None:
    x, labels, who = poisoned(13, noise=4.0)
    groups = [group(who, 0), *halves(labels)]
    contents = Contents(groups, {"all": x}, labels, K)
    most = who & (np.cumsum(who) > 8)
    assert contents.p_value(0, groups[0], most) > 100 * contents.p_value(0, groups[0])
    assert contents.p_value(0, groups[0], who) > 0.9  # no one is left to ask


@pytest.mark.slow
def test_clean_classes_are_proven_no_more_often_than_the_rate_says() -> None:
    alarms = 0
    for seed in range(40):
        x, labels = classes(100 + seed, noise=4.0)
        drawn = np.random.default_rng(seed).random(len(x)) < 0.3
        groups = [group((labels == label) & drawn, label) for label in range(K)]
        contents = Contents(groups, {"all": x}, labels, K)
        assert contents._mixtures is not None
        alarms += min(contents.p_value(index, one) for index, one in enumerate(groups)) <= 0.05
    assert alarms <= 5


def test_a_class_that_is_a_collection_of_all_others_has_no_group_that_is_proven() -> None:
    x, y = classes(14, noise=4.0)
    taken = (y > 0) & (np.arange(len(y)) % SIZE < 22)
    labels = np.where(y == 0, 1, np.where(taken, 0, y))  # class 0 holds samples of all others, and nothing of its own
    drawn = np.random.default_rng(15).random(len(y))
    for size in (0.3, 0.5, 0.8):
        groups = [group((labels == 0) & (drawn < size), 0), *halves(labels)]
        contents = Contents(groups, {"all": x}, labels, K)
        assert contents._mixtures is not None
        assert contents.p_value(0, groups[0]) > 0.2


def test_a_group_without_a_rest_to_compare_with_proves_nothing() -> None:
    x, labels, who = poisoned(16)
    mixtures = SourceMixtures(x, labels, K)
    clean = np.flatnonzero((labels == 0) & ~who)
    members = np.flatnonzero(who)
    assert mixtures.excess(members, clean[:7], 0) == 0.0
    assert mixtures.excess(members, clean, 0) == mixtures.share(members, 0) > 0.5
    collected = np.flatnonzero(labels > 0)[::9]
    of_rest = mixtures.share(collected, 0)
    assert of_rest > 0.5
    assert mixtures.excess(members, collected, 0) == pytest.approx(mixtures.share(members, 0) * (1 - of_rest))
    contents = Contents([group(labels == 0, 0), *halves(labels)], {"all": x}, labels, K)
    assert contents.p_value(0, group(labels == 0, 0)) > 0.5


@pytest.mark.parametrize("is_member", [True, False])
def test_one_sample_far_away_does_not_hide_the_others(is_member: bool) -> None:
    x, labels, who = poisoned(17)
    before = SourceMixtures(x, labels, K).share(np.flatnonzero(who), 0)
    x[np.flatnonzero(who if is_member else labels == 4)[0]] += 1_000
    assert SourceMixtures(x, labels, K).share(np.flatnonzero(who), 0) == pytest.approx(before, abs=0.1)


def test_labels_with_gaps_prove_as_much() -> None:
    x, labels, who = poisoned(18)
    few = np.flatnonzero(who)[::6]
    assert SourceMixtures(x, 100 * labels, 100 * K)._least == SourceMixtures(x, labels, K)._least
    assert SourceMixtures(x, 100 * labels, 100 * K).share(few, 0) == SourceMixtures(x, labels, K).share(few, 0)


@pytest.mark.parametrize("excess", [-1e-6, 1e-6])
def test_share_is_by_entropy_where_the_gain_is_more_than_that_of_all_classes_by_chance(
    excess: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    shares = np.array([0.5, 0.25, 0.25, *np.zeros(K - 4)])
    fit = SourceFit(shares, 1.0, float(np.log(K / RATE)) + excess)
    monkeypatch.setattr(sources, "fit_sources", lambda x, centres, *, is_changed: fit)
    found = SourceMixtures(*classes(15), K).share(np.arange(20), 0)
    assert found == pytest.approx(2**1.5 / (K - 1) * 20 / 21 if excess > 0 else 0)


def test_seven_samples_prove_nothing_however_far_the_classes_lie_apart() -> None:
    x, labels = classes(16, apart=1_000.0)
    one_of_each = np.arange(K - 1) * SIZE + SIZE
    mixtures = SourceMixtures(x, labels, K)
    assert mixtures.share(one_of_each[:7], 0) == 0
    assert mixtures.share(one_of_each[:8], 0) == pytest.approx(8 / (K - 1) * 8 / 9, abs=0.01)


def test_samples_exactly_on_the_centres_have_the_least_variance() -> None:
    centres = 64.0 * np.eye(4)[:, :3]
    shares, _, gain = fit_sources(np.repeat(centres, 16, axis=0), centres)
    assert shares == pytest.approx(np.full(4, 1 / 4))
    by_hand = 64 * (np.log(1 / 4) - 3 / 2 * np.log(LEAST_VARIANCE) + 3 / 2) - 3 / 2 * np.log(64)
    assert gain == pytest.approx(by_hand)


def test_fit_goes_on_until_it_hardly_gains(monkeypatch: pytest.MonkeyPatch) -> None:
    random = np.random.default_rng(17)
    centres = 0.7 * random.normal(size=(K, K - 1))
    x = centres[random.integers(4, size=200)] + random.normal(size=(200, K - 1))
    gains = [fit_sources(x, centres, is_changed=is_changed).gain for is_changed in (False, True)]
    monkeypatch.setattr(sources, "MOST_ROUNDS", 5_000)
    monkeypatch.setattr(sources, "SETTLED", 1e-10)
    assert gains == pytest.approx(
        [fit_sources(x, centres, is_changed=is_changed).gain for is_changed in (False, True)], abs=0.5
    )


@pytest.mark.parametrize(("contrast", "expected"), [(1.0, 1.0), (0.75, 0.75), (0.55, 0.55), (0.45, LEAST_CONTRAST)])
def test_contrast_of_what_was_changed_is_found_but_for_less_than_a_half(contrast: float, expected: float) -> None:
    random = np.random.default_rng(30)
    centres = 6.0 * np.eye(5)[:, :4]
    x = contrast * centres[random.integers(5, size=400)] + random.normal(size=(400, 4)) + 9.0
    fit = fit_sources(x, centres, is_changed=True)
    assert fit.contrast == pytest.approx(expected, abs=0.02)
    unchanged = fit_sources(x, centres)
    assert unchanged.contrast == 1
    assert fit.gain >= unchanged.gain
    assert (fit.gain > unchanged.gain + 10) == (contrast < 1)


def test_a_contrast_costs_one_parameter() -> None:
    """Where the contrast is 1 it explains no more, so that the fit without it is the better one."""
    centres = 64.0 * np.eye(4)[:, :3]
    x = np.repeat(centres, 16, axis=0)
    z = x - x.mean(axis=0)
    alone = float((z**2).mean())
    whole, faint = (sources._fitted(z, centres, alone, 1.0, is_free=is_free) for is_free in (False, True))
    assert whole.gain - faint.gain == pytest.approx(np.log(64) / 2)
    assert fit_sources(x, centres, is_changed=True).gain == whole.gain


def test_only_the_group_may_have_lost_contrast() -> None:
    """Faint samples of all classes are a mixture if a trigger may have made them faint; so is a rest that is as faint."""
    random = np.random.default_rng(31)
    x, labels, who = poisoned(31, n_each=16)
    mixtures = SourceMixtures(x, labels, K)
    axes = mixtures._others.beside(0)
    assert axes is not None
    back = np.linalg.pinv(axes.along)
    n = int(who.sum())
    x = x.copy()
    x[who] = (0.6 * axes.centres[random.integers(K - 1, size=n)] + random.normal(size=(n, back.shape[0]))) @ back
    faint = SourceMixtures(x, labels, K)
    members, rest = np.flatnonzero(who), np.flatnonzero((labels == 0) & ~who)
    of_unchanged, of_changed = (faint.share(members, 0, is_changed=changed, least=0.0) for changed in (False, True))
    assert of_changed > of_unchanged + 0.02
    few = members[:: -(-n // len(rest))]
    assert faint.excess(few, rest, 0) == pytest.approx(faint.share(few, 0, is_changed=True))
    half, other = members[::2], members[1::2]
    contrast = faint._share_and_contrast(half, 0, is_changed=True)[1]
    assert LEAST_CONTRAST < contrast < 0.8
    of_rest = [faint._share_and_contrast(other, 0, least=0.0, contrast=one)[0] for one in (1.0, contrast)]
    expected = faint.share(half, 0, is_changed=True) * (1 - max(of_rest))
    assert faint.excess(half, other, 0) == pytest.approx(expected)
    assert expected < 0.2


@pytest.mark.parametrize("contrast", [0.5, 0.6, 0.8])
def test_a_class_that_lies_between_all_others_has_no_part_that_is_proven(contrast: float) -> None:
    for seed in range(3):
        random = np.random.default_rng([40, seed])
        x, labels = classes(40 + seed, apart=2.0)
        centres = np.stack([x[labels == label].mean(axis=0) for label in range(1, K)])
        own = labels == 0
        kinds = random.integers(K - 1, size=own.sum())
        x[own] = contrast * (centres - centres.mean(axis=0))[kinds] + centres.mean(axis=0) + random.normal(size=(SIZE, D))
        part = own & (random.random(len(x)) < 1 / 3)
        groups = [group(part, 0), *halves(labels, seed)]
        assert Contents(groups, {"all": x}, labels, K).p_value(0, groups[0]) > 0.01


def test_where_both_tell_all_samples_the_neighbours_are_asked() -> None:
    assert not discriminant_is_better(*classes(18, apart=30.0), N_NEIGHBOURS)


def test_discriminant_and_neighbours_are_compared_on_samples_of_all_classes_in_four_folds(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked: list[tuple[int, int, int]] = []

    def score(one: object, x: np.ndarray, labels: np.ndarray, cv: StratifiedKFold) -> np.ndarray:
        asked.append((len(x), len(np.unique(labels)), cv.get_n_splits()))
        return np.zeros(1)

    monkeypatch.setattr(sources, "cross_val_score", score)
    discriminant_is_better(*classes(19), N_NEIGHBOURS)
    monkeypatch.setattr(sources, "MOST_JUDGED", 500)
    discriminant_is_better(*classes(19), N_NEIGHBOURS)
    assert asked == 2 * [(K * SIZE, K, 4)] + 2 * [(500, K, 4)]


def test_discriminant_is_the_better_judge_also_of_fewer_samples_than_directions() -> None:
    x, labels = classes(20, noise=4.0)
    few = np.arange(len(x)) % SIZE < 8
    few &= labels < 5
    assert few.sum() == D
    assert discriminant_is_better(x[few], labels[few], N_NEIGHBOURS)


def test_so_many_neighbours_vote_as_are_asked_for() -> None:
    """A quarter of the labels are wrong: ten neighbours outvote them, and one does not."""
    random = np.random.default_rng(21)
    kinds = np.repeat([0, 1, 2], [400, 450, 150])
    x = 10.0 * kinds[:, None] + random.normal(size=(1_000, 2))
    labels = np.where(random.random(1_000) < 0.25, kinds % 2 == 0, kinds % 2).astype(np.int64)
    assert not discriminant_is_better(x, labels, N_NEIGHBOURS)
    assert discriminant_is_better(x, labels, 1)


@pytest.mark.parametrize("is_linear", [False, True])
def test_mixtures_are_always_asked_and_neighbours_where_they_are_good_judges(
    is_linear: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(content, "discriminant_is_better", lambda x, labels, n_neighbors: is_linear)
    x, labels, who = poisoned(22, noise=4.0)
    groups = [group(who, 0), *halves(labels)]
    contents = Contents(groups, {"all": x}, labels, K)
    by_neighbours = content_of(x, labels, who, 0, np.zeros(len(labels), dtype=bool))
    assert contents.of(0)._replace(drawn_from=0.0) == by_neighbours
    mixtures = SourceMixtures(x, labels, K)
    scores = []
    for one in groups:
        own = labels == one.label
        excess = mixtures.excess(np.flatnonzero(own & one.members), np.flatnonzero(own & ~one.members), one.label)
        scores.append([-np.log1p(-excess)])
    by_mixtures = AmongClasses(groups, scores, K).p_value(groups[0], scores[0])
    assert contents.p_value(0, groups[0]) == pytest.approx(by_mixtures if is_linear else 2 * by_mixtures)
    votes = contents._votes.p_value(groups[0], [by_neighbours.score])
    assert by_mixtures < votes / 10
    monkeypatch.setattr(contents, "_mixed", [[0.0]] * len(groups))
    assert contents.p_value(0, groups[0]) == pytest.approx(
        contents._among.p_value(groups[0], [0.0]) if is_linear else 2 * votes
    )


@pytest.mark.parametrize(("n", "expected"), [(7, 1.0), (8, 2 / 3)])
def test_of_the_other_classes_those_with_eight_samples_count(n: int, expected: float) -> None:
    """Two classes from which the samples are drawn are enough; a third one, with few samples, is beside them."""
    x, y = classes(24, apart=8.0)
    kept = (y < 3) | ((y == 3) & (np.arange(len(y)) % SIZE < n))
    who = ((y == 1) | (y == 2)) & (np.arange(len(y)) % SIZE < 20)
    labels = np.where(who, 0, y)[kept]
    rows = np.flatnonzero(who[kept])
    assert SourceMixtures(x[kept], labels, 4).share(rows, 0) == pytest.approx(expected * 40 / 41, abs=1e-3)


def test_share_that_a_group_is_drawn_from_is_that_of_whoever_is_surer(monkeypatch: pytest.MonkeyPatch) -> None:
    x, labels, who = poisoned(noise=4.0)
    groups = [group(who, 0), *halves(labels)]
    mixtures = SourceMixtures(x, labels, K)
    excess = mixtures.excess(np.flatnonzero(who), np.flatnonzero((labels == 0) & ~who), 0)
    assert excess > 0.5
    of_noise = Contents(groups, {"all": x}, labels, K)  # in which the neighbours are no judges
    assert of_noise.of(0).drawn_from == pytest.approx(excess)
    assert [of_noise.of(index).drawn_from for index in range(1, K)] == pytest.approx([0] * (K - 1), abs=0.5)
    assert of_noise.resemble_others() == [True] * K
    x, labels, who = poisoned(noise=0.1)
    monkeypatch.setattr(content, "discriminant_is_better", lambda *_: False)
    monkeypatch.setattr(SourceMixtures, "excess", lambda *_: 0.1)
    of_all = Contents(groups, {"all": x}, labels, K)
    by_votes = content_of(x, labels, who, 0, np.zeros(len(x), dtype=bool))
    assert of_all.of(0) == by_votes._replace(drawn_from=pytest.approx(-np.expm1(-by_votes.score)))
    assert of_all.resemble_others() == [True] + [False] * (K - 1)
