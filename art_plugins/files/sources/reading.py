"""What a user can say about how a data set is read."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Reading:
    """
    ``kind``: ``"sound"``, ``"image"`` or ``"auto"``; ``split``: the only split to take, ``None``: all; ``path_column`` and
    ``label_column``: the column, array or suffix that holds the samples and the labels, ``None``: by their usual names;
    ``rate_hz``: samples per second of waveforms that come as arrays, ``None``: not known.
    """

    kind: str = "auto"
    split: str | None = None
    path_column: str | None = None
    label_column: str | None = None
    rate_hz: int | None = None
