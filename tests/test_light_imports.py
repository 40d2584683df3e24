"""What is not used is not imported: no training, no Lightning; no sound, no sound library; no page, no pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

START = """
import sys
import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
import art_plugins

def imported(*names):
    return sorted(set(names) & set(sys.modules))

torch.manual_seed(0)
network = torch.nn.Sequential(torch.nn.Conv2d(1, 4, 3), torch.nn.ReLU(), torch.nn.Flatten(), torch.nn.Linear(144, 2))
classifier = PyTorchClassifier(network, torch.nn.CrossEntropyLoss(), (1, 8, 8), 2)
x = np.random.default_rng(0).random((60, 1, 8, 8), dtype=np.float32)
y = np.arange(60) % 2
"""


def said(lines: str) -> str:
    """What a Python of its own prints."""
    done = subprocess.run([sys.executable, "-c", START + lines], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip().splitlines()[-1]


def test_detectors_import_neither_lightning_nor_sound() -> None:
    lines = """
detector = art_plugins.LayerwiseFeatureDetector(classifier)
detector.fit(x, y)
detector.detect(x)
known = art_plugins.InFlightDetector(classifier, lambda images: 1 - images, 1)
known.fit(x, y)
known.detect(x)
print(imported("lightning", "soundfile", "torchaudio", "matplotlib", "jinja2", "pyod", "dask", "ray"))
"""
    assert said(lines) == "[]"


def test_autoencoder_of_images_imports_lightning_to_train_and_no_sound() -> None:
    lines = """
print(imported("lightning"))
defence = art_plugins.VAELatentDefence(None, x, np.arange(60) % 5)
defence.detect_poison(nb_epochs=1)
print(imported("lightning", "soundfile", "torchaudio", "jinja2"))
"""
    assert said(lines) == "['lightning']"


def test_comparison_with_sounds_says_at_once_which_extra_is_missing(tmp_path: Path) -> None:
    block = "import sys; sys.modules['torchaudio'] = None; from art_plugins.cli import main; main()"
    command = [sys.executable, "-c", block, "compare", "--out", str(tmp_path / "out")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert done.returncode != 0
    assert 'pip install "art-plugins[audio]"' in " ".join((done.stdout + done.stderr).split())
    assert not (tmp_path / "out").exists()
