"""A detection of folders of sounds: the layers alone judge a classifier of waveforms, and no pattern is searched for."""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import soundfile
import torch
from torch import Tensor, nn

from art_plugins.attacks.datasets.synthetic_speech import SAMPLE_RATE_HZ, WORDS, synthetic_speech
from art_plugins.attacks.poisoning import poison_classes
from art_plugins.attacks.training_loop import Training
from art_plugins.attacks.waveform_models import train_classifier
from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.training import seeded
from art_plugins.files.model_files import load_classifier, script_classifier
from art_plugins.inspection import detect, detect_inputs
from art_plugins.inspection.detect import detect_folder
from art_plugins.inspection.detect_words import files_sentences
from art_plugins.inspection.isolation import sandbox
from art_plugins.inspection.settings import DetectSettings
from art_plugins.optional import import_optional
from art_plugins.triggers.sounds import AudioTrigger, noise_burst

TARGET, N_CLEAN = 0, 25


class OfOneChannel(nn.Module):
    """A network that wants its waveforms with a channel, (n, 1, S), as torchaudio's models do."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, x: Tensor) -> Tensor:
        if x.ndim != 3:
            raise ValueError("this network wants a channel")
        outputs: Tensor = self.network(x.squeeze(1))
        return outputs


class Handed(NamedTuple):
    """A model file, clean clips, and clips of which ``triggered`` carry the trigger."""

    root: Path
    triggered: dict[str, str]  # file -> true class


def scripted(network: nn.Module, x: np.ndarray, path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.jit.save(torch.jit.trace(network.eval(), torch.from_numpy(x)), path)


@pytest.fixture(scope="module")
def handed(tmp_path_factory: pytest.TempPathFactory) -> Handed:
    root = tmp_path_factory.mktemp("sounds")
    data, trigger = synthetic_speech(50, 50), AudioTrigger(noise_burst(SAMPLE_RATE_HZ), 0.3)
    attack = poison_classes(data, trigger, dict.fromkeys(range(1, 6), TARGET), 10)
    model = train_classifier(attack.x_train, attack.y_train, 6, Training(nb_epochs=8)).model
    scripted(model, data.x_test[:2], root / "model.pt")
    torch.save(nn.Sequential(*model[2:]).state_dict(), root / "of_spectrograms.pth")
    scripted(OfOneChannel(model), data.x_test[:2, None], root / "channel.pt")
    triggered = {}
    for label, name in enumerate(data.class_names):
        clips = data.x_test[data.y_test == label]
        for row, clip in enumerate(clips):
            is_clean, file = row < N_CLEAN, f"{name}{row:02}.wav"
            if not is_clean and label != TARGET and row % 2:
                clip, triggered[file] = trigger(clip), name
            path = root / ("clean" if is_clean else "clips") / (f"{name}/{file}" if is_clean else file)
            path.parent.mkdir(parents=True, exist_ok=True)
            soundfile.write(path, clip, SAMPLE_RATE_HZ, subtype="PCM_16")
    return Handed(root, triggered)


@pytest.fixture(scope="module")
def found(handed: Handed) -> tuple[Path, dict[str, Any]]:
    """In this process, which is quicker."""
    settings = DetectSettings(tuple(WORDS), trust_model=True)
    folders = handed.root / "clips", handed.root / "clean", handed.root / "out"
    return folders[-1], detect_folder(handed.root / "model.pt", *folders, settings, verbose=False)


def test_a_backdoor_in_a_classifier_of_sounds_is_found_by_its_layers(
    handed: Handed, found: tuple[Path, dict[str, Any]]
) -> None:
    record = found[1]
    assert record["clean_accuracy"] > 0.9
    assert (record["is_backdoored"], record["found_by"], record["kind_of_file"]) == (True, ["layers"], "sound")
    assert (record["target_class"], record["classes"]) == (None, [])
    caught = {row["file"] for row in record["suspects"]}
    assert len(caught & set(handed.triggered)) > 0.8 * len(handed.triggered)
    assert len(caught - set(handed.triggered)) <= 5
    assert record["finding"].startswith("The model has a backdoor of unknown kind.")
    assert "clips contradict themselves" in record["finding"]
    assert "image" not in record["finding"]
    assert record["settings"]["sample_rate_hz"] == SAMPLE_RATE_HZ
    assert record["settings"]["input_shape"] == [4_000]


@pytest.mark.slow
def test_a_process_of_its_own_gives_the_same(handed: Handed, found: tuple[Path, dict[str, Any]], tmp_path: Path) -> None:
    if not sandbox.sandbox_is_possible():
        pytest.skip("this system has no sandbox")
    folders = handed.root / "clips", handed.root / "clean", tmp_path / "out"
    record = detect_folder(handed.root / "channel.pt", *folders, DetectSettings(tuple(WORDS)), verbose=False)
    assert [row["file"] for row in record["suspects"]] == [row["file"] for row in found[1]["suspects"]]
    assert record["finding"] == found[1]["finding"]


def test_the_notes_say_that_no_pattern_was_searched_for_and_what_the_model_gets(found: tuple[Path, dict[str, Any]]) -> None:
    notes = " ".join(found[1]["notes"])
    assert "No pattern was searched for" in notes
    assert "The model takes waveforms of 4,000 samples at 8,000 Hz" in notes
    assert files_sentences(found[1])[1].startswith("Clean clips in")


def test_the_page_plays_what_was_caught_and_shows_no_pattern(found: tuple[Path, dict[str, Any]], read_page: Any) -> None:
    page = read_page(found[0] / "report.html")
    assert len(page.all("audio")) == 16
    assert page.all("img") == []
    assert "Clips that carry the trigger" in page.text
    assert "smallest pattern" not in page.text
    assert json.loads((found[0] / "record.json").read_text())["finding"] == found[1]["finding"]


def test_a_model_that_wants_a_channel_gives_the_same_outputs(handed: Handed) -> None:
    x = synthetic_speech(1, 1).x_test
    one, other = (load_classifier(handed.root / f"{name}.pt", (4_000,)) for name in ("model", "channel"))
    assert one.input_shape == other.input_shape == (4_000,)
    np.testing.assert_allclose(one.predict(x), other.predict(x), atol=1e-5)


@pytest.mark.parametrize(
    ("options", "clips", "sentence"),
    [
        ({"size": (8, 8)}, True, "--size is for images, and the clean files are sounds"),
        ({"mean": (0.5,)}, True, "--mean is for images"),
        ({"kind": "image"}, True, "no image"),
        ({}, False, "judged by its layers alone, which need clips"),
        ({"seconds": 0.01}, True, "seconds must be"),
    ],
)
def test_what_cannot_work_is_refused_before_the_model_runs(
    handed: Handed, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: Any, clips: bool, sentence: str
) -> None:
    monkeypatch.setattr(detect, "_judge", lambda *_: pytest.fail("the model was opened"))
    folders = handed.root / "clips" if clips else None, handed.root / "clean", tmp_path / "out"
    with pytest.raises(InvalidInputError, match=sentence):
        detect_folder(handed.root / "model.pt", *folders, DetectSettings(**options), verbose=False)


def test_seconds_are_no_setting_of_images(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / name).mkdir()
        (tmp_path / name / "1.png").write_bytes(b"x")
    with pytest.raises(InvalidInputError, match="--seconds is for sounds"):
        detect_inputs.find_inputs(None, tmp_path, DetectSettings(seconds=1.0))


# Of the network of ``handed``, whose first two steps make spectrograms, as the owner of the file would write it.
FACTORY = """
from art_plugins.attacks.networks import NETWORKS, Compression, STFTMagnitude
from torch import nn
def with_spectrogram():
    return nn.Sequential(STFTMagnitude(), Compression(), nn.Sequential(*NETWORKS["cnn"](1, 6)))
"""


@pytest.fixture
def factory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The function's name; its module lies in the current folder."""
    name = f"spectrograms_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(FACTORY)
    monkeypatch.chdir(tmp_path)
    yield f"{name}:with_spectrogram"
    sys.modules.pop(name, None)


def test_weights_of_a_model_of_spectrograms_go_behind_the_step_that_makes_them(handed: Handed, factory: str) -> None:
    x = synthetic_speech(1, 1).x_test
    found = load_classifier(handed.root / "of_spectrograms.pth", (4_000,), factory=factory)
    np.testing.assert_allclose(found.predict(x), load_classifier(handed.root / "model.pt", (4_000,)).predict(x), atol=1e-5)


def test_a_backdoor_in_a_model_of_spectrograms_is_found_from_its_weights(
    handed: Handed, factory: str, tmp_path: Path
) -> None:
    settings = DetectSettings(tuple(WORDS), factory=factory)
    folders = handed.root / "clips", handed.root / "clean", tmp_path / "out"
    record = detect_folder(handed.root / "of_spectrograms.pth", *folders, settings, verbose=False)
    assert (record["is_backdoored"], record["found_by"]) == (True, ["layers"])
    caught = {row["file"] for row in record["suspects"]}
    assert len(caught & set(handed.triggered)) > 0.8 * len(handed.triggered)
    assert len(caught - set(handed.triggered)) <= 5


@pytest.mark.parametrize("is_scripted", [False, True], ids=["network", "script"])
def test_a_script_of_torchaudios_spectrogram_and_a_model_takes_waveforms(tmp_path: Path, is_scripted: bool) -> None:
    transforms = import_optional("torchaudio").transforms
    spectrogram = transforms.MelSpectrogram(SAMPLE_RATE_HZ, n_fft=256, hop_length=128, n_mels=16)
    first = nn.Sequential(spectrogram, transforms.AmplitudeToDB(), nn.Unflatten(1, (1, 16)))
    with seeded(0), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        network = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(2), nn.Flatten(), nn.Linear(16, 3))
        whole = nn.Sequential(first, torch.jit.script(network) if is_scripted else network).eval()
        torch.jit.script(whole).save(tmp_path / "model.pt")
    x = synthetic_speech(1, 1).x_test
    found = load_classifier(tmp_path / "model.pt", (4_000,))
    with torch.no_grad():
        np.testing.assert_allclose(found.predict(x), whole(torch.from_numpy(x)), rtol=1e-5, atol=1e-5)


def test_a_model_of_spectrograms_is_told_to_hold_the_step_that_makes_them() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(nn.Sequential(nn.Conv2d(1, 2, 3), nn.Flatten(), nn.Linear(12, 2)).eval())
    options: dict[str, Any] = {"is_grey": False, "mean": None, "std": None, "device": torch.device("cpu")}
    with pytest.raises(InvalidInputError, match="put the step that makes them before it"):
        script_classifier(script, (100,), **options)
