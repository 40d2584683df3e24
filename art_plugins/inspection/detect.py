"""Does a trained classifier have a backdoor, towards which class, and which samples of a folder carry the trigger?"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from art_plugins.defences.flight.files import FILE_KIND as DETECTOR_FILE
from art_plugins.files.image_files import ImageReader
from art_plugins.files.model_files import check_model_file
from art_plugins.files.outputs import check_outputs, held_folder, together
from art_plugins.files.sound_files import SoundReader
from art_plugins.inspection.detect_inputs import Inputs, find_inputs, fit_reader, read_clean
from art_plugins.inspection.detect_page import detect_page
from art_plugins.inspection.detect_record import Outcome, detect_record, suspects_csv
from art_plugins.inspection.detect_words import clean_cautions, detector_cautions, screening_note, threshold_note
from art_plugins.inspection.gate import detection_gate
from art_plugins.inspection.isolation.judge import Judge, ModelJudge
from art_plugins.inspection.isolation.process import JudgeProcess
from art_plugins.inspection.judged import judge_files
from art_plugins.inspection.settings import DetectSettings, settings_from
from art_plugins.inspection.verdicts.images import image_verdicts, share_of_layers
from art_plugins.inspection.verdicts.words import NO_SEARCH, NOUNS, layer_notes
from art_plugins.optional import import_optional
from art_plugins.storage import save_arrays
from art_plugins.triggers.found import Inversion

OUTPUTS = ("suspects.csv", "report.html", "record.json")


def detect_folder(
    model: str | Path,
    folder: str | Path | None,
    clean: str | Path,
    out: str | Path,
    settings: DetectSettings | None = None,
    *,
    command: str = "",
    verbose: bool = True,
    **old: Any,
) -> dict[str, Any]:
    """
    Look for a backdoor in a model, and for the images of a folder that carry its trigger.

    Two questions are asked. Is there a small pattern that sends images of the other classes to one class? If so, the
    in-flight detector looks for it in the images. And do images of the folder contradict themselves at the layers of the
    model, or stand out there? This needs no pattern, so it also answers for triggers that distort the image or differ from
    image to image, and for attacks on every class; but it needs images to judge. A classifier of sounds is asked the second
    question alone. It gets waveforms, so the step that makes spectrograms of them has to be a part of the model.

    The function writes ``suspects.csv``, ``report.html`` and ``record.json`` into ``out``. They and the saved detector
    appear together at the end, or none of them does. The model gets images with values from 0 to 1.

    A TorchScript file is a program that a stranger may have written. It is refused if it does more than compute, and it
    runs in a process of its own that cannot write files, reach a network or run without end
    (:mod:`~art_plugins.inspection.isolation.process`). Weights are data. The factory is your own code, and runs here.

    :param model: The model file, as for :func:`~art_plugins.files.model_files.load_classifier`.
    :param folder: The images or sounds to judge, at any depth; ``None``: there are none.
    :param clean: One folder for each class, with 10 to 100 images or sounds that are free of the trigger; if there are
        more, 100 are drawn at random.
    :param out: Folder for the results.
    :param settings: ``None``: the default settings.
    :param command: What the user typed, for the record.
    :param verbose: Show progress bars.
    :param old: Fields of the settings as keyword arguments, the form of the release before.
    :return: The record, as written. ``is_backdoored`` is the answer, and ``found_by`` says which question gave it.
        ``classes`` is a ranking, the most suspicious class first; ``target_class`` is a name, or ``None`` if no pattern of
        a backdoor was found. ``gate`` has the exit status of the command.
    :raises InvalidInputError: For bad arguments, a model or folder that cannot be used, an output that exists, or another
        run that writes to ``out``, before any heavy work; for a full disk at the end.
    :raises MissingPackageError: If a package for images or pages is missing, before any heavy work.
    """
    start = time.perf_counter()
    settings = settings_from(DetectSettings, settings, old, "detect_folder")
    check_outputs(Path(out), OUTPUTS, (settings.save_detector,))
    for module in ("jinja2", "matplotlib.figure", "PIL.Image"):
        import_optional(module)
    with held_folder(Path(out)):
        inputs = find_inputs(folder, clean, settings)
        with _judge(Path(model), inputs.reader, settings) as judge:
            outcome = _examine(judge, model, inputs, settings, verbose)
        record = {"command": command, **detect_record(model, inputs, settings, outcome)}
        record |= {"gate": detection_gate(record, settings.fail_on), "seconds": time.perf_counter() - start}
        _write(Path(out), record, inputs, settings, outcome)
    return record


def _examine(judge: Judge, model: str | Path, inputs: Inputs, settings: DetectSettings, verbose: bool) -> Outcome:
    """Look for a backdoor, and, if there is one, for its trigger in the images."""
    facts, names, noun = judge.facts, inputs.class_names, NOUNS[inputs.kind]
    notes = [*inputs.notes, fit_reader(inputs, facts, model)]
    clean = read_clean(inputs, facts, verbose)
    predicted = judge.show_clean(clean.x, clean.y).argmax(axis=1)
    notes += clean_cautions(predicted, clean.y, names, noun)
    inversion: Inversion | None = None
    if inputs.kind == "image":
        inversion = judge.invert(settings.nb_steps, settings.threshold, settings.random_state, verbose)
        notes += [threshold_note(settings.threshold, facts.nb_classes), *screening_note(inversion, facts.nb_classes)]
    else:
        notes.append(NO_SEARCH)
    has_pattern = inversion is not None and inversion.target_class is not None
    if not has_pattern and settings.save_detector is not None:
        notes.append(f"There is no detector to save, so {settings.save_detector} was not written.")
    detector = judge.fit() if has_pattern else None
    layers = judge.fit_layers(share_of_layers(settings.false_alarm_rate, has_pattern), settings.random_state)
    judged = verdicts = None
    if inputs.folder is not None and (detector is not None or layers.problem is None):
        judged = judge_files(judge.detect, facts.channels_first, inputs.folder, inputs.found, inputs.reader, verbose)
        verdicts = image_verdicts(judged, layers, settings.false_alarm_rate)
    if detector is not None and inversion is not None:
        notes += detector_cautions(detector.success_rate, inversion, settings.threshold, names)
    notes += layer_notes(layers, verdicts, has_pattern, noun)
    return Outcome(facts, clean, predicted, inversion, detector, judged, notes, layers, verdicts)


@contextmanager
def _judge(model: Path, reader: ImageReader | SoundReader, settings: DetectSettings) -> Iterator[Judge]:
    """The model: in a process of its own if the file is a program that a stranger may have written, else in this one."""
    is_script = check_model_file(model, settings.factory)
    options: dict[str, Any] = {"is_grey": False, "mean": settings.mean, "std": settings.std}
    if isinstance(reader, SoundReader):
        size: tuple[int, ...] = (reader.n_samples,)
    else:
        size, options["is_grey"] = reader.size, reader.is_grey
    if is_script and not settings.trust_model:
        with JudgeProcess(model, size, options, settings.timeout_s) as judge:
            yield judge
        return
    own_code = {name: getattr(settings, name) for name in ("factory", "factory_args", "trust_model")}
    yield ModelJudge.from_file(model, size, {**options, **own_code})


def _write(out: Path, record: dict[str, Any], inputs: Inputs, settings: DetectSettings, outcome: Outcome) -> None:
    """All outputs, or none."""
    page = detect_page(record, outcome, inputs)
    texts = [suspects_csv(record["suspects"]), page, json.dumps(record, indent=2, allow_nan=False) + "\n"]
    detector = outcome.detector if settings.save_detector is not None else None
    new_files = [] if detector is None else [Path(str(settings.save_detector))]
    with together([out / name for name in OUTPUTS], new_files) as partials:
        for partial, text in zip(partials, texts, strict=False):  # the detector is none of the texts
            partial.write_text(text, encoding="utf-8")
        if detector is not None:
            save_arrays(partials[-1], DETECTOR_FILE, detector.arrays, detector.settings)
