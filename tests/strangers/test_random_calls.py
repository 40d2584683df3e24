"""
Random calls of every public class with odd arguments. The rule: a result, or an ArtPluginsError that names what was wrong;
never another exception, never longer than 20 seconds, never a sample that is not finite called clean.

The calls are the same in every run; ``--hypothesis-seed=NUMBER`` draws others.
"""

from __future__ import annotations

import re
import signal
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from art.defences.detector.evasion import EvasionDetector
from art.defences.detector.poison.poison_filtering_defence import PoisonFilteringDefence
from art.estimators.classification import BlackBoxClassifier, PyTorchClassifier, SklearnClassifier
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import LogisticRegression
from torch import nn

import art_plugins
from art_plugins.errors import ArtPluginsError

LIMIT_S = 20
CLASSES = [kind for kind in (getattr(art_plugins, name) for name in art_plugins.__all__) if isinstance(kind, type)]
FILTERS = sorted(kind.__name__ for kind in CLASSES if issubclass(kind, PoisonFilteringDefence))
DETECTORS = sorted(kind.__name__ for kind in CLASSES if issubclass(kind, EvasionDetector))
OPERATIONS = {
    **dict.fromkeys(FILTERS, ("construct", "set_params", "detect_poison", "detect_poison", "evaluate", "save_load")),
    **dict.fromkeys(DETECTORS, ("construct", "set_params", "fit", "fit", "detect", "detect", "predict", "save_load")),
    "invert_triggers": ("call",),
    "Autoencoder": ("construct", "fit", "fit", "encode", "save_load"),
}
LOOK_AT_NOTHING = ("PerfectFilter", "RandomFilter")
GOOD = "good"

ARRAYS: dict[str, Callable[[np.ndarray], Any]] = {
    "float16": lambda x: x.astype(np.float16),
    "float64": lambda x: x.astype(np.float64),
    "float128": lambda x: x.astype(np.longdouble),
    "bool": lambda x: x > 0.2,
    "uint8": lambda x: (x * 255).astype(np.uint8),
    "int64": lambda x: np.rint(x).astype(np.int64),
    "big-endian": lambda x: x.astype(">f4"),
    "reversed": lambda x: x[::-1, ..., ::-1],
    "Fortran": np.asfortranarray,
    "complex": lambda x: x.astype(complex),
    "object": lambda x: x.astype(object),
    "text": lambda x: x.astype(str),
    "dates": lambda x: x.astype(np.int64).astype("datetime64[s]"),
    "records": lambda x: x.astype([("a", "f4")]),
    "masked": lambda x: np.ma.masked_array(x, x > 0.2),
    "matrix": lambda x: np.asmatrix(x.reshape(len(x), -1)),
    "list": lambda x: x.tolist(),
    "tensor": lambda x: torch.from_numpy(np.array(x)),
    "None": lambda x: None,
    "number": lambda x: 3,
    "nought axes": lambda x: np.array(1.0),
    "one axis": lambda x: x.reshape(-1),
    "flat": lambda x: x.reshape(len(x), -1),
    "channels last": lambda x: np.moveaxis(x, 1, -1),
    "larger": lambda x: np.pad(x, ((0, 0), (0, 0), (0, 3), (0, 0))),
    "three axes": lambda x: x[:, 0],
    "five axes": lambda x: x[..., None],
    "none of them": lambda x: x[:0],
    "empty images": lambda x: x[..., :0],
    "one": lambda x: x[:1],
    "two": lambda x: x[:2],
    "first half": lambda x: x[:20],
    "all alike": lambda x: np.repeat(x[:1], len(x), axis=0),
    "zeros": np.zeros_like,
    "one NaN": lambda x: with_value(x, np.nan),
    "one inf": lambda x: with_value(x, np.inf),
    "one 1e20": lambda x: with_value(x, 1e20),
    "one 3e38": lambda x: with_value(x, -3e38),
    "all NaN": lambda x: np.full_like(x, np.nan),
    "0 to 255": lambda x: x * 255,
    "tiny": lambda x: x * 1e-6,
}
LABELS: dict[str, Callable[[np.ndarray], Any]] = {
    "column": lambda y: y[:, None],
    "one-hot": lambda y: np.eye(5)[y],
    "two-hot": lambda y: np.ones((len(y), 5)),
    "uint8": lambda y: y.astype(np.uint8),
    "float": lambda y: y.astype(float),
    "halves": lambda y: y + 0.5,
    "NaN": lambda y: np.where(y == 0, np.nan, y),
    "text": lambda y: y.astype(str),
    "object": lambda y: y.astype(object),
    "list": lambda y: y.tolist(),
    "ragged": lambda y: [[0], [1, 2]] * (len(y) // 2),
    "None": lambda y: None,
    "number": lambda y: 1,
    "set": lambda y: set(y.tolist()),
    "negative": lambda y: y - 1,
    "999999": lambda y: np.where(y == 0, 999_999, y),
    "10**18": lambda y: np.where(y == 0, 10**18, y),
    "short": lambda y: y[:-1],
    "none of them": lambda y: y[:0],
    "first half": lambda y: y[:20],
    "one": lambda y: y[:1],
    "one class": lambda y: y * 0,
    "two classes": lambda y: y % 2,
    "one alone": lambda y: (np.arange(len(y)) == 0).astype(int),
    "sorted": np.sort,
    "bool": lambda y: y > 0,
    "three axes": lambda y: y[:, None, None],
    "shifted": lambda y: (y + 1) % 5,
}
TRIGGERS: dict[str, Any] = {
    "None": None,
    "number": 3,
    "type": int,
    "nothing back": lambda x: None,
    "text back": lambda x: "stamped",
    "ragged back": lambda x: [[1], [1, 2]],
    "another shape": lambda x: x[:, :, :4],
    "NaN": lambda x: x * np.nan,
    "huge": lambda x: x + 1e30,
    "identity": lambda x: x,
    "float64": lambda x: np.clip(x + 0.3, 0, 1).astype(np.float64),
    "raises": lambda x: x[10**6],
    "two arguments": lambda x, y: x,
}
# Valid ones are small, so that a call costs milliseconds.
VALUES: tuple[Any, ...] = (0, 1, 2, 3, 7, -1, 10**30, 10**400, 0.0, 0.05, 0.5, 1.0, 1.5, -0.5, 1e-300, 1e300, float("nan"))
VALUES += (
    float("inf"),
    True,
    False,
    None,
    "",
    "paper",
    "x",
    b"x",
    (),
    [],
    [1],
    [2, 3],
    ["1", "3"],
    ["3"],
    ["no"],
    {},
    {"a": 1},
)
VALUES += (
    object,
    "argmax",
    "mad",
    "auto",
    "mixture",
    "oas",
    "full",
    "image",
    "waveform",
    "logits",
    "lof",
    "iforest",
    "data-free",
)
OWN = {
    "PerfectFilter": ("is_poison",),
    "LayerwiseFeatureDefence": ("x_val", "y_val"),
    **dict.fromkeys(
        ("B3D", "NeuralCleanseFilter", "STRIP", "ScaleUp", "TED", "TEDPlusPlus", "Beatrix", "BaDExpert"), ("target_class",)
    ),
}
INVERSION = ("kinds", "nb_steps", "batch_size", "threshold", "min_success", "precision", "random_state", "verbose")
TRAINING = ("nb_epochs", "batch_size", "learning_rate", "random_state", "patience", "checkpoint", "verbose")
WORDS = {
    "classifier": r"classifier|network|model|layer|output|class",
    "x": r"\bx\b|x_train|x_clean|x_val|image|sample|data|feature|shape|class|layer",
    "y": r"label|class|\by\b|is_clean",
    "trigger": r"trigger|stamp",
    "file": r"file|layer|fit|saved|detect_poison|trained|is_clean",
}


def with_value(x: np.ndarray, value: float) -> np.ndarray:
    x = np.array(x)
    x[3, 0, 2, 2] = value
    return x


class Odd(nn.Module):
    """A network whose outputs are changed."""

    def __init__(self, network: nn.Module, change: Callable[[torch.Tensor, torch.Tensor], Any]) -> None:
        super().__init__()
        self.network, self.change = network, change

    def forward(self, x: torch.Tensor) -> Any:
        return self.change(x, self.network(x))


def raises(x: torch.Tensor, outputs: torch.Tensor) -> torch.Tensor:
    raise KeyError("a network that fails")


@dataclass(frozen=True)
class Call:
    """One line that says all of a call; odd things by their names above."""

    subject: str
    operation: str
    classifier: str
    x: str
    y: str
    x_new: str
    trigger: str
    parameters: dict[str, Any]
    batch_size: Any

    def words(self) -> list[str]:
        """Of what is odd in the call: an error has to hold one of them, or the name of a parameter."""
        odd = {
            "classifier": self.classifier != GOOD,
            "x": self.x != GOOD or self.x_new != GOOD,
            "y": self.y != GOOD,
            "trigger": self.trigger != GOOD,
            "file": True,  # a parameter may be the path of one
        }
        return [words for name, words in WORDS.items() if odd[name]]


@st.composite
def calls(draw: Any) -> Call:
    def some(names: Any, often: int = 2) -> str:
        return str(draw(st.sampled_from([GOOD] * often * len(names) + list(names))))

    subject = draw(st.sampled_from(sorted(OPERATIONS)))
    parameters = draw(st.dictionaries(st.integers(0, 40), st.sampled_from(VALUES), max_size=2))
    x, y = some(ARRAYS), some(LABELS)
    if x == y == GOOD and not parameters:
        x = draw(st.sampled_from(list(ARRAYS)))
    return Call(
        subject,
        draw(st.sampled_from(OPERATIONS[subject])),
        some(CLASSIFIERS, 3),
        x,
        y,
        some(ARRAYS, 1),
        some(TRIGGERS),
        parameters,
        draw(st.sampled_from([128] * 20 + [0, 1, 7, -1, 1.5, True, None, "x", 10**30, float("nan"), np.int64(5)])),
    )


def two_classes(strangers: Any) -> Any:
    return PyTorchClassifier(nn.Sequential(nn.Flatten(), nn.Linear(64, 2)), nn.CrossEntropyLoss(), (1, 8, 8), 2)


def changed(change: Callable[[torch.Tensor, torch.Tensor], Any]) -> Callable[[Any], Any]:
    return lambda strangers: strangers.wrap(Odd(strangers.network, change).eval())


CLASSIFIERS: dict[str, Callable[[Any], Any]] = {
    "None": lambda strangers: None,
    "text": lambda strangers: "classifier",
    "bare network": lambda strangers: strangers.network,
    "scikit-learn": lambda strangers: SklearnClassifier(
        LogisticRegression(max_iter=5).fit(strangers.x.reshape(strangers.n, -1), strangers.y)
    ),
    "black box": lambda strangers: BlackBoxClassifier(lambda x: np.eye(5)[np.zeros(len(x), int)], (1, 8, 8), 5),
    "two classes": two_classes,
    "seven classes": lambda strangers: PyTorchClassifier(strangers.network, nn.CrossEntropyLoss(), (1, 8, 8), 7),
    "no clip values": lambda strangers: PyTorchClassifier(strangers.network, nn.CrossEntropyLoss(), (1, 8, 8), 5),
    "another shape": lambda strangers: PyTorchClassifier(strangers.network, nn.CrossEntropyLoss(), (3, 8, 8), 5),
    "NaN": changed(lambda x, outputs: outputs * torch.nan),
    "NaN for some": changed(lambda x, outputs: torch.where(x[:, 0, 0, :1] > 0.12, torch.nan, outputs)),
    "infinite": changed(lambda x, outputs: outputs * 1e30 * 1e30),
    "constant": changed(lambda x, outputs: outputs * 0),
    "log-softmax": changed(lambda x, outputs: outputs.log_softmax(dim=1)),
    "tuple": changed(lambda x, outputs: (outputs,)),
    "dictionary": changed(lambda x, outputs: {"logits": outputs}),
    "one row": changed(lambda x, outputs: outputs[:1]),
    "raises": changed(raises),
}


class TooLong(BaseException):
    """Past the limit; no Exception, so that nothing on the way takes it for its own."""


@contextmanager
def limited() -> Iterator[None]:
    def stop(*_: Any) -> None:
        raise TooLong

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, LIMIT_S)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


class Caller:
    """Makes the calls and judges what comes of them."""

    def __init__(self, strangers: Any, folder: Path) -> None:
        self.strangers, self.folder = strangers, folder
        self.classifiers = {name: make(strangers) for name, make in CLASSIFIERS.items()}
        self.classifiers[GOOD] = strangers.classifier
        self.names = {name: sorted(strangers.make(name).tunables()) for name in (*FILTERS, *DETECTORS)}
        self.settings = sorted(vars(art_plugins.AutoencoderSettings()))

    def fault(self, call: Call) -> str | None:
        """What is wrong with the outcome, in a line that holds the call; ``None``: nothing."""
        try:
            with limited(), warnings.catch_warnings(), np.errstate(all="ignore"):
                warnings.simplefilter("ignore")
                missed = getattr(self, f"_{self._kind(call.subject)}")(call)
        except ArtPluginsError as error:
            if re.search("|".join((*self._names(call.subject), "batch_size", *call.words())), str(error), re.IGNORECASE):
                return None
            return f"{call}: names nothing: {error}"
        except TooLong:
            return f"{call}: longer than {LIMIT_S} s"
        except Exception as error:  # any other is what is looked for
            return f"{call}: {type(error).__name__}: {str(error).splitlines()[:1]}"
        return f"{call}: {missed}" if missed else None

    def _kind(self, subject: str) -> str:
        return "filter" if subject in FILTERS else "detector" if subject in DETECTORS else subject.lower()

    def _named(self, call: Call) -> dict[str, Any]:
        """The parameters by name: the numbers that were drawn are places in the subject's list of names."""
        names = self._names(call.subject)
        return {names[place % len(names)]: value for place, value in call.parameters.items()}

    def _names(self, subject: str) -> list[str]:
        others = {"invert_triggers": list(INVERSION), "Autoencoder": [*self.settings, *TRAINING]}
        return others.get(subject) or [*self.names[subject], *OWN.get(subject, ())]

    def _x(self, name: str) -> Any:
        return self.strangers.x if name == GOOD else ARRAYS[name](self.strangers.x)

    def _y(self, name: str) -> Any:
        return self.strangers.y if name == GOOD else LABELS[name](self.strangers.y)

    def _filter(self, call: Call) -> str | None:
        named, later = self._named(call), {}
        if call.operation in ("set_params", "detect_poison"):
            later = {name: named.pop(name) for name in list(named) if name not in OWN.get(call.subject, ())}
        defence = self.strangers.make(call.subject, self._x(call.x), self._y(call.y), **named)
        defence.classifier = self.classifiers[call.classifier]
        if call.operation == "construct":
            return None
        if call.operation == "set_params":
            defence.set_params(**later)
            return None
        if call.operation == "evaluate":
            defence.evaluate_defence(self._y(call.y))
            return None
        _, is_clean = defence.detect_poison(**later)
        if call.operation == "save_load" and hasattr(defence, "save"):
            defence.save("filter.safetensors", self.folder)
            type(defence).load(self.folder / "filter.safetensors", defence.classifier, defence.x_train, defence.y_train)
        if call.subject in LOOK_AT_NOTHING:
            return None
        return self._clean_though_not_finite(call, defence.x_train, np.asarray(is_clean) == 1, defence.needs_network)

    def _detector(self, call: Call) -> str | None:
        named, later = self._named(call), {}
        if call.operation in ("set_params", "fit"):
            later = {name: named.pop(name) for name in list(named) if name != "target_class"}
        detector = self.strangers.make(call.subject, classifier=self.strangers.classifier, **named)
        detector.classifier = self.classifiers[call.classifier]
        if hasattr(detector, "trigger") and call.trigger != GOOD:
            detector.trigger = TRIGGERS[call.trigger]
        if call.operation == "construct":
            return None
        if call.operation == "set_params":
            detector.set_params(**later)
            return None
        detector.fit(self._x(call.x), self._y(call.y), call.batch_size, **later)
        x = self._x(call.x_new)
        if call.operation == "predict":
            return None if np.isin(detector.predict(x), (-1, 1)).all() else "a verdict that is neither 1 nor -1"
        if call.operation == "save_load":
            detector.save(self.folder / "detector.safetensors")
            detector = type(detector).load(self.folder / "detector.safetensors", detector.classifier)
        report, is_trigger = detector.detect(x, call.batch_size)
        unscored = np.isnan(report["outlier_scores"])
        if detector.target_class is not None:
            unscored &= report["predicted_class"] == detector.target_class
        if (unscored & ~is_trigger).any():
            return "a score of NaN passes as clean"
        return self._clean_though_not_finite(call, x, ~is_trigger, True)

    def _clean_though_not_finite(self, call: Call, x: np.ndarray, clean: np.ndarray, network: bool) -> str | None:
        finite = np.isfinite(x).reshape(len(x), -1).all(axis=1)
        if network:
            outputs = self.classifiers[call.classifier].predict(np.ascontiguousarray(x, dtype=np.float32))
            finite &= np.isfinite(outputs).all(axis=1)
        return f"{(clean & ~finite).sum()} samples are not finite and called clean" if (clean & ~finite).any() else None

    def _invert_triggers(self, call: Call) -> str | None:
        arguments = {"nb_steps": 2, "verbose": False, **self._named(call)}
        found = art_plugins.invert_triggers(
            self.classifiers[call.classifier], self._x(call.x), self._y(call.y), **arguments
        )
        return None if found.sentence() else "no sentence"

    def _autoencoder(self, call: Call) -> str | None:
        named = self._named(call)
        own = {"kind": "image", "latent_dim": 4, "channels": 2, "step_latent_dim": 2, "embedding_dim": 8, "hidden_dim": 8}
        made = {**own, **{name: value for name, value in named.items() if name in self.settings}}
        autoencoder = art_plugins.Autoencoder(art_plugins.AutoencoderSettings(**made))
        if call.operation == "construct":
            return None
        training = {name: value for name, value in named.items() if name in TRAINING}
        autoencoder.fit(self._x(call.x), **{"nb_epochs": 1, "verbose": False, **training})
        if call.operation == "save_load":
            autoencoder.save("autoencoder.safetensors", self.folder)
            autoencoder = art_plugins.Autoencoder.load(self.folder / "autoencoder.safetensors")
        latents = autoencoder.encode(self._x(call.x if call.operation == "fit" else call.x_new), call.batch_size)
        return None if np.isfinite(latents).all() else "latents that are not finite"


@pytest.fixture(scope="module")
def caller(strangers, tmp_path_factory):
    return Caller(strangers, tmp_path_factory.mktemp("saved"))


quick = settings(settings.get_profile("random calls"), max_examples=300)


@quick
@given(call=calls())
def test_random_call_gives_a_result_or_an_error_that_names_the_argument(caller, call):
    fault = caller.fault(call)
    assert fault is None, fault


@pytest.fixture
def umap_compiled(strangers):
    """UMAP compiles itself on its first run, which may take longer than the limit of a call."""
    strangers.fitted("FLARE")


@pytest.mark.slow
@pytest.mark.usefixtures("umap_compiled")
@settings(quick, max_examples=10_000)
@given(call=calls())
def test_many_random_calls_give_a_result_or_an_error_that_names_the_argument(caller, call):
    fault = caller.fault(call)
    assert fault is None, fault
