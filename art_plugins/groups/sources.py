"""From how many other classes a group was taken: a mixture of classes that one change of all members has shifted."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import entr
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis
from sklearn.model_selection import StratifiedKFold, cross_val_score
from sklearn.neighbors import KNeighborsClassifier

from art_plugins.groups.class_axes import AxesOfOthers, drawn_in
from art_plugins.groups.cuts import LEAST_MEMBERS

# Factor of the centres: half of what the classes differ in. If less could be left, clean classes that vary somewhat more
# along the classes' axes than across them would be mixtures too; MNIST was in view when it was set.
LEAST_CONTRAST = 0.5
RATE = 0.01  # probability with which something is taken for a mixture in a data set without any
MOST_FITTED = 500  # samples: a share of a tenth has a standard error of .013
MOST_ROUNDS, SETTLED = 200, 1e-5  # of the fit, and the gain in nats a sample at which it ends
WITHIN = 1.0  # variance within the classes along their axes, from which the fit begins
LEAST_VARIANCE = 1e-6  # of what one crowd has: samples that lie on the centres have none
N_FOLDS = 4
MOST_JUDGED = 4_000  # samples by which the discriminant and the neighbours are compared: a standard error of .008 at most


class SourceMixtures:
    """
    Groups as mixtures of other classes.

    Samples that were taken from other classes, changed in one way, and labelled anew lie where those classes do, but for
    one shift. So a group is fitted by normal distributions about the centres of all classes but its own, with a share for
    each, one shift for all, and one variance, along what these classes differ in
    (:class:`~art_plugins.groups.class_axes.ClassAxes`). Expectation and maximisation (Dempster, Laird, Rubin 1977) begin
    with equal shares. A sub-population of a class is one crowd: the shift takes it to any place, and one share is left.

    A trigger may also hide a part of what the classes differ in, as a filter of frequencies does. So the centres of a group
    may lie closer together than those of the classes, by one factor of a half to 1 for all, the contrast, if this explains
    the group better. The rest of the class is fitted with a contrast of 1 and with that of the group: a class that lies
    between all others, like a faint mixture of them, has no part that is more of one.

    The mixture must explain the group better than one crowd does, by the difference of the Bayesian information criterion
    (Schwarz 1978), and so much that K classes, each with a chance of ``RATE / K``, do not bring it about.

    When this breaks: poison of one source class or of few; labels that fit; a trigger that shifts the content of each class
    in another way, or hides most of it; classes that a linear discriminant does not tell apart; a class that is a mixture
    of all others.

    :param x: Features of all samples, (n, d), finite.
    :param labels: Class of each sample, (n,).
    :param nb_classes: Number of classes, K.
    """

    def __init__(self, x: np.ndarray, labels: np.ndarray, nb_classes: int) -> None:
        self._others = AxesOfOthers(x, labels, nb_classes)
        self._least = float(np.log(max(1, self._others.nb_classes) / RATE))

    def excess(self, members: np.ndarray, rest: np.ndarray, label: int) -> float:
        """
        Give the share of the other classes that a group might be drawn from, times one less that of the rest of its class.

        Parts of a class that is a collection of others are alike, but a small one proves less than a large one. So the
        mixture need only be the better explanation of the rest, not by more than chance, and no more members are fitted
        than the rest has samples.

        :param members: Rows of the group, (m,).
        :param rest: Rows of the rest of the class.
        :param label: The class of both.
        :return: 0 to below 1; 0 for a rest of fewer than 8 samples, with which nothing can be compared.
        """
        if len(rest) < LEAST_MEMBERS:
            return 0.0
        of_group, contrast = self._share_and_contrast(_drawn(members, len(rest)), label, is_changed=True)
        if of_group == 0:
            return 0.0
        of_rest = [self._share_and_contrast(rest, label, least=0.0, contrast=one)[0] for one in {1.0, contrast}]
        return of_group * (1 - max(of_rest))

    def share(
        self,
        rows: np.ndarray,
        label: int,
        random_state: int = 0,
        *,
        is_changed: bool = False,
        least: float | None = None,
    ) -> float:
        """
        Give the share of the other classes that some samples of a class might be drawn from.

        It is the number of equal shares that have the entropy of those of the mixture, over the number of the other
        classes. One member is counted as if it were of its own class, so that a few members prove little.

        :param rows: The samples, (m,).
        :param label: The class of these samples.
        :param random_state: Random seed of the 500 samples that are fitted where there are more.
        :param is_changed: Whether a trigger may have lowered the contrast of the samples.
        :param least: Gain in nats that the mixture must exceed; ``None``: what K classes do not bring about by chance.
        :return: 0 to below 1; 0 where one crowd explains the samples as well, or there are too few samples or classes.
        """
        return self._share_and_contrast(rows, label, random_state, is_changed=is_changed, least=least)[0]

    def _share_and_contrast(
        self, rows: np.ndarray, label: int, random_state: int = 0, least: float | None = None, **how: Any
    ) -> tuple[float, float]:
        """The share, and the contrast of the fit; ``how`` is handed to :func:`fit_sources`."""
        axes = self._others.beside(label)
        if axes is None or len(rows) < LEAST_MEMBERS:
            return 0.0, 1.0
        rows = _drawn(rows, MOST_FITTED, random_state)
        fit = fit_sources(drawn_in(self._others.x[rows] @ axes.along), axes.centres, **how)
        if fit.gain <= (self._least if least is None else least):
            return 0.0, 1.0
        return float(np.exp(entr(fit.shares).sum())) / len(fit.shares) * len(rows) / (len(rows) + 1), fit.contrast


def _drawn(rows: np.ndarray, most: int, random_state: int = 0) -> np.ndarray:
    return rows if len(rows) <= most else np.random.default_rng(random_state).choice(rows, most, replace=False)


class SourceFit(NamedTuple):
    """
    A mixture of crowds about given centres.

    ``shares``: of each class, (K,). ``contrast``: by which factor the centres lie closer together than given, a half to 1.
    ``gain``: by how many nats the mixture explains the samples better than one crowd does, less half the logarithm of their
    number for each parameter that is free.
    """

    shares: np.ndarray
    contrast: float
    gain: float


def fit_sources(x: np.ndarray, centres: np.ndarray, *, is_changed: bool = False, contrast: float = 1.0) -> SourceFit:
    """
    Fit a mixture of crowds about given centres, but for one shift of all, and for one contrast if this explains more.

    :param x: Samples, (m, q), m at least 1.
    :param centres: Centres of the classes, (K, q).
    :param is_changed: Whether the contrast may be another one than the one given.
    :param contrast: The contrast, a half to 1.
    :return: The fit; of those with the contrast that is given and with any, the better one by its gain.
    """
    z = x - x.mean(axis=0)
    alone = float((z**2).mean())
    if not alone > 0:
        return SourceFit(np.full(len(centres), 1 / len(centres)), 1.0, 0.0)
    whole = _fitted(z, centres, alone, contrast, is_free=False)
    if not is_changed:
        return whole
    faint = _fitted(z, centres, alone, contrast, is_free=True)
    return faint if faint.gain > whole.gain else whole


def _fitted(z: np.ndarray, centres: np.ndarray, alone: float, contrast: float, *, is_free: bool) -> SourceFit:
    """
    Expectation and maximisation. After each expectation the shares are set first, then the variance, by the contrast of the
    round before, and then the contrast. A round may so explain less than the one before; the best one counts.

    :param z: Samples about their mean, (m, q).
    :param alone: Variance of one crowd, above 0.
    :param contrast: Where the contrast begins.
    :param is_free: Whether it is fitted.
    """
    n, n_dims = z.shape
    shares, gain = np.full(len(centres), 1 / len(centres)), -np.inf
    variance, best = min(alone, WITHIN), SourceFit(shares, contrast, -np.inf)
    for _ in range(MOST_ROUNDS):
        places = contrast * (centres - shares @ centres)  # the shift brings the mean of the mixture to that of the samples
        squares = np.maximum((z**2).sum(axis=1)[:, None] - 2 * z @ places.T + (places**2).sum(axis=1), 0)
        with np.errstate(divide="ignore"):
            log_shares = np.log(shares)
        joint = log_shares - squares / (2 * variance) - n_dims / 2 * np.log(variance / alone)
        highest = joint.max(axis=1)
        likelihood = highest + np.log(
            np.exp(joint - highest[:, None]).sum(axis=1)
        )  # a fifth of the time of SciPy's function
        before, gain = gain, float(likelihood.mean()) + n_dims / 2  # one crowd has -n_dims / 2
        best = max(best, SourceFit(shares, contrast, gain), key=lambda fit: fit.gain)
        if gain - before < SETTLED:
            break
        belongs = np.exp(joint - likelihood[:, None])
        shares = belongs.mean(axis=0)
        variance = max(float((belongs * squares).sum()) / (n * n_dims), LEAST_VARIANCE * alone)
        if is_free:
            contrast = _contrast(z, belongs, centres - shares @ centres)
    return best._replace(gain=n * best.gain - (len(centres) - 1 + is_free) / 2 * float(np.log(n)))


def _contrast(z: np.ndarray, belongs: np.ndarray, centres: np.ndarray) -> float:
    """
    The factor of the centres that explains the samples best, a half to 1: a regression without a constant.

    :param belongs: Probability with which each sample is of each class, (m, K).
    :param centres: Centres of the classes about the mean of the mixture, (K, q).
    """
    explained = float((belongs @ (centres**2).sum(axis=1)).sum())
    return float(np.clip(((belongs @ centres) * z).sum() / explained, LEAST_CONTRAST, 1)) if explained > 0 else 1.0


def discriminant_is_better(x: np.ndarray, labels: np.ndarray, n_neighbors: int, random_state: int = 0) -> bool:
    """
    Tell whether a linear discriminant tells the classes apart better than the nearest neighbours do, by cross-validation.

    In features of which most do not depend on the class, as of speech, the neighbours are of any class. Where classes are
    crowds of several kinds, as many pictures are, the neighbours are the better judges.

    :param x: Features, (n, d), finite.
    :param labels: Class of each sample, (n,); classes with fewer than 8 samples are left out.
    :param n_neighbors: Number of neighbours that vote.
    :param random_state: Random seed of the samples that are drawn and of the folds.
    """
    random = np.random.default_rng(random_state)
    rows = random.permutation(len(x))[:MOST_JUDGED]
    rows = rows[np.bincount(labels[rows])[labels[rows]] >= LEAST_MEMBERS]
    if len(np.unique(labels[rows])) < 2:
        return False
    folds = StratifiedKFold(N_FOLDS, shuffle=True, random_state=random_state)
    linear = LinearDiscriminantAnalysis(solver="lsqr", shrinkage="auto")
    neighbours = KNeighborsClassifier(n_neighbors, algorithm="brute")
    judged = [cross_val_score(one, x[rows], labels[rows], cv=folds).mean() for one in (linear, neighbours)]
    return bool(judged[0] > judged[1])
