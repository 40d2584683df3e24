"""What the page of a scan shows of each group: words, what its members share, and cards of samples, page by page."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from art_plugins.files.folder_data import FolderData
from art_plugins.files.image_files import ImageReader, png_bytes
from art_plugins.files.outputs import csv_cell
from art_plugins.files.sound_files import SoundReader, wav_bytes
from art_plugins.inspection.deciding.shared_media import MOST_AVERAGED, shared_media
from art_plugins.inspection.scan_groups import Group
from art_plugins.reports.drawing import data_uri

MOST_CARDS = 2_000  # members of one group that the page shows; suspects.csv lists all of them
OUTLINE_POINTS = 100


class Cards:
    """
    Makes what the page shows of a sample, until the page is full.

    :param outlier_scores: Scores of all samples, (n,).
    :param rows: The rows of the suspects, by file.
    :param most_bytes: Most bytes of all sounds and pictures on the page.
    """

    def __init__(
        self,
        data: FolderData,
        reader: SoundReader | ImageReader,
        outlier_scores: np.ndarray,
        rows: Mapping[str, Mapping[str, Any]],
        most_bytes: int,
    ) -> None:
        self.data, self.reader, self.outlier_scores, self.rows = data, reader, outlier_scores, rows
        self.most_bytes, self.n_bytes, self.n_left_out = most_bytes, 0, 0

    def card(self, index: int) -> dict[str, Any]:
        sample = np.asarray(self.data.x[index])
        file = self.data.files[index]
        row = self.rows.get(file, {})
        card: dict[str, Any] = {"file": file, "score": float(self.outlier_scores[index]), "source": None, "outline": None}
        card |= {"is_accepted": bool(row.get("accepted")), "sha256": row.get("sha256", "")}
        if self.n_bytes >= self.most_bytes:  # nothing is encoded in vain
            self.n_left_out += 1
            return card
        if isinstance(self.reader, SoundReader):
            content, media_type = wav_bytes(sample, self.reader.sample_rate_hz), "audio/wav"
            card["outline"] = outline(sample)
        else:
            content, media_type = png_bytes(sample), "image/png"
        if self.n_bytes + len(content) > self.most_bytes:
            self.n_bytes = self.most_bytes
            self.n_left_out += 1
            return card
        self.n_bytes += len(content)
        card["source"] = data_uri(content, media_type)
        return card


def group_views(groups: Sequence[Group], cards: Cards, per_page: int) -> list[dict[str, Any]]:
    """
    What the page shows of the groups. Where the page is too small for all sounds and pictures, each group has its first
    ones before any group has more.

    :param groups: The most suspicious first.
    :param per_page: Members that are shown at once, and number of typical samples.
    """
    views = [_first_view(group, cards, per_page) for group in groups]
    for group, view in zip(groups, views, strict=True):
        shown = group.suspects[:MOST_CARDS]
        for start in range(per_page, len(shown), per_page):
            view["pages"].append([cards.card(int(index)) for index in shown[start : start + per_page]])
    return views


def _first_view(group: Group, cards: Cards, per_page: int) -> dict[str, Any]:
    data = cards.data
    rows = [cards.rows[data.files[index]] for index in group.suspects]
    suggested = Counter(row["suggested_label"] for row in rows if row.get("suggested_label")).most_common(1)
    view: dict[str, Any] = {
        "name": group.name,
        "title": group.title,
        "what": group.what,
        "n_suspects": len(group.suspects),
        "evidence": " ".join(group.found.evidence),
        "pages": [[cards.card(int(index)) for index in group.suspects[:per_page]]],
        "typical": [cards.card(int(index)) for index in group.typical[:per_page]],
        "suggested": None,
        "members": {"class": csv_cell(group.name), "sha256": sorted({row["sha256"] for row in rows} - {""})},
        "shared": shared_media(cards.reader, data.x[group.suspects[:MOST_AVERAGED]], data.x[group.typical[:MOST_AVERAGED]]),
    }
    if suggested and suggested[0][0] in data.class_names and suggested[0][0] != group.name:
        name = str(suggested[0][0])
        of_class = np.flatnonzero(data.labels == data.class_names.index(name)).tolist()
        others = [index for index in of_class if data.files[index] not in cards.rows]
        view["suggested"] = {"name": name, "cards": [cards.card(index) for index in others[:per_page]]}
    return view


def outline(clip: np.ndarray) -> str:
    """The loudest sample of each hundredth of a clip, as the points of a polygon between (0, -1) and (100, 1)."""
    peaks = [float(np.abs(part).max()) for part in np.array_split(clip, min(OUTLINE_POINTS, len(clip)))]
    tops = [f"{x},{-peak:.3f}" for x, peak in enumerate(peaks)]
    return " ".join([*tops, *(f"{x},{peak:.3f}" for x, peak in reversed(list(enumerate(peaks))))])
