"""What several test files share: tiny data sets, and the folder of real recordings where there is one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

TINY_RATE_HZ = 1_600


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of real recordings, named by the environment variable ART_PLUGINS_DATA."""
    name = os.environ.get("ART_PLUGINS_DATA")
    if not name:
        pytest.skip("ART_PLUGINS_DATA does not name a folder of real recordings")
    root = Path(name)
    if not root.is_dir():
        pytest.skip(f"ART_PLUGINS_DATA names {root}, which is no folder")
    return root


@pytest.fixture
def random() -> np.random.Generator:
    """A generator of its own for each test."""
    return np.random.default_rng(20231)


@pytest.fixture(scope="session")
def tiny_network() -> dict[str, Any]:
    """Settings of the smallest sensible autoencoder, for any kind of data."""
    return {
        "sample_rate_hz": TINY_RATE_HZ,
        "n_mels": 8,
        "window_s": 0.02,
        "hop_s": 0.05,
        "latent_dim": 4,
        "step_latent_dim": 2,
        "embedding_dim": 8,
        "hidden_dim": 8,
        "channels": 2,
    }


@pytest.fixture(scope="session")
def tiny_waveforms() -> np.ndarray:
    """Half a second of noise under a random tone, (60, 800); read-only, since every test shares it."""
    random = np.random.default_rng(1)
    times_s = np.arange(TINY_RATE_HZ // 2) / TINY_RATE_HZ
    tones = np.sin(2 * np.pi * random.uniform(50, 700, size=(60, 1)) * times_s)
    return _frozen(0.3 * tones + 0.05 * random.normal(size=tones.shape))


@pytest.fixture(scope="session")
def tiny_spectrograms() -> np.ndarray:
    """(60, 6, 11): a number of bands that is no multiple of 8."""
    return _frozen(np.random.default_rng(2).normal(size=(60, 6, 11)))


@pytest.fixture(scope="session")
def tiny_images() -> np.ndarray:
    """Colour images, channels first, (60, 3, 10, 9): neither side is a multiple of 4."""
    return _frozen(np.random.default_rng(3).uniform(size=(60, 3, 10, 9)))


@pytest.fixture
def global_generators_untouched() -> Iterator[None]:
    """
    The package never draws from, nor seeds, the global generators. A file holds all of its tests to that by
    ``pytestmark = pytest.mark.usefixtures("global_generators_untouched")``; such tests build networks inside ``seeded``.
    """
    numpy_before = np.random.get_state()  # noqa: NPY002
    torch_before = torch.get_rng_state()
    yield
    numpy_after = np.random.get_state()  # noqa: NPY002
    torch_after = torch.get_rng_state()
    np.random.set_state(numpy_before)  # noqa: NPY002
    torch.set_rng_state(torch_before)
    assert numpy_after[2] == numpy_before[2]
    assert np.array_equal(numpy_after[1], numpy_before[1]), "NumPy's global generator was used"
    assert torch.equal(torch_after, torch_before), "torch's global generator was used"


def _frozen(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float32)
    x.setflags(write=False)
    return x
