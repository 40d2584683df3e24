"""What is not used is not imported: no training, no Lightning; no sound, no sound library; no page, no pictures."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

# One Python of its own for all, since it takes seconds to import torch and ART.
LINES = """
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

detector = art_plugins.LayerwiseFeatureDetector(classifier)
detector.fit(x, y)
detector.detect(x)
known = art_plugins.InFlightDetector(classifier, lambda images: 1 - images, 1)
known.fit(x, y)
known.detect(x)
print("detectors:", imported("lightning", "soundfile", "torchaudio", "matplotlib", "jinja2", "pyod", "dask", "ray"))

defence = art_plugins.VAELatentDefence(None, x, np.arange(60) % 5)
print("a filter that is made:", imported("lightning"))
defence.detect_poison(nb_epochs=1)
print("a filter that trains:", imported("lightning", "soundfile", "torchaudio", "jinja2"))
"""


@pytest.mark.slow
def test_detectors_import_neither_lightning_nor_sound_and_a_filter_of_images_lightning_to_train() -> None:
    done = subprocess.run([sys.executable, "-c", LINES], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    said = dict(line.split(": ") for line in done.stdout.splitlines() if ": [" in line)
    assert said == {"detectors": "[]", "a filter that is made": "[]", "a filter that trains": "['lightning']"}


def test_comparison_with_sounds_says_at_once_which_extra_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    from art_plugins.cli import main

    for name in ("torchaudio", "torchaudio.transforms"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(sys, "argv", ["art-plugins", "compare", "--out", str(tmp_path / "out")])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code not in (0, None)
    assert 'pip install "art-plugins[audio]"' in " ".join("".join(capsys.readouterr()).split())
    assert not (tmp_path / "out").exists()
