"""Data sets of Hugging Face: parquet, Arrow, what ``save_to_disk`` wrote, and data sets in memory. No script runs."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from art_plugins.errors import InvalidInputError
from art_plugins.files.class_folders import SUFFIXES
from art_plugins.files.sources.columns import LABEL_COLUMNS, SAMPLE_COLUMNS, choose_column, choose_splits, split_of_file
from art_plugins.files.sources.damage import check_expansion, one_line
from art_plugins.files.sources.items import Item, Items
from art_plugins.files.sources.labels import labelled
from art_plugins.files.sources.reading import Reading
from art_plugins.files.sources.rows import read_rows
from art_plugins.files.sources.safe_names import why_unsafe
from art_plugins.files.sources.samples import Samples
from art_plugins.optional import import_optional

STATE, DICT = "state.json", "dataset_dict.json"  # of save_to_disk: of one data set, and of several splits
BATCH_ROWS = 64  # of a parquet file, in memory at once
FREE_SHARE = 0.9  # of the room on the disk that is free
FIRST_ROWS = 64  # in which the type of the samples is looked for


def is_saved(folder: Path) -> bool:
    """Whether ``save_to_disk`` wrote this folder."""
    return (folder / STATE).is_file() or (folder / DICT).is_file()


def read_saved(folder: Path, reading: Reading, stack: ExitStack) -> Samples:
    """
    What ``save_to_disk`` wrote.

    :raises InvalidInputError: If the folder is damaged, or names files outside of it.
    """
    datasets = import_optional("datasets")
    for listing in sorted([*folder.rglob(STATE), *folder.rglob(DICT)]):
        try:
            content = json.loads(listing.read_text(encoding="utf-8"))
            listed = content["splits"] if listing.name == DICT else [one["filename"] for one in content["_data_files"]]
            names = [str(name) for name in listed]
        except (OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise InvalidInputError(f"{listing} is damaged ({one_line(error)}).") from error
        for name in names:
            if (reason := why_unsafe(name)) is not None:
                raise InvalidInputError(f"{listing} names the file {name!r}: {reason}.")
    try:
        loaded = datasets.load_from_disk(str(folder))
    except Exception as error:  # datasets and Arrow raise many types for damaged files
        raise InvalidInputError(f"{folder} cannot be read as a saved data set ({one_line(error)}).") from error
    return read_dataset(loaded, reading, str(folder), stack)


def read_tables(paths: Sequence[Path], reading: Reading, origin: str, stack: ExitStack) -> Samples:
    """
    Parquet and Arrow files.

    :param stack: Removes the temporary copies at the end.
    :raises InvalidInputError: If a file is damaged, or a decompression bomb.
    """
    datasets = import_optional("datasets")
    kept, notes = choose_splits([split_of_file(path) for path in paths], reading.split, origin)
    parts = []
    for path in (paths[place] for place in kept):
        try:
            arrow = _arrow_copy(path, stack) if path.suffix.lower() == ".parquet" else path
            parts.append((path.name, datasets.Dataset.from_file(str(arrow))))
        except InvalidInputError:
            raise
        except Exception as error:  # Arrow raises many types for damaged files
            raise InvalidInputError(f"{path} cannot be read as a table ({one_line(error)}).") from error
    return _read(parts, reading, origin, notes, stack)


def read_dataset(dataset: Any, reading: Reading, origin: str, stack: ExitStack) -> Samples:
    """
    A ``Dataset`` or ``DatasetDict``.

    :raises InvalidInputError: If it has no length, or its columns are not those of samples and labels.
    """
    if isinstance(dataset, dict):
        names = [str(name) for name in dataset]
        if any(not hasattr(part, "__len__") for part in dataset.values()):
            raise InvalidInputError(f"{origin} is streamed, so its samples have no place; load it without streaming.")
        kept, notes = choose_splits(names, reading.split, origin)
        return _read([(names[place], dataset[names[place]]) for place in kept], reading, origin, notes, stack)
    if not hasattr(dataset, "__len__"):
        raise InvalidInputError(f"{origin} is streamed, so its samples have no place; load it without streaming.")
    if reading.split is not None:
        raise InvalidInputError(f"{origin} is one split, so the split {reading.split!r} cannot be chosen.")
    return _read([("row", dataset)], reading, origin, (), stack)


def _read(
    parts: Sequence[tuple[str, Any]], reading: Reading, origin: str, notes: Sequence[str], stack: ExitStack
) -> Samples:
    datasets = import_optional("datasets")
    columns = parts[0][1].features
    sample, label = _columns(parts, reading, origin)
    undecoded = isinstance(columns[sample], (datasets.Image, datasets.Audio))
    tables = []
    for _, part in parts:
        table = part.with_format(None).select_columns([sample, label])
        table = table.cast_column(sample, type(columns[sample])(decode=False)) if undecoded else table
        try:
            table.data.validate(full=True)  # what Arrow reads without a check can end the process
        except Exception as error:  # Arrow raises many types for damaged files
            raise InvalidInputError(f"A table of {origin} is damaged ({one_line(error)}).") from error
        tables.append(table)
    # As Arrow has them: a decoder of datasets opens the file, or the address in a network, that a stranger has written.
    whole = datasets.concatenate_datasets(tables).with_format("arrow")
    names = [f"{name}[{row}]" for (name, _), table in zip(parts, tables, strict=True) for row in range(len(table))]
    raw = whole.select_columns([label])[:].column(label).to_pylist()
    label_names = getattr(columns[label], "names", None)
    first = next((value for value in whole[:FIRST_ROWS].column(sample).to_pylist() if value is not None), None)

    def get(index: int) -> Any:
        return whole[index].column(sample).to_pylist()[0]

    if isinstance(first, list):
        return read_rows(origin, names, get, raw, reading, label_names, notes, stack)
    kind = _kind(columns[sample], first, reading, origin)
    items = Items(len(names), lambda index: _item(get(index)))
    return labelled(Samples(origin, kind, (), names, [], items, notes=tuple(notes)), raw, label_names)


def _columns(parts: Sequence[tuple[str, Any]], reading: Reading, origin: str) -> tuple[str, str]:
    """The columns of the samples and of the labels."""
    datasets = import_optional("datasets")
    columns = parts[0][1].features
    if any(part.features != columns for _, part in parts):
        raise InvalidInputError(f"The parts of {origin} have different columns; scan one, with --split or by its file.")
    label = choose_column("labels", list(columns), reading.label_column, LABEL_COLUMNS, origin)
    others = [name for name in columns if name != label]
    media = [name.lower() for name in others if isinstance(columns[name], (datasets.Image, datasets.Audio))]
    return choose_column("samples", others, reading.path_column, (*media, *SAMPLE_COLUMNS), origin), label


def _kind(feature: Any, first: Any, reading: Reading, origin: str) -> str:
    """``"sound"`` or ``"image"``, by the type of the column, else by the name of the first file."""
    datasets = import_optional("datasets")
    if isinstance(feature, (datasets.Image, datasets.Audio)):
        return "image" if isinstance(feature, datasets.Image) else "sound"
    if reading.kind != "auto":
        return reading.kind
    name = first.get("path") if isinstance(first, dict) else None
    found = [kind for kind, suffixes in SUFFIXES.items() if str(name or "").lower().endswith(suffixes)]
    if not found:
        raise InvalidInputError(f"{origin} does not say whether its samples are sounds or images; say it with --kind.")
    return found[0]


def _item(value: Any) -> Item:
    """The content of a file. A path that a table names is never opened: a stranger wrote it."""
    content = value.get("bytes") if isinstance(value, dict) else value
    if isinstance(content, bytes):
        return content
    path = value.get("path") if isinstance(value, dict) else value
    if isinstance(path, str):
        raise InvalidInputError("the table names a file in place of holding it; give a manifest (CSV, JSON lines) instead")
    raise InvalidInputError("it is missing" if content is None else f"it is a {type(value).__name__}, and no file")


def _arrow_copy(path: Path, stack: ExitStack) -> Path:
    """A parquet file as an Arrow file, which has rows by position; made a few rows at a time."""
    parquet, arrow = import_optional("pyarrow.parquet"), import_optional("pyarrow")
    target = Path(stack.enter_context(tempfile.TemporaryDirectory())) / "table.arrow"
    with (
        parquet.ParquetFile(path) as table,
        arrow.OSFile(str(target), "wb") as file,
        arrow.ipc.new_stream(file, table.schema_arrow) as writer,
    ):
        for batch in table.iter_batches(batch_size=BATCH_ROWS):
            # A page that says one value a million times is small until it is written out, so it is counted here.
            check_expansion(path, file.tell() + batch.nbytes)
            if batch.nbytes > shutil.disk_usage(target.parent).free * FREE_SHARE:
                raise InvalidInputError(f"{path} does not fit into {target.parent}; set another folder in TMPDIR.")
            writer.write_batch(batch)
    return target
