"""What a detector said of a folder of images."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True)
class Judged:
    """
    ``files`` (n,): those that could be read; ``predicted`` (n,): the model's classes; ``is_trigger`` (n,): caught;
    ``source`` (n,): the inferred class of a caught image, else -1; ``scores`` (n,): higher is more suspicious, NaN where
    the model does not say the target class; ``skipped_files``: name -> reason; ``mended_files``: what was done -> names.
    """

    files: list[str]
    predicted: np.ndarray
    is_trigger: np.ndarray
    source: np.ndarray
    scores: np.ndarray
    skipped_files: dict[str, str]
    mended_files: dict[str, list[str]]
