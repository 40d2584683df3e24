"""Look for poison in a data set without any ground truth, and show a person where to look."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, nullcontext
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from joblib import parallel_config

from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.running.environment import versions
from art_plugins.evaluation.running.workers import Workers
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.vae.shipped import is_shipped, load_autoencoder
from art_plugins.files.folder_data import FolderData, read_folder
from art_plugins.files.image_files import ImageReader
from art_plugins.files.outputs import check_outputs, held_folder, together
from art_plugins.files.sound_files import SoundReader
from art_plugins.files.sources.items import content_hash
from art_plugins.files.sources.open_samples import open_samples
from art_plugins.files.sources.reading import Reading
from art_plugins.files.sources.samples import Samples
from art_plugins.inspection.deciding.decisions import Decisions, read_decisions
from art_plugins.inspection.deciding.manifest import Applied, apply_decisions, check_place
from art_plugins.inspection.evidence.ahead import check_ahead, read_ahead
from art_plugins.inspection.evidence.cache import cached, kept_features
from art_plugins.inspection.evidence.examine import Examined, examine
from art_plugins.inspection.evidence.model import check_model
from art_plugins.inspection.evidence.trusted import Trusted, find_trusted, read_trusted
from art_plugins.inspection.gate import gate
from art_plugins.inspection.restoring.copies import Copies, Work, made_copies
from art_plugins.inspection.scan_groups import Group, groups_to_show, rejected_groups
from art_plugins.inspection.scan_page import scan_page
from art_plugins.inspection.scan_reader import make_reader
from art_plugins.inspection.scan_record import json_text, new_file, new_files, scan_record
from art_plugins.inspection.scan_words import decision_notes
from art_plugins.inspection.settings import ScanSettings, settings_from
from art_plugins.inspection.suspect_rows import suspect_rows, suspects_csv
from art_plugins.optional import import_optional

OUTPUTS = ("suspects.csv", "report.html", "record.json")
CHECKPOINT = ".training-"
HASHED_AT_ONCE = 1_024  # samples
LONGEST_TRAINING_S = 10**6  # longer than any, so that no process ends while it waits for one
FROM_THE_FOLDER = ("sample_rate_hz", "channels_first")


def scan_folder(folder: str | Path, out: str | Path, settings: ScanSettings | None = None, **kwargs: Any) -> dict[str, Any]:
    """:func:`scan` for a path. Fields of the settings are accepted as keyword arguments for one more release."""
    names = [field.name for field in fields(ScanSettings)]
    old = {name: value for name, value in kwargs.items() if name in names}
    settings = settings_from(ScanSettings, settings, old, "scan_folder")
    return scan(folder, None, out, settings, **{name: value for name, value in kwargs.items() if name not in names})


def scan(
    data: Any,
    labels: Any = None,
    out: str | Path = "out/scan",
    settings: ScanSettings | None = None,
    *,
    command: str = "",
    verbose: bool = True,
    **defence_params: Any,
) -> dict[str, Any]:
    """
    Rank the classes of a data set by how suspicious they are, and list the suspect samples.

    The function writes ``suspects.csv``, ``report.html`` and ``record.json`` into ``out``. These and the other outputs
    appear together at the end, or none of them does. Nothing in the data is changed. Samples that cannot be read are left
    out, and listed. The samples are decoded into a temporary file, so that large data sets need little memory.

    :param data: A path, an array (also a ``numpy.memmap``), a data set of torch or of Hugging Face; the forms are those of
        :func:`~art_plugins.files.sources.open_samples.open_samples`.
    :param labels: A label for each sample, numbers or words, where the data have none of their own.
    :param out: Folder for the results.
    :param settings: ``None``: the default settings.
    :param command: What the user typed, for the record.
    :param verbose: Show progress bars.
    :param defence_params: Parameters of :class:`VAELatentDefence`, such as ``false_alarm_rate`` and ``random_state``.
    :return: The record, as written; ``classes`` is a ranking, the most suspicious class first. ``gate`` has the exit status
        of the command.
    :raises InvalidInputError: For bad arguments, data that cannot be scanned, an output that exists, or another run
        that writes to ``out``, before any heavy work; for a full disk at the end.
    :raises MissingPackageError: If a package for sound files, images or pages is missing, before any heavy work.
    """
    start = time.perf_counter()
    params = _checked(settings := settings or ScanSettings(), defence_params, Path(out))
    decisions = read_decisions(settings.accepted, settings.decisions)
    with held_folder(Path(out)), ExitStack() as stack:
        found = stack.enter_context(open_samples(data, labels, _reading(settings)))
        check_place(settings.apply, new_file(settings), found)
        seed, given = params.get("random_state", 0), settings.autoencoder
        fitted = load_autoencoder(given) if isinstance(given, (str, Path)) else None
        reader = make_reader(found, settings, fitted)
        decoded, trusted = stack.enter_context(_decoded(found, reader, fitted, settings, verbose))
        examined = _examined(decoded, reader, settings, params | {"verbose": verbose}, fitted, trusted, Path(out))
        origin: dict[str, Any] = {"command": command, "folder": found.origin}
        record = origin | scan_record(found, reader, decoded, examined, settings, params)
        groups = _groups(examined, decoded, hash_of := _hashes(found, decoded), decisions)
        record |= _verdict(record, groups, hash_of, decoded, examined, settings, decisions)
        work = Work(groups, record["suspects"], found, decoded, reader)
        copies = stack.enter_context(made_copies(new_file(settings), settings.apply, work, seed))
        applied = _applied(settings, work, copies)
        record |= {"applied": applied.counts, "notes": [*record["notes"], *applied.notes]}
        record["seconds"] = time.perf_counter() - start
        texts = [
            suspects_csv(work.suspects),
            scan_page(record, groups, decoded, reader, examined.scores(len(decoded.files)), settings.max_listed, decisions),
            json_text(record),
            *([] if settings.apply_to is None else [applied.text]),
        ]
        _write(Path(out), texts, settings, examined, copies)
    return record


@contextmanager
def _decoded(
    found: Samples,
    reader: SoundReader | ImageReader,
    fitted: Autoencoder | None,
    settings: ScanSettings,
    verbose: bool,
) -> Iterator[tuple[FolderData, Trusted | None]]:
    """The decoded samples, and the trusted ones; what cannot work is refused before."""
    check_model(settings.model, found.kind)
    given_trusted = find_trusted(settings.trusted, found)
    read_ahead(found, reader, fitted, settings.cache, _workers(settings), verbose)
    with ExitStack() as stack:
        with cached(reader, settings.cache) as keeping:
            decoded = stack.enter_context(read_folder(found, keeping, verbose))
        yield decoded, stack.enter_context(read_trusted(given_trusted, reader, decoded.class_names, verbose))


def _examined(
    decoded: FolderData,
    reader: SoundReader | ImageReader,
    settings: ScanSettings,
    params: dict[str, Any],
    fitted: Autoencoder | None,
    trusted: Trusted | None,
    out: Path,
) -> Examined:
    """What all evidence says; features of a fitted autoencoder are kept where the user wants that."""
    given = settings.autoencoder
    if fitted is None and not is_shipped(given) and (not settings.only or "latents" in settings.only):
        params = {"checkpoint": _checkpoint(out, decoded, params, given), **params}
    autoencoder = given if fitted is None or is_shipped(given) else fitted
    with kept_features(fitted, reader.shape, settings.cache) as memory, _splitting_in(settings.jobs):
        return examine(decoded, reader, settings, params, autoencoder, trusted, memory)


def _checkpoint(out: Path, decoded: FolderData, params: dict[str, Any], architecture: Any) -> Path:
    """The file by which the training of this very scan goes on; a scan of other data into the folder has another one."""
    given = sorted((name, repr(value)) for name, value in params.items())
    digest = hashlib.blake2b(repr((decoded.x.shape, decoded.x.dtype, given, architecture, versions())).encode())
    for start in range(0, len(decoded.x), HASHED_AT_ONCE):
        digest.update(np.ascontiguousarray(decoded.x[start : start + HASHED_AT_ONCE]).tobytes())
    return out / f"{CHECKPOINT}{digest.hexdigest()[:12]}"


def _reading(settings: ScanSettings) -> Reading:
    return Reading(settings.kind, settings.split, settings.path_column, settings.label_column, settings.rate_hz)


def _workers(settings: ScanSettings) -> Workers:
    return Workers(settings.backend, settings.address, settings.jobs if settings.backend == "local" else None)


def _splitting_in(jobs: int) -> Any:
    """Inside it, ``jobs`` processes split the classes (:func:`~art_plugins.at_once.at_once`)."""
    if jobs == 1:
        return nullcontext()
    # A training may come between two splits, and joblib warns where processes have ended in the meantime.
    return parallel_config("loky", n_jobs=jobs, inner_max_num_threads=1, idle_worker_timeout=LONGEST_TRAINING_S)


def _groups(examined: Examined, decoded: FolderData, hash_of: Callable[[int], str], decisions: Decisions) -> list[Group]:
    """What the scan suspects, and what a person has rejected besides."""
    groups = groups_to_show(examined, decoded)
    return groups + rejected_groups(groups, decoded, hash_of, decisions)


def _verdict(
    record: dict[str, Any],
    groups: Sequence[Group],
    hash_of: Callable[[int], str],
    decoded: FolderData,
    examined: Examined,
    settings: ScanSettings,
    decisions: Decisions,
) -> dict[str, Any]:
    """What the record gets besides the ranking: the suspects, what was decided on them, and the exit status."""
    suspects = suspect_rows(groups, decoded, examined, hash_of, decisions)
    notes = [*record["notes"], *decision_notes(suspects, (settings.accepted, settings.decisions))]
    return {"notes": notes, "suspects": suspects, "gate": gate({**record, "suspects": suspects}, settings.fail_on)}


def _hashes(found: Samples, decoded: FolderData) -> Callable[[int], str]:
    """The SHA-256 of the content of a sample that was read, by its position; computed once."""
    return cache(lambda index: content_hash(found.items[decoded.places[index]]))


def _applied(settings: ScanSettings, work: Work, copies: Copies | None) -> Applied:
    """What is written to the file that the user names, if there is one."""
    if (file := new_file(settings)) is None:
        return Applied("", {}, [])
    paths = {} if copies is None else copies.paths
    applied = apply_decisions(settings.apply, file, work.found, work.data, work.suspects, paths)
    return applied._replace(notes=[*applied.notes, *([] if copies is None else copies.notes)])


def _checked(settings: ScanSettings, params: dict[str, Any], out: Path) -> dict[str, Any]:
    """The parameters of the defence, which are checked, as are the outputs and the packages."""
    params = dict(params)
    taken = [name for name in FROM_THE_FOLDER if name in params]
    if taken:
        raise InvalidInputError(f"{', '.join(taken)} cannot be given to a scan: it is read from the files.")
    # The defence checks its parameters again, but only once the files have been decoded.
    architecture = settings.autoencoder if isinstance(settings.autoencoder, dict) else None
    VAELatentDefence(None, np.zeros((1, 1)), np.zeros(1)).set_params(autoencoder=architecture, **params)
    check_ahead(_workers(settings), settings.cache)
    check_outputs(out, OUTPUTS, (settings.apply_to, settings.save_autoencoder))
    import_optional("jinja2")
    return params


def _write(out: Path, texts: list[str], settings: ScanSettings, examined: Examined, copies: Copies | None) -> None:
    """All outputs, or none."""
    with together([out / name for name in OUTPUTS], new_files(settings)) as partials:
        for partial, text in zip(partials, texts, strict=False):  # the autoencoder is none of the texts
            partial.write_text(text, encoding="utf-8")
        if settings.save_autoencoder is not None and examined.defence is not None:
            examined.defence.autoencoder_.save(partials[-1])
        if copies is not None:
            copies.place()
    for left in out.glob(f"{CHECKPOINT}*"):  # of scans that nobody went on with
        left.unlink(missing_ok=True)
