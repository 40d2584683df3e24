"""Two verdicts in one for images: which classes are called, which images are removed, and what the report says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_digits

from art_plugins.attacks.datasets.images import image_data
from art_plugins.attacks.datasets.labelled import drawn
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.defences.latent_images import (
    N_IMAGE_VERDICTS,
    clearness_of,
    group_report,
    group_warnings,
    with_groups,
)
from art_plugins.features.autoencoder import Autoencoder, AutoencoderSettings
from art_plugins.groups.evidence import Evidence
from art_plugins.groups.find import Group
from art_plugins.groups.verdict import Judged, Verdict
from art_plugins.statistics.latents.latent_classes import LatentClasses
from art_plugins.triggers.patterns import random_patch, white_box

K = 4
NONE = np.full(K, np.nan)
TINY: dict[str, Any] = {"latent_dim": 4, "step_latent_dim": 2, "embedding_dim": 8, "hidden_dim": 8, "channels": 2}


def digits() -> tuple[np.ndarray, np.ndarray]:
    x, y = load_digits(return_X_y=True)
    return (x.reshape(-1, 1, 8, 8) / 16).astype(np.float32), y


def poisoned(x: np.ndarray, y: np.ndarray, n: int, trigger: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rows = np.random.default_rng(1).choice(np.flatnonzero(y != 3), n, replace=False)
    x, y, is_poison = x.copy(), y.copy(), np.isin(np.arange(len(y)), rows)
    x[rows], y[rows] = trigger(x[rows]), 3
    return x, y, is_poison


@pytest.fixture(scope="module")
def encoder() -> Autoencoder:
    """Trained for one epoch: too little to see a trigger."""
    return Autoencoder(AutoencoderSettings(kind="image", **TINY)).fit(digits()[0][:200], nb_epochs=1, verbose=False)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last", "grey"])
def test_a_patch_anywhere_is_removed_whatever_the_autoencoder_sees(layout: str, encoder: Autoencoder) -> None:
    x, labels, is_poison = poisoned(*digits(), 80, random_patch((1, 8, 8), size=3))
    settings: dict[str, Any] = {"autoencoder": encoder}
    if layout != "channels_first":
        x = x.transpose(0, 2, 3, 1) if layout == "channels_last" else x[:, 0]
        settings = {"autoencoder": TINY, "nb_epochs": 1, "kind": "image"}
    defence = VAELatentDefence(None, x, labels, verbose=False, **settings)
    report, is_clean = defence.detect_poison()
    removed = np.array(is_clean) == 0
    assert report["poisoned_classes"] == [3]
    assert removed[is_poison].mean() >= 0.95
    assert removed[~is_poison].mean() <= 0.001
    assert defence.class_p_values_[3] < 0.05
    assert defence.outlier_scores_[is_poison].min() > 0
    entry = report["Class_3"]
    assert entry["verdict"] == "poisoned"
    assert entry["group"]["verdict"] == "poison"
    assert entry["group"]["n_members"] == removed.sum() == entry["n_removed"]
    json.dumps(report, allow_nan=False)


def test_clean_images_have_no_class_called(encoder: Autoencoder) -> None:
    report, is_clean = VAELatentDefence(None, *digits(), autoencoder=encoder, verbose=False).detect_poison()
    assert report["poisoned_classes"] == []
    assert all(is_clean)


def test_three_classes_are_no_verdict_but_a_caution_that_names_the_class(encoder: Autoencoder) -> None:
    x, y = digits()
    few = np.isin(y, [1, 2, 3])
    x, y, is_poison = poisoned(x[few], y[few], 40, white_box((1, 8, 8), size=2, margin=0))
    defence = VAELatentDefence(None, x, y - 1, autoencoder=encoder, verbose=False)
    report, is_clean = defence.detect_poison()
    assert all(is_clean)
    assert any("No class can be judged" in warning for warning in report["warnings"])
    assert any(warning.startswith("Class 2: 4") and "stand apart" in warning for warning in report["warnings"])
    assert defence.suspects_[is_poison].mean() >= 0.95


@pytest.mark.parametrize("settings", [{"class_rule": "argmax"}, {"scoring": "paper"}])
def test_rules_without_a_false_alarm_rate_are_left_alone(settings: dict[str, Any], encoder: Autoencoder) -> None:
    report, _ = VAELatentDefence(None, *digits(), autoencoder=encoder, verbose=False, **settings).detect_poison()
    assert "group" not in report["Class_0"]


@pytest.mark.parametrize(("trigger", "share"), [(white_box, 0.3), (random_patch, 0.05)])
def test_patches_on_real_clothes_are_found(trigger: Any, share: float, data_root: Path) -> None:
    data = drawn(image_data("fashion_mnist", data_root), 5_000, random_state=3)
    n = round(500 * share / (1 - share))
    x, labels, is_poison = poisoned(data.x_train, data.y_train, n, trigger(data.x_train.shape[1:]))
    report, is_clean = VAELatentDefence(None, x, labels, autoencoder=TINY, nb_epochs=1, verbose=False).detect_poison()
    removed = np.array(is_clean) == 0
    assert report["poisoned_classes"] == [3]
    assert removed[is_poison].mean() >= 0.95
    assert removed[~is_poison].mean() <= 0.01


def rows(*chosen: int) -> np.ndarray:
    return np.isin(np.arange(10 * K), chosen)


def labels_of() -> np.ndarray:
    return np.repeat(np.arange(K), 10)


def placed(called: list[int], suspects: np.ndarray) -> LatentClasses:
    soft = suspects.astype(float)
    return LatentClasses(NONE, NONE, np.full(K, 0.4), "false_alarms", 1.0, called, soft, suspects, {2: "too few"}, 24)


def judged(verdict: Verdict, members: np.ndarray, clearness: float = 20.0, p_value: float = 0.001) -> Judged:
    evidence = Evidence(clearness, float(np.exp(-1)), int(members.sum()), 0.5)
    classes = sorted(set(labels_of()[members].tolist()))
    group = Group(members, members.astype(float), 0.5, evidence, evidence, classes[0], classes)
    return Judged(group, p_value, verdict)


def test_with_groups_a_group_takes_the_place_of_the_split_also_of_a_reversed_one() -> None:
    one = with_groups(placed([2], rows(20, 21, 22, 40 - 1)), [judged("poison", rows(25, 26, 27, 28, 29))], labels_of())
    np.testing.assert_array_equal(one.suspects, rows(25, 26, 27, 28, 29, 39))
    assert one.poisoned_classes == [2]
    assert one.class_p_values[2] == pytest.approx(N_IMAGE_VERDICTS * 0.001)
    assert one.class_p_values[0] == pytest.approx(N_IMAGE_VERDICTS * 0.4)
    assert one.not_judged == {}


def test_with_groups_several_groups_of_a_class_are_all_suspects() -> None:
    both = [judged("poison", rows(20, 21)), judged("poison", rows(28, 29, 30))]
    one = with_groups(placed([], rows(24)), both, labels_of())
    np.testing.assert_array_equal(one.suspects, rows(20, 21, 28, 29, 30))
    assert one.poisoned_classes == [2, 3]


def test_with_groups_what_is_only_to_be_looked_at_is_shown_and_not_called() -> None:
    one = with_groups(placed([], rows(24)), [judged("look here", rows(20, 21))], labels_of())
    np.testing.assert_array_equal(one.suspects, rows(20, 21))
    assert one.poisoned_classes == []
    assert one.class_p_values[2] == pytest.approx(0.8)
    assert one.not_judged == {2: "too few"}


def test_with_groups_what_is_only_to_be_looked_at_leaves_the_split_of_a_called_class() -> None:
    one = with_groups(placed([2], rows(24)), [judged("look here", rows(20, 21))], labels_of())
    np.testing.assert_array_equal(one.suspects, rows(24))


def test_with_groups_without_a_group_nothing_changes_but_the_share_of_the_rate() -> None:
    one = with_groups(placed([1], rows(10)), [judged("nothing", rows(20, 21), p_value=0.9)], labels_of())
    np.testing.assert_array_equal(one.suspects, rows(10))
    assert one.poisoned_classes == [1]


def test_reports_and_warnings_name_what_was_found() -> None:
    found = [judged("nothing", rows(20, 21)), judged("look here", rows(22, 23, 24)), judged("poison", rows(30), 9.0)]
    report = group_report(found, 2)
    assert report is not None
    assert (report["verdict"], report["n_members"]) == ("look here", 3)
    assert group_report(found, 0) is None
    (warning,) = group_warnings(found, labels_of())
    assert warning.startswith("Class 2: 3 images stand apart")
    np.testing.assert_allclose(clearness_of(found, K), [0, 0, 0, 9])
