"""The models that the configs attack: PyTorch networks whose training depends on data, settings and seed alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier

from armory_scenarios.cache import cache_folder
from armory_scenarios.checks import bind
from art_plugins.attacks.image_models import train_image_classifier
from art_plugins.attacks.model_cache import FILE_KIND, load_or_train
from art_plugins.attacks.training_loop import ImageTraining, Training
from art_plugins.attacks.waveform_models import train_classifier
from art_plugins.errors import FileFormatError, InvalidInputError
from art_plugins.features.classifiers import torch_module
from art_plugins.statistics.labels import class_labels
from art_plugins.storage import load_arrays


@dataclass(frozen=True)
class Network:
    """
    What ``model_kwargs`` says.

    :param network: A name in ``art_plugins.attacks.networks.NETWORKS``. Waveforms go through Armory's front end.
    :param input_shape: Shape of one sample: (S,) a waveform, (C, H, W) an image.
    :param width: Channels of the first stage, for images; ``None``: the network's own.
    """

    network: str
    input_shape: Sequence[int]
    nb_classes: int
    width: int | None = None


@dataclass(frozen=True)
class WrapperSettings:
    """
    What ``wrapper_kwargs`` says.

    :param learning_rate: The highest of the schedule; of Adam for waveforms, of stochastic gradient descent for images.
    :param augment: For images: ``True``, ``False`` or ``"crop"``. It moves the triggers of poisoned images as well.
    :param precision: ``"32-true"`` or ``"bf16-mixed"``.
    :param random_state: Seed of the weights and of the order; a config leaves it to the scenario's ``split_id``.
    """

    learning_rate: float
    augment: bool | str = False
    precision: str = "32-true"
    random_state: int = 0


def get_art_model(
    model_kwargs: dict[str, Any], wrapper_kwargs: dict[str, Any], weights_path: str | None = None
) -> SeededClassifier:
    """
    The function that Armory asks for.

    :param model_kwargs: See :class:`Network`.
    :param wrapper_kwargs: See :class:`WrapperSettings`.
    :param weights_path: A model that :meth:`SeededClassifier.fit` kept; never unpickled.
    :raises InvalidInputError: For unknown names or bad values.
    :raises FileFormatError: If the weights are damaged, or another network's.
    """
    network: Network = bind(Network, model_kwargs, "model_kwargs")
    training: WrapperSettings = bind(WrapperSettings, wrapper_kwargs, "wrapper_kwargs")
    blank = np.zeros((2, *network.input_shape), dtype=np.float32)
    untrained = _trainer(network)(
        blank, np.arange(2), network.nb_classes, _training(network, training, batch_size=2, nb_epochs=0)
    )
    classifier = SeededClassifier(
        model=torch_module(untrained),
        loss=untrained.loss,
        optimizer=untrained.optimizer,
        input_shape=tuple(network.input_shape),
        nb_classes=network.nb_classes,
        clip_values=untrained.clip_values,
    )
    classifier.network, classifier.training = network, training
    if weights_path is not None:
        classifier.load(weights_path)
    return classifier


class SeededClassifier(PyTorchClassifier):  # type: ignore[misc]  # ART has no type hints for mypy
    """
    ART's classifier, with a :meth:`fit` that starts anew, is seeded, leaves the global generators alone, and takes a model
    from the cache where the same one was trained before, such as by another config on the same poisoned data.
    """

    network: Network
    training: WrapperSettings

    def fit(
        self,
        x: np.ndarray,
        y: np.ndarray,
        batch_size: int = 128,
        nb_epochs: int = 10,
        verbose: bool = False,
        shuffle: bool = True,
    ) -> None:
        """
        :param x: (n, ...), as ``input_shape`` says.
        :param y: (n,) or one-hot.
        :param shuffle: Must be true.
        :raises InvalidInputError: For bad data or parameters.
        """
        if not shuffle:
            raise InvalidInputError("shuffle must be true: a network is not trained class by class.")
        labels, _ = class_labels(y, len(x))
        trained = load_or_train(
            cache_folder(),
            _trainer(self.network),
            x=np.ascontiguousarray(x, dtype=np.float32),
            y=labels,
            nb_classes=self.network.nb_classes,
            training=_training(self.network, self.training, batch_size=batch_size, nb_epochs=nb_epochs),
            verbose=verbose,
        )
        torch_module(self).load_state_dict(torch_module(trained).state_dict())

    def load(self, path: str | Path) -> None:
        """
        Take over the weights of a file of the cache.

        :raises FileFormatError: If it is damaged, or another network's.
        """
        weights, _ = load_arrays(path, FILE_KIND)
        try:
            torch_module(self).load_state_dict({name: torch.from_numpy(array) for name, array in weights.items()})
        except RuntimeError as error:
            raise FileFormatError(f"{path} holds the weights of another network: {error}") from error


def _is_for_waveforms(network: Network) -> bool:
    return len(network.input_shape) == 1


def _trainer(network: Network) -> Any:
    return train_classifier if _is_for_waveforms(network) else train_image_classifier


def _training(network: Network, wrapper: WrapperSettings, **loop: int) -> Training:
    """
    The settings of a training, of the kind that the data are of.

    :param loop: ``batch_size`` and ``nb_epochs``.
    """
    given = {**vars(wrapper), "network": network.network, "width": network.width, **loop}
    kind = Training if _is_for_waveforms(network) else ImageTraining
    taken = [field.name for field in fields(kind)]
    dropped = [name for name, value in given.items() if name not in taken and value]
    if dropped:
        raise InvalidInputError(f"{', '.join(dropped)} is for images; leave it out for waveforms.")
    return kind(**{name: value for name, value in given.items() if name in taken and value is not None})
