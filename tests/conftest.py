"""What several test files share: tiny data sets, the folder of real recordings where there is one, local clusters."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from html.parser import HTMLParser
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from sklearn.datasets import load_digits
from torch import nn

TINY_RATE_HZ = 1_600
LONGEST = ("test_paper_attack.py", "test_notebooks.py", "test_shared_sounds.py")
VOID = {"meta", "img", "br", "hr", "link", "input"}  # HTML elements without an end
# Read when Ray is imported: no token in the home directory, no telephoning, loopback addresses only.
os.environ.update(RAY_AUTH_MODE="disabled", RAY_USAGE_STATS_ENABLED="0", RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER="0")


def pytest_configure(config: pytest.Config) -> None:
    """Several workers of pytest-xdist have one core each, so each uses one thread. Workers take over the environment."""
    if config.getoption("numprocesses", default=None):
        for name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
            os.environ.setdefault(name, "1")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest tests come first. So no worker of pytest-xdist waits for them at the end."""
    items.sort(key=lambda item: item.path.name not in LONGEST)


@pytest.fixture(scope="session")
def data_root() -> Path:
    """Folder of real recordings, named by the environment variable ART_PLUGINS_DATA."""
    name = os.environ.get("ART_PLUGINS_DATA")
    if not name:
        pytest.skip("ART_PLUGINS_DATA does not name a folder of real recordings")
    root = Path(name)
    if not root.is_dir():
        pytest.skip(f"ART_PLUGINS_DATA names {root}, which is no folder")
    return root


@pytest.fixture
def random() -> np.random.Generator:
    """A generator of its own for each test."""
    return np.random.default_rng(20231)


@pytest.fixture(scope="session")
def tiny_network() -> dict[str, Any]:
    """Settings of the smallest sensible autoencoder, for any kind of data."""
    return {
        "sample_rate_hz": TINY_RATE_HZ,
        "n_mels": 8,
        "window_s": 0.02,
        "hop_s": 0.05,
        "latent_dim": 4,
        "step_latent_dim": 2,
        "embedding_dim": 8,
        "hidden_dim": 8,
        "channels": 2,
    }


@pytest.fixture(scope="session")
def tiny_waveforms() -> np.ndarray:
    """Half a second of noise under a random tone, (60, 800); read-only, since every test shares it."""
    random = np.random.default_rng(1)
    times_s = np.arange(TINY_RATE_HZ // 2) / TINY_RATE_HZ
    tones = np.sin(2 * np.pi * random.uniform(50, 700, size=(60, 1)) * times_s)
    return _frozen(0.3 * tones + 0.05 * random.normal(size=tones.shape))


@pytest.fixture(scope="session")
def tiny_spectrograms() -> np.ndarray:
    """(60, 6, 11): a number of bands that is no multiple of 8."""
    return _frozen(np.random.default_rng(2).normal(size=(60, 6, 11)))


@pytest.fixture(scope="session")
def tiny_images() -> np.ndarray:
    """Colour images, channels first, (60, 3, 10, 9): neither side is a multiple of 4."""
    return _frozen(np.random.default_rng(3).uniform(size=(60, 3, 10, 9)))


class Digits:
    """
    Real 8 x 8 images of handwritten digits, 0 to 1, (n, 1, 8, 8), read-only, and networks trained on them in a second:
    ``"clean"``, or with a backdoor towards ``target`` that a ``"white_square"`` or a ``"chessboard"`` opens.
    """

    target = 3

    def __init__(self) -> None:
        x, y = load_digits(return_X_y=True)
        x = _frozen(x.reshape(-1, 1, 8, 8) / 16)
        order = np.random.default_rng(1).permutation(len(x))
        self.x_train, self.y_train = x[order[:1200]], y[order[:1200]]
        x, y = x[order[1200:]], y[order[1200:]]
        first = np.concatenate([np.flatnonzero(y == label)[:20] for label in range(10)])
        self.x_clean, self.y_clean = _frozen(x[first]), y[first]
        self.x_test, self.y_test = _frozen(np.delete(x, first, axis=0)), np.delete(y, first)
        self._networks: dict[str, nn.Module] = {}

    @property
    def stamps(self) -> dict[str, Callable[[np.ndarray], np.ndarray]]:
        """What opens each backdoor."""
        return {"white_square": self.white_square, "chessboard": self.chessboard}

    @staticmethod
    def white_square(x: np.ndarray) -> np.ndarray:
        x = np.array(x)
        x[:, :, 6:, 6:] = 1
        return x

    @staticmethod
    def chessboard(x: np.ndarray) -> np.ndarray:
        return np.clip(x + 0.3 * (np.indices((8, 8)).sum(axis=0) % 2 == 0), 0, 1).astype(x.dtype)

    def network(self, attack: str) -> nn.Module:
        """Trained once and shared: leave its weights as they are."""
        if attack not in self._networks:
            self._networks[attack] = self._train(attack)
        return self._networks[attack]

    def _train(self, attack: str) -> nn.Module:
        x, y = np.array(self.x_train), np.array(self.y_train)
        if attack != "clean":
            others = np.flatnonzero(y != self.target)
            poisoned = np.random.default_rng(1).choice(others, len(x) // 10, replace=False)
            x[poisoned], y[poisoned] = self.stamps[attack](x[poisoned]), self.target
        images, labels = torch.from_numpy(x), torch.from_numpy(y)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(1)
            network = nn.Sequential(
                nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10)
            )
            optimiser = torch.optim.Adam(network.parameters(), lr=3e-3)
            for _ in range(30):
                for rows in torch.randperm(len(images)).split(64):
                    optimiser.zero_grad()
                    nn.functional.cross_entropy(network(images[rows]), labels[rows]).backward()
                    optimiser.step()
            optimiser.zero_grad()
        return network.eval()


@pytest.fixture(scope="session")
def digits() -> Digits:
    """Small real images, with poisoned and clean networks for them."""
    return Digits()


class MergedDigits(NamedTuple):
    """
    Real digits of which two share a label: natural sub-populations of one class, and no poison.

    ``x`` (n, 1, 8, 8), ``y`` (n,): the training set. ``part`` (n,): the digit of each sample. ``label``: the label that two
    digits share. ``parts``: these digits. ``classifier``: an ART classifier trained on the set.
    """

    x: np.ndarray
    y: np.ndarray
    part: np.ndarray
    label: int
    parts: tuple[int, int]
    classifier: Any


@pytest.fixture(scope="session")
def merged_digits() -> MergedDigits:
    """The digits 1 and 7 as one class. A filter may not remove one of them as a whole."""
    from art_plugins.attacks.datasets.digits import digits as load
    from art_plugins.attacks.datasets.labelled import merged
    from art_plugins.attacks.image_models import train_image_classifier
    from art_plugins.attacks.training_loop import ImageTraining

    data, part = merged(load(), {7: 1})
    training = ImageTraining(network="plain_cnn", nb_epochs=20, batch_size=32)
    classifier = train_image_classifier(data.x_train, data.y_train, len(data.class_names), training)
    return MergedDigits(data.x_train, data.y_train, part, 1, (1, 7), classifier)


@pytest.fixture
def global_generators_untouched() -> Iterator[None]:
    """
    The package never draws from, nor seeds, the global generators. A file holds all of its tests to that by
    ``pytestmark = pytest.mark.usefixtures("global_generators_untouched")``; such tests build networks inside ``seeded``.
    """
    numpy_before = np.random.get_state()  # noqa: NPY002
    torch_before = torch.get_rng_state()
    yield
    numpy_after = np.random.get_state()  # noqa: NPY002
    torch_after = torch.get_rng_state()
    np.random.set_state(numpy_before)  # noqa: NPY002
    torch.set_rng_state(torch_before)
    assert numpy_after[2] == numpy_before[2]
    assert np.array_equal(numpy_after[1], numpy_before[1]), "NumPy's global generator was used"
    assert torch.equal(torch_after, torch_before), "torch's global generator was used"


@pytest.fixture(scope="session")
def start_cluster() -> Callable[[str, int], AbstractContextManager[Any]]:
    """Start Dask or Ray with so many workers: the arguments of ``parallel_map``, and the engine's own object."""
    return contextmanager(_cluster)


def _cluster(backend: str, n_workers: int) -> Iterator[Any]:
    folder = tempfile.mkdtemp(prefix=backend)  # not pytest's: Ray's sockets bear no long path
    try:
        if backend == "dask":
            distributed = pytest.importorskip("distributed")
            import dask

            settings = {"host": "127.0.0.1", "dashboard_address": "127.0.0.1:0", "local_directory": folder}
            # Not Dask's own MALLOC_TRIM_THRESHOLD_, with which every array of some size is new pages of the system.
            environment = {"distributed.nanny.pre-spawn-environ": {"OMP_NUM_THREADS": 1}}
            with (
                dask.config.set(environment),
                distributed.LocalCluster(n_workers=n_workers, threads_per_worker=1, silence_logs=50, **settings) as cluster,
            ):
                yield {"backend": "dask", "address": cluster.scheduler_address}, cluster
        else:
            pytest.importorskip("ray")
            from ray.cluster_utils import Cluster

            os.environ["RAY_TMPDIR"] = folder
            head = {"num_cpus": n_workers, "include_dashboard": False, "object_store_memory": 400 * 2**20}
            cluster = Cluster(initialize_head=True, head_node_args=head)
            try:
                yield {"backend": "ray", "address": cluster.address}, cluster
            finally:
                cluster.shutdown()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _frozen(x: np.ndarray) -> np.ndarray:
    x = x.astype(np.float32)
    x.setflags(write=False)
    return x


class Page(HTMLParser):
    """Every element of a page with its attributes, and its text; complains about tags that do not match."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.open: list[str] = []
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)
        self.close()
        assert self.open == [], f"never closed: {self.open}"

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open, f"</{tag}> was never opened"
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "style" not in self.open:
            self.text += data

    def all(self, tag: str) -> list[dict[str, str | None]]:
        """The attributes of every element of this name."""
        return [attributes for name, attributes in self.elements if name == tag]

    def links(self) -> list[str | None]:
        """What the page links to or loads."""
        return [value for _, element in self.elements for name, value in element.items() if name in ("src", "href")]


@pytest.fixture(scope="session")
def read_page() -> Callable[[Path | str], Page]:
    """Reads HTML, from a file or as it is."""
    return lambda page: Page(page.read_text(encoding="utf-8") if isinstance(page, Path) else page)


@pytest.fixture
def nothing_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    """Training an autoencoder is an error."""

    def never(*_: object, **__: object) -> None:
        raise AssertionError("an autoencoder was trained")

    monkeypatch.setattr("art_plugins.features.autoencoder.Autoencoder.fit", never)
