"""Look for poison in a folder of class folders without any ground truth, and show a person where to look."""

from __future__ import annotations

import time
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.errors import InvalidInputError
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.shipped import is_shipped, load_autoencoder
from art_plugins.files.class_folders import find_class_folders
from art_plugins.files.folder_data import read_folder
from art_plugins.files.image_files import ImageReader
from art_plugins.files.outputs import check_outputs, held_folder, together
from art_plugins.files.sound_files import SoundReader
from art_plugins.files.sources.content import content_hash
from art_plugins.inspection.accepted import read_accepted
from art_plugins.inspection.gate import gate
from art_plugins.inspection.scan_groups import groups_to_show
from art_plugins.inspection.scan_page import scan_page
from art_plugins.inspection.scan_reader import make_reader
from art_plugins.inspection.scan_record import json_text, keep_list, new_files, scan_record
from art_plugins.inspection.scan_words import accepted_notes
from art_plugins.inspection.settings import ScanSettings, settings_from
from art_plugins.inspection.suspect_rows import suspect_rows, suspects_csv
from art_plugins.optional import import_optional

OUTPUTS = ("suspects.csv", "report.html", "record.json")
FROM_THE_FOLDER = ("sample_rate_hz", "channels_first")


def scan_folder(
    folder: str | Path,
    out: str | Path,
    settings: ScanSettings | None = None,
    *,
    command: str = "",
    verbose: bool = True,
    **defence_params: Any,
) -> dict[str, Any]:
    """
    Rank the classes of a folder by how suspicious they are, and list the suspect files.

    The function writes ``suspects.csv``, ``report.html`` and ``record.json`` into ``out``. These and the other outputs
    appear together at the end, or none of them does. Nothing in ``folder`` is changed. Files that cannot be read are left
    out, and listed.

    :param folder: One folder of sound files (wav, flac) or images (png, jpg, jpeg) for each class.
    :param out: Folder for the results.
    :param settings: ``None``: the default settings.
    :param command: What the user typed, for the record.
    :param verbose: Show progress bars.
    :param defence_params: Parameters of :class:`VAELatentDefence`, such as ``false_alarm_rate``, ``nb_epochs`` and
        ``random_state``. Fields of the settings are accepted here for one more release.
    :return: The record, as written; ``classes`` is a ranking, the most suspicious class first. ``gate`` has the exit status
        of the command.
    :raises InvalidInputError: For bad arguments, a folder that cannot be scanned, an output that exists, or another run
        that writes to ``out``, before any heavy work; for a full disk at the end.
    :raises MissingPackageError: If a package for sound files, images or pages is missing, before any heavy work.
    """
    start = time.perf_counter()
    settings, params = _sorted_out(settings, defence_params)
    check_outputs(Path(out), OUTPUTS, (settings.apply_to, settings.save_autoencoder))
    import_optional("jinja2")
    accepted = read_accepted(settings.accepted)
    with held_folder(Path(out)):
        found = find_class_folders(folder, settings.kind, settings.split)
        given = settings.autoencoder
        fitted = load_autoencoder(given) if isinstance(given, (str, Path)) else None
        reader = make_reader(found, folder, settings, fitted)
        with read_folder(folder, found, reader, verbose) as data:
            defence = VAELatentDefence(None, data.x, data.labels)
            trained = given if fitted is None or is_shipped(given) else fitted
            defence.detect_poison(autoencoder=trained, verbose=verbose, **params, **_kind_of_data(reader))
            record = {
                "command": command,
                "folder": str(folder),
                **scan_record(found, reader, data, defence, settings),
            }
            groups = groups_to_show(defence, data, record["classes"])
            record["suspects"] = suspect_rows(
                groups,
                data,
                defence.outlier_scores_,
                record["classes"],
                lambda index: content_hash(Path(folder) / data.files[index]),
                accepted,
            )
            record["notes"] += accepted_notes(record["suspects"], settings.accepted)
            record |= {"gate": gate(record, settings.fail_on), "seconds": time.perf_counter() - start}
            page = scan_page(record, groups, data, reader, defence.outlier_scores_, settings.max_listed)
        texts = [
            suspects_csv(record["suspects"]),
            page,
            json_text(record),
            *([] if settings.apply_to is None else [keep_list(defence, data, record["suspects"])]),
        ]
        _write(Path(out), texts, settings, defence.autoencoder_)
    return record


def _sorted_out(settings: ScanSettings | None, keywords: dict[str, Any]) -> tuple[ScanSettings, dict[str, Any]]:
    """The settings of the scan, and the parameters of the defence, which are checked."""
    names = [field.name for field in fields(ScanSettings)]
    old = {name: value for name, value in keywords.items() if name in names}
    settings = settings_from(ScanSettings, settings, old, "scan_folder", stacklevel=4)
    params = {name: value for name, value in keywords.items() if name not in names}
    if settings.save_autoencoder is not None:
        params.setdefault("checkpoint", f"{settings.save_autoencoder}.checkpoint")
    taken = [name for name in FROM_THE_FOLDER if name in params]
    if taken:
        raise InvalidInputError(f"{', '.join(taken)} cannot be given to a scan: it is read from the files.")
    # The defence checks its parameters again, but only once the files have been decoded.
    architecture = settings.autoencoder if isinstance(settings.autoencoder, dict) else None
    VAELatentDefence(None, np.zeros((1, 1)), np.zeros(1)).set_params(autoencoder=architecture, **params)
    return settings, params


def _kind_of_data(reader: SoundReader | ImageReader) -> dict[str, Any]:
    """What the defence is told of the samples."""
    if isinstance(reader, SoundReader):
        return {"kind": "waveform", "sample_rate_hz": reader.sample_rate_hz}
    return {"kind": "image", "channels_first": False}


def _write(out: Path, texts: list[str], settings: ScanSettings, autoencoder: Autoencoder) -> None:
    """All outputs, or none."""
    with together([out / name for name in OUTPUTS], new_files(settings)) as partials:
        for partial, text in zip(partials, texts, strict=False):  # the autoencoder is none of the texts
            partial.write_text(text, encoding="utf-8")
        if settings.save_autoencoder is not None:
            autoencoder.save(partials[-1])
