"""The evidence of a scan's own networks on real digits; needs the folder that ART_PLUGINS_DATA names."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from art_plugins.inspection.evidence.found import LABEL_ERROR, POISON
from art_plugins.inspection.scan import scan
from art_plugins.inspection.settings import ScanSettings

N = 1_500
TARGET, N_POISON, N_FLIPPED = 3, 40, 45


def mnist(root: Path, seed: int) -> tuple[np.ndarray, np.ndarray]:
    with np.load(root / "mnist.npz") as file:
        x, y = file["x_train"], file["y_train"].astype(np.int64)
    rows = np.random.default_rng(seed).permutation(len(x))[:N]
    pictures = x[rows].reshape(N, 28, 28)
    return (pictures if pictures.dtype == np.uint8 else (255 * pictures).round().astype(np.uint8)), y[rows]


def run(x: np.ndarray, y: np.ndarray, out: Path, *only: str, **settings: Any) -> dict[str, Any]:
    given = ScanSettings(only=only, **settings)
    return scan(x, y, out, given, verbose=False)


def rows_of(record: dict[str, Any], verdict: str) -> set[int]:
    files = [row["file"] for row in record["suspects"] if row["verdict"] == verdict]
    return {int(file.split("[")[1].rstrip("]")) for file in files}


@pytest.mark.slow
def test_scan_of_mnist_tells_a_patch_from_wrong_labels(data_root: Path, tmp_path: Path) -> None:
    x, y = mnist(data_root, 0)
    random = np.random.default_rng(1)
    poison = random.choice(np.flatnonzero(y != TARGET), N_POISON, replace=False)
    wrong = random.choice(np.setdiff1d(np.arange(N), poison), N_FLIPPED, replace=False)
    given = y.copy()
    x[poison, 24:27, 24:27], given[poison] = 255, TARGET
    given[wrong] = (y[wrong] + random.integers(1, 10, N_FLIPPED)) % 10
    record = run(x, given, tmp_path / "out", "network", "labels")
    called, errors = rows_of(record, POISON), rows_of(record, LABEL_ERROR)
    assert len(called & set(poison)) >= 0.95 * N_POISON
    assert len(called - set(poison)) <= 2
    assert len(errors & set(wrong)) >= 0.5 * N_FLIPPED
    assert len(errors & set(wrong)) >= 0.8 * len(errors)
    suggested = [
        (row["suggested_label"], str(y[int(row["file"].split("[")[1].rstrip("]"))]))
        for row in record["suspects"]
        if row["verdict"] == POISON and row["suggested_label"] is not None
    ]
    assert np.mean([label == true for label, true in suggested]) >= 0.8
    assert len(suggested) >= 0.5 * N_POISON
