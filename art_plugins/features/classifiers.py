"""The network of an ART classifier and its inputs and outputs, as ``classifier.predict`` computes them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.errors import ArtPluginsError, InvalidInputError

HOME, NAME = "art.estimators.classification.pytorch", "PyTorchClassifier"
MOST_QUOTED = 400  # letters of another's error
HOW_TO_WRAP = (
    "art.estimators.classification.PyTorchClassifier(model=network, loss=torch.nn.CrossEntropyLoss(), "
    "input_shape=x.shape[1:], nb_classes=K)"
)


def check_classifier(classifier: Any) -> None:
    """
    Check that the hidden layers of a classifier can be seen and belong to its predictions.

    :raises InvalidInputError: If it is no ART ``PyTorchClassifier``, or if its ``predict`` does not give the outputs of the
        network (a smoothed or certified classifier).
    """
    if classifier is None:
        raise InvalidInputError(f"classifier is None, and a model is looked into here; give {HOW_TO_WRAP}.")
    if isinstance(classifier, nn.Module):
        raise InvalidInputError(f"classifier is a bare PyTorch network; wrap it: {HOW_TO_WRAP}.")
    kinds = type(classifier).__mro__
    if not any((kind.__module__, kind.__name__) == (HOME, NAME) for kind in kinds):
        raise InvalidInputError(
            "classifier must be an ART PyTorchClassifier or HuggingFaceClassifierPyTorch, whose hidden layers can be seen; "
            f"received {type(classifier).__name__}. Give {HOW_TO_WRAP}."
        )
    own = next(kind for kind in kinds if "predict" in vars(kind))
    if own.__module__ != HOME:
        raise InvalidInputError(
            f"classifier is a {type(classifier).__name__}, whose predict is not the network's own outputs "
            f"({own.__name__} changes it); wrap the network alone: {HOW_TO_WRAP}."
        )


def torch_module(classifier: Any) -> nn.Module:
    """
    Give the network that the user wrapped, without the wrapper of ``torch.compile``.

    :raises InvalidInputError: As :func:`check_classifier`; also for a subclass of ``nn.Sequential`` that defines
        ``forward``, because ART does not call it.
    """
    check_classifier(classifier)
    network = classifier.model
    network = getattr(network, "_orig_mod", network) if type(network).__name__ == "OptimizedModule" else network
    if not isinstance(network, nn.Module):
        raise InvalidInputError(f"classifier must hold a torch.nn.Module; it holds a {type(network).__name__}.")
    # A wrapper that extends the network, as ART's for Hugging Face, sets forward on the object: that one is called.
    if isinstance(network, nn.Sequential) and type(network).forward is not nn.Sequential.forward:
        raise InvalidInputError(
            f"classifier holds a {type(network).__name__}, an nn.Sequential with a forward of its own: ART runs its "
            "modules one after the other and never calls that forward. Derive it from nn.Module."
        )
    return network


def layer_modules(classifier: Any) -> dict[str, nn.Module]:
    """
    Give the modules of a network that can be watched while it runs, by their names. Programs of TorchScript inside it are
    left out, because no hook is called in them.

    :raises InvalidInputError: As :func:`torch_module`; also if the whole network is a program of TorchScript.
    """
    network = torch_module(classifier)
    if isinstance(network, torch.jit.ScriptModule):
        raise InvalidInputError(
            "classifier holds a TorchScript program, whose hidden layers cannot be watched; give the network that it "
            "was made from, or its file to art_plugins.files.model_files.load_classifier, which sees the last ones."
        )
    return {name: one for name, one in network.named_modules() if not isinstance(one, torch.jit.ScriptModule)}


def input_dtype(network: nn.Module) -> torch.dtype:
    """Give the floating type of the network's first weights, or float32 if it has none."""
    return next((weights.dtype for weights in network.parameters() if weights.is_floating_point()), torch.float32)


def as_samples(x: np.ndarray, network: nn.Module) -> np.ndarray:
    """
    Give a contiguous batch in native byte order and in the type that the network computes with. Whole numbers keep their
    type if the network has an embedding.
    """
    if min(x.strides) < 0:  # one sample counts as contiguous whatever its stride, and PyTorch takes none below 0
        x = np.array(x, order="C")
    is_whole = np.issubdtype(x.dtype, np.integer)
    if is_whole and any(isinstance(module, (nn.Embedding, nn.EmbeddingBag)) for module in network.modules()):
        return np.ascontiguousarray(x, dtype=x.dtype.newbyteorder("="))
    return np.ascontiguousarray(x, dtype=np.float64 if input_dtype(network) == torch.float64 else np.float32)


def forward(classifier: Any, network: nn.Module, tensor: Tensor) -> Any:
    """
    Run the network, after the processor of a Hugging Face classifier, on a preprocessed batch.

    :param tensor: Batch on the network's device, (B, ...).
    :return: The output of the network.
    :raises InvalidInputError: If the network raises an error, which is then the cause of this one.
    """
    processor = getattr(classifier, "processor", None)
    try:
        tensor = tensor if processor is None else processor(tensor)
        return network(tensor.to(input_dtype(network)) if tensor.is_floating_point() else tensor)
    except (ArtPluginsError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # the user's network may raise any error
        raise InvalidInputError(
            f"The classifier's network raised {type(error).__name__} on samples of shape {tuple(tensor.shape)}: "
            f"{_words(error)}"
        ) from error


def preprocessed(classifier: Any, x: np.ndarray, network: nn.Module) -> Tensor:
    """
    Give a batch after the preprocessing of ART, on the network's device, in the type that :func:`as_samples` gives.

    :raises InvalidInputError: If a preprocessing step raises an error, which is then the cause of this one.
    """
    samples = as_samples(np.asarray(x), network)
    try:
        batch, _ = classifier._apply_preprocessing(samples, y=None, fit=False)
        return torch.from_numpy(np.ascontiguousarray(batch)).to(classifier.device)
    except (ArtPluginsError, MemoryError, torch.OutOfMemoryError):
        raise
    except Exception as error:  # a preprocessing defence of the user's may raise any error
        raise InvalidInputError(
            f"The classifier's preprocessing raised {type(error).__name__} on samples of shape {samples.shape}: "
            f"{_words(error)}"
        ) from error


def _words(error: Exception) -> str:
    """An error's message on one line. TorchScript puts its traceback before the reason, so the end is kept."""
    words = " ".join(str(error).split())
    return words if len(words) <= MOST_QUOTED else f"... {words[-MOST_QUOTED:]}"


def class_outputs(output: Any, n_samples: int) -> Tensor:
    """
    Give the class scores, (B, K), in the output of a network.

    :raises InvalidInputError: If the output is no tensor, or has not one row for each sample; ``classifier.predict`` could
        not read it either.
    """
    if not isinstance(output, Tensor):
        remedy = "use HuggingFaceClassifierPyTorch" if hasattr(output, "logits") else "let its forward return the logits"
        raise InvalidInputError(
            f"The classifier's network gives a {type(output).__name__}, and ART's predict needs one tensor; {remedy}."
        )
    if output.layout != torch.strided or output.is_complex():
        kind = "complex" if output.is_complex() else f"sparse ({output.layout})"
        raise InvalidInputError(f"The classifier's network gives {kind} outputs, and class scores are real and dense.")
    scores = output[:, None] if output.ndim == 1 else output
    if scores.ndim != 2 or len(scores) != n_samples:
        raise InvalidInputError(
            f"The classifier's network must give a row of class scores for each sample; for {n_samples} samples it gave "
            f"{tuple(output.shape)}."
        )
    return scores


def predicted_classes(classifier: Any, outputs: np.ndarray) -> np.ndarray:
    """
    Give the classes that ``classifier.predict`` gives, after its postprocessing defences.

    :param outputs: Outputs of the network, (n, K).
    :return: Classes, (n,), int64.
    """
    if getattr(classifier, "postprocessing_defences", None):
        outputs = classifier._apply_postprocessing(preds=outputs, fit=False)
    predicted: np.ndarray = np.asarray(outputs).argmax(axis=1)
    return predicted


@contextmanager
def evaluating(network: nn.Module) -> Iterator[None]:
    """Set evaluation mode, without gradients and compiled code (it ignores hooks); restore the mode of each module."""
    # inference_mode is off, because its tensors do not count changes, and the caller's code would run inside it.
    with in_evaluation_mode(network), torch.inference_mode(False), torch.no_grad(), _without_compiled_code():
        yield


@contextmanager
def in_evaluation_mode(network: nn.Module) -> Iterator[None]:
    """
    Set evaluation mode; restore the mode of each module.

    :raises InvalidInputError: For a program of ``torch.export``, which has no such mode; ``classifier.predict`` could not
        run it either.
    """
    # A frozen program of TorchScript has no mode any more: it is that of evaluation.
    modes = [(module, module.training) for module in network.modules() if hasattr(module, "training")]
    try:
        if modes:
            network.eval()
    except NotImplementedError as error:
        raise InvalidInputError(
            f"The classifier's network cannot be set to evaluation mode ({error}), as a program of torch.export: give the "
            "network that it was made from."
        ) from error
    try:
        yield
    finally:
        for module, mode in modes:
            module.training = mode


def _without_compiled_code() -> AbstractContextManager[Any]:
    """Switch compiled code off. If the compiler was never imported, nothing is compiled, and importing it takes seconds."""
    return torch.compiler.set_stance("force_eager") if "torch._dynamo" in sys.modules else nullcontext()
