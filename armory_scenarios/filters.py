"""This package's filters with what an Armory config cannot hand to a constructor: a cache, and trusted samples."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from armory_scenarios.cache import cache_folder, fingerprint, saved_model_folder
from armory_scenarios.datasets import samples
from art_plugins.defences.latent_clustering import VAELatentDefence as Uncached
from art_plugins.defences.layerwise import LayerwiseFeatureDefence as Untrusting
from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.shipped import is_shipped


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


class LayerwiseFeatureDefence(Untrusting):
    """:class:`art_plugins.LayerwiseFeatureDefence` whose trusted samples a config can name."""

    def detect_poison(self, trusted: dict[str, Any] | None = None, **kwargs: Any) -> tuple[dict[str, Any], list[int]]:
        """
        :param trusted: A block like a config's ``dataset``, with ``split``, such as ``"validation"``; ``None``: none.
        """
        self.set_params(**kwargs)
        if trusted is not None:
            self.x_val, self.y_val = samples(trusted)
        return super().detect_poison()


def find_file(name: str | Path) -> Path:
    """
    The file itself, or the one of that name among Armory's saved models.

    :raises InvalidInputError: If it is in neither place.
    """
    for path in (Path(name), saved_model_folder() / name):
        if path.is_file():
            return path
    raise InvalidInputError(f"{name} is neither in {Path.cwd()} nor in {saved_model_folder()}; copy the file there.")
