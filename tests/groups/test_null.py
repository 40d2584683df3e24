"""The null distribution of the clearness, on the committed records of clean data sets."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from art_plugins.attacks.datasets.images import image_data
from art_plugins.attacks.image_models import train_image_classifier
from art_plugins.attacks.training_loop import ImageTraining
from art_plugins.features.blocks import find_blocks
from art_plugins.features.layer_views import layer_views
from art_plugins.groups.find import find_groups
from art_plugins.groups.verdict import NULL_SCALE, clearest_by_class, clearness_limit

RECORDS = Path(__file__).parents[1] / "records"
LEAST_CHANCE = 0.05
# Frames of one film do stand apart. Whether a group is of near copies is another question (origins.py).
FILMS = ("gtsrb32",)


def clearest_of_clean_classes() -> dict[str, list[float]]:
    """
    The clearness of the clearest group of every class of the clean sets that were measured with nothing trusted, by data
    set. A model that two records have counts once, and so does a group that several classes have a part in.
    """
    found: dict[str, dict[str, list[float]]] = {}
    for path in sorted(RECORDS.glob("filters*.json")):
        for run in json.loads(path.read_text(encoding="utf-8"))["runs"]:
            is_still = run["case"]["dataset"] not in FILMS
            if run["attack"] == "none" and run["filter"] == "layerwise" and run["n_trusted"] == 0 and is_still:
                models = found.setdefault(run["case"]["dataset"], {})
                of_classes = run["clearness_by_class"]
                once = [0.0 if one in of_classes[:label] else one for label, one in enumerate(of_classes)]
                models[json.dumps(run["case"], sort_keys=True)] = once
    return {name: [one for of_model in models.values() for one in of_model] for name, models in found.items()}


def least_chance(clearness: Sequence[float], scale: float) -> float:
    """
    Of all k, the smallest chance that so many classes reach the clearness of the k-th clearest, if it is exponential.

    The share of classes alone would be no test: the largest of n exponential values is above ``scale * log(n)`` in 63 of
    100 cases.
    """
    largest = np.sort(clearness)[::-1]
    largest = largest[largest > 0]
    chances = binom.sf(np.arange(len(largest)), len(clearness), np.exp(-largest / scale))
    return float(min(chances, default=1.0))


def scale_needed(clearness: Sequence[float]) -> float:
    """The smallest scale, in steps of .01, at which the clearness is not improbable."""
    return next(scale for scale in np.arange(0.01, 10, 0.01) if least_chance(clearness, scale) >= LEAST_CHANCE)


def test_null_scale_bounds_the_share_of_clean_classes_that_reach_a_clearness():
    """All together, and those of each data set that has enough of them to tell: one data set is one user's."""
    clearness = clearest_of_clean_classes()
    everything = [one for of_one in clearness.values() for one in of_one]
    assert len(everything) >= 800
    for name, of_one in {"all": everything, **clearness}.items():
        if len(of_one) >= 100:
            largest = ", ".join(f"{one:.1f}" for one in sorted(of_one)[:-6:-1])
            print(f"{name}: {len(of_one)} classes, clearest {largest}, scale needed {scale_needed(of_one):.2f}")
            assert least_chance(of_one, NULL_SCALE) >= LEAST_CHANCE


@pytest.mark.slow
@pytest.mark.parametrize("dataset", ["fashion_mnist", "mnist"])
def test_null_scale_holds_for_small_classes_of_a_network_that_many_images_have_trained(data_root, dataset):
    """
    Small draws of clean classes, in the layers of one network, as the filter looks at them. Sub-populations stand apart
    there more than in the layers of a network that the draw alone has trained.
    """
    data = image_data(dataset, data_root)
    rows = np.random.default_rng(0).permutation(len(data.x_train))[:15_000]
    x, y = data.x_train[rows], data.y_train[rows]
    training = ImageTraining(network="plain_cnn", nb_epochs=5)
    classifier = train_image_classifier(x, y, len(data.class_names), training)
    layers = find_blocks(classifier, x[:1])
    found: list[float] = []
    for size, n_draws in ((30, 3), (60, 3), (100, 3), (200, 2), (500, 1)):
        for draw in range(n_draws):
            random = np.random.default_rng(draw)
            chosen = np.concatenate([random.choice(np.flatnonzero(y == label), size, replace=False) for label in range(10)])
            views = layer_views(classifier, x[chosen], y[chosen], 10, layers).views
            found += clearest_by_class(find_groups(views, y[chosen], 10, random_state=draw), 10)
    assert len(found) == 120
    print(f"{dataset}: largest clearness {max(found):.1f}, scale needed {scale_needed(found):.2f}")
    assert max(found) < clearness_limit(10, 0.01)
    assert least_chance(found, NULL_SCALE) >= LEAST_CHANCE
