"""Workers decode the files of a data set, and compute their features, into the cache from which a scan then reads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from tqdm.auto import tqdm

from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.running.parallel import check_backend, parallel_map
from art_plugins.evaluation.running.workers import Workers
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.encodings import encode_all
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.files.sources.items import content_hash
from art_plugins.files.sources.samples import Samples
from art_plugins.inspection.evidence.cache import CachedReader, KeptFeatures

THIS_PROCESS = Workers(jobs=1)
MOST_FILES, MOST_BYTES = 1_000, 64 * 2**20  # of one task, decoded: what is done again if its worker is killed


class Reading(NamedTuple):
    """What workers need: ``reader``; ``folder`` of the cache; ``state``: arrays and settings of a fitted autoencoder."""

    reader: SoundReader | ImageReader
    folder: Path
    state: tuple[dict[str, np.ndarray], dict[str, Any]] | None


def check_ahead(workers: Workers, cache: object) -> None:
    """
    Check, before any heavy work, whether there are workers, and a cache that they can fill.

    :raises InvalidInputError: If they do not answer, an argument is out of range, or there is no cache.
    :raises MissingPackageError: If the package of the workers is not installed.
    """
    if workers == THIS_PROCESS:
        return
    if cache is None:
        raise InvalidInputError("Workers put what they compute into the cache; name a folder for it with cache (--cache).")
    check_backend(workers.backend, workers.address, workers.jobs)


def read_ahead(
    found: Samples,
    reader: SoundReader | ImageReader,
    autoencoder: Autoencoder | None,
    cache: str | Path | None,
    workers: Workers,
    verbose: bool = True,
) -> None:
    """
    Let workers fill the cache with what it does not hold. Without any workers besides this process, nothing is done.

    The files and the cache must be under the same paths on all machines. What a killed worker had not written is done
    again, and what is damaged or missing in the end is computed by the scan itself. So the answer is that of a scan
    without workers.

    :param found: The data set; its samples are files.
    :param autoencoder: Fitted on other data; ``None``: features depend on the whole data set, and are not computed.
    :raises InvalidInputError: If the samples are no files.
    """
    if workers == THIS_PROCESS or cache is None:
        return
    state = None
    if autoencoder is not None:
        is_sound = isinstance(reader, SoundReader)
        autoencoder = autoencoder.for_shape(reader.shape) if is_sound else autoencoder
        state = autoencoder.state_arrays(), autoencoder.state_settings()
    shared = Reading(reader, Path(cache).absolute(), state)
    known = CachedReader(reader, shared.folder).shards
    new = [item for item in _files(found) if content_hash(item) not in known]
    n_bytes = int(np.prod(reader.shape)) * reader.dtype.itemsize
    size = max(1, min(MOST_FILES, MOST_BYTES // n_bytes))
    tasks = [new[start : start + size] for start in range(0, len(new), size)]
    with tqdm(total=len(new), desc="reading", unit="file", disable=not verbose or None) as progress:
        for _, n_done in parallel_map(read_part, shared, tasks, **asdict(workers)):
            progress.update(n_done)


def read_part(shared: Reading, files: Sequence[Path]) -> int:
    """
    Decode some files into the cache, and compute their features. A file that cannot be read is left to the scan.

    :return: Number of the files.
    """
    keeping = CachedReader(shared.reader, shared.folder, is_opened=False)
    samples = []
    for file in files:
        try:
            samples.append(keeping.read(file)[0])
        except InvalidInputError:
            continue  # the scan says why
    keeping.flush()
    if samples and shared.state is not None:
        autoencoder = Autoencoder.from_state(*shared.state)
        memory = KeptFeatures(autoencoder, shared.reader.shape, shared.folder, is_opened=False)
        encode_all(autoencoder, np.stack(samples), memory)
        memory.flush()
    return len(files)


def _files(found: Samples) -> list[Path]:
    files: list[Path] = []
    for index in range(len(found.files)):
        try:
            item = found.items[index]
        except InvalidInputError:
            continue  # the scan says why
        if not isinstance(item, Path):
            raise InvalidInputError("Workers read files, and these samples come in another form; leave out the workers.")
        files.append(item.absolute())
    return files
