"""Files of a guarded model that run without this package: ``torch.export``, TorchScript and ONNX."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from art_plugins.defences.guarded_model import GuardedModel
from art_plugins.errors import InvalidInputError
from art_plugins.optional import import_optional
from art_plugins.parameters import checked_path, shown
from art_plugins.storage import atomic_path

TOLERANCE = 1e-5  # largest difference of an exported model, in units of the largest value of an output (at least 1)
N_CHECKED = 8  # images on which the exported model is compared with the guard
FORMATS = (".pt2", ".pt", ".onnx")

Runner = Callable[[np.ndarray], Sequence[np.ndarray]]


def check_guard_path(path: str | Path) -> None:
    """
    Check the format before any work.

    :raises InvalidInputError: For another ending of the name than ``FORMATS``.
    :raises MissingPackageError: For ONNX without its packages.
    """
    if checked_path("path", path).suffix not in FORMATS:
        raise InvalidInputError(
            f"{path} must end in .pt2 (torch.export), .pt (TorchScript) or .onnx (ONNX), which is the format of the file."
        )
    if Path(path).suffix == ".onnx":
        for name in ("onnx", "onnxscript", "onnxruntime"):
            import_optional(name)


def save_guard(guard: GuardedModel, path: str | Path, x: np.ndarray) -> None:
    """
    Write a guarded model as a file that runs without this package, on batches of any size. The end of the name gives the
    format: ``.pt2``, ``.pt`` or ``.onnx``.

    The file is read back and compared with the guard on some images before it takes its place.

    :param guard: The guarded model.
    :param path: The file.
    :param x: Some images, (n, ...), n >= 2.
    :raises InvalidInputError: For another ending of the name, too few images, a model that cannot be exported, or an
        exported model whose outputs differ from those of the guard.
    :raises MissingPackageError: For ONNX without its packages.
    """
    check_guard_path(path)
    if not isinstance(x, np.ndarray) or x.dtype.kind not in "fiu" or x.ndim < 2 or len(x) < 2:
        raise InvalidInputError(f"x must be an array of at least 2 images, (n, ...); received {shown(x)}.")
    images = np.ascontiguousarray(x[:N_CHECKED], dtype=np.float32)
    write = {".pt2": _write_exported, ".pt": _write_script, ".onnx": _write_onnx}[Path(path).suffix]
    with atomic_path(path) as partial, torch.no_grad(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch's exporters, on their own future and on constants
        try:
            run = write(guard, torch.from_numpy(images).to(guard.place.device), partial)
        except Exception as error:  # what torch's exporters do not like about a model
            message = str(error).strip().splitlines() or [type(error).__name__]
            raise InvalidInputError(
                f"The guarded model cannot be written as {Path(path).suffix} ({message[0]}); try another of "
                f"{', '.join(FORMATS)}."
            ) from error
        _check_same(guard, images, run, path)
        _check_same(guard, images[:1], run, path)


def _write_exported(guard: GuardedModel, x: Tensor, path: Path) -> Runner:
    torch.export.save(_exported(guard, x), path)
    module = torch.export.load(path).module()
    return lambda images: [output.cpu().numpy() for output in module(torch.from_numpy(images).to(x.device))]


def _write_script(guard: GuardedModel, x: Tensor, path: Path) -> Runner:
    jit: Any = torch.jit  # without types
    jit.save(jit.trace(guard, x, check_trace=False), path)
    module = jit.load(path)
    return lambda images: [output.cpu().numpy() for output in module(torch.from_numpy(images).to(x.device))]


def _write_onnx(guard: GuardedModel, x: Tensor, path: Path) -> Runner:
    torch.onnx.export(
        _exported(guard, x),
        (x,),
        path,
        input_names=["x"],
        output_names=list(guard.outputs),
        external_data=False,
        verbose=False,
    )
    session = import_optional("onnxruntime").InferenceSession(path, providers=["CPUExecutionProvider"])
    run: Runner = lambda images: session.run(None, {"x": images})  # noqa: E731
    return run


def _exported(guard: GuardedModel, x: Tensor) -> Any:
    batch = torch.export.Dim("batch", min=1)
    return torch.export.export(guard, (x,), dynamic_shapes={"x": {0: batch}}, strict=False)


def _check_same(guard: GuardedModel, images: np.ndarray, run: Runner, path: str | Path) -> None:
    expected = [output.cpu().numpy() for output in guard(torch.from_numpy(images).to(guard.place.device))]
    for name, ours, theirs in zip(guard.outputs, expected, run(images), strict=True):
        difference = np.abs(np.nan_to_num(ours.astype(np.float64)) - np.nan_to_num(theirs.astype(np.float64)))
        scale = np.maximum(1, np.abs(ours[np.isfinite(ours)]).max(initial=1))
        if not (np.isfinite(ours) == np.isfinite(theirs)).all() or not (difference <= TOLERANCE * scale).all():
            raise InvalidInputError(
                f"{path} was not written: its {name} differ from those of the guard by {difference.max():.2g}. The network "
                "may do something else for another batch; try another format."
            )
