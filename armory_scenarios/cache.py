"""Trained models and autoencoders that several configs share, by a fingerprint of their data and settings."""

from __future__ import annotations

import hashlib
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch


def saved_model_folder() -> Path:
    """The folder that ``armory configure`` asks for saved models, by default ``~/.armory/saved_models``."""
    from armory import paths

    with warnings.catch_warnings():  # Armory has said at its start that it is not configured
        warnings.simplefilter("ignore")
        return Path(paths.runtime_paths().saved_model_dir)


def cache_folder() -> Path:
    """Where this package keeps what it trained: ``art_plugins`` in Armory's folder of saved models; may be deleted."""
    return saved_model_folder() / "art_plugins"


def fingerprint(x: np.ndarray, settings: Mapping[str, Any]) -> str:
    """
    Twelve hexadecimal digits that tell trainings apart.

    :param x: What is trained on; its content counts.
    :param settings: JSON-safe.
    """
    digest = hashlib.sha256(f"{torch.__version__}{x.dtype.str}{x.shape}".encode())
    digest.update(np.ascontiguousarray(x).tobytes())
    digest.update(json.dumps(dict(settings), sort_keys=True).encode())
    return digest.hexdigest()[:12]
