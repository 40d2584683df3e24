"""
The filters of ART as baselines: activation clustering and spectral signatures, with a random seed.

ART's filters ask the classifier for its last top-level layer. In a PyTorch model this is the head, so ART uses the logits.
The papers use the penultimate features, the input of the head. Both can be chosen here.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from art.defences.detector.poison import ActivationDefence, SpectralSignatureDefense

from art_plugins.arrays import check_finite_features
from art_plugins.defences.contract import PoisonFilter
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import collect_activations, penultimate_activations
from art_plugins.features.classifiers import torch_module
from art_plugins.parameters import check_choice, check_count, check_number
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.peers.spectral import spectral_scores

FEATURES = ("logits", "penultimate")
NOT_TUNABLE = ("classifier", "x_train", "y_train", "generator")  # parameters of ART's filters that are given elsewhere
LEAST_SAMPLES = 10  # smallest number of samples of a class that is judged
# The choices of ART's activation clustering. ART also names TSNE, but does not have it.
CHOICES: dict[str, tuple[str, ...]] = {
    "clustering_method": ("KMeans",),
    "reduce": ("PCA", "FastICA"),
    "cluster_analysis": ("smaller", "distance", "relative-size", "silhouette-scores"),
}


class FeatureView:
    """
    A classifier that seems to have one layer, for filters that ask for the last layer: ``get_activations`` gives the chosen
    features. All other attributes are those of the classifier.

    :param classifier: ART ``PyTorchClassifier``.
    :param features: ``"logits"`` for the last top-level layer, which ART itself uses; ``"penultimate"`` for the input of
        the last linear layer.
    """

    def __init__(self, classifier: Any, features: str) -> None:
        check_choice("features", features, FEATURES)
        self._classifier, self._features = classifier, features
        self.layer_names = [features]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._classifier, name)

    def get_activations(
        self, x: np.ndarray, layer: Any = None, batch_size: int = 128, framework: bool = False
    ) -> np.ndarray:
        """Give the features of ``x``, (n, features); ``layer`` and ``framework`` of ART's interface are ignored."""
        torch_module(self._classifier)
        if self._features == "penultimate":
            return penultimate_activations(self._classifier, x, batch_size)
        last = self._classifier.layer_names[-1]
        return collect_activations(self._classifier, x, [last], batch_size)[last]


class KnownFeatures:
    """A classifier for ART's filters whose ``get_activations`` gives features, (n, d), that are already computed."""

    def __init__(self, classifier: Any, features: np.ndarray, nb_classes: int) -> None:
        self._classifier, self._features = classifier, features
        self.layer_names, self.nb_classes = ["features"], nb_classes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._classifier, name)

    def get_activations(self, x: np.ndarray, layer: Any = None, batch_size: int = 128) -> np.ndarray:
        """Give the features, whatever the arguments are."""
        return self._features


class ARTFilter(PoisonFilter):
    """
    One of ART's filters, with a random seed, on the chosen features. It is evaluated on the result that it gave. (ART's
    activation clustering clusters again in ``evaluate_defence`` and may get another result.)

    :param features: See :class:`FeatureView`.
    :param random_state: Random seed of the filter. ART draws from NumPy's global generator, which is seeded for the call
        and restored after it.
    :param parameters: Parameters of the ART filter, with ART's names and defaults.
    """

    needs_network = True
    art_class: type

    def __init__(
        self,
        classifier: Any,
        x_train: np.ndarray,
        y_train: np.ndarray,
        features: str = "penultimate",
        random_state: int = 0,
        **parameters: Any,
    ) -> None:
        super().__init__(classifier, x_train, y_train)
        self.features, self.random_state = features, random_state
        defaults = self.art_class(classifier, x_train, y_train)
        self.art_params = [name for name in self.art_class.defence_params if name not in NOT_TUNABLE]  # type: ignore[attr-defined]
        self.defence_params = ["features", "random_state", *self.art_params]
        for name in self.art_params:
            setattr(self, name, getattr(defaults, name))
        self.set_params(**{**self.tunables(), **parameters})

    def _check(self, values: dict[str, Any]) -> None:
        check_choice("features", values["features"], FEATURES)
        check_count("random_state", values["random_state"], 0)

    def _can_judge(self, features: np.ndarray) -> bool:
        """Whether ART's filter can judge a class of these features, (n, d)."""
        return len(features) > 0

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        features = FeatureView(self.classifier, self.features).get_activations(self.x_train)
        check_finite_features(features, "penultimate layer" if self.features == "penultimate" else "last layer")
        members = indices_by_class(labels, nb_classes)
        judged = [label for label, rows in enumerate(members) if self._can_judge(features[rows])]
        self.is_clean_ = np.ones(len(labels), dtype=int)
        if judged:
            # ART fails on a class that it cannot judge, so it receives only the others, as classes 0, 1, ...
            rows = np.flatnonzero(np.isin(labels, judged))
            shown: np.ndarray = np.searchsorted(judged, labels[rows])
            if len(judged) > 1:  # ART mistakes one-hot labels of a single class for indices
                shown = np.eye(len(judged), dtype=np.float32)[shown]
            self.is_clean_[rows] = self._art_verdicts(features[rows], self.x_train[rows], shown, len(judged))
        self._note_features(features, labels, nb_classes)
        return {
            "features": self.features,
            "n_removed": self._removed(labels, nb_classes),
            "classes_not_judged": [label for label in range(nb_classes) if label not in judged],
        }

    def _art_verdicts(self, features: np.ndarray, x: np.ndarray, y: np.ndarray, nb_classes: int) -> np.ndarray:
        view = KnownFeatures(self.classifier, features, nb_classes)
        art_filter = self.art_class(view, x, y)
        try:
            art_filter.set_params(**{name: getattr(self, name) for name in self.art_params})
            with seeded_numpy(self.random_state):
                _, is_clean = art_filter.detect_poison()
        except (ValueError, IndexError) as error:  # IndexError: 2-means found one cluster, in equal samples
            raise InvalidInputError(
                f"ART's {self.art_class.__name__} cannot judge these features with these parameters ({error}); change them."
            ) from error
        return np.asarray(is_clean, dtype=int)

    def _note_features(self, features: np.ndarray, labels: np.ndarray, nb_classes: int) -> None:
        """Keep what a subclass needs of the features, (n, d)."""


class ActivationClustering(ARTFilter):
    """
    ART's ``ActivationDefence`` (Chen et al. 2018). The features of each class are reduced to 10 dimensions by PCA and split
    by 2-means, and the smaller cluster is removed.

    When this breaks: classes with fewer than ten samples, or fewer than the number of clusters or dimensions, are not
    judged. Their samples are kept, and the report lists these classes.
    """

    art_class = ActivationDefence

    def _check(self, values: dict[str, Any]) -> None:
        super()._check(values)
        check_count("nb_clusters", values["nb_clusters"], 2)
        check_count("nb_dims", values["nb_dims"], 1)
        for name, known in CHOICES.items():
            check_choice(name, values[name], known)
        threshold = values["ex_re_threshold"]
        if threshold is not None:
            check_number("ex_re_threshold", threshold, "None or a number", above=0)

    def _can_judge(self, features: np.ndarray) -> bool:
        values = self.tunables()
        reduced = values["nb_dims"] if features.shape[1] > values["nb_dims"] else 1
        least = max(LEAST_SAMPLES, int(values["nb_clusters"]), int(reduced))
        return len(features) >= least

    def _art_verdicts(self, features: np.ndarray, x: np.ndarray, y: np.ndarray, nb_classes: int) -> np.ndarray:
        if self.tunables()["ex_re_threshold"] is not None and nb_classes < self.classifier.nb_classes:
            raise InvalidInputError(
                f"ex_re_threshold trains the classifier anew on all {self.classifier.nb_classes} classes, of which only "
                f"{nb_classes} have enough samples to be judged; leave it at None, or give more samples."
            )
        return super()._art_verdicts(features, x, y, nb_classes)


class SpectralSignatures(ARTFilter):
    """
    ART's ``SpectralSignatureDefense`` (Tran et al. 2018). Samples are scored by their projection on the top singular vector
    of their class. With ART's defaults, 49.5 % of every class are removed.

    :ivar outlier_scores_: ART's score of every sample, (n,); higher is more suspicious.
    """

    art_class = SpectralSignatureDefense

    def _check(self, values: dict[str, Any]) -> None:
        super()._check(values)
        check_count("batch_size", values["batch_size"], 1)
        check_number("eps_multiplier", values["eps_multiplier"], above=0)
        check_number("expected_pp_poison", values["expected_pp_poison"], "a share", above=0, below=1)

    def _note_features(self, features: np.ndarray, labels: np.ndarray, nb_classes: int) -> None:
        self.outlier_scores_ = np.zeros(len(labels))
        for indices in indices_by_class(labels, nb_classes):
            if len(indices):
                self.outlier_scores_[indices] = spectral_scores(features[indices])


@contextmanager
def seeded_numpy(random_state: int) -> Iterator[None]:
    """Seed NumPy's global generator inside the block and restore its state afterwards."""
    state = np.random.get_state()  # noqa: NPY002  # ART and scikit-learn draw from the global generator
    np.random.seed(random_state)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
