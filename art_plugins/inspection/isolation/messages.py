"""
Messages between a detection and the process of its model: JSON and arrays of bounded size, never a pickle.

A stranger may control what comes from the model's process, so every value is checked before it is used.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import safetensors.numpy

from art_plugins.errors import InvalidInputError
from art_plugins.inspection.evidence.network import Labelled, LayerFindings, LayerSearch
from art_plugins.inspection.isolation.judge import FittedDetector, FittedLayers, Judgement, LayerJudgement, ModelFacts
from art_plugins.triggers.found import Inversion, InvertedTriggers
from art_plugins.triggers.inversion import KINDS

LENGTHS = 16  # bytes before a message: the lengths of the JSON and of the arrays
MAX_JSON = 2**20
MAX_REASON = 600  # letters of an error
MOST_GROUPS = 1_000  # that the layers of a model may show
ARRAYS_OF_KIND = tuple(name for name in InvertedTriggers._fields if name not in ("kind", "clip_values"))
TYPES = dict.fromkeys(("broke_off", "unfinished", "screened"), "b") | {"stands_for": "i"}  # of arrays of no floats


class Message(NamedTuple):
    """``values``: JSON-safe; ``arrays`` by name."""

    values: dict[str, Any]
    arrays: dict[str, np.ndarray]


def packed(values: Mapping[str, Any], arrays: Mapping[str, np.ndarray] | None = None) -> bytes:
    """The message as bytes, which begin with the lengths of both parts."""
    text = json.dumps(dict(values)).encode()
    rest = safetensors.numpy.save({name: np.ascontiguousarray(array) for name, array in (arrays or {}).items()})
    return len(text).to_bytes(8, "little") + len(rest).to_bytes(8, "little") + text + rest


def lengths(start: bytes, limit: int) -> tuple[int, int]:
    """
    Read the lengths of both parts of a message.

    :param start: The first 16 bytes.
    :param limit: Most bytes of the arrays.
    :raises InvalidInputError: If the message is longer.
    """
    text, rest = int.from_bytes(start[:8], "little"), int.from_bytes(start[8:16], "little")
    if text > MAX_JSON or rest > limit:
        raise unexpected(f"{max(text, rest)} bytes at once")
    return text, rest


def unpacked(text: bytes, rest: bytes) -> Message:
    """
    Read both parts of a message.

    :raises InvalidInputError: If they are no message.
    """
    try:
        values = json.loads(text)
        arrays = safetensors.numpy.load(rest)
    except Exception as error:  # safetensors has its own
        raise unexpected("what cannot be read") from error
    if not isinstance(values, dict):
        raise unexpected("what cannot be read")
    return Message(values, arrays)


def unexpected(what: str) -> InvalidInputError:
    """The error for a process that does not follow the rules."""
    return InvalidInputError(f"The process of the model gave back {what}: this model is not to be trusted.")


def array(message: Message, name: str, kind: str, *shape: int) -> np.ndarray:
    """
    An array of a message, which must have one of these kinds of type (``"f"``, ``"i"``, ``"b"``) and this shape.

    :raises InvalidInputError: If it does not.
    """
    found = message.arrays.get(name)
    if found is None or found.dtype.kind not in kind or found.shape != shape:
        raise unexpected(f"no {name} of shape {shape}")
    return found


def number(value: Any, low: float, high: float) -> Any:
    """
    Check a number of a message.

    :raises InvalidInputError: If the value is no number from ``low`` to ``high``.
    """
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
        raise unexpected("a number out of its range")
    return value


def pack_search(search: LayerSearch) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The values and the arrays of what is looked for at the layers, for a message."""
    arrays = {"x": search.data.x, "y": search.data.labels}
    if search.trusted is not None:
        arrays |= {"x_val": search.trusted.x, "y_val": search.trusted.labels}
    return {"false_alarm_rate": search.false_alarm_rate, "random_state": search.random_state}, arrays


def unpack_search(values: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> LayerSearch:
    """What :func:`pack_search` has packed. It comes from the process of the scan, which is trusted, and is not checked."""
    trusted = Labelled(arrays["x_val"], arrays["y_val"]) if "x_val" in arrays else None
    return LayerSearch(Labelled(arrays["x"], arrays["y"]), trusted=trusted, **values)


def unpack_findings(message: Message, n: int, nb_classes: int) -> LayerFindings:
    """
    What the layers show, in a message.

    :param n: Number of samples.
    :raises InvalidInputError: If the message holds no such findings.
    """
    groups = message.values.get("groups")
    if not isinstance(groups, list) or len(groups) > MOST_GROUPS:
        raise unexpected("no groups")
    found = []
    for one in groups:
        classes = one.get("classes") if isinstance(one, dict) else None
        if not isinstance(classes, list) or one.get("verdict") not in ("poison", "look here"):
            raise unexpected("no group")
        if not isinstance(one.get("by_content"), bool):
            raise unexpected("a group without its reason")
        found.append(
            {
                "verdict": one["verdict"],
                "p_value": float(number(one.get("p_value"), 0, 1)),
                "classes": [int(number(label, 0, nb_classes - 1)) for label in classes],
                "by_content": one["by_content"],
                "drawn_from": float(number(one.get("drawn_from"), 0, 1)),
                "n_trusted": int(number(one.get("n_trusted"), 0, 2**40)),
                "n_trusted_inside": int(number(one.get("n_trusted_inside"), 0, 2**40)),
            }
        )
    members, scores = array(message, "members", "b", len(found), n), array(message, "scores", "f", n)
    if not np.isfinite(scores).all():
        raise unexpected("scores that are not finite")
    return LayerFindings(found, members, scores, array(message, "is_clean", "b", n))


def pack_inversion(inversion: Inversion) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """The values and the arrays of an inversion, for a message."""
    arrays = {"expected_distances": inversion.expected_distances, "anomaly_index": inversion.anomaly_index}
    for group in ("inverted", "by_source"):
        for one in getattr(inversion, group):
            states = {
                name: np.full(len(one.norms), name == "stands_for", dtype=np.int64 if kind == "i" else bool)
                for name, kind in TYPES.items()
                if not len(getattr(one, name))
            }
            found = {name: getattr(one, name) for name in ARRAYS_OF_KIND} | states
            arrays |= {f"{group}.{one.kind}.{name}": values for name, values in found.items()}
    names = ("target_class", "kind", "success_rate", "source_class")
    values = {name: getattr(inversion, name) for name in names}
    return {**values, "kinds": [one.kind for one in inversion.inverted]}, arrays


def unpack_inversion(message: Message, facts: ModelFacts) -> Inversion:
    """
    The inversion in a message.

    :raises InvalidInputError: If the message holds no inversion of such a model.
    """
    k, shape, values = facts.nb_classes, facts.input_shape, message.values
    kinds = values.get("kinds")
    if not isinstance(kinds, list) or not kinds or any(kind not in KINDS for kind in kinds):
        raise unexpected("an unknown kind of pattern")

    def group(name: str) -> tuple[InvertedTriggers, ...]:
        parts = []
        for kind in kinds:
            mask = message.arrays.get(f"{name}.{kind}.masks", np.zeros(0)).shape
            if len(mask) != 1 + len(shape) or any(a not in (1, b) for a, b in zip(mask, (k, *shape), strict=True)):
                raise unexpected("masks of another shape")
            shapes = {"masks": mask, "patterns": (k, *shape)}
            arrays = {
                part: array(message, f"{name}.{kind}.{part}", TYPES.get(part, "f"), *shapes.get(part, (k,)))
                for part in ARRAYS_OF_KIND
            }
            if not (np.isfinite(arrays["masks"]).all() and np.isfinite(arrays["patterns"]).all()):
                raise unexpected("patterns that are not finite")
            parts.append(InvertedTriggers(kind=kind, clip_values=(0.0, 1.0), **arrays))
        return tuple(parts)

    index, expected = array(message, "anomaly_index", "f", k), array(message, "expected_distances", "f", k)
    inverted, target, source = group("inverted"), values.get("target_class"), values.get("source_class")
    if target is None:
        return Inversion(inverted, expected, index, None, None, None)
    if values.get("kind") not in kinds or not isinstance(target, int) or not isinstance(source, (int, type(None))):
        raise unexpected("an unknown class")
    number(target, 0, k - 1)
    if source is not None:
        number(source, 0, k - 1)
    rate = float(number(values.get("success_rate"), 0, 1))
    return Inversion(inverted, expected, index, target, values["kind"], rate, group("by_source"), source)


def unpack_fitted(message: Message) -> FittedDetector:
    """
    The fitted detector in a message.

    :raises InvalidInputError: If the message holds none.
    """
    values = message.values
    parameters, settings = values.get("parameters"), values.get("settings")
    if not isinstance(parameters, dict) or not isinstance(settings, dict):
        raise unexpected("no parameters")
    if any(entry.dtype.kind not in "fib" for entry in message.arrays.values()):
        raise unexpected("arrays of another type")
    margin = float(number(values.get("margin"), 0, 1e300))
    return FittedDetector(float(number(values.get("success_rate"), 0, 1)), margin, parameters, message.arrays, settings)


def unpack_layers(message: Message, fpr: float) -> FittedLayers:
    """
    The layer-wise detector in a message.

    :raises InvalidInputError: If the message holds neither a detector of this false-positive rate nor a reason.
    """
    values = message.values
    layers, problem = values.get("layers"), values.get("problem")
    if not isinstance(layers, list) or not all(isinstance(name, str) for name in layers):
        raise unexpected("no names of layers")
    if not isinstance(problem, (str, type(None))):
        raise unexpected("no reason")
    shown = None if problem is None else printable(problem)
    n_clean = int(number(values.get("n_clean"), 0 if problem is not None else 1, 2**40))
    threshold, median = (float(number(values.get(name), -1e300, 1e300)) for name in ("threshold", "median"))
    return FittedLayers(fpr, threshold, median, n_clean, layers, shown)


def printable(text: str) -> str:
    """A sentence of the model's process without characters that control the terminal, and of bounded length."""
    return "".join(letter if letter.isprintable() else " " for letter in text)[:MAX_REASON]


def pack_judgement(judgement: Judgement) -> dict[str, np.ndarray]:
    """The arrays of a judgement, for a message."""
    arrays = judgement._asdict()
    layers: LayerJudgement | None = arrays.pop("layers")
    return arrays if layers is None else {**arrays, **{f"layers.{name}": one for name, one in layers._asdict().items()}}


def unpack_judgement(message: Message, n: int, nb_classes: int, by_layers: bool = False) -> Judgement:
    """
    The judgement in a message.

    :param by_layers: Whether there is a layer-wise detector.
    :raises InvalidInputError: If the message holds no judgement of ``n`` images.
    """
    predicted, source = array(message, "predicted", "i", n), array(message, "source", "i", n)
    is_trigger, scores = array(message, "is_trigger", "b", n), array(message, "scores", "f", n)
    in_range = ((predicted >= 0) & (predicted < nb_classes) & (source >= -1) & (source < nb_classes)).all()
    if not in_range or (is_trigger & ((source < 0) | ~np.isfinite(scores))).any():
        raise unexpected("classes that do not exist, or caught images without class or score")
    return Judgement(
        predicted, is_trigger, source, scores, _unpack_layer_judgement(message, n, nb_classes) if by_layers else None
    )


def _unpack_layer_judgement(message: Message, n: int, nb_classes: int) -> LayerJudgement:
    scores = array(message, "layers.scores", "f", n)
    if np.isnan(scores).any() or np.isneginf(scores).any():
        raise unexpected("scores that are no numbers")
    stands_out, contradicts = (array(message, f"layers.{name}", "b", n) for name in ("stands_out", "contradicts"))
    likely, probability = array(message, "layers.likely_class", "i", n), array(message, "layers.likely_probability", "f", n)
    if not ((likely >= -1) & (likely < nb_classes) & (probability >= 0) & (probability <= 1)).all():
        raise unexpected("classes that do not exist, or probabilities that are none")
    return LayerJudgement(scores, stands_out, contradicts, likely, probability)
