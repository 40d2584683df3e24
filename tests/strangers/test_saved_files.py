"""Saved files made by hand, with a checksum that holds: each is refused by a named error, or loads what can be used."""

from __future__ import annotations

import copy
import json
import resource
import struct
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import safetensors.numpy
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins import storage
from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
from art_plugins.errors import ArtPluginsError, FileFormatError
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.vae.settings import AutoencoderSettings
from art_plugins.storage import load_arrays, save_arrays
from art_plugins.triggers.stamps import AdditiveTrigger, MaskedTrigger

KINDS = ("mahalanobis", "paper", "regularised", "mixture", "image", "spectrogram", "waveform", "defence")
VALUES: list[Any] = [None, True, "text", -1, 0, 1.5, 10**30, 1e308, [], {}, ["a"], [[]], {"a": 1}]


class Saved(NamedTuple):
    """A file, what it holds, how it is loaded, and what a loaded object is then asked."""

    path: Path
    kind: str
    arrays: dict[str, np.ndarray]
    settings: dict[str, Any]
    load: Callable[[], Any]
    use: Callable[[Any], np.ndarray]


@pytest.fixture(scope="module")
def saved(digits, tiny_network, tiny_images, tiny_spectrograms, tiny_waveforms, tmp_path_factory) -> dict[str, Saved]:
    classifier = PyTorchClassifier(
        digits.network("white_square"), nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu"
    )
    folder, found = tmp_path_factory.mktemp("saved"), {}

    def keep(name: str, thing: Any, load: Callable[[Path], Any], use: Callable[[Any], np.ndarray]) -> None:
        thing.save(folder / name)
        kind = json.loads(header_of(folder / name))["kind"]
        found[name] = Saved(folder / name, kind, *load_arrays(folder / name, kind), partial(load, folder / name), use)

    def scores(detector: Any) -> np.ndarray:
        report, is_trigger = detector.detect(digits.x_test[:20])
        return np.where(is_trigger, 0, np.nan_to_num(report["outlier_scores"], posinf=np.nan, neginf=np.nan))

    for mode, own, layers in (
        ("mahalanobis", {"max_dims": 40}, ["2", "5"]),
        ("paper", {"pooled": True}, ["1", "2", "3", "4"]),
    ):
        detector = LayerwiseFeatureDetector(classifier, mode=mode, mode_params=own, layers=layers)
        detector.fit(digits.x_clean, digits.y_clean)
        keep(mode, detector, partial(LayerwiseFeatureDetector.load, classifier=classifier), scores)
    patch = np.zeros((1, 8, 8), dtype=np.float32)
    patch[:, 6:, 6:] = 1
    for family, trigger in (("regularised", MaskedTrigger(patch, patch)), ("mixture", AdditiveTrigger(0.5 * patch))):
        in_flight = InFlightDetector(classifier, trigger, digits.target, density={"family": family}, n_layers=1)
        in_flight.fit(digits.x_clean, digits.y_clean)
        keep(family, in_flight, partial(InFlightDetector.load, classifier=classifier), scores)
    for kind, x in (("image", tiny_images), ("spectrogram", tiny_spectrograms), ("waveform", tiny_waveforms)):
        autoencoder = Autoencoder(AutoencoderSettings(kind=kind, **tiny_network)).fit(x, nb_epochs=1, verbose=False)
        keep(kind, autoencoder, Autoencoder.load, lambda one, x=x: one.encode(x[:5]))
    y = np.arange(60) % 3
    defence = VAELatentDefence(None, tiny_images, y, **{**tiny_network, "nb_epochs": 1, "n_init": 1, "verbose": False})
    defence.detect_poison()
    load = partial(VAELatentDefence.load, classifier=None, x_train=tiny_images, y_train=y)
    keep("defence", defence, load, lambda one: one.get_params()["autoencoder"].encode(tiny_images[:5]))
    return found


def header_of(path: Path) -> str:
    with safetensors.safe_open(path, framework="numpy") as file:
        return str(file.metadata()["art_plugins"])


def changed_arrays(arrays: dict[str, np.ndarray]) -> Iterator[tuple[str, dict[str, np.ndarray]]]:
    """Each array absent, renamed, of another type or shape, or with a value that it cannot have."""
    yield "one more", {**arrays, "stranger": np.zeros(1)}
    step = 1 + len(arrays) // 15  # of a network's many weights, some
    for name, array in list(arrays.items())[::step]:
        yield f"{name} absent", {other: value for other, value in arrays.items() if other != name}
        forms = {"text": array.astype(np.float16).view(np.uint16), "axis": array[None], "empty": array[..., None][..., :0]}
        if array.ndim:
            forms |= {"shorter": array[:-1], "longer": np.concatenate([array, array[:1]]), "last": array[..., :-1]}
        if array.dtype.kind == "f" and array.size:
            for value in (np.nan, np.inf, -np.inf):
                forms[str(value)] = np.array(array)
                forms[str(value)].reshape(-1)[-1] = value
            forms |= {"integers": array.astype(np.int8), "huge": np.full(array.shape, 1e300)}
        elif array.size:
            forms |= {"negative": np.full(array.shape, -1), "large": np.full(array.shape, 2**40), "nan": array * np.nan}
        for what, form in forms.items():
            yield f"{name} {what}", {**arrays, name: form}


def changed_settings(settings: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[str, Any]]:
    """Each value, at any depth, absent or another one; and one more."""
    items = list(settings.items()) if isinstance(settings, dict) else list(enumerate(settings))[:1]
    if isinstance(settings, dict):
        yield f"{path} one more", {**settings, "stranger": 1}
    for key, value in items:
        absent = copy.copy(settings)
        del absent[key]
        yield f"{(*path, key)} absent", absent
        others: list[tuple[str, Any]] = [(f"{(*path, key)} = {other!r}", other) for other in VALUES]
        if isinstance(value, (dict, list)):
            others += list(changed_settings(value, (*path, key)))
        for what, other in others:
            whole = copy.copy(settings)
            whole[key] = other
            yield what, whole


def verdicts_on(one: Saved, forged: Iterator[tuple[str, Any]], save: Callable[[Any], None]) -> tuple[list[str], int, int]:
    """What went wrong, how many were refused, and how many loaded."""
    wrong, n_refused, n_loaded = [], 0, 0
    for what, content in forged:
        save(content)
        try:
            loaded = one.load()
        except FileFormatError:
            n_refused += 1
            continue
        except Exception as error:
            wrong.append(f"{what}: {type(error).__name__}: {error}"[:200])
            continue
        n_loaded += 1
        try:
            if not np.isfinite(one.use(loaded)).all():
                wrong.append(f"{what}: loaded, and gives what is not finite")
        except ArtPluginsError:
            pass
        except Exception as error:
            wrong.append(f"{what}: loaded, then {type(error).__name__}: {error}"[:200])
    return wrong, n_refused, n_loaded


@pytest.mark.parametrize(
    "kind", [pytest.param(kind, marks=[pytest.mark.slow] if kind in ("spectrogram", "waveform") else []) for kind in KINDS]
)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_changed_arrays_are_refused(saved, kind):
    one = saved[kind]
    save = lambda arrays: save_arrays(one.path, one.kind, arrays, one.settings)  # noqa: E731
    wrong, n_refused, n_loaded = verdicts_on(one, changed_arrays(one.arrays), save)
    assert wrong == []
    assert n_refused > 40
    assert n_loaded < 0.15 * n_refused  # some values, such as a few whole numbers for others, are as good


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.filterwarnings("ignore::RuntimeWarning")
def test_changed_settings_are_refused_or_can_be_used(saved, kind):
    one = saved[kind]
    save = lambda settings: save_arrays(one.path, one.kind, one.arrays, settings)  # noqa: E731
    wrong, n_refused, _ = verdicts_on(one, changed_settings(one.settings), save)
    assert wrong == []
    assert n_refused > 50


@pytest.mark.parametrize("kind", KINDS)
def test_file_as_it_was_saved_is_loaded(saved, kind):
    one = saved[kind]
    save_arrays(one.path, one.kind, one.arrays, one.settings)
    assert np.isfinite(one.use(one.load())).all()


@pytest.mark.parametrize(
    "text",
    ["[" * 200_000, '{"kind": NaN}', '{"settings": {"a": 1e999}, "kind": "autoencoder"}', "9" * 6_000, '"', "null", ""],
    ids=["deep", "nan", "infinite", "long_number", "half", "null", "empty"],
)
def test_odd_json_in_the_header_is_refused(tmp_path, text):
    safetensors.numpy.save_file({"a": np.zeros(1)}, tmp_path / "file", metadata={"art_plugins": text})
    with pytest.raises(FileFormatError):
        Autoencoder.load(tmp_path / "file")


@pytest.mark.parametrize("path", [None, 3, b"bytes", "a\0b", "", "x" * 5_000])
def test_odd_paths_are_refused(path):
    with pytest.raises(FileFormatError):
        Autoencoder.load(path)


def test_header_that_claims_huge_arrays_is_refused(tmp_path):
    header = json.dumps({"a": {"dtype": "F32", "shape": [10**9, 10**9], "data_offsets": [0, 4]}}).encode()
    (tmp_path / "file").write_bytes(struct.pack("<Q", len(header)) + header + bytes(4))
    with pytest.raises(FileFormatError):
        Autoencoder.load(tmp_path / "file")


def test_file_of_holes_is_refused_before_it_is_read(tmp_path, monkeypatch):
    monkeypatch.setattr(storage.safetensors, "safe_open", None)
    n_bytes = 300 * 2**20
    header = json.dumps({"a": {"dtype": "U8", "shape": [n_bytes], "data_offsets": [0, n_bytes]}}).encode()
    with (tmp_path / "file").open("wb") as file:
        file.write(struct.pack("<Q", len(header)) + header)
        file.truncate(8 + len(header) + n_bytes)
    if (tmp_path / "file").stat().st_blocks * 512 > n_bytes / 64:
        pytest.skip("this file system writes holes out")
    with pytest.raises(FileFormatError, match="claims"):
        Autoencoder.load(tmp_path / "file")


@pytest.mark.parametrize(
    "change",
    [
        {"latent_dim": 2**30},
        {"hidden_dim": 10**6},
        {"channels": 10**6},
        {"embedding_dim": 2**31 - 1},
        {"sample_rate_hz": 2**31 - 1, "window_s": 1.0},
        {"window_s": 1e6},
        {"n_mels": 8 * 10**7},
    ],
    ids=str,
)
def test_small_file_that_claims_a_huge_autoencoder_takes_no_memory(saved, change):
    one = saved["waveform"]
    settings = {**one.settings, "settings": {**one.settings["settings"], **change}}
    settings["sample_shape"] = [2**31 - 1]
    save_arrays(one.path, one.kind, one.arrays, settings)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(FileFormatError):
        one.load()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 300 * 2**10  # KiB
