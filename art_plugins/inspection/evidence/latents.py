"""What the latents of an autoencoder, and what a class shares, say of a data set: findings and rows of classes."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.features.vae.convergence import LEAST_EPOCHS, PAPER_EPOCHS
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.inspection.evidence.found import LOOK_HERE, POISON, Found
from art_plugins.inspection.scan_words import NOTHING_FOUND, POISONED, classes_to_show

# Samples that the autoencoder of a scan sees in all, so that its training takes some twenty minutes of one core at most:
# 0.4 s for 64 clips of a second, 0.06 s for 64 images of 32 x 32 in colour (tests/benchmarks/test_large_data.py).
MOST_CLIPS_SEEN, MOST_IMAGES_SEEN = 200_000, 1_200_000


def kind_of_data(reader: SoundReader | ImageReader) -> dict[str, Any]:
    """What the defence is told of the samples."""
    if isinstance(reader, SoundReader):
        return {"kind": "waveform", "sample_rate_hz": reader.sample_rate_hz}
    return {"kind": "image", "channels_first": False}


def epochs_for(n_samples: int, is_sound: bool) -> int | None:
    """
    Most epochs of the autoencoder that a scan trains on large data; ``None``: as many as the training needs.

    The training still ends when the latents have settled, which shows from six epochs on.
    """
    most = (MOST_CLIPS_SEEN if is_sound else MOST_IMAGES_SEEN) // n_samples
    return None if most >= PAPER_EPOCHS else max(2 * LEAST_EPOCHS, most)


def latent_findings(defence: VAELatentDefence, class_names: Sequence[str], n_verdicts: int) -> list[Found]:
    """
    The suspects of the poisoned classes, or, if there is none, those of the highest-ranked class, as no verdict.

    :param defence: After its detection, at its part of the false-alarm rate of the scan.
    :param n_verdicts: Number of kinds of evidence that share this rate.
    """
    labels, _ = defence.labels()
    found = []
    for row in classes_to_show(latent_rows(defence, class_names, n_verdicts)):
        label = class_names.index(row["name"])
        is_verdict = row["verdict"] == POISONED
        found.append(
            Found(
                label,
                np.asarray(defence.suspects_, dtype=bool) & (labels == label),
                np.asarray(defence.outlier_scores_, dtype=float),
                POISON if is_verdict else LOOK_HERE,
                row["p_value"],
                (_words(row, is_verdict),),
                ("latents",),
            )
        )
    return found


def latent_rows(defence: VAELatentDefence, class_names: Sequence[str], n_verdicts: int) -> list[dict[str, Any]]:
    """The classes as JSON-safe rows, the most suspicious first; those that were not judged come last."""
    rows = []
    for label, name in enumerate(class_names):
        row = defence.report_[f"Class_{label}"]
        p_value = row["p_value"]
        rows.append(
            {
                "name": name,
                "n_files": row["n_samples"],
                "mad_index": row["mad_index"],
                "p_value": None if p_value is None else min(1.0, n_verdicts * p_value),
                "class_score": row["class_score"],
                "n_suspects": row["n_suspects"],
                "n_called_poison": row["n_removed"],
                "verdict": NOTHING_FOUND if row["verdict"] == "clean" else row["verdict"],
            }
        )
    return sorted(rows, key=_suspicion, reverse=True)


def _suspicion(row: dict[str, Any]) -> tuple[float, float]:
    known = [-math.inf if row[key] is None else row[key] for key in ("mad_index", "class_score")]
    return known[0], known[1]


def _words(row: dict[str, Any], is_verdict: bool) -> str:
    what = f"One of {row['n_suspects']} samples that form a group apart from the other {row['n_files'] - row['n_suspects']}"
    what += " of the class."
    return what if is_verdict else f"{what} The group is not larger than those in other classes, so this is no verdict."
