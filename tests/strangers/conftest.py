"""Every public filter and detector, on tiny data: what the tests of the contract and of random calls drive."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from art.defences.detector.evasion import EvasionDetector
from art.defences.detector.poison.poison_filtering_defence import PoisonFilteringDefence
from art.estimators.classification import PyTorchClassifier
from hypothesis import HealthCheck, Phase, settings
from torch import nn

import art_plugins

N, K, SHAPE = 40, 5, (1, 8, 8)
PUBLIC = {name: getattr(art_plugins, name) for name in art_plugins.__all__}
CLASSES = {name: kind for name, kind in PUBLIC.items() if isinstance(kind, type)}
FILTERS = sorted(name for name, kind in CLASSES.items() if issubclass(kind, PoisonFilteringDefence))
DETECTORS = sorted(name for name, kind in CLASSES.items() if issubclass(kind, EvasionDetector))
# A test that takes an argument of one of these names runs for each of them.
DRIVEN = {"any_class": FILTERS + DETECTORS, "filter_class": FILTERS, "detector_class": DETECTORS}
TINY = {"latent_dim": 4, "step_latent_dim": 2, "embedding_dim": 8, "hidden_dim": 8, "channels": 2}


def white_square(x: np.ndarray) -> np.ndarray:
    """Stamps the trigger; at the top of a module, so that detectors that hold it can be pickled."""
    x = np.array(x)
    x[..., 6:, 6:] = 1
    return x


class Strangers:
    """Makes any public filter or detector by its name, as quick to run as it can be."""

    n, k, shape = N, K, SHAPE
    filters, detectors = FILTERS, DETECTORS

    def __init__(self) -> None:
        random = np.random.default_rng(0)
        self.y = np.arange(N) % K
        # Each class is brighter in a row of its own; 8-bit steps, which float16 holds exactly.
        bright = np.stack([np.abs(np.arange(8) - label) < 1 for label in range(K)])[self.y][:, None, :, None]
        self.x = (random.integers(0, 64, (N, *SHAPE)) / 256 + 0.125 * bright).astype(np.float32)
        self.x.setflags(write=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            first = nn.Sequential(nn.BatchNorm1d(24), nn.ReLU())  # FLARE needs a batch normalisation
            self.network = nn.Sequential(
                nn.Flatten(), nn.Linear(64, 24), first, nn.Linear(24, 16), nn.ReLU(), nn.Linear(16, K)
            )
            optimiser = torch.optim.Adam(self.network.parameters(), lr=0.01)
            for _ in range(150):
                optimiser.zero_grad()
                outputs = self.network(torch.from_numpy(np.array(self.x)))
                nn.functional.cross_entropy(outputs, torch.from_numpy(self.y)).backward()
                optimiser.step()
        self.network.eval()
        self.classifier = self.wrap(self.network)
        self._verdicts: dict[str, np.ndarray] = {}

    @staticmethod
    def wrap(network: nn.Module) -> PyTorchClassifier:
        return PyTorchClassifier(network, nn.CrossEntropyLoss(), SHAPE, K, clip_values=(0, 1), device_type="cpu")

    def make(self, name: str, x: Any = None, y: Any = None, classifier: Any = None, **parameters: Any) -> Any:
        """``x`` and ``y`` are the training data of a filter; a detector takes none."""
        kind = getattr(art_plugins, name)
        classifier = self.classifier if classifier is None else classifier
        own: dict[str, Any] = {
            "VAELatentDefence": {"kind": "image", "nb_epochs": 1, "n_init": 2, "nb_trials": 2, "verbose": False, **TINY},
            "EncoderFeatureDefence": {"encoder": self.network},
            "CognitiveDistillation": {"nb_steps": 3},
            "DetectorFilter": {"x_val": self.x, "y_val": self.y, "detector": "scale_up"},
            "LabelIssues": {"n_folds": 2},
            "AGPD": {"x_val": self.x, "y_val": self.y},
            "PSBD": {"x_val": self.x, "y_val": self.y},
            "ConfusionTraining": {"x_val": self.x, "y_val": self.y, "nb_epochs": 1, "n_steps": 2},
            "FLARE": {"n_neighbors": 8, "min_cluster_size": 8},
            "LayerwiseFeatureDefence": {"mode_params": {"n_folds": 2}},
            "LayerwiseFeatureDetector": {"mode_params": {"n_folds": 2}},
            "PerfectFilter": {"is_poison": np.arange(N) % 5 == 0},
            "RandomFilter": {"n_removed": 3},
            "STEP": {"n_draws": 1},
            "STRIP": {"n_blends": 4},
            "STRIPViTA": {"n_blends": 4},
            "TEDPlusPlus": {"layers": ["0", "1", "3"]},
            "TED": {"layers": ["0", "1", "3"]},  # at the pixels the classes overlap, so that ranks differ
        }.get(name, {})
        if name in FILTERS:
            return kind(classifier, self.x if x is None else x, self.y if y is None else y, **{**own, **parameters})
        arguments = {
            "InFlightDetector": (classifier, white_square, 1),
            "B3D": (classifier, white_square),
            "NeuralCleanseFilter": (classifier, white_square),
        }.get(name, (classifier,))
        return kind(*arguments, **{**own, **parameters})

    def fitted(self, name: str, **parameters: Any) -> Any:
        """A filter that has detected, a detector that has learned."""
        defence = self.make(name, **parameters)
        if name in FILTERS:
            defence.detect_poison()
        else:
            defence.fit(self.x, self.y)
        return defence

    def verdict(self, name: str, x: Any = None, y: Any = None, defence: Any = None) -> np.ndarray:
        """
        Of a filter over ``x`` and ``y``; of a detector fitted on them (or the one given) over ``x``. 1 = suspicious.
        What nothing but the name decides is computed once.
        """
        if x is None and y is None and defence is None:
            if name not in self._verdicts:
                self._verdicts[name] = self.verdict(name, self.x, self.y)
            return self._verdicts[name].copy()
        x, y = self.x if x is None else x, self.y if y is None else y
        if name in FILTERS:
            defence = self.make(name, x, y) if defence is None else defence
            return 1 - np.asarray(defence.detect_poison()[1])
        if defence is None:
            defence = self.make(name)
            defence.fit(x, y)
        return np.asarray(defence.detect(x)[1])


def pytest_configure(config: pytest.Config) -> None:
    """The random calls are the same in every run, unless pytest gets a seed for them."""
    settings.register_profile(
        "random calls",
        deadline=None,
        database=None,
        derandomize=config.getoption("--hypothesis-seed") is None,
        phases=(Phase.explicit, Phase.generate),
        suppress_health_check=list(HealthCheck),
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    for name, classes in DRIVEN.items():
        if name in metafunc.fixturenames:
            metafunc.parametrize(name, classes)


def plane_of_two_groups(features: np.ndarray, n_neighbors: int, random_state: int) -> np.ndarray:
    """What stands for UMAP in the fast tests, (n, 2): the rarest quarter of the samples lies apart from the others."""
    means = np.maximum(features, -1e15).astype(np.float64).mean(axis=1)
    if not np.isfinite(means).all():
        raise ValueError("UMAP refuses what is not finite")
    ranks = np.argsort(np.argsort(means)) / len(means)
    return np.stack([ranks, 100 * (ranks < 0.25)], axis=1)


@pytest.fixture(autouse=True)
def _no_umap_in_fast_tests(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """UMAP compiles itself for half a minute in every process. The slow tests use it."""
    if "slow" not in request.keywords:
        monkeypatch.setattr("art_plugins.baselines.flare.to_plane", plane_of_two_groups)
        monkeypatch.setattr("art_plugins.baselines.flare.import_umap", lambda: None)


@pytest.fixture(scope="session")
def strangers() -> Strangers:
    return Strangers()
