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

from art_plugins.arrays import check_finite
from art_plugins.defences.contract import PoisonFilter
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import collect_activations, penultimate_activations
from art_plugins.statistics.labels import indices_by_class
from art_plugins.statistics.parameters import MOST, check_choice, check_count, shown
from art_plugins.statistics.spectral import spectral_scores

FEATURES = ("logits", "penultimate")
NOT_TUNABLE = ("classifier", "x_train", "y_train", "generator")  # of ART's filters: given elsewhere


class FeatureView:
    """
    A classifier with one layer, for filters that ask for the last one: ``get_activations`` gives the chosen features.

    :param classifier: ART ``PyTorchClassifier``; every other attribute is its own.
    :param features: ``"logits"``: the last top-level layer, what ART itself would return; ``"penultimate"``: the input of
        the last linear layer.
    """

    def __init__(self, classifier: Any, features: str) -> None:
        if features not in FEATURES:
            raise InvalidInputError(f"features must be one of {FEATURES}; received {features!r}.")
        self._classifier, self._features = classifier, features
        self.layer_names = [features]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._classifier, name)

    def get_activations(
        self, x: np.ndarray, layer: Any = None, batch_size: int = 128, framework: bool = False
    ) -> np.ndarray:
        """The features of ``x``, (n, features); ``layer`` and ``framework`` are ART's and not needed."""
        if self._features == "penultimate":
            return penultimate_activations(self._classifier, x, batch_size)
        last = self._classifier.layer_names[-1]
        return collect_activations(self._classifier, x, [last], batch_size)[last]


class ARTFilter(PoisonFilter):
    """
    One of ART's filters, seeded, on the chosen features, evaluated on what it returned (ART's activation clustering
    clusters anew in ``evaluate_defence`` and disagrees with itself).

    :param features: See :class:`FeatureView`.
    :param random_state: ART's filters draw from NumPy's global generator: it is seeded for the call and given back.
    :param parameters: Of the ART filter, under ART's names, with ART's defaults.
    """

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
        try:
            self._art_filter(self.classifier, None, values)
        except ValueError as error:
            raise InvalidInputError(str(error)) from error

    def _check_data(self) -> None:
        super()._check_data()
        check_finite(self.x_train, "samples", "remove or mend such samples first")

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        view = FeatureView(self.classifier, self.features)
        one_hot = np.eye(nb_classes, dtype=np.float32)[labels]
        with seeded_numpy(self.random_state):
            _, is_clean = self._art_filter(view, one_hot, self.tunables()).detect_poison()
        self.is_clean_ = np.asarray(is_clean, dtype=int)
        removed = [int((1 - self.is_clean_[indices]).sum()) for indices in indices_by_class(labels, nb_classes)]
        return {"features": self.features, "n_removed": {f"Class_{label}": count for label, count in enumerate(removed)}}

    def _art_filter(self, classifier: Any, y: np.ndarray | None, values: dict[str, Any]) -> Any:
        art_filter = self.art_class(classifier, self.x_train, y)
        art_filter.set_params(**{name: values[name] for name in self.art_params})
        return art_filter


class ActivationClustering(ARTFilter):
    """ART's ``ActivationDefence`` (Chen et al. 2018): per class PCA to 10 dimensions and 2-means; the smaller half goes."""

    art_class = ActivationDefence


class SpectralSignatures(ARTFilter):
    """
    ART's ``SpectralSignatureDefense`` (Tran et al. 2018): projection on the top singular vector of each class; with ART's
    defaults 49.5 % of every class go.

    :ivar outlier_scores_: (n,), ART's score of every sample; higher is more suspicious.
    """

    art_class = SpectralSignatureDefense

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        report = super()._detect(labels, nb_classes)
        activations = FeatureView(self.classifier, self.features).get_activations(self.x_train)
        self.outlier_scores_ = np.zeros(len(labels))
        for indices in indices_by_class(labels, nb_classes):
            if len(indices):
                self.outlier_scores_[indices] = spectral_scores(activations[indices])
        return report


class PerfectFilter(PoisonFilter):
    """
    Upper bound: removes exactly the poison.

    :param is_poison: Ground truth (n,), bool.
    """

    def __init__(self, classifier: Any, x_train: np.ndarray, y_train: np.ndarray, is_poison: np.ndarray) -> None:
        super().__init__(classifier, x_train, y_train)
        truth = np.asarray(is_poison)
        if truth.ndim != 1 or not np.isin(truth, (0, 1)).all():
            raise InvalidInputError(f"is_poison must be of shape (n,), bool; received {shown(is_poison)}.")
        self.is_poison = truth.astype(bool)

    def _check_data(self) -> None:
        super()._check_data()
        if len(self.is_poison) != len(self.x_train):
            raise InvalidInputError(
                f"is_poison must have one entry a sample, {len(self.x_train)}; received {len(self.is_poison)}."
            )

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        self.is_clean_ = 1 - self.is_poison.astype(int)
        return {"n_removed": int(self.is_poison.sum())}


class RandomFilter(PoisonFilter):
    """
    Lower bound: removes so many samples at random.

    :param n_removed: Number of samples, 0 to n.
    :param random_state: Seed.
    """

    def __init__(
        self, classifier: Any, x_train: np.ndarray, y_train: np.ndarray, n_removed: int = 0, random_state: int = 0
    ) -> None:
        super().__init__(classifier, x_train, y_train)
        self.n_removed, self.random_state = n_removed, random_state
        self.defence_params = ["n_removed", "random_state"]
        self.set_params(**self.tunables())

    def _check(self, values: dict[str, Any]) -> None:
        check_count("n_removed", values["n_removed"], 0, len(self.x_train) if hasattr(self.x_train, "__len__") else MOST)
        check_count("random_state", values["random_state"], 0)

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        chosen = np.random.default_rng(self.random_state).choice(len(labels), size=self.n_removed, replace=False)
        self.is_clean_ = np.ones(len(labels), dtype=int)
        self.is_clean_[chosen] = 0
        return {"n_removed": self.n_removed}


@contextmanager
def seeded_numpy(random_state: int) -> Iterator[None]:
    """Seed NumPy's global generator inside the block and give it back as it was."""
    state = np.random.get_state()  # noqa: NPY002  # ART and scikit-learn draw from the global generator
    np.random.seed(random_state)  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(state)  # noqa: NPY002
