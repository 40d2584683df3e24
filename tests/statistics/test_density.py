"""Class densities: every family against SciPy's densities with scikit-learn's covariances; few samples, dead units."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import logsumexp
from scipy.stats import multivariate_normal, norm
from sklearn.covariance import OAS, LedoitWolf
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler

from art_plugins.errors import InvalidInputError
from art_plugins.statistics.density import FAMILIES, cross_fitted_log_likelihoods, fit_class_densities

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
K, D, PER_CLASS = 4, 5, 25
every_family = pytest.mark.parametrize("family", FAMILIES)


def samples(random, sizes=(PER_CLASS,) * K, d=D, separation=2.0):
    """Correlated samples, each class with a centre and a covariance of its own, shuffled; each feature in its own unit."""
    labels = random.permutation(np.repeat(np.arange(len(sizes)), sizes))
    centres = separation * random.normal(size=(len(sizes), d))
    shapes = np.eye(d) + 0.4 * random.normal(size=(len(sizes), d, d))
    noise = np.einsum("ni,nij->nj", random.normal(size=(len(labels), d)), shapes[labels])
    return (centres[labels] + noise) * random.uniform(0.1, 30, size=d) + 10 * random.normal(size=d), labels


def log_likelihoods(x, labels, new, **options):
    return fit_class_densities(x, labels, options.pop("nb_classes", K), **options).log_likelihoods(new)


def tied_covariance(z, labels):
    """Ledoit-Wolf of the deviations from the class means, lifted by a thousandth of its mean variance."""
    deviations = z - np.stack([z[labels == label].mean(axis=0) for label in labels])
    covariance = LedoitWolf(assume_centered=True).fit(deviations).covariance_
    return covariance + 1e-3 * np.trace(covariance) / len(covariance) * np.eye(len(covariance))


def expected_log_likelihoods(x, labels, new, covariance_of, nb_classes=K):
    """By SciPy; ``covariance_of(z of the class, z, labels)``."""
    scaler = StandardScaler().fit(x)
    z, z_new = scaler.transform(x), scaler.transform(new)
    classes = [z[labels == label] for label in range(nb_classes)]
    return np.stack(
        [multivariate_normal(one.mean(axis=0), covariance_of(one, z, labels)).logpdf(z_new) for one in classes], axis=1
    )


# Each family


def test_log_likelihoods_tied_equal_scipy_with_the_ledoit_wolf_of_the_deviations_from_the_class_means(random):
    x, labels = samples(random)
    new = samples(random)[0]
    expected = expected_log_likelihoods(x, labels, new, lambda one, z, y: tied_covariance(z, y))
    np.testing.assert_allclose(log_likelihoods(x, labels, new, family="tied"), expected, rtol=1e-7)


def test_log_likelihoods_oas_equal_scipy_with_the_oas_of_each_class(random):
    x, labels = samples(random)
    new = samples(random)[0]
    expected = expected_log_likelihoods(x, labels, new, lambda one, z, y: OAS().fit(one).covariance_)
    np.testing.assert_allclose(log_likelihoods(x, labels, new, family="oas"), expected, rtol=1e-4)


@pytest.mark.parametrize("tie", [0, 0.3, 0.75, 1.0])
def test_log_likelihoods_regularised_equal_scipy_with_the_blend_of_class_and_tied_covariance(random, tie):
    x, labels = samples(random)
    new = samples(random)[0]
    expected = expected_log_likelihoods(
        x, labels, new, lambda one, z, y: (1 - tie) * np.cov(one, rowvar=False, bias=True) + tie * tied_covariance(z, y)
    )
    np.testing.assert_allclose(log_likelihoods(x, labels, new, tie=tie), expected, rtol=1e-3 if tie == 0 else 1e-7)


def test_log_likelihoods_regularised_wholly_tied_equal_tied(random):
    x, labels = samples(random)
    np.testing.assert_allclose(
        log_likelihoods(x, labels, x, family="regularised", tie=1), log_likelihoods(x, labels, x, family="tied"), rtol=1e-10
    )


def test_log_likelihoods_mixture_of_one_component_equal_independent_normals_with_widened_variances(random):
    # Round classes far from each other: one component explains each, so the whole model is known in closed form.
    labels = np.repeat(np.arange(K), 40)
    x = 3.0 * random.normal(size=(K, D))[labels] + random.normal(size=(len(labels), D))
    densities = fit_class_densities(x, labels, K, family="mixture")
    assert densities.means.shape == (K, 1, D)
    z = StandardScaler().fit_transform(x)
    classes = [z[labels == label] for label in range(K)]
    expected = [norm(one.mean(axis=0), np.sqrt(one.var(axis=0) + 0.1)).logpdf(z).sum(axis=1) for one in classes]
    np.testing.assert_allclose(densities.log_likelihoods(x), np.stack(expected, axis=1), rtol=1e-7)


def test_log_likelihoods_mixture_equal_the_mixtures_of_lowest_bic_by_scikit_learn_and_scipy(random):
    # Class 0 has one cluster, class 1 two, class 2 three.
    labels = np.repeat([0, 1, 2], 60)
    cluster = np.tile(np.arange(60), 3) % (labels + 1)
    x = 4.0 * random.normal(size=(3, 3, D))[labels, cluster] + 0.3 * random.normal(size=(len(labels), D))
    new = random.normal(size=(30, D))
    scaler = StandardScaler().fit(x)
    z, z_new = scaler.transform(x), scaler.transform(new)
    densities = fit_class_densities(x, labels, 3, family="mixture", random_state=5)
    assert np.isfinite(densities.log_weights).sum(axis=1).tolist() == [1, 2, 3]
    for label in range(3):
        own = z[labels == label]
        oracle = GaussianMixture(label + 1, covariance_type="diag", reg_covar=0.1, n_init=5, random_state=0).fit(own)
        components = [
            multivariate_normal(mean, np.diag(variance)).logpdf(z_new)
            for mean, variance in zip(oracle.means_, oracle.covariances_, strict=True)
        ]
        expected = logsumexp(np.stack(components, axis=1), b=oracle.weights_, axis=1)
        np.testing.assert_allclose(densities.log_likelihoods(new)[:, label], expected, rtol=1e-3)


@every_family
def test_log_likelihoods_of_one_feature_integrate_to_one_in_its_standardised_unit(random, family):
    x, labels = samples(random, d=1)
    grid = np.linspace(x.mean() - 12 * x.std(), x.mean() + 12 * x.std(), 20_001)[:, None]
    density = np.exp(log_likelihoods(x, labels, grid, family=family))
    np.testing.assert_allclose(np.trapezoid(density, (grid[:, 0] - x.mean()) / x.std(), axis=0), np.ones(K), rtol=1e-6)


@every_family
def test_fit_class_densities_power_of_a_half_equals_a_fit_of_the_signed_square_roots(random, family):
    x, labels = samples(random)
    new = samples(random)[0]
    roots, new_roots = (np.copysign(np.sqrt(np.abs(values)), values) for values in (x, new))
    expected = log_likelihoods(roots, labels, new_roots, family=family)
    np.testing.assert_allclose(log_likelihoods(x, labels, new, family=family, power=0.5), expected, rtol=1e-8)
    assert not np.allclose(log_likelihoods(x, labels, new, family=family), expected, rtol=1e-2)


# Invariances


@every_family
def test_fit_class_densities_samples_in_another_order_give_the_same_log_likelihoods(random, family):
    x, labels = samples(random)
    if family == "mixture":  # round classes: of several components EM finds one of several optima
        x = 3.0 * random.normal(size=(K, D))[labels] + random.normal(size=x.shape)
    order = random.permutation(len(x))
    ours, theirs = (log_likelihoods(x[rows], labels[rows], x, family=family) for rows in (slice(None), order))
    np.testing.assert_allclose(ours, theirs, rtol=1e-7)


@every_family
def test_log_likelihoods_of_new_samples_in_another_order_are_in_that_order(random, family):
    x, labels = samples(random)
    order = random.permutation(len(x))
    densities = fit_class_densities(x, labels, K, family=family)
    np.testing.assert_allclose(densities.log_likelihoods(x[order]), densities.log_likelihoods(x)[order], rtol=1e-10)


@every_family
def test_fit_class_densities_classes_in_another_order_permute_the_columns(random, family):
    x, labels = samples(random)
    new_label = np.array([2, 0, 3, 1])
    permuted = log_likelihoods(x, new_label[labels], x, family=family)
    np.testing.assert_allclose(permuted[:, new_label], log_likelihoods(x, labels, x, family=family), rtol=1e-10)


@every_family
def test_log_likelihoods_features_in_other_units_change_nothing(random, family):
    x, labels = samples(random)
    units, origin = random.uniform(0.01, 100, size=D), 50 * random.normal(size=D)
    changed = log_likelihoods(x * units + origin, labels, x * units + origin, family=family)
    expected = log_likelihoods(x, labels, x, family=family)
    np.testing.assert_allclose(changed, expected, rtol=1e-6)
    np.testing.assert_array_equal(changed.argmax(axis=1), expected.argmax(axis=1))


@every_family
def test_log_likelihoods_separated_classes_prefer_their_own(random, family):
    x, labels = samples(random, separation=12.0)
    np.testing.assert_array_equal(log_likelihoods(x, labels, x, family=family).argmax(axis=1), labels)


def test_fit_class_densities_mixture_two_runs_of_one_seed_are_equal(random):
    x, labels = samples(random)
    first, second = (fit_class_densities(x, labels, K, family="mixture", random_state=3) for _ in range(2))
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


@every_family
def test_fit_class_densities_leaves_its_data_as_they_were(random, family):
    x, labels = samples(random)
    x.setflags(write=False)
    labels.setflags(write=False)
    np.testing.assert_allclose(
        log_likelihoods(x.astype(np.float32), labels, x.astype(np.float32), family=family),
        log_likelihoods(x, labels, x, family=family),
        rtol=1e-3,
    )


# Few samples, dead units, many dimensions


@every_family
@pytest.mark.parametrize("value", [0.0, 0.1, -3e4])
def test_fit_class_densities_constant_features_are_dropped(random, family, value):
    x, labels = samples(random)
    with_dead = np.insert(x, [0, 2, D], value, axis=1)
    expected = log_likelihoods(x, labels, x, family=family)
    densities = fit_class_densities(with_dead, labels, K, family=family)
    assert densities.used.tolist() == [False, True, True, False, True, True, True, False]
    new = with_dead.copy()
    new[:, 0] = random.normal(size=len(x))  # alive at test time, but nothing is known of it
    np.testing.assert_allclose(densities.log_likelihoods(new), expected, rtol=1e-6)


@every_family
def test_log_likelihoods_unit_dead_in_one_class_does_not_outweigh_all_others(random, family):
    # A unit that is silent in class 0 hums a little in a new sample that lies at the centre of class 0 otherwise.
    x, labels = samples(random)
    silent = np.where(labels == 0, 0.0, np.abs(random.normal(size=len(x))))
    x = np.column_stack([x, silent])
    new = np.append(x[labels == 0].mean(axis=0)[:-1], 0.2)[None]
    log_density = log_likelihoods(x, labels, new, family=family, tie=0.75)
    assert np.isfinite(log_density).all()
    assert log_density.argmax() == 0


@every_family
def test_log_likelihoods_class_of_one_sample_takes_the_tied_covariance_around_it(random, family):
    x, labels = samples(random, sizes=(25, 25, 25, 1))
    scaler = StandardScaler().fit(x)
    z = scaler.transform(x)
    covariance = tied_covariance(z, labels)
    if family == "mixture":
        covariance = np.diag(np.diag(covariance))
    expected = multivariate_normal(z[labels == 3][0], covariance).logpdf(z)
    np.testing.assert_allclose(log_likelihoods(x, labels, x, family=family)[:, 3], expected, rtol=1e-7)


@every_family
def test_log_likelihoods_class_without_samples_is_minus_infinity_and_changes_no_other(random, family):
    x, labels = samples(random)
    expected = log_likelihoods(x, labels, x, family=family)
    shifted = labels + (labels >= 2)  # class 2 of five is empty
    found = log_likelihoods(x, shifted, x, family=family, nb_classes=K + 1)
    assert np.isneginf(found[:, 2]).all()
    np.testing.assert_allclose(np.delete(found, 2, axis=1), expected, rtol=1e-10)


@every_family
def test_log_likelihoods_one_sample_a_class_are_highest_at_the_own(random, family):
    x = random.normal(size=(K, 3))
    found = log_likelihoods(x, np.arange(K), x, family=family)
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found.argmax(axis=1), np.arange(K))


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@every_family
def test_log_likelihoods_class_of_equal_samples_are_finite(random, family):
    x, labels = samples(random)
    x[labels == 1] = x[labels == 1][0]
    found = log_likelihoods(x, labels, x, family=family, tie=0)
    assert np.isfinite(found).all()
    assert (found[labels == 1].argmax(axis=1) == 1).all()


@pytest.mark.parametrize(("family", "tie"), [*[(family, 0.75) for family in FAMILIES], ("regularised", 0)])
def test_log_likelihoods_of_a_hundred_samples_in_512_dimensions_are_finite(random, family, tie):
    x, labels = samples(random, sizes=(100, 100), d=512)
    x = np.maximum(x - x.mean(axis=0), 0)
    found = log_likelihoods(x, labels, x, family=family, tie=tie, nb_classes=2)
    assert np.isfinite(found).all()
    assert (found.argmax(axis=1) == labels).mean() > 0.95


@pytest.mark.filterwarnings("ignore:Number of distinct clusters")
@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10_000),
    sizes=st.lists(st.integers(0, 12), min_size=1, max_size=5).filter(lambda sizes: sum(sizes) > 1),
    d=st.integers(1, 6),
    family=st.sampled_from(FAMILIES),
    tie=st.floats(0, 1),
)
def test_log_likelihoods_any_class_sizes_are_finite_where_a_class_has_samples(seed, sizes, d, family, tie):
    x, labels = samples(np.random.default_rng(seed), sizes=sizes, d=d)
    found = log_likelihoods(x, labels, x, family=family, tie=tie, nb_classes=len(sizes))
    assert found.shape == (len(x), len(sizes))
    np.testing.assert_array_equal(np.isfinite(found), np.broadcast_to(np.array(sizes) > 0, found.shape))


# Refusals


def test_fit_class_densities_unknown_family_is_refused_naming_the_known(random):
    x, labels = samples(random)
    with pytest.raises(InvalidInputError, match=r"mixture.*oas.*tied.*regularised.*received 'spherical'"):
        fit_class_densities(x, labels, K, family="spherical")


@pytest.mark.parametrize("tie", [-0.1, 1.1, float("nan"), "half", None])
def test_fit_class_densities_tie_out_of_range_is_refused(random, tie):
    x, labels = samples(random)
    with pytest.raises(InvalidInputError, match=f"tie must be a number at least 0 and at most 1; received {tie!r}"):
        fit_class_densities(x, labels, K, tie=tie)


@pytest.mark.parametrize("power", [0, -0.5, 1.1, float("nan"), "half", None])
def test_fit_class_densities_power_out_of_range_is_refused(random, power):
    x, labels = samples(random)
    with pytest.raises(InvalidInputError, match=f"power must be a number above 0 and at most 1; received {power!r}"):
        fit_class_densities(x, labels, K, power=power)


@pytest.mark.parametrize("value", [0.0, 0.1, 7e5])
def test_fit_class_densities_features_that_are_all_constant_are_refused(value):
    with pytest.raises(InvalidInputError, match="constant"):
        fit_class_densities(np.full((30, 3), value), np.arange(30) % K, K)


def test_cross_fitted_log_likelihoods_leave_the_sample_out_of_its_own_density() -> None:
    random = np.random.default_rng(0)
    labels = np.arange(30) % 3
    features = random.normal(size=(30, 4)) + 3 * labels[:, None]
    found = cross_fitted_log_likelihoods(features, labels, 3, n_folds=5, family="tied")
    moved = features.copy()
    moved[7] += 100
    others = cross_fitted_log_likelihoods(moved, labels, 3, n_folds=5, family="tied")
    # Only the others of its fold, two a class, were scored without it both times.
    unmoved = np.isclose(found, others).all(axis=1)
    assert unmoved.sum() == 5
    assert not unmoved[7]


def test_cross_fitted_log_likelihoods_equal_those_of_fits_without_the_fold_by_hand() -> None:
    random = np.random.default_rng(1)
    labels = np.repeat([0, 1], 5)
    features = random.normal(size=(10, 2)) + 4 * labels[:, None]
    found = cross_fitted_log_likelihoods(features, labels, 2, n_folds=5, family="tied", random_state=3)
    order, folds = np.random.default_rng(3), np.empty(10, dtype=int)
    for indices in (np.arange(5), np.arange(5, 10)):
        folds[order.permutation(indices)] = np.arange(5)
    for row in range(10):
        kept = folds != folds[row]
        by_hand = fit_class_densities(features[kept], labels[kept], 2, family="tied").log_likelihoods(features[[row]])
        np.testing.assert_allclose(found[row], by_hand[0])


def test_cross_fitted_log_likelihoods_of_a_class_with_one_sample_are_minus_infinity_in_its_fold() -> None:
    features = np.random.default_rng(2).normal(size=(11, 3))
    labels = np.array([0] * 10 + [1])
    found = cross_fitted_log_likelihoods(features, labels, 2, family="tied")
    assert found[10, 1] == -np.inf
    assert np.isfinite(found[:, 0]).all()
