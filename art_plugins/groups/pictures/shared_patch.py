"""
Pictures of one class that hold one and the same patch, at one place or anywhere. It needs neither a model nor an
autoencoder, nor samples that are known to be clean.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from art_plugins.arrays import usual_range
from art_plugins.groups.origins import NEAR_COPIES, nearest_fellow_ratio
from art_plugins.groups.pictures.blocks import SIDES, as_levels, blocks_of, bounded, ground_of, mixed
from art_plugins.groups.pictures.shared_keys import Holders, SharedKey, holders_of, most_shared
from art_plugins.groups.sounds.shared_sound import LIMIT
from art_plugins.groups.sounds.sound_search import MOST_OTHERS, SharedSounds
from art_plugins.statistics.copies import first_of_copies
from art_plugins.statistics.outlying import outlying_scores

MOST_PICTURES = 20_000  # that are searched for blocks, drawn at random: 300 blocks of each take less than a gigabyte
MOST_PATCHES = 8  # of one class
ANYWHERE = -1
FOR_GROUND = 1_000  # pictures in which the colour of the ground is looked for
BATCH = 256

Pictures = Callable[[np.ndarray], np.ndarray]  # rows (m,) to pictures (m, C, H, W)


class Patch(NamedTuple):
    """A block by its ``side`` and its ``contents``; ``place`` is row * width + column of its first pixel, -1: anywhere."""

    side: int
    contents: np.uint64
    place: int


class Found(NamedTuple):
    """Blocks that stand out: ``rows`` (m,) of the pictures; ``contents``, ``places`` and ``sides``, (m,)."""

    rows: np.ndarray
    contents: np.ndarray
    places: np.ndarray
    sides: np.ndarray

    def keys(self) -> np.ndarray:
        """The contents, followed by the contents with the place, (2 m,)."""
        return np.concatenate([self.contents, mixed(self.contents + self.places.astype(np.uint64))])

    def patch(self, entry: int) -> Patch:
        """What one of the keys stands for."""
        index = entry % len(self.rows)
        place = int(self.places[index]) if entry >= len(self.rows) else ANYWHERE
        return Patch(int(self.sides[index]), self.contents[index], place)


class Album:
    """
    The pictures of a data set in 256 levels, no side longer than 64 pixels, when they are asked for.

    :param pictures_of: Gives finite pictures by their rows: (m,) to (m, C, H, W).
    :param n: Number of pictures, at least 1.
    """

    def __init__(self, pictures_of: Pictures, n: int) -> None:
        self._pictures_of = pictures_of
        lows, highs = np.empty(n), np.empty(n)
        for rows in _batches(np.arange(n)):
            part = self._bounded(rows).reshape(len(rows), -1)
            lows[rows], highs[rows] = part.min(axis=1), part.max(axis=1)
        # A picture that somebody forgot to scale may not make all others look alike: it is cut off.
        self.lowest, self.highest = usual_range(lows, highs)

    def __call__(self, rows: np.ndarray) -> np.ndarray:
        """Give the levels of some rows, (m, C, H, W), uint8."""
        return as_levels(self._bounded(rows), self.lowest, self.highest)

    def are_near_copies(self, rows: np.ndarray, inside: np.ndarray, random_state: int) -> bool:
        """Tell whether some of the pictures of a class (m,) are near copies of one another; ``inside`` (m,), bool."""
        return nearest_fellow_ratio({"pixels": self}, rows, inside, random_state) < NEAR_COPIES

    def __getitem__(self, rows: np.ndarray) -> np.ndarray:
        """Give the pixels of some rows, (m, D), as they are compared with one another."""
        return self._bounded(rows).reshape(len(rows), -1)

    def _bounded(self, rows: np.ndarray) -> np.ndarray:
        return bounded(self._pictures_of(rows))


class Search(NamedTuple):
    """
    What was found in the pictures of ``nb_classes`` classes with ``labels`` (n,): the blocks, and who holds each;
    ``is_searched`` (n,), bool: the pictures that were looked at.
    """

    found: Found
    held: Holders
    is_searched: np.ndarray
    labels: np.ndarray
    nb_classes: int

    def most_shared(self, known: np.ndarray | None = None) -> list[SharedKey]:
        """Give the most unlikely block of every class, without pictures of which is known what they are, (n,), bool."""
        left = self.is_searched if known is None else self.is_searched & ~known
        return most_shared(self.held, self.labels, self.nb_classes, left)

    def evidence(self, shared: list[SharedKey]) -> tuple[np.ndarray, np.ndarray]:
        """
        :return: Logarithms of the nats of each class, at least those of one holder, (K,); and probabilities that the most
            unlikely block of any class is as unlikely by chance, (K,). NaN for a class without pictures, and for a single
            class.
        """
        share = np.bincount(self.labels[self.is_searched], minlength=self.nb_classes) / max(1, self.is_searched.sum())
        is_class = (share > 0) & (share < 1)
        least = -np.log(np.where(is_class, share, 0.5))
        nats = np.array([one.nats for one in shared])
        n_tests = max(1, len(self.held.starts) * int(is_class.sum()))
        by_chance = np.exp(np.minimum(np.log(n_tests) - nats, 0))
        return np.where(is_class, np.log(np.maximum(nats, least)), np.nan), np.where(is_class, by_chance, np.nan)


def find_shared_patches(
    pictures_of: Pictures, labels: np.ndarray, nb_classes: int, false_alarm_rate: float, random_state: int = 0
) -> SharedSounds:
    """
    Look in every class for pictures that hold the same patch, which those of the other classes do not.

    A block counts if it stands out (:func:`~.picture_blocks.blocks_of`) and is no piece of the ground. The evidence of a
    class is the block, anywhere or at one place, of whose holders most are of the class, and most beyond its share. The
    number of blocks that several pictures hold, and of classes, are counted by Bonferroni's bound. This holds if a block is
    as likely in any class. Where pictures have few levels, or are drawn, their classes share pieces by nature. So the
    logarithm of the evidence also has to be outlying among the classes, and the larger of both p-values is given.

    In a called class, a picture is a member if it holds the block and it stands out there, or if its contrast is above 0
    and larger than in .998 of the pictures of other classes. The class is then searched again without the members. Equal
    pictures count once, and what near copies of few pictures share is only looked at.

    When this breaks: fewer than about eight pictures have the patch; the pictures were compressed, resized or changed at
    random after the stamp, or the patch is blended in; the patch is flat and larger than the blocks; several classes have
    it; a white patch on a white ground; a mark of one source of pictures, such as a date or a logo, looks the same.

    :param pictures_of: Gives finite pictures by their rows: (m,) to (m, C, H, W).
    :param labels: Class of each picture, shape (n,), 0 to K - 1.
    :param false_alarm_rate: Accepted chance that any class is called in data without poison, between 0 and 1.
    :param random_state: Seed of the samples of pictures.
    :return: As for sounds; ``coherence`` is the share of the holders of the block that are of the class; ``to_hear`` are
        classes to look at.
    """
    random = np.random.default_rng(random_state)
    album = Album(pictures_of, len(labels))
    search = _search(album, np.sort(random.permutation(len(labels))[:MOST_PICTURES]), labels, nb_classes)
    shared = search.most_shared()
    scores, by_chance = search.evidence(shared)
    relative = outlying_scores(scores, false_alarm_rate).p_values
    is_judged = bool(np.isfinite(relative).any())
    p_values = np.fmax(relative, by_chance) if is_judged else relative
    called: list[int] = []
    to_look_at: list[int] = []
    matches = np.full(len(labels), np.nan)
    for label in np.flatnonzero((p_values if is_judged else by_chance) < false_alarm_rate):
        own = np.flatnonzero(labels == label)
        others = random.permutation(np.flatnonzero(labels != label))[:MOST_OTHERS]
        members = _members(album, search, int(label), others, false_alarm_rate)[own]
        matches[own] = 2.0 * members
        is_verdict = is_judged and not album.are_near_copies(own, members, random_state)
        (called if is_verdict else to_look_at).append(int(label))
    purity = np.array([one.purity for one in shared])
    return SharedSounds(scores, p_values, purity, called, to_look_at, matches)


def contrast_of_patch(album: Album, patch: Patch, rows: np.ndarray) -> np.ndarray:
    """
    Give the contrast with which each picture holds a patch, where that is largest, (m,): 1 where it stands out, -1 if the
    picture does not hold it.
    """
    parts = [np.zeros(0)]
    for batch in _batches(rows):
        blocks = blocks_of(album(batch), patch.side)
        contrast = np.where(blocks.stands_out, 1, blocks.contrast)
        contrast = np.where(blocks.contents == patch.contents, contrast, -1).reshape(len(batch), -1)
        parts.append(contrast.max(axis=1) if patch.place == ANYWHERE else contrast[:, patch.place])
    return np.concatenate(parts)


def _search(album: Album, rows: np.ndarray, labels: np.ndarray, nb_classes: int) -> Search:
    """
    Find the blocks that stand out in some pictures, but in one only of those that are equal.

    :param rows: Rows of the pictures, (m,), in order, at least one.
    """
    nothing = np.zeros(0, dtype=np.int64)
    parts = [Found(nothing, nothing.astype(np.uint64), nothing.astype(np.int32), nothing.astype(np.int8))]
    seen: list[np.ndarray] = []
    ground = ground_of(album(rows[:: -(-len(rows) // FOR_GROUND)]))
    for batch in _batches(rows):
        levels = album(batch)
        seen.append(levels)
        for side in SIDES:
            if side < min(levels.shape[2:]):
                blocks = blocks_of(levels, side)
                of_ground = blocks_of(ground, side).contents[:, 0, 0]
                picture, row, column = np.nonzero(blocks.stands_out & ~np.isin(blocks.contents, of_ground))
                places = (row * blocks.contents.shape[2] + column).astype(np.int32)
                sides = np.full(len(row), side, dtype=np.int8)
                parts.append(Found(batch[picture], blocks.contents[picture, row, column], places, sides))
    is_searched = np.zeros(len(labels), dtype=bool)
    is_searched[rows[np.unique(first_of_copies(np.concatenate(seen)))]] = True
    every = Found(*(np.concatenate(of) for of in zip(*parts, strict=True)))
    found = Found(*(of[is_searched[every.rows]] for of in every))
    return Search(found, holders_of(found.keys(), np.tile(found.rows, 2)), is_searched, labels, nb_classes)


def _members(album: Album, search: Search, label: int, others: np.ndarray, false_alarm_rate: float) -> np.ndarray:
    """Pictures of a class that hold its patch, or its second patch, and so on; (n,), bool."""
    own, members = np.flatnonzero(search.labels == label), np.zeros(len(search.labels), dtype=bool)
    for _ in range(MOST_PATCHES):
        shared = search.most_shared(members)
        if not search.evidence(shared)[1][label] < false_alarm_rate:
            break
        patch = search.found.patch(shared[label].entry)
        limit = max(0.0, float(np.quantile(contrast_of_patch(album, patch, others), LIMIT, method="higher")))
        contrast = contrast_of_patch(album, patch, own)
        holds = own[(contrast > limit) | (contrast == 1)]
        if members[holds].all():
            break
        members[holds] = True
    return members


def _batches(rows: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(rows), BATCH):
        yield rows[start : start + BATCH]
