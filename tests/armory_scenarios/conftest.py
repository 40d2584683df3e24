"""What the tests of the Armory configs share: which packages they need, small data sets, and a cache of their own."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

HAS_ENGINE = importlib.util.find_spec("tensorflow") is not None


@pytest.fixture
def engine() -> None:
    """Skip where Armory itself cannot be imported."""
    if not HAS_ENGINE:
        pytest.skip('Armory\'s scenarios need TensorFlow: pip install ".[armory]"')


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of trained models for one test."""
    folder = tmp_path / "cache"
    for module in ("models", "filters"):
        monkeypatch.setattr(f"armory_scenarios.{module}.cache_folder", lambda: folder)
    return folder


@pytest.fixture(scope="session")
def digit_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with ``mnist.npz``: real digits of 8 x 8, enlarged to 28 x 28; 1,000 to train and 797 to test."""
    folder = tmp_path_factory.mktemp("digits")
    x, y = load_digits(return_X_y=True)
    images = np.kron(x.reshape(-1, 8, 8) / 16 * 255, np.ones((3, 3))).astype(np.uint8)
    images = np.pad(images, ((0, 0), (2, 2), (2, 2)))
    order = np.random.default_rng(0).permutation(len(y))
    images, y = images[order], y[order]
    save_npz(folder / "mnist.npz", images[:1000], y[:1000], images[1000:], y[1000:])
    return folder


def save_npz(path: Path, *arrays: Any) -> None:
    np.savez(path, **dict(zip(("x_train", "y_train", "x_test", "y_test"), arrays, strict=True)))


@pytest.fixture
def armory_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home directory, and so folders of Armory, of the test's own."""
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("TF_CPP_MIN_LOG_LEVEL", "2")
    return home
