"""The null distribution of the clearness, on the committed records of clean data sets."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from art_plugins.attacks.datasets.images import image_data
from art_plugins.attacks.image_models import train_image_classifier
from art_plugins.attacks.training_loop import ImageTraining
from art_plugins.features.blocks import find_blocks
from art_plugins.features.layer_views import layer_views
from art_plugins.groups.find import find_groups
from art_plugins.groups.verdict import NULL_SCALE, clearest_by_class, clearness_limit

RECORDS = Path(__file__).parents[1] / "records"


def clearest_of_clean_classes() -> np.ndarray:
    """The clearness of the clearest group of every class of every clean data set that was measured with nothing trusted."""
    found: list[float] = []
    for path in sorted(RECORDS.glob("filters*.json")):
        for run in json.loads(path.read_text(encoding="utf-8"))["runs"]:
            if run["attack"] == "none" and run["filter"] == "layerwise" and run["n_trusted"] == 0:
                found += run["clearness_by_class"]
    return np.array(found)


def assert_bounded(clearness: np.ndarray) -> None:
    """Nowhere is the exponential of the null distribution below the share of clean classes that reach a clearness."""
    clearness = np.sort(clearness)[::-1]
    share = (np.arange(len(clearness)) + 1) / len(clearness)
    reached = clearness > 0
    assert (share[reached] <= np.exp(-clearness[reached] / NULL_SCALE)).all()


def test_null_scale_bounds_the_share_of_clean_classes_that_reach_a_clearness():
    clearness = clearest_of_clean_classes()
    assert len(clearness) >= 200
    assert_bounded(clearness)


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["fashion_mnist", "mnist"])
def test_null_scale_holds_for_small_classes_of_a_network_that_many_images_have_trained(data_root, dataset):
    """
    Small draws of clean classes, in the layers of one network. Sub-populations stand apart there more than in the layers of
    a network that the draw alone has trained.
    """
    data = image_data(dataset, data_root)
    rows = np.random.default_rng(0).permutation(len(data.x_train))[:15_000]
    x, y = data.x_train[rows], data.y_train[rows]
    training = ImageTraining(network="plain_cnn", nb_epochs=5)
    classifier = train_image_classifier(x, y, len(data.class_names), training)
    seen = layer_views(classifier, x, y, len(data.class_names), find_blocks(classifier, x[:1]))
    found: list[float] = []
    for size, n_draws in ((30, 3), (60, 3), (100, 3), (200, 2), (500, 1)):
        for draw in range(n_draws):
            random = np.random.default_rng(draw)
            chosen = np.concatenate([random.choice(np.flatnonzero(y == label), size, replace=False) for label in range(10)])
            views = {name: view[chosen] for name, view in seen.views.items()}
            found += clearest_by_class(find_groups(views, y[chosen], 10, random_state=draw), 10)
    assert len(found) == 120
    largest = np.sort(found)[::-1][:-1]
    needed = max(largest[largest > 0] / -np.log((np.flatnonzero(largest > 0) + 1) / len(found)))
    print(f"{dataset}: largest clearness {max(found):.1f}, scale needed {needed:.2f}")
    assert max(found) < clearness_limit(10, 0.01)
    assert_bounded(np.array(found))
