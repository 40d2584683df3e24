"""Models of the configs: seeded, kept in the cache, read back without a pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from armory_scenarios import models
from art_plugins.errors import FileFormatError, InvalidInputError
from art_plugins.features import devices

IMAGES: dict[str, Any] = {"network": "lenet5", "input_shape": [1, 28, 28], "nb_classes": 3}


def small_set() -> tuple[np.ndarray, np.ndarray]:
    x = np.random.default_rng(0).uniform(size=(30, 1, 28, 28)).astype(np.float32)
    return x, np.eye(3, dtype=np.float32)[np.arange(30) % 3]


def weights(classifier: Any) -> np.ndarray:
    return np.concatenate([value.numpy().ravel() for value in classifier.model.state_dict().values()])


def fitted(random_state: int) -> models.SeededClassifier:
    classifier = models.get_art_model(IMAGES, {"learning_rate": 0.05, "random_state": random_state})
    classifier.fit(*small_set(), batch_size=10, nb_epochs=2, verbose=False, shuffle=True)
    return classifier


def test_fit_of_one_seed_gives_equal_weights_without_the_cache(cache: Path) -> None:
    first = weights(fitted(1))
    for file in cache.iterdir():
        file.unlink()
    torch.manual_seed(99)
    np.testing.assert_array_equal(weights(fitted(1)), first)
    assert not np.array_equal(weights(fitted(2)), first)


def test_fit_takes_a_model_from_the_cache(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = weights(fitted(1))
    assert len(list(cache.glob("lenet5-*.safetensors"))) == 1
    trained: list[int] = []
    train = models.train_image_classifier

    def counted(*args: Any, **kwargs: Any) -> Any:
        trained.append((kwargs["training"] if "training" in kwargs else args[3]).nb_epochs)
        return train(*args, **kwargs)

    counted.__signature__ = __import__("inspect").signature(train)  # type: ignore[attr-defined]
    monkeypatch.setattr(models, "train_image_classifier", counted)
    np.testing.assert_array_equal(weights(fitted(1)), first)
    assert set(trained) == {0}


def test_fit_again_starts_anew(cache: Path) -> None:
    classifier = fitted(1)
    first = weights(classifier)
    classifier.fit(*small_set(), batch_size=10, nb_epochs=2)
    np.testing.assert_array_equal(weights(classifier), first)


def test_fit_in_bfloat16_is_another_training(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "processor_has_bfloat16", lambda: True)
    classifier = models.get_art_model(IMAGES, {"learning_rate": 0.05, "precision": "bf16-mixed"})
    classifier.fit(*small_set(), batch_size=10, nb_epochs=2)
    other = models.get_art_model(IMAGES, {"learning_rate": 0.05})
    other.fit(*small_set(), batch_size=10, nb_epochs=2)
    assert len(list(cache.iterdir())) == 2
    np.testing.assert_allclose(weights(classifier), weights(other), atol=0.05)
    assert not np.array_equal(weights(classifier), weights(other))


def test_fit_leaves_global_generators_alone(cache: Path, global_generators_untouched: None) -> None:
    fitted(1)


def test_weights_path_gives_the_kept_model(cache: Path) -> None:
    first = weights(fitted(1))
    (file,) = cache.iterdir()
    again = models.get_art_model(IMAGES, {"learning_rate": 0.05}, str(file))
    np.testing.assert_array_equal(weights(again), first)
    other = {**IMAGES, "nb_classes": 4}
    with pytest.raises(FileFormatError, match="another network"):
        models.get_art_model(other, {"learning_rate": 0.05}, str(file))


def test_weights_path_of_a_pickle_is_refused(tmp_path: Path) -> None:
    torch.save({}, tmp_path / "weights.pt")
    with pytest.raises(FileFormatError, match="safetensors"):
        models.get_art_model(IMAGES, {"learning_rate": 0.05}, str(tmp_path / "weights.pt"))


def test_waveform_model_has_armorys_front_end(cache: Path) -> None:
    speech = {"network": "resnet18_tiny", "input_shape": [16000], "nb_classes": 12}
    classifier = models.get_art_model(speech, {"learning_rate": 0.002})
    assert type(classifier.model[0]).__name__ == "STFTMagnitude"
    assert classifier.predict(np.zeros((2, 16000), dtype=np.float32)).shape == (2, 12)


@pytest.mark.parametrize(
    ("model", "wrapper", "message"),
    [
        ({"network": "lenet6"}, {}, "network must be one of"),
        ({"network": "resnet18_tiny", "input_shape": [16000], "width": 4}, {}, "width is for images"),
        ({}, {"augment": "mirror"}, "augment must be"),
        ({}, {"precision": "8-bit"}, "precision must be one of"),
        ({"network": "resnet18_tiny", "input_shape": [16000]}, {"augment": True}, "augment is for images"),
    ],
)
def test_get_art_model_bad_values_are_refused(model: dict[str, Any], wrapper: dict[str, Any], message: str) -> None:
    with pytest.raises(InvalidInputError, match=message):
        models.get_art_model({**IMAGES, **model}, {"learning_rate": 0.05, **wrapper})


def test_get_art_model_missing_name_is_named() -> None:
    with pytest.raises(InvalidInputError, match="model_kwargs needs nb_classes"):
        models.get_art_model({"network": "lenet5", "input_shape": [1, 28, 28]}, {"learning_rate": 0.05})


def test_fit_unshuffled_is_refused(cache: Path) -> None:
    classifier = models.get_art_model(IMAGES, {"learning_rate": 0.05})
    with pytest.raises(InvalidInputError, match="shuffle must be true"):
        classifier.fit(*small_set(), shuffle=False)
