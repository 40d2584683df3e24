"""Two verdicts in one for images: which classes are called, which images are removed, and what the report says."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from sklearn.datasets import load_sample_images

from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.defences.latents.images import N_IMAGE_VERDICTS, patch_reports, patch_warnings
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.vae.settings import AutoencoderSettings
from art_plugins.groups.sounds.sound_search import SharedSounds
from art_plugins.triggers.patterns import random_patch

K, N, SIDE = 5, 60, 16
NONE = np.full(K, np.nan)
TINY: dict[str, Any] = {"latent_dim": 4, "step_latent_dim": 2, "embedding_dim": 8, "hidden_dim": 8, "channels": 2}


def photographs(nb_classes: int = K) -> tuple[np.ndarray, np.ndarray]:
    """Pieces of two photographs, (n, 3, 16, 16), any in every class."""
    pieces = [
        image[row : row + SIDE, column : column + SIDE]
        for image in load_sample_images().images
        for row in range(0, 416, SIDE)
        for column in range(0, 624, SIDE)
    ]
    order = np.random.default_rng(0).permutation(len(pieces))[: K * N]
    x = (np.stack(pieces)[order].transpose(0, 3, 1, 2) / 255).astype(np.float32)
    return x, np.arange(K * N) % nb_classes


def poisoned(n: int, nb_classes: int = K) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    x, labels = photographs(nb_classes)
    is_poison = np.isin(np.arange(len(x)), np.flatnonzero(labels == 2)[:n])
    x[is_poison] = random_patch(x.shape[1:])(x[is_poison])
    return x, labels, is_poison


@pytest.fixture(scope="module")
def encoder() -> Autoencoder:
    """Trained for one epoch: too little to see a trigger."""
    return Autoencoder(AutoencoderSettings(kind="image", **TINY)).fit(photographs()[0][:64], nb_epochs=1, verbose=False)


@pytest.mark.parametrize("layout", ["channels_first", "channels_last", "grey"])
def test_a_patch_anywhere_is_removed_whatever_the_autoencoder_sees(layout: str, encoder: Autoencoder) -> None:
    x, labels, is_poison = poisoned(15)
    settings: dict[str, Any] = {"autoencoder": encoder}
    if layout != "channels_first":
        x = x.transpose(0, 2, 3, 1) if layout == "channels_last" else x[:, 0]
        settings = {"autoencoder": TINY, "nb_epochs": 1, "kind": "image"}
    defence = VAELatentDefence(None, x, labels, verbose=False, **settings)
    report, is_clean = defence.detect_poison()
    assert report["poisoned_classes"] == [2]
    np.testing.assert_array_equal(np.array(is_clean) == 0, is_poison)
    assert defence.class_p_values_[2] < 0.05
    assert defence.outlier_scores_[is_poison].min() > defence.outlier_scores_[~is_poison].max()
    entry = report["Class_2"]
    assert entry["verdict"] == "poisoned"
    assert entry["patch"]["n_images"] == entry["n_removed"] == 15
    assert entry["patch"]["purity"] == 1
    assert N_IMAGE_VERDICTS * entry["patch"]["p_value"] == pytest.approx(entry["p_value"])
    assert report["Class_0"]["patch"]["n_images"] is None
    json.dumps(report, allow_nan=False)


def test_clean_images_have_no_class_called(encoder: Autoencoder) -> None:
    report, is_clean = VAELatentDefence(None, *photographs(), autoencoder=encoder, verbose=False).detect_poison()
    assert report["poisoned_classes"] == []
    assert all(is_clean)


def test_three_classes_are_no_verdict_but_a_caution_that_names_the_class(encoder: Autoencoder) -> None:
    x, labels, is_poison = poisoned(25, nb_classes=3)
    defence = VAELatentDefence(None, x, labels, autoencoder=encoder, verbose=False)
    report, is_clean = defence.detect_poison()
    assert all(is_clean)
    assert any("No class can be judged" in warning for warning in report["warnings"])
    assert any(warning.startswith("Class 2: 25 images hold one patch") for warning in report["warnings"])
    assert defence.suspects_[is_poison].all()


@pytest.mark.parametrize("settings", [{"class_rule": "argmax"}, {"scoring": "paper"}])
def test_rules_without_a_false_alarm_rate_are_left_alone(settings: dict[str, Any], encoder: Autoencoder) -> None:
    defence = VAELatentDefence(None, *photographs(), autoencoder=encoder, verbose=False, **settings)
    assert "patch" not in defence.detect_poison()[0]["Class_0"]


def test_reports_of_what_was_not_measured_are_none() -> None:
    labels = np.repeat(np.arange(K), 10)
    nothing = SharedSounds(NONE, NONE, NONE, [], [3], np.where(labels == 3, 2.0, np.nan))
    reports = patch_reports({"patch": nothing}, labels, 0)
    assert reports == {"patch": {"score": None, "p_value": None, "purity": None, "n_images": None}}
    assert patch_reports({"patch": nothing}, labels, 3)["patch"]["n_images"] == 10
    (warning,) = patch_warnings({"patch": nothing}, labels)
    assert warning.startswith("Class 3: 10 images hold one patch")
