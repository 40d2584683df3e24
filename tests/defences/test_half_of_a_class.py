"""Poison that is half of its class, on real images: the filter takes the poison and leaves the clean half."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from art_plugins.attacks.cases import Folders, ModelCase
from art_plugins.defences.layerwise import LayerwiseFeatureDefence
from art_plugins.evaluation.filter_rates import open_model


@pytest.mark.slow
def test_half_of_a_class_that_is_blended_goes_and_the_clean_half_stays(data_root: Path, tmp_path: Path) -> None:
    """A blended trigger lets the content show, so that the poison lies among the other classes and the clean half alone."""
    case = ModelCase("fashion_mnist", "blended", "multi", "resnet18_cifar", 600, width=8, nb_epochs=8, n_train=6_000)
    classifier, attack, figures, _ = open_model(case, Folders(data_root, tmp_path), verbose=False)
    assert figures["attack_success"] > 0.9
    of_target = attack.y_train == attack.target
    assert 0.45 < attack.is_poison[of_target].mean() < 0.55
    report, is_clean = LayerwiseFeatureDefence(classifier, attack.x_train, attack.y_train).detect_poison()
    removed = np.array(is_clean) == 0
    assert removed[attack.is_poison].mean() > 0.98
    assert removed[of_target & ~attack.is_poison].mean() < 0.01  # on some processors half of the bags goes as well
    (group,) = (one for one in report["groups"] if one["verdict"] == "poison" and one["classes"] == [attack.target])
    assert group["clearness"] > report["clearness_limit"]
