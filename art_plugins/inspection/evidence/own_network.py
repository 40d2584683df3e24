"""The scan's own small classifier: how it is trained, and for which data it can be trusted."""

from __future__ import annotations

import sys
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.special import softmax

from art_plugins.attacks.image_models import train_image_classifier
from art_plugins.attacks.training_loop import ImageTraining
from art_plugins.disk_room import scratch_array

MOST_SEEN = 60_000  # samples in one training, each epoch counted: about a minute on one core for images of 28 x 28
MOST_EPOCHS = 30
MOST_BYTES = 512 * 2**20  # of the pictures of one training, which are read in random order
AT_ONCE = 4_096  # pictures that are copied, or judged, together
N_FOLDS = 3  # of the cross-validation: as few as leave two thirds of the samples for each training
LEAST_TYPICAL = 30  # samples of the typical class: the false alarms of groups were measured from there on, NULL_SCALE
LEAST_CROPPED = 24  # pixels of the shorter side: shifts by up to 4 pixels would move most of a smaller picture out of sight
LEAST_CLASSES = 4  # with fewer there is little to compare a group with
# For groups: three convolutions without normalisation, one of the two networks with which their false alarms were measured.
FOR_GROUPS = ImageTraining(network="plain_cnn", batch_size=64, learning_rate=0.05)
# For labels: with normalisation and shifted pictures, as the more accurate network doubts fewer labels that are right. Of
# 1,500 MNIST digits it doubts 2 and 5, where the network for groups doubts 14 and 18.
FOR_LABELS = ImageTraining(network="cnn", batch_size=64, learning_rate=0.05, augment="crop")


def why_not(labels: np.ndarray) -> str | None:
    """Why the data are too small for a network of their own; ``None``: they are not."""
    sizes = np.bincount(labels)
    if len(sizes) < LEAST_CLASSES:
        return f"there are {len(sizes)} classes, and at least {LEAST_CLASSES} are needed"
    typical = float(np.median(sizes))
    if typical < LEAST_TYPICAL:
        return f"the typical class has {typical:g} samples, and at least {LEAST_TYPICAL} are needed"
    return None


def train_on(
    pictures: np.ndarray,
    labels: np.ndarray,
    nb_classes: int,
    training: ImageTraining,
    title: str,
    rows: np.ndarray | None = None,
    *,
    verbose: bool = True,
    **how: Any,
) -> Any:
    """
    Train the network, in so many epochs that about 60,000 samples are seen, at most 30.

    Of more than 60,000 samples, or more than half a gigabyte of pictures, so many are drawn at random. Many of them lie on
    the disk, in a temporary file.

    :param pictures: (n, C, H, W), 0 to 1; may be a ``numpy.memmap``.
    :param labels: Labels of the pictures of ``rows``, (m,).
    :param training: Network and learning rate.
    :param title: What the training is for, for the progress.
    :param rows: Rows of the pictures that it may see, (m,); ``None``: all.
    :param how: ``precision`` and ``random_state`` of the training.
    :return: An ART ``PyTorchClassifier``.
    """
    training = replace(training, **how)
    rows = np.arange(len(pictures)) if rows is None else rows
    most = min(MOST_SEEN, max(1, MOST_BYTES // pictures[0].nbytes))
    drawn = np.sort(np.random.default_rng(training.random_state).permutation(len(rows))[:most])
    rows, labels = rows[drawn], labels[drawn]
    nb_epochs = int(np.clip(MOST_SEEN // len(rows), 1, MOST_EPOCHS))
    if verbose and sys.stderr.isatty():
        sys.stderr.write(f"{title}: {nb_epochs} epochs of {len(rows):,} samples\n")
    augment = training.augment if min(pictures.shape[2:]) >= LEAST_CROPPED else False
    training = replace(training, augment=augment, nb_epochs=nb_epochs)
    seen = scratch_array((len(rows), *pictures.shape[1:]), np.float32, "The pictures that a network learns from need")
    for start in range(0, len(rows), AT_ONCE):
        seen[start : start + AT_ONCE] = pictures[rows[start : start + AT_ONCE]]
    return train_image_classifier(seen, labels, nb_classes, training, verbose=verbose)


def probabilities_by(network: Any, pictures: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """
    Probabilities of the classes, (m, K).

    :param network: As :func:`train_on` gives it.
    :param pictures: (n, C, H, W).
    :param rows: Which of them are judged, (m,), m at least 1.
    """
    parts = [network.predict(np.asarray(pictures[rows[start : start + AT_ONCE]])) for start in range(0, len(rows), AT_ONCE)]
    return np.asarray(softmax(np.concatenate(parts), axis=1))
