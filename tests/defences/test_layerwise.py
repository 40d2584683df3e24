"""Layer-wise feature analysis: the paper's rule recomputed by hand, ART's contracts, and what the rules catch on digits."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from art.defences.detector.evasion import EvasionDetector
from art.estimators.classification import DetectorClassifier, PyTorchClassifier
from sklearn.metrics.pairwise import cosine_similarity
from torch import nn

from art_plugins.defences import layerwise
from art_plugins.defences.layers import files as layerwise_files
from art_plugins.defences.layers import learning as layerwise_learning
from art_plugins.defences.layers import mahalanobis
from art_plugins.defences.layers import options as layerwise_options
from art_plugins.defences.layers.groups import earlier
from art_plugins.defences.layerwise import LayerwiseFeatureDefence
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
from art_plugins.errors import FileFormatError, InvalidInputError, NotFittedError
from art_plugins.features.layer_reduction import channel_statistics, folding_signs, pool_activations, projection_matrix
from art_plugins.features.vae.training import seeded
from art_plugins.statistics.layer_gaussian import (
    DISTANCE_RATIO,
    MAHALANOBIS_DISTANCE,
    cross_fitted_measures,
    fit_layer_gaussian,
)
from art_plugins.storage import save_arrays

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
MODES = ("paper", "mahalanobis")
POOLED = {"paper": {"pooled": True}, "mahalanobis": None}  # mode_params that let either mode judge small classes
LAYERS = ["1", "2", "3", "4", "5"]


def wrapped(network: nn.Module, shape: tuple[int, ...] = (1, 8, 8), nb_classes: int = 10) -> PyTorchClassifier:
    clip_values = (0, 1) if len(shape) == 3 else None  # images
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), shape, nb_classes, clip_values=clip_values, device_type="cpu")


def trusted(digits: Any) -> tuple[np.ndarray, np.ndarray]:
    """50 unseen images a class, as far as there are."""
    x, y = np.concatenate([digits.x_clean, digits.x_test]), np.concatenate([digits.y_clean, digits.y_test])
    rows = np.concatenate([np.flatnonzero(y == label)[:45] for label in range(10)])
    return x[rows], y[rows]


def fitted(digits: Any, attack: str = "white_square", batch_size: int = 128, **parameters: Any) -> LayerwiseFeatureDetector:
    parameters = {"mode_params": POOLED[parameters.get("mode", "mahalanobis")], **parameters}
    detector = LayerwiseFeatureDetector(wrapped(digits.network(attack)), layers=LAYERS, **parameters)
    detector.fit(*trusted(digits), batch_size=batch_size)
    return detector


@pytest.fixture(scope="module", params=MODES)
def detector(request, digits):
    """One of each mode; tests leave it as it is."""
    return fitted(digits, mode=request.param)


@pytest.fixture(scope="module")
def mixed(digits):
    """Clean images, then images with the trigger; all unseen by the model, though trusted ones are among them."""
    x, y = trusted(digits)
    return np.concatenate([x, digits.white_square(x[y != digits.target])]), np.arange(
        len(x) + (y != digits.target).sum()
    ) >= len(x)


def outputs_of(network: nn.Module, x: np.ndarray) -> list[np.ndarray]:
    """Flattened output of every module after the first."""
    found = []
    with torch.no_grad():
        value = network[0](torch.tensor(np.array(x)))
        for module in list(network)[1:]:
            value = module(value)
            found.append(value.double().numpy())
    return found


# The paper's rule


def test_paper_scores_equal_a_recomputation_sample_by_sample(digits, mixed):
    detector = fitted(digits, mode="paper")
    x, y = trusted(digits)
    network = digits.network("white_square")
    benign, new = outputs_of(network, x), outputs_of(network, mixed[0])
    right = benign[-1].argmax(axis=1) == y
    report, is_trigger = detector.detect(mixed[0])
    predicted = new[-1].argmax(axis=1)
    np.testing.assert_array_equal(report["predicted_class"], predicted)
    for label in (0, digits.target, 8):
        own = np.flatnonzero(right & (y == label))
        centroids = [layer[own].mean(axis=0, keepdims=True) for layer in benign]
        profile = np.array([cosine_similarity(layer[own], c).mean() for layer, c in zip(benign, centroids, strict=True)])
        np.testing.assert_allclose(detector.layer_profiles_[label], profile, atol=1e-6)
        rises = {layer: profile[layer] - profile[layer - 1] for layer in (2, 3, 4)}  # 5 layers: floor(5/2) + 1 to 5
        interest = max(rises, key=rises.__getitem__)
        assert detector.layer_of_interest_[label] == interest
        three = (interest - 2, interest - 1, interest)
        sums = [
            sum(
                cosine_similarity(benign[i][[row]], benign[i][own[own != row]].mean(axis=0, keepdims=True))[0, 0]
                for i in three
            )
            for row in own
        ]
        rows = np.flatnonzero(predicted == label)
        similarities = np.concatenate([cosine_similarity(new[i][rows], centroids[i]) for i in range(5)], axis=1)
        np.testing.assert_allclose(report["layer_similarities"][rows], similarities, atol=1e-6)
        expected = (np.mean(sums) - similarities[:, three].sum(axis=1)) / np.std(sums)
        np.testing.assert_allclose(report["outlier_scores"][rows], expected, rtol=1e-3, atol=1e-3)
    np.testing.assert_array_equal(is_trigger, report["outlier_scores"] > 2.5)


def test_paper_filter_judges_by_label_as_the_detector_by_class(digits):
    x, y = trusted(digits)
    network = digits.network("white_square")
    predicted = outputs_of(network, digits.x_train)[-1].argmax(axis=1)
    options = {"mode": "paper", "layers": LAYERS, "mode_params": {"pooled": True}}
    defence = LayerwiseFeatureDefence(wrapped(network), digits.x_train, predicted, x, y, **options)
    defence.detect_poison()
    report, is_trigger = fitted(digits, mode="paper").detect(digits.x_train)
    np.testing.assert_allclose(defence.outlier_scores_, report["outlier_scores"], rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(defence.is_clean_ == 0, is_trigger)
    np.testing.assert_allclose(defence.layer_similarities_, report["layer_similarities"], atol=1e-6)
    np.testing.assert_array_equal(defence.layer_of_interest_, report["layer_of_interest"])


# The default rule


def test_mahalanobis_scores_equal_a_recomputation_of_three_questions_and_the_logit_margin(digits, mixed):
    x, y = trusted(digits)
    network = digits.network("white_square")

    def views(images: np.ndarray) -> tuple[list[np.ndarray], list[np.ndarray], np.ndarray]:
        grid, channels, value = [], [], torch.tensor(np.array(images))
        with torch.no_grad():
            for index, module in enumerate(network):
                value = module(value)
                if str(index) in LAYERS:
                    grid.append(pool_activations(value).numpy())
                    channels.append(channel_statistics(value).numpy())
        return grid, channels, value.double().numpy()

    benign, new = views(x), views(mixed[0])
    judged, predicted = benign[2].argmax(axis=1), new[2].argmax(axis=1)
    right = judged == y
    of_benign, of_new = [], []
    for view, measure in ((0, DISTANCE_RATIO), (1, DISTANCE_RATIO), (1, MAHALANOBIS_DISTANCE)):
        answer = [np.zeros(len(x)), np.zeros(len(mixed[0]))]
        for layer, layer_new in zip(benign[view], new[view], strict=True):
            crossed = cross_fitted_measures(layer, y, judged, right, 10, [measure], 10)[:, 0]
            measured = fit_layer_gaussian(layer[right], y[right], 10).measure(layer_new, predicted, [measure])[:, 0]
            for found, values in zip(answer, (crossed, measured), strict=True):
                found += np.minimum((values - crossed.mean()) / crossed.std(), 6)  # all five layers count
        of_benign.append(answer[0])
        of_new.append(answer[1])
    for found, outputs in ((of_benign, benign[2]), (of_new, new[2])):
        second, first = np.sort(outputs, axis=1)[:, -2:].T
        found.append(np.sqrt(first - second))
    sums, totals = (
        sum((values - one.mean()) / one.std() for values, one in zip(found, of_benign, strict=True))
        for found in (of_benign, of_new)
    )
    report, _ = fitted(digits).detect(mixed[0])
    np.testing.assert_allclose(report["outlier_scores"], totals / sums.std(), rtol=1e-4, atol=1e-4)


# Detection


@pytest.mark.parametrize(("mode", "tpr"), [("paper", 0.5), ("mahalanobis", 0.95)])
def test_detect_catches_the_trigger_at_the_stated_false_positive_rate(digits, mode, tpr):
    detector = fitted(digits, mode=mode, fpr=0.05)
    unseen = digits.x_train[:600]  # of the model's own training data, but clean and not the detector's
    x, y = trusted(digits)
    triggered, is_trigger = detector.detect(digits.white_square(x[y != digits.target]))
    assert is_trigger[triggered["predicted_class"] == digits.target].mean() > tpr
    assert detector.detect(unseen)[1].mean() < 0.1


def test_detect_report_is_of_the_documented_shape(detector, mixed):
    report, is_trigger = detector.detect(mixed[0])
    n = len(mixed[0])
    assert report["predicted_class"].shape == report["outlier_scores"].shape == is_trigger.shape == (n,)
    assert report["layer_scores"].shape == (n, 5)
    assert report["layers"] == detector.layers_ == LAYERS
    assert is_trigger.dtype == bool
    assert np.isfinite(report["outlier_scores"]).all()
    assert ("layer_of_interest" in report) == (detector.mode == "paper") == hasattr(detector, "layer_profiles_")
    np.testing.assert_array_equal(is_trigger, report["outlier_scores"] > detector.threshold_)


def test_detect_does_not_depend_on_the_batch_size_nor_on_the_order(detector, digits, mixed):
    report, _ = detector.detect(mixed[0])
    order = np.random.default_rng(0).permutation(len(mixed[0]))
    other = fitted(digits, mode=detector.mode, batch_size=37)
    assert other.threshold_ == pytest.approx(detector.threshold_, rel=1e-4)
    shuffled, _ = other.detect(mixed[0][order], batch_size=11)
    np.testing.assert_allclose(shuffled["outlier_scores"], report["outlier_scores"][order], rtol=1e-3, atol=1e-3)
    np.testing.assert_allclose(shuffled["layer_scores"], report["layer_scores"][order], rtol=1e-3, atol=1e-3)


def test_fit_two_detectors_of_one_seed_are_equal_and_wide_layers_are_projected(digits, mixed):
    short = {"max_dims": 20}
    first, second, third = (fitted(digits, mode_params=short, random_state=seed).detect(mixed[0])[0] for seed in (3, 3, 4))
    np.testing.assert_array_equal(first["outlier_scores"], second["outlier_scores"])
    assert not np.array_equal(first["outlier_scores"], third["outlier_scores"])


def test_set_threshold_terms_agree_and_leave_the_scores_alone(detector, mixed, digits):
    changed = fitted(digits, mode=detector.mode)
    changed.set_threshold(tau=1.25)
    assert changed.threshold_ == 1.25
    changed.set_threshold(fpr=0.1)
    by_fpr = changed.threshold_
    changed.set_threshold(fpr=0.3)
    with pytest.warns(FutureWarning, match="write fpr=0.1 in place of quantile=0.9"):
        changed.set_threshold(quantile=0.9)
    assert changed.threshold_ == by_fpr
    assert changed.get_params()["fpr"] == 0.1
    changed.set_threshold()
    assert changed.threshold_ == detector.threshold_
    np.testing.assert_array_equal(
        changed.detect(mixed[0])[0]["outlier_scores"], detector.detect(mixed[0])[0]["outlier_scores"]
    )


def test_set_threshold_higher_false_positive_rate_is_a_lower_threshold(digits):
    detector = fitted(digits)
    thresholds = []
    for fpr in (0.01, 0.05, 0.2):
        detector.set_threshold(fpr=fpr)
        thresholds.append(detector.threshold_)
    assert thresholds[0] > thresholds[1] > thresholds[2]


def test_detector_classifier_of_art_gives_caught_samples_the_additional_class(detector, digits, mixed):
    combined = DetectorClassifier(wrapped(digits.network("white_square")), detector)
    with seeded(0):
        found = combined.predict(mixed[0]).argmax(axis=1)
    report, is_trigger = detector.detect(mixed[0])
    np.testing.assert_array_equal(found, np.where(is_trigger, 10, report["predicted_class"]))
    assert isinstance(detector, EvasionDetector)


@pytest.mark.slow
def test_detector_waveforms_are_judged_as_images_are():
    with seeded(0):
        network = nn.Sequential(
            nn.Unflatten(1, (1, -1)),
            nn.Conv1d(1, 4, 9, 4),
            nn.ReLU(),
            nn.Conv1d(4, 8, 9, 4),
            nn.Flatten(),
            nn.LazyLinear(2),
        )
        network(torch.zeros(1, 200))
    random = np.random.default_rng(0)
    times, y = np.arange(200) / 200, np.arange(120) % 2
    x = np.sin(2 * np.pi * (5 + 20 * y[:, None]) * (times + 0.01 * random.uniform(size=(120, 1)))).astype(np.float32)
    x += 0.1 * random.normal(size=x.shape).astype(np.float32)
    optimiser = torch.optim.Adam(network.parameters(), lr=0.01)
    for _ in range(60):
        optimiser.zero_grad()
        nn.functional.cross_entropy(network(torch.from_numpy(x)), torch.from_numpy(y)).backward()
        optimiser.step()
    for mode in MODES:
        detector = LayerwiseFeatureDetector(wrapped(network, (200,), 2), mode=mode, layers=["1", "2", "3", "5"], fpr=0.05)
        detector.fit(x, y)
        report, _ = detector.detect(x)
        noise = random.normal(size=(20, 200)).astype(np.float32)
        assert np.median(detector.detect(noise)[0]["outlier_scores"]) > np.quantile(report["outlier_scores"], 0.9)


# Saving


def test_save_and_load_give_the_same_detector(detector, digits, mixed, tmp_path):
    detector.save(tmp_path / "detector.safetensors")
    loaded = LayerwiseFeatureDetector.load(tmp_path / "detector.safetensors", wrapped(digits.network("white_square")))
    report, is_trigger = loaded.detect(mixed[0])
    expected_report, expected = detector.detect(mixed[0])
    np.testing.assert_array_equal(is_trigger, expected)
    assert report.keys() == expected_report.keys()
    for name in report:
        np.testing.assert_array_equal(report[name], expected_report[name])
    assert loaded.tunables() == detector.tunables()
    loaded.set_threshold(fpr=0.1)
    fresh = fitted(digits, mode=detector.mode, fpr=0.1)
    assert loaded.threshold_ == fresh.threshold_


@pytest.mark.parametrize("draw", [folding_signs, projection_matrix], ids=["signs", "directions_of_the_release_before"])
def test_a_detector_that_shortens_vectors_is_the_same_after_loading(digits, mixed, tmp_path, monkeypatch, draw):
    monkeypatch.setattr(mahalanobis, "folding_signs", draw)
    detector = fitted(digits, mode_params={"max_dims": 20})
    assert any(one is not None for one in detector.fitted_rule().projections.values())
    expected, _ = detector.detect(mixed[0])
    detector.save(tmp_path / "detector.safetensors")
    loaded = LayerwiseFeatureDetector.load(tmp_path / "detector.safetensors", detector.classifier)
    np.testing.assert_array_equal(loaded.detect(mixed[0])[0]["outlier_scores"], expected["outlier_scores"])


def test_load_for_another_model_is_refused(detector, digits, tmp_path):
    detector.save(tmp_path / "detector.safetensors")
    with pytest.raises(FileFormatError, match="was saved for another model"):
        LayerwiseFeatureDetector.load(tmp_path / "detector.safetensors", wrapped(digits.network("clean")))


def test_load_damaged_or_foreign_file_is_refused(detector, digits, tmp_path):
    classifier, path = wrapped(digits.network("white_square")), tmp_path / "detector.safetensors"
    with pytest.raises(FileFormatError, match="does not exist"):
        LayerwiseFeatureDetector.load(path, classifier)
    save_arrays(path, "in_flight_detector", {"a": np.zeros(1)}, {})
    with pytest.raises(FileFormatError, match="in_flight_detector"):
        LayerwiseFeatureDetector.load(path, classifier)
    save_arrays(path, layerwise_files.FILE_KIND, {"a": np.zeros(1)}, {"layers": []})
    with pytest.raises(FileFormatError, match="does not hold a detector of this release"):
        LayerwiseFeatureDetector.load(path, classifier)
    detector.save(path)
    path.write_bytes(path.read_bytes()[:-7])
    with pytest.raises(FileFormatError):
        LayerwiseFeatureDetector.load(path, classifier)


# Rules for hard cases


@pytest.mark.parametrize(
    "call",
    [
        lambda detector, x: detector.detect(x),
        lambda detector, x: detector.predict(x),
        lambda detector, x: detector.save("nowhere"),
        lambda detector, x: detector.set_threshold(tau=2),
    ],
    ids=["detect", "predict", "save", "set_threshold"],
)
def test_detector_before_fit_says_to_call_fit(digits, call):
    with pytest.raises(NotFittedError, match=r"call fit\(x_val, y_val\) first"):
        call(LayerwiseFeatureDetector(wrapped(digits.network("clean"))), digits.x_test)


def without_forward(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layerwise_learning, "find_blocks", None)
    for rule in layerwise_options.RULES.values():
        monkeypatch.setattr(rule, "observe", None)


def test_fit_paper_too_few_samples_of_a_class_are_refused_with_the_remedy_before_any_forward_pass(digits, monkeypatch):
    without_forward(monkeypatch)
    x, y = trusted(digits)
    rows = np.delete(np.arange(len(y)), np.flatnonzero(y == 4)[19:])
    with pytest.raises(
        InvalidInputError, match=r"needs at least 20 trusted samples of every class; received 19 of class 4.*pooled"
    ):
        LayerwiseFeatureDetector(wrapped(digits.network("clean")), mode="paper", layers=LAYERS).fit(x[rows], y[rows])


@pytest.mark.parametrize("mode", MODES)
def test_fit_small_class_is_pooled_with_a_warning(digits, mixed, caplog, mode):
    x, y = trusted(digits)
    rows = np.delete(np.arange(len(y)), np.flatnonzero(y == 4)[8:])
    detector = LayerwiseFeatureDetector(
        wrapped(digits.network("white_square")), mode=mode, layers=LAYERS, mode_params=POOLED[mode]
    )
    with caplog.at_level(logging.WARNING):
        detector.fit(x[rows], y[rows])
    assert "fewer than 20 trusted samples of class 4 correctly" in caplog.text
    report, _ = detector.detect(mixed[0])
    assert (report["outlier_scores"][report["predicted_class"] == 4] != 0).any()


@pytest.mark.parametrize("mode", MODES)
def test_fit_missing_class_is_warned_of_and_what_is_sent_there_passes(digits, mixed, caplog, mode):
    x, y = trusted(digits)
    detector = LayerwiseFeatureDetector(
        wrapped(digits.network("white_square")), mode=mode, layers=LAYERS, mode_params=POOLED[mode]
    )
    with caplog.at_level(logging.WARNING):
        detector.fit(x[y != 4], y[y != 4])
    assert (
        "classifies no trusted sample of class 4 correctly, so samples of this class are not judged and pass" in caplog.text
    )
    report, is_trigger = detector.detect(mixed[0])
    rows = report["predicted_class"] == 4
    assert rows.any()
    assert (report["outlier_scores"][rows] == 0).all()
    assert not is_trigger[rows].any()
    assert (report["outlier_scores"][~rows] != 0).all()


@pytest.mark.parametrize("mode", MODES)
def test_fit_model_that_predicts_no_sample_right_is_refused(digits, mode):
    x, y = trusted(digits)
    predicted = outputs_of(digits.network("clean"), x)[-1].argmax(axis=1)
    detector = LayerwiseFeatureDetector(
        wrapped(digits.network("clean")), mode=mode, layers=LAYERS, mode_params=POOLED[mode]
    )
    with pytest.raises(InvalidInputError, match=f"classifies none of the {len(y)} benign samples as its label says"):
        detector.fit(x, (predicted + 1) % 10)


def test_fit_paper_three_layers_are_refused(digits):
    detector = LayerwiseFeatureDetector(wrapped(digits.network("clean")), mode="paper", layers=LAYERS[:3])
    with pytest.raises(InvalidInputError, match=r"At least 4 layers are needed.*received 3"):
        detector.fit(*trusted(digits))


@pytest.mark.parametrize("mode", MODES)
def test_fit_constant_layer_says_nothing(mode):
    """The second ReLU gives zeros only; the sum around it goes on."""

    class Shortcut(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.first, self.dead, self.relu, self.last = nn.Linear(6, 8), nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 2)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            hidden = self.first(x)
            return self.last(hidden + self.relu(self.dead(hidden)))

    with seeded(0):
        network = Shortcut()
    nn.init.zeros_(network.dead.weight)
    nn.init.constant_(network.dead.bias, -1)
    x = np.random.default_rng(0).normal(size=(100, 6)).astype(np.float32)
    with torch.no_grad():
        y = network(torch.from_numpy(x)).argmax(dim=1).numpy()
    detector = LayerwiseFeatureDetector(
        wrapped(network, (6,), 2), mode=mode, layers=["first", "dead", "relu", "last"], mode_params=POOLED[mode]
    )
    detector.fit(x, y)
    report, _ = detector.detect(x + 1)
    assert np.isfinite(report["outlier_scores"]).all()
    constant = report["layer_scores"][:, 2]
    np.testing.assert_array_equal(constant, constant[0])  # without length: cosine 0; without variance: deviation 0


@pytest.mark.parametrize(
    ("name", "value"),
    [("mode", "peper"), ("layers", []), ("tau", float("inf")), ("fpr", 1), ("mode_params", 3), ("random_state", -1)],
)
def test_fit_bad_parameter_is_refused_by_name_and_the_old_one_stays(digits, monkeypatch, name, value):
    without_forward(monkeypatch)
    detector = LayerwiseFeatureDetector(wrapped(digits.network("clean")))
    before = detector.get_params()
    with pytest.raises(InvalidInputError, match=f"{name} must be"):
        detector.fit(*trusted(digits), **{name: value})
    assert detector.get_params() == before


def test_fit_two_terms_are_refused(digits, monkeypatch):
    without_forward(monkeypatch)
    with pytest.raises(InvalidInputError, match="exactly one of tau and fpr"):
        LayerwiseFeatureDetector(wrapped(digits.network("clean")), tau=2.0, fpr=0.1)
    with pytest.raises(InvalidInputError, match="exactly one of tau and fpr"):
        LayerwiseFeatureDetector(wrapped(digits.network("clean")), tau=2.0).fit(*trusted(digits), fpr=0.1)


def test_detector_bad_samples_are_refused(detector, digits):
    bad = np.array(digits.x_test)
    bad[3, 0, 1, 1] = np.nan
    with pytest.raises(InvalidInputError, match="Row 3"):
        detector.detect(bad)
    with pytest.raises(InvalidInputError, match=r"shape \(1, 8, 8\)"):
        detector.detect(digits.x_test[:, :, 1:])
    with pytest.raises(InvalidInputError, match="takes no tau"):
        detector.detect(digits.x_test, tau=2)


# The filter


def poisoned(digits: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """What the network of the ``digits`` fixture was trained on."""
    x, y = np.array(digits.x_train), np.array(digits.y_train)
    rows = np.random.default_rng(1).choice(np.flatnonzero(y != digits.target), len(x) // 10, replace=False)
    x[rows], y[rows] = digits.white_square(x[rows]), digits.target
    return x, y, np.isin(np.arange(len(y)), rows)


def test_filter_with_trusted_data_removes_the_poison(digits):
    x, y, is_poison = poisoned(digits)
    defence = LayerwiseFeatureDefence(
        wrapped(digits.network("white_square")), x, y, *trusted(digits), layers=LAYERS, fpr=0.05
    )
    report, is_clean = defence.detect_poison()
    removed = np.array(is_clean) == 0
    assert removed[is_poison].mean() > 0.95
    assert removed[~is_poison].mean() < 0.01
    assert report["trusted"] is True
    assert report[f"Class_{digits.target}"]["n_removed"] == removed[y == digits.target].sum()
    assert defence.layer_scores_.shape == (len(x), 5)
    json.dumps(report, allow_nan=False)


@pytest.mark.parametrize(("layers", "expected"), [("abcde", "ab"), ("abcd", "ab"), ("ab", "a"), ("a", "a")])
def test_earlier_layers_are_half_of_them_and_one_at_least(layers, expected):
    assert "".join(earlier(list(layers))) == expected


def test_filter_asks_the_earlier_half_of_the_layers_for_the_content_of_groups(digits, monkeypatch):
    asked = []

    def find_nothing(*args: Any, content_layers: list[str], **_: Any) -> None:
        asked.append((args[4], content_layers))
        raise StopIteration

    monkeypatch.setattr(layerwise, "find_poison", find_nothing)
    classifier = wrapped(digits.network("clean"))
    with pytest.raises(StopIteration):
        LayerwiseFeatureDefence(classifier, digits.x_clean, digits.y_clean, layers=LAYERS).detect_poison()
    assert asked == [(LAYERS, LAYERS[:2])]


@pytest.mark.slow
def test_filter_typical_class_scores_as_its_trusted_samples_do(digits, monkeypatch):
    x, y, is_poison = poisoned(digits)
    x_val, y_val = trusted(digits)
    missing = y_val == 4
    options = {"layers": LAYERS, "fpr": 0.05}
    defence = LayerwiseFeatureDefence(
        wrapped(digits.network("white_square")), x, y, x_val[~missing], y_val[~missing], **options
    )
    defence.detect_poison()
    monkeypatch.setattr("art_plugins.defences.layers.mahalanobis.typical_shift", lambda *of: 0.0)
    unmoved = LayerwiseFeatureDefence(defence.classifier, x, y, defence.x_val, defence.y_val, **options)
    unmoved.detect_poison()
    moved = unmoved.outlier_scores_ - defence.outlier_scores_
    np.testing.assert_array_equal(defence.outlier_scores_[y == 4], 0)
    np.testing.assert_allclose(moved[y != 4], moved[y != 4][0], atol=1e-9)
    benign = ~is_poison & (y != 4)
    assert abs(np.median(defence.outlier_scores_[benign])) < abs(np.median(unmoved.outlier_scores_[benign]))


def test_filter_layers_of_the_model_are_found_when_none_are_named(digits):
    x, y, _ = poisoned(digits)
    defence = LayerwiseFeatureDefence(wrapped(digits.network("white_square")), x, y, *trusted(digits))
    report, _ = defence.detect_poison()
    assert report["layers"] == defence.layers_
    assert set(defence.layers_) <= {"0", *LAYERS}
    assert defence.layers_[-1] == "5"


def test_filter_without_trusted_data_a_few_foreign_samples_are_found(digits):
    """Thirty images of one class are replaced by noise."""
    x, y = np.array(digits.x_train), digits.y_train
    rows = np.flatnonzero(y == 6)[:30]
    x[rows] = np.random.default_rng(0).uniform(size=x[rows].shape)
    defence = LayerwiseFeatureDefence(wrapped(digits.network("clean")), x, y, layers=LAYERS, fpr=0.05)
    report, is_clean = defence.detect_poison()
    removed = np.array(is_clean) == 0
    assert report["trusted"] is False
    assert removed[rows].all()
    assert np.delete(removed, rows).mean() < 0.1


@pytest.mark.parametrize(
    ("change", "match"),
    [
        (lambda x, y: (x, None), "x_val and y_val together"),
        (lambda x, y: (None, y), "x_val and y_val together"),
        (lambda x, y: (x[:, :, 1:], y), "x_val must hold samples of the shape"),
        (lambda x, y: (x, y[:-1]), "Labels must be of shape"),
        (lambda x, y: (np.full_like(x, np.nan), y), "Row 0 of the trusted data"),
    ],
    ids=["no_labels", "no_samples", "shape", "length", "nan"],
)
def test_filter_bad_trusted_data_are_refused_before_any_forward_pass(digits, monkeypatch, change, match):
    without_forward(monkeypatch)
    defence = LayerwiseFeatureDefence(
        wrapped(digits.network("clean")), digits.x_train, digits.y_train, *change(*trusted(digits))
    )
    with pytest.raises(InvalidInputError, match=match):
        defence.detect_poison()


def test_filter_learns_from_at_most_so_many_samples_a_class(digits, monkeypatch):
    monkeypatch.setattr(layerwise_learning, "MOST_PER_CLASS", 30)
    x, y, _ = poisoned(digits)
    defence = LayerwiseFeatureDefence(wrapped(digits.network("white_square")), x, y, layers=LAYERS, mode="paper")
    report, is_clean = defence.detect_poison()
    assert max(report[f"Class_{label}"]["n_benign"] for label in range(10)) <= 24  # four fifths of 30
    assert len(is_clean) == len(x)


def test_public_names_are_these_classes():
    import art_plugins

    assert art_plugins.LayerwiseFeatureDefence is LayerwiseFeatureDefence
    assert art_plugins.LayerwiseFeatureDetector is LayerwiseFeatureDetector
    assert Path(art_plugins.__file__).is_file()
