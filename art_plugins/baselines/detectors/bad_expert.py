"""BaDExpert (Xie et al. 2024): a model that was taught wrong labels forgets all but its backdoor."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import torch
from art.estimators.classification import PyTorchClassifier
from scipy.special import softmax
from torch import nn

from art_plugins.baselines.fine_tuning import copyable_network, training_step, wrapped_like
from art_plugins.defences.detector_classifier import ForDetectorClassifier
from art_plugins.defences.threshold_detector import ThresholdDetector
from art_plugins.errors import ArtPluginsError, InvalidInputError
from art_plugins.features.activations import collect_outputs
from art_plugins.features.vae.training import seeded
from art_plugins.parameters import check_count, check_learning_rate

UNLEARNING_BATCH, FINE_TUNING_BATCH = 128, 64  # the authors'
MOMENTUM, WEIGHT_DECAY = 0.9, 1e-4  # of the fine-tuning, the authors'
EPOCHS_OF_A_RATE, DECAY = 2, 0.1  # after so many epochs the learning rate of the fine-tuning is multiplied by this
N_FOLDS = 2  # each clean image is scored by copies that did not see it; more folds cost more trainings
SLOPE, CORNER, LEAST = 2.0, 0.5, 1e-8  # of the rule on the two confidences, the authors' for ResNet-18


class Training(NamedTuple):
    """
    How a copy of the model is trained.

    :param optimiser_of: Makes the optimiser of a network.
    :param nb_epochs: Number of passes over the images.
    :param batch_size: Largest number of images in a step.
    :param epochs_of_a_rate: Number of epochs after which the learning rate is multiplied by ``DECAY``.
    """

    optimiser_of: Callable[[nn.Module], torch.optim.Optimizer]
    nb_epochs: int
    batch_size: int
    epochs_of_a_rate: int


class BaDExpert(ForDetectorClassifier, ThresholdDetector):
    """
    BaDExpert: a backdoor expert, a copy of the model that forgot clean images, confirms the predictions for triggered
    images; an auxiliary copy, fine-tuned on clean images, does not.

    | Paper: T. Xie, X. Qi, P. He, Y. Li, J. T. Wang, P. Mittal, BaDExpert: Extracting Backdoor Functionality for Accurate
      Backdoor Input Detection, ICLR 2024, arXiv 2308.12439.

    1. *Expert B.* A copy of the model is trained on the clean images with wrong labels, y + 1 modulo the number of classes,
       by Adam with a small learning rate.
    2. *Auxiliary model A.* Another copy is fine-tuned on the clean images with their labels, by stochastic gradient descent
       with Nesterov momentum. Its learning rate is divided by 10 after every second epoch.
    3. *Score.* b and a are the probabilities that B and A give to the class that the model itself predicts. The agreement
       with clean images is s = min(2 a / b, (1 - b) / (0.5 - a)), where a of at least 0.5 makes the second term large. The
       score is 1 / (1 + s).

    Defaults: one epoch at 1e-4 for the expert, ten epochs from 0.1 on for the auxiliary model, batches of 128 and 64, and
    the 2 and 0.5 of the rule were read from the authors' published program (backdoor-toolbox, without a licence; its values
    for ResNet-18 on CIFAR-10; it has others for other networks); none of its code is here. The abstract and the program
    were at hand, the full text was not. The authors take 2,000 clean images.

    Deviates: the program scores -s, which orders images in the same way. The clean images are not augmented. Batches have
    nearly equal sizes. The threshold is set on clean images by their false-positive rate; the program takes images of the
    test set for that. Here each half of the clean images is scored by copies that learned from the other half, because
    copies are surer of the images that they have seen.

    When this breaks: few clean images, because one epoch is then too few steps to forget anything (200 images are two
    steps): raise ``unlearning_rate`` or ``n_unlearning_epochs``; networks without batch normalisation, for which 0.1 is
    often too high a learning rate, and the fine-tuned copy is then refused as not finite or forgets everything; backdoors
    that the fine-tuning does not remove from the auxiliary model.

    :param unlearning_rate: Learning rate of the expert, above 0.
    :param n_unlearning_epochs: Number of passes over the clean images for the expert.
    :param fine_tuning_rate: First learning rate of the auxiliary model, above 0.
    :param n_fine_tuning_epochs: Number of passes over the clean images for the auxiliary model.
    :param random_state: Random seed of the order of the images and of dropout.

    Scores are 0 to 1. The other parameters are those of :class:`ThresholdDetector`. There are nine parameters: three of
    these are ART's or the threshold's.

    :ivar expert_: The backdoor expert, an ART ``PyTorchClassifier``.
    :ivar auxiliary_: The auxiliary model, an ART ``PyTorchClassifier``.
    """

    defence_params = [
        *ThresholdDetector.defence_params,
        *("unlearning_rate", "n_unlearning_epochs", "fine_tuning_rate", "n_fine_tuning_epochs", "random_state"),
    ]

    def __init__(
        self,
        classifier: Any,
        target_class: int | None = None,
        *,
        unlearning_rate: float = 1e-4,
        n_unlearning_epochs: int = 1,
        fine_tuning_rate: float = 0.1,
        n_fine_tuning_epochs: int = 10,
        threshold: float | None = None,
        fpr: float = 0.05,
        random_state: int = 0,
    ) -> None:
        super().__init__(classifier, target_class, threshold, fpr)
        self.unlearning_rate, self.n_unlearning_epochs = unlearning_rate, n_unlearning_epochs
        self.fine_tuning_rate, self.n_fine_tuning_epochs = fine_tuning_rate, n_fine_tuning_epochs
        self.random_state = random_state
        self.set_params(**self.tunables())

    def _check(self, values: dict[str, Any]) -> None:
        super()._check(values)
        for name in ("unlearning_rate", "fine_tuning_rate"):
            check_learning_rate(values[name], name)
        for name in ("n_unlearning_epochs", "n_fine_tuning_epochs"):
            check_count(name, values[name])
        check_count("random_state", values["random_state"], 0)

    def _learn(self, x: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        self._outputs(x, batch_size)  # names what is wrong with a model that does not run
        self.expert_, self.auxiliary_ = self._copies(x, labels, batch_size)
        if self.threshold is None:
            folds = np.random.default_rng(self.random_state).permutation(len(x)) % N_FOLDS
            self._scores_of_clean = np.zeros(len(x))
            for fold in np.unique(folds):
                held, rest = np.flatnonzero(folds == fold), np.flatnonzero(folds != fold)
                if not len(rest):
                    raise InvalidInputError("BaDExpert sets its threshold with at least two clean images; received one.")
                copies = self._copies(np.asarray(x[rest]), labels[rest], batch_size)
                self._scores_of_clean[held] = self._scores_by(copies, np.asarray(x[held]), batch_size)

    def _clean_scores(self, x: np.ndarray, rows: np.ndarray, batch_size: int) -> np.ndarray:
        scores: np.ndarray = self._scores_of_clean[rows]
        return scores

    def _scores(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        return self._scores_by((self.expert_, self.auxiliary_), x, batch_size)

    def _scores_by(self, copies: tuple[PyTorchClassifier, PyTorchClassifier], x: np.ndarray, batch_size: int) -> np.ndarray:
        rows, predicted = np.arange(len(x)), self._predicted(x, batch_size)
        of_expert, of_auxiliary = (
            softmax(collect_outputs(one, x, batch_size).astype(np.float64), axis=1)[rows, predicted] for one in copies
        )
        return suspicion(of_expert, of_auxiliary)

    def _copies(self, x: np.ndarray, labels: np.ndarray, batch_size: int) -> tuple[PyTorchClassifier, PyTorchClassifier]:
        """Give the expert and the auxiliary model that are learned from these images."""
        wrong = (labels + 1) % int(self.classifier.nb_classes)
        expert, auxiliary = self._trained(x, wrong, self._unlearning()), self._trained(x, labels, self._fine_tuning())
        for name, one in (("unlearning_rate", expert), ("fine_tuning_rate", auxiliary)):
            if not np.isfinite(collect_outputs(one, x, batch_size)).all():
                raise InvalidInputError(
                    f"A copy of the model gives NaN or infinity after training with {name} {getattr(self, name):g}: give a "
                    f"lower {name}."
                )
        return expert, auxiliary

    def _unlearning(self) -> Training:
        return Training(
            lambda network: torch.optim.Adam(network.parameters(), lr=self.unlearning_rate),
            self.n_unlearning_epochs,
            UNLEARNING_BATCH,
            self.n_unlearning_epochs,
        )

    def _fine_tuning(self) -> Training:
        return Training(
            lambda network: torch.optim.SGD(
                network.parameters(), lr=self.fine_tuning_rate, momentum=MOMENTUM, weight_decay=WEIGHT_DECAY, nesterov=True
            ),
            self.n_fine_tuning_epochs,
            FINE_TUNING_BATCH,
            EPOCHS_OF_A_RATE,
        )

    def _trained(self, x: np.ndarray, labels: np.ndarray, training: Training) -> PyTorchClassifier:
        """Give a copy of the model, trained on the images with these labels, in evaluation mode."""
        random = np.random.default_rng(self.random_state)
        network = copy.deepcopy(copyable_network(self.classifier)).requires_grad_(True).train()
        try:
            optimiser = training.optimiser_of(network)
            schedule = torch.optim.lr_scheduler.StepLR(optimiser, training.epochs_of_a_rate, DECAY)
            with seeded(self.random_state):
                for _ in range(training.nb_epochs):
                    # Batch normalisation cannot train on a last batch of one image, so batches have nearly equal sizes.
                    for rows in np.array_split(random.permutation(len(x)), -(-len(x) // training.batch_size)):
                        training_step(self.classifier, network, optimiser, np.asarray(x[rows]), labels[rows])
                    schedule.step()
        except (ArtPluginsError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever the network raises
            raise InvalidInputError(f"A copy of the model cannot be trained: {error}") from error
        optimiser.zero_grad()
        return wrapped_like(self.classifier, network.eval(), optimiser)


def suspicion(of_expert: np.ndarray, of_auxiliary: np.ndarray) -> np.ndarray:
    """
    Give the score of BaDExpert from the two confidences in the model's prediction.

    :param of_expert: Confidence of the backdoor expert, (n,), 0 to 1.
    :param of_auxiliary: Confidence of the auxiliary model, (n,), 0 to 1.
    :return: Scores, (n,), 0 to 1; higher is more suspicious.
    """
    low = SLOPE * of_auxiliary / np.maximum(of_expert, LEAST)
    high = (1 - of_expert) / np.maximum(CORNER - of_auxiliary, LEAST)
    scores: np.ndarray = 1 / (1 + np.minimum(low, high))
    return scores
