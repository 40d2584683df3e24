"""One verdict for each image, from the in-flight detector and from the layer-wise one."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_plugins.inspection.isolation.judge import FittedLayers
from art_plugins.inspection.judged import Judged
from art_plugins.inspection.verdicts.by_layers import LayerVerdict, layer_verdict

PATTERN, LAYERS, BOTH = "pattern", "layers", "pattern and layers"
LEAST_SURE = 0.5  # probability of a source class that is named: it is then likelier than all other classes together


class ImageVerdicts(NamedTuple):
    """
    Which of n images are caught, and by what: ``by_pattern`` (n,), bool, by the in-flight detector, which knows the pattern
    that was found; ``by_layers`` (n,), bool, by the layer-wise detector. ``layers``: what the layers say of all images
    together; ``None`` without a layer-wise detector.
    """

    by_pattern: np.ndarray
    by_layers: np.ndarray
    layers: LayerVerdict | None

    @property
    def is_caught(self) -> np.ndarray:
        """Whether one detector or both catch the image, (n,), bool."""
        caught: np.ndarray = self.by_pattern | self.by_layers
        return caught

    def found_by(self, row: int) -> str:
        """Which detector catches the image, in words."""
        if self.by_pattern[row]:
            return BOTH if self.by_layers[row] else PATTERN
        return LAYERS

    def source(self, judged: Judged, row: int) -> tuple[int, float | None] | None:
        """
        The class that a caught image probably shows, and how probable the layers say that it is; ``None``: it is not known.

        The pattern, once removed, says more than the layers, so they are asked only where it does not catch the image.
        """
        if self.by_pattern[row]:
            return (int(judged.source[row]), None) if judged.source[row] >= 0 else None
        if judged.layers is None or not judged.layers.likely_probability[row] >= LEAST_SURE:
            return None
        return int(judged.layers.likely_class[row]), float(judged.layers.likely_probability[row])

    def counts(self) -> dict[str, int]:
        """Number of images that are caught: by either, by each."""
        return {
            "caught": int(self.is_caught.sum()),
            "caught_by_pattern": int(self.by_pattern.sum()),
            "caught_by_layers": int(self.by_layers.sum()),
        }


def share_of_layers(false_alarm_rate: float, has_pattern: bool) -> float:
    """
    The share of images without a trigger that the layers may catch: half of the accepted rate if the in-flight detector
    judges the images as well, since an image is caught if one of both catches it; else the whole rate.

    The in-flight detector takes its margin from stamped images, not from a rate. It can catch only images that the model
    sends to the target class, which is about one clean image in K with K classes, and few of these.
    """
    return false_alarm_rate / 2 if has_pattern else false_alarm_rate


def image_verdicts(judged: Judged, fitted: FittedLayers, false_alarm_rate: float) -> ImageVerdicts:
    """
    Catch the images that the in-flight detector catches, and those that stand out at the layers. If the images are of
    another kind than the trusted ones, many stand out without any trigger; then only those that contradict themselves are
    caught by the layers.
    """
    if judged.layers is None or not judged.files:
        return ImageVerdicts(judged.is_trigger, np.zeros(len(judged.files), dtype=bool), None)
    verdict = layer_verdict(judged.layers, fitted, false_alarm_rate)
    by_layers = judged.layers.contradicts if verdict.is_different else judged.layers.stands_out
    return ImageVerdicts(judged.is_trigger, by_layers, verdict)
