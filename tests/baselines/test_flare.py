"""FLARE: what its steps leave behind."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from art_plugins.baselines.flare import to_plane, umap_is_installed


@pytest.mark.slow  # UMAP compiles itself
@pytest.mark.skipif(not umap_is_installed(), reason="umap-learn is not installed")
def test_map_to_the_plane_leaves_the_number_of_threads() -> None:
    n_before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        to_plane(np.random.default_rng(0).normal(size=(60, 4)), 10, 0)
        assert torch.get_num_threads() == 1
    finally:
        torch.set_num_threads(n_before)
