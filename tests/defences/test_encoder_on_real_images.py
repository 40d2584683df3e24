"""What an encoder that has learned nothing shows of a small patch in real images; the figures of the docstring."""

from __future__ import annotations

import numpy as np
import pytest
from torch import nn

from art_plugins.attacks.datasets.images import image_data
from art_plugins.defences.encoder_features import EncoderFeatureDefence
from art_plugins.features.vae.training import seeded


@pytest.mark.slow
@pytest.mark.parametrize(("anywhere", "least"), [(False, 140), (True, 0)], ids=["corner", "anywhere"])
def test_blocks_of_an_untrained_network_show_a_patch_in_a_corner_and_remove_no_clean_image(
    data_root, anywhere: bool, least: int
) -> None:
    data = image_data("fashion_mnist", data_root)
    random = np.random.default_rng(0)
    rows = random.permutation(len(data.x_train))[:3_000]
    x, y = np.array(data.x_train[rows]), np.array(data.y_train[rows])
    poison = random.choice(np.flatnonzero(y != 0), 150, replace=False)
    for index in poison:
        top, left = random.integers(26, size=2) if anywhere else (25, 25)
        x[index, ..., top : top + 3, left : left + 3] = 1
    y[poison] = 0
    with seeded(0):
        layers: list[nn.Module] = []
        for into, out in ((1, 16), (16, 32), (32, 32)):
            layers += [nn.Conv2d(into, out, 3, 2, 1), nn.ReLU()]
        encoder = nn.Sequential(*layers, nn.Flatten(), nn.Linear(512, 64)).eval()
    defence = EncoderFeatureDefence(None, x, y, encoder=encoder)
    defence.detect_poison()
    is_poison = np.isin(np.arange(len(x)), poison)
    removed = defence.is_clean_ == 0
    print(f"anywhere={anywhere}: {removed[is_poison].sum()} of 150 removed, and {removed[~is_poison].sum()} clean images")
    assert removed[~is_poison].sum() <= 15
    assert removed[is_poison].sum() >= least
