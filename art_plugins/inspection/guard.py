"""A model file and clean images become one file: the model with its detector inside."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.defences.guard_files import check_guard_path, save_guard
from art_plugins.defences.guarded_model import OUTPUTS, GuardedModel
from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import collect_outputs
from art_plugins.files.model_files import check_model_file, load_classifier
from art_plugins.inspection.detect_inputs import find_inputs, fit_reader, read_clean
from art_plugins.inspection.isolation.judge import ModelFacts
from art_plugins.inspection.settings import DetectSettings
from art_plugins.statistics.drift import class_margins
from art_plugins.storage import write_json
from art_plugins.triggers.inversion import invert_triggers


def guard_model(
    model: str | Path,
    clean: str | Path,
    out: str | Path,
    settings: DetectSettings | None = None,
    *,
    detector: str | Path | None = None,
    verbose: bool = True,
) -> dict[str, Any]:
    """
    Look for a backdoor in a model, and write the model with a detector for it as one file that runs without this package.

    Beside the file ``out`` there is ``out`` with the ending ``.json``, which says how to read the outputs, and holds the
    clean margins for a :class:`~art_plugins.statistics.drift.DriftMonitor`.

    :param model: The model file, as for :func:`~art_plugins.files.model_files.load_classifier`. A TorchScript file
        has to be trusted, because it runs in this process.
    :param clean: One folder for each class, with 10 to 100 clean images.
    :param out: New file; its ending gives the format (see :func:`~art_plugins.defences.guard_files.save_guard`).
    :param settings: How the model and the images are read, and how the trigger is searched for; ``None``: the defaults.
    :param detector: File of a detector that was saved for this model; ``None``: a backdoor is searched for.
    :param verbose: Show progress bars.
    :return: What the JSON file holds.
    :raises InvalidInputError: For bad arguments, a model or folder that cannot be used, an output that exists, a model
        without a backdoor, or one that cannot be exported.
    :raises MissingPackageError: For ONNX without its packages.
    """
    settings = settings or DetectSettings()
    target, facts_file = Path(out), Path(f"{out}.json")
    check_guard_path(target)
    for path in (target, facts_file):
        if path.exists():
            raise InvalidInputError(f"{path} exists already; give --out a new name.")
    if check_model_file(Path(model), settings.factory) and not settings.trust_model:
        raise InvalidInputError(
            f"{model} is a TorchScript file, and guarding a model runs it in this process; give --trust-model if you trust "
            "its source, or give its weights with --factory."
        )
    inputs = find_inputs(clean, clean, settings)
    loading = {name: getattr(settings, name) for name in ("mean", "std", "factory", "factory_args", "trust_model")}
    classifier = load_classifier(model, inputs.reader.size, is_grey=inputs.reader.is_grey, **loading)
    shape = tuple(int(side) for side in classifier.input_shape)
    facts = ModelFacts(shape, bool(classifier.channels_first), int(classifier.nb_classes))
    note = fit_reader(inputs, facts, model)
    images = read_clean(inputs, facts, verbose)
    guarded = _detector(classifier, images.x, images.y, settings, detector, verbose)
    save_guard(GuardedModel(guarded), target, images.x)
    known = {
        "outputs": list(OUTPUTS),
        "rule": "An image is caught if its trigger_score is above 0; corrected_label is then the class that it comes from.",
        "input": {"shape": list(shape), "range": [0.0, 1.0], "note": note},
        "class_names": inputs.class_names,
        "target_class": inputs.class_names[guarded._target()],
        "margin_nats": guarded.margin_,
        "success_rate": guarded.success_rate_,
        "clean_margins": [float(value) for value in class_margins(collect_outputs(classifier, images.x))],
    }
    write_json(facts_file, known)
    return known


def _detector(
    classifier: Any, x: np.ndarray, y: np.ndarray, settings: DetectSettings, saved: str | Path | None, verbose: bool
) -> InFlightDetector:
    """The saved detector, or one for the backdoor that is found."""
    if saved is not None:
        return InFlightDetector.load(saved, classifier)
    options: dict[str, Any] = {"nb_steps": settings.nb_steps, "threshold": settings.threshold}
    found = invert_triggers(classifier, x, y, **options, random_state=settings.random_state, verbose=verbose)
    if found.target_class is None or found.trigger is None:
        raise InvalidInputError(f"{found.sentence()} There is nothing to guard against, so no file was written.")
    detector = InFlightDetector(classifier, found.trigger, found.target_class)
    detector.fit(x, y)
    return detector
