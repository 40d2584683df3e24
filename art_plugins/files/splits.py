"""Splits such as train and test, whose folders are the classes; told from classes by their names and by what they hold."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path, PurePosixPath

from art_plugins.errors import InvalidInputError

SPLIT_NAME = re.compile(r"(train|training|test|testing|val|valid|validation|dev|eval|evaluation)([ _-]?(set|data))?", re.I)


def find_splits(files: Mapping[str, Sequence[str]]) -> list[str]:
    """
    The folders that are splits of one data set, which hold the class folders; none if the folders are the classes.

    They are splits if every folder with files is named like a split, and one of them holds class folders.

    :param files: Folder -> the files in it of the kind that is looked for.
    """
    holding = [name for name in files if files[name]]
    are_splits = all(SPLIT_NAME.fullmatch(name) for name in holding)
    hold_classes = any(len(PurePosixPath(file).parts) > 2 for name in holding for file in files[name])
    return holding if are_splits and hold_classes else []


def split_notes(root: Path, folders: Sequence[str], splits: Sequence[str], split: str | None) -> list[str]:
    """
    Sentences on which folders are the classes.

    :param folders: All folders in ``root``.
    :param splits: Those of them that are splits.
    :param split: The only split to use; ``None``: all.
    :raises InvalidInputError: If the folder has no such split.
    """
    names = ", ".join(splits)
    if split is not None:
        if split.lower() not in [name.lower() for name in splits]:
            raise InvalidInputError(
                f"{root} has no split {split!r}; it has {names or 'none, since its folders are the classes'}. Name one of "
                "them, or leave the split out to use all."
            )
        return [f"Only the split {split} of {names} is scanned, as you asked."]
    if len(splits) > 1:
        return [
            f"{names} are splits of one data set: the folders inside them are the classes, and the splits of a class are "
            "used together. Use --split NAME to scan only one of them."
        ]
    if splits:
        return [f"{names} is a split of a data set: the folders inside it are the classes."]
    if all(map(SPLIT_NAME.fullmatch, folders)):
        return [
            f"{', '.join(folders)} are used as classes, because they hold no class folders, although they are named like "
            "splits."
        ]
    return []
