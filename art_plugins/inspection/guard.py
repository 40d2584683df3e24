"""A model file and clean images become one file: the model with its detector inside."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.defences.guard_files import check_guard_path, save_guard
from art_plugins.defences.guarded_model import LAYER_SCORE, GuardedModel
from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import collect_outputs
from art_plugins.files.image_files import ImageReader
from art_plugins.files.model_files import check_model_file, load_classifier
from art_plugins.inspection.detect_inputs import find_inputs, fit_reader, read_clean
from art_plugins.inspection.isolation.judge import ModelFacts, layers_of, too_few_for
from art_plugins.inspection.settings import DetectSettings
from art_plugins.inspection.verdicts.images import share_of_layers
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
    layers: bool = False,
    verbose: bool = True,
) -> dict[str, Any]:
    """
    Look for a backdoor in a model, and write the model with a detector for it as one file that runs without this package.

    It has seven parameters, because each is an independent choice.

    Beside the file ``out`` there is ``out`` with the ending ``.json``, which says how to read the outputs, and holds the
    clean margins for a :class:`~art_plugins.statistics.drift.DriftMonitor`.

    :param model: The model file, as for :func:`~art_plugins.files.model_files.load_classifier`. A TorchScript file
        has to be trusted, because it runs in this process.
    :param clean: One folder for each class, with 10 to 100 clean images.
    :param out: New file; its ending gives the format (see :func:`~art_plugins.defences.guard_files.save_guard`).
    :param settings: How the model and the images are read, and how the trigger is searched for; ``None``: the defaults.
    :param detector: File of a detector that was saved for this model; ``None``: a backdoor is searched for.
    :param layers: Put a layer-wise detector into the file as well, which needs no pattern. A model of which no pattern of a
        backdoor is known then gets this detector alone.
    :param verbose: Show progress bars.
    :return: What the JSON file holds.
    :raises InvalidInputError: For bad arguments, a model or folder that cannot be used, an output that exists, a model
        without a backdoor (unless ``layers``), one that cannot be exported, or too few clean images for the layers.
    :raises MissingPackageError: For ONNX without its packages.
    """
    settings = settings or DetectSettings()
    target, facts_file = Path(out), Path(f"{out}.json")
    _check(model, (target, facts_file), settings)
    inputs = find_inputs(clean, clean, replace(settings, kind="image"))
    assert isinstance(inputs.reader, ImageReader)
    loading = {name: getattr(settings, name) for name in ("mean", "std", "factory", "factory_args", "trust_model")}
    classifier = load_classifier(model, inputs.reader.size, is_grey=inputs.reader.is_grey, **loading)
    shape = tuple(int(side) for side in classifier.input_shape)
    facts = ModelFacts(shape, bool(classifier.channels_first), int(classifier.nb_classes))
    note = fit_reader(inputs, facts, model)
    images = read_clean(inputs, facts, verbose)
    guard = _guard(classifier, images.x, images.y, settings, detector, layers, verbose)
    save_guard(guard, target, images.x)
    known = {
        "outputs": list(guard.outputs),
        **_facts(guard, inputs.class_names),
        "input": {"shape": list(shape), "range": [0.0, 1.0], "note": note},
        "class_names": inputs.class_names,
        "clean_margins": [float(value) for value in class_margins(collect_outputs(classifier, images.x))],
    }
    write_json(facts_file, known)
    return known


def _check(model: str | Path, files: tuple[Path, Path], settings: DetectSettings) -> None:
    """
    Check the files before any work.

    :param files: The new file of the model, and the one with the facts.
    """
    check_guard_path(files[0])
    for path in files:
        if path.exists():
            raise InvalidInputError(f"{path} exists already; give --out a new name.")
    is_script = check_model_file(Path(model), settings.factory)
    if is_script and files[0].suffix != ".pt":
        raise InvalidInputError(
            f"{model} is a TorchScript file, and only TorchScript holds such a model; give --out a name that ends in .pt."
        )
    if is_script and not settings.trust_model:
        raise InvalidInputError(
            f"{model} is a TorchScript file, and guarding a model runs it in this process; give --trust-model if you trust "
            "its source, or give its weights with --factory."
        )


def _facts(guard: GuardedModel, names: list[str]) -> dict[str, Any]:
    """The rules in words, and what is known of the backdoor; the target is ``None`` if no pattern is known."""
    rules = []
    found: dict[str, Any] = {"target_class": None, "margin_nats": None, "success_rate": None}
    if guard.detector is not None:
        rules.append(
            "An image is caught if its trigger_score is above 0; corrected_label is then the class that it comes from."
        )
        found = {
            "target_class": names[guard.detector._target()],
            "margin_nats": guard.detector.margin_,
            "success_rate": guard.detector.success_rate_,
        }
    if LAYER_SCORE in guard.outputs:
        rules.append("An image stands out at the layers if its layer_score is above 0.")
    return {"rule": " ".join(rules), **found}


def _guard(
    classifier: Any,
    x: np.ndarray,
    y: np.ndarray,
    settings: DetectSettings,
    saved: str | Path | None,
    with_layers: bool,
    verbose: bool,
) -> GuardedModel:
    """The model with the saved detector, or with one for the backdoor that is found, and with the layers if wanted."""
    if saved is not None:
        detector: InFlightDetector | None = InFlightDetector.load(saved, classifier)
    else:
        options: dict[str, Any] = {"nb_steps": settings.nb_steps, "threshold": settings.threshold}
        found = invert_triggers(classifier, x, y, **options, random_state=settings.random_state, verbose=verbose)
        detector = None
        if found.target_class is not None and found.trigger is not None:
            detector = InFlightDetector(classifier, found.trigger, found.target_class)
            detector.fit(x, y)
        elif not with_layers:
            raise InvalidInputError(
                f"{found.sentence()} There is nothing to guard against, so no file was written; --layers guards by the "
                "layers, which need no pattern."
            )
    if not with_layers:
        return GuardedModel(detector)
    fpr = share_of_layers(settings.false_alarm_rate, detector is not None)
    problem = too_few_for(fpr, len(x))
    if problem is not None:
        raise InvalidInputError(f"The layer-wise detector could not be fitted. {problem}")
    names = layers_of(classifier)
    layers = LayerwiseFeatureDetector(classifier, layers=names, fpr=fpr, random_state=settings.random_state)
    layers.fit(x, y)
    return GuardedModel(detector, layers)
