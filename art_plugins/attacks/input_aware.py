"""The input-aware dynamic backdoor (Nguyen and Tran 2020): classifier and trigger generator trained together."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn
from torch.nn import functional

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.attacks.image_models import as_classifier, check_training, make_network, sgd
from art_plugins.attacks.poisoning import PoisonedData, all_to_one
from art_plugins.attacks.training_loop import run_epochs
from art_plugins.errors import InvalidInputError
from art_plugins.features.classifiers import torch_module
from art_plugins.features.training import make_fabric, seeded
from art_plugins.triggers.input_aware import InputAwareTrigger, TriggerGenerator, stamp

# The values that the authors trained with.
ATTACKED = CROSSED = 0.1  # shares of a batch
MASK_DENSITY = 0.032  # of the image; what lies above costs
DENSITY_WEIGHT, DIVERSITY_WEIGHT = 100.0, 1.0
GENERATOR_RATE, GENERATOR_BETAS = 0.01, (0.5, 0.9)


class AttackedNetwork(nn.Module):
    """A classifier's network, and the generator of its triggers, which a forward pass does not use: one state to keep."""

    def __init__(self, network: nn.Module, generator: TriggerGenerator) -> None:
        super().__init__()
        self.network, self.generator = network, generator

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.network(images)
        return logits


def train_input_aware(
    x: np.ndarray,
    y: np.ndarray,
    nb_classes: int,
    target: int,
    *,
    network: str = "lenet5",
    width: int | None = None,
    nb_epochs: int = 10,
    mask_epochs: int = 2,
    batch_size: int = 128,
    learning_rate: float = 0.05,
    augment: bool | str = False,
    random_state: int = 0,
    precision: str = "32-true",
    verbose: bool = False,
) -> PyTorchClassifier:
    """
    Masks first, then the classifier together with the patterns (Nguyen and Tran 2020). Of every batch a tenth gets its own
    triggers and the target's label; another tenth gets triggers of other images and keeps its labels.

    The attacker controls the training here; there is no poisoned training set.

    :param x: Clean images (n, C, H, W), 0 to 1; each side at least 4.
    :param mask_epochs: For the masks alone.
    :param target: Class that every triggered image shall come to.
    :param nb_epochs: 0 gives untrained networks. The other parameters are those of
        :func:`~art_plugins.attacks.image_models.train_image_classifier`.
    :return: A classifier whose module is an :class:`AttackedNetwork`; see :func:`separate`.
    :raises InvalidInputError: For bad images, labels or parameters, or when the loss is no longer finite.
    """
    labels = check_training(x, y, nb_classes, network, width, nb_epochs, batch_size, learning_rate, augment)
    if not 0 <= target < nb_classes or min(x.shape[2:]) < 4 or int(ATTACKED * batch_size) < 2:
        raise InvalidInputError(
            f"target must be 0 to {nb_classes - 1}, an image's side at least 4 and batch_size at least 20; received "
            f"{target}, {x.shape} and {batch_size}."
        )
    fabric = make_fabric(precision)
    loop: dict[str, Any] = {"batch_size": batch_size, "augment": augment, "verbose": verbose}
    n_attacked, n_crossed = int(ATTACKED * batch_size), int(CROSSED * batch_size)
    n_changed = n_attacked + n_crossed  # as many triggers are drawn: for the first tenth, and of a third one
    with seeded(random_state):
        model = make_network(network, x.shape[1:], nb_classes, width)
        generator = TriggerGenerator(x.shape[1])
        images = fabric.to_device(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)))
        targets = fabric.to_device(torch.from_numpy(labels))
        masks, mask_optimiser = fabric.setup(generator.mask_network, _adam(generator.mask_network))

        def mask_loss(rows: Tensor, batch: Tensor) -> Tensor:
            batch = batch[:n_changed]
            drawn = masks(batch)
            return DENSITY_WEIGHT * functional.relu(drawn - MASK_DENSITY).mean() + _sameness(batch, drawn)

        masks.train()
        run_epochs(
            images, mask_loss, [mask_optimiser], fabric, nb_epochs=min(mask_epochs, nb_epochs), title="masks", **loop
        )
        masks.eval()
        masks.requires_grad_(False)
        classify, optimiser = fabric.setup(model, sgd(model, learning_rate))
        patterns, pattern_optimiser = fabric.setup(generator.pattern_network, _adam(generator.pattern_network))

        def joint_loss(rows: Tensor, batch: Tensor) -> Tensor:
            # An image of the second tenth gets the trigger of one in the third.
            by = torch.cat([batch[:n_attacked], batch[n_changed : n_changed + n_crossed]])
            drawn = patterns(by)
            changed = stamp(batch[:n_changed], masks(by), drawn)
            wanted = targets[rows].clone()
            wanted[:n_attacked] = target
            loss = functional.cross_entropy(classify(torch.cat([changed, batch[n_changed:]])), wanted)
            return loss + DIVERSITY_WEIGHT * _sameness(by, drawn)

        classify.train()
        patterns.train()
        run_epochs(images, joint_loss, [optimiser, pattern_optimiser], fabric, nb_epochs=nb_epochs, title=network, **loop)
    return as_classifier(AttackedNetwork(model, generator), x.shape[1:], nb_classes, learning_rate)


def separate(classifier: PyTorchClassifier) -> tuple[PyTorchClassifier, InputAwareTrigger]:
    """
    The classifier by itself, as a defender sees it, and the attacker's trigger.

    :param classifier: From :func:`train_input_aware`.
    """
    joint: Any = torch_module(classifier)
    learning_rate = classifier.optimizer.param_groups[0]["lr"]
    alone = as_classifier(joint.network, classifier.input_shape, classifier.nb_classes, learning_rate)
    return alone, InputAwareTrigger(joint.generator)


def input_aware_attack(data: LabelledData, trigger: InputAwareTrigger, target: int) -> PoisonedData:
    """The attack at test time; its training set is the clean one, since the triggers were put on during the training."""
    is_poison = np.zeros(len(data.y_train), dtype=bool)
    return all_to_one(data, data.x_train, data.y_train, is_poison, trigger, target)


def _sameness(images: Tensor, drawn: Tensor) -> Tensor:
    """The paper's diversity loss: how far images lie apart over how far what was drawn for them does; mean over pairs."""
    apart = [_distances(one, one.roll(1, dims=0)) for one in (images, drawn)]
    return (apart[0] / (apart[1] + 1e-4)).mean()


def _distances(one: Tensor, other: Tensor) -> Tensor:
    """Root mean square difference, (B,)."""
    return ((one - other).float() ** 2).flatten(1).mean(dim=1).add(1e-12).sqrt()


def _adam(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(module.parameters(), lr=GENERATOR_RATE, betas=GENERATOR_BETAS)
