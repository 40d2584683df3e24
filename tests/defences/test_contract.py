"""
One table of defences, driven through one set of rules. A new defence adds one row to CASES and is held to all of them.

The data of every row: 60 samples in 3 classes; rows differ in what a sample is.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from art.defences.detector.poison import ActivationDefence
from art.defences.detector.poison.poison_filtering_defence import PoisonFilteringDefence
from art.estimators.classification import PyTorchClassifier
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from art_plugins.baselines.agpd import AGPD
from art_plugins.baselines.art_filters import ActivationClustering, SpectralSignatures, seeded_numpy
from art_plugins.baselines.bounds import PerfectFilter, RandomFilter
from art_plugins.baselines.confusion_training import ConfusionTraining
from art_plugins.baselines.detector_filter import DetectorFilter
from art_plugins.baselines.flare import FLARE, umap_is_installed
from art_plugins.baselines.label_issues import LabelIssues, cleanlab_is_installed
from art_plugins.baselines.psbd import PSBD
from art_plugins.baselines.pyod_filter import DETECTORS, PyODFilter, pyod_is_installed
from art_plugins.baselines.spectre import SPECTRE
from art_plugins.defences.encoder_features import EncoderFeatureDefence
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.defences.layerwise import LayerwiseFeatureDefence
from art_plugins.errors import InvalidInputError
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.vae.settings import AutoencoderSettings
from art_plugins.features.vae.training import seeded

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
N, K = 60, 3
LABELS = np.arange(N) % K
ONE_HOT = np.eye(K, dtype=np.float32)[LABELS]
SMALL = {"latent_dim": 4, "step_latent_dim": 2, "embedding_dim": 8, "hidden_dim": 8, "channels": 2}
SMALL_AUDIO = {**SMALL, "sample_rate_hz": 1_600, "n_mels": 8, "window_s": 0.02, "hop_s": 0.05}
SHAPES = {"waveform": (800,), "spectrogram": (6, 11), "image": (3, 10, 9)}


@dataclass(frozen=True)
class Case:
    """
    ``make(x, y)``: a defence, quick to run; ``sample_shape``: of x; ``refused``: bad values by parameter; ``changed``:
    good values other than the default; ``looks_at_data``: whether it must refuse NaN.
    """

    make: Callable[..., PoisonFilteringDefence]
    sample_shape: tuple[int, ...]
    changed: dict[str, Any] = field(default_factory=dict)
    refused: tuple[tuple[str, Any], ...] = ()
    looks_at_data: bool = True


@functools.cache
def classifier(sample_shape: tuple[int, ...] = SHAPES["image"]) -> PyTorchClassifier:
    with seeded(0):
        size = int(np.prod(sample_shape))
        model = nn.Sequential(nn.Flatten(), nn.Linear(size, 12), nn.ReLU(), nn.Linear(12, K))
    return PyTorchClassifier(model, nn.CrossEntropyLoss(), sample_shape, K, device_type="cpu")


@functools.cache
def fitted(kind: str) -> Autoencoder:
    """Trained once, so that rules that are not about training need none."""
    return Autoencoder(AutoencoderSettings(kind=kind, **SMALL_AUDIO)).fit(samples(SHAPES[kind]), nb_epochs=1, verbose=False)


def samples(sample_shape: tuple[int, ...], n: int = N, seed: int = 0) -> np.ndarray:
    x = np.random.default_rng(seed).uniform(-0.5, 0.5, size=(n, *sample_shape)).astype(np.float32)
    x.setflags(write=False)
    return x


def vae(kind: str, **options: Any) -> Case:
    def make(x: Any, y: Any, **more: Any) -> VAELatentDefence:
        known = {"kind": kind, "nb_epochs": 1, "verbose": False, **SMALL_AUDIO, **options}
        return VAELatentDefence(more.pop("classifier", None), x, y, **known, **more)

    return Case(
        make,
        SHAPES[kind],
        changed={"scoring_params": {"nb_trials": 3, "threshold": 0.5}, "class_rule": "argmax", "nb_dims": np.int64(2)},
        refused=(
            *[(name, 0) for name in ("nb_epochs", "batch_size", "nb_dims", "nb_trials", "n_init", "latent_dim", "n_mels")],
            *[(name, 1.5) for name in ("nb_epochs", "batch_size", "nb_dims", "channels", "patience", "random_state")],
            *[(name, float("nan")) for name in ("threshold", "learning_rate", "floor")],
            *[(name, "no such name") for name in ("kind", "posterior", "precision", "whiten", "shrinkage", "class_rule")],
            *[(name, "text") for name in ("threshold", "learning_rate", "hop_s", "nb_epochs", "refine")],
            ("patience", 0),
            ("random_state", -1),
            ("autoencoder", 3),
        ),
    )


@functools.cache
def with_batch_norm() -> PyTorchClassifier:
    with seeded(0):
        model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 56, K))
    return PyTorchClassifier(model, nn.CrossEntropyLoss(), SHAPES["image"], K, device_type="cpu")


def baseline(kind: type, **options: Any) -> Callable[..., PoisonFilteringDefence]:
    return lambda x, y, **more: kind(more.pop("classifier", classifier()), x, y, **options, **more)


def flare(x: Any, y: Any, **more: Any) -> FLARE:
    """Its clusters are small enough for 60 samples."""
    return FLARE(more.pop("classifier", with_batch_norm()), x, y, **{"n_neighbors": 8, "min_cluster_size": 10, **more})


def layerwise(x: Any, y: Any, trusted: bool = True, **more: Any) -> LayerwiseFeatureDefence:
    """Its trusted samples are others than those that it judges."""
    val = (samples(SHAPES["image"], seed=1), LABELS) if trusted else (None, None)
    return LayerwiseFeatureDefence(
        more.pop("classifier", classifier()), x, y, *val, **{"mode_params": {"n_folds": 3}, **more}
    )


def with_trusted(kind: type, **options: Any) -> Callable[..., PoisonFilteringDefence]:
    """Its trusted samples are others than those that it judges."""
    return baseline(kind, x_val=samples(SHAPES["image"], seed=1), y_val=LABELS, **options)


def means(x: np.ndarray) -> np.ndarray:
    """An encoder that is no network: mean of every row of every colour."""
    return x.mean(axis=3).reshape(len(x), -1)


def encoder_case(encoder: Any, **changed: Any) -> Case:
    def make(x: Any, y: Any, **more: Any) -> EncoderFeatureDefence:
        return EncoderFeatureDefence(more.pop("classifier", None), x, y, **{"encoder": encoder, **more})

    return Case(
        make,
        SHAPES["image"],
        changed={"fpr": 0.2, "batch_size": 16, "random_state": np.int64(3), **changed},
        refused=(
            *[("encoder", bad) for bad in (3, None, "resnet18", "nowhere:resnet18", "timm:")],
            *[("fpr", bad) for bad in (0, 1, "a", float("nan"))],
            *[(name, bad) for name in ("batch_size", "random_state", "sample_rate_hz") for bad in (-1, 1.5)],
            *[("layers", bad) for bad in ([], ["1", "1"], "fc")],
            ("channels_first", "first"),
        ),
    )


def perfect(x: Any, y: Any, **more: Any) -> PerfectFilter:
    return PerfectFilter(more.pop("classifier", None), x, y, is_poison=np.arange(N) % 5 == 0, **more)


CASES = [
    pytest.param(vae("waveform"), id="vae_waveform", marks=pytest.mark.slow),
    pytest.param(vae("spectrogram", posterior="full"), id="vae_spectrogram"),
    pytest.param(vae("image"), id="vae_image"),
    pytest.param(
        Case(
            baseline(ActivationClustering, nb_dims=2),
            SHAPES["image"],
            changed={"features": "logits", "random_state": 4},
            refused=(("features", "pixels"),),
        ),
        id="activation_clustering",
    ),
    pytest.param(
        Case(
            baseline(SpectralSignatures),
            SHAPES["image"],
            changed={"features": "logits", "random_state": 4},
            refused=(("features", "pixels"),),
        ),
        id="spectral_signatures",
    ),
    pytest.param(
        Case(
            layerwise,
            SHAPES["image"],
            changed={"fpr": 0.2, "mode_params": {"n_folds": np.int64(2)}, "random_state": np.int64(3)},
            refused=(
                ("mode", "best"),
                ("layers", []),
                ("layers", ["1", "1"]),
                ("layers", "fc"),
                ("tau", 2.0),  # beside fpr
                ("fpr", 1.0),
                *[("mode_params", bad) for bad in (3, ["n_folds"], {"n_fold": 3}, {"pooled": True})],
                *[(name, bad) for name in ("batch_size", "random_state") for bad in (-1, 1.5)],
            ),
        ),
        id="layerwise",
    ),
    pytest.param(
        Case(
            functools.partial(layerwise, trusted=False),
            SHAPES["image"],
            changed={"fpr": 0.2, "mode_params": {"max_dims": 20}},
            refused=(("fpr", -0.5), ("fpr", 2)),
        ),
        id="layerwise_without_trusted_data",
    ),
    pytest.param(
        Case(
            functools.partial(layerwise, mode="paper", layers=["0", "1", "2", "3"], mode_params={"pooled": True}),
            SHAPES["image"],
            changed={"tau": 1.5},
            refused=(("tau", float("nan")), ("layers", ["no such layer", 3])),
        ),
        id="layerwise_paper",
    ),
    pytest.param(encoder_case(means), id="encoder_function"),
    pytest.param(encoder_case(with_batch_norm().model, layers=["0", ""]), id="encoder_module"),
    pytest.param(
        Case(
            baseline(SPECTRE),
            SHAPES["image"],
            changed={"fraction": 0.2, "alpha": 1.0, "max_dims": np.int64(3), "batch_size": 16},
            refused=(
                *[("fraction", bad) for bad in (0, 0.5, "a", float("nan"))],
                *[("alpha", bad) for bad in (-1, "a", float("inf"))],
                *[(name, bad) for name in ("max_dims", "batch_size") for bad in (0, 1.5)],
            ),
        ),
        id="spectre",
    ),
    *[
        pytest.param(
            Case(
                baseline(PyODFilter, detector=name),
                SHAPES["image"],
                changed={"cutoff": 1.0, "batch_size": 16, "random_state": 4},
                refused=(
                    ("detector", "best"),
                    *[("cutoff", bad) for bad in (0, "a", float("nan"))],
                    *[(name, bad) for name in ("batch_size", "random_state") for bad in (-1, 1.5)],
                ),
            ),
            id=f"pyod_{name}",
            marks=pytest.mark.skipif(not pyod_is_installed(), reason="PyOD is not installed"),
        )
        for name in DETECTORS
    ],
    pytest.param(
        Case(
            flare,
            SHAPES["image"],
            changed={"n_neighbors": 5, "min_cluster_size": 20, "least_stability": 0.5, "batch_size": 16, "random_state": 4},
            refused=(
                *[(name, bad) for name in ("n_neighbors", "min_cluster_size") for bad in (1, 2.5, "a")],
                *[("least_stability", bad) for bad in (-1, "a", float("nan"))],
                *[(name, bad) for name in ("batch_size", "random_state") for bad in (-1, 1.5)],
            ),
        ),
        id="flare",
        marks=[pytest.mark.slow, pytest.mark.skipif(not umap_is_installed(), reason="umap-learn is not installed")],
    ),
    pytest.param(
        Case(
            with_trusted(DetectorFilter, detector="cognitive_distillation", detector_params={"nb_steps": 3}),
            SHAPES["image"],
            changed={"detector_params": {"nb_steps": 2, "fpr": 0.3}, "batch_size": 16},
            refused=(
                ("detector", "best"),
                ("batch_size", 1.5),
                *[("detector_params", bad) for bad in (3, ["fpr"], {"n_copies": 3})],
            ),
        ),
        id="detector_filter",
    ),
    pytest.param(
        Case(
            baseline(LabelIssues, n_folds=3),
            SHAPES["image"],
            changed={"filter_by": "both", "n_folds": 2, "batch_size": 16, "random_state": 4},
            refused=(
                ("filter_by", "best"),
                *[(name, bad) for name in ("n_folds", "batch_size", "random_state") for bad in (-1, 1.5)],
            ),
        ),
        id="cleanlab",
        marks=pytest.mark.skipif(not cleanlab_is_installed(), reason="cleanlab is not installed"),
    ),
    pytest.param(
        Case(
            with_trusted(AGPD),
            SHAPES["image"],
            changed={"layers": ["1"], "step": 0.2, "batch_size": 16},
            refused=(
                *[("step", bad) for bad in (0, 1, "a", float("nan"))],
                *[("batch_size", bad) for bad in (-1, 1.5)],
                ("layers", "1"),
            ),
        ),
        id="agpd",
    ),
    pytest.param(
        Case(
            with_trusted(PSBD),
            SHAPES["image"],
            changed={
                "layers": ["1"],
                "rate": 0.4,
                "n_passes": np.int64(2),
                "quantile": 0.5,
                "batch_size": 16,
                "random_state": 4,
            },
            refused=(
                *[("rate", bad) for bad in (0, 1, "a", float("nan"))],
                *[("quantile", bad) for bad in (-0.1, 1.5, "a")],
                *[(name, bad) for name in ("n_passes", "batch_size", "random_state") for bad in (-1, 1.5)],
                ("layers", "1"),
                ("layers", []),
            ),
        ),
        id="psbd",
    ),
    pytest.param(
        Case(
            with_trusted(ConfusionTraining, nb_epochs=2, n_steps=10),
            SHAPES["image"],
            changed={
                "shares": [0.3],
                "nb_epochs": np.int64(1),
                "n_steps": 7,
                "learning_rate": 0.1,
                "batch_size": 16,
                "random_state": 4,
            },
            refused=(
                *[("shares", bad) for bad in ((), [0.5, 0], [1.5], 0.5, ["a"], [float("nan")], [True])],
                *[(name, bad) for name in ("nb_epochs", "n_steps") for bad in (0, 1.5, "a")],
                *[("learning_rate", bad) for bad in (0, "a", float("inf"))],
                *[("batch_size", bad) for bad in (1, 1.5)],
                *[("random_state", bad) for bad in (-1, 1.5)],
            ),
        ),
        id="confusion_training",
    ),
    pytest.param(Case(perfect, SHAPES["image"], looks_at_data=False), id="perfect"),
    pytest.param(
        Case(
            baseline(RandomFilter, n_removed=7),
            SHAPES["image"],
            changed={"n_removed": 11, "random_state": 4},
            refused=(("n_removed", -1), ("n_removed", N + 1)),
            looks_at_data=False,
        ),
        id="random",
    ),
]
every_case = pytest.mark.parametrize("case", CASES)


def detect(case: Case, x: np.ndarray | None = None, y: Any = LABELS, **kwargs: Any) -> tuple[dict[str, Any], list[int]]:
    return case.make(samples(case.sample_shape) if x is None else x, y).detect_poison(**kwargs)


_DETECTED: dict[int, tuple[PoisonFilteringDefence, tuple[dict[str, Any], list[int]]]] = {}


def detected(case: Case) -> tuple[PoisonFilteringDefence, tuple[dict[str, Any], list[int]]]:
    """A defence and its verdict, computed once for all rules that compare with it; leave both as they are."""
    if id(case) not in _DETECTED:
        defence = case.make(samples(case.sample_shape), LABELS)
        _DETECTED[id(case)] = (defence, defence.detect_poison())
    return _DETECTED[id(case)]


def assert_is_verdict(verdict: Any, n: int) -> None:
    report, is_clean = verdict
    assert isinstance(report, dict)
    json.loads(json.dumps(report, allow_nan=False))
    assert isinstance(is_clean, list)
    assert len(is_clean) == n
    assert all(type(value) is int and value in (0, 1) for value in is_clean)


class Untouchable:
    """Data that a constructor may keep but not look at."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"__init__ asked its data for {name}")

    def __len__(self) -> int:
        raise AssertionError("__init__ asked its data for its length")


@every_case
def test_defence_is_one_of_arts_filters(case):
    assert isinstance(case.make(samples(case.sample_shape), LABELS), PoisonFilteringDefence)


@every_case
def test_defence_init_keeps_its_data_and_looks_at_nothing(case):
    x, y = Untouchable(), Untouchable()
    defence = case.make(x, y)
    assert defence.x_train is x
    assert defence.y_train is y


@every_case
def test_detect_poison_returns_a_json_safe_report_and_a_list_of_zeros_and_ones(case):
    assert_is_verdict(detected(case)[1], N)


@every_case
@pytest.mark.parametrize(
    "y",
    [LABELS[:, None], ONE_HOT, ONE_HOT.astype(bool), LABELS.astype(np.float64), LABELS.tolist()],
    ids=["column", "one_hot", "one_hot_bool", "float", "list"],
)
def test_detect_poison_labels_of_every_form_give_the_same_verdict(case, y):
    report, is_clean = detect(case, y=y)
    expected_report, expected = detected(case)[1]
    assert is_clean == expected
    assert report == expected_report


@every_case
def test_detect_poison_two_runs_of_one_seed_are_equal(case):
    first, (second, expected) = case.make(samples(case.sample_shape), LABELS), detected(case)
    assert first.detect_poison() == expected
    assert first.detect_poison() == expected
    if hasattr(first, "outlier_scores_"):
        np.testing.assert_array_equal(first.outlier_scores_, second.outlier_scores_)
        assert first.outlier_scores_.shape == (N,)
        assert np.isfinite(first.outlier_scores_).all()


@every_case
def test_detect_poison_data_and_labels_are_left_as_they_were(case):
    x, y = samples(case.sample_shape).copy(), ONE_HOT.copy()
    defence = case.make(x, y)
    defence.detect_poison()
    np.testing.assert_array_equal(x, samples(case.sample_shape))
    np.testing.assert_array_equal(y, ONE_HOT)
    assert defence.x_train is x
    assert defence.y_train is y


@every_case
def test_detect_poison_memory_map_equals_the_array(case, tmp_path):
    x = samples(case.sample_shape)
    x.tofile(tmp_path / "x.bin")
    mapped = np.memmap(tmp_path / "x.bin", dtype=np.float32, mode="r", shape=x.shape)
    assert detect(case, mapped) == detected(case)[1]


@every_case
def test_detect_poison_every_parameter_can_be_given_to_it_as_armory_does(case):
    defence = case.make(samples(case.sample_shape), LABELS)
    assert defence.detect_poison(**defence.get_params()) == detected(case)[1]
    defence.detect_poison(**case.changed)
    assert {name: defence.get_params()[name] for name in case.changed} == case.changed


@every_case
def test_set_params_good_value_is_taken(case):
    defence = case.make(samples(case.sample_shape), LABELS)
    before = defence.get_params()
    defence.set_params(**case.changed)
    assert defence.get_params() == {**before, **case.changed}


@every_case
@pytest.mark.parametrize("through", ["set_params", "detect_poison"])
def test_unknown_parameter_is_refused_naming_the_accepted_ones_and_changes_nothing(case, through):
    defence = case.make(samples(case.sample_shape), LABELS)
    before = defence.get_params()
    with pytest.raises(InvalidInputError) as caught:
        getattr(defence, through)(**case.changed, nb_cluster=2)
    assert "nb_cluster" in str(caught.value)
    assert all(name in str(caught.value) for name in before)
    assert defence.get_params() == before


@every_case
@pytest.mark.parametrize("through", ["set_params", "detect_poison"])
def test_bad_value_is_refused_by_name_and_the_old_one_stays(case, through):
    defence = case.make(samples(case.sample_shape), LABELS)
    before = defence.get_params()
    for name, value in case.refused:
        with pytest.raises(InvalidInputError) as caught:
            getattr(defence, through)(**{**case.changed, name: value})
        assert name in str(caught.value)
        assert str(value) in str(caught.value) or type(value).__name__ in str(caught.value)
        assert defence.get_params() == before


@every_case
@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_detect_poison_sample_that_is_not_finite_is_named_before_any_training(case, bad, monkeypatch):
    if not case.looks_at_data:
        return
    x = samples(case.sample_shape).copy()
    x[23].flat[4] = bad
    trained = []
    monkeypatch.setattr("art_plugins.features.vae.training.train", lambda *arguments, **keywords: trained.append(1))
    with pytest.raises(InvalidInputError, match="23"):
        detect(case, x)
    assert not trained


@every_case
@pytest.mark.parametrize(
    "y",
    [LABELS[:-1], LABELS - 1, LABELS + 0.5, ONE_HOT * 2, np.array(["a"] * N), np.zeros((N, 2, 2))],
    ids=["short", "negative", "fractions", "not_one_hot", "names", "three_axes"],
)
def test_detect_poison_bad_labels_are_refused_before_any_training(case, y, monkeypatch):
    trained = []
    monkeypatch.setattr("art_plugins.features.vae.training.train", lambda *arguments, **keywords: trained.append(1))
    with pytest.raises(InvalidInputError, match="abel"):
        detect(case, y=y)
    assert not trained


# Evaluation


@every_case
def test_evaluate_defence_counts_equal_those_by_hand_in_arts_json(case):
    defence = case.make(samples(case.sample_shape), ONE_HOT)
    is_clean = np.array(defence.detect_poison()[1])
    # Two of three verdicts are right, and class 2 has no poison: a rate there is 0/0.
    truth = np.where((np.arange(N) % 4 == 0) & (LABELS != 2), 0, 1)
    found = json.loads(defence.evaluate_defence(truth))
    assert list(found) == ["class_0", "class_1", "class_2"]
    for label in range(K):
        said_poison, is_poison = is_clean[label == LABELS] == 0, truth[label == LABELS] == 0
        counts = {
            "TruePositive": (said_poison & is_poison, is_poison),
            "TrueNegative": (~said_poison & ~is_poison, ~is_poison),
            "FalsePositive": (said_poison & ~is_poison, ~is_poison),
            "FalseNegative": (~said_poison & is_poison, is_poison),
        }
        for name, (hits, among) in counts.items():
            rate = round(100 * hits.sum() / among.sum(), 2) if among.any() else -1
            expected = {"rate": rate, "numerator": hits.sum(), "denominator": among.sum()}
            assert found[f"class_{label}"][name] == expected


@every_case
def test_evaluate_defence_has_the_structure_of_arts_activation_defence(case):
    x = samples(SHAPES["image"])
    truth = np.arange(N) % 4 != 0
    with seeded_numpy(0), seeded(0):
        art = json.loads(ActivationDefence(classifier(), x, ONE_HOT).evaluate_defence(truth, nb_dims=2))
    ours = json.loads(case.make(samples(case.sample_shape), ONE_HOT).evaluate_defence(truth))

    def structure(value: Any) -> Any:
        return (
            {key: structure(inner) for key, inner in value.items()} if isinstance(value, dict) else isinstance(value, str)
        )

    assert structure(ours) == structure(art)


@every_case
def test_evaluate_defence_is_of_the_last_detection_and_does_not_detect_again(case, monkeypatch):
    defence = case.make(samples(case.sample_shape), LABELS)
    defence.detect_poison()
    first = defence.evaluate_defence(np.ones(N))
    monkeypatch.setattr(defence, "detect_poison", None)
    assert defence.evaluate_defence(np.ones(N)) == first


@every_case
def test_evaluate_defence_without_a_detection_detects_first(case):
    truth = np.arange(N) % 4 != 0
    ready, _ = detected(case)
    assert case.make(samples(case.sample_shape), LABELS).evaluate_defence(truth) == ready.evaluate_defence(truth)


@every_case
@pytest.mark.parametrize(
    "truth",
    [None, [], np.ones(N - 1), np.ones((N, 1)), np.full(N, 2), np.full(N, np.nan)],
    ids=["none", "empty", "short", "column", "twos", "nan"],
)
def test_evaluate_defence_bad_truth_is_refused(case, truth):
    with pytest.raises(InvalidInputError, match="is_clean"):
        case.make(samples(case.sample_shape), LABELS).evaluate_defence(truth)


# Any data: hypothesis draws sizes and labels


@pytest.mark.slow
@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(labels=st.lists(st.integers(0, 5), min_size=1, max_size=70), kind=st.sampled_from(sorted(SHAPES)), data=st.data())
def test_vae_any_number_of_samples_and_any_labels_are_judged(labels, kind, data):
    n = len(labels)
    labels = np.array(labels)
    y = data.draw(st.sampled_from([labels, labels[:, None], np.eye(6)[labels], np.eye(9)[labels]]))
    defence = VAELatentDefence(None, samples(SHAPES[kind], n, seed=n), y, autoencoder=fitted(kind), nb_trials=2)
    verdict = defence.detect_poison(class_rule=data.draw(st.sampled_from(["mad", "argmax"])))
    assert_is_verdict(verdict, n)
    nb_classes = y.shape[1] if y.ndim == 2 and y.shape[1] > 1 else labels.max() + 1
    assert defence.class_scores_.shape == (nb_classes,)
    assert {f"Class_{label}" for label in range(nb_classes)} <= set(verdict[0])
    removed = np.array(verdict[1]) == 0
    assert not removed[~np.isin(labels, defence.poisoned_classes_)].any()
    confusion = json.loads(defence.evaluate_defence(np.ones(n)))
    assert sum(entry["FalsePositive"]["numerator"] for entry in confusion.values()) == removed.sum()


@pytest.mark.slow
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    shape=st.one_of(
        st.tuples(st.integers(40, 900)),
        st.tuples(st.integers(1, 9), st.integers(1, 20)),
        st.tuples(st.sampled_from([1, 3]), st.integers(5, 12), st.integers(5, 12)),
        st.tuples(st.integers(5, 12), st.integers(5, 12), st.sampled_from([1, 3])),
    ),
    n=st.integers(2, 40),
    batch_size=st.integers(2, 20),
    dtype=st.sampled_from([np.float32, np.float64, np.int16, np.uint8]),
)
def test_vae_any_shape_of_samples_is_trained_on_and_judged(shape, n, batch_size, dtype):
    x = np.random.default_rng(n).uniform(0, 100, size=(n, *shape)).astype(dtype)
    kind = {1: "waveform", 2: "spectrogram", 3: "image"}[len(shape)]
    defence = VAELatentDefence(
        None, x, np.arange(n) % 2, kind=kind, nb_epochs=1, batch_size=batch_size, verbose=False, **SMALL_AUDIO
    )
    assert_is_verdict(defence.detect_poison(), n)
    assert defence.latents_.shape == (n, SMALL["latent_dim"])


def test_vae_parameters_are_few_and_those_of_the_data_have_the_autoencoders_defaults():
    defaults = VAELatentDefence(None, None, None).tunables()
    assert list(defaults) == VAELatentDefence.defence_params
    assert len(defaults) <= 16
    assert defaults["autoencoder"] is defaults["scoring_params"] is None
    settings = AutoencoderSettings()
    assert [defaults[name] for name in ("channels_first", "sample_rate_hz")] == [
        settings.channels_first,
        settings.sample_rate_hz,
    ]


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("autoencoder", {"latent_dims": 3}),
        ("autoencoder", {"kind": "image"}),
        ("scoring_params", {"nb_trial": 3}),
        ("scoring_params", [3]),
    ],
)
def test_vae_group_of_settings_with_an_unknown_name_is_refused(name, value):
    with pytest.raises(InvalidInputError, match=rf"{name} must "):
        VAELatentDefence(None, None, None, **{name: value})


def test_vae_old_names_are_carried_over_one_by_one_and_say_the_new_form():
    defence = VAELatentDefence(None, None, None, scoring_params={"n_init": 5})
    with pytest.warns(FutureWarning, match=r"write scoring_params=\{'nb_trials': 3\}"):
        defence.set_params(nb_trials=3)
    with pytest.warns(FutureWarning, match=r"write autoencoder=\{'patience': None\}"):
        defence.set_params(patience=None)
    assert defence.scoring_params == {"n_init": 5, "nb_trials": 3}
    assert defence.autoencoder == {"patience": None}


def test_vae_global_generator_of_torch_is_given_back():
    before = torch.get_rng_state()
    detect(vae("image"))
    assert torch.equal(torch.get_rng_state(), before)
