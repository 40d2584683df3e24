"""Image classifiers with a backdoor to test defences on: the trigger is stamped after augmenting."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn
from torch.nn import functional

from art_plugins.attacks.model_cache import load_or_train
from art_plugins.attacks.networks import NETWORKS
from art_plugins.attacks.poisoning import PoisonedData
from art_plugins.attacks.training_loop import run_epochs
from art_plugins.errors import InvalidInputError
from art_plugins.features.training import make_fabric, seeded
from art_plugins.statistics.labels import class_labels

if TYPE_CHECKING:
    from lightning.fabric import Fabric

MOMENTUM, WEIGHT_DECAY = 0.9, 5e-4


def train_image_classifier(
    x: np.ndarray,
    y: np.ndarray,
    nb_classes: int,
    *,
    network: str = "lenet5",
    width: int | None = None,
    nb_epochs: int = 10,
    batch_size: int = 128,
    learning_rate: float = 0.05,
    augment: bool | str = False,
    trigger: Callable[[np.ndarray], np.ndarray] | None = None,
    is_poison: np.ndarray | None = None,
    random_state: int = 0,
    precision: str = "32-true",
    fabric: Fabric | None = None,
    verbose: bool = False,
) -> PyTorchClassifier:
    """
    A classifier of images, by stochastic gradient descent with Nesterov momentum .9, weight decay 5e-4, and a learning rate
    that rises over the first tenth of the steps and falls to 0 along a cosine (in Li et al. 2022 it is halved every 50 of
    150 epochs; this needs fewer).

    The images are held on the device. Each epoch leaves out a random part that does not fill a batch.

    :param x: Clean images (n, C, H, W), 0 to 1.
    :param y: Labels, (n,), (n, 1) or one-hot; the poisoned ones already with the attack's.
    :param network: A name in ``NETWORKS``, such as ``"lenet5"``, ``"resnet18_cifar"`` or ``"mobilenet_v2"``.
    :param width: Channels of the network's first stage, where it has such a parameter; ``None``: its default.
    :param learning_rate: The highest of the schedule.
    :param augment: ``True``: random crops after padding by 4, and mirror images. ``"crop"``: crops alone, where a mirror
        image is another thing, such as a traffic sign.
    :param trigger: Stamped on the rows in ``is_poison``, *after* augmenting: a crop or a mirror image of a stamped image
        would move the trigger, and the backdoor would be of another kind than the test images ask for.
    :param is_poison: (n,) bool; needs ``trigger``.
    :param random_state: Seed of the weights, the order and the augmentation; global generators are not touched.
    :param nb_epochs: 0 gives an untrained classifier.
    :param precision: Of the training, ``"32-true"`` or ``"bf16-mixed"`` (2.5 times faster where the CPU has it); the
        classifier itself has 32 bits.
    :param fabric: A launched ``lightning.fabric.Fabric`` of one device instead of one of ``precision``, on the first
        accelerator or the CPU.
    :raises InvalidInputError: For bad images, labels or parameters, or when the loss is no longer finite.
    """
    labels = check_training(x, y, nb_classes, network, width, nb_epochs, batch_size, learning_rate, augment)
    if (trigger is None) != (is_poison is None):
        raise InvalidInputError("trigger and is_poison come together: what is stamped, and on which rows.")
    if is_poison is not None and (is_poison.shape != (len(x),) or is_poison.dtype != bool):
        raise InvalidInputError(
            f"is_poison must be bool of shape ({len(x)},); received {is_poison.dtype} of shape {is_poison.shape}."
        )
    fabric = fabric or make_fabric(precision)
    with seeded(random_state):
        model = make_network(network, x.shape[1:], nb_classes, width)
        wrapped, wrapped_optimiser = fabric.setup(model, sgd(model, learning_rate))
        images = fabric.to_device(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)))
        targets = fabric.to_device(torch.from_numpy(labels))
        poisoned = torch.zeros(len(x), dtype=torch.bool) if is_poison is None else torch.from_numpy(np.asarray(is_poison))

        def loss_of(rows: Tensor, batch: Tensor) -> Tensor:
            if trigger is not None:
                batch = stamped(batch, poisoned[rows], trigger)
            return functional.cross_entropy(wrapped(batch), targets[rows])

        wrapped.train()
        run_epochs(
            images,
            loss_of,
            [wrapped_optimiser],
            fabric,
            nb_epochs=nb_epochs,
            batch_size=batch_size,
            augment=augment,
            title=network,
            verbose=verbose,
        )
    return as_classifier(model, x.shape[1:], nb_classes, learning_rate)


def train_backdoored(attack: PoisonedData, models: str | Path | None = None, **training: Any) -> PyTorchClassifier:
    """
    Train on the attacked data set, stamping after augmentation.

    :param models: Folder of trained models; see :func:`~art_plugins.attacks.model_cache.load_or_train`.
    :param training: Keyword arguments of :func:`train_image_classifier`.
    """
    return load_or_train(
        models,
        train_image_classifier,
        x=attack.clean.x_train,
        y=attack.y_train,
        nb_classes=len(attack.clean.class_names),
        trigger=attack.trigger,
        is_poison=attack.is_poison,
        **training,
    )


def as_classifier(model: nn.Module, shape: tuple[int, ...], nb_classes: int, learning_rate: float) -> PyTorchClassifier:
    """A trained network on the CPU, in 32 bits and evaluation mode, for images of 0 to 1."""
    model.to("cpu", memory_format=torch.contiguous_format).float().eval()  # type: ignore[call-overload]
    return PyTorchClassifier(
        model=model,
        loss=nn.CrossEntropyLoss(),
        optimizer=sgd(model, learning_rate),
        input_shape=shape,
        nb_classes=nb_classes,
        clip_values=(0.0, 1.0),
    )


def stamped(images: Tensor, is_poison: Tensor, trigger: Callable[[np.ndarray], np.ndarray]) -> Tensor:
    """
    :param images: (B, C, H, W); left as they are.
    :param is_poison: (B,) bool, on the CPU.
    :return: A copy with the trigger on the rows in ``is_poison``.
    """
    images = images.clone()
    rows = torch.nonzero(is_poison)[:, 0]
    if len(rows):
        images[rows] = torch.from_numpy(trigger(images[rows].cpu().numpy())).to(images)
    return images


def sgd(model: nn.Module, learning_rate: float) -> torch.optim.Optimizer:
    """Stochastic gradient descent with Nesterov momentum .9 and weight decay 5e-4."""
    return torch.optim.SGD(
        model.parameters(), lr=learning_rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
    )


def make_network(network: str, shape: tuple[int, ...], nb_classes: int, width: int | None = None) -> nn.Module:
    """
    An untrained network by its name in ``NETWORKS``.

    :param shape: Of an image, (C, H, W).
    :raises InvalidInputError: If the network cannot take such images.
    """
    model: nn.Module = NETWORKS[network](shape[0], nb_classes, **({} if width is None else {"width": width}))
    try:
        with torch.no_grad():
            model.eval()(torch.zeros(1, *shape))
    except RuntimeError as error:
        raise InvalidInputError(f"{network} cannot take images of {shape}: {error}") from error
    return model.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]


def check_training(
    x: np.ndarray,
    y: np.ndarray,
    nb_classes: int,
    network: str,
    width: int | None,
    nb_epochs: int,
    batch_size: int,
    learning_rate: float,
    augment: bool | str,
) -> np.ndarray:
    """
    Labels (n,), after the arguments of a training have been looked at.

    :raises InvalidInputError: For one that cannot be.
    """
    if x.ndim != 4 or len(x) < 2:
        raise InvalidInputError(f"x must be at least two images, (n, C, H, W); received shape {x.shape}.")
    if not (x.min() >= 0 and x.max() <= 1):
        raise InvalidInputError(f"x must be 0 to 1; received {x.min()} to {x.max()}. Divide bytes by 255.")
    if network not in NETWORKS:
        raise InvalidInputError(f"network must be one of {', '.join(NETWORKS)}; received {network!r}.")
    if width is not None and (width < 1 or "width" not in inspect.signature(NETWORKS[network]).parameters):
        raise InvalidInputError(f"width must be at least 1, or None: {network!r} may have one; received {width}.")
    if nb_epochs < 0 or batch_size < 1 or not learning_rate > 0:
        raise InvalidInputError(
            "nb_epochs must be at least 0, batch_size at least 1 and learning_rate above 0; received "
            f"{nb_epochs}, {batch_size} and {learning_rate}."
        )
    if augment not in (True, False, "crop"):
        raise InvalidInputError(f'augment must be True, False or "crop"; received {augment!r}.')
    labels, _ = class_labels(y, len(x), nb_classes)
    return labels
