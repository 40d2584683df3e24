"""Every ART wrapper of a PyTorch network: what we compute is what ``classifier.predict`` computes, or a named error."""

from __future__ import annotations

import copy
import warnings
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from art.defences.postprocessor import HighConfidence
from art.defences.preprocessor import SpatialSmoothing
from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing
from art.estimators.classification import BlackBoxClassifier, PyTorchClassifier, SklearnClassifier
from art.estimators.classification.hugging_face import HuggingFaceClassifierPyTorch
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn

from art_plugins import (
    AGPD,
    STRIP,
    ActivationClustering,
    CognitiveDistillation,
    InFlightDetector,
    LayerwiseFeatureDefence,
    LayerwiseFeatureDetector,
    ScaleUp,
    invert_triggers,
)
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import collect_activations, stream_activations
from art_plugins.features.blocks import find_blocks
from art_plugins.features.vae.training import seeded

SHAPE = (1, 8, 8)


class Outer(nn.Module):
    """A network whose parts lie in a submodule with the name of ART's own; the outer forward inverts the image."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self._model = inner

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self._model(1 - x)
        return logits


class Giving(nn.Module):
    """Gives its logits in something else."""

    def __init__(self, inner: nn.Module, give: Any) -> None:
        super().__init__()
        self.inner, self.give = inner, give

    def forward(self, x: Tensor) -> Any:
        return self.give(self.inner(x))


def wrapped(network: nn.Module, kind: type = PyTorchClassifier, **options: Any) -> Any:
    """In a wrapper of ART's; a copy, since ART sets the forward of a network from Hugging Face."""
    options = {"input_shape": SHAPE, "nb_classes": 10, "clip_values": (0, 1), "device_type": "cpu", **options}
    return kind(model=copy.deepcopy(network), loss=nn.CrossEntropyLoss(), **options)


def invert(x: Tensor) -> Tensor:
    """A processor of Hugging Face's kind."""
    return 1 - x


WRAPPERS = {
    "plain": wrapped,
    "submodule named _model": lambda network: wrapped(Outer(network)),
    "scaled": lambda network: wrapped(network, preprocessing=(0.5, 0.25)),
    "squeezed before": lambda network: wrapped(
        network, preprocessing_defences=SpatialSmoothing(3, channels_first=True, apply_predict=True)
    ),
    "postprocessed": lambda network: wrapped(network, postprocessing_defences=HighConfidence(cutoff=9.0)),
    "Hugging Face": lambda network: wrapped(
        Giving(network, lambda logits: SimpleNamespace(logits=logits)), HuggingFaceClassifierPyTorch
    ),
    "Hugging Face with a processor": lambda network: wrapped(network, HuggingFaceClassifierPyTorch, processor=invert),
    "compiled": lambda network: wrapped(torch.compile(network, backend="eager")),
    "compiled inside": lambda network: wrapped(Giving(torch.compile(network, backend="eager"), lambda logits: logits)),
}


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_predicted_classes_and_outputs_are_those_of_predict(digits: Any, wrapper: str) -> None:
    classifier = WRAPPERS[wrapper](digits.network("white_square"))
    predicted = classifier.predict(digits.x_test)
    detector = LayerwiseFeatureDetector(classifier)
    detector.fit(digits.x_clean, predicted_labels(classifier, digits.x_clean))
    report, _ = detector.detect(digits.x_test)
    np.testing.assert_array_equal(report["predicted_class"], predicted.argmax(axis=1))
    strip = STRIP(classifier, n_blends=2)
    strip.fit(digits.x_clean, digits.y_clean)
    np.testing.assert_array_equal(strip.detect(digits.x_test)[0]["predicted_class"], predicted.argmax(axis=1))
    if wrapper != "postprocessed":
        ours = np.concatenate([batch.outputs.numpy() for batch in stream_activations(classifier, digits.x_test, [])])
        np.testing.assert_allclose(ours, predicted, atol=1e-5)


def predicted_labels(classifier: Any, x: np.ndarray) -> np.ndarray:
    labels: np.ndarray = classifier.predict(x).argmax(axis=1)
    return labels


def test_submodule_named_as_arts_own_does_not_hide_the_trigger(digits: Any) -> None:
    """The measured case: none of 59 triggered images was caught, since the outer forward was skipped."""
    classifier = wrapped(Outer(digits.network("white_square")))
    detector = LayerwiseFeatureDetector(classifier)
    detector.fit(1 - digits.x_clean, digits.y_clean)
    triggered = 1 - digits.white_square(digits.x_test[digits.y_test != digits.target])
    report, is_trigger = detector.detect(triggered)
    assert (report["predicted_class"] == digits.target).mean() > 0.9
    assert is_trigger.mean() > 0.9


@pytest.mark.parametrize("dtype", [torch.float64, torch.float16, torch.bfloat16])
def test_network_of_another_precision_is_given_its_own(digits: Any, dtype: torch.dtype) -> None:
    with seeded(0):
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 16), nn.ReLU(), nn.Linear(16, 10))
    classifier = wrapped(network.to(dtype))
    ours = next(iter(stream_activations(classifier, digits.x_test[:9], ["1"])))
    assert ours.outputs.dtype == ours.activations["1"].dtype == torch.float32
    with torch.no_grad():
        theirs = network(torch.from_numpy(digits.x_test[:9]).to(dtype)).float()
    assert torch.equal(ours.outputs, theirs)


def test_numbers_that_an_embedding_looks_up_stay_whole() -> None:
    with seeded(0):
        network = nn.Sequential(nn.Embedding(20, 4), nn.Flatten(), nn.Linear(12, 3))
    classifier = wrapped(network, input_shape=(3,), nb_classes=3, clip_values=None, preprocessing=None)
    tokens = np.random.default_rng(0).integers(0, 20, size=(7, 3))
    ours = collect_activations(classifier, tokens, ["2"])["2"]
    np.testing.assert_allclose(ours, classifier.predict(tokens), atol=1e-6)


LIKE_FLOAT32 = {
    "float16": lambda x: x.astype(np.float16),
    "float64": lambda x: x.astype(np.float64),
    "big-endian": lambda x: x.astype(">f4"),
    "bool": lambda x: x.astype(bool),
    "uint8": lambda x: x.astype(np.uint8),
    "negative stride": lambda x: x[:, :, ::-1].copy()[:, :, ::-1],
    "Fortran": np.asfortranarray,
}


@pytest.mark.parametrize("form", LIKE_FLOAT32)
def test_arrays_of_every_type_and_order_give_what_their_float32_copy_gives(digits: Any, form: str) -> None:
    x = (digits.x_test > 0.5).astype(np.float32)  # values that every type holds
    classifier = wrapped(digits.network("white_square"))
    detector = LayerwiseFeatureDetector(classifier)
    clean = (digits.x_clean > 0.5).astype(np.float32)
    detector.fit(LIKE_FLOAT32[form](clean), digits.y_clean)
    expected = LayerwiseFeatureDetector(classifier)
    expected.fit(clean, digits.y_clean)
    found, _ = detector.detect(LIKE_FLOAT32[form](x))
    np.testing.assert_allclose(found["outlier_scores"], expected.detect(x)[0]["outlier_scores"], rtol=1e-5)


def test_memory_map_is_read_as_an_array(digits: Any, tmp_path: Any) -> None:
    x = np.memmap(tmp_path / "x", np.float32, "w+", shape=digits.x_test.shape)
    x[:] = digits.x_test
    classifier = wrapped(digits.network("white_square"))
    detector = LayerwiseFeatureDetector(classifier)
    detector.fit(digits.x_clean, digits.y_clean)
    np.testing.assert_array_equal(detector.detect(x)[1], detector.detect(digits.x_test)[1])


def refused(digits: Any) -> dict[str, tuple[Any, str]]:
    """What cannot be looked into, and what the error says."""
    network = digits.network("clean")
    backward = type("Backward", (nn.Sequential,), {"forward": lambda self, x: nn.Sequential.forward(self, -x)})
    regression = LogisticRegression(max_iter=1000).fit(digits.x_clean.reshape(200, -1), digits.y_clean)
    return {
        "None": (None, "classifier is None"),
        "bare network": (network, "bare PyTorch network; wrap it"),
        "no classifier": (object(), "classifier must be an ART PyTorchClassifier"),
        "text": ("model.pt", "classifier must be an ART PyTorchClassifier"),
        "scikit-learn": (SklearnClassifier(regression), "classifier must be an ART PyTorchClassifier"),
        "black box": (
            BlackBoxClassifier(lambda x: np.eye(10)[:1].repeat(len(x), 0), SHAPE, 10),
            "classifier must be an ART PyTorchClassifier",
        ),
        "smoothed": (wrapped(network, PyTorchRandomizedSmoothing), "whose predict is not the network's own outputs"),
        "sequential with a forward": (wrapped(backward(*network)), "never calls that forward"),
        "dictionary": (wrapped(Giving(network, lambda logits: {"logits": logits})), "gives a dict"),
        "tuple": (wrapped(Giving(network, lambda logits: (logits, logits))), "gives a tuple"),
        "logits": (wrapped(Giving(network, lambda y: SimpleNamespace(logits=y))), "HuggingFaceClassifierPyTorch"),
        "a map of scores": (wrapped(Giving(network, lambda logits: logits[:, :, None])), "a row of class scores"),
    }


@pytest.mark.parametrize(
    "name",
    [
        "None",
        "bare network",
        "no classifier",
        "text",
        "scikit-learn",
        "black box",
        "smoothed",
        "sequential with a forward",
        "dictionary",
        "tuple",
        "logits",
        "a map of scores",
    ],
)
def test_what_cannot_be_looked_into_is_refused_by_name(digits: Any, name: str) -> None:
    classifier, sentence = refused(digits)[name]
    with pytest.raises(InvalidInputError, match=sentence):
        LayerwiseFeatureDefence(classifier, digits.x_train, digits.y_train).detect_poison()
    with pytest.raises(InvalidInputError, match=sentence):
        LayerwiseFeatureDetector(classifier).fit(digits.x_clean, digits.y_clean)
    with pytest.raises(InvalidInputError, match=sentence):
        STRIP(classifier).fit(digits.x_clean, digits.y_clean)


UNSEEN = {
    "scripted": torch.jit.script,
    "traced": lambda network: torch.jit.trace(network, torch.zeros(2, *SHAPE)),
    "frozen": lambda network: torch.jit.freeze(torch.jit.script(network.eval())),
}


@pytest.mark.slow
@pytest.mark.parametrize("form", UNSEEN)
def test_torchscript_in_a_wrapper_is_judged_by_its_outputs_and_never_looked_into(digits: Any, form: str) -> None:
    network = digits.network("white_square").eval()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        classifier = PyTorchClassifier(
            UNSEEN[form](copy.deepcopy(network)), nn.CrossEntropyLoss(), SHAPE, 10, clip_values=(0, 1), device_type="cpu"
        )
    for kind in (STRIP, ScaleUp, CognitiveDistillation):
        plain, scripted = (kind(one) for one in (wrapped(network), classifier))
        for detector in (plain, scripted):
            detector.fit(digits.x_clean, digits.y_clean)
        np.testing.assert_array_equal(scripted.detect(digits.x_test[:40])[1], plain.detect(digits.x_test[:40])[1])
    sentence = "TorchScript program, whose hidden layers cannot be watched"
    for attempt in (
        lambda: LayerwiseFeatureDefence(classifier, digits.x_train, digits.y_train).detect_poison(),
        lambda: LayerwiseFeatureDetector(classifier).fit(digits.x_clean, digits.y_clean),
        lambda: InFlightDetector(classifier, digits.white_square, 1).fit(digits.x_clean, digits.y_clean),
        lambda: ActivationClustering(classifier, digits.x_train, digits.y_train).detect_poison(),
        lambda: AGPD(classifier, digits.x_train, digits.y_train, digits.x_clean, digits.y_clean).detect_poison(),
    ):
        with pytest.raises(InvalidInputError, match=sentence):
            attempt()


def test_torchscript_inside_a_network_is_passed_over(digits: Any) -> None:
    network = digits.network("white_square")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        parts = nn.Sequential(torch.jit.script(network[:2]), *network[2:])
    x = digits.x_test[:30]
    (batch,) = stream_activations(wrapped_as_it_is(parts), x, ["3"])
    np.testing.assert_allclose(batch.outputs.numpy(), wrapped(network).predict(x), atol=1e-5)
    with pytest.raises(InvalidInputError, match="no layer 0"):
        collect_activations(wrapped_as_it_is(parts), x, ["0"])
    assert "0" not in find_blocks(wrapped_as_it_is(parts), x)


def wrapped_as_it_is(network: nn.Module) -> Any:
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), SHAPE, 10, clip_values=(0, 1), device_type="cpu")


class Exported(nn.Sequential):
    """Like a program of torch.export, which has no modes."""

    def train(self, mode: bool = True) -> Any:
        raise NotImplementedError("Calling eval() is not supported yet.")


def broken(digits: Any) -> dict[str, tuple[Any, str]]:
    """Networks that give other things than scores of ten classes, preprocessing that fails, and what is said of each."""
    network = digits.network("clean")
    no_mode = wrapped(network)
    no_mode._model._model = Exported(*network)
    failing = wrapped(network)
    failing.preprocessing_operations = [FailingDefence()]
    late = wrapped(network, HuggingFaceClassifierPyTorch, processor=lambda x: x if len(x) == 1 else x / [])
    sentence = r"outputs of shape \(n, {}\) where \(n, 10\) are needed"
    return {
        "a column": (wrapped(Giving(network, lambda y: y[:, 0])), sentence.format(1)),
        "too few": (wrapped(Giving(network, lambda y: y[:, :9])), sentence.format(9)),
        "too many": (wrapped(Giving(network, lambda y: torch.cat([y, y], dim=1))), sentence.format(20)),
        "complex": (wrapped(Giving(network, lambda y: y.to(torch.complex64))), "gives complex outputs"),
        "sparse": (wrapped(Giving(network, lambda y: y.to_sparse())), "gives sparse .* outputs"),
        "no modes": (no_mode, "cannot be set to evaluation mode"),
        "preprocessing": (failing, "preprocessing raised (KeyError|NotImplementedError)"),
        "processor": (late, "raised TypeError"),
    }


class FailingDefence(SpatialSmoothing):
    def forward(self, x: Any, y: Any = None) -> Any:
        raise KeyError("a step that fails")

    __call__ = forward


@pytest.mark.parametrize(
    "case", ["a column", "too few", "too many", "complex", "sparse", "no modes", "preprocessing", "processor"]
)
def test_network_that_gives_no_score_for_each_class_is_refused_by_every_kind(digits: Any, case: str) -> None:
    classifier, sentence = broken(digits)[case]
    x, y = digits.x_clean, digits.y_clean
    for attempt in (
        lambda: LayerwiseFeatureDefence(classifier, x, y).detect_poison(),
        lambda: ActivationClustering(classifier, x, y).detect_poison(),
        lambda: AGPD(classifier, x, y, x, y).detect_poison(),
        lambda: LayerwiseFeatureDetector(classifier).fit(x, y),
        lambda: InFlightDetector(classifier, digits.white_square, 1).fit(x, y),
        lambda: STRIP(classifier).fit(x, y),
        lambda: ScaleUp(classifier).fit(x, y),
    ):
        with pytest.raises(InvalidInputError, match=sentence):
            attempt()


def test_detector_by_gradients_leaves_each_module_in_its_own_mode(digits: Any) -> None:
    network = digits.network("white_square").train()
    network[0].eval()
    classifier = wrapped_as_it_is(network)
    network.train()
    network[0].eval()
    CognitiveDistillation(classifier, nb_steps=2).fit(digits.x_clean, digits.y_clean)
    assert [module.training for module in network] == [False] + [True] * (len(network) - 1)
    network.eval()


RANGES = {
    "bytes into 0 to 1": ((0, 1), 255.0, "values from 0 to 255"),
    "far below": ((0, 1), -40.0, "clip_values are 0 to 1"),
    "0 to 1 into bytes": ((0, 255), 1.0, "clip_values are 0 to 255"),
}


@pytest.mark.parametrize("case", RANGES)
def test_samples_in_another_unit_than_the_classifiers_are_refused(digits: Any, case: str) -> None:
    clip_values, factor, sentence = RANGES[case]
    classifier = wrapped(digits.network("white_square"), clip_values=clip_values)
    wrong = digits.x_clean * factor
    for attempt in (
        lambda: LayerwiseFeatureDetector(classifier).fit(wrong, digits.y_clean),
        lambda: STRIP(classifier).fit(wrong, digits.y_clean),
        lambda: LayerwiseFeatureDefence(classifier, wrong, digits.y_clean).detect_poison(),
    ):
        with pytest.raises(InvalidInputError, match=sentence):
            attempt()


def test_samples_that_are_noisy_standardised_or_of_no_declared_range_are_taken(digits: Any) -> None:
    for factor, shift, clip_values in ((1.05, 0, (0, 1)), (4, -2, (0, 1)), (7, 0, None)):
        classifier = wrapped(digits.network("clean"), clip_values=clip_values)
        LayerwiseFeatureDetector(classifier).fit(factor * digits.x_clean + shift, digits.y_clean)
    x = np.array(digits.x_clean)
    x[0] *= 1e4  # one odd sample says nothing of the unit of all
    LayerwiseFeatureDetector(wrapped(digits.network("clean"))).fit(x, digits.y_clean)


def test_training_samples_in_another_unit_than_the_trusted_ones_are_refused(digits: Any) -> None:
    classifier = wrapped(digits.network("clean"), clip_values=None)
    with pytest.raises(
        InvalidInputError,
        match="x_train holds values from 0 to 255 in the typical sample, and the trusted samples from 0 to 1",
    ):
        LayerwiseFeatureDefence(
            classifier, 255 * digits.x_train, digits.y_train, digits.x_clean, digits.y_clean
        ).detect_poison()


def test_model_that_is_wrong_on_most_trusted_samples_is_doubted(digits: Any, caplog: pytest.LogCaptureFixture) -> None:
    """Without clip_values nothing but the accuracy tells that images are in another range, or labels in another order."""
    classifier = wrapped(digits.network("white_square"), clip_values=None)
    LayerwiseFeatureDetector(classifier).fit(digits.x_clean, digits.y_clean)
    assert "as they are labelled" not in caplog.text
    LayerwiseFeatureDetector(classifier).fit(1 - digits.x_clean, digits.y_clean)
    assert "as they are labelled" in caplog.text
    caplog.clear()
    invert_triggers(classifier, 1 - digits.x_clean, digits.y_clean, nb_steps=2, verbose=False)
    assert "as they are labelled" in caplog.text


class NaNForBright(nn.Module):
    """Gives NaN for images whose first pixel is 1."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(torch.where(x[:, :, :1, :1] == 1, torch.nan, x))
        return logits


def test_samples_for_which_the_model_gives_nan_are_counted_and_named(digits: Any) -> None:
    x = np.array(digits.x_test)
    x[::10, :, 0, 0] = 1
    classifier = wrapped(NaNForBright(digits.network("white_square")))
    with pytest.raises(InvalidInputError, match=rf"for {len(x[::10])} of {len(x)} samples \(rows 0, 10, 20"):
        collect_activations(classifier, x, ["inner.1"], batch_size=64)
    with pytest.raises(InvalidInputError, match=r"in its outputs, layer 'inner.1'.*not clean"):
        collect_activations(classifier, x, ["inner.1"])
    detector = STRIP(classifier)
    detector.fit(digits.x_clean, digits.y_clean)
    report, is_trigger = detector.detect(x)
    assert is_trigger[::10].all()
    assert np.isposinf(report["outlier_scores"][::10]).all()


@pytest.mark.parametrize(
    ("x", "way"),
    [
        (torch.zeros(4, 1, 8, 8), r"x\.detach\(\)\.cpu\(\)\.numpy\(\)"),
        ([np.zeros(SHAPE)] * 4, r"numpy\.stack\(x\)"),
        (torch.utils.data.TensorDataset(torch.zeros(4, 1, 8, 8), torch.zeros(4)), "for sample, label in x"),
        (
            torch.utils.data.DataLoader(torch.utils.data.TensorDataset(torch.zeros(4, 1, 8, 8), torch.zeros(4))),
            "for samples, labels in x",
        ),
        (7, "first axis"),
    ],
)
def test_advice_for_what_is_no_array_makes_one(digits: Any, x: Any, way: str) -> None:
    with pytest.raises(InvalidInputError, match=way) as caught:
        STRIP(wrapped(digits.network("clean"))).fit(x, [0] * 4)
    if "Make an array" in str(caught.value):
        made = eval(str(caught.value).split("all samples: ")[1].rstrip("."), {"numpy": np, "x": x})
        assert made.shape == (4, 1, 8, 8)


class Resizing(nn.Module):
    """Takes images of any size, as Armory's models do, although its wrapper declares one."""

    def __init__(self, inner: nn.Module) -> None:
        super().__init__()
        self.inner = inner

    def forward(self, x: Tensor) -> Tensor:
        logits: Tensor = self.inner(nn.functional.interpolate(x, size=SHAPE[1:]))
        return logits


def test_shape_that_is_not_declared_is_taken_where_the_classifier_predicts_it(digits):
    network = Resizing(digits.network("white_square"))
    classifier = PyTorchClassifier(network, nn.CrossEntropyLoss(), SHAPE, 10, clip_values=(0, 1), device_type="cpu")
    larger = np.repeat(np.repeat(digits.x_clean, 2, axis=2), 2, axis=3)
    detector = LayerwiseFeatureDetector(classifier)
    detector.fit(larger, digits.y_clean)
    report, _ = detector.detect(larger)
    np.testing.assert_array_equal(report["predicted_class"], classifier.predict(larger).argmax(axis=1))


def test_shape_that_the_classifier_cannot_predict_is_refused(digits):
    classifier = wrapped(digits.network("white_square"))
    with pytest.raises(InvalidInputError, match=r"must have the classifier's shape \(1, 8, 8\); received \(1, 16, 16\)"):
        LayerwiseFeatureDetector(classifier).fit(np.zeros((60, 1, 16, 16), dtype=np.float32), np.arange(60) % 10)
