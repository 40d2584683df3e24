"""The filters as a config calls them: cached autoencoders, named files, trusted samples."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from armory_scenarios import filters
from armory_scenarios.cache import fingerprint
from armory_scenarios.models import get_art_model
from art_plugins.errors import InvalidInputError
from art_plugins.features.autoencoder import Autoencoder

CLASSES = np.arange(60) % 6


def detect(x: np.ndarray, **kwargs: Any) -> list[int]:
    return filters.VAELatentDefence(None, x, CLASSES).detect_poison(nb_epochs=1, verbose=False, **kwargs)[1]


@pytest.fixture
def fits(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Counts the trainings of autoencoders."""
    counted: list[int] = []
    fit = Autoencoder.fit

    def counting(self: Autoencoder, *args: Any, **kwargs: Any) -> Autoencoder:
        counted.append(1)
        return fit(self, *args, **kwargs)

    monkeypatch.setattr(Autoencoder, "fit", counting)
    return counted


def test_autoencoder_is_shared_between_scorings(
    cache: Path, fits: list[int], tiny_waveforms: np.ndarray, tiny_network: dict[str, Any]
) -> None:
    first = detect(tiny_waveforms, **tiny_network)
    detect(tiny_waveforms, scoring="paper", **tiny_network)
    assert detect(tiny_waveforms, **tiny_network) == first
    assert len(fits) == len(list(cache.glob("autoencoder-*.safetensors"))) == 1


@pytest.mark.slow
@pytest.mark.parametrize("change", [{"random_state": 5}, {"batch_size": 16}, {"latent_dim": 5}])
def test_autoencoder_of_other_settings_is_trained(
    cache: Path, fits: list[int], tiny_waveforms: np.ndarray, tiny_network: dict[str, Any], change: dict[str, Any]
) -> None:
    detect(tiny_waveforms, **tiny_network)
    detect(tiny_waveforms, **{**tiny_network, **change})
    assert len(fits) == 2


def test_the_shipped_autoencoder_is_no_file_to_look_for(cache: Path, fits: list[int]) -> None:
    x = np.random.default_rng(0).normal(scale=0.1, size=(60, 4_000)).astype(np.float32)
    assert len(detect(x, autoencoder="speech")) == 60
    assert fits == []


def test_ignored_class_is_kept_and_the_rest_judged_as_without_it(
    cache: Path, fits: list[int], tiny_waveforms: np.ndarray, tiny_network: dict[str, Any]
) -> None:
    others = CLASSES != 5
    verdicts = np.array(detect(tiny_waveforms, ignored_classes=[5], scoring="paper", class_rule="argmax", **tiny_network))
    assert (verdicts[~others] == 1).all()
    without = filters.VAELatentDefence(None, tiny_waveforms[others], CLASSES[others])
    expected = without.detect_poison(nb_epochs=1, verbose=False, scoring="paper", class_rule="argmax", **tiny_network)[1]
    assert verdicts[others].tolist() == expected
    assert 0 in expected
    assert len(fits) == 1


def test_fingerprint_tells_data_and_settings_apart() -> None:
    x = np.zeros(4)
    prints = [
        fingerprint(x, {"a": 1}),
        fingerprint(x, {"a": 2}),
        fingerprint(x + 1, {"a": 1}),
        fingerprint(x[None], {"a": 1}),
    ]
    assert len(set(prints)) == 4
    assert fingerprint(np.zeros(4), {"a": 1}) == prints[0]


def test_named_autoencoder_is_found_among_saved_models(
    cache: Path,
    fits: list[int],
    tiny_waveforms: np.ndarray,
    tiny_network: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first = detect(tiny_waveforms, **tiny_network)
    (file,) = cache.iterdir()
    file.rename(cache / "fitted.safetensors")
    monkeypatch.setattr(filters, "saved_model_folder", lambda: cache)
    assert detect(tiny_waveforms, autoencoder="fitted.safetensors") == first
    assert len(fits) == 1


def test_named_autoencoder_that_is_nowhere_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(filters, "saved_model_folder", lambda: tmp_path)
    with pytest.raises(InvalidInputError, match=r"nowhere\.safetensors is neither in"):
        filters.find_file("nowhere.safetensors")


def test_layerwise_takes_trusted_samples_from_a_block(engine: None, cache: Path, digit_files: Path) -> None:
    from armory_scenarios import datasets

    block = {"module": "armory_scenarios.datasets", "name": "mnist", "batch_size": 50, "channels_first": True}
    block |= {"n_validation": 20, "dataset_dir": str(digit_files), "split": "validation"}
    x, y = datasets.image_split("mnist", "train", str(digit_files), True, 0, download=False)
    shape = {"network": "lenet5", "input_shape": [1, 28, 28], "nb_classes": 10}
    classifier = get_art_model(shape, {"learning_rate": 0.05})
    classifier.fit(x, y, batch_size=64, nb_epochs=3)
    defence = filters.LayerwiseFeatureDefence(classifier, x, y)
    report, is_clean = defence.detect_poison(trusted=block, fpr=0.03)
    assert report["trusted"]
    assert report["Class_0"]["n_benign"] <= 20
    assert len(is_clean) == len(y)
    report, _ = filters.LayerwiseFeatureDefence(classifier, x, y).detect_poison(fpr=0.03)
    assert not report["trusted"]
