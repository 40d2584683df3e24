"""Fig. 7's curve on a small folder in Speech Commands' layout: one point a fraction and seed, with the truth's counts."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import soundfile

from art_plugins.attacks.datasets.speech_commands import COMMANDS, FOLDER
from art_plugins.evaluation.compare_run import run_fraction_curve
from art_plugins.evaluation.fractions import fraction_curve
from art_plugins.features.autoencoder import Autoencoder, AutoencoderSettings
from art_plugins.reports.comparison_tables import fraction_table

N_CLIPS, N_UNKNOWN = 100, 120
TINY = AutoencoderSettings(
    channels=4, latent_dim=8, step_latent_dim=2, embedding_dim=8, hidden_dim=8, hop_s=0.25, window_s=0.25
)


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("speech")
    random = np.random.default_rng(0)
    folder = root / FOLDER
    for word in (*COMMANDS, "bed"):
        (folder / word).mkdir(parents=True)
        for index in range(N_UNKNOWN if word == "bed" else N_CLIPS):
            samples = (3_000 * random.normal(size=4_000)).astype(np.int16)
            soundfile.write(folder / word / f"{index:04d}_nohash_0.wav", samples, 16_000, subtype="PCM_16")
    for name in ("validation_list.txt", "testing_list.txt"):
        (folder / name).write_text("bed/0000_nohash_0.wav\n")
    return root


def test_fraction_curve_counts_the_poison_of_each_point(root: Path, tmp_path: Path) -> None:
    x = np.random.default_rng(0).normal(scale=0.1, size=(20, 16_000)).astype(np.float32)
    autoencoder = Autoencoder(TINY).fit(x, nb_epochs=1, verbose=False)
    attack = {"trigger": "clapping", "source": "_unknown_", "target": "left", "cap": 3_000}
    points = fraction_curve(str(root), autoencoder, fractions=(0.1, 0.3), seeds=(0, 1), verbose=False, **attack)
    assert [(point["fraction"], point["seed"]) for point in points] == [(0.1, 0), (0.1, 1), (0.3, 0), (0.3, 1)]
    assert [point["n_poison"] for point in points] == [11, 11, 35, 35]  # of 119 training clips
    for point in points:
        assert point["target_share"] == pytest.approx(point["n_poison"] / (N_CLIPS + point["n_poison"]))
        assert -1 <= point["ari"] <= 1
        assert 1 <= point["rank"] <= 11

    path = tmp_path / "autoencoder.safetensors"
    autoencoder.save(path)
    record = run_fraction_curve(
        str(root), path, attack, [0], "contrastive", 1, "32-true", tmp_path / "out", "art-plugins fraction-curve"
    )
    assert json.loads((tmp_path / "out" / "record.json").read_text())["points"] == record["points"]
    assert (tmp_path / "out" / "fraction_curve.png").read_bytes().startswith(b"\x89PNG")


def test_fraction_table_has_a_row_a_fraction_over_the_seeds():
    points = [
        {
            "fraction": f,
            "seed": seed,
            "n_poison": 8,
            "target_share": f,
            "ari": f + seed / 10,
            "rank": 1 + seed,
            "found": True,
        }
        for f in (0.1, 0.05)
        for seed in (0, 1)
    ]
    attack = {"trigger": "clapping", "source": "right", "target": "left"}
    table = fraction_table({"attack": attack, "points": points})
    assert table.rows == [
        ["0.05", "8", "0.050", "0.100 (0.050 to 0.150)", "1 of 2", "2 of 2"],
        ["0.10", "8", "0.100", "0.150 (0.100 to 0.200)", "1 of 2", "2 of 2"],
    ]
    assert "clapping on a share of right, relabelled left; mean over seeds 0, 1" in table.caption
