"""
Attacks that change images of the target class so that a network learns a trigger that none of them carries: ART's Sleeper
Agent and hidden trigger, with the interface of all attacks.
"""

from __future__ import annotations

import io
import random
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from typing import Any

import numpy as np
from art.attacks.poisoning import HiddenTriggerBackdoor, PoisoningAttackBackdoor, SleeperAgentAttack

from art_plugins.attacks.image_models import train_image_classifier
from art_plugins.attacks.training_loop import ImageTraining
from art_plugins.attacks.zoo.attack import Attack, Poisoned, checked, perturbed
from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.training import seeded
from art_plugins.parameters import check_count, check_learning_rate, check_number, plain
from art_plugins.triggers.patterns import Shape, trojan_square
from art_plugins.triggers.trigger import apply_trigger

PROXY = ImageTraining(network="lenet5", nb_epochs=6)
MOST_TRIGGERED = 500  # images of the source class whose gradient is matched


class PerturbedTarget(Attack):
    """
    Changes images of the target class with the help of a proxy network, which it trains on the clean set.

    :param shape: Shape of an image, (C, H, W).
    :param source: Class that the trigger shall send to the target.
    :param size: Side of the trigger, a square of random colours in the lower right corner.
    :param eps: Largest change of a pixel, for images of 0 to 1; 16 of 255 levels in both papers.
    :param n_steps: Number of steps of the optimisation.
    :param proxy: How the proxy is trained.
    :raises InvalidInputError: For a value out of range.
    """

    def __init__(
        self,
        shape: Shape,
        source: int,
        *,
        size: int = 8,
        eps: float = 16 / 255,
        n_steps: int = 250,
        proxy: ImageTraining = PROXY,
    ) -> None:
        check_count("source", plain(source), 0)
        check_number("eps", plain(eps), "for images of 0 to 1", above=0, most=1)
        check_count("n_steps", plain(n_steps))
        self.trigger = trojan_square(shape, size, margin=0)
        self.source: int = source
        self.size, self.eps, self.n_steps, self.proxy = size, eps, n_steps, proxy

    def poison(self, x: np.ndarray, y: np.ndarray, rate: float, target: int, random_state: int = 0) -> Poisoned:
        labels, n_poison = checked(x, y, rate, target, random_state)
        n_target, n_source = int((labels == target).sum()), int((labels == self.source).sum())
        if self.source == target or not n_source or n_poison > n_target:
            raise InvalidInputError(
                f"source must be a class of the set other than the target {target}, and rate select at most the {n_target} "
                f"samples of the target; received {self.source} with {n_source} samples, and {n_poison} to poison."
            )
        x = np.asarray(x, dtype=np.float32)
        nb_classes = int(labels.max()) + 1
        classifier = train_image_classifier(x, labels, nb_classes, self.proxy)
        with all_seeded(random_state):
            rows, changed = self._changed(classifier, x, np.eye(nb_classes, dtype=np.float32)[labels], target, n_poison)
        change = np.clip(changed - x[rows], -self.eps, self.eps)
        return perturbed(x, labels, rows, np.clip(x[rows] + change, 0, 1).astype(np.float32))

    def stamp(self, x: np.ndarray) -> np.ndarray:
        return apply_trigger(self.trigger, x)

    def _changed(
        self, classifier: Any, x: np.ndarray, y: np.ndarray, target: int, n_poison: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """The rows that become poison and their images, by a proxy; ``y`` is one-hot."""
        raise NotImplementedError


class SleeperAgent(PerturbedTarget):
    """
    Sleeper Agent (Souri et al. 2022), by ART's ``SleeperAgentAttack``: the gradient of the poison matches that of stamped
    images of the source class with the target's label. The images with the largest gradients are chosen.

    :param n_retrainings: The optimisation is done in so many parts, and between two of them the proxy is trained anew on
        the poison so far; the authors use 4.
    :param settings: As in :class:`PerturbedTarget`.
    """

    def __init__(self, shape: Shape, source: int, n_retrainings: int = 4, **settings: Any) -> None:
        super().__init__(shape, source, **settings)
        check_count("n_retrainings", plain(n_retrainings), 1, plain(self.n_steps))
        self.n_retrainings = n_retrainings

    def _changed(
        self, classifier: Any, x: np.ndarray, y: np.ndarray, target: int, n_poison: int
    ) -> tuple[np.ndarray, np.ndarray]:
        members = np.flatnonzero(y[:, target] == 1)
        triggered = x[y[:, self.source] == 1][:MOST_TRIGGERED]
        steps = [round(share * self.n_steps) for share in (0.4, 0.6, 0.8, 0.9)]
        attack = SleeperAgentAttack(
            classifier,
            percent_poison=(n_poison + 0.5) / len(members),  # ART rounds down
            patch=self.trigger.pattern[:, -self.size :, -self.size :],
            indices_target=members,  # type: ignore[arg-type]
            epsilon=self.eps,
            max_trials=1,
            max_epochs=self.n_steps,
            learning_rate_schedule=([1e-1, 1e-2, 1e-3, 1e-4], steps),
            verbose=0,
            patching_strategy="fixed",
            selection_strategy="max-norm",
            retraining_factor=self.n_retrainings,
            model_retrain=self.n_retrainings > 1,
            model_retraining_epoch=self.proxy.nb_epochs,
            class_source=self.source,
            class_target=target,
        )
        wanted = np.tile(np.eye(y.shape[1], dtype=np.float32)[target], (len(triggered), 1))
        changed, _ = attack.poison(triggered, wanted, x, y, x[:MOST_TRIGGERED], y[:MOST_TRIGGERED])
        rows = members[attack.get_poison_indices()]
        return rows, changed[rows]


class HiddenTrigger(PerturbedTarget):
    """
    Hidden trigger (Saha et al. 2020), by ART's ``HiddenTriggerBackdoor``: the poison lies close to stamped images of the
    source class in the features of the proxy. The authors then train the last layer of the proxy anew; a network that is
    trained from scratch has other features, and the attack is weak there.

    :param learning_rate: Size of a step, as a multiple of the gradient of the squared distance between the poison and the
        stamped images, when the features are scaled so that it is 1 at the start.
    :param settings: As in :class:`PerturbedTarget`.
    """

    def __init__(self, shape: Shape, source: int, learning_rate: float = 0.01, **settings: Any) -> None:
        super().__init__(shape, source, **settings)
        check_learning_rate(plain(learning_rate))
        self.learning_rate = learning_rate

    def _changed(
        self, classifier: Any, x: np.ndarray, y: np.ndarray, target: int, n_poison: int
    ) -> tuple[np.ndarray, np.ndarray]:
        n_target, one_hot = int(y[:, target].sum()), np.eye(y.shape[1], dtype=np.float32)
        layer = len(classifier.layer_names) - 2  # the input of the last layer
        triggered, base = (
            classifier.get_activations(images, layer, MOST_TRIGGERED)
            for images in (self.trigger(x[y[:, self.source] == 1][:MOST_TRIGGERED]), x[y[:, target] == 1][:MOST_TRIGGERED])
        )
        squared = float(((triggered.mean(axis=0) - base) ** 2).reshape(len(base), -1).sum(axis=1).mean())
        attack = HiddenTriggerBackdoor(
            classifier,
            target=one_hot[target],
            source=one_hot[self.source],
            backdoor=PoisoningAttackBackdoor(self.trigger),
            feature_layer=layer,
            eps=self.eps,
            learning_rate=self.learning_rate / max(squared, 1e-12),
            stopping_threshold=0.0,
            max_iter=self.n_steps,
            poison_percent=(n_poison - 0.5) / n_target,  # ART rounds up
            verbose=False,
        )
        with redirect_stdout(io.StringIO()):  # ART prints its losses
            changed, rows = attack.poison(x, y)
        return rows, changed


@contextmanager
def all_seeded(random_state: int) -> Iterator[None]:
    """Seed the global generators of Python, NumPy and torch, from which ART draws, and give them back as they were."""
    states = random.getstate(), np.random.get_state()  # noqa: NPY002
    random.seed(random_state)
    np.random.seed(random_state)  # noqa: NPY002
    try:
        with seeded(random_state):
            yield
    finally:
        random.setstate(states[0])
        np.random.set_state(states[1])  # noqa: NPY002
