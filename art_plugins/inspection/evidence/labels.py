"""Labels that networks doubt that were trained on other samples: likely label errors, and the label to suggest."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from sklearn.model_selection import StratifiedKFold

from art_plugins.baselines.art_filters import seeded_numpy
from art_plugins.inspection.evidence.found import LABEL_ERROR, Found
from art_plugins.inspection.evidence.own_network import FOR_LABELS, N_FOLDS, probabilities_by, train_on
from art_plugins.optional import import_optional

RULE = "both"  # of cleanlab: what both of its ways of pruning find, the stricter of its rules
# Least probability of another class. It was chosen on the 1,500 MNIST digits for which the how-to page gives figures: a
# lower one doubted more digits whose label is right. It is not derived, and was not chosen anew on other images.
LEAST_SURE = 0.95


class Doubts(NamedTuple):
    """
    ``probabilities``: (n, K), by networks that were not trained on the sample; ``is_wrong``: (n,), bool, likely label
    errors.
    """

    probabilities: np.ndarray
    is_wrong: np.ndarray

    @property
    def suggested(self) -> np.ndarray:
        """The most probable class of each sample, (n,)."""
        found: np.ndarray = self.probabilities.argmax(axis=1)
        return found


def doubt_labels(
    pictures: np.ndarray,
    labels: np.ndarray,
    nb_classes: int,
    is_poison: np.ndarray,
    **how: Any,
) -> Doubts:
    """
    Train three networks, each on two thirds of the samples, and ask each about the samples that it has not seen.

    What is called poison is in no training, because a network that has learned the trigger gives poison its label. All
    three networks judge it, so that the label of its content can be suggested. Confident learning (Northcutt et al. 2021,
    by cleanlab) then says which labels are wrong.

    :param pictures: (n, C, H, W), 0 to 1.
    :param labels: (n,).
    :param is_poison: Samples that are called poison, (n,), bool. None of them is called a label error.
    :param how: ``precision``, ``random_state`` and ``verbose`` of
        :func:`~art_plugins.inspection.evidence.own_network.train_on`.
    """
    find_label_issues = import_optional("cleanlab.filter").find_label_issues
    probabilities = np.zeros((len(labels), nb_classes))
    rows = np.flatnonzero(~is_poison)
    sizes = np.bincount(labels[rows], minlength=nb_classes)
    judged = np.flatnonzero(sizes >= N_FOLDS)
    rows = rows[np.isin(labels[rows], judged)]
    others = np.setdiff1d(np.arange(len(labels)), rows)
    given = np.searchsorted(judged, labels[rows])
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=how.get("random_state", 0))
    for number, (seen, unseen) in enumerate(folds.split(rows, given), start=1):
        title = f"network for labels, {number} of {N_FOLDS}"
        network = train_on(pictures, given[seen], len(judged), FOR_LABELS, title, rows[seen], **how)
        probabilities[np.ix_(rows[unseen], judged)] = probabilities_by(network, pictures, rows[unseen])
        if len(others):
            probabilities[np.ix_(others, judged)] += probabilities_by(network, pictures, others) / N_FOLDS
    with seeded_numpy(how.get("random_state", 0)):
        wrong = find_label_issues(given, probabilities[np.ix_(rows, judged)], filter_by=RULE, n_jobs=1)
    is_wrong = np.zeros(len(labels), dtype=bool)
    is_wrong[rows] = wrong & (probabilities[rows].max(axis=1) >= LEAST_SURE)
    return Doubts(probabilities, is_wrong)


def label_findings(doubts: Doubts, labels: np.ndarray) -> list[Found]:
    """The likely label errors, as one finding for each class. A score is 1 minus the probability of the given label."""
    scores = 1 - doubts.probabilities[np.arange(len(labels)), labels]
    wrong = doubts.is_wrong & (doubts.suggested != labels)
    return [
        Found(int(label), wrong & (labels == label), scores, LABEL_ERROR, None, (), ("labels",))
        for label in np.unique(labels[wrong])
    ]
