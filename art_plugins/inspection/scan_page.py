"""The page of a scan: one self-contained file on which suspects are heard or seen beside typical samples."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.files.folder_data import FolderData
from art_plugins.files.image_files import ImageReader, png_bytes
from art_plugins.files.sound_files import SoundReader, wav_bytes
from art_plugins.inspection.gate import gate_sentence
from art_plugins.inspection.scan_groups import Group
from art_plugins.inspection.scan_words import files_sentence, methods
from art_plugins.reports.pages import render_page

MAX_PAGE_BYTES = 16_000_000  # of sounds and pictures; the samples that do not fit are listed by name only
MAX_NAMES = 20  # of files in a list
OUTLINE_POINTS = 100


def scan_page(
    record: dict[str, Any],
    groups: Sequence[Group],
    data: FolderData,
    reader: SoundReader | ImageReader,
    outlier_scores: np.ndarray,
    max_listed: int,
) -> str:
    """
    The page as HTML; the sounds and the thumbnails are inside the file.

    :param record: The record of the scan.
    :param groups: Classes to show, the most suspicious first.
    :param reader: The reader of the files.
    :param outlier_scores: Scores of all samples, (n,).
    :param max_listed: Number of suspects, and of typical samples, that are shown for each class.
    """
    accepted = {row["file"] for row in record["suspects"] if row["accepted"]}
    cards = _Cards(data, reader, outlier_scores, accepted)
    shown = [
        {
            "name": group.name,
            "is_verdict": group.is_verdict,
            "title": group.title,
            "what": group.what,
            "n_suspects": len(group.suspects),
            "suspects": [cards.card(index) for index in group.suspects[:max_listed]],
            "typical": [cards.card(index) for index in group.typical[:max_listed]],
        }
        for group in groups
    ]
    highest = max([row["mad_index"] or 0.0 for row in record["classes"]] + [1e-9])
    return render_page(
        "scan.html.j2",
        record=record,
        files=files_sentence(record["counts"]),
        gate=gate_sentence(record["gate"]),
        groups=shown,
        highest=highest,
        methods=methods(record["evidence"]),
        max_names=MAX_NAMES,
        n_left_out=cards.n_left_out,
    )


class _Cards:
    """Makes what the page shows of a sample, until the page is full."""

    def __init__(
        self, data: FolderData, reader: SoundReader | ImageReader, outlier_scores: np.ndarray, accepted: set[str]
    ) -> None:
        self.data, self.reader, self.outlier_scores, self.accepted = data, reader, outlier_scores, accepted
        self.n_bytes = 0
        self.n_left_out = 0

    def card(self, index: int) -> dict[str, Any]:
        sample = np.asarray(self.data.x[index])
        file = self.data.files[index]
        card: dict[str, Any] = {"file": file, "score": float(self.outlier_scores[index]), "source": None, "outline": None}
        card["is_accepted"] = file in self.accepted
        if isinstance(self.reader, SoundReader):
            content, media_type = wav_bytes(sample, self.reader.sample_rate_hz), "audio/wav"
            card["outline"] = outline(sample)
        else:
            content, media_type = png_bytes(sample), "image/png"
        if self.n_bytes + len(content) > MAX_PAGE_BYTES:
            self.n_left_out += 1
            return card
        self.n_bytes += len(content)
        card["source"] = f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"
        return card


def outline(clip: np.ndarray) -> str:
    """The loudest sample of each hundredth of a clip, as the points of a polygon between (0, -1) and (100, 1)."""
    peaks = [float(np.abs(part).max()) for part in np.array_split(clip, min(OUTLINE_POINTS, len(clip)))]
    tops = [f"{x},{-peak:.3f}" for x, peak in enumerate(peaks)]
    return " ".join([*tops, *(f"{x},{peak:.3f}" for x, peak in reversed(list(enumerate(peaks))))])
