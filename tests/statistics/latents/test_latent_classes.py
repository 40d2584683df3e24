from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import adjusted_rand_score

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.gaussian import SHRINKAGES
from art_plugins.statistics.latents import scorings
from art_plugins.statistics.latents.crowds import find_crowds, split_crowd
from art_plugins.statistics.latents.latent_classes import cluster_latent_classes
from art_plugins.statistics.latents.poison_likelihood import mean_poison_likelihood, poison_likelihood_score
from art_plugins.statistics.latents.reduction import reduce_latents
from art_plugins.statistics.latents.scoring_settings import SCORINGS, ScoringSettings
from art_plugins.statistics.latents.two_means import refine_trials, repeated_two_means
from art_plugins.statistics.outliers import mad_index
from art_plugins.statistics.outlying import LEAST

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
K, SIZE, D, TARGET = 6, 60, 8, 4


def cluster(latents, labels, nb_classes, windows=(), random_state=0, **settings):
    chosen = ScoringSettings(**settings)
    return cluster_latent_classes(latents, labels, nb_classes, windows=windows, settings=chosen, random_state=random_state)


def planted(random, share=0.3, gap=12.0):
    """K classes of Gaussian latents; a share of the target's is moved far away."""
    labels = np.repeat(np.arange(K), SIZE)
    latents = random.normal(size=(K * SIZE, D)) + 5 * random.normal(size=(K, D))[labels]
    is_poison = (labels == TARGET) & (np.arange(K * SIZE) % SIZE < share * SIZE)
    latents[is_poison] += gap / np.sqrt(D)
    order = random.permutation(len(labels))
    return latents[order], labels[order], is_poison[order]


@pytest.mark.parametrize(
    ("scoring", "whiten", "nb_dims"),
    [("contrastive", "after_pca", 24), ("contrastive", "after_pca", 1), ("paper", "none", 8), ("paper", "after_pca", 1)],
)
def test_cluster_latent_classes_planted_poison_is_found_sample_by_sample(random, scoring, whiten, nb_dims):
    latents, labels, is_poison = planted(random)
    found = cluster(latents, labels, K, scoring=scoring, whiten=whiten, nb_dims=nb_dims)
    assert found.poisoned_classes == [TARGET]
    assert np.nanargmax(found.class_scores) == TARGET
    np.testing.assert_array_equal(found.suspects[labels == TARGET], is_poison[labels == TARGET])
    np.testing.assert_array_equal(found.suspects, found.soft_labels > 0.5)
    assert not found.not_judged


def test_cluster_latent_classes_whitened_poison_is_still_found_as_a_class(random):
    # Whitening brings the direction of the poison down to the size of the others: the split gets worse, not the verdict.
    latents, labels, _ = planted(random)
    assert cluster(latents, labels, K, scoring="paper").poisoned_classes == [TARGET]


@pytest.mark.parametrize("scoring", SCORINGS)
def test_cluster_latent_classes_no_poison_calls_no_class_poisoned(random, scoring):
    latents, labels, _ = planted(random, share=0.0)
    assert cluster(latents, labels, K, scoring=scoring).poisoned_classes == []


def test_cluster_latent_classes_poison_in_the_shade_of_a_shared_nuisance_is_found_only_against_the_others(random):
    latents, labels, is_poison = planted(random, gap=8.0)
    # Two halves in every class, far wider apart than the poison is from the rest, and square to it.
    aside = random.normal(size=D)
    aside -= aside.mean()
    latents += 40 * random.choice([-1, 1], size=(len(labels), 1)) * aside / np.linalg.norm(aside)
    found = cluster(latents, labels, K)
    assert found.poisoned_classes == [TARGET]
    assert adjusted_rand_score(is_poison[labels == TARGET], found.suspects[labels == TARGET]) > 0.9
    plain = cluster(latents, labels, K, scoring="paper", whiten="none", refine=False)
    assert adjusted_rand_score(is_poison[labels == TARGET], plain.suspects[labels == TARGET]) < 0.1


@pytest.mark.parametrize("outlier", [1e3, 1e6])
def test_cluster_latent_classes_lone_outlier_does_not_poison_its_class(random, outlier):
    latents, labels, _ = planted(random, share=0.0)
    latents[np.flatnonzero(labels == 2)[7]] += outlier
    assert cluster(latents, labels, K).poisoned_classes == []


def test_cluster_latent_classes_one_trial_is_the_paper_step_by_step(random):
    latents, labels, _ = planted(random)
    found = cluster(latents, labels, K, scoring="paper", nb_dims=5, nb_trials=1)
    suspects = [found.suspects[labels == label].astype(int) for label in range(K)]
    expected = [poison_likelihood_score(reduce_latents(latents[labels == label], 5), suspects[label]) for label in range(K)]
    np.testing.assert_allclose(found.class_scores, expected, rtol=1e-9)
    np.testing.assert_allclose(found.class_index, mad_index(np.array(expected)))
    assert all(0 < part.sum() <= SIZE / 2 for part in suspects)


def test_cluster_latent_classes_permuted_samples_permute_the_verdicts(random):
    latents, labels, _ = planted(random)
    order = random.permutation(len(labels))
    straight = cluster(latents, labels, K, whiten="none")
    permuted = cluster(latents[order], labels[order], K, whiten="none")
    assert permuted.poisoned_classes == straight.poisoned_classes
    target = labels[order] == TARGET  # the other classes have no clusters, so their split may depend on the starts
    np.testing.assert_array_equal(permuted.suspects[target], straight.suspects[order][target])
    assert permuted.class_scores[TARGET] == pytest.approx(straight.class_scores[TARGET], rel=1e-6)


def test_cluster_latent_classes_permuted_classes_permute_the_scores(random):
    latents, labels, _ = planted(random)
    renamed = random.permutation(K)
    straight = cluster(latents, labels, K)
    found = cluster(latents, renamed[labels], K)
    np.testing.assert_allclose(found.class_scores[renamed], straight.class_scores)
    np.testing.assert_array_equal(found.suspects, straight.suspects)
    assert found.poisoned_classes == [renamed[TARGET]]


def test_cluster_latent_classes_one_seed_gives_equal_results(random):
    latents, labels, _ = planted(random, share=0.0)
    first, second = (cluster(latents, labels, K, random_state=3) for _ in range(2))
    np.testing.assert_array_equal(first.class_scores, second.class_scores)
    np.testing.assert_array_equal(first.soft_labels, second.soft_labels)


def test_cluster_latent_classes_argmax_rule_takes_the_highest_score_only(random):
    latents, labels, _ = planted(random, share=0.0)
    found = cluster(latents, labels, K, class_rule="argmax")
    assert found.poisoned_classes == [int(np.argmax(found.class_scores))]


def test_cluster_latent_classes_threshold_is_compared_with_the_index(random):
    latents, labels, _ = planted(random, share=0.0)
    index = cluster(latents, labels, K).class_index
    middle = np.sort(index)[-2:].mean()
    found = cluster(latents, labels, K, class_rule="mad", threshold=max(middle, 1e-6))
    assert found.poisoned_classes == [int(np.argmax(index))]


def odd_classes(random):
    """Two ordinary classes; an empty one, one of three samples, a constant one, one of two equal halves, an ordinary."""
    parts = [
        random.normal(size=(60, D)),
        random.normal(size=(60, D)),
        np.empty((0, D)),
        random.normal(size=(3, D)),
        np.full((60, D), 0.3),
        np.repeat(random.normal(size=(2, D)), 30, axis=0),
        random.normal(size=(60, D)),
    ]
    return np.concatenate(parts), np.repeat(np.arange(7), [len(part) for part in parts])


@pytest.mark.parametrize(
    ("scoring", "whiten", "shrinkage"),
    [
        ("contrastive", "after_pca", "within"),
        *itertools.product(["paper"], ["after_pca", "before_pca", "none"], SHRINKAGES),
    ],
)
def test_cluster_latent_classes_odd_classes_follow_the_written_rules(random, scoring, whiten, shrinkage):
    latents, labels = odd_classes(random)
    found = cluster(latents, labels, 7, scoring=scoring, whiten=whiten, shrinkage=shrinkage)
    assert set(found.not_judged) == {2, 3, 4}
    assert found.not_judged[2].startswith("0 samples")
    assert found.not_judged[3].startswith("3 samples")
    assert found.not_judged[4] == "all latents are equal"
    assert np.isnan(found.class_scores[[2, 3, 4]]).all()
    assert np.isnan(found.class_index[[2, 3, 4]]).all()
    assert np.isfinite(found.class_scores[[0, 1, 5, 6]]).all()
    assert not found.suspects[np.isin(labels, [3, 4])].any()
    assert not found.soft_labels[np.isin(labels, [3, 4])].any()
    halves = found.suspects[labels == 5]
    assert halves.tolist() == [False] * 30 + [True] * 30  # equal halves: the one without the first sample


def test_cluster_latent_classes_lone_outlier_is_not_judged(random):
    latents, labels, _ = planted(random, share=0.0)
    latents[np.flatnonzero(labels == 2)[7]] += 1e6
    found = cluster(latents, labels, K, scoring="paper", whiten="none")
    assert np.isnan(found.class_scores[2])
    assert "fewer than 2" in found.not_judged[2]
    assert not found.suspects[labels == 2].any()


@pytest.mark.parametrize("class_rule", ["mad", "argmax"])
def test_cluster_latent_classes_nothing_to_judge_finds_nothing(class_rule):
    found = cluster(np.zeros((12, 3)), np.arange(12) % 4, 4, class_rule=class_rule)
    assert found.poisoned_classes == []
    assert set(found.not_judged) == {0, 1, 2, 3}
    assert not found.suspects.any()


@pytest.mark.parametrize(("nb_dims", "expected"), [(24, 5), (3, 3)])
def test_cluster_latent_classes_components_follow_the_median_class(random, nb_dims, expected):
    median = 5 * scorings.SAMPLES_PER_DIM + 2
    labels = np.repeat(np.arange(4), [20, median, median, 900])
    assert cluster(random.normal(size=(len(labels), 12)), labels, 4, nb_dims=nb_dims).nb_dims == expected
    large = np.repeat(np.arange(2), 12 * scorings.SAMPLES_PER_DIM + 50)
    assert cluster(random.normal(size=(len(large), 12)), large, 2, n_init=2).nb_dims == 12


@pytest.mark.parametrize("refine", [True, False])
def test_cluster_latent_classes_split_is_that_of_the_leading_components_refined_if_asked(random, refine):
    latents, labels, _ = planted(random, share=0.0)
    found = cluster(latents, labels, K, scoring="paper", refine=refine, random_state=3)
    nb_clustered = SIZE // scorings.SAMPLES_PER_CLUSTERED_DIM
    assert nb_clustered < found.nb_dims
    both_agree = []
    for label in range(K):
        reduced = reduce_latents(latents[labels == label], found.nb_dims)
        plain = repeated_two_means(reduce_latents(latents[labels == label], nb_clustered), random_state=3)
        refined = refine_trials(reduced, plain)
        expected, other = (refined, plain) if refine else (plain, refined)
        suspects = found.suspects[labels == label]
        assert adjusted_rand_score(suspects, expected.labels) == 1
        both_agree.append(adjusted_rand_score(suspects, other.labels) == 1)
        assert found.class_scores[label] == pytest.approx(mean_poison_likelihood(reduced, expected.trial_labels))
    assert not all(both_agree)


@given(
    labels=st.lists(st.integers(0, 4), min_size=1, max_size=60),
    columns=st.integers(1, 6),
    kind=st.sampled_from(["normal", "few_values", "zeros", "huge", "tiny"]),
    seed=st.integers(0, 1_000),
)
@settings(max_examples=40, deadline=None)
def test_cluster_latent_classes_any_labels_and_latents_are_judged_without_a_crash(labels, columns, kind, seed):
    random = np.random.default_rng(seed)
    shape = (len(labels), columns)
    latents = {
        "normal": random.normal(size=shape),
        "few_values": random.integers(0, 2, size=shape),
        "zeros": np.zeros(shape),
        "huge": 1e15 * random.normal(size=shape),
        "tiny": 1e-20 * random.normal(size=shape),
    }[kind].astype(np.float32)
    labels = np.array(labels)
    found = cluster(latents, labels, 5, nb_trials=3, n_init=2)
    assert found.class_scores.shape == found.class_index.shape == (5,)
    assert found.soft_labels.shape == found.suspects.shape == labels.shape
    judged = np.array([label not in found.not_judged for label in range(5)])
    scored = np.isfinite(found.class_scores)
    np.testing.assert_array_equal(judged, scored & (scored.sum() >= LEAST))
    np.testing.assert_array_equal(np.isfinite(found.class_index), judged)
    assert ((found.soft_labels >= 0) & (found.soft_labels <= 1)).all()
    assert not found.suspects[~scored[labels]].any()
    for label in np.flatnonzero(scored):
        assert found.suspects[labels == label].sum() * 2 <= (labels == label).sum()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("scoring", "best"),
        ("nb_dims", 0),
        ("nb_dims", 2.5),
        ("nb_trials", 0),
        ("n_init", -1),
        ("n_init", "ten"),
        ("whiten", "yes"),
        ("shrinkage", None),
        ("class_rule", "median"),
        ("refine", "yes"),
        ("threshold", 0.0),
        ("threshold", float("nan")),
        ("threshold", float("inf")),
        ("threshold", "high"),
    ],
)
def test_cluster_latent_classes_bad_argument_is_refused_by_name(random, name, value):
    with pytest.raises(InvalidInputError, match=rf"{name} must be .* received .*{value}"):
        cluster(random.normal(size=(20, 3)), np.arange(20) % 2, 2, **{name: value})


def test_towards_smaller_tied_sample_is_no_suspect_of_either_side():
    soft = np.array([0.0, 0.0, 0.0, 0.5, 1.0])
    labels = (soft > 0.5).astype(int)
    np.testing.assert_array_equal(scorings._towards_smaller(soft, labels), soft)
    np.testing.assert_array_equal(scorings._towards_smaller(1 - soft, 1 - labels), soft)


def test_cluster_latent_classes_large_crowd_is_split_by_the_windows_alone(random):
    labels = np.repeat(np.arange(K), SIZE)
    place = np.arange(K * SIZE) % SIZE
    windows = [random.normal(size=(K * SIZE, D)) for _ in range(3)]
    latents = random.normal(size=(K * SIZE, D))
    windows[0][(labels == TARGET) & (place < 20)] += 6  # a third of the class
    latents[(labels == TARGET) & (place < 23)] += 6  # the whole samples show a few more
    found = cluster(latents, labels, K, windows=windows)
    halves = split_crowd(find_crowds(windows, labels, K), labels, TARGET)
    np.testing.assert_array_equal(found.suspects[labels == TARGET], halves.labels == 1)
    np.testing.assert_array_equal(halves.labels == 1, place[labels == TARGET] < 20)
