"""Optional packages: each is imported only where it is used, and the error names the extra that installs it."""

from __future__ import annotations

from importlib import import_module
from typing import Any, NamedTuple

from art_plugins.errors import MissingPackageError


class Package(NamedTuple):
    """
    An optional package.

    :param use: What needs it, as the start of a sentence, in the plural.
    :param name: Name of the package for its users.
    :param extra: The extra of this package that installs it.
    :param advice: What else the installation needs.
    """

    use: str
    name: str
    extra: str
    advice: str = ""


PACKAGES = {
    "PIL": Package("Images", "Pillow", "report"),
    "jinja2": Package("Pages", "jinja2", "report"),
    "matplotlib": Package("Figures", "matplotlib", "report"),
    "soundfile": Package("Sound files", "soundfile", "audio"),
    "torchaudio": Package(
        "Waveforms",
        "torchaudio",
        "audio",
        " Install torch and torchaudio from PyPI in matching versions (torch>=2.11,<2.15 with torchaudio 2.11; not a "
        "CPU-only build of torch).",
    ),
    "timm": Package("Encoders of timm", "timm", "encoders"),
    "torchvision": Package("Encoders of torchvision", "torchvision", "encoders"),
    "pyod": Package("PyOD's detectors, TED and TED++", "PyOD", "peers"),
    "cleanlab": Package("Doubts about labels", "cleanlab", "peers"),
    "umap": Package("FLARE's maps", "umap-learn", "peers"),
    "datasets": Package("Parquet, Arrow and data sets of Hugging Face", "datasets", "data"),
    "pyarrow": Package("Parquet files", "pyarrow", "data"),
    "h5py": Package("HDF5 files", "h5py", "data"),
    "distributed": Package("Dask clusters", "distributed", "dask"),
    "ray": Package("Ray clusters", "ray", "ray"),
    "onnx": Package("ONNX files", "onnx", "onnx"),
    "onnxruntime": Package("ONNX files", "onnxruntime", "onnx"),
    "onnxscript": Package("ONNX files", "onnxscript", "onnx"),
    "IPython": Package("Notebooks", "IPython", "notebooks"),
}


def import_optional(module: str) -> Any:
    """
    Import a module of an optional package.

    :param module: Its full name, such as ``"PIL.Image"``; the package is one of ``PACKAGES``.
    :return: The module.
    :raises MissingPackageError: If it cannot be imported. The message names the extra to install.
    """
    try:
        return import_module(module)
    except (
        ImportError,
        OSError,
        RuntimeError,
        AttributeError,
    ) as error:  # OSError, RuntimeError: of a shared library; AttributeError: of packages that do not fit together
        package = PACKAGES[module.partition(".")[0]]
        raise MissingPackageError(
            f"{package.use} need the package {package.name}, which cannot be imported ({error}).{package.advice} "
            f'Run: pip install "art-plugins[{package.extra}]"'
        ) from error
