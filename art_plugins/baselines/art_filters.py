"""
What a defence is measured against: ART's activation clustering and spectral signatures, as shipped and on true
penultimate features, seeded; and the perfect and the random filter as bounds.

ART's two filters ask the classifier for its last top-level layer. In a PyTorch model that is the head, so as shipped they
look at logits; the papers they implement look at what the head sees.
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
from art_plugins.statistics.spectral import spectral_scores

FEATURES = ("logits", "penultimate")
NOT_TUNABLE = ("classifier", "x_train", "y_train", "generator")  # of ART's filters: given elsewhere
LEAST_SAMPLES = 10  # of a class, to say that one of two clusters is odd
# What ART's activation clustering knows; its TSNE is named there, and missing.
CHOICES: dict[str, tuple[str, ...]] = {
    "clustering_method": ("KMeans",),
    "reduce": ("PCA", "FastICA"),
    "cluster_analysis": ("smaller", "distance", "relative-size", "silhouette-scores"),
}


class FeatureView:
    """
    A classifier with one layer, for filters that ask for the last one: ``get_activations`` gives the chosen features.

    :param classifier: ART ``PyTorchClassifier``; every other attribute is its own.
    :param features: ``"logits"``: the last top-level layer, what ART itself would return; ``"penultimate"``: the input of
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
        """The features of ``x``, (n, features); ``layer`` and ``framework`` are ART's and not needed."""
        torch_module(self._classifier)
        if self._features == "penultimate":
            return penultimate_activations(self._classifier, x, batch_size)
        last = self._classifier.layer_names[-1]
        return collect_activations(self._classifier, x, [last], batch_size)[last]


class KnownFeatures:
    """What one of ART's filters asks of a classifier, answered by features (n, d) that are there already."""

    def __init__(self, classifier: Any, features: np.ndarray, nb_classes: int) -> None:
        self._classifier, self._features = classifier, features
        self.layer_names, self.nb_classes = ["features"], nb_classes

    def __getattr__(self, name: str) -> Any:
        return getattr(self._classifier, name)

    def get_activations(self, x: np.ndarray, layer: Any = None, batch_size: int = 128) -> np.ndarray:
        """The features, whatever is asked."""
        return self._features


class ARTFilter(PoisonFilter):
    """
    One of ART's filters, seeded, on the chosen features, evaluated on what it returned (ART's activation clustering
    clusters anew in ``evaluate_defence`` and disagrees with itself).

    :param features: See :class:`FeatureView`.
    :param random_state: ART's filters draw from NumPy's global generator: it is seeded for the call and given back.
    :param parameters: Of the ART filter, under ART's names, with ART's defaults.
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
            # ART fails on a class that it cannot judge: it is shown the others only, as classes 0, 1, ...
            rows = np.flatnonzero(np.isin(labels, judged))
            shown: np.ndarray = np.searchsorted(judged, labels[rows])
            if len(judged) > 1:  # ART takes one-hot labels of a single class for indices
                shown = np.eye(len(judged), dtype=np.float32)[shown]
            self.is_clean_[rows] = self._art_verdicts(features[rows], self.x_train[rows], shown, len(judged))
        self._note_features(features, labels, nb_classes)
        return {
            "features": self.features,
            "n_removed": {f"Class_{label}": int((1 - self.is_clean_[rows]).sum()) for label, rows in enumerate(members)},
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
        """What a subclass keeps of the features (n, d)."""


class ActivationClustering(ARTFilter):
    """
    ART's ``ActivationDefence`` (Chen et al. 2018): per class PCA to 10 dimensions and 2-means; the smaller half goes.

    When this breaks: classes of fewer than ten samples, or fewer than the clusters or dimensions asked for, are not judged:
    they pass, and the report lists them.
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
    ART's ``SpectralSignatureDefense`` (Tran et al. 2018): projection on the top singular vector of each class; with ART's
    defaults 49.5 % of every class go.

    :ivar outlier_scores_: (n,), ART's score of every sample; higher is more suspicious.
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
    """Seed NumPy's global generator inside the block and give it back as it was."""
    state = np.random.get_state()  # noqa: NPY002  # ART and scikit-learn draw from the global generator
    np.random.seed(random_state)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
