"""Trains image classifiers with a backdoor, which defences are tested on. The trigger is stamped after augmenting."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn
from torch.nn import functional

from art_plugins.attacks.model_cache import load_or_train
from art_plugins.attacks.networks import NETWORKS
from art_plugins.attacks.poisoning import PoisonedData
from art_plugins.attacks.training_loop import IMAGE_TRAINING, ImageTraining, run_epochs
from art_plugins.errors import InvalidInputError
from art_plugins.features.devices import make_fabric
from art_plugins.features.vae.training import seeded
from art_plugins.statistics.labels import class_labels

if TYPE_CHECKING:
    from lightning.fabric import Fabric

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4
BY_ADAM = ("vit",)  # networks that stochastic gradient descent trains far more slowly
ADAM_WEIGHT_DECAY = 0.05  # usual for vision transformers


def train_image_classifier(
    x: np.ndarray,
    y: np.ndarray,
    nb_classes: int,
    training: ImageTraining = IMAGE_TRAINING,
    *,
    trigger: Callable[[np.ndarray], np.ndarray] | Sequence[Callable[[np.ndarray], np.ndarray]] | None = None,
    is_poison: np.ndarray | None = None,
    fabric: Fabric | None = None,
    verbose: bool = False,
) -> PyTorchClassifier:
    """
    Train a classifier of images by stochastic gradient descent with Nesterov momentum .9 and weight decay 5e-4; a vision
    transformer by AdamW with weight decay .05.

    The learning rate rises over the first tenth of the steps and falls to 0 along a cosine. Li et al. 2022 halve it every
    50 of 150 epochs; this schedule needs fewer epochs.

    The images are held on the device. Each epoch leaves out a random part that does not fill a batch.

    :param x: Clean images (n, C, H, W), 0 to 1.
    :param y: Labels, (n,), (n, 1) or one-hot; those of poisoned images are already the attack's.
    :param trigger: Stamped on the rows in ``is_poison``, *after* augmenting: a crop or a mirror image of a stamped image
        would move the trigger, and the backdoor would be of another kind than the test images ask for. Several triggers
        come as a sequence.
    :param is_poison: Which images get the trigger, (n,) bool; needs ``trigger``. For several triggers: the number of the
        trigger of each image, (n,) int64, from 1; 0: the image gets none.
    :param fabric: A launched ``lightning.fabric.Fabric`` of one device; ``None``: one of the training's precision, on the
        first accelerator or the CPU.
    :raises InvalidInputError: For bad images, labels or parameters, or when the loss is no longer finite.
    """
    labels = check_training(x, y, nb_classes, training)
    _check_poison(len(x), trigger, is_poison)
    fabric = fabric or make_fabric(training.precision)
    with seeded(training.random_state):
        model = make_network(training.network, x.shape[1:], nb_classes, training.width)
        wrapped, wrapped_optimiser = fabric.setup(model, optimiser_for(model, training))
        images = fabric.to_device(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)))
        targets = fabric.to_device(torch.from_numpy(labels))
        triggers = () if trigger is None else (trigger,) if callable(trigger) else tuple(trigger)
        numbers = torch.from_numpy(np.zeros(len(x), np.int64) if is_poison is None else is_poison.astype(np.int64))

        def loss_of(rows: Tensor, batch: Tensor) -> Tensor:
            for number, one in enumerate(triggers, start=1):
                batch = with_trigger(batch, numbers[rows] == number, one)
            return functional.cross_entropy(wrapped(batch), targets[rows])

        wrapped.train()
        run_epochs(images, loss_of, [wrapped_optimiser], fabric, training, title=training.network, verbose=verbose)
    return as_classifier(model, x.shape[1:], nb_classes, training.learning_rate)


def train_backdoored(
    attack: PoisonedData,
    training: ImageTraining = IMAGE_TRAINING,
    models: str | Path | None = None,
    verbose: bool = False,
) -> PyTorchClassifier:
    """
    Train on the attacked data set, stamping after augmentation.

    :param models: Folder of trained models; see :func:`~art_plugins.attacks.model_cache.load_or_train`.
    """
    stamping = attack.stamping
    return load_or_train(
        models,
        train_image_classifier,
        x=attack.clean.x_train if stamping is None else stamping.x,
        y=attack.y_train,
        nb_classes=len(attack.clean.class_names),
        training=training,
        trigger=attack.trigger if stamping is None else stamping.triggers,
        is_poison=attack.is_poison if stamping is None else stamping.number_of,
        verbose=verbose,
    )


def as_classifier(model: nn.Module, shape: tuple[int, ...], nb_classes: int, learning_rate: float) -> PyTorchClassifier:
    """Wrap a trained network for ART, on the CPU, in 32 bits and in evaluation mode, for images of 0 to 1."""
    model.to("cpu", memory_format=torch.contiguous_format).float().eval()  # type: ignore[call-overload]
    return PyTorchClassifier(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=sgd(model, learning_rate),
        input_shape=shape,
        nb_classes=nb_classes,
        clip_values=(0.0, 1.0),
    )


def with_trigger(images: Tensor, is_poison: Tensor, trigger: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """
    Stamp the trigger on some images of a batch.

    :param images: (B, C, H, W); they are not changed.
    :param is_poison: Which images get the trigger, (B,) bool, on the CPU.
    :return: A copy with the trigger on the rows in ``is_poison``.
    """
    images = images.clone()
    rows = torch.nonzero(is_poison)[:, 0]
    if len(rows):
        images[rows] = torch.from_numpy(trigger(images[rows].cpu().numpy())).to(images)
    return images


def optimiser_for(model: nn.Module, training: ImageTraining) -> torch.optim.Optimizer:
    """Make the optimiser of a training: AdamW for a vision transformer, :func:`sgd` for every other network."""
    if training.network in BY_ADAM:
        return torch.optim.AdamW(model.parameters(), training.learning_rate, weight_decay=ADAM_WEIGHT_DECAY)
    return sgd(model, training.learning_rate)


def sgd(model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """Make the optimiser: stochastic gradient descent with Nesterov momentum .9 and weight decay 5e-4."""
    return torch.optim.SGD(
        model.parameters(), lr=learning_rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
    )


def make_network(network: str, shape: tuple[int, ...], nb_classes: int, width: int | None = None) -> nn.Module:
    """
    Make an untrained network by its name in ``NETWORKS``.

    :param shape: Shape of one image, (C, H, W).
    :raises InvalidInputError: If the network cannot take such images.
    """
    model: nn.Module = NETWORKS[network](shape[0], nb_classes, **({} if width is None else {"width": width}))
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *shape))
    except RuntimeError as error:
        raise InvalidInputError(f"{network} cannot take images of {shape}: {error}") from error
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def check_training(x: np.ndarray, y: np.ndarray, nb_classes: int, training: ImageTraining) -> np.ndarray:
    """
    Check the arguments of a training.

    :return: The labels as numbers, (n,).
    :raises InvalidInputError: If an argument cannot be used.
    """
    network, width = training.network, training.width
    if x.ndim != 4 or len(x) < 2:
        raise InvalidInputError(f"x must be at least two images, (n, C, H, W); received shape {x.shape}.")
    if not (x.min() >= 0 and x.max() <= 1):
        raise InvalidInputError(f"x must be 0 to 1; received {x.min()} to {x.max()}. Divide bytes by 255.")
    if network not in NETWORKS:
        raise InvalidInputError(f"network must be one of {', '.join(NETWORKS)}; received {network!r}.")
    if width is not None and (width < 1 or "width" not in inspect.signature(NETWORKS[network]).parameters):
        raise InvalidInputError(f"width must be at least 1, or None: {network!r} may have one; received {width}.")
    if training.nb_epochs < 0 or training.batch_size < 1 or not training.learning_rate > 0:
        raise InvalidInputError(
            "nb_epochs must be at least 0, batch_size at least 1 and learning_rate above 0; received "
            f"{training.nb_epochs}, {training.batch_size} and {training.learning_rate}."
        )
    if training.augment not in (True, False, "crop"):
        raise InvalidInputError(f'augment must be True, False or "crop"; received {training.augment!r}.')
    labels, _ = class_labels(y, len(x), nb_classes)
    return labels


def _check_poison(n: int, trigger: object, is_poison: np.ndarray | None) -> None:
    if (trigger is None) != (is_poison is None):
        raise InvalidInputError("trigger and is_poison come together: what is stamped, and on which rows.")
    if is_poison is None:
        return
    kind, what = (np.dtype(bool), "bool") if callable(trigger) else (np.dtype(np.int64), "the number of a trigger, int64,")
    if is_poison.shape != (n,) or is_poison.dtype != kind:
        raise InvalidInputError(
            f"is_poison must be {what} of shape ({n},); received {is_poison.dtype} of shape {is_poison.shape}."
        )
