"""Confusion Training (Qi et al. 2023): a network that is taught wrong labels of clean samples still obeys the trigger."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from art_plugins.arrays import check_finite_features
from art_plugins.baselines.confusion_rounds import Confused, ConfusionRounds, Samples, with_new_weights
from art_plugins.baselines.fine_tuning import copyable_network
from art_plugins.baselines.trusted_filter import TrustedFilter
from art_plugins.errors import ArtPluginsError, InvalidInputError
from art_plugins.features.activations import collect_outputs, penultimate_activations
from art_plugins.features.vae.training import seeded
from art_plugins.parameters import check_count, check_learning_rate, is_number, shown
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.peers.confusion import called_classes, likelihood_ratio


class ConfusionTraining(TrustedFilter):
    """
    Confusion Training: a network learns the suspect samples as labelled, and at the same time wrong labels of trusted
    samples. It forgets what the classes look like, but not the trigger. Samples whose label it still predicts are removed.

    | Paper: X. Qi, T. Xie, J. T. Wang, T. Wu, S. Mahloujifar, P. Mittal, Towards A Proactive ML Approach for Detecting
      Backdoor Poison Samples, USENIX Security 2023, arXiv 2205.13616.

    1. *Learning.* A network of the classifier's architecture, with new weights, learns the set.
    2. *Confusion.* A copy of it is trained on batches of trusted samples, each with a label drawn from the wrong ones.
       Every second step has a batch of the set as well, with the labels as given, at a weight of 1 / 20 to 1 / 60.
    3. *Distillation.* The samples with the lowest loss under the confused copy are the set of the next round: a half of all
       samples, then a fifth, 1 / 25 and 1 / 50, and always the lowest fiftieth of each class. The network goes on to learn
       from step 1; in the last round it also learns the trusted samples with the label of the next class.
    4. *Classes.* After the last round, the features of each class are projected on a plane. Two Gaussians, one of the
       samples whose label is predicted and one of the tenth around the median loss, are compared with the latter alone.
       Classes with a mean likelihood ratio above e are called, and the class with the highest one if it is above 1.5.
    5. *Verdict.* In these classes, the samples go whose label the confused network predicts.

    Defaults: the rounds, the weights, the momenta, batches of 32 and the test of the classes were read from the authors'
    published program (MIT licence; its settings for CIFAR-10 and GTSRB); none of its code is here. The abstract and the
    program were at hand, the full text was not. The authors trust 2,000 samples, and train ResNet-18 on a GPU: for 100
    epochs in the first two rounds and 40 in the others, and for 6,000 steps of confusion, 2,000 in the last round. The
    defaults here are a fifth of the epochs, and 1,000 steps in every round, so that a CPU can do it.

    Deviates: each wrong label has the same probability; in the program, the class after the true one has twice as much. The
    predicted class decides, where the program asks for an output (a logit) above 0.5 in the test of a class and above 0.6
    in the verdict. The Gaussians have 0.001 added to their variances, where the program also adds it to the covariances.
    Classes with fewer than three samples in one of the two groups are not called. The learning rates of the confusion are
    shares of ``learning_rate``, with the authors' values where it is 0.01. Batches have nearly equal sizes.

    The classifier itself is not trained; only its architecture, its preprocessing and its device are used, and it must give
    finite outputs for all samples. New weights come from the ``reset_parameters`` of its modules. Parameters of modules
    that have no such method keep their values, and the report counts them.

    When this breaks: small sets, where the confused network predicts the label of some clean samples by chance, and where
    the tenth around the median is so few samples that their Gaussian is narrow. Clean classes are then called, and lose
    these samples; so does a clean set. More ``n_steps`` make them fewer. Also: much more poison than the last share, since
    the last rounds then learn from a part of it, and may forget the rest (larger ``shares`` find it, and cost more clean
    samples); classes of which most are poison, since their median is poison; few trusted samples, which the network may
    know one by one; triggers that a network learns only with the class, as in clean-label attacks. It trains five networks
    in turn, so it takes several times as long as the training of the model.

    There are eleven parameters: three are ART's, two are the trusted samples.

    :param x_val: Trusted samples, (m, ...), m at least 2.
    :param y_val: Labels of these samples.
    :param shares: Shares of the training set that the rounds distil, each above 0 and at most 1. There is one round more
        than shares.
    :param nb_epochs: Number of epochs of learning in the first two rounds; later rounds have 0.4 of it.
    :param n_steps: Number of steps of confusion in each round.
    :param learning_rate: Learning rate of the learning; that of the confusion is 0.1 to 0.5 of it.
    :param batch_size: Number of samples in a batch, at least 2.
    :param random_state: Random seed of the weights, of the order of the samples, of the wrong labels and of dropout.

    :ivar outlier_scores_: 0 to 1, (n,): the probability that the confused network gives to the label of the sample. Higher
        is more suspicious.
    :ivar target_classes_: The classes that were found to hold poison.
    :ivar likelihood_ratios_: Mean likelihood ratio of each class, (K,); 1 for classes that cannot be tested.
    """

    defence_params = ["shares", "nb_epochs", "n_steps", "learning_rate", "batch_size", "random_state"]

    def __init__(
        self,
        classifier: Any,
        x_train: np.ndarray,
        y_train: np.ndarray,
        x_val: np.ndarray | None = None,
        y_val: Any | None = None,
        *,
        shares: Sequence[float] = (1 / 2, 1 / 5, 1 / 25, 1 / 50),
        nb_epochs: int = 20,
        n_steps: int = 1000,
        learning_rate: float = 0.01,
        batch_size: int = 32,
        random_state: int = 0,
    ) -> None:
        super().__init__(classifier, x_train, y_train, x_val, y_val)
        self.shares, self.nb_epochs, self.n_steps, self.learning_rate = shares, nb_epochs, n_steps, learning_rate
        self.batch_size, self.random_state = batch_size, random_state
        self.set_params(**self.tunables())

    def _check(self, values: dict[str, Any]) -> None:
        shares = values["shares"]
        is_list = isinstance(shares, (list, tuple)) and len(shares) > 0
        if not is_list or not all(is_number(share) and 0 < share <= 1 for share in shares):
            raise InvalidInputError(f"shares must be a list of numbers above 0 and at most 1; received {shown(shares)}.")
        for name in ("nb_epochs", "n_steps"):
            check_count(name, values[name])
        check_learning_rate(values["learning_rate"])
        check_count("batch_size", values["batch_size"], 2)
        check_count("random_state", values["random_state"], 0)

    def _check_data(self) -> None:
        super()._check_data()
        assert self.x_val is not None
        copyable_network(self.classifier)
        if len(self.x_val) < 2:
            raise InvalidInputError("Confusion training needs at least two trusted samples; received one.")

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        check_finite_features(collect_outputs(self.classifier, self.x_train), "outputs")
        confused, n_kept = self._confused(labels, nb_classes)
        is_fitted = confused.outputs.argmax(axis=1) == labels
        features = self._features(confused)
        self.likelihood_ratios_ = np.array(
            [
                likelihood_ratio(features[rows], confused.losses[rows], is_fitted[rows]) if len(rows) else 1.0
                for rows in indices_by_class(labels, nb_classes)
            ]
        )
        self.target_classes_ = called_classes(self.likelihood_ratios_)
        self.outlier_scores_ = np.exp(-confused.losses)
        self.is_clean_ = (~(is_fitted & np.isin(labels, self.target_classes_))).astype(int)
        return {
            "target_classes": self.target_classes_,
            "likelihood_ratios": self.likelihood_ratios_.tolist(),
            "n_fitted": int(is_fitted.sum()),
            "n_parameters_kept": n_kept,
            "n_removed": self._removed(labels, nb_classes),
        }

    def _confused(self, labels: np.ndarray, nb_classes: int) -> tuple[Confused, int]:
        """The network of the last round, and how many of its parameters began with the values of the classifier's."""
        assert self.x_val is not None
        suspect, trusted = Samples(self.x_train, labels), Samples(self.x_val, self.trusted_labels(nb_classes))
        settings = {name: value for name, value in self.tunables().items() if name != "random_state"}
        rounds = ConfusionRounds(self.classifier, suspect, trusted, nb_classes, **settings)
        try:
            with seeded(self.random_state):
                network, n_kept = with_new_weights(copyable_network(self.classifier))
                return rounds.run(network, np.random.default_rng(self.random_state)), n_kept
        except (ArtPluginsError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # whatever the network raises
            raise InvalidInputError(f"A network like the classifier's cannot be trained: {error}") from error

    def _features(self, confused: Confused) -> np.ndarray:
        """The penultimate features, (n, d); the outputs of networks without a linear layer that can be watched."""
        try:
            return penultimate_activations(confused.classifier, self.x_train)
        except InvalidInputError:
            return confused.outputs
