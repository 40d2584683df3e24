"""The input-aware dynamic backdoor (Nguyen and Tran 2020): classifier and trigger generator trained together."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn
from torch.nn import functional

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.attacks.image_models import as_classifier, check_training, make_network, optimiser_for
from art_plugins.attacks.poisoning import PoisonedData, all_to_one
from art_plugins.attacks.training_loop import IMAGE_TRAINING, ImageTraining, run_epochs
from art_plugins.errors import InvalidInputError
from art_plugins.features.classifiers import torch_module
from art_plugins.features.devices import make_fabric
from art_plugins.features.vae.training import seeded
from art_plugins.triggers.input_aware import InputAwareTrigger, TriggerGenerator, stamp

if TYPE_CHECKING:
    from lightning.fabric import Fabric

# The values that the authors trained with.
ATTACKED = CROSSED = 0.1  # shares of a batch
MASK_DENSITY = 0.032  # of the image; what lies above costs
DENSITY_WEIGHT, DIVERSITY_WEIGHT = 100.0, 1.0
GENERATOR_RATE, GENERATOR_BETAS = 0.01, (0.5, 0.9)


class AttackedNetwork(nn.Module):
    """
    The network of a classifier together with the generator of its triggers, so that both are kept as one state.

    A forward pass uses the classifier's network alone.
    """

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
    training: ImageTraining = IMAGE_TRAINING,
    *,
    mask_epochs: int = 2,
    verbose: bool = False,
) -> PyTorchClassifier:
    """
    Train the masks first, then the classifier together with the patterns (Nguyen and Tran 2020). In every batch, a tenth of
    the images gets its own triggers and the target's label; another tenth gets triggers of other images and keeps its
    labels.

    The attacker controls the training here; there is no poisoned training set.

    :param x: Clean images (n, C, H, W), 0 to 1; each side at least 4.
    :param y: Labels, (n,), (n, 1) or one-hot.
    :param target: Class that every triggered image shall be sent to.
    :param training: How both are trained; ``batch_size`` must be at least 20.
    :param mask_epochs: Most epochs of the masks' own training.
    :return: A classifier whose module is an :class:`AttackedNetwork`; see :func:`separate`.
    :raises InvalidInputError: For bad images, labels or parameters, or when the loss is no longer finite.
    """
    labels = check_training(x, y, nb_classes, training)
    if not 0 <= target < nb_classes or min(x.shape[2:]) < 4 or int(ATTACKED * training.batch_size) < 2:
        raise InvalidInputError(
            f"target must be 0 to {nb_classes - 1}, an image's side at least 4 and batch_size at least 20; received "
            f"{target}, {x.shape} and {training.batch_size}."
        )
    fabric = make_fabric(training.precision)
    with seeded(training.random_state):
        attacked = AttackedNetwork(
            make_network(training.network, x.shape[1:], nb_classes, training.width), TriggerGenerator(x.shape[1])
        )
        images = fabric.to_device(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)))
        targets = fabric.to_device(torch.from_numpy(labels))
        shorter = replace(training, nb_epochs=min(mask_epochs, training.nb_epochs))
        masks = _train_masks(attacked.generator, images, fabric, shorter, verbose)
        _train_jointly(attacked, masks, (images, targets), target, fabric, training, verbose)
    return as_classifier(attacked, x.shape[1:], nb_classes, training.learning_rate)


def _train_masks(
    generator: TriggerGenerator, images: Tensor, fabric: Fabric, training: ImageTraining, verbose: bool
) -> Any:
    """
    Train the network that draws the masks.

    :return: The trained network as the fabric wrapped it, with its weights fixed.
    """
    n_changed = int(ATTACKED * training.batch_size) + int(CROSSED * training.batch_size)
    masks, optimiser = fabric.setup(generator.mask_network, _adam(generator.mask_network))

    def mask_loss(rows: Tensor, batch: Tensor) -> Tensor:
        batch = batch[:n_changed]
        drawn = masks(batch)
        return DENSITY_WEIGHT * functional.relu(drawn - MASK_DENSITY).mean() + _sameness(batch, drawn)

    masks.train()
    run_epochs(images, mask_loss, [optimiser], fabric, training, title="masks", verbose=verbose)
    masks.eval()
    masks.requires_grad_(False)
    return masks


def _train_jointly(
    attacked: AttackedNetwork,
    masks: Any,
    data: tuple[Tensor, Tensor],
    target: int,
    fabric: Fabric,
    training: ImageTraining,
    verbose: bool,
) -> None:
    """
    Train the classifier together with the network that draws the patterns.

    :param data: Images and labels, on the device.
    """
    images, targets = data
    n_attacked, n_crossed = int(ATTACKED * training.batch_size), int(CROSSED * training.batch_size)
    n_changed = n_attacked + n_crossed  # as many triggers are drawn: for the first tenth, and of a third one
    classify, optimiser = fabric.setup(attacked.network, optimiser_for(attacked.network, training))
    pattern_network = attacked.generator.pattern_network
    patterns, pattern_optimiser = fabric.setup(pattern_network, _adam(pattern_network))

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
    optimisers = [optimiser, pattern_optimiser]
    run_epochs(images, joint_loss, optimisers, fabric, training, title=training.network, verbose=verbose)


def separate(classifier: PyTorchClassifier) -> tuple[PyTorchClassifier, InputAwareTrigger]:
    """
    Separate the classifier, as a defender sees it, from the attacker's trigger.

    :param classifier: From :func:`train_input_aware`.
    """
    joint: Any = torch_module(classifier)
    learning_rate = classifier.optimizer.param_groups[0]["lr"]
    alone = as_classifier(joint.network, classifier.input_shape, classifier.nb_classes, learning_rate)
    return alone, InputAwareTrigger(joint.generator)


def input_aware_attack(data: LabelledData, trigger: InputAwareTrigger, target: int) -> PoisonedData:
    """The attack at test time. Its training set is the clean one, since the triggers were stamped during the training."""
    is_poison = np.zeros(len(data.y_train), dtype=bool)
    return all_to_one(data, data.x_train, data.y_train, is_poison, trigger, target)


def _sameness(images: Tensor, drawn: Tensor) -> Tensor:
    """
    The paper's diversity loss, its mean over pairs of images: the distance of two images divided by the distance of what
    was drawn for them.
    """
    apart = [_distances(one, one.roll(1, dims=0)) for one in (images, drawn)]
    return (apart[0] / (apart[1] + 1e-4)).mean()


def _distances(one: Tensor, other: Tensor) -> Tensor:
    """Root mean square difference of each pair, (B,)."""
    return ((one - other).float() ** 2).flatten(1).mean(dim=1).add(1e-12).sqrt()


def _adam(module: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.Adam(module.parameters(), lr=GENERATOR_RATE, betas=GENERATOR_BETAS)
