"""The in-flight detector: ART's contract, its scores against SciPy, and what it catches on small poisoned networks."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from art.defences.detector.evasion import EvasionDetector
from art.estimators.classification import DetectorClassifier, PyTorchClassifier
from scipy.stats import multivariate_normal
from sklearn.covariance import LedoitWolf
from sklearn.mixture import GaussianMixture
from sklearn.preprocessing import StandardScaler
from torch import nn

from art_plugins.defences import in_flight
from art_plugins.defences.flight import densities as in_flight_densities
from art_plugins.defences.flight import files as in_flight_files
from art_plugins.defences.flight import fit as in_flight_fit
from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.errors import FileFormatError, InvalidInputError, NotFittedError
from art_plugins.features.activations import logits_and_hidden
from art_plugins.features.vae.training import seeded
from art_plugins.statistics.density import FAMILIES, cross_fitted_log_likelihoods
from art_plugins.statistics.source_inference import STRENGTHS, infer_sources
from art_plugins.storage import load_arrays, save_arrays
from art_plugins.triggers.stamps import AdditiveTrigger, MaskedTrigger

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
QUICK = {"kinds": ["patch"], "nb_steps": 400, "threshold": 3.0, "verbose": False}  # images of 8 x 8


def wrapped(network: nn.Module, nb_classes: int = 10) -> PyTorchClassifier:
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), nb_classes, clip_values=(0, 1), device_type="cpu")


def classes_by_art(classifier: Any, x: np.ndarray) -> np.ndarray:
    """ART's data loader draws from the global generator."""
    with seeded(0):
        outputs: np.ndarray = classifier.predict(x)
    return outputs.argmax(axis=1)


def make(digits: Any, **parameters: Any) -> InFlightDetector:
    """With the true trigger in place of an estimated one."""
    return InFlightDetector(wrapped(digits.network("white_square")), digits.white_square, digits.target, **parameters)


def fitted(digits: Any, **parameters: Any) -> InFlightDetector:
    detector = make(digits, **parameters)
    detector.fit(digits.x_clean, digits.y_clean)
    return detector


@pytest.fixture(scope="module")
def detector(digits):
    """Fitted once; tests leave it as it is."""
    return fitted(digits)


@pytest.fixture(scope="module")
def mixed(digits):
    """Test images, then those of the other classes with the trigger; and the true class of each."""
    is_source = digits.y_test != digits.target
    x = np.concatenate([digits.x_test, digits.white_square(digits.x_test[is_source])])
    return x, np.concatenate([digits.y_test, digits.y_test[is_source]])


def assert_same_verdict(ours: tuple[dict[str, Any], np.ndarray], theirs: tuple[dict[str, Any], np.ndarray]) -> None:
    np.testing.assert_array_equal(ours[1], theirs[1])
    assert ours[0].keys() == theirs[0].keys()
    for name in ours[0]:
        np.testing.assert_allclose(ours[0][name], theirs[0][name], rtol=1e-4, atol=1e-3)


# The contract of ART's detectors


class Untouchable:
    """What a constructor may keep but not look at."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"__init__ asked for {name}")


def test_init_is_one_of_arts_detectors_and_looks_at_nothing():
    classifier, trigger = Untouchable(), Untouchable()
    detector = InFlightDetector(classifier, trigger, 3, density={"tie": 1})
    assert isinstance(detector, EvasionDetector)
    assert detector.classifier is classifier
    assert detector.trigger is trigger
    assert detector.tunables() == {
        "density": {"tie": 1},
        "n_layers": 2,
        "margin": 0.5,
        "removal": True,
        "random_state": 0,
    }


def test_set_params_good_values_are_taken_also_numpys(digits):
    detector = make(digits)
    density = {"family": "oas", "tie": np.float64(0.5), "power": np.int64(1)}
    detector.set_params(density=density, n_layers=np.int64(1), random_state=3)
    assert detector.tunables() == {
        "density": {"family": "oas", "tie": 0.5, "power": 1},
        "n_layers": 1,
        "margin": 0.5,
        "removal": True,
        "random_state": 3,
    }
    assert type(detector.n_layers) is int


@pytest.mark.parametrize("through", ["set_params", "fit"])
def test_unknown_parameter_is_refused_naming_the_accepted_ones_and_changes_nothing(digits, through):
    detector = make(digits)
    before = detector.get_params()
    data = {"x": digits.x_clean, "y": digits.y_clean} if through == "fit" else {}
    with pytest.raises(
        InvalidInputError, match=r"Unknown parameter ties.*classifier, density, margin, n_layers, random_sta"
    ):
        getattr(detector, through)(**data, ties=0.5, density={"family": "oas"})
    assert detector.get_params() == before


@pytest.mark.parametrize("through", ["set_params", "fit"])
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("density", 3),
        ("density", {"famly": "oas"}),
        ("n_layers", 0),
        ("n_layers", 1.5),
        ("random_state", -1),
        ("random_state", "a"),
    ],
)
def test_bad_value_is_refused_by_name_and_the_old_one_stays(digits, through, name, value):
    detector = make(digits)
    before = detector.get_params()
    data = {"x": digits.x_clean, "y": digits.y_clean} if through == "fit" else {}
    with pytest.raises(InvalidInputError, match=f"{name} must (be|hold).*received {value!r}"):
        getattr(detector, through)(**data, **{name: value})
    assert detector.get_params() == before


@pytest.mark.parametrize(("name", "value"), [("family", "spherical"), ("tie", 1.5), ("tie", float("nan")), ("power", 0)])
def test_bad_setting_of_the_densities_is_refused_by_name(digits, name, value):
    detector = make(digits)
    with pytest.raises(InvalidInputError, match=f"{name} must be.*received {value!r}"):
        detector.set_params(density={name: value})
    assert detector.density is None


def test_fit_parameters_given_to_it_stay_set_and_equal_those_of_the_constructor(digits, mixed):
    given = make(digits)
    given.fit(digits.x_clean, digits.y_clean, density={"family": "oas"}, n_layers=1)
    assert given.tunables() == {**make(digits).tunables(), "density": {"family": "oas"}, "n_layers": 1}
    assert_same_verdict(given.detect(mixed[0]), fitted(digits, density={"family": "oas"}, n_layers=1).detect(mixed[0]))


@pytest.mark.parametrize(
    "call",
    [
        lambda detector, x: detector.detect(x),
        lambda detector, x: detector.predict(x),
        lambda detector, x: detector.detect_features(np.zeros((1, 10)), np.zeros((1, 96))),
        lambda detector, x: detector.detect_one(x[0]),
        lambda detector, x: detector.predict_with_correction(x),
        lambda detector, x: detector.save("nowhere"),
    ],
    ids=["detect", "predict", "detect_features", "detect_one", "predict_with_correction", "save"],
)
def test_detector_before_fit_says_to_call_fit(digits, call):
    with pytest.raises(NotFittedError, match=r"call fit\(x_clean, y_clean\) first"):
        call(make(digits), digits.x_test)


def test_detect_keyword_is_refused(detector, digits):
    with pytest.raises(InvalidInputError, match="takes no tie"):
        detector.detect(digits.x_test, tie=0.5)


@pytest.mark.parametrize("form", ["column", "one_hot", "one_hot_bool", "float", "list"])
def test_fit_labels_of_every_form_give_the_same_detector(detector, digits, mixed, form):
    y = digits.y_clean
    one_hot = np.eye(10)[y]
    forms = {"column": y[:, None], "one_hot": one_hot, "one_hot_bool": one_hot > 0, "float": y / 1.0, "list": y.tolist()}
    other = make(digits)
    other.fit(digits.x_clean, forms[form])
    assert_same_verdict(other.detect(mixed[0]), detector.detect(mixed[0]))


def without_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("hidden_layers", "logits_and_hidden"):
        monkeypatch.setattr(in_flight_fit, name, None)
    for name in ("logits_and_hidden", "invert_triggers"):
        monkeypatch.setattr(in_flight, name, None)


@pytest.mark.parametrize("change", ["short", "negative", "fractions", "not_one_hot", "too_large"])
def test_fit_bad_labels_are_refused_before_any_forward_pass(digits, monkeypatch, change):
    without_forward(monkeypatch)
    y = digits.y_clean
    changes = {
        "short": y[:-1],
        "negative": y - 1,
        "fractions": y + 0.5,
        "not_one_hot": 2 * np.eye(10)[y],
        "too_large": y + 1,
    }
    with pytest.raises(InvalidInputError, match="abel"):
        make(digits).fit(digits.x_clean, changes[change])


def bad_images(x: np.ndarray) -> list[tuple[Any, str]]:
    with_nan, with_infinity = np.array(x), np.array(x)
    with_nan[7, 0, 1, 2], with_infinity[8, 0, 3, 4] = np.nan, np.inf
    return [
        (x.tolist(), "numpy array"),
        (x[:0], "not be empty"),
        (x[:, 0], r"shape \(1, 8, 8\); received \(8, 8\)"),
        (with_nan, "Row 7 of the images"),
        (with_infinity, "Row 8 of the images"),
    ]


@pytest.mark.parametrize("which", range(5), ids=["list", "empty", "grey", "nan", "infinity"])
def test_bad_images_are_refused_before_any_forward_pass(detector, digits, monkeypatch, which):
    without_forward(monkeypatch)
    x, match = bad_images(digits.x_clean)[which]
    for call in (lambda: make(digits).fit(x, digits.y_clean), lambda: detector.detect(x), lambda: detector.predict(x)):
        with pytest.raises(InvalidInputError, match=match):
            call()


@pytest.mark.parametrize("target", [-1, 10, 1.5, "3", None])
def test_fit_target_class_that_is_none_of_the_classes_is_refused(digits, monkeypatch, target):
    without_forward(monkeypatch)
    bad = InFlightDetector(wrapped(digits.network("clean")), digits.white_square, target)
    with pytest.raises(InvalidInputError, match=f"target_class must be a class from 0 to 9; received {target!r}"):
        bad.fit(digits.x_clean, digits.y_clean)


# Few and missing clean images, weak and wrong triggers


@pytest.mark.parametrize(("of_target", "match"), [(False, "received 0 and 9"), (True, "received 20 and 0")])
def test_fit_without_images_of_the_target_or_of_all_others_is_refused(digits, monkeypatch, of_target, match):
    without_forward(monkeypatch)
    rows = (digits.y_clean == digits.target) == of_target
    with pytest.raises(InvalidInputError, match=match):
        make(digits).fit(digits.x_clean[rows], digits.y_clean[rows])


def test_fit_without_one_source_class_works_and_never_infers_it(digits, mixed):
    rows = digits.y_clean != 6
    missing = make(digits)
    missing.fit(digits.x_clean[rows], digits.y_clean[rows])
    report, is_trigger = missing.detect(mixed[0])
    assert np.isneginf(report["log_likelihoods"][report["predicted_class"] == digits.target, 6]).all()
    assert not (report["source_class"] == 6).any()
    assert is_trigger.any()


@pytest.mark.parametrize(("n_images", "warns"), [(9, True), (10, False)])
def test_fit_few_clean_images_of_a_class_are_warned_of(digits, caplog, n_images, warns):
    rows = np.flatnonzero(digits.y_clean == 2)[n_images:]
    with caplog.at_level(logging.WARNING):
        make(digits).fit(np.delete(digits.x_clean, rows, axis=0), np.delete(digits.y_clean, rows))
    assert [record.getMessage().startswith("One class has only 9 clean") for record in caplog.records] == [True] * warns


def test_fit_trigger_that_does_not_work_is_warned_of_with_its_success_rate(digits, caplog):
    weak = InFlightDetector(wrapped(digits.network("white_square")), digits.chessboard, digits.target)
    with caplog.at_level(logging.WARNING):
        weak.fit(digits.x_clean, digits.y_clean)
    hits = classes_by_art(weak.classifier, digits.chessboard(digits.x_clean)) == digits.target
    by_class = [hits[digits.y_clean == label].mean() for label in range(10) if label != digits.target]
    assert weak.success_rate_ == pytest.approx(max(by_class))
    assert f"sends at most {weak.success_rate_:.3f} of the images of any class to class {digits.target}" in caplog.text


def test_fit_trigger_that_works_is_not_warned_of(digits, caplog):
    with caplog.at_level(logging.WARNING):
        assert fitted(digits).success_rate_ > 0.95
    assert not caplog.records


@pytest.mark.parametrize(
    "trigger", [lambda x: x[:, 0], lambda x: x[:1], lambda x: x[..., :7]], ids=["grey", "one_image", "narrower"]
)
def test_fit_trigger_that_changes_the_shape_is_refused(digits, trigger):
    changing = InFlightDetector(wrapped(digits.network("clean")), trigger, 3)
    with pytest.raises(InvalidInputError, match="The trigger turned images of shape"):
        changing.fit(digits.x_clean, digits.y_clean)


def test_fit_that_fails_leaves_the_fitted_detector_as_it_was(digits, mixed):
    kept = fitted(digits)
    before, layers = kept.detect(mixed[0]), kept.layers_
    kept.trigger = np.zeros_like  # every stamped image alike, and so is the target's only one: no feature varies
    rows = np.append(np.flatnonzero(digits.y_clean != digits.target), np.flatnonzero(digits.y_clean == digits.target)[:1])
    x = np.array(digits.x_clean[rows])
    x[-1] = 0
    with pytest.raises(InvalidInputError, match="constant"):
        kept.fit(x, digits.y_clean[rows], n_layers=1)
    kept.trigger = digits.white_square
    assert kept.layers_ == layers
    assert_same_verdict(kept.detect(mixed[0]), before)


def test_fit_leaves_data_and_model_as_they_were(digits):
    network = digits.network("white_square")
    weights = {name: value.clone() for name, value in network.state_dict().items()}
    x, y = np.array(digits.x_clean), np.array(digits.y_clean)
    network.train()
    fitted(digits).detect(x)
    assert network.training
    network.eval()
    make(digits).fit(x, y)
    np.testing.assert_array_equal(x, digits.x_clean)
    np.testing.assert_array_equal(y, digits.y_clean)
    assert all(torch.equal(weights[name], value) for name, value in network.state_dict().items())


# Detection


def test_fit_layers_are_the_last_linear_ones_and_no_more_than_there_are(digits):
    assert fitted(digits, n_layers=1).layers_ == ["5"]
    assert fitted(digits).layers_ == ["3", "5"]
    assert fitted(digits, n_layers=9).layers_ == ["1", "3", "5"]


def test_detect_report_is_of_the_documented_shape(detector, digits, mixed):
    report, is_trigger = detector.detect(mixed[0])
    n = len(mixed[0])
    assert list(report) == ["predicted_class", "source_class", "log_likelihoods", "outlier_scores", "n_not_finite"]
    assert report["predicted_class"].shape == report["source_class"].shape == report["outlier_scores"].shape == (n,)
    assert report["log_likelihoods"].shape == (n, 10)
    assert is_trigger.shape == (n,)
    assert is_trigger.dtype == bool
    assert np.issubdtype(report["source_class"].dtype, np.integer)
    np.testing.assert_array_equal(report["predicted_class"], classes_by_art(detector.classifier, mixed[0]))


def test_detect_images_sent_to_another_class_pass_untouched(detector, digits, mixed):
    report, is_trigger = detector.detect(mixed[0])
    passed = report["predicted_class"] != digits.target
    assert 0 < passed.sum() < len(passed)
    assert not is_trigger[passed].any()
    assert (report["source_class"][passed] == -1).all()
    assert np.isnan(report["log_likelihoods"][passed]).all()
    assert np.isnan(report["outlier_scores"][passed]).all()
    assert np.isfinite(report["log_likelihoods"][~passed]).all()
    only_passed = detector.detect(mixed[0][passed])
    assert not only_passed[1].any()


def test_detect_verdict_and_source_without_removal_follow_from_the_log_likelihoods(digits, mixed):
    report, is_trigger = fitted(digits, removal=False).detect(mixed[0])
    rows = report["predicted_class"] == digits.target
    best = report["log_likelihoods"][rows].argmax(axis=1)
    np.testing.assert_array_equal(is_trigger[rows], best != digits.target)
    np.testing.assert_array_equal(report["source_class"][rows], np.where(best == digits.target, -1, best))
    np.testing.assert_array_equal(report["outlier_scores"][rows] > 0, is_trigger[rows])


def test_detect_features_on_the_way_from_a_clean_to_a_caught_image_turn_where_the_score_turns_positive(
    detector, digits, mixed
):
    outputs, features = logits_and_hidden(detector.classifier, mixed[0], detector.layers_)
    report, is_trigger = detector.detect_features(outputs, features)
    passed = np.flatnonzero(~is_trigger & (report["predicted_class"] == digits.target))[0]
    caught = np.flatnonzero(is_trigger)[0]
    way = np.linspace(features[passed], features[caught], 2_001)
    report, is_trigger = detector.detect_features(np.tile(outputs[caught], (len(way), 1)), way)
    scores = report["outlier_scores"]
    margin = detector.margin_
    assert ((scores > margin - 1) & (scores < margin)).any()
    assert ((scores > margin) & (scores < margin + 1)).any()
    np.testing.assert_array_equal(is_trigger, scores > margin)


def test_margin_is_a_share_of_the_ratio_that_99_percent_of_held_out_stamped_images_exceed(digits):
    detector = fitted(digits, margin=0.25)
    is_source = digits.y_clean != digits.target
    images = np.array(digits.x_clean)
    images[is_source] = detector.trigger(images[is_source])
    _, features = logits_and_hidden(detector.classifier, images, detector.layers_)
    tie = 1 - 0.1 * np.bincount(digits.y_clean).min() / 100
    held_out = cross_fitted_log_likelihoods(features, digits.y_clean, 10, tie=tie, power=0.5)
    ratios = [np.delete(row, digits.target).max() - row[digits.target] for row in held_out[is_source]]
    assert detector.margin_ == pytest.approx(0.25 * np.quantile(ratios, 0.01))
    assert detector.margin_ > 0
    assert fitted(digits, margin=0).margin_ == 0


def test_margin_where_stamped_images_lie_on_both_sides_is_0(digits):
    random = np.random.default_rng(0)
    detector = make(digits, margin=0.9)
    detector.fit_features(random.normal(size=(200, 6)), np.arange(200) % 10)
    assert detector.margin_ == 0


@pytest.mark.parametrize(("n_per_class", "expected"), [(5, 0.995), (20, 0.98), (100, 0.9), (150, 0.9)])
def test_tie_grows_as_the_classes_get_smaller_unless_it_is_given(digits, monkeypatch, n_per_class, expected):
    seen: list[float] = []
    fit_class_densities = in_flight_densities.fit_class_densities
    monkeypatch.setattr(
        in_flight_densities,
        "fit_class_densities",
        lambda *data, **options: seen.append(options["tie"]) or fit_class_densities(*data, **options),
    )
    labels = np.repeat(np.arange(10), n_per_class)
    features = np.random.default_rng(0).normal(size=(len(labels), 4))
    for tie in (None, 0.3):
        make(digits, density={"tie": tie}, margin=0).fit_features(features, labels)
    assert seen == [pytest.approx(expected), 0.3]


def test_fit_hands_every_parameter_to_the_densities(digits, monkeypatch):
    seen: dict[str, Any] = {}
    fit_class_densities = in_flight_densities.fit_class_densities
    monkeypatch.setattr(
        in_flight_densities,
        "fit_class_densities",
        lambda *data, **options: seen.update(options) or fit_class_densities(*data, **options),
    )
    density = {"family": "mixture", "tie": 0.25, "power": 0.75}
    fitted(digits, density=density, random_state=6)
    assert seen == {**density, "random_state": 6}


def test_detect_scores_equal_a_recomputation_by_scikit_learn_and_scipy(detector, digits, mixed):
    network = digits.network("white_square")

    def features(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            first = torch.relu(network[1](torch.tensor(x).flatten(1)))
            return torch.cat([first, torch.relu(network[3](first))], dim=1).double().sqrt().numpy()

    stamped = np.array(digits.x_clean)
    is_source = digits.y_clean != digits.target
    stamped[is_source, :, 6:, 6:] = 1
    train = features(stamped)
    alive = train.max(axis=0) > train.min(axis=0)
    scaler = StandardScaler().fit(train[:, alive])
    z = scaler.transform(train[:, alive])
    classes = [z[digits.y_clean == label] for label in range(10)]
    deviations = np.concatenate([one - one.mean(axis=0) for one in classes])
    tied = LedoitWolf(assume_centered=True).fit(deviations).covariance_
    tied = tied + 1e-3 * np.trace(tied) / len(tied) * np.eye(len(tied))
    own = 0.1 * min(map(len, classes)) / 100
    report, _ = detector.detect(mixed[0])
    rows = report["predicted_class"] == digits.target
    z_new = scaler.transform(features(mixed[0][rows])[:, alive])
    expected = np.stack(
        [
            multivariate_normal(one.mean(axis=0), own * np.cov(one, rowvar=False, bias=True) + (1 - own) * tied).logpdf(
                z_new
            )
            for one in classes
        ],
        axis=1,
    )
    np.testing.assert_allclose(report["log_likelihoods"][rows], expected, rtol=1e-4, atol=0.01)
    others = np.delete(expected, digits.target, axis=1).max(axis=1)
    np.testing.assert_allclose(report["outlier_scores"][rows], others - expected[:, digits.target], rtol=1e-4, atol=0.02)


@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("n_layers", [1, 2])
def test_detect_every_family_catches_the_trigger_and_passes_clean_images(digits, mixed, family, n_layers):
    report, is_trigger = fitted(digits, density={"family": family}, n_layers=n_layers).detect(mixed[0])
    is_stamped = np.arange(len(mixed[0])) >= len(digits.x_test)
    as_target = report["predicted_class"] == digits.target
    clean = ~is_stamped & as_target & (mixed[1] == digits.target)
    caught = is_stamped & as_target
    assert is_trigger[caught].mean() > 0.9
    assert is_trigger[clean].mean() < 0.15
    assert (report["source_class"][caught] == mixed[1][caught]).mean() > 0.7


def test_detect_paper_form_equals_scikit_learns_mixtures_on_the_penultimate_layer_as_it_is(digits, mixed):
    paper = fitted(digits, density={"family": "mixture", "power": 1}, n_layers=1)
    network = digits.network("white_square")
    stamped = np.array(digits.x_clean)
    stamped[digits.y_clean != digits.target, :, 6:, 6:] = 1
    with torch.no_grad():
        train, new = (network[:5](torch.tensor(x)).double().numpy() for x in (stamped, mixed[0]))
    alive = train.max(axis=0) > train.min(axis=0)
    scaler = StandardScaler().fit(train[:, alive])
    report, _ = paper.detect(mixed[0])
    rows = report["predicted_class"] == digits.target
    for label in range(10):
        own = scaler.transform(train[digits.y_clean == label][:, alive])
        fits = [GaussianMixture(n, covariance_type="diag", reg_covar=0.1, random_state=0).fit(own) for n in (1, 2, 3)]
        expected = min(fits, key=lambda fit: fit.bic(own)).score_samples(scaler.transform(new[rows][:, alive]))
        np.testing.assert_allclose(report["log_likelihoods"][rows, label], expected, rtol=1e-4, atol=0.01)


def test_detect_features_of_outputs_and_features_that_are_there_equals_detect(detector, mixed):
    outputs, features = logits_and_hidden(detector.classifier, mixed[0], detector.layers_)
    assert_same_verdict(detector.detect_features(outputs, features, mixed[0]), detector.detect(mixed[0]))


def test_detect_features_after_fit_features_equals_detect_after_fit(detector, digits, mixed):
    images = np.array(digits.x_clean)
    is_source = digits.y_clean != digits.target
    images[is_source] = digits.white_square(images[is_source])
    ours = make(digits)
    ours.fit_features(logits_and_hidden(ours.classifier, images, detector.layers_)[1], digits.y_clean)
    outputs, features = logits_and_hidden(ours.classifier, mixed[0], detector.layers_)
    assert_same_verdict(ours.detect_features(outputs, features, mixed[0]), detector.detect(mixed[0]))


def test_detect_batch_size_and_order_of_the_images_change_nothing(detector, mixed, random):
    x = mixed[0][::3]
    expected = detector.detect(x)
    order = random.permutation(len(x))
    report, is_trigger = detector.detect(x[order], batch_size=7)
    in_order = {name: value[order] if np.ndim(value) else value for name, value in expected[0].items()}
    assert_same_verdict((report, is_trigger), (in_order, expected[1][order]))


def test_fit_order_of_the_clean_images_and_batch_size_change_nothing(detector, digits, mixed, random):
    order = random.permutation(len(digits.x_clean))
    other = make(digits)
    other.fit(digits.x_clean[order], digits.y_clean[order], batch_size=13)
    assert_same_verdict(other.detect(mixed[0]), detector.detect(mixed[0]))


def test_detect_one_equals_the_batch(detector, mixed):
    x = mixed[0][::9]
    report, is_trigger = detector.detect(x)
    corrected = detector.predict_with_correction(x)
    for row, image in enumerate(x):
        assert detector.detect_one(image) == (report["predicted_class"][row], is_trigger[row], corrected[row])
    assert [type(value) for value in detector.detect_one(x[0])] == [int, bool, int]


def test_predict_with_correction_gives_sources_or_abstentions_for_the_caught_images_only(detector, mixed):
    x, y = mixed
    report, is_trigger = detector.detect(x)
    for abstain, expected in ((False, report["source_class"]), (True, -1)):
        labels = detector.predict_with_correction(x, abstain=abstain)
        np.testing.assert_array_equal(labels, np.where(is_trigger, expected, report["predicted_class"]))
        assert np.issubdtype(labels.dtype, np.integer)
    assert (detector.predict_with_correction(x) == y).mean() > (report["predicted_class"] == y).mean() + 0.3


@pytest.mark.parametrize("family", ["mixture", "regularised"])
def test_fit_two_runs_of_one_seed_are_equal(digits, mixed, family):
    first, second = (fitted(digits, density={"family": family}, random_state=2).detect(mixed[0]) for _ in range(2))
    np.testing.assert_array_equal(first[0]["log_likelihoods"], second[0]["log_likelihoods"])
    np.testing.assert_array_equal(first[1], second[1])


# Inside ART's DetectorClassifier


class Shifted(nn.Module):
    """The same classes with other logits: all of them positive, or negative."""

    def __init__(self, network: nn.Module, shift: float) -> None:
        super().__init__()
        self.network, self.shift = network, shift

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        logits: torch.Tensor = self.network(x) + self.shift
        return logits


@pytest.mark.parametrize("shift", [0.0, 1e3, -1e3])
def test_predict_in_arts_detector_classifier_the_additional_class_wins_exactly_for_the_caught_images(digits, mixed, shift):
    classifier = wrapped(Shifted(digits.network("white_square"), shift))
    inside = InFlightDetector(classifier, digits.white_square, digits.target)
    inside.fit(digits.x_clean, digits.y_clean)
    report, is_trigger = inside.detect(mixed[0])
    assert is_trigger.any()
    assert inside.predict(mixed[0]).shape == (len(mixed[0]), 1)
    combined = DetectorClassifier(classifier, inside)
    np.testing.assert_array_equal(classes_by_art(combined, mixed[0]), np.where(is_trigger, 10, report["predicted_class"]))


# Files


def test_save_and_load_give_the_same_detector(detector, digits, mixed, tmp_path):
    detector.save(tmp_path / "detector.safetensors")
    model = wrapped(digits.network("white_square"))
    loaded = InFlightDetector.load(tmp_path / "detector.safetensors", model, detector.trigger)
    assert loaded.tunables() == detector.tunables()
    assert (loaded.target_class, loaded.layers_) == (detector.target_class, detector.layers_)
    assert loaded.success_rate_ == detector.success_rate_
    ours, theirs = loaded.detect(mixed[0]), detector.detect(mixed[0])
    for name in theirs[0]:
        np.testing.assert_array_equal(ours[0][name], theirs[0][name])
    np.testing.assert_array_equal(ours[1], theirs[1])


def test_save_and_load_keep_every_family_and_classes_without_images(digits, mixed, tmp_path):
    rows = digits.y_clean != 6
    for family in FAMILIES:
        density = {"family": family, "tie": 0.5, "power": 0.7}
        saved = make(digits, density=density, n_layers=1, random_state=8)
        saved.fit(digits.x_clean[rows], digits.y_clean[rows])
        saved.save(tmp_path / family)
        loaded = InFlightDetector.load(tmp_path / family, saved.classifier)
        assert loaded.tunables() == saved.tunables()
        np.testing.assert_array_equal(
            loaded.detect(mixed[0])[0]["outlier_scores"], saved.detect(mixed[0])[0]["outlier_scores"]
        )


@pytest.mark.parametrize(
    "trigger",
    [
        MaskedTrigger(np.eye(8, dtype=np.float32)[None], np.full((1, 8, 8), 0.9, dtype=np.float32)),
        AdditiveTrigger(np.linspace(0, 0.8, 64, dtype=np.float32).reshape(1, 8, 8), (0.0, 0.9)),
    ],
)
def test_save_and_load_keep_an_inversions_trigger(digits, mixed, tmp_path, trigger):
    saved = make(digits)
    saved.trigger = trigger
    saved.fit(digits.x_clean, digits.y_clean)
    saved.save(tmp_path / "detector")
    loaded = InFlightDetector.load(tmp_path / "detector", saved.classifier)
    np.testing.assert_array_equal(loaded.trigger(mixed[0]), trigger(mixed[0]))
    assert_same_verdict(loaded.detect(mixed[0]), saved.detect(mixed[0]))
    loaded.fit(digits.x_clean, digits.y_clean)


def test_load_without_a_trigger_infers_sources_from_the_densities(detector, digits, mixed, tmp_path):
    detector.save(tmp_path / "detector")
    ours = InFlightDetector.load(tmp_path / "detector", detector.classifier).detect(mixed[0])
    assert_same_verdict(ours, fitted(digits, removal=False).detect(mixed[0]))


def test_detect_sources_are_inferred_from_the_images_less_the_pattern_at_each_strength(digits, mixed):
    detector = fitted(digits)
    x = mixed[0][detector.detect(mixed[0])[1]]
    detector.trigger = AdditiveTrigger(np.linspace(-0.6, 0.6, 64, dtype=np.float32).reshape(1, 8, 8))
    assert np.abs(detector.trigger(x) - x).mean() > 0.1
    outputs, features = logits_and_hidden(detector.classifier, x, detector.layers_)
    without = [
        logits_and_hidden(detector.classifier, np.clip(x - s * (detector.trigger(x) - x), 0, 1), detector.layers_)[0]
        for s in STRENGTHS
    ]
    report, is_trigger = detector.detect_features(outputs, features, x)
    assert is_trigger.all()
    expected = infer_sources(report["log_likelihoods"], np.stack(without), digits.target)
    np.testing.assert_array_equal(report["source_class"], expected)


def test_load_detector_cannot_be_fitted_anew_without_a_trigger(detector, digits, tmp_path):
    detector.save(tmp_path / "detector")
    loaded = InFlightDetector.load(tmp_path / "detector", detector.classifier)
    with pytest.raises(NotFittedError, match="no trigger"):
        loaded.fit(digits.x_clean, digits.y_clean)


def layered(*widths: int) -> nn.Sequential:
    layers: list[nn.Module] = [nn.Flatten()]
    for width, following in zip((64, *widths), (*widths, 10), strict=True):
        layers += [nn.Linear(width, following), nn.ReLU()]
    return nn.Sequential(*layers[:-1])


@pytest.mark.parametrize(
    ("widths", "nb_classes"),
    [((64, 32), 10), ((64,), 10), ((64, 33), 10), ((32, 32), 10), ((64, 32), 11), ((), 10), ((64, 9, 9), 10)],
)
def test_load_for_another_model_is_refused(detector, tmp_path, widths, nb_classes):
    detector.save(tmp_path / "detector")
    with seeded(0):
        other = wrapped(layered(*widths), nb_classes)
    with pytest.raises(FileFormatError, match="was saved for another model"):
        InFlightDetector.load(tmp_path / "detector", other)


def test_load_for_something_that_is_no_model_is_refused(detector, tmp_path):
    detector.save(tmp_path / "detector")
    with pytest.raises(InvalidInputError, match="PyTorchClassifier"):
        InFlightDetector.load(tmp_path / "detector", object())


@pytest.mark.parametrize(
    ("damage", "match"),
    [
        ("absent", "does not exist"),
        ("truncated", "not a readable"),
        ("flipped", "checksum"),
        ("text", "not a readable"),
        ("other_kind", "holds a 'autoencoder'"),
        ("lacks_an_array", r"does not hold a detector.*basis"),
        ("lacks_layers", r"does not hold a detector.*layers"),
        ("odd_trigger", r"does not hold a detector.*trigger_clip_values"),
    ],
)
def test_load_damaged_or_other_file_is_refused(detector, tmp_path, damage, match):
    path: Path = tmp_path / "file"
    detector.save(path)
    content = path.read_bytes()
    arrays, settings = load_arrays(path, in_flight_files.FILE_KIND)
    if damage == "absent":
        path.unlink()
    elif damage == "truncated":
        path.write_bytes(content[:-20])
    elif damage == "flipped":
        path.write_bytes(content[:-9] + bytes([content[-9] ^ 64]) + content[-8:])
    elif damage == "text":
        path.write_text("a detector")
    elif damage == "other_kind":
        save_arrays(path, "autoencoder", arrays, settings)
    elif damage == "lacks_an_array":
        del arrays["basis"]
        save_arrays(path, in_flight_files.FILE_KIND, arrays, settings)
    elif damage == "odd_trigger":
        odd = {"trigger_perturbation": np.zeros((1, 8, 8)), "trigger_clip_values": np.zeros(3)}
        save_arrays(path, in_flight_files.FILE_KIND, arrays | odd, settings)
    else:
        del settings["layers"]
        save_arrays(path, in_flight_files.FILE_KIND, arrays, settings)
    with pytest.raises(FileFormatError, match=match):
        InFlightDetector.load(path, detector.classifier)


# From a classifier to a detector


def test_from_classifier_of_a_poisoned_network_gives_a_fitted_detector_for_the_backdoor(digits, mixed):
    classifier = wrapped(digits.network("white_square"))
    found = InFlightDetector.from_classifier(
        classifier, digits.x_clean, digits.y_clean, inversion=QUICK, density={"family": "tied"}
    )
    assert found is not None
    assert found.target_class == digits.target
    assert found.inversion_.target_class == digits.target
    assert found.get_params()["density"] == {"family": "tied"}
    assert found.inversion_.source_class is None
    assert found.success_rate_ >= found.inversion_.success_rate > 0.9
    report, is_trigger = found.detect(mixed[0])
    as_target = report["predicted_class"] == digits.target
    is_stamped = np.arange(len(mixed[0])) >= len(digits.x_test)
    assert is_trigger[is_stamped & as_target].mean() > 0.9
    assert is_trigger[~is_stamped & as_target & (mixed[1] == digits.target)].mean() < 0.15
    by_hand = InFlightDetector(classifier, found.inversion_.trigger, digits.target, density={"family": "tied"})
    by_hand.fit(digits.x_clean, digits.y_clean)
    assert_same_verdict(by_hand.detect(mixed[0]), (report, is_trigger))


def test_from_classifier_of_a_clean_network_gives_nothing_and_says_so(digits, caplog):
    classifier = wrapped(digits.network("clean"))
    with caplog.at_level(logging.WARNING):
        assert InFlightDetector.from_classifier(classifier, digits.x_clean, digits.y_clean, inversion=QUICK) is None
    assert "No backdoor found" in caplog.text
    assert "nothing to deploy" in caplog.text


@pytest.mark.parametrize(
    "parameters",
    [{"density": {"family": "spherical"}}, {"density": {"tie": 2}}, {"margin": 1}, {"t": 1}],
)
def test_from_classifier_bad_parameter_is_refused_before_the_inversion(digits, monkeypatch, parameters):
    without_forward(monkeypatch)
    name = next(iter(parameters.get("density", parameters)))
    with pytest.raises(InvalidInputError, match=name):
        InFlightDetector.from_classifier(wrapped(digits.network("clean")), digits.x_clean, digits.y_clean, **parameters)
