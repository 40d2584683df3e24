"""Armory's own configs, as armory-testbed installs them, with our filters in the ``defense`` block."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from armory_scenarios.running import run_config

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("engine", "armory_home")]
VAE = {"module": "art_plugins.defences.latent_clustering", "name": "VAELatentDefence"}
LAYERWISE = {"module": "art_plugins.defences.layerwise", "name": "LayerwiseFeatureDefence"}


def stock_config(end: str, defence: dict[str, str], kwargs: dict[str, Any]) -> dict[str, Any]:
    """
    The one installed config whose path ends so, with another defence and with this package's data sets; trained for two
    epochs only, and without the fairness metrics where their explanatory model is a download.
    """
    files = importlib.metadata.files("armory-testbed") or []
    (path,) = [file.locate() for file in files if str(file).startswith("scenario_configs/") and str(file).endswith(end)]
    config: dict[str, Any] = json.loads(Path(path).read_text(encoding="utf-8"))
    config["defense"] = {**defence, "kwargs": kwargs, "type": "PoisonFilteringDefence"}
    config["dataset"]["module"] = "armory_scenarios.datasets"
    config["adhoc"] |= {"train_epochs": 2, "compute_fairness_metrics": False}
    return config


def colour_file(folder: Path, name: str, nb_classes: int) -> None:
    """Noise about a colour of each class's own, 40 images of 32 x 32 a class."""
    random = np.random.default_rng(0)
    y = np.arange(40 * nb_classes) % nb_classes
    x = random.uniform(0, 255, size=(nb_classes, 1, 1, 3))[y] + random.normal(scale=20, size=(len(y), 32, 32, 3))
    x = x.clip(0, 255).astype(np.uint8)
    arrays = dict(zip(("x_train", "y_train", "x_test", "y_test"), (x, y, x, y), strict=True))
    np.savez(folder / f"{name}.npz", class_names=[str(label) for label in range(nb_classes)], **arrays)


def check(results: dict[str, Any], n_poison: int) -> None:
    (meter,) = results["filter"]
    assert results["N_poisoned_train_samples"] == [n_poison]
    assert meter["true_positives"] + meter["false_negatives"] == n_poison
    assert meter["true_positives"] + meter["false_positives"] == results["N_samples_removed"][0]
    assert 0 <= results["attack_success_rate"][0] <= 1


@pytest.mark.parametrize(
    ("end", "defence", "kwargs"),
    [
        ("cifar10_dlbd_watermark_spectral_signature_defense.json", VAE, {"nb_epochs": 1, "verbose": False}),
        ("cifar10_dlbd_copyright_activation_defense.json", LAYERWISE, {"fpr": 0.03}),
    ],
)
def test_stock_cifar10_config_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, end: str, defence: dict[str, str], kwargs: dict[str, Any]
) -> None:
    colour_file(tmp_path, "cifar10", 10)
    monkeypatch.setenv("ART_PLUGINS_DATA", str(tmp_path))
    check(run_config(stock_config(end, defence, kwargs), tmp_path / "log.txt")["results"], 4)


def test_stock_gtsrb_config_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    colour_file(tmp_path, "gtsrb32", 43)
    monkeypatch.setenv("ART_PLUGINS_DATA", str(tmp_path))
    config = stock_config("gtsrb_dlbd_peace_sign_activation_defense.json", LAYERWISE, {"fpr": 0.03})
    # As it is installed, Armory 0.19 refuses it: the attack does not say where the sign goes.
    config["attack"]["kwargs"] |= {"base_img_size_x": 48, "base_img_size_y": 48}
    check(run_config(config, tmp_path / "log.txt")["results"], 4)


def test_stock_speech_config_runs(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ART_PLUGINS_DATA", str(data_root))
    config = stock_config("audio_p10_spectral_signature_defense.json", VAE, {"nb_epochs": 1, "verbose": False})
    config["dataset"]["cap"] = 10  # Armory's ResNet-50 is slow without an accelerator
    config["adhoc"]["train_epochs"] = 1
    check(run_config(config, tmp_path / "log.txt")["results"], 1)
