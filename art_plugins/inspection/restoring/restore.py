"""Poisoned samples without their trigger: what can be taken off for certain, and why the others are dropped."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from art_plugins.files.folder_data import FolderData
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.inspection.restoring.pixels import MOST_FILLED, holds_patch, shared_pixels
from art_plugins.inspection.restoring.sounds import added_sound
from art_plugins.inspection.scan_groups import Group
from art_plugins.inspection.suspect_rows import is_poison

N_DRAWS = 19  # groups of clean samples: a group without a trigger is taken for one with a probability of 1/20
MOST_AT_ONCE = 200  # members of a group from which the trigger is learned, and from which it is taken off
FEWEST = 8  # members, as of the smallest group that a scan calls poison
# What a file must not have needed to be read: its place in time or in the picture, or its level, is then not the file's.
CHANGES = {"of another size, resized", "first frame of several", "cropped", "louder than full scale, clipped"}
NO_LABEL = "no label is suggested for it"
CHANGED = "the scan had to change the file to read it"
FEW = f"fewer than {FEWEST} members of its group, or clean samples of the labels that are suggested for them, can be used"
NO_SOUND = "its group has no sound in common that clean clips do not have as well"
NO_PATCH = "its group has no patch at one place that clean pictures do not have as well"
LARGE_PATCH = f"what its group has in common covers more than {MOST_FILLED:.0%} of the picture"
UNSURE = "it does not hold the trigger of its group for certain"


@dataclass
class Restored:
    """
    ``removed``: position of a sample -> what is to be taken off: for a clip, what was added to it, (S,), as the scan reads
    clips; for a picture, the pixels to fill, (H, W), bool. ``reasons``: position -> why another poisoned sample is dropped.
    """

    removed: dict[int, np.ndarray] = field(default_factory=dict)
    reasons: dict[int, str] = field(default_factory=dict)


def restore(
    groups: Sequence[Group],
    suspects: Sequence[Mapping[str, Any]],
    data: FolderData,
    reader: SoundReader | ImageReader,
    random_state: int = 0,
) -> Restored:
    """
    Take the trigger off the samples that are called poison, group by group.

    Mehlman et al. 2023 hope for this in their conclusion. Only a sound that was added, or a patch at one place, can be
    taken off. A patch is filled from the pixels around it. A sample is restored only if a label is suggested for it, and if
    it holds the trigger for certain.

    When this breaks: a patch that moves, a change of the whole sample (a warp, an echo, a blend) and a group of fewer than
    eight are dropped, never restored. What a patch hides is gone: the filled pixels are smooth. Of two sounds in one group,
    only the clearer one is taken off.

    :param groups: The groups of the scan.
    :param suspects: Rows of the suspects, as :func:`~art_plugins.inspection.suspect_rows.suspect_rows` gives them.
    :param data: The decoded samples.
    :param reader: What decoded them.
    :param random_state: Seed of the draws of clean samples.
    :return: What is to be taken off, and the reasons why other poison is dropped.
    """
    result = Restored()
    by_file = {row["file"]: row for row in suspects}
    changed = {file for what, files in data.mended_files.items() if what in CHANGES for file in files}
    is_suspect = np.array([file in by_file for file in data.files])
    random = np.random.default_rng(random_state)
    for group in groups:
        usable, seems = [], []
        for index in map(int, group.suspects):
            row = by_file[data.files[index]]
            if not is_poison(row):
                continue
            label = row.get("suggested_label")
            if label is None or data.files[index] in changed:
                result.reasons[index] = NO_LABEL if label is None else CHANGED
                continue
            usable.append(index)
            seems.append(data.class_names.index(label))
        for part in np.array_split(np.arange(len(usable)), max(1, -(-len(usable) // MOST_AT_ONCE))):
            rows = [usable[place] for place in part]
            clean = _Clean(data, is_suspect, [seems[place] for place in part], group, random)
            reason, removed = _of_part(data.x[rows], clean, reader) if len(rows) else (FEW, {})
            result.removed |= {rows[place]: what for place, what in removed.items()}
            result.reasons |= {index: reason for index in rows if index not in result.removed}
    return result


class _Clean:
    """Clean samples to compare a part of a group with, of the classes that its members seem to have."""

    def __init__(
        self, data: FolderData, is_suspect: np.ndarray, seems: Sequence[int], group: Group, random: np.random.Generator
    ) -> None:
        self.x, self.random, self.wanted = data.x, random, Counter(seems)
        self.of_class = {label: np.flatnonzero(~is_suspect & (data.labels == label)) for label in self.wanted}
        own = np.flatnonzero(~is_suspect & (data.labels == group.found.label))
        self.own_class = random.permutation(own)[:MOST_AT_ONCE]

    def sets(self, n_sets: int) -> list[np.ndarray]:
        """Disjoint sets of equal composition, as large as the part of the group where there are enough samples."""
        rows: list[list[int]] = [[] for _ in range(n_sets)]
        for label, wanted in self.wanted.items():
            drawn = self.random.permutation(self.of_class[label])
            n = min(wanted, len(drawn) // n_sets)
            for number in range(n_sets):
                rows[number] += drawn[number * n : (number + 1) * n].tolist()
        return [self.x[np.array(some, dtype=int)] for some in rows]

    def others(self) -> np.ndarray:
        """Samples of the classes that the members seem to have. The class of the group may hold missed triggers."""
        rows = self.random.permutation(np.concatenate(list(self.of_class.values())))
        return np.asarray(self.x[np.sort(rows[:MOST_AT_ONCE])])


def _of_part(members: np.ndarray, clean: _Clean, reader: SoundReader | ImageReader) -> tuple[str, dict[int, np.ndarray]]:
    """Why some or all members are not restored, and what is taken off the others, by their position."""
    draws = [clean.sets(1 if isinstance(reader, SoundReader) else 2) for _ in range(N_DRAWS)]
    if min(len(members), len(draws[0][0])) < FEWEST:
        return FEW, {}
    if isinstance(reader, SoundReader):
        heard = added_sound(members, [group for (group,) in draws], clean.others(), reader.sample_rate_hz)
        if heard is None:
            return NO_SOUND, {}
        parts, is_certain = heard
        return UNSURE, {int(place): parts[place] for place in np.flatnonzero(is_certain)}
    compared = [*clean.sets(1), *([clean.x[clean.own_class]] if len(clean.own_class) else [])]
    pixels = shared_pixels(members, compared, [(group, reference) for group, reference in draws])
    if not pixels.any():
        return NO_PATCH, {}
    if pixels.mean() > MOST_FILLED:
        return LARGE_PATCH, {}
    return UNSURE, {int(place): pixels for place in np.flatnonzero(holds_patch(members, pixels))}


def restored_words(restored: Restored) -> list[str]:
    """Why poisoned samples are dropped and not restored: a sentence for each reason."""
    counts = Counter(restored.reasons.values())
    return [f"Not restored, {reason}: {n:,} files." for reason, n in sorted(counts.items(), key=lambda one: -one[1])]
