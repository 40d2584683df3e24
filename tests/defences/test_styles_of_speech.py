"""Triggers that change a whole clip, on real speech: nothing stands apart by itself, but the content tells the poison."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from art_plugins.attacks.cases import Folders
from art_plugins.attacks.speech_cases import SpeechCase
from art_plugins.defences.layerwise import LayerwiseFeatureDefence
from art_plugins.evaluation.filter_rates import open_model
from art_plugins.groups import content


@pytest.mark.slow
def test_an_equaliser_is_found_by_the_content_of_the_clips(
    data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    case = SpeechCase("equaliser", 0.05, n_clips=400)
    classifier, attack, figures, _ = open_model(case, Folders(data_root, tmp_path), verbose=False)
    assert figures["attack_success"] > 0.8
    report, is_clean = LayerwiseFeatureDefence(classifier, attack.x_train, attack.y_train).detect_poison()
    removed = np.array(is_clean) == 0
    assert removed[attack.is_poison].mean() > 0.8
    assert removed[~attack.is_poison].mean() < 0.01
    (group,) = (one for one in report["groups"] if one["verdict"] == "poison")
    assert group["by_content"]
    assert group["clearness"] < report["clearness_limit"]
    monkeypatch.setattr(content, "discriminant_is_better", lambda *arguments: False)
    monkeypatch.setattr(content.SourceMixtures, "excess", lambda *arguments: 0.0)
    _, is_clean = LayerwiseFeatureDefence(classifier, attack.x_train, attack.y_train).detect_poison()
    assert np.mean(is_clean) == 1  # by neighbours alone the content proves nothing
