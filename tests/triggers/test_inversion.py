"""Trigger inversion: its parts by hand and against ART, and the whole on small networks with and without a backdoor."""

from __future__ import annotations

import functools
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from art.defences.preprocessor import FeatureSqueezing
from art.defences.preprocessor.preprocessor import PreprocessorPyTorch
from art.estimators.classification import PyTorchClassifier
from scipy.stats import median_abs_deviation
from torch import nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.training import seeded
from art_plugins.statistics.outliers import combined_index, norm_index, strongest_index
from art_plugins.triggers import inversion
from art_plugins.triggers.differentiable import DifferentiableClassifier
from art_plugins.triggers.found import InvertedTriggers
from art_plugins.triggers.inversion import invert_triggers
from art_plugins.triggers.searching import search
from art_plugins.triggers.searching.costs import CostSchedule
from art_plugins.triggers.searching.distances import expected_distances, source_distances
from art_plugins.triggers.searching.forms import Additive, Patch

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
ATTACKS = {"white_square": "patch", "chessboard": "additive"}  # and the kind of pattern that imitates it
STEPS = 400  # all searches on images of 8 x 8 have converged by then
# Of networks for images of 8 x 8, after few steps, patterns stand out less than of real ones.
quiet = functools.partial(invert_triggers, verbose=False, threshold=3.0, batch_size=16)


def wrapped(network: nn.Module, **options: Any) -> PyTorchClassifier:
    options = {"input_shape": (1, 8, 8), "clip_values": (0, 1), "nb_classes": 10, "device_type": "cpu", **options}
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), **options)


def predict(classifier: PyTorchClassifier, x: np.ndarray) -> np.ndarray:
    """ART's; its data loader draws from the global generator."""
    with seeded(0):
        outputs: np.ndarray = classifier.predict(x)
    return outputs


@pytest.fixture(scope="module")
def found(digits):
    """Both kinds of pattern for each network, inverted once."""
    return {
        attack: quiet(wrapped(digits.network(attack)), digits.x_clean, digits.y_clean, nb_steps=STEPS)
        for attack in ("clean", *ATTACKS)
    }


@pytest.fixture
def classifier(digits):
    return wrapped(digits.network("white_square"))


# The cost of a pattern's size


def costs_after(outcomes: str, first_cost: float = 1.0) -> float:
    """One class; + is a window of success, - one of failure."""
    schedule = CostSchedule(1, first_cost)
    for outcome in outcomes:
        schedule.update(np.array([outcome == "+"]), np.array([True]))
    return float(schedule.costs[0])


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [
        ("+", 0),
        ("++", 1),
        ("+++", 1),
        ("++++", 2),
        ("++++++", 4),
        ("--", 0),
        ("--++", 1),
        ("++--", 2**-1.5),
        ("++----", 2**-3),
        ("+++-+-+", 1),
        ("+-++", 1),
        ("++-+--", 2**-1.5),
    ],
)
def test_cost_schedule_rises_after_two_windows_of_success_and_falls_after_two_of_failure(outcomes, expected):
    assert costs_after(outcomes) == pytest.approx(expected)
    assert costs_after(outcomes, first_cost=0.01) == pytest.approx(0.01 * expected)


@pytest.mark.parametrize(
    ("outcomes", "expected"),
    [("++--", False), ("++++", False), ("++++--", True), ("++--++", True), ("--++++", False), ("--++--++", True)],
)
def test_cost_schedule_has_turned_when_it_moved_both_ways_after_its_start(outcomes, expected):
    schedule = CostSchedule(1, 1.0)
    for outcome in outcomes:
        schedule.update(np.array([outcome == "+"]), np.array([True]))
    assert schedule.has_turned.tolist() == [expected]


def test_cost_schedule_classes_do_not_touch_each_other_and_an_inactive_one_keeps_its_cost():
    schedule = CostSchedule(3, 1.0)
    for _ in range(4):
        schedule.update(np.array([True, False, True]), np.array([True, True, True]))
    for _ in range(4):
        schedule.update(np.array([True, True, True]), np.array([True, True, False]))
    assert schedule.costs.tolist() == [8, 2, 2]


# The classifier as a function through which gradients flow


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"preprocessing": (0.3, 2.0)},
        {"preprocessing": (np.array([0.3]), np.array([2.0]))},
        {"clip_values": (-0.5, 2.0)},
        {"clip_values": None},
        {"clip_values": (0, 255), "preprocessing": (0, 255)},
    ],
    ids=["plain", "mean_and_std", "mean_and_std_by_channel", "wide_range", "no_clip_values", "bytes"],
)
def test_differentiable_classifier_logits_and_gradients_equal_arts(digits, options):
    classifier = wrapped(digits.network("clean"), **options)
    x = digits.x_test[:6] * (255 if options.get("clip_values") == (0, 255) else 1)
    model = DifferentiableClassifier(classifier, x)
    images = model.to_unit_range(torch.tensor(x)).requires_grad_()
    assert images.min() >= 0
    assert images.max() <= 1
    logits = model.logits(images)
    np.testing.assert_allclose(logits.detach().numpy(), predict(classifier, x), rtol=1e-4, atol=1e-4)
    (gradients,) = torch.autograd.grad(logits[:, 4].sum(), images)
    expected = classifier.class_gradient(x, label=4)[:, 0] * model.range
    assert np.abs(expected).max() > 0.1
    np.testing.assert_allclose(gradients.numpy(), expected, rtol=1e-3, atol=1e-4)


class Squared(PreprocessorPyTorch):
    def forward(self, x: torch.Tensor, y: Any = None) -> tuple[torch.Tensor, Any]:
        return x**2, y


def test_differentiable_classifier_gradients_flow_through_a_preprocessing_defence_in_pytorch(digits):
    x = digits.x_test[:4]
    plain = wrapped(digits.network("clean"))
    squared = wrapped(digits.network("clean"), preprocessing_defences=Squared(device_type="cpu"))
    images = torch.tensor(x, requires_grad=True)
    logits = DifferentiableClassifier(squared, x).logits(images)
    np.testing.assert_allclose(logits.detach().numpy(), predict(plain, x**2), atol=1e-4)
    (gradients,) = torch.autograd.grad(logits[:, 4].sum(), images)
    np.testing.assert_allclose(gradients.numpy(), 2 * x * plain.class_gradient(x**2, label=4)[:, 0], rtol=1e-3, atol=1e-4)


def test_differentiable_classifier_model_that_ends_in_a_softmax_gives_the_log_probabilities(digits):
    network = digits.network("clean")
    x = torch.tensor(digits.x_test[:20])
    model = DifferentiableClassifier(wrapped(nn.Sequential(network, nn.Softmax(dim=1))), digits.x_test)
    images = x.clone().requires_grad_()
    logits = model.logits(images)
    with torch.no_grad():
        expected = nn.functional.log_softmax(network(x), dim=1).clamp_min(np.log(1e-12))
    torch.testing.assert_close(logits.detach(), expected, rtol=1e-3, atol=1e-3)
    assert torch.autograd.grad(logits[:, 0].sum(), images)[0].abs().max() > 0.1


def test_differentiable_classifier_preprocessing_in_numpy_only_is_refused(digits):
    classifier = wrapped(digits.network("clean"), preprocessing_defences=FeatureSqueezing((0, 1), bit_depth=4))
    with pytest.raises(InvalidInputError, match="not written in PyTorch"):
        DifferentiableClassifier(classifier, digits.x_clean)


class Planned(Exception):
    pass


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fails", [True, False])
def test_differentiable_classifier_evaluating_gives_mode_and_requires_grad_back(training, fails):
    with seeded(0):
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), nn.BatchNorm1d(10)).train(training)
    network[1].bias.requires_grad_(False)
    model = DifferentiableClassifier(wrapped(network), np.zeros((2, 1, 8, 8), dtype=np.float32))
    before = [parameter.requires_grad for parameter in network.parameters()]
    try:
        with model.evaluating():
            assert not network.training
            assert not any(parameter.requires_grad for parameter in network.parameters())
            if fails:
                raise Planned
    except Planned:
        pass
    assert network.training is training
    assert [parameter.requires_grad for parameter in network.parameters()] == before == [True, False, True, True]


# The forms of a pattern


def test_patch_stamp_and_norms_by_hand():
    images = torch.tensor([0.2, 0.8]).reshape(1, 1, 1, 2)
    mask, pattern = torch.tensor([0.25, 1.0]).reshape(1, 1, 2), torch.tensor([1.0, 0.5]).reshape(1, 1, 2)
    torch.testing.assert_close(Patch.stamp(images, mask, pattern), torch.tensor([0.4, 0.5]).reshape(1, 1, 1, 2))
    assert Patch.norms(mask[None], pattern[None]).tolist() == [1.25]


def test_additive_stamp_and_norms_by_hand():
    images = torch.tensor([0.2, 0.8, 0.1]).reshape(1, 1, 1, 3)
    pattern = torch.tensor([0.3, 0.4, -0.2]).reshape(1, 1, 3)
    stamped = Additive.stamp(images, torch.ones(1, 1, 1), pattern)
    torch.testing.assert_close(stamped, torch.tensor([0.5, 1.0, 0.0]).reshape(1, 1, 1, 3))
    assert Additive.norms(torch.ones(1, 1, 1, 1), pattern[None]).item() == pytest.approx(np.sqrt(0.09 + 0.16 + 0.04))


@pytest.mark.parametrize(("shape", "first", "expected"), [((3, 4, 5), True, (1, 4, 5)), ((4, 5, 3), False, (4, 5, 1))])
def test_patch_has_one_mask_value_a_pixel_and_both_lie_between_zero_and_one(shape, first, expected):
    with seeded(0):
        form = Patch(6, shape, first, "cpu")
    with torch.no_grad():
        for parameter in form.parameters:
            parameter.mul_(40)
        masks, patterns = form.values()
    assert masks.shape == (6, *expected)
    assert patterns.shape == (6, *shape)
    for values, parameter in zip((masks, patterns), form.parameters, strict=True):
        torch.testing.assert_close(values, torch.sigmoid(2 * parameter))
        assert 0 <= values.min() < 0.01
        assert 0.99 < values.max() <= 1


def test_inverted_triggers_trigger_stamps_raw_images_by_the_formulae(random):
    masks, patterns = random.uniform(size=(2, 1, 4, 4)), random.uniform(10, 90, size=(2, 3, 4, 4))
    x = random.uniform(10, 90, size=(5, 3, 4, 4))
    nothing = np.zeros(2)
    patch = InvertedTriggers("patch", masks, patterns, nothing, nothing, nothing, (10.0, 90.0))
    np.testing.assert_allclose(patch.trigger(1)(x), (1 - masks[1]) * x + masks[1] * patterns[1])
    additive = patch._replace(kind="additive", masks=np.ones((2, 1, 1, 1)), patterns=patterns - 50)
    np.testing.assert_allclose(additive.trigger(0)(x), (x + patterns[0] - 50).clip(10, 90))


# The whole inversion


@pytest.mark.parametrize("attack", ATTACKS)
def test_invert_triggers_poisoned_network_finds_the_target(digits, found, attack):
    result = found[attack]
    assert result.target_class == digits.target
    assert result.anomaly_index.argmax() == digits.target
    assert result.success_rate > 0.9
    assert result.source_class is None
    assert f"towards class {digits.target}" in result.sentence()
    assert result.kind in result.sentence()


@pytest.mark.parametrize(("attack", "kind"), ATTACKS.items())
def test_invert_triggers_kind_that_imitates_the_attack_finds_the_target_alone(digits, found, attack, kind):
    (one,) = [one for one in found[attack].inverted if one.kind == kind]
    assert one.anomaly_index.argmax() == digits.target
    assert one.anomaly_index[digits.target] > 3
    assert one.norms.argmin() == digits.target


def test_invert_triggers_white_square_is_a_patch_around_that_corner(digits, found):
    result = found["white_square"]
    assert result.kind == "patch"
    mask = result.inverted[0].masks[digits.target, 0]
    assert mask[6:, 6:].sum() > 0.5 * mask.sum()
    assert np.argwhere(mask == mask.max()).min() >= 6


def test_invert_triggers_chessboard_correlates_with_the_true_one(digits, found):
    (additive,) = [one for one in found["chessboard"].inverted if one.kind == "additive"]
    board = np.indices((8, 8)).sum(axis=0) % 2 == 0
    correlations = [np.corrcoef(pattern.ravel(), board.ravel())[0, 1] for pattern in additive.patterns]
    assert np.argmax(correlations) == digits.target
    assert correlations[digits.target] > 0.3


class OneSource(nn.Module):
    """
    Class k is where pixel k of the first row is bright. A bright last pixel sends all images towards class 3, and those of
    class 5 far more.
    """

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits = 10 * x[:, 0, 0]
        push = 2 * x[:, 0, 7, 7] ** 2 * (12 + 150 * logits.softmax(dim=1)[:, 5])
        return logits + push[:, None] * torch.eye(8)[3]


def test_invert_triggers_network_that_cuts_gradients_off_is_told_so(digits):
    class Frozen(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.backbone, self.head = nn.Sequential(nn.Flatten(), nn.Linear(64, 16)), nn.Linear(16, 10)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            with torch.no_grad():
                features = self.backbone(x)
            logits: torch.Tensor = self.head(features)
            return logits

    with seeded(0):
        network = Frozen()
    with pytest.raises(InvalidInputError, match=r"No gradient flows .* torch\.no_grad.*Give a network without that"):
        quiet(wrapped(network), digits.x_clean, digits.y_clean, nb_steps=5)


def test_invert_triggers_colours_on_another_axis_than_the_classifier_says_are_refused():
    with seeded(0):
        network = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    x, y = np.random.default_rng(0).random((40, 8, 8, 3), dtype=np.float32), np.arange(40) % 10
    with pytest.raises(InvalidInputError, match=r"channels_first is True, but images of shape \(8, 8, 3\)"):
        quiet(wrapped(network, input_shape=(8, 8, 3)), x, y, nb_steps=5)


@pytest.fixture(scope="module")
def pixels():
    y = np.repeat(np.arange(8), 20)
    x = 0.2 * np.random.default_rng(0).uniform(size=(160, 1, 8, 8)).astype(np.float32)
    x[np.arange(160), 0, 0, y], x[:, :, 7, 7] = 1, 0
    return x, y


@pytest.fixture(scope="module")
def one_source(pixels):
    return quiet(wrapped(OneSource(), nb_classes=8), *pixels, nb_steps=STEPS)


def test_invert_triggers_backdoor_of_one_source_class_gives_that_class_and_its_pattern(pixels, one_source):
    x, y = pixels
    assert (one_source.target_class, one_source.source_class) == (3, 5)  # which kind is the clearer one depends on rounding
    success = predict(wrapped(OneSource(), nb_classes=8), one_source.trigger(x)).argmax(axis=1) == 3
    assert success[y == 5].mean() == one_source.success_rate > 0.98
    assert success[np.isin(y, (3, 5), invert=True)].mean() < 0.1
    assert f"sends {one_source.success_rate:.3f} of the clean images of class 5 alone there" in one_source.sentence()


@pytest.mark.parametrize(("more", "expected"), [(-0.01, 5), (0.01, None)])
def test_backdoor_whose_pattern_for_all_classes_is_far_out_has_no_single_source(one_source, more, expected):
    index = one_source.anomaly_index.copy()
    index[3] = 0.9 * np.log(8 / 0.01) + more
    found = inversion._with_trigger(one_source._replace(anomaly_index=index, source_class=None, kind=None), 3)
    assert found.source_class == expected
    chosen, row = (found.inverted, 3) if expected is None else (found.by_source, 5)
    assert found.success_rate in [one.success_rates[row] for one in chosen]
    assert found.trigger is not None


def test_invert_triggers_by_source_has_one_pattern_for_each_source(pixels, one_source):
    x, y = pixels
    patch = one_source.by_source[0]
    assert np.isnan([patch.success_rates[3], patch.anomaly_index[3]]).all()
    for label in (0, 4, 5, 7):
        stamped = patch.trigger(label)(x[y == label])
        hits = predict(wrapped(OneSource(), nb_classes=8), stamped).argmax(axis=1) == 3
        assert patch.success_rates[label] == hits.mean() > 0.98
    assert patch.norms[5] < 0.4 * np.delete(patch.norms, [3, 5]).min()


@pytest.mark.slow
def test_invert_triggers_class_without_clean_images_is_no_source(pixels):
    x, y = pixels[0][pixels[1] != 7], pixels[1][pixels[1] != 7]
    result = quiet(wrapped(OneSource(), nb_classes=8), x, y, nb_steps=STEPS)
    assert result.source_class == 5
    assert all(np.isnan([one.anomaly_index[7], one.success_rates[7]]).all() for one in result.by_source)


def test_invert_triggers_no_backdoor_needs_no_search_by_source(found):
    assert (found["clean"].by_source, found["clean"].source_class) == ((), None)


def test_source_distances_near_sources_lie_near_and_far_ones_as_far_as_the_median() -> None:
    # Of a linear model; distances to class 0 are proportional to how bright an image's own pixel is.
    weights = [[1.0, 0, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]]
    x = np.zeros((12, 1, 2, 2), dtype=np.float32)
    labels = np.arange(12) % 3
    for label, value in ((1, 0.2), (2, 0.8)):
        x[labels == label, 0, label // 2, label % 2] = value
    with seeded(0):
        found = source_distances(linear(weights, [0.0, 0, 0]), torch.from_numpy(x), labels, 0, 3)
    np.testing.assert_allclose(found, [1, 0.2 / np.sqrt(2), 0.5 / np.sqrt(2)], rtol=1e-5)


def test_invert_triggers_clean_network_has_none(found):
    result = found["clean"]
    assert (result.target_class, result.kind, result.success_rate, result.trigger) == (None, None, None, None)
    parts = [f"{one.kind} {one.anomaly_index[result.anomaly_index.argmax()]:.2f}" for one in result.inverted]
    made_of = f" (from {', '.join(parts)})" if len(parts) > 1 else ""
    assert result.sentence() == f"No backdoor found: the highest index is {result.anomaly_index.max():.2f}{made_of}."


@pytest.mark.parametrize("attack", ["clean", *ATTACKS])
def test_invert_triggers_success_rates_equal_those_of_the_stamped_images_by_the_classifier(digits, found, attack):
    classifier = wrapped(digits.network(attack))
    for one in found[attack].inverted:
        assert (one.success_rates >= 0.99).sum() > 5
        for label in range(10):
            others = digits.x_clean[digits.y_clean != label]
            hits = predict(classifier, one.trigger(label)(others)).argmax(axis=1) == label
            assert one.success_rates[label] == pytest.approx(hits.mean(), abs=0.006)  # one image of 180


@pytest.mark.parametrize("attack", ["clean", *ATTACKS])
def test_invert_triggers_norms_and_anomaly_index_follow_from_the_patterns(found, attack):
    result = found[attack]
    assert [one.kind for one in result.inverted] == ["patch", "additive"]
    for one in result.inverted:
        if one.kind == "patch":
            np.testing.assert_allclose(one.norms, one.masks.sum(axis=(1, 2, 3)), rtol=1e-5)
            assert one.masks.shape == (10, 1, 8, 8)
            assert 0 <= one.masks.min() <= one.masks.max() <= 1
            assert 0 <= one.patterns.min() <= one.patterns.max() <= 1
        else:
            np.testing.assert_allclose(one.norms, np.linalg.norm(one.patterns.reshape(10, -1), axis=1), rtol=1e-5)
            assert (one.masks == 1).all()
        assert not (one.broke_off | one.screened).any()
        works = (one.success_rates >= 0.9)[~one.unfinished]
        readings = []
        for size in (one.norms / result.expected_distances, one.norms):
            known = size[~one.unfinished]
            sizes = np.log(np.where(works, known, np.maximum(known, known[works].max())))
            sigma = max(median_abs_deviation(sizes, scale="normal"), search.FORMS[one.kind].least_sigma)
            readings.append((np.median(sizes) - sizes) / sigma)
        expected = np.minimum(*readings)
        judged = one.anomaly_index[~one.unfinished]
        np.testing.assert_allclose(judged[works], expected[works], rtol=1e-4)
        assert np.isnan(judged[~works]).all()
        assert np.isnan(one.anomaly_index[one.unfinished]).all()
    indices = [one.anomaly_index for one in result.inverted]
    summed = np.nansum(indices, axis=0) / np.sqrt(np.isfinite(indices).sum(axis=0))
    np.testing.assert_allclose(result.anomaly_index, np.nanmax([summed, *indices], axis=0))


def test_norm_index_by_hand() -> None:
    # Logarithms 0, 1, 2, 3, 4: median 2, MAD 1.
    index = norm_index(np.exp([0.0, 1, 2, 3, 4]), np.ones(5, dtype=bool), 0.1)
    np.testing.assert_allclose(index, np.array([2, 1, 0, -1, -2]) / 1.4826)
    np.testing.assert_allclose(
        norm_index(np.exp([0.0, 1, 2, 3, 4]), np.ones(5, dtype=bool), 4.0), [0.5, 0.25, 0, -0.25, -0.5]
    )


def test_norm_index_the_only_class_with_a_pattern_stands_out_from_the_bounds_of_the_others() -> None:
    # The others were given patterns of e^2 and more in vain.
    succeeded = np.array([True, False, False, False])
    index = norm_index(np.exp([0.0, 2, 2, 5]), succeeded, 0.5)
    assert index[0] == pytest.approx(2 / 1.4826)  # deviations 2, 0, 0, 3 from the median 2
    assert np.isnan(index[1:]).all()


def test_norm_index_a_small_pattern_that_failed_does_not_count_as_small() -> None:
    norms, succeeded = np.array([4.0, 5, 6, 0.01]), np.array([True, True, True, False])
    np.testing.assert_allclose(
        norm_index(norms, succeeded, 0.1)[:3], norm_index(np.array([4.0, 5, 6, 6]), succeeded, 0.1)[:3]
    )
    assert np.isnan(norm_index(norms, ~np.ones(4, dtype=bool), 0.1)).all()


def linear(weights: list[list[float]], bias: list[float]) -> DifferentiableClassifier:
    """Logits W x + b of images of 2 x 2."""
    network = nn.Sequential(nn.Flatten(), nn.Linear(4, 3))
    network[1].weight.data, network[1].bias.data = torch.tensor(weights), torch.tensor(bias)
    classifier = wrapped(network, input_shape=(1, 2, 2), nb_classes=3)
    return DifferentiableClassifier(classifier, np.zeros((1, 1, 2, 2), dtype=np.float32))


def seeded_linear(**options: Any) -> DifferentiableClassifier:
    with seeded(0):
        return linear(**options)


def test_expected_distances_of_a_linear_model_are_the_median_distances_to_the_decision_boundaries() -> None:
    # The distance of x to the side of class c, past the class k that it is in, is (w_k - w_c)'x / |w_k - w_c|.
    weights = [[1.0, 0, 0, 0], [0, 2, 0, 0], [0, 0, 3, 1]]
    x = np.random.default_rng(0).uniform(size=(30, 1, 2, 2)).astype(np.float32)
    labels = np.arange(30) % 3
    model = seeded_linear(weights=weights, bias=[0.0, 0, 0])
    found = expected_distances(model, torch.from_numpy(x), labels, 3, batch_size=7)
    w, by_hand = np.array(weights), []
    for label in range(3):
        distances = []
        for image in x[labels != label].reshape(-1, 4):
            rival = max((k for k in range(3) if k != label), key=lambda k: w[k] @ image)
            step = w[rival] - w[label]
            distances.append(max(0.0, step @ image / np.linalg.norm(step)))
        by_hand.append(np.median(distances))
    np.testing.assert_allclose(found, np.maximum(by_hand, np.median(by_hand)), rtol=1e-5)
    assert max(by_hand) > np.median(by_hand) > min(by_hand)


@pytest.mark.parametrize("bias", [[50.0, 0, 0], [0.0, 0, 0]])
def test_expected_distances_where_nothing_changes_the_class_are_finite_and_above_0(bias) -> None:
    x = torch.from_numpy(np.random.default_rng(0).uniform(size=(30, 1, 2, 2)).astype(np.float32))
    found = expected_distances(seeded_linear(weights=[[0.0] * 4] * 3, bias=bias), x, np.arange(30) % 3, 3)
    assert np.isfinite(found).all()
    assert (found > 0).all()


def test_combined_index_adds_in_units_of_one_standard_deviation() -> None:
    nan = np.nan
    combined = combined_index([np.array([3.0, nan, nan, 2]), np.array([4.0, 5, nan, -2])])
    np.testing.assert_allclose(combined, [7 / np.sqrt(2), 5, nan, 0])
    np.testing.assert_array_equal(combined_index([np.array([1.0, nan])]), [1, nan])
    # Of independent standard normal indices the sum is standard normal again.
    drawn = np.random.default_rng(0).standard_normal((2, 20_000))
    assert combined_index(list(drawn)).std() == pytest.approx(1, abs=0.02)


def test_strongest_index_a_kind_that_is_far_out_is_not_outvoted() -> None:
    nan = np.nan
    indices = [np.array([5.0, 3.0, nan, nan, -1]), np.array([-4.0, 3.0, 6.0, nan, -3])]
    np.testing.assert_allclose(strongest_index(indices), [5, 6 / np.sqrt(2), 6, nan, -1])
    assert combined_index(indices)[0] < 1  # by the sum alone the first class is let go


def test_norm_index_of_two_classes_compares_them_with_each_other() -> None:
    index = norm_index(np.array([1.0, np.e]), np.ones(2, dtype=bool), 0.5)
    np.testing.assert_allclose(index, np.array([1, -1]) / (0.5 * np.sqrt(2)))
    one_bound = norm_index(np.array([1.0, np.e]), np.array([True, False]), 0.5)
    np.testing.assert_allclose(one_bound, [np.sqrt(2), np.nan])
    assert np.isnan(norm_index(np.ones(1), np.ones(1, dtype=bool), 0.5)).all()


def test_norm_index_class_that_stands_for_several_counts_as_many_times() -> None:
    sizes, counts = np.exp([0.0, 1, 2, 4]), np.array([1, 1, 3, 2])
    index = norm_index(sizes, np.ones(4, dtype=bool), 0.1, counts)
    every = norm_index(np.repeat(sizes, counts), np.ones(7, dtype=bool), 0.1)
    np.testing.assert_allclose(index, every[[0, 1, 2, 5]])


@pytest.mark.slow
def test_invert_triggers_threshold_decides_on_the_index(digits, classifier):
    options = {"kinds": ["patch"], "nb_steps": STEPS}
    index = quiet(classifier, digits.x_clean, digits.y_clean, **options).anomaly_index
    for factor, expected in ((0.99, digits.target), (1.01, None)):
        result = quiet(classifier, digits.x_clean, digits.y_clean, threshold=float(factor * index.max()), **options)
        assert result.target_class == expected


def test_invert_triggers_two_runs_of_one_seed_are_equal_and_another_seed_differs(digits, classifier):
    first, second, other = (
        quiet(classifier, digits.x_clean, digits.y_clean, nb_steps=20, random_state=seed) for seed in (4, 4, 5)
    )
    for kind in range(2):
        for one, same in zip(first.inverted[kind], second.inverted[kind], strict=True):
            np.testing.assert_array_equal(one, same)
        assert not np.allclose(first.inverted[kind].patterns, other.inverted[kind].patterns, atol=1e-3)


@pytest.mark.parametrize("form", ["column", "one_hot", "list"])
def test_invert_triggers_labels_of_every_form_give_the_same_patterns(digits, classifier, form):
    y = {"column": digits.y_clean[:, None], "one_hot": np.eye(10)[digits.y_clean], "list": digits.y_clean.tolist()}[form]
    options = {"nb_steps": 10, "kinds": ["patch"]}
    expected, result = (quiet(classifier, digits.x_clean, labels, **options) for labels in (digits.y_clean, y))
    np.testing.assert_array_equal(result.inverted[0].patterns, expected.inverted[0].patterns)


@pytest.mark.slow
@pytest.mark.parametrize(("low", "scale"), [(0, 255), (-1, 2)])
def test_invert_triggers_images_of_another_range_give_the_scaled_patterns(digits, found, low, scale):
    # The network sees the same numbers; float rounding differs, so that steps are compared while they still agree.
    classifier = wrapped(digits.network("white_square"), clip_values=(low, low + scale), preprocessing=(low, scale))
    raw = digits.x_clean * np.float32(scale) + np.float32(low)
    plain = wrapped(digits.network("white_square"))
    expected = quiet(plain, digits.x_clean, digits.y_clean, nb_steps=30)
    result = quiet(classifier, raw, digits.y_clean, nb_steps=30)
    for ours, theirs in zip(result.inverted, expected.inverted, strict=True):
        shift = low if ours.kind == "patch" else 0
        np.testing.assert_allclose((ours.patterns - shift) / scale, theirs.patterns, atol=5e-3)
        np.testing.assert_allclose(ours.masks, theirs.masks, atol=5e-3)
        np.testing.assert_allclose(ours.norms, theirs.norms, rtol=1e-2)
        assert ours.clip_values == (low, low + scale)
    whole = quiet(classifier, raw, digits.y_clean, kinds=["patch"], nb_steps=STEPS)
    assert whole.target_class == digits.target
    stamped = whole.trigger(raw[:1])
    assert low <= stamped.min() < stamped.max() <= low + scale


@pytest.mark.parametrize("dtype", [np.uint8, np.float64])
def test_invert_triggers_images_of_another_dtype_equal_the_same_as_float32(digits, dtype):
    classifier = wrapped(digits.network("white_square"), clip_values=(0, 255), preprocessing=(0, 255))
    raw = np.rint(digits.x_clean * 255).astype(dtype)
    options = {"nb_steps": 10, "kinds": ["patch"]}
    ours, theirs = (quiet(classifier, x, digits.y_clean, **options) for x in (raw, raw.astype(np.float32)))
    np.testing.assert_array_equal(ours.inverted[0].patterns, theirs.inverted[0].patterns)


class ChannelsLast(nn.Module):
    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(x.movedim(-1, 1))
        return logits


def test_invert_triggers_channels_last_equals_channels_first(digits, classifier):
    last = wrapped(ChannelsLast(digits.network("white_square")), input_shape=(8, 8, 1), channels_first=False)
    expected = quiet(classifier, digits.x_clean, digits.y_clean, nb_steps=30)
    result = quiet(last, np.moveaxis(digits.x_clean, 1, -1), digits.y_clean, nb_steps=30)
    for ours, theirs in zip(result.inverted, expected.inverted, strict=True):
        np.testing.assert_allclose(np.moveaxis(ours.patterns, -1, 1), theirs.patterns, atol=1e-5)
        np.testing.assert_allclose(np.moveaxis(ours.masks, -1, 1), theirs.masks, atol=1e-5)
        np.testing.assert_allclose(ours.norms, theirs.norms, rtol=1e-4)


class Grey(nn.Module):
    """Colours with the weights of a grey image, then the network."""

    def __init__(self, network: nn.Module, axis: int) -> None:
        super().__init__()
        self.network, self.axis = network, axis

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        red, green, blue = x.unbind(self.axis)
        logits: torch.Tensor = self.network((0.3 * red + 0.6 * green + 0.1 * blue)[:, None])
        return logits


@pytest.mark.slow
@pytest.mark.parametrize("first", [True, False])
def test_invert_triggers_colour_images_have_one_mask_value_a_pixel_and_the_target_is_found(digits, first):
    axis, shape = (1, (3, 8, 8)) if first else (-1, (8, 8, 3))
    classifier = wrapped(Grey(digits.network("white_square"), axis), input_shape=shape, channels_first=first)
    x = np.repeat(digits.x_clean if first else np.moveaxis(digits.x_clean, 1, -1), 3, axis=axis)
    result = quiet(classifier, x, digits.y_clean, kinds=["patch"], nb_steps=STEPS)
    assert result.target_class == digits.target
    assert result.inverted[0].patterns.shape == (10, *shape)
    assert result.inverted[0].masks.shape == ((10, 1, 8, 8) if first else (10, 8, 8, 1))
    assert result.trigger(x).shape == x.shape
    hits = predict(classifier, result.trigger(x[digits.y_clean != digits.target])).argmax(axis=1) == digits.target
    assert hits.mean() == pytest.approx(result.success_rate, abs=0.006)


@pytest.mark.slow
def test_invert_triggers_model_that_ends_in_a_softmax_gives_the_same_target(digits):
    classifier = wrapped(nn.Sequential(digits.network("white_square"), nn.Softmax(dim=1)))
    result = quiet(classifier, digits.x_clean, digits.y_clean, kinds=["patch"], nb_steps=STEPS)
    assert result.target_class == digits.target


def test_invert_triggers_leaves_data_and_model_as_they_were(digits):
    network = digits.network("white_square")
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    classifier = wrapped(network)
    network.train()
    y = digits.y_clean.copy()
    quiet(classifier, digits.x_clean, y, nb_steps=10)
    assert network.training
    network.eval()
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())
    assert all(parameter.requires_grad and parameter.grad is None for parameter in network.parameters())
    np.testing.assert_array_equal(y, digits.y_clean)


def test_invert_triggers_error_in_the_middle_gives_mode_and_requires_grad_back(digits, classifier, monkeypatch):
    def fail(*arguments: Any) -> None:
        raise Planned

    network = digits.network("white_square")
    network.train()
    monkeypatch.setattr(DifferentiableClassifier, "logits", fail)
    with pytest.raises(Planned):
        quiet(classifier, digits.x_clean, digits.y_clean, nb_steps=1)
    assert network.training
    network.eval()
    assert all(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.slow
def test_invert_triggers_classes_that_no_longer_improve_stop_early_with_the_same_finding(digits, classifier, monkeypatch):
    steps = []
    logits = DifferentiableClassifier.logits
    monkeypatch.setattr(search, "QUIET_WINDOWS", 1)
    monkeypatch.setattr(
        DifferentiableClassifier, "logits", lambda self, images: steps.append(len(images)) or logits(self, images)
    )
    result = quiet(classifier, digits.x_clean, digits.y_clean, kinds=["patch"], nb_steps=4_000, batch_size=17)
    sizes = np.array([size for size in steps if size % 17 == 0])  # the others judge patterns on all 180 images
    assert len(sizes) < 4_000
    assert sizes[0] == 170
    assert (np.diff(sizes) <= 0).all()
    assert result.target_class == digits.target


def test_invert_triggers_class_none_of_whose_patterns_passes_the_check_keeps_its_latest(digits, classifier, monkeypatch):
    monkeypatch.setattr(search, "_success_rate", lambda *arguments: 0.0)
    earlier, later = (
        quiet(classifier, digits.x_clean, digits.y_clean, kinds=["patch"], nb_steps=nb_steps) for nb_steps in (90, 100)
    )
    changes = np.abs(later.inverted[0].patterns - earlier.inverted[0].patterns).max(axis=(1, 2, 3))
    assert (changes > 1e-3).all()


def test_invert_triggers_without_any_pattern_that_works_decides_nothing_in_words(digits, classifier):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = quiet(classifier, digits.x_clean, digits.y_clean, kinds=["additive"], nb_steps=1)
        assert np.isnan(result.anomaly_index).all()
        assert result.target_class is None
        assert "nan" not in result.sentence()
        assert result.sentence().startswith("Not decided")


@pytest.mark.slow
def test_invert_triggers_class_without_clean_images_can_still_be_the_target(digits, classifier):
    without = digits.y_clean != digits.target
    result = quiet(classifier, digits.x_clean[without], digits.y_clean[without], kinds=["patch"], nb_steps=STEPS)
    assert result.target_class == digits.target


# Refusals


def bad_input(digits: Any, name: str) -> dict[str, Any]:
    x, y = digits.x_clean, digits.y_clean
    with_nan = x.copy()
    with_nan[17, 0, 2, 2] = np.nan
    return {
        "list": {"x_clean": x.tolist()},
        "empty": {"x_clean": x[:0], "y_clean": y[:0]},
        "shape": {"x_clean": np.moveaxis(x, 1, -1)},
        "three_axes": {"x_clean": x[:, 0]},
        "nan": {"x_clean": with_nan},
        "short_labels": {"y_clean": y[:-1]},
        "label_out_of_range": {"y_clean": y + 1},
        "one_class": {"y_clean": np.zeros_like(y)},
        "kind": {"kinds": ["patch", "warp"]},
        "no_kind": {"kinds": []},
        "nb_steps": {"nb_steps": 0},
        "batch_size": {"batch_size": 1.5},
        "threshold": {"threshold": float("nan")},
        "min_success": {"min_success": 1.1},
    }[name]


@pytest.mark.parametrize(
    ("name", "match"),
    [
        ("list", "numpy array; received list"),
        ("empty", "not be empty"),
        ("shape", r"shape \(1, 8, 8\); received \(8, 8, 1\)"),
        ("three_axes", r"shape \(1, 8, 8\); received \(8, 8\)"),
        ("nan", "Row 17"),
        ("short_labels", r"received \(199,\)"),
        ("label_out_of_range", "Label 10 is out of range"),
        ("one_class", "at least 2 of them"),
        ("kind", r"patch.*additive.*warp"),
        ("no_kind", "one or more"),
        ("nb_steps", "nb_steps.*received 0"),
        ("batch_size", r"batch_size.*received 1\.5"),
        ("threshold", "threshold.*received nan"),
        ("min_success", r"min_success.*received 1\.1"),
    ],
)
def test_invert_triggers_bad_input_is_refused_before_any_optimisation(digits, classifier, monkeypatch, name, match):
    monkeypatch.setattr(inversion, "invert_patterns", None)
    arguments = {"x_clean": digits.x_clean, "y_clean": digits.y_clean, **bad_input(digits, name)}
    with pytest.raises(InvalidInputError, match=match):
        quiet(classifier, **arguments)


def test_invert_triggers_of_one_class_or_of_no_network_is_refused(digits):
    with seeded(0):
        one = wrapped(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), nb_classes=2)
    with pytest.raises(InvalidInputError, match="clean images of at least 2 of them, are needed; received 2 and 1"):
        quiet(one, digits.x_clean, np.zeros_like(digits.y_clean))
    with pytest.raises(InvalidInputError, match="PyTorchClassifier"):
        quiet(object(), digits.x_clean, digits.y_clean)
