"""``art-plugins guard``: weights and clean images become one guarded file; a clean model and bad arguments become none."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from art_plugins.defences.guarded_model import OUTPUTS
from art_plugins.errors import InvalidInputError
from art_plugins.inspection.guard import guard_model
from art_plugins.inspection.settings import DetectSettings
from art_plugins.statistics.drift import DriftMonitor, class_margins

FACTORY = (
    "from torch import nn\n"
    "def network():\n"
    "    hidden = [nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU()]\n"
    "    return nn.Sequential(nn.Flatten(), *hidden, nn.Linear(32, 10))\n"
)


@pytest.fixture
def folder(digits, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path(f"factory_{tmp_path.name}.py").write_text(FACTORY)
    for attack in ("white_square", "clean"):
        torch.save(digits.network(attack).state_dict(), f"{attack}.pt")
    for row, (image, label) in enumerate(zip(digits.x_clean, digits.y_clean, strict=True)):
        path = Path("clean", f"class {label}", f"{row}.png")
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray((image[0] * 255).round().astype(np.uint8)).save(path)
    yield tmp_path
    sys.modules.pop(f"factory_{tmp_path.name}", None)


def settings(folder: Path, **options: Any) -> DetectSettings:
    return DetectSettings(factory=f"factory_{folder.name}:network", nb_steps=400, **options)


@pytest.mark.slow
def test_guard_writes_a_file_that_catches_the_trigger_and_says_how_to_read_it(digits, folder, monkeypatch, capsys):
    from art_plugins import cli

    arguments = ["guard", "white_square.pt", "--clean", "clean", "--factory", f"factory_{folder.name}:network"]
    monkeypatch.setattr(sys, "argv", ["art-plugins", *arguments, "--nb-steps", "400", "--threshold", "3"])
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code in (0, None)
    assert f"guards against the backdoor towards class {digits.target}" in " ".join(capsys.readouterr().out.split())
    facts = json.loads(Path("guarded.pt2.json").read_text())
    assert facts["outputs"] == list(OUTPUTS)
    assert facts["target_class"] == facts["class_names"][digits.target] == f"class {digits.target}"
    run = torch.export.load("guarded.pt2").module()
    others = digits.x_test[digits.y_test != digits.target]
    with torch.no_grad():
        _, scores, labels = run(torch.from_numpy(digits.white_square(others)))
        logits, clean_scores, _ = run(torch.from_numpy(np.array(digits.x_test)))
    assert (scores > 0).float().mean() > 0.9
    assert (clean_scores > 0).float().mean() < 0.05
    assert (labels.numpy() == digits.y_test[digits.y_test != digits.target]).mean() > 0.5
    monitor = DriftMonitor(np.array(facts["clean_margins"]))
    assert not any(one.drifted for one in monitor.update(class_margins(logits.numpy())))


@pytest.mark.slow
def test_guard_of_a_clean_model_writes_nothing_and_says_so(folder):
    with pytest.raises(InvalidInputError, match=r"No backdoor found.*nothing to guard against"):
        guard_model("clean.pt", "clean", "out.pt2", settings(folder), verbose=False)
    assert not list(folder.glob("out.pt2*"))


@pytest.mark.slow
def test_guard_by_the_layers_needs_no_backdoor(digits, folder):
    facts = guard_model("clean.pt", "clean", "out.pt2", settings(folder), layers=True, verbose=False)
    assert facts["outputs"] == ["logits", "layer_score"]
    assert (facts["target_class"], facts["margin_nats"]) == (None, None)
    assert facts["rule"] == "An image stands out at the layers if its layer_score is above 0."
    run = torch.export.load("out.pt2").module()
    with torch.no_grad():
        _, scores = run(torch.from_numpy(np.array(digits.x_test)))
    assert (scores > 0).float().mean() < 0.05
    rate = settings(folder, false_alarm_rate=0.001)
    with pytest.raises(InvalidInputError, match="needs at least 1000; give more images with --clean, or a higher"):
        guard_model("clean.pt", "clean", "few.pt2", rate, layers=True, verbose=False)


def test_guard_of_a_script_is_a_script_that_looks_at_its_activation_functions(digits, folder):
    torch.jit.save(torch.jit.script(digits.network("white_square")), "script.pt")
    options = DetectSettings(nb_steps=1, trust_model=True)
    facts = guard_model("script.pt", "clean", "out.pt", options, layers=True, verbose=False)
    assert facts["outputs"] == ["logits", "layer_score"]
    run = torch.jit.load("out.pt")
    others = digits.x_test[digits.y_test != digits.target]
    with torch.no_grad():
        logits, scores = run(torch.from_numpy(digits.white_square(others)))
        _, clean_scores = run(torch.from_numpy(np.array(digits.x_test)))
        plain = digits.network("white_square")(torch.from_numpy(digits.white_square(others)))
    np.testing.assert_allclose(logits.numpy(), plain.numpy(), atol=1e-4)
    assert (scores > 0).float().mean() > (clean_scores > 0).float().mean() + 0.2


def test_guard_refuses_bad_arguments_before_any_work(digits, folder):
    torch.jit.save(torch.jit.script(digits.network("clean")), "script.pt")
    Path("there.pt2").write_text("")
    for model, out, options, match in (
        ("white_square.pt", "out.bin", settings(folder), "must end in .pt2"),
        ("white_square.pt", "there.pt2", settings(folder), "there.pt2 exists already"),
        ("script.pt", "out.pt", None, "TorchScript file.*--trust-model"),
        ("script.pt", "out.pt2", None, "only TorchScript holds such a model"),
        ("white_square.pt", "out.pt2", None, "weights only"),
    ):
        with pytest.raises(InvalidInputError, match=match):
            guard_model(model, "clean", out, options, verbose=False)
