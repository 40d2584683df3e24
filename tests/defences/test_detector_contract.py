"""
One table of detectors, driven through one set of rules. A new detector adds one row to CASES and is held to all of them.

The data of every row are the digits, with a network that has a backdoor. What is special to one kind of detector is tested
in its own file.
"""

from __future__ import annotations

import copy
import functools
import json
import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
import torch
from art.defences.detector.evasion import EvasionDetector
from art.estimators.classification import PyTorchClassifier
from torch import nn

import art_plugins
from art_plugins.baselines.pyod_filter import pyod_is_installed
from art_plugins.errors import InvalidInputError, NotFittedError
from art_plugins.features.vae.training import seeded

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
LAYERS = ["1", "2", "3", "5"]


def white_square(x: np.ndarray) -> np.ndarray:
    x = np.array(x)
    x[..., 6:, 6:] = 1
    return x


@dataclass(frozen=True)
class Case:
    """
    ``name``: of the public class; ``arguments``: after the classifier; ``options``: those that make it quick;
    ``changed``: good values other than the defaults; ``refused``: bad values by parameter; ``reported``: what its report
    holds beside the model's classes and the scores; ``needs_batch_norm``: the network gets some that change nothing.
    """

    name: str
    changed: dict[str, Any]
    refused: tuple[tuple[str, Any], ...]
    arguments: tuple[Any, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)
    reported: tuple[str, ...] = ()
    needs_batch_norm: bool = False

    def make(self, digits: Any, network: nn.Module | None = None, classifier: Any = None, **parameters: Any) -> Any:
        if classifier is None:
            network = digits.network("white_square") if network is None else network
            network = with_batch_norms(network) if self.needs_batch_norm else network
            classifier = wrapped(network)
        return getattr(art_plugins, self.name)(classifier, *self.arguments, **{**self.options, **parameters})

    def fitted(self, digits: Any, **parameters: Any) -> Any:
        detector = self.make(digits, **parameters)
        detector.fit(digits.x_clean, digits.y_clean)
        return detector


def wrapped(network: nn.Module) -> PyTorchClassifier:
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu")


def with_batch_norms(network: nn.Module) -> nn.Module:
    """The same network, with a batch normalisation behind every hidden linear layer that gives what it receives."""
    layers = [*network] if isinstance(network, nn.Sequential) else [network]
    found: list[nn.Module] = []
    for layer in layers:
        found.append(layer)
        if isinstance(layer, nn.Linear) and layer is not layers[-1]:
            found.append(nn.BatchNorm1d(layer.out_features, eps=0))
    return nn.Sequential(*found).train(network.training)


THRESHOLD = (("fpr", -0.1), ("fpr", 1.0), ("fpr", "a"), ("threshold", math.inf), ("threshold", "a"))
SEED = (("random_state", -1), ("random_state", 1.5))
CASES = [
    pytest.param(
        Case(
            "STRIP",
            {"n_blends": 7, "weight": 0.25, "random_state": 4, "fpr": 0.2},
            (*THRESHOLD, *SEED, ("n_blends", 0), ("n_blends", 1.5), ("weight", 0), ("weight", 1.0)),
            options={"n_blends": 10},
        ),
        id="strip",
    ),
    pytest.param(Case("B3D", {"threshold": -0.5, "fpr": 0.2}, THRESHOLD, (white_square,)), id="b3d"),
    pytest.param(
        Case(
            "NeuralCleanseFilter",
            {"top": 0.5, "fpr": 0.2},
            (*THRESHOLD, ("top", 0), ("top", 1.1), ("top", math.nan)),
            (white_square,),
        ),
        id="neural_cleanse",
    ),
    pytest.param(
        Case(
            "ScaleUp",
            {"variant": "data-free", "scales": (2, 4), "fpr": 0.2},
            (*THRESHOLD, ("variant", "free"), ("scales", 3), ("scales", "35")),
        ),
        id="scale_up",
    ),
    pytest.param(
        Case(
            "Beatrix",
            {"orders": (1, 3), "width": 2.0, "layers": ["2"], "random_state": 3, "fpr": 0.2},
            (
                *THRESHOLD,
                *SEED,
                ("orders", 3),
                ("orders", "12"),
                ("width", 0),
                ("width", "a"),
                ("width", math.inf),
                ("layers", 2),
            ),
        ),
        id="beatrix",
        marks=pytest.mark.slow,
    ),
    pytest.param(
        Case("TED", {"layers": ["0", "2", "4"], "fpr": 0.2}, (*THRESHOLD, ("layers", "2"), ("layers", 2))),
        id="ted",
        marks=pytest.mark.skipif(not pyod_is_installed(), reason="PyOD is not installed"),
    ),
    pytest.param(
        Case(
            "TEDPlusPlus",
            {"layers": ["0", "2", "4"], "share": 0.8, "fpr": 0.2},
            (*THRESHOLD, ("layers", "2"), ("layers", 2), ("share", 0), ("share", 1.1)),
        ),
        id="ted_plus_plus",
        marks=pytest.mark.skipif(not pyod_is_installed(), reason="PyOD is not installed"),
    ),
    pytest.param(
        Case(
            "BaDExpert",
            {
                "unlearning_rate": 1e-3,
                "n_unlearning_epochs": 2,
                "fine_tuning_rate": 0.01,
                "n_fine_tuning_epochs": 3,
                "random_state": 3,
                "fpr": 0.2,
            },
            (
                *THRESHOLD,
                *SEED,
                ("unlearning_rate", 0),
                ("fine_tuning_rate", "a"),
                ("n_unlearning_epochs", 0),
                ("n_fine_tuning_epochs", 1.5),
            ),
            options={"n_fine_tuning_epochs": 1},
        ),
        id="bad_expert",
    ),
    pytest.param(
        Case(
            "STRIPViTA",
            {"n_blends": 7, "random_state": 4, "fpr": 0.2},
            (*THRESHOLD, *SEED, ("n_blends", 0), ("n_blends", 1.5)),
            options={"n_blends": 10},
        ),
        id="strip_vita",
    ),
    pytest.param(
        Case(
            "STEP",
            {"n_draws": 1, "random_state": 4, "fpr": 0.2},
            (*THRESHOLD, *SEED, ("n_draws", 0), ("n_draws", 1.5)),
            options={"n_draws": 2},
        ),
        id="step",
    ),
    pytest.param(
        Case(
            "IBDPSC",
            {"n_copies": 2, "factor": 1.2, "least_error": 0.3, "fpr": 0.2},
            (*THRESHOLD, ("n_copies", 0), ("factor", 1), ("factor", math.nan), ("least_error", 1.0)),
            needs_batch_norm=True,
        ),
        id="ibd_psc",
    ),
    pytest.param(
        Case(
            "CognitiveDistillation",
            {"nb_steps": 2, "learning_rate": 0.2, "sparsity": 0.1, "smoothness": 0, "random_state": 3, "fpr": 0.2},
            (*THRESHOLD, *SEED, ("nb_steps", 0), ("learning_rate", 0), ("sparsity", -1), ("smoothness", "a")),
            options={"nb_steps": 4},
        ),
        id="cognitive_distillation",
    ),
    pytest.param(
        Case(
            "InFlightDetector",
            {"density": {"family": "oas", "power": 1}, "n_layers": 1, "margin": 0.25, "removal": False, "random_state": 3},
            (*SEED, ("density", 3), ("density", {"famly": "oas"}), ("n_layers", 0), ("margin", 1), ("removal", 1)),
            (white_square, 3),
            reported=("source_class", "log_likelihoods", "n_not_finite"),
        ),
        id="in_flight",
    ),
    pytest.param(
        Case(
            "LayerwiseFeatureDetector",
            {"mode_params": {"n_folds": 3, "max_dims": 20}, "layers": LAYERS, "fpr": 0.2, "random_state": 3},
            (
                *SEED,
                ("mode", "best"),
                ("mode_params", 3),
                ("mode_params", {"pooled": True}),
                ("layers", "12"),
                ("fpr", 1.0),
            ),
            reported=("layer_scores", "layers", "n_not_finite", "contradicts", "likely_class", "likely_probability"),
        ),
        id="layerwise",
    ),
    pytest.param(
        Case(
            "LayerwiseFeatureDetector",
            {"tau": 1.5, "layers": ["0", *LAYERS]},
            (("tau", math.nan), ("mode_params", {"n_folds": 3}), ("layers", [])),
            options={"mode": "paper", "mode_params": {"pooled": True}, "layers": LAYERS},
            reported=("layer_scores", "layers", "n_not_finite", "layer_similarities", "layer_of_interest"),
        ),
        id="layerwise_paper",
    ),
]
every_case = pytest.mark.parametrize("case", CASES)


@pytest.fixture(scope="module")
def mixed(digits):
    """Test images, then those of the other classes with the trigger."""
    return np.concatenate([digits.x_test[:80], white_square(digits.x_test[digits.y_test != digits.target][:80])])


def n_hooks(network: nn.Module) -> int:
    return sum(len(module._forward_hooks) + len(module._forward_pre_hooks) for module in network.modules())


class Untouchable:
    """What a constructor may keep but not look at."""

    def __getattribute__(self, name: str) -> Any:
        raise AssertionError(f"__init__ asked for {name}")


def test_every_public_detector_has_a_row():
    kinds = {name: getattr(art_plugins, name) for name in art_plugins.__all__}
    public = {name for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, EvasionDetector)}
    assert {param.values[0].name for param in CASES} == public


@every_case
def test_init_gives_one_of_arts_detectors_and_looks_at_nothing(case, digits):
    classifier = Untouchable()
    detector = case.make(digits, classifier=classifier)
    assert isinstance(detector, EvasionDetector)
    assert detector.classifier is classifier


# Parameters


@pytest.mark.slow
@every_case
def test_set_params_good_values_are_taken_also_numpys(case, digits):
    detector = case.make(digits)
    before = detector.get_params()
    detector.set_params(
        **{name: np.asarray(value)[()] if np.isscalar(value) else value for name, value in case.changed.items()}
    )
    assert detector.get_params() == {**before, **case.changed}
    for name, value in case.changed.items():
        assert type(getattr(detector, name)) is type(value)


@every_case
@pytest.mark.parametrize("through", ["set_params", "fit", "__init__"])
def test_unknown_parameter_is_refused_naming_the_accepted_ones_and_changes_nothing(case, digits, through):
    detector = case.make(digits)
    before = detector.get_params()
    if through == "__init__":
        with pytest.raises((InvalidInputError, TypeError), match="no_such_thing"):
            case.make(digits, no_such_thing=2)
        return
    data = {"x": digits.x_clean, "y": digits.y_clean} if through == "fit" else {}
    with pytest.raises(InvalidInputError, match="Unknown parameter no_such_thing") as caught:
        getattr(detector, through)(**data, **case.changed, no_such_thing=2)
    assert all(name in str(caught.value) for name in before)
    assert detector.get_params() == before


@every_case
@pytest.mark.parametrize("through", ["set_params", "fit", "__init__"])
def test_bad_value_is_refused_by_name_and_the_old_one_stays(case, digits, through):
    for name, value in case.refused:
        detector = case.make(digits)
        before = detector.get_params()
        call = {
            "set_params": detector.set_params,
            "fit": functools.partial(detector.fit, digits.x_clean, digits.y_clean),
            "__init__": functools.partial(case.make, digits),
        }[through]
        with pytest.raises(InvalidInputError, match=f"{name} must (be|hold)") as caught:
            call(**{name: value})
        assert repr(value) in str(caught.value)
        assert repr(detector.get_params()) == repr(before)


@every_case
def test_fit_parameters_given_to_it_stay_set_and_equal_those_of_the_constructor(case, digits, mixed):
    detector = case.make(digits)
    detector.fit(digits.x_clean, digits.y_clean, **case.changed)
    assert {name: detector.get_params()[name] for name in case.changed} == case.changed
    other = case.fitted(digits, **case.changed)
    np.testing.assert_array_equal(detector.detect(mixed)[0]["outlier_scores"], other.detect(mixed)[0]["outlier_scores"])
    np.testing.assert_array_equal(detector.detect(mixed)[1], other.detect(mixed)[1])


# Before fit, and what fit and detect refuse


@every_case
def test_detector_before_fit_says_to_call_fit(case, digits):
    for call in ("detect", "predict"):
        with pytest.raises(NotFittedError, match=r"call fit\(x_\w+, y_\w+\) first"):
            getattr(case.make(digits), call)(digits.x_test)


@every_case
def test_detect_keyword_is_refused(case, digits):
    with pytest.raises(InvalidInputError, match=r"takes no fpr.*fit\(\)"):
        case.fitted(digits).detect(digits.x_test, fpr=0.1)


@every_case
@pytest.mark.parametrize("change", ["short", "negative", "too_large", "fractions", "not_one_hot", "names"])
def test_fit_bad_labels_are_refused(case, digits, change):
    y = digits.y_clean
    changes = {
        "short": y[:-1],
        "negative": y - 1,
        "too_large": y + 1,
        "fractions": y + 0.5,
        "not_one_hot": 2 * np.eye(10)[y],
        "names": y.astype(str),
    }
    with pytest.raises(InvalidInputError, match="abel"):
        case.make(digits).fit(digits.x_clean, changes[change])


@every_case
def test_bad_images_are_refused_by_fit_and_detect(case, digits):
    detector, x = case.fitted(digits), digits.x_clean
    with_nan, with_infinity = np.array(x), np.array(x)
    with_nan[7, 0, 1, 2], with_infinity[8, 0, 3, 4] = np.nan, np.inf
    bad = [
        (x.tolist(), "numpy array"),
        (x[:0], "not be empty"),
        (x[:, 0], r"received \(8, 8\)"),
        (with_nan, "Row 7"),
        (with_infinity, "Row 8"),
    ]
    for images, match in bad:
        for call in (lambda one: case.make(digits).fit(one, digits.y_clean), detector.detect):
            with pytest.raises(InvalidInputError, match=match):
                call(images)


@every_case
def test_another_shape_than_that_of_fit_is_refused_though_the_network_takes_it(case, digits):
    network = copy.deepcopy(digits.network("white_square"))
    network.register_forward_pre_hook(lambda module, x: x[0].movedim(-1, 1) if x[0].shape[1] == 8 else x[0])
    detector, x = case.make(digits, network), np.moveaxis(digits.x_clean, 1, -1)
    detector.fit(digits.x_clean, digits.y_clean)
    with pytest.raises(InvalidInputError, match=r"\(1, 8, 8\) of the images in fit"):
        detector.detect(x)


# What is left as it was


@every_case
def test_detector_leaves_data_mode_and_hooks_as_they_were(case, digits):
    network = digits.network("white_square")
    x, y = np.array(digits.x_clean), np.array(digits.y_clean)
    before, weights = n_hooks(network), [one.detach().numpy().copy() for one in network.parameters()]
    try:
        for training in (True, False):
            network.train(training)
            case.fitted(digits).detect(x)
            assert network.training is training
    finally:
        network.eval()
    np.testing.assert_array_equal(x, digits.x_clean)
    np.testing.assert_array_equal(y, digits.y_clean)
    for one, expected in zip(network.parameters(), weights, strict=True):
        np.testing.assert_array_equal(one.detach(), expected)
    assert n_hooks(network) == before


class Failing(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        raise RuntimeError("planted")


@every_case
def test_detector_hooks_are_removed_and_the_mode_is_restored_when_the_model_fails(case, digits):
    with seeded(0):
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10), Failing()).train()
    layers = {"layers": ["0", "1"]} if "layers" in case.make(digits).tunables() else {}
    mode = {"mode": "mahalanobis", "mode_params": None} if case.name.startswith("Layerwise") else {}
    with pytest.raises(InvalidInputError, match="planted"):
        case.fitted(digits, network=network, **layers, **mode)
    assert n_hooks(network) == 0
    assert network.training


# Verdicts


@every_case
def test_detect_report_and_verdict_are_of_the_documented_form(case, digits, mixed):
    detector = case.fitted(digits)
    report, is_trigger = detector.detect(mixed)
    assert set(report) == {"predicted_class", "outlier_scores", *case.reported}
    with torch.no_grad():
        classes = digits.network("white_square")(torch.tensor(mixed)).argmax(dim=1).numpy()
    np.testing.assert_array_equal(report["predicted_class"], classes)
    assert is_trigger.shape == (len(mixed),)
    assert is_trigger.dtype == bool
    scores = report["outlier_scores"]
    assert scores.shape == (len(mixed),)
    assert not is_trigger[np.isnan(scores)].any()
    if 0 < is_trigger.sum() < len(mixed):
        assert scores[is_trigger].min() > np.nanmax(scores[~is_trigger])
    np.testing.assert_array_equal(detector.predict(mixed), np.where(is_trigger, 1.0, -1.0)[:, None])
    json.dumps([int(value) for value in is_trigger])


@every_case
def test_fit_two_runs_of_one_seed_are_equal(case, digits, mixed):
    (first, caught), (second, also) = (case.fitted(digits).detect(mixed) for _ in range(2))
    np.testing.assert_array_equal(first["outlier_scores"], second["outlier_scores"])
    np.testing.assert_array_equal(caught, also)


@every_case
def test_detect_order_of_the_images_and_batch_size_change_nothing(case, digits, mixed, random):
    detector = case.fitted(digits)
    order = random.permutation(len(mixed))
    expected, caught = detector.detect(mixed)
    for batch_size in (1, 7, 4_096):
        report, is_trigger = detector.detect(mixed[order], batch_size)
        np.testing.assert_allclose(
            report["outlier_scores"], expected["outlier_scores"][order], rtol=1e-3, atol=1e-3, equal_nan=True
        )
        assert (is_trigger != caught[order]).mean() < 0.02  # scores at the threshold itself


@every_case
def test_detect_memory_map_equals_the_array(case, digits, mixed, tmp_path):
    np.save(tmp_path / "x.npy", mixed)
    detector = case.fitted(digits)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    np.testing.assert_array_equal(detector.detect(mapped)[0]["outlier_scores"], detector.detect(mixed)[0]["outlier_scores"])


@every_case
@pytest.mark.parametrize("form", ["column", "one_hot", "one_hot_bool", "float", "list"])
def test_fit_labels_of_every_form_give_the_same_verdicts(case, digits, mixed, form):
    y = digits.y_clean
    one_hot = np.eye(10)[y]
    forms = {"column": y[:, None], "one_hot": one_hot, "one_hot_bool": one_hot > 0, "float": y / 1.0, "list": y.tolist()}
    detector = case.make(digits)
    detector.fit(digits.x_clean, forms[form])
    expected = case.fitted(digits).detect(mixed)
    np.testing.assert_array_equal(detector.detect(mixed)[0]["outlier_scores"], expected[0]["outlier_scores"])
    np.testing.assert_array_equal(detector.detect(mixed)[1], expected[1])
