"""Random calls of every public class: a result, or an error of this package that names the argument; NaN is never clean."""

from __future__ import annotations

import inspect
import logging
import re
import signal
import warnings
from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

import art_plugins
from art_plugins.errors import ArtPluginsError
from art_plugins.features.training import seeded

SHAPE, K = (1, 8, 8), 3
LONGEST_S = 20
TINY_VAE = {"nb_epochs": 1, "latent_dim": 4, "channels": 2, "batch_size": 16, "verbose": False, "n_init": 2, "nb_trials": 2}
VALUES = [
    None,
    True,
    False,
    0,
    1,
    -1,
    2,
    7,
    10**30,
    -(10**400),
    0.0,
    0.5,
    1.0,
    -0.3,
    1e-320,
    1e308,
    float("nan"),
    float("inf"),
    "",
    "paper",
    "mean",
    b"x",
    [],
    ["1"],
    {},
    (),
    {"a": 1},
    np.int64(3),
    np.float32(0.5),
    np.bool_(True),
    np.zeros(3),
    object(),
    lambda x: x,
]
TRIGGERS = {
    "square": lambda x: np.concatenate([x[:, :, :, :6], np.ones_like(x[:, :, :, 6:])], axis=3),
    "nothing": lambda x: x,
    "shape": lambda x: x[:, :, :4],
    "raises": lambda x: 1 / 0,
    "nan": lambda x: x * np.nan,
    "none": None,
    "text": "trigger",
}
FILTERS = {
    "VAELatentDefence": TINY_VAE,
    "LayerwiseFeatureDefence": {},
    "SPECTRE": {},
    "PyODFilter": {"detector": "ecod"},
    "ActivationClustering": {},
    "SpectralSignatures": {},
    "PerfectFilter": {},
    "RandomFilter": {},
}
OURS = ("VAELatentDefence", "LayerwiseFeatureDefence")  # others judge what is large and finite by their own rules
DETECTORS = (
    "InFlightDetector",
    "LayerwiseFeatureDetector",
    "STRIP",
    "B3D",
    "NeuralCleanseFilter",
    "TED",
    "Beatrix",
    "ScaleUp",
)
# What the message of a refused call names: the argument, or what it holds.
WORDS = {
    "x",
    "x_train",
    "x_val",
    "x_clean",
    "labels",
    "label",
    "classifier",
    "trigger",
    "target_class",
    "model",
    "images",
    "samples",
}
WORDS |= {name for cls in map(art_plugins.__getattr__, [*FILTERS, *DETECTORS]) for name in cls.defence_params}
WORDS |= set(inspect.signature(art_plugins.invert_triggers).parameters)
N_ARGUMENTS = {"InFlightDetector": 2, "B3D": 2, "NeuralCleanseFilter": 2}  # a trigger and a target class


def make_classifiers() -> dict[str, Any]:
    with seeded(0):
        dense = nn.Sequential(nn.Flatten(), nn.Linear(64, 12), nn.ReLU(), nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, K))
        images = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, K))
        broken = nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, K))
    with torch.no_grad():
        broken[1].weight[0] = torch.nan

    def wrapped(network: nn.Module, **options: Any) -> PyTorchClassifier:
        return PyTorchClassifier(network, nn.CrossEntropyLoss(), SHAPE, K, device_type="cpu", **options)

    return {
        "dense": wrapped(dense, clip_values=(0, 1)),
        "convolutions": wrapped(images, clip_values=(0, 1)),
        "scaled": wrapped(dense, preprocessing=(0.5, 0.5)),
        "double": wrapped(nn.Sequential(nn.Flatten(), nn.Linear(64, 8), nn.ReLU(), nn.Linear(8, K)).double()),
        "NaN weights": wrapped(broken),
        "network": dense,
        "None": None,
        "object": object(),
        "text": "model.pt",
    }


CLASSIFIERS = make_classifiers()
SOUND = ("dense", "convolutions", "scaled")


def mostly(draw: Any, usual: Any, odd: Any) -> Any:
    """The usual in nine of ten draws, so that most calls have one odd thing or none."""
    return draw(st.sampled_from(usual)) if draw(st.integers(0, 9)) else draw(st.sampled_from(odd))


def array(draw: Any, seed: int, n_samples: int) -> Any:
    """Samples, mostly usable ones."""
    random = np.random.default_rng(seed)
    y = random.integers(0, K, size=n_samples)
    x = random.uniform(0.0, 0.4, size=(n_samples, *SHAPE))
    x[np.arange(n_samples), 0, y, 2 * y] += 0.6
    kind = draw(
        st.sampled_from(["plain"] * 8 + ["nan", "inf", "huge", "vast", "constant", "copies", "none", "list", "shape"])
    )
    dtype = draw(
        st.sampled_from(["float32"] * 4 + ["float64", "float16", ">f4", "uint8", "bool", "complex64", "object", "U1"])
    )
    if n_samples and kind in ("nan", "inf", "huge", "vast"):
        x[0] = {"nan": np.nan, "inf": np.inf, "huge": 1e20, "vast": 3e38}[kind]
    if kind == "constant":
        x[:] = 0.5
    if n_samples and kind == "copies":
        x[:] = x[:1]
    if kind == "none":
        return None
    with np.errstate(all="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        x = x.astype(dtype)
    if draw(st.booleans()):
        x = x[:, :, ::-1]
    return x.tolist() if kind == "list" else x[:, :, :5] if kind == "shape" else x


def labels(draw: Any, seed: int, n_samples: int) -> Any:
    y = np.random.default_rng(seed).integers(0, K, size=n_samples)
    kind = draw(
        st.sampled_from(
            ["plain"] * 8 + ["one-hot", "column", "float", "one class", "negative", "nan", "large", "short", "text"]
        )
    )
    return {
        "plain": y,
        "one-hot": np.eye(K)[y],
        "column": y[:, None],
        "float": y.astype(float),
        "one class": np.zeros_like(y),
        "negative": y - 1,
        "nan": np.where(y == 0, np.nan, y),
        "large": y * 999_999,
        "short": y[1:],
        "text": y.astype(str),
    }[kind]


def parameters(draw: Any, cls: type) -> dict[str, Any]:
    """One parameter in three calls, of any value."""
    names = [name for name in cls.defence_params if name not in ("checkpoint", "autoencoder")]  # type: ignore[attr-defined]
    if not names or draw(st.integers(0, 2)):
        return {}
    return {draw(st.sampled_from(names)): draw(st.sampled_from(VALUES))}


def is_odd(x: Any, bound: float = np.inf) -> bool:
    """Whether its first sample is not finite, or not below the bound."""
    return bool(isinstance(x, np.ndarray) and len(x) and x.dtype.kind == "f" and not np.abs(x[:1]).max() < bound)


def filter_call(draw: Any, name: str) -> tuple[str, Any]:
    cls = getattr(art_plugins, name)
    seed, n_samples = draw(st.integers(0, 99)), mostly(draw, [24, 40], [0, 1, 2, 9])
    classifier = mostly(draw, SOUND, list(CLASSIFIERS))
    x, y, odd = array(draw, seed, n_samples), labels(draw, seed, n_samples), parameters(draw, cls)
    trusted = name == "LayerwiseFeatureDefence" and draw(st.booleans())
    more = (array(draw, seed + 1, 24), labels(draw, seed + 1, 24)) if trusted else ()
    settings = {**FILTERS[name], **odd}

    def call() -> None:
        defence = cls(CLASSIFIERS[classifier], x, y, *(more or [np.zeros(n_samples)] * (name == "PerfectFilter")))
        _, is_clean = defence.detect_poison(
            **{key: value for key, value in settings.items() if key in defence.defence_params}
        )
        assert len(is_clean) == len(x)
        assert set(is_clean) <= {0, 1}
        if name not in ("PerfectFilter", "RandomFilter") and is_odd(x, 1e15 if name in OURS else np.inf):
            assert is_clean[0] == 0, "a sample that is not finite, or overflows, is called clean"

    shown = f"{name}({classifier}, {describe(x)}, {describe(y)}, {describe(more)}, {odd})"
    return shown, call


def detector_call(draw: Any, name: str) -> tuple[str, Any]:
    cls = getattr(art_plugins, name)
    seed, n_samples = draw(st.integers(0, 99)), mostly(draw, [24, 40], [0, 1, 2, 9])
    classifier = mostly(draw, SOUND, list(CLASSIFIERS))
    x, y, odd = array(draw, seed, n_samples), labels(draw, seed, n_samples), parameters(draw, cls)
    judged, trigger = (
        array(draw, seed + 1, mostly(draw, [1, 12], [0])),
        mostly(draw, ["square"], list(TRIGGERS)),
    )
    target = mostly(draw, [0, 1, 2], [None, -1, 3, True, "1", 1.5])

    def call() -> None:
        model = CLASSIFIERS[classifier]
        detector = cls(model, *(TRIGGERS[trigger], target)[: N_ARGUMENTS.get(name, 0)])
        detector.fit(x, y, **odd)
        report, is_trigger = detector.detect(judged)
        assert len(is_trigger) == len(judged) == len(report["outlier_scores"])
        assert not np.isnan(report["outlier_scores"][is_trigger]).any()
        passes = (
            report["predicted_class"] != detector.target_class
            if getattr(detector, "target_class", None) is not None
            else []
        )
        assert not np.isnan(np.delete(report["outlier_scores"], np.flatnonzero(passes))).any(), "NaN is called clean"
        if isinstance(judged, np.ndarray) and judged.dtype.kind == "f" and not np.isfinite(judged[0]).all():
            assert is_trigger[0], "a sample that is not finite passes"

    return (
        f"{name}({classifier}, {trigger}, {target}).fit({describe(x)}, {describe(y)}, {odd}).detect({describe(judged)})",
        call,
    )


def inversion_call(draw: Any) -> tuple[str, Any]:
    seed, n_samples = draw(st.integers(0, 99)), mostly(draw, [24], [0, 1, 9])
    classifier = mostly(draw, SOUND, list(CLASSIFIERS))
    x, y = array(draw, seed, n_samples), labels(draw, seed, n_samples)
    name = draw(st.sampled_from(["kinds", "batch_size", "threshold", "min_success", "precision", "random_state"]))
    odd = {name: draw(st.sampled_from(VALUES))} if draw(st.booleans()) else {}

    def call() -> None:
        found = art_plugins.invert_triggers(CLASSIFIERS[classifier], x, y, nb_steps=1, verbose=False, **odd)
        assert found.sentence()
        assert classifier != "NaN weights", "a model of NaN has an answer"

    return f"invert_triggers({classifier}, {describe(x)}, {describe(y)}, {odd})", call


def describe(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return f"{value.dtype}{value.shape}"
    return f"({', '.join(map(describe, value))})" if isinstance(value, tuple) else type(value).__name__


@st.composite
def calls(draw: Any) -> tuple[str, Any]:
    name = draw(st.sampled_from([*FILTERS, *DETECTORS, "invert_triggers"]))
    if name == "invert_triggers":
        return inversion_call(draw)
    return filter_call(draw, name) if name in FILTERS else detector_call(draw, name)


def hold_to_the_rule(shown: str, call: Any) -> None:
    """A result, or an error of this package that says something; in time."""

    def too_long(*_: object) -> None:
        raise TimeoutError(f"more than {LONGEST_S} s")

    before = signal.signal(signal.SIGALRM, too_long)
    signal.alarm(LONGEST_S)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except ArtPluginsError as error:
        assert WORDS & set(re.findall(r"\w+", str(error).lower())), f"{shown}: {error}"  # noqa: PT017
    except Exception as error:
        raise AssertionError(f"{shown}: {type(error).__name__}: {error}") from error
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


QUICK = settings(
    max_examples=300, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck), print_blob=False
)


@pytest.fixture(autouse=True, scope="module")
def quiet() -> Any:
    """Hundreds of warnings of odd data would hide the one call that matters."""
    logging.disable(logging.CRITICAL)
    yield
    logging.disable(logging.NOTSET)


@QUICK
@given(calls())
def test_three_hundred_random_calls(call: tuple[str, Any]) -> None:
    hold_to_the_rule(*call)


@pytest.mark.slow
@settings(QUICK, max_examples=10_000)
@given(calls())
def test_ten_thousand_random_calls(call: tuple[str, Any]) -> None:
    hold_to_the_rule(*call)


@pytest.mark.parametrize("name", [*FILTERS, *DETECTORS])
def test_every_parameter_of_every_value_gives_a_result_or_is_named(name: str) -> None:
    """Otherwise good data, so that what is refused is the parameter, whose name the message must hold."""
    cls = getattr(art_plugins, name)
    random = np.random.default_rng(0)
    y = np.arange(45) % K
    x = random.uniform(0, 0.4, size=(45, *SHAPE)).astype(np.float32)
    x[np.arange(45), 0, y, 2 * y] += 0.6
    classifier = CLASSIFIERS["dense"]
    heavy = ("nb_epochs", "batch_size", "n_init", "nb_trials", "checkpoint", "autoencoder")  # large values are honest work
    for parameter in [one for one in cls.defence_params if not (name == "VAELatentDefence" and one in heavy)]:
        for value in VALUES:
            try:
                if name in FILTERS:
                    defence = cls(classifier, x, y, *[y == 0] * (name == "PerfectFilter"))
                    defence.set_params(**{parameter: value})
                else:
                    detector = cls(classifier, *(TRIGGERS["square"], 1)[: N_ARGUMENTS.get(name, 0)])
                    detector.set_params(**{parameter: value})
            except ArtPluginsError as error:
                assert parameter in str(error), f"{name}({parameter}={value!r}): {error}"  # noqa: PT017
