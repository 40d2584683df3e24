"""The page of a scan: one self-contained file on which a person hears or sees the groups of suspects, and decides."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.files.folder_data import FolderData
from art_plugins.files.image_files import ImageReader
from art_plugins.files.outputs import csv_cell
from art_plugins.files.sound_files import SoundReader
from art_plugins.inspection.deciding.decisions import KIND, SCHEMA, Decisions
from art_plugins.inspection.deciding.group_views import MOST_CARDS, Cards, group_views
from art_plugins.inspection.gate import gate_sentence
from art_plugins.inspection.scan_groups import Group
from art_plugins.inspection.scan_words import files_sentence, methods
from art_plugins.reports.pages import render_page

MAX_PAGE_BYTES = 16_000_000  # of sounds and pictures; the samples that do not fit are listed by name only
MAX_NAMES = 20  # of files in a list


def scan_page(
    record: dict[str, Any],
    groups: Sequence[Group],
    data: FolderData,
    reader: SoundReader | ImageReader,
    outlier_scores: np.ndarray,
    max_listed: int,
    decisions: Decisions | None = None,
) -> str:
    """
    The page as HTML; the sounds, the thumbnails and the script are inside the file.

    :param record: The record of the scan.
    :param groups: Classes to show, the most suspicious first.
    :param reader: The reader of the files.
    :param outlier_scores: Scores of all samples, (n,).
    :param max_listed: Number of suspects of a class that are shown at once, and of typical samples beside them.
    :param decisions: What a person has decided before; the page goes on from there.
    """
    rows = {row["file"]: row for row in record["suspects"]}
    cards = Cards(data, reader, outlier_scores, rows, MAX_PAGE_BYTES)
    shown = group_views(groups, cards, max_listed)
    highest = max([row["mad_index"] or 0.0 for row in record["classes"]] + [1e-9])
    return render_page(
        "scan.html.j2",
        record=record,
        files=files_sentence(record["counts"]),
        gate=gate_sentence(record["gate"]),
        groups=shown,
        earlier=_as_json(decisions or Decisions(), record["suspects"]),
        highest=highest,
        methods=methods(record["evidence"]),
        max_names=MAX_NAMES,
        most_cards=MOST_CARDS,
        n_left_out=cards.n_left_out,
    )


def _as_json(decisions: Decisions, suspects: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """The decisions in the form of the file that :func:`~.deciding.decisions.read_decisions` reads."""
    names = {(row["sha256"], csv_cell(row["class"])): row["file"] for row in suspects}
    files = [
        {"sha256": sha256, "class": name, "decision": decision, "file": names.get((sha256, name), "")}
        for (sha256, name), decision in sorted(decisions.by_sample.items())
    ]
    return {"kind": KIND, "schema": SCHEMA, "groups": [], "files": files}
