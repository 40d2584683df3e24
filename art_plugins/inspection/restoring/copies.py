"""Cleaned copies of samples as files of a new folder, which appears as a whole or not at all."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader, wav_bytes
from art_plugins.locks import held_folder, remove_leftovers
from art_plugins.optional import import_optional
from art_plugins.storage import umask

N_DIGITS = 6


def copy_paths(manifest: Path, samples: Mapping[int, np.ndarray], reader: SoundReader | ImageReader) -> dict[int, str]:
    """Paths of the copies, relative to their manifest, by the position of the sample; no name comes from the data."""
    return {index: f"./{manifest.stem}/{name}" for index, name in _names(samples, reader).items()}


@contextmanager
def written_copies(
    manifest: Path | None, samples: Mapping[int, np.ndarray], reader: SoundReader | ImageReader
) -> Iterator[None]:
    """
    Write the copies into a folder beside their manifest, which has its name without the ending. The folder appears when the
    block ends well; else nothing of it is left.

    :raises InvalidInputError: If the folder exists, or the copies cannot be written.
    """
    names = _names(samples, reader)
    if manifest is None or not names:
        yield
        return
    folder = manifest.with_suffix("")
    held = None
    partial = None
    try:
        remove_leftovers(folder)
        partial, held = held_folder(folder)
        for index, name in names.items():
            _write(partial / name, samples[index], reader)
        yield
        if folder.exists():
            raise InvalidInputError(f"{folder} was created meanwhile, and is not overwritten; choose another --apply-to.")
        partial.chmod(0o777 & ~umask())
        partial.rename(folder)
    except OSError as error:
        raise InvalidInputError(f"{folder} cannot be written ({error.strerror}); choose another --apply-to.") from error
    finally:
        if partial is not None:
            shutil.rmtree(partial, ignore_errors=True)
        if held is not None:
            os.close(held)


def _names(samples: Mapping[int, np.ndarray], reader: SoundReader | ImageReader) -> dict[int, str]:
    """Running numbers, by the position of the sample."""
    ending = ".wav" if isinstance(reader, SoundReader) else ".png"
    return {index: f"{number:0{N_DIGITS}d}{ending}" for number, index in enumerate(sorted(samples), start=1)}


def _write(path: Path, sample: np.ndarray, reader: SoundReader | ImageReader) -> None:
    if isinstance(reader, SoundReader):
        path.write_bytes(wav_bytes(sample, reader.sample_rate_hz))
    else:
        import_optional("PIL.Image").fromarray(sample).save(path, format="PNG")
