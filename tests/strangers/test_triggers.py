"""Unusual triggers, parameters and labels of users: each gives the named error, with a message that says what is wrong."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.baselines.detectors.patterns import B3D, STRIP, NeuralCleanseFilter
from art_plugins.baselines.patching import neural_cleanse_patching
from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.defences.layerwise import LayerwiseFeatureDefence
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
from art_plugins.errors import InvalidInputError
from art_plugins.statistics.density import cross_fitted_log_likelihoods
from art_plugins.statistics.labels import class_labels
from art_plugins.triggers.inversion import invert_triggers
from art_plugins.triggers.patterns import blended, chessboard, warp, watermark, white_box
from art_plugins.triggers.sounds import AudioTrigger, WanderingTrigger, armory_sound, noise_burst, tone
from art_plugins.triggers.trigger import apply_trigger

SHAPE = (1, 8, 8)


class Planted(Exception):
    pass


def raising(x: np.ndarray) -> np.ndarray:
    raise Planted("planted")


def with_nan(x: np.ndarray) -> np.ndarray:
    x[1, 0, 0, 0] = np.nan
    return x


BAD_TRIGGERS: dict[str, tuple[Any, str]] = {
    "none": (None, "trigger must be a callable"),
    "array": (np.zeros(SHAPE), "trigger must be a callable"),
    "text": ("white_box", "trigger must be a callable"),
    "raises": (raising, "trigger raised Planted"),
    "no_argument": (lambda: 0, "trigger raised TypeError"),
    "gives_none": (lambda x: None, "trigger turned images"),
    "gives_text": (lambda x: np.full(x.shape, "a"), "trigger must give real numbers"),
    "gives_objects": (lambda x: x.astype(object), "trigger must give real numbers"),
    "complex": (lambda x: x + 1j, "trigger must give real numbers"),
    "one_image": (lambda x: x[0], "trigger turned images"),
    "flat": (lambda x: x.reshape(len(x), -1), "trigger turned images"),
    "nan": (with_nan, "trigger gave NaN or infinity for 1 of .* first for number 1"),
    "infinity": (lambda x: x / 0.0, "trigger gave NaN or infinity"),
    "too_large": (lambda x: x.astype(np.float64) + 1e300, "cannot hold"),
    "gradient": (lambda x: torch.from_numpy(x).requires_grad_(), "trigger raised RuntimeError"),
    "ragged": (lambda x: [[1], [1, 2]], "trigger raised ValueError"),
}


def wrapped(digits: Any) -> PyTorchClassifier:
    network = digits.network("white_square")
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), SHAPE, 10, clip_values=(0, 1), device_type="cpu")


def patched(classifier: Any, trigger: Any, digits: Any) -> None:
    neural_cleanse_patching(classifier, trigger, digits.x_clean, digits.y_clean, 0.01)


USES: dict[str, Callable[[Any, Any, Any], None]] = {
    "in_flight": lambda classifier, trigger, digits: InFlightDetector(classifier, trigger, 3).fit(
        digits.x_clean, digits.y_clean
    ),
    "b3d": lambda classifier, trigger, digits: B3D(classifier, trigger, 3).fit(digits.x_clean, digits.y_clean),
    "cleanse": lambda classifier, trigger, digits: NeuralCleanseFilter(classifier, trigger, 3).fit(
        digits.x_clean, digits.y_clean
    ),
    "patching": patched,
}


@pytest.mark.parametrize("use", USES)
@pytest.mark.parametrize("name", BAD_TRIGGERS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_bad_trigger_is_named_with_its_cause_and_leaves_the_images(digits, use, name):
    trigger, match = BAD_TRIGGERS[name]
    if use == "b3d" and name == "nan":
        pytest.skip("tried on one image first, which has no number 1")
    before = np.array(digits.x_clean)
    with pytest.raises(InvalidInputError, match=match) as caught:
        USES[use](wrapped(digits), trigger, digits)
    if name == "raises":
        assert isinstance(caught.value.__cause__, Planted)
    np.testing.assert_array_equal(digits.x_clean, before)


@pytest.mark.parametrize(
    "trigger",
    [
        lambda x: torch.from_numpy(x) * 0.5,
        lambda x: (x * 0.5).astype(np.float64),
        lambda x: (x * 0.5).tolist(),
        lambda x: np.multiply(x, 0.5, out=x),
    ],
    ids=["tensor", "float64", "list", "in_place"],
)
def test_apply_trigger_takes_what_can_be_an_array_of_the_images_dtype(digits, trigger):
    before = np.array(digits.x_clean)
    found = apply_trigger(trigger, digits.x_clean)
    assert found.dtype == digits.x_clean.dtype
    np.testing.assert_array_equal(found, before * np.float32(0.5))
    np.testing.assert_array_equal(digits.x_clean, before)


def test_apply_trigger_whole_numbers_are_rounded_and_do_not_wrap_around():
    x = np.full((2, 1, 2, 2), 200, dtype=np.uint8)
    assert (apply_trigger(lambda x: x * 1.2 + 0.6, x) == 241).all()
    with pytest.raises(InvalidInputError, match=r"values from 300.*uint8 cannot hold"):
        apply_trigger(lambda x: x * 1.5, x)


# Parameters

ODD = [True, None, 10**30, 1.5, -1, "a", [], {}, float("nan"), 10**400, 10**6_000, (1, 2)]
COUNTS: dict[str, Callable[[Any], Any]] = {
    "n_layers": lambda value: InFlightDetector(None, raising, 0).set_params(n_layers=value),
    "random_state": lambda value: InFlightDetector(None, raising, 0).set_params(random_state=value),
    "n_blends": lambda value: STRIP(None).set_params(n_blends=value),
    "n_folds": lambda value: LayerwiseFeatureDetector(None).set_params(mode_params={"n_folds": value}),
    "max_dims": lambda value: LayerwiseFeatureDetector(None).set_params(mode_params={"max_dims": value}),
    "batch_size": lambda value: LayerwiseFeatureDefence(None, None, None).set_params(batch_size=value),
    "size": lambda value: white_box(SHAPE, value),
    "margin": lambda value: white_box(SHAPE, 1, value),
    "grid_size": lambda value: warp(SHAPE, grid_size=value),
}
NUMBERS: dict[str, Callable[[Any], Any]] = {
    "power": lambda value: InFlightDetector(None, raising, 0).set_params(density={"power": value}),
    "margin": lambda value: InFlightDetector(None, raising, 0).set_params(margin=value),
    "family": lambda value: InFlightDetector(None, raising, 0).set_params(density={"family": value}),
    "removal": lambda value: InFlightDetector(None, raising, 0).set_params(removal=value),
    "mode": lambda value: LayerwiseFeatureDetector(None).set_params(mode=value),
    "pooled": lambda value: LayerwiseFeatureDetector(None, mode="paper").set_params(mode_params={"pooled": value}),
    "weight": lambda value: STRIP(None).set_params(weight=value),
    "top": lambda value: NeuralCleanseFilter(None, raising).set_params(top=value),
    "amplitude": lambda value: chessboard(SHAPE, value),
    "opacity": lambda value: watermark(SHAPE, value),
    "alpha": lambda value: blended(SHAPE, value),
    "strength": lambda value: warp(SHAPE, value),
    "length_s": lambda value: tone(16_000, length_s=value),
    "scale": lambda value: AudioTrigger(np.zeros(3), value),
    "trigger": armory_sound,
}
GOOD = {"removal": [True], "pooled": [True], "strength": [1.5], "length_s": [1.5], "scale": [1.5, -1]}


@pytest.mark.parametrize("name", COUNTS)
@pytest.mark.parametrize("value", ODD, ids=lambda value: str(type(value).__name__))
def test_odd_count_is_refused_by_name(name, value):
    with pytest.raises(InvalidInputError, match=f"{name} must be"):
        COUNTS[name](value)


@pytest.mark.parametrize("name", NUMBERS)
@pytest.mark.parametrize("value", ODD, ids=lambda value: str(type(value).__name__))
def test_odd_number_name_or_flag_is_refused_by_name(name, value):
    if any(value is good or (type(value) is type(good) and value == good) for good in GOOD.get(name, [])):
        NUMBERS[name](value)
        return
    with pytest.raises(InvalidInputError, match=f"{name} must be"):
        NUMBERS[name](value)


@pytest.mark.parametrize("name", ["tau", "fpr"])
@pytest.mark.parametrize("value", [True, "a", [], float("nan"), 10**400])
def test_odd_threshold_is_refused_by_name(name, value):
    with pytest.raises(InvalidInputError, match=f"{name} must be"):
        LayerwiseFeatureDetector(None).set_params(**{name: value})


def test_numpy_numbers_and_flags_are_taken_everywhere():
    detector = InFlightDetector(
        None, raising, 0, n_layers=np.int32(1), removal=np.bool_(False), density={"power": np.float32(0.5)}
    )
    assert (detector.n_layers, detector.removal, detector.density) == (1, False, {"power": 0.5})
    detector._check(detector.tunables())
    assert type(STRIP(None, np.int64(3), np.float64(0.5)).n_blends) is int
    assert white_box(SHAPE, np.int64(2))(np.zeros((1, *SHAPE), dtype=np.float32)).sum() == 4
    LayerwiseFeatureDetector(None).set_params(mode="paper", mode_params={"pooled": np.bool_(True)}, tau=np.float32(1))


@pytest.mark.parametrize(
    "options",
    [
        {"kinds": None},
        {"kinds": "patch"},
        {"kinds": [["patch"]]},
        {"kinds": ["patch", "patch"]},
        {"nb_steps": True},
        {"nb_steps": 10**30},
        {"batch_size": 10**9},
        {"precision": ["32-true"]},
        {"threshold": True},
        {"threshold": 10**400},
        {"min_success": "a"},
        {"random_state": -1},
        {"random_state": 10**30},
    ],
    ids=str,
)
def test_inversion_odd_option_is_refused_by_name(digits, options):
    with pytest.raises(InvalidInputError, match=f"{next(iter(options))} must be"):
        invert_triggers(wrapped(digits), digits.x_clean, digits.y_clean, verbose=False, **options)


@pytest.mark.parametrize(
    "make",
    [
        lambda: AudioTrigger([0.1]),  # type: ignore[arg-type]
        lambda: AudioTrigger(np.zeros(3), shift=-1),
        lambda: AudioTrigger(np.zeros(3))([0.0] * 5),  # type: ignore[arg-type]
        lambda: WanderingTrigger(np.zeros(9))(np.zeros((2, 5))),
        lambda: tone(0),
        lambda: tone(10**9, length_s=10**9),
        lambda: noise_burst(16_000, start_s=-1),
        lambda: noise_burst(seed=-1),
    ],
)
def test_sounds_of_odd_arguments_are_refused(make):
    with pytest.raises(InvalidInputError):
        make()


# Labels and few features


@pytest.mark.parametrize("label", [999_999, 1_000, 2**40])
def test_label_that_asks_for_a_report_of_a_million_classes_is_refused(label):
    with pytest.raises(InvalidInputError, match=f"whole numbers from 0 to at most 999; received {label}.*nb_classes"):
        class_labels([0, 1, label], 3)


def test_labels_of_many_classes_are_taken_where_there_are_as_many_samples_or_it_is_said():
    assert class_labels(np.arange(5_000), 5_000)[1] == 5_000
    assert class_labels([0, 20_000], 2, nb_classes=21_841)[1] == 21_841


class Narrow(nn.Module):
    """So few features, of which the first so many vary."""

    def __init__(self, n_features: int, n_varying: int) -> None:
        super().__init__()
        self.head = nn.Linear(n_features, 3)
        with torch.no_grad():
            self.head.weight.zero_()
            self.head.weight[:, 0] = torch.tensor([-1.0, 0, 1])
            self.head.bias.copy_(torch.tensor([0.0, 0.3, 0]))
        self.shape = (n_features, n_varying)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        n_features, n_varying = self.shape
        features = x.flatten(1)[:, :n_features].clone()
        features[:, n_varying:] = 1.0
        return self.head(features)  # type: ignore[no-any-return]


@pytest.mark.parametrize("family", ["regularised", "mixture", "oas", "tied"])
@pytest.mark.parametrize(("n_features", "n_varying"), [(1, 1), (2, 1), (4, 4), (4, 0)])
@pytest.mark.parametrize("per_class", [1, 2, 3, 20])
@pytest.mark.filterwarnings("error::RuntimeWarning")
def test_in_flight_on_few_features_or_images_gives_verdicts(family, n_features, n_varying, per_class):
    random = np.random.default_rng(per_class)
    y = np.repeat(np.arange(3), per_class)
    x = random.normal(size=(len(y), 1, 2, 2)).astype(np.float32)
    x[:, 0, 0, 0] += 4.0 * (y - 1)
    classifier = PyTorchClassifier(Narrow(n_features, n_varying), nn.CrossEntropyLoss(), (1, 2, 2), 3, device_type="cpu")
    detector = InFlightDetector(classifier, lambda x: x + 1, 2, density={"family": family}, n_layers=1)
    if n_varying == 0:
        with pytest.raises(InvalidInputError, match="constant"):
            detector.fit(x, y)
        return
    detector.fit(x, y)
    assert np.isfinite(detector.margin_)
    report, is_trigger = detector.detect(x + 0.5)
    judged = report["predicted_class"] == 2
    assert judged.any()
    assert np.isfinite(report["outlier_scores"][judged]).all()
    assert not is_trigger[~judged].any()


def test_cross_fitting_of_one_sample_a_class_leaves_each_out_in_turn():
    features = np.random.default_rng(0).normal(size=(6, 2))
    found = cross_fitted_log_likelihoods(features, np.arange(6), 6, family="tied")
    assert np.isneginf(np.diag(found)).all()
    assert np.isfinite(found).any(axis=1).all()
