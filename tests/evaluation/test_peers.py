"""Peers in the rows of the layer-wise rules: the figures by hand and scikit-learn, and a run on real digits."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from art.estimators.classification import PyTorchClassifier
from sklearn.metrics import roc_auc_score
from torch import nn

from art_plugins.evaluation import detectors, filters
from art_plugins.evaluation.detectors import DETECTORS, Detector, detectors_of
from art_plugins.evaluation.held_out import HeldOut
from art_plugins.evaluation.metrics import Cost
from art_plugins.evaluation.peers import DetectorScores, peer_rows, rates

FEW = ("STRIP", "Cognitive Distillation")  # they run the model many times on each image


def test_rates_of_a_few_images_have_both_denominators() -> None:
    clean = np.array([0.0, 1.0, 3.0, 2.0])
    triggered, as_target = np.array([3.0, 2.5, 1.0, 9.0]), np.array([True, True, True, False])
    assert rates(clean, triggered, as_target, 2.0) == {
        "tpr": 2 / 3,
        "tpr_of_all": 2 / 4,
        "fpr": 1 / 4,
        "n_triggered_as_target": 3,
        "n_triggered": 4,
        "n_clean": 4,
    }
    assert rates(clean, triggered, np.zeros(4, dtype=bool), 2.0)["tpr"] is None


def test_figures_auroc_is_over_the_images_sent_to_the_target_and_time_over_all() -> None:
    clean, triggered = np.array([0.0, 2.0, 1.0]), np.array([1.5, 3.0, -5.0])
    as_target = np.array([True, True, False])
    figures = DetectorScores(clean, triggered, as_target, {}, Cost(seconds=0.6)).figures(1.8)
    assert figures["auroc"] == roc_auc_score([0, 0, 0, 1, 1], [0, 2, 1, 1.5, 3])
    assert figures["milliseconds_per_image"] == pytest.approx(100)
    assert (figures["tpr"], figures["fpr"]) == (1 / 2, 1 / 3)
    assert DetectorScores(clean, triggered, np.zeros(3, dtype=bool), {}, Cost()).figures(0.0)["auroc"] is None


@pytest.fixture(scope="module")
def attacked(digits: Any) -> tuple[PyTorchClassifier, HeldOut]:
    network = digits.network("white_square")
    classifier = PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu")
    others = digits.y_test != digits.target
    triggered = digits.white_square(digits.x_test[others])
    return classifier, HeldOut(
        digits.x_clean, digits.y_clean, digits.x_test, digits.y_test, triggered, digits.y_test[others]
    )


@pytest.mark.slow
def test_peer_rows_have_the_measures_of_the_other_rows_and_their_own_denominators(
    attacked: Any, digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [one._replace(most=30) if one.title in FEW else one for one in DETECTORS]
    monkeypatch.setattr(detectors, "DETECTORS", few)
    classifier, split = attacked
    rows = {row["title"]: row for row in peer_rows(classifier, split, digits.target)}
    assert len(rows) == len(detectors_of("layerwise", classifier)) >= 4
    assert (
        len(detectors_of("layerwise", classifier)) == len(detectors_of("layerwise")) - 1
    )  # IBD-PSC has nothing to amplify
    for title, row in rows.items():
        n_clean = 30 if title.startswith(FEW) else len(split.x_clean)
        assert row["n_clean"] == n_clean
        assert 0 <= row["fpr"] <= 0.2
        assert 0 <= row["auroc"] <= 1
        assert row["fit_seconds"] > 0


def test_peer_rows_of_some_titles_are_those_rows(attacked: Any, digits: Any) -> None:
    classifier, split = attacked
    rows = peer_rows(classifier, split, digits.target, only=["SCALE-UP, data-free", "Beatrix"])
    assert [row["title"] for row in rows] == ["SCALE-UP, data-free, target FPR 0.02", "Beatrix, target FPR 0.02"]


def test_peers_that_need_a_package_are_left_out_without_it(
    attacked: Any, digits: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    classifier, split = attacked
    for module in (detectors, filters):
        monkeypatch.setattr(module, "pyod_is_installed", lambda: False)
    for name in ("umap_is_installed", "cleanlab_is_installed"):
        monkeypatch.setattr(filters, name, lambda: False)
    asked: list[str] = []
    never = Detector("TED", lambda classifier, seed, backdoor: asked.append("TED"), needs_pyod=True)
    monkeypatch.setattr(detectors, "DETECTORS", (never,))
    assert peer_rows(classifier, split, digits.target) == []
    assert not asked
    names = {one.name for one in filters.installed_filters("peer")}
    assert "spectre" in names
    assert not [name for name in names if name.startswith("pyod") or name in ("flare", "cleanlab")]
    missing = [filters.WITHOUT_PYOD, filters.WITHOUT_UMAP, filters.WITHOUT_CLEANLAB, filters.WITHOUT_BATCH_NORM]
    assert filters.left_out(classifier) == missing


def test_flare_is_left_out_with_a_reason_where_the_network_has_no_batch_norm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("umap_is_installed", "cleanlab_is_installed"):
        monkeypatch.setattr(filters, name, lambda: True)
    monkeypatch.setattr(filters, "pyod_is_installed", lambda: True)
    for layer, has_row in (
        (nn.BatchNorm1d(64), True),
        (nn.GroupNorm(1, 64), False),
        (nn.BatchNorm1d(64, track_running_stats=False), False),
    ):
        network = nn.Sequential(nn.Flatten(), layer, nn.Linear(64, 10))
        classifier = PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, device_type="cpu")
        names = [one.name for one in filters.usable_filters(classifier, "peer")]
        assert ("flare" in names) == ("ibd_psc" in names) == has_row
        assert {"spectre", "pyod_lof"} <= {*names}
        assert filters.left_out(classifier) == ([] if has_row else [filters.WITHOUT_BATCH_NORM])
