"""The autoencoder of speech that comes with the package: its file, its card, and what it takes."""

from __future__ import annotations

import configparser
import hashlib
import json
from importlib.resources import files
from pathlib import Path

import numpy as np
import pytest
import safetensors

from art_plugins.errors import FileFormatError, InvalidInputError
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.vae.settings import AutoencoderSettings
from art_plugins.features.vae.shipped import SHIPPED, check_speech, is_shipped, load_autoencoder

MOST_BYTES = 3e6
FOLDER = files("art_plugins.features.vae") / "pretrained"


@pytest.fixture(scope="module")
def speech() -> Autoencoder:
    return load_autoencoder("speech")


def test_every_file_is_small_is_safetensors_and_the_one_of_its_card() -> None:
    for path in SHIPPED.values():
        content = (FOLDER / path.name).read_bytes()
        card = json.loads((FOLDER / path.with_suffix(".json").name).read_text(encoding="utf-8"))
        assert card["file"] == {"name": path.name, "bytes": len(content), "sha256": hashlib.sha256(content).hexdigest()}
        assert len(content) <= MOST_BYTES
        with safetensors.safe_open(path, framework="numpy") as file:
            assert "sample_head.weight" in file.keys()  # noqa: SIM118


def test_an_installation_brings_the_files() -> None:
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).resolve().parents[3] / "setup.cfg")
    patterns = setup["options.package_data"]["art_plugins"].split()
    package = files("art_plugins")
    shipped = {path.name for pattern in patterns for path in Path(str(package)).glob(pattern)}
    assert {"speech.safetensors", "speech.json"} <= shipped


def test_the_card_names_data_licence_attribution_and_how_the_file_was_made(speech: Autoencoder) -> None:
    card = json.loads((FOLDER / "speech.json").read_text(encoding="utf-8"))
    assert "creativecommons.org/licenses/by/4.0" in card["source"]["licence"]
    assert "Warden" in card["source"]["attribution"]
    assert card["command"].startswith("art-plugins pretrain ")
    assert card["training"]["nb_epochs"] == len(speech.history_)
    assert {"art-plugins", "torch", "torchaudio", "numpy"} <= set(card["versions"])
    held_out = card["source"]["held_out"].replace(",", "").split()
    assert not set(card["training"]["words"]) & set(held_out)


def test_it_is_of_waveforms_and_has_settled(speech: Autoencoder) -> None:
    assert speech.settings.kind == "waveform"
    assert speech.settings.sample_rate_hz == 16_000
    assert speech.not_settled is None


def test_a_name_is_a_name_and_a_path_a_path(tmp_path: Path) -> None:
    assert is_shipped("speech")
    assert not any(map(is_shipped, [Path("speech"), "./speech", None, {}, "music"]))
    with pytest.raises(FileFormatError, match="does not exist"):
        load_autoencoder(tmp_path / "speech")


def test_longer_clips_have_the_same_latents_of_their_first_steps(speech: Autoencoder) -> None:
    x = np.random.default_rng(0).normal(scale=0.1, size=(3, 40_000)).astype(np.float32)
    longer, shorter = speech.for_shape((40_000,)), speech.for_shape((16_000,))
    of_longer, of_shorter = longer.encode_steps(x)[1], shorter.encode_steps(x[:, :16_000])[1]
    assert of_longer is not None
    assert of_shorter is not None
    assert of_longer.shape[1] == 80
    np.testing.assert_allclose(of_longer[:, :30], of_shorter[:, :30], atol=1e-4)


@pytest.mark.parametrize("shape", [(100,), (28, 28, 3)])
def test_clips_that_are_too_short_or_none_are_refused(shape: tuple[int, ...], speech: Autoencoder) -> None:
    with pytest.raises(InvalidInputError):
        speech.for_shape(shape)


def test_an_autoencoder_of_spectrograms_takes_no_other_length(
    tiny_network: dict[str, int], tiny_spectrograms: np.ndarray
) -> None:
    fitted = Autoencoder(AutoencoderSettings(kind="spectrogram", **tiny_network))
    with pytest.raises(InvalidInputError, match="spectrogram"):
        fitted.for_shape((9,))


@pytest.mark.parametrize("kind", ["auto", "waveform"])
@pytest.mark.parametrize("shape", [(9, 800), (9, 1, 800), (9, 800, 1)])
def test_waveforms_are_taken(kind: str, shape: tuple[int, ...]) -> None:
    check_speech(shape, kind, 8_000)


@pytest.mark.parametrize(
    ("shape", "kind", "rate_hz", "words"),
    [
        ((9, 3, 8, 8), "auto", 16_000, "takes waveforms"),
        ((9, 20, 8), "auto", 16_000, "takes waveforms"),
        ((9, 800), "spectrogram", 16_000, "takes waveforms"),
        ((9, 800), "auto", 100, "at least 4000"),
    ],
)
def test_what_it_cannot_take_is_said(shape: tuple[int, ...], kind: str, rate_hz: int, words: str) -> None:
    with pytest.raises(InvalidInputError, match=words):
        check_speech(shape, kind, rate_hz)
