"""What a detection asks of a model. The interface is the same for a model in this process and in the sandbox."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch

from art_plugins.defences.flight.densities import density_settings
from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
from art_plugins.errors import ArtPluginsError, InvalidInputError
from art_plugins.features.activations import hidden_layers, logits_and_hidden
from art_plugins.files.model_files import load_classifier, script_classifier
from art_plugins.files.script_safety import load_script
from art_plugins.files.scripted_network import show_layers
from art_plugins.inspection.evidence.network import Labelled, LayerFindings, LayerSearch, look_at_layers
from art_plugins.inspection.isolation.images import to_images
from art_plugins.triggers.found import Inversion
from art_plugins.triggers.inversion import invert_triggers

BATCH_SIZE = 256
MOST_FOR_LAYERS = (
    10_000  # clean images; the time grows with their number and that of the classes, so 1,000 classes get 10 each
)


class ModelFacts(NamedTuple):
    """
    ``input_shape``: of one image, or (S,) of a waveform; ``channels_first``: whether its channels come first;
    ``nb_classes``.
    """

    input_shape: tuple[int, ...]
    channels_first: bool
    nb_classes: int


class FittedDetector(NamedTuple):
    """
    A fitted :class:`InFlightDetector` without its model.

    ``success_rate`` and ``margin`` (nats): as of the detector; ``parameters``: its parameters and layers, for the record;
    ``arrays`` and ``settings``: what its file holds.
    """

    success_rate: float
    margin: float
    parameters: dict[str, Any]
    arrays: dict[str, np.ndarray]
    settings: dict[str, Any]


class FittedLayers(NamedTuple):
    """
    A fitted :class:`LayerwiseFeatureDetector` without its model, or why there is none.

    ``fpr``: share of clean images that stand out; ``threshold``: images with a higher score stand out; ``median``: of the
    scores of the clean images; ``n_clean``: number of clean images that it was fitted on; ``layers``: names of the layers
    that are looked at; ``problem``: why it could not be fitted, in sentences, else ``None``.
    """

    fpr: float
    threshold: float
    median: float
    n_clean: int
    layers: list[str]
    problem: str | None = None


class LayerJudgement(NamedTuple):
    """
    The layer-wise detector's report on a batch, (n,) each.

    ``scores``: higher is more suspicious, infinite for images that are not finite; ``stands_out``: whether the score is
    above the threshold; ``contradicts``: whether the image contradicts itself; ``likely_class``: what it probably shows,
    if not the class that the model gives it, -1 if that is not known, and ``likely_probability``.
    """

    scores: np.ndarray
    stands_out: np.ndarray
    contradicts: np.ndarray
    likely_class: np.ndarray
    likely_probability: np.ndarray


class Judgement(NamedTuple):
    """
    The reports of both detectors on a batch, (n,) each. ``is_trigger``, ``source`` and ``scores`` are those of the
    in-flight detector: for an image that it does not catch, ``source`` is -1, and the score may be NaN. ``layers``: the
    report of the layer-wise detector, ``None`` if it could not be fitted.
    """

    predicted: np.ndarray
    is_trigger: np.ndarray
    source: np.ndarray
    scores: np.ndarray
    layers: LayerJudgement | None = None


class Judge(Protocol):
    """A model; its methods are called in this order."""

    @property
    def facts(self) -> ModelFacts:
        """The shape of the images that the model takes, and its number of classes."""

    def show_clean(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Outputs (n, K) for clean images (n, ...); the images and their labels (n,) are kept for the next calls."""

    def invert(self, nb_steps: int, threshold: float, random_state: int, verbose: bool) -> Inversion:
        """See :func:`~art_plugins.triggers.inversion.invert_triggers`."""

    def fit(self) -> FittedDetector:
        """A detector for the backdoor that was found."""

    def fit_layers(self, fpr: float, random_state: int) -> FittedLayers:
        """A layer-wise detector, fitted on the clean images, which lets a share ``fpr`` of clean images stand out."""

    def detect(self, x: np.ndarray) -> Judgement:
        """Judge images (n, ...) by those detectors that have been fitted, at least one."""

    def look_at_layers(self, search: LayerSearch) -> LayerFindings:
        """
        See :func:`~art_plugins.inspection.evidence.network.look_at_layers`; the pictures are bytes, (n, H, W) or
        (n, H, W, 3). This may be called alone.
        """


class ModelJudge:
    """A :class:`Judge` in this process."""

    def __init__(self, classifier: Any) -> None:
        self.classifier = classifier
        self._detector: InFlightDetector | None = None
        self._layers: LayerwiseFeatureDetector | None = None

    @classmethod
    def from_file(cls, path: Path, size: Sequence[int], options: Mapping[str, Any]) -> ModelJudge:
        """See :func:`load_classifier`, also for the options."""
        return cls(load_classifier(path, size, **options))

    @classmethod
    def from_script(
        cls,
        source: bytes,
        name: str,
        size: Sequence[int],
        is_grey: bool,
        mean: Sequence[float] | None,
        std: Sequence[float] | None,
    ) -> ModelJudge:
        """From the content of a TorchScript file, on the processor (a graphics card needs access to its device files)."""
        device = torch.device("cpu")
        script = load_script(source, name, device)
        return cls(script_classifier(script, size, is_grey=is_grey, mean=mean, std=std, device=device))

    @property
    def facts(self) -> ModelFacts:
        """The shape of the images that the model takes, and its number of classes."""
        shape = tuple(int(side) for side in self.classifier.input_shape)
        return ModelFacts(shape, bool(self.classifier.channels_first), int(self.classifier.nb_classes))

    def show_clean(self, x: np.ndarray, y: np.ndarray) -> np.ndarray:
        """See :class:`Judge`."""
        self._x, self._y = x, y
        outputs, _ = logits_and_hidden(self.classifier, x, hidden_layers(self.classifier, x, 1), BATCH_SIZE)
        return outputs

    def invert(self, nb_steps: int, threshold: float, random_state: int, verbose: bool) -> Inversion:
        """See :class:`Judge`."""
        self._inversion = invert_triggers(
            self.classifier,
            self._x,
            self._y,
            nb_steps=nb_steps,
            threshold=threshold,
            random_state=random_state,
            verbose=verbose,
        )
        return self._inversion

    def fit(self) -> FittedDetector:
        """See :class:`Judge`."""
        trigger, target = self._inversion.trigger, self._inversion.target_class
        assert trigger is not None
        assert target is not None
        detector = self._detector = InFlightDetector(self.classifier, trigger, target)
        detector.fit(self._x, self._y)
        arrays, settings = detector.saved_parts()
        parameters = {**detector.tunables(), **density_settings(detector.density), "layers": detector.layers_}
        del parameters["density"]
        return FittedDetector(detector.success_rate_, detector.margin_, parameters, arrays, settings)

    def fit_layers(self, fpr: float, random_state: int) -> FittedLayers:
        """See :class:`Judge`."""
        rows = evenly(self._y, MOST_FOR_LAYERS)
        problem = too_few_for(fpr, len(rows), "images" if len(self.facts.input_shape) == 3 else "clips")
        if problem is None:
            try:
                options: dict[str, Any] = {"fpr": fpr, "random_state": random_state, "layers": layers_of(self.classifier)}
                detector = LayerwiseFeatureDetector(self.classifier, **options)
                detector.fit(self._x[rows], self._y[rows])
            except ArtPluginsError as error:
                problem = str(error)
        if problem is not None:
            return FittedLayers(fpr, 0.0, 0.0, 0, [], problem)
        self._layers = detector
        scores = detector.benign_scores_
        return FittedLayers(fpr, detector.threshold_, float(np.median(scores)), len(scores), list(detector.layers_))

    def detect(self, x: np.ndarray) -> Judgement:
        """See :class:`Judge`."""
        by_layers = None
        if self._layers is not None:
            layers, stands_out = self._layers.detect(x)
            likely = layers["likely_class"], layers["likely_probability"]
            by_layers = LayerJudgement(layers["outlier_scores"], stands_out, layers["contradicts"], *likely)
            predicted = layers["predicted_class"]
        if self._detector is None:
            nothing = np.zeros(len(x), dtype=bool)
            return Judgement(predicted, nothing, np.full(len(x), -1), np.full(len(x), np.nan), by_layers)
        report, is_trigger = self._detector.detect(x)
        judged = (report["predicted_class"], is_trigger, report["source_class"], report["outlier_scores"])
        return Judgement(*judged, by_layers)

    def look_at_layers(self, search: LayerSearch) -> LayerFindings:
        """See :class:`Judge`."""

        def as_taken(given: Labelled) -> Labelled:
            return Labelled(to_images(given.x, self.facts.channels_first), given.labels)

        trusted = None if search.trusted is None else as_taken(search.trusted)
        search = search._replace(data=as_taken(search.data), trusted=trusted)
        return look_at_layers(self.classifier, search, show_layers(self.classifier.model))


def layers_of(classifier: Any) -> list[str] | None:
    """The activation functions of a script; ``None``: the blocks of the network, or what else can be seen of a script."""
    try:
        return show_layers(classifier.model)
    except InvalidInputError:  # it has none that is known
        return None


def evenly(labels: np.ndarray, most: int) -> np.ndarray:
    """
    Rows of at most ``most`` images, in ascending order: the first ones of each class, equally many of each if there are.

    :param labels: Class of each image, (n,).
    """
    if len(labels) <= most:
        return np.arange(len(labels))
    order = np.argsort(labels, kind="stable")
    sizes = np.unique(labels, return_counts=True)[1]
    place = np.concatenate([np.arange(size) for size in sizes])  # of an image within its class
    return np.sort(order[place < max(1, most // len(sizes))])


def too_few_for(fpr: float, n_clean: int, what: str = "images") -> str | None:
    """
    Why the clean images cannot tell which score a share ``fpr`` of them exceeds; ``None`` if they can.

    :param n_clean: Number of clean images of all classes.
    :param what: What they are, for the sentence.
    """
    needed = int(np.ceil(round(1 / fpr, 6)))
    if n_clean >= needed:
        return None
    return (
        f"There are {n_clean} clean {what}, and a threshold that {fpr:g} of them exceed needs at least {needed}; give more "
        f"{what} with --clean, or a higher --false-alarm-rate."
    )
