"""Removal of a known backdoor by fine-tuning (the patching of Neural Cleanse, Wang et al. 2019, section VI-C)."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier

from art_plugins.arrays import check_finite, check_samples
from art_plugins.baselines.fine_tuning import copyable_network, training_step, wrapped_like
from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.training import seeded
from art_plugins.parameters import check_count, check_learning_rate, check_number, plain
from art_plugins.statistics.labels import class_labels
from art_plugins.triggers.trigger import Trigger, apply_trigger, check_trigger

PATCHING_BATCH, PATCHING_MOMENTUM = 32, 0.9  # usual values; neither paper states its own


def neural_cleanse_patching(
    classifier: Any,
    trigger: Trigger,
    x_clean: np.ndarray,
    y_clean: np.ndarray,
    learning_rate: float,
    fraction_stamped: float = 0.2,
    nb_epochs: int = 1,
    random_state: int = 0,
) -> PyTorchClassifier:
    """
    Give a copy of the model that has unlearned the backdoor.

    The copy is fine-tuned on clean images with their true labels; a part of the images carries the trigger (Wang et al.
    2019, section VI-C). For an image with the trigger, the copy's prediction is a guess of the source class. The optimiser
    is stochastic gradient descent on the cross-entropy, with momentum 0.9 and batches of about 32 images.

    When this breaks: if the learning rate is too high, the weights may become NaN; if it is too low, the backdoor stays.
    Table 3 of Li et al. 2022 shows how narrow the range between is.

    :param classifier: ART ``PyTorchClassifier`` that returns logits; it is not changed.
    :param trigger: The estimated (or true) trigger, a callable that stamps a batch of images.
    :param x_clean: Clean images of all classes, (n, ...), n >= 2.
    :param y_clean: Labels of these samples, (n,), (n, 1) or one-hot.
    :param learning_rate: Learning rate, above 0.
    :param fraction_stamped: Share of the images that carry the trigger, 0 to 1.
    :param nb_epochs: Number of passes over the images.
    :param random_state: Random seed of the choice of images, of their order and of dropout.
    :return: The patched copy, in evaluation mode.
    :raises InvalidInputError: For bad images, labels or parameters.
    """
    learning_rate, fraction_stamped = plain(learning_rate), plain(fraction_stamped)
    nb_epochs, random_state = plain(nb_epochs), plain(random_state)
    check_learning_rate(learning_rate)
    check_number("fraction_stamped", fraction_stamped, "a share", least=0, most=1)
    check_count("nb_epochs", nb_epochs)
    check_count("random_state", random_state, 0)
    check_trigger(trigger)
    original = copyable_network(classifier)
    check_samples(x_clean)
    check_finite(x_clean, "images", "remove such images first")
    if len(x_clean) < 2:
        raise InvalidInputError("At least two clean images are needed; received one.")
    labels, _ = class_labels(y_clean, len(x_clean), int(classifier.nb_classes))
    random = np.random.default_rng(random_state)
    x = np.array(x_clean, dtype=np.float32)
    chosen = random.permutation(len(x))[: round(fraction_stamped * len(x))]
    if len(chosen):
        x[chosen] = apply_trigger(trigger, x[chosen])

    network = copy.deepcopy(original).requires_grad_(True)
    optimiser = torch.optim.SGD(network.parameters(), lr=learning_rate, momentum=PATCHING_MOMENTUM)
    network.train()
    with seeded(random_state):
        for _ in range(nb_epochs):
            # Batches have nearly equal sizes, because batch normalisation cannot train on a last batch of one image.
            for rows in np.array_split(random.permutation(len(x)), -(-len(x) // PATCHING_BATCH)):
                training_step(classifier, network, optimiser, x[rows], labels[rows])
    optimiser.zero_grad()
    return wrapped_like(classifier, network.eval(), optimiser)
