"""Confusion Training: its parts by hand, new weights of a network, and what it finds among digits."""

from __future__ import annotations

import copy
from typing import Any

import numpy as np
import pytest
import torch
from art.estimators.classification import PyTorchClassifier
from scipy.stats import multivariate_normal
from sklearn.decomposition import PCA
from sklearn.metrics import roc_auc_score
from torch import nn

from art_plugins.baselines import confusion_training
from art_plugins.baselines.confusion_rounds import label_losses, with_new_weights
from art_plugins.baselines.confusion_training import ConfusionTraining
from art_plugins.baselines.fine_tuning import training_step
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import collect_outputs
from art_plugins.features.vae.training import seeded
from art_plugins.statistics.peers.confusion import (
    called_classes,
    class_weights,
    distilled_rows,
    likelihood_ratio,
    wrong_labels,
)

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
QUICK = {"nb_epochs": 1, "n_steps": 4}


def wrapped(network: nn.Module) -> PyTorchClassifier:
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu")


def test_wrong_labels_are_never_right_and_all_equally_frequent(random: np.random.Generator) -> None:
    labels = np.repeat([0, 3], 6000)
    drawn = wrong_labels(labels, 4, random)
    for own in (0, 3):
        counts = np.bincount(drawn[labels == own], minlength=4)
        assert counts[own] == 0
        assert abs(np.delete(counts, own) - 2000).max() < 200  # 5 standard deviations of 37


def test_distilled_are_the_lowest_of_all_and_the_lowest_fiftieth_of_each_class() -> None:
    losses = np.arange(200.0)
    labels = (losses >= 100).astype(int)
    assert distilled_rows(losses, labels, 3, 0.05).tolist() == [*range(10), 100, 101]
    assert distilled_rows(losses[::-1], labels, 3, 0.01).tolist() == [98, 99, 198, 199]
    assert distilled_rows(losses[:3], labels[:3], 3, 0.01).tolist() == [0, 1]  # two at least, for a batch


def test_weight_of_a_class_is_one_over_the_root_of_its_frequency() -> None:
    labels = np.array([0] * 9 + [2])
    np.testing.assert_allclose(class_weights(labels, 3), [0.901**-0.5, 0.001**-0.5, 0.101**-0.5])


def test_likelihood_ratio_equals_scipys_densities_on_the_plane_of_the_first_components(random: np.random.Generator) -> None:
    features = random.normal(size=(60, 5)) * [3, 2, 1, 1, 1]
    losses, is_fitted = random.uniform(1, 2, size=60), np.arange(60) < 8
    losses[:8], features[:8] = 0.1, features[:8] * 0.3 + 4
    plane = PCA(2).fit_transform(features)
    middle = np.argsort(losses)[27:33]
    clean, other = (
        multivariate_normal(plane[rows].mean(axis=0), np.cov(plane[rows].T) + 0.001 * np.eye(2))
        for rows in (middle, is_fitted)
    )
    gain = sum(other.logpdf(point) - clean.logpdf(point) for point in plane[:8]) / 60
    assert likelihood_ratio(features, losses, is_fitted) == pytest.approx(np.exp(gain))
    assert likelihood_ratio(features, losses, np.arange(60) < 2) == 1
    assert likelihood_ratio(features[:20], losses[:20], is_fitted[:20]) == 1  # a tenth of 20 is 2 samples


def test_classes_above_e_are_called_and_the_highest_above_one_and_a_half() -> None:
    assert called_classes(np.array([1.0, 2.6, 2.8, 40.0])) == [2, 3]
    assert called_classes(np.array([1.0, 1.4, 1.6])) == [2]
    assert called_classes(np.array([1.0, 1.4, 1.5])) == []


def test_weighted_step_is_that_of_the_weighted_loss(digits: Any) -> None:
    x, labels, weights = digits.x_train[:4], digits.y_train[:4], np.array([0.7, 0.0, 0.2, 0.1])
    network = copy.deepcopy(digits.network("clean"))
    loss = nn.functional.cross_entropy(network(torch.tensor(x)), torch.tensor(labels), reduction="none")
    (loss * torch.tensor(weights, dtype=torch.float32)).sum().backward()
    expected = [one.detach() - 0.5 * one.grad for one in network.parameters()]
    stepped = copy.deepcopy(digits.network("clean"))
    training_step(wrapped(stepped), stepped, torch.optim.SGD(stepped.parameters(), lr=0.5), x, labels, weights)
    for one, other in zip(stepped.parameters(), expected, strict=True):
        torch.testing.assert_close(one.detach(), other)
    outputs = collect_outputs(wrapped(digits.network("clean")), x)
    np.testing.assert_allclose(label_losses(outputs, labels), loss.detach(), atol=1e-5)


class WithScale(nn.Module):
    """Its own parameter has no ``reset_parameters``."""

    def __init__(self) -> None:
        super().__init__()
        self.norm, self.head, self.scale = nn.BatchNorm1d(64), nn.Linear(64, 10), nn.Parameter(torch.tensor(5.0))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * self.head(self.norm(x.flatten(1)))


def test_new_weights_are_of_the_seed_and_parameters_without_a_reset_are_counted() -> None:
    with seeded(0):
        network = WithScale().requires_grad_(False)
        network.norm.running_mean.fill_(7)
        before = copy.deepcopy(network.state_dict())
    with seeded(4):
        first, n_kept = with_new_weights(network)
    with seeded(4):
        expected = nn.BatchNorm1d(64), nn.Linear(64, 10)
    assert n_kept == 1
    assert first.scale.item() == 5
    assert not first.norm.running_mean.any()
    assert all(one.requires_grad for one in first.parameters())
    torch.testing.assert_close(first.head.weight.detach(), expected[1].weight.detach())
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def poisoned(digits: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """A tenth of the digits carry the white square."""
    x, y = np.array(digits.x_train), np.array(digits.y_train)
    rows = np.random.default_rng(1).choice(np.flatnonzero(y != digits.target), len(x) // 10, replace=False)
    x[rows], y[rows] = digits.white_square(x[rows]), digits.target
    return x, y, np.isin(np.arange(len(y)), rows)


@pytest.mark.slow
def test_confusion_training_finds_the_white_square_and_leaves_the_classifier(digits: Any) -> None:
    x, y, is_poison = poisoned(digits)
    network = copy.deepcopy(digits.network("white_square"))
    before = copy.deepcopy(network.state_dict())
    defence = ConfusionTraining(wrapped(network), x, y, digits.x_clean, digits.y_clean, n_steps=300)
    report, is_clean = defence.detect_poison()
    removed = np.array(is_clean) == 0
    assert removed[is_poison].mean() > 0.8
    assert removed[~is_poison].mean() < 0.1
    assert digits.target in report["target_classes"] == defence.target_classes_
    assert {*y[removed]} <= {*report["target_classes"]}
    assert report["n_fitted"] >= removed.sum() == sum(report["n_removed"].values())
    assert report["n_parameters_kept"] == 0
    assert roc_auc_score(is_poison, defence.outlier_scores_) > 0.95
    assert not network.training
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())


def test_confusion_training_takes_few_samples_from_a_clean_set(digits: Any) -> None:
    """How many differs from seed to seed, from a twenty-fifth to a twelfth."""
    data = (digits.x_train, digits.y_train, digits.x_clean, digits.y_clean)
    _, is_clean = ConfusionTraining(wrapped(digits.network("clean")), *data, n_steps=300).detect_poison()
    assert np.mean(np.array(is_clean) == 0) < 0.15


@pytest.mark.slow
def test_confusion_training_with_batch_norm_needs_no_trained_model(digits: Any) -> None:
    """A network with convolutions that has seen no sample: only its architecture is used."""
    x, y, is_poison = poisoned(digits)
    layers: list[nn.Module] = []
    with seeded(0):
        for into, out, stride in ((1, 16, 1), (16, 32, 2), (32, 32, 2)):
            layers += [nn.Conv2d(into, out, 3, stride, 1), nn.BatchNorm2d(out), nn.ReLU()]
        network = nn.Sequential(*layers, nn.Flatten(), nn.Linear(128, 10))
    data = (x, y, digits.x_clean, digits.y_clean)
    _, is_clean = ConfusionTraining(wrapped(network), *data, nb_epochs=10, n_steps=300).detect_poison()
    removed = np.array(is_clean) == 0
    assert removed[is_poison].mean() > 0.8
    assert removed[~is_poison].mean() < 0.1


def test_confusion_training_another_seed_is_another_run(digits: Any) -> None:
    data = (digits.x_train[:100], digits.y_train[:100], digits.x_clean, digits.y_clean)
    scores = []
    for seed in (0, 0, 1):
        defence = ConfusionTraining(wrapped(digits.network("clean")), *data, **QUICK, random_state=seed)
        defence.detect_poison()
        scores.append(defence.outlier_scores_)
    np.testing.assert_array_equal(scores[0], scores[1])
    assert (scores[0] != scores[2]).any()


class FailsInTraining(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Linear(64, 10)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        if self.training:
            raise ValueError("no training here")
        return self.head(x.flatten(1))


class NothingToLearn(nn.Module):
    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x.flatten(1)[:, :10]


def test_confusion_training_networks_that_cannot_be_trained_are_refused_by_name(digits: Any) -> None:
    data = (digits.x_train[:60], digits.y_train[:60], digits.x_clean, digits.y_clean)
    with seeded(0):
        networks = (FailsInTraining(), "no training here"), (NothingToLearn(), "cannot be trained")
    for network, words in networks:
        with pytest.raises(InvalidInputError, match=words):
            ConfusionTraining(wrapped(network), *data, **QUICK).detect_poison()
    with pytest.raises(InvalidInputError, match="give a lower learning_rate"):
        ConfusionTraining(wrapped(digits.network("clean")), *data, **QUICK, learning_rate=1000.0).detect_poison()


def test_confusion_training_needs_two_trusted_samples_and_their_labels(digits: Any) -> None:
    data = (digits.x_train[:60], digits.y_train[:60])
    classifier = wrapped(digits.network("clean"))
    with pytest.raises(InvalidInputError, match="at least two trusted samples"):
        ConfusionTraining(classifier, *data, digits.x_clean[:1], digits.y_clean[:1]).detect_poison()
    with pytest.raises(InvalidInputError, match="give x_val and y_val"):
        ConfusionTraining(classifier, *data, digits.x_clean).detect_poison()


def test_a_sample_for_which_the_model_gives_no_finite_outputs_is_refused_before_any_training(
    monkeypatch: pytest.MonkeyPatch, digits: Any
) -> None:
    x = np.array(digits.x_train[:60])
    x[7] = 3e38
    with seeded(0):
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))
    classifier = PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, device_type="cpu")
    nn.init.constant_(network[1].weight, 1.0)
    monkeypatch.setattr(confusion_training, "ConfusionRounds", None)
    defence = ConfusionTraining(classifier, x, digits.y_train[:60], digits.x_clean[:20], digits.y_clean[:20], **QUICK)
    with pytest.raises(InvalidInputError, match="its outputs for 1 of the 60 samples, the first in row 7"):
        defence.detect_poison()
