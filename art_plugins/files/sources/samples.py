"""What every source of samples gives: samples by position, with their labels and names; nothing is decoded yet."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

from art_plugins.files.sources.items import Item


@dataclass(frozen=True)
class Samples:
    """
    The samples of a data set.

    ``origin``: what the user named; ``kind``: ``"sound"`` or ``"image"``; ``class_names``: sorted; ``files``: a name for
    each sample, such as its path relative to a folder with "/" between the parts; ``labels``: the class of each; ``items``:
    what is decoded; ``skipped_files`` and ``skipped_folders``: name -> reason; ``ignored_files``: number of files that are
    of another type or in no class, by reason; ``notes``: sentences on splits, links and how the data were read.
    """

    origin: str
    kind: str
    class_names: tuple[str, ...]
    files: Sequence[str]
    labels: Sequence[int]
    items: Sequence[Item]
    skipped_files: dict[str, str] = field(default_factory=dict)
    skipped_folders: dict[str, str] = field(default_factory=dict)
    ignored_files: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
