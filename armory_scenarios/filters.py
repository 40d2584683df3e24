"""
This package's filters and those of other authors, with what an Armory config cannot hand to a constructor: a cache, and
trusted samples. Configs name this module, so that they stay as they are when a class moves within the package.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from armory_scenarios.cache import cache_folder, fingerprint, saved_model_folder
from armory_scenarios.datasets import samples
from art_plugins.baselines.agpd import AGPD as UntrustingAGPD
from art_plugins.baselines.art_filters import ActivationClustering, SpectralSignatures
from art_plugins.baselines.confusion_training import ConfusionTraining as UntrustingConfusionTraining
from art_plugins.baselines.detector_filter import DetectorFilter as UntrustingDetectorFilter
from art_plugins.baselines.flare import FLARE
from art_plugins.baselines.label_issues import LabelIssues
from art_plugins.baselines.psbd import PSBD as UntrustingPSBD
from art_plugins.baselines.pyod_filter import PyODFilter
from art_plugins.baselines.spectre import SPECTRE
from art_plugins.defences.latent_clustering import VAELatentDefence as Uncached
from art_plugins.defences.layerwise import LayerwiseFeatureDefence as Untrusting
from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.shipped import is_shipped

__all__ = [
    "AGPD",
    "FLARE",
    "PSBD",
    "SPECTRE",
    "ActivationClustering",
    "ConfusionTraining",
    "DetectorFilter",
    "LabelIssues",
    "LayerwiseFeatureDefence",
    "PyODFilter",
    "SpectralSignatures",
    "VAELatentDefence",
]


class VAELatentDefence(Uncached):
    """
    :class:`art_plugins.VAELatentDefence` that keeps its autoencoder in the cache and takes it from there where the same one
    was trained before, such as for another ``scoring``.

    A relative path in ``autoencoder`` is looked for in the working directory, then in Armory's folder of saved models;
    ``"speech"`` is the one that comes with the package.
    """

    def detect_poison(self, ignored_classes: Sequence[int] = (), **kwargs: Any) -> tuple[dict[str, Any], list[int]]:
        """
        See :meth:`art_plugins.VAELatentDefence.detect_poison`.

        :param ignored_classes: Labels that are neither trained on nor judged, and all kept; the paper leaves ``_silence_``
            out, which is so unlike the words that no other class stands out beside it.
        """
        self.set_params(**kwargs)
        labels, nb_classes = self.labels()
        judged = ~np.isin(labels, list(ignored_classes))
        if judged.all():
            return self._detect_cached()
        one_hot = np.eye(nb_classes, dtype=np.float32)[labels[judged]]
        others = VAELatentDefence(self.classifier, self.x_train[judged], one_hot)
        others.set_params(**self.get_params())
        report, is_clean = others._detect_cached()
        self.is_clean_ = np.ones(len(labels), dtype=np.int64)
        self.is_clean_[judged] = is_clean
        return {**report, "ignored_classes": list(ignored_classes)}, [int(value) for value in self.is_clean_]

    def _detect_cached(self) -> tuple[dict[str, Any], list[int]]:
        if not self.is_to_train():
            if isinstance(self.autoencoder, (str, Path)) and not is_shipped(self.autoencoder):
                self.set_params(autoencoder=find_file(self.autoencoder))
            return super().detect_poison()
        file = cache_folder() / f"autoencoder-{fingerprint(self.x_train, self.training_settings())}.safetensors"
        if file.is_file():
            self.set_params(autoencoder=file)
            return super().detect_poison()
        found = super().detect_poison()
        self.autoencoder_.save(file)
        return found


class NamedTrusted:
    """A filter whose trusted samples a config can name. It stands before the filter among the base classes."""

    x_val: np.ndarray | None
    y_val: np.ndarray | None

    def detect_poison(self, trusted: dict[str, Any] | None = None, **kwargs: Any) -> tuple[dict[str, Any], list[int]]:
        """
        :param trusted: A block like a config's ``dataset``, with ``split``, such as ``"validation"``; ``None``: none.
        """
        if trusted is not None:
            self.x_val, self.y_val = samples(trusted)
        found: tuple[dict[str, Any], list[int]] = super().detect_poison(**kwargs)  # type: ignore[misc]  # of the filter
        return found


class LayerwiseFeatureDefence(NamedTrusted, Untrusting):
    """:class:`art_plugins.LayerwiseFeatureDefence` whose trusted samples a config can name."""


class PSBD(NamedTrusted, UntrustingPSBD):
    """:class:`art_plugins.baselines.psbd.PSBD`, likewise."""


class AGPD(NamedTrusted, UntrustingAGPD):
    """:class:`art_plugins.baselines.agpd.AGPD`, likewise."""


class ConfusionTraining(NamedTrusted, UntrustingConfusionTraining):
    """:class:`art_plugins.baselines.confusion_training.ConfusionTraining`, likewise."""


class DetectorFilter(NamedTrusted, UntrustingDetectorFilter):
    """:class:`art_plugins.baselines.detector_filter.DetectorFilter`, likewise."""


def find_file(name: str | Path) -> Path:
    """
    The file itself, or the one of that name among Armory's saved models.

    :raises InvalidInputError: If it is in neither place.
    """
    for path in (Path(name), saved_model_folder() / name):
        if path.is_file():
            return path
    raise InvalidInputError(f"{name} is neither in {Path.cwd()} nor in {saved_model_folder()}; copy the file there.")
