"""
What each filter costs beside one forward pass of the data: writes ``defence_costs.json`` and its table anew.

    python tests/benchmarks/defence_costs.py DATA

DATA is the folder of the data sets (``ART_PLUGINS_DATA``). Each filter runs in a process of its own, on the first images of
Fashion-MNIST, with a LeNet-5 that is trained once. Seconds are those of the processor; the ratio of two threads to one
is of the clock. Leave the machine to it: it takes about ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import torch
from art.estimators.classification import PyTorchClassifier
from safetensors.torch import load_file, save_file

from art_plugins.attacks.datasets.images import image_data
from art_plugins.attacks.image_models import train_image_classifier
from art_plugins.attacks.networks import lenet5
from art_plugins.attacks.training_loop import ImageTraining
from art_plugins.evaluation.filters import filter_named
from art_plugins.features.classifiers import torch_module
from art_plugins.storage import write_json, write_text

RECORD = Path(__file__).parent / "defence_costs.json"
SIZES = (5_000, 10_000, 20_000)
N_TRUSTED = 20  # of each class
FILTERS: dict[str, dict[str, Any]] = {
    "layerwise": {},
    "layerwise_trusted": {},
    "vae_latent": {"nb_epochs": 1, "kind": "image"},
    "activation_clustering_logits": {},
    "activation_clustering_penultimate": {},
    "spectral_signatures_logits": {},
    "spectral_signatures_penultimate": {},
    "spectre": {},
    "pyod_iforest": {},
    "cleanlab": {},
}
TITLES = (
    "Filter",
    "Forward passes",
    "CPU s for 10,000 images",
    "Two threads, of the time of one",
    *(f"Extra memory of {n:,}, MB" for n in SIZES),
    "Bytes for a further image",
)


def measure(name: str, root: Path, weights: Path, n: int) -> dict[str, Any]:
    """Cost of one filter on ``n`` images; runs in a process of its own, with the threads that the environment gives."""
    torch.set_num_threads(int(os.environ["OMP_NUM_THREADS"]))
    network = lenet5(1, 10)
    network.load_state_dict(load_file(weights))
    classifier = PyTorchClassifier(
        network.eval(), torch.nn.CrossEntropyLoss(), (1, 28, 28), 10, clip_values=(0, 1), device_type="cpu"
    )
    data = image_data("fashion_mnist", root)
    x, y = data.x_train[:n].copy(), data.y_train[:n].copy()
    given = dict(FILTERS[name])
    if name == "layerwise_trusted":
        rows = np.concatenate([np.flatnonzero(data.y_test == label)[:N_TRUSTED] for label in range(10)])
        given |= {"x_val": data.x_test[rows], "y_val": data.y_test[rows]}
    kind = filter_named(name)

    def filtered(size: int) -> None:
        kind.kind(classifier, x[:size], y[:size], **kind.settings, **given).detect_poison()

    forward_s = min(_timed(lambda: classifier.predict(x, batch_size=128))[0] for _ in range(3))
    filtered(1_000)  # what is imported and compiled once does not count
    peak, done = [0.0], threading.Event()
    watcher = threading.Thread(target=_watch, args=(peak, done, _private_mb()))
    watcher.start()
    filter_s, wall_s = _timed(lambda: filtered(n))
    done.set()
    watcher.join()
    return {"forward_s": forward_s, "filter_s": filter_s, "wall_s": wall_s, "peak_extra_mb": peak[0]}


def row_of(name: str, root: Path, weights: Path) -> dict[str, Any]:
    """All sizes with one thread, and the middle one with two."""
    sizes = {n: _in_a_process(name, root, weights, n, 1) for n in SIZES}
    one, two = sizes[10_000], _in_a_process(name, root, weights, 10_000, 2)
    memory = [sizes[n]["peak_extra_mb"] for n in SIZES]
    return {
        "title": filter_named(name).title + (", one epoch" if name == "vae_latent" else ""),
        "passes": one["filter_s"] / one["forward_s"],
        "cpu_s": one["filter_s"],
        "two_threads": two["wall_s"] / one["wall_s"],
        "peak_extra_mb": memory,
        "bytes_for_each": float(np.polyfit(SIZES, memory, 1)[0]) * 1e6,
    }


def table(rows: list[dict[str, Any]]) -> str:
    """The rows as a Markdown table."""
    lines = [f"| {' | '.join(TITLES)} |", f"| --- |{' ---: |' * (len(TITLES) - 1)}"]
    for row in rows:
        figures = [f"{row['passes']:.1f}", f"{row['cpu_s']:.1f}", f"{row['two_threads']:.2f}"]
        figures += [f"{value:,.0f}" for value in (*row["peak_extra_mb"], row["bytes_for_each"])]
        lines.append(f"| {row['title']} | {' | '.join(figures)} |")
    return "\n".join(lines) + "\n"


def _in_a_process(name: str, root: Path, weights: Path, n: int, n_threads: int) -> dict[str, Any]:
    limits = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(n_threads))
    command = [sys.executable, __file__, str(root), "--one", name, "--weights", str(weights), "--n", str(n)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, env=os.environ | limits)
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _timed(call: Any) -> tuple[float, float]:
    cpu, wall = time.process_time(), time.perf_counter()
    call()
    return time.process_time() - cpu, time.perf_counter() - wall


def _private_mb() -> float:
    now = psutil.Process().memory_info()
    return float(now.rss - now.shared) / 1e6


def _watch(peak: list[float], done: threading.Event, before: float) -> None:
    while not done.wait(0.02):
        peak[0] = max(peak[0], _private_mb() - before)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--one")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--n", type=int)
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(arguments.one, arguments.root, arguments.weights, arguments.n)))
        sys.exit()
    with tempfile.TemporaryDirectory() as folder:
        weights = Path(folder) / "lenet5.safetensors"
        data = image_data("fashion_mnist", arguments.root)
        trained = train_image_classifier(
            data.x_train[:20_000], data.y_train[:20_000], 10, ImageTraining(network="lenet5", nb_epochs=2)
        )
        save_file(torch_module(trained).state_dict(), weights)
        rows = []
        for name in FILTERS:
            rows.append(row_of(name, arguments.root, weights))
            print(json.dumps(rows[-1]), flush=True)
    write_json(RECORD, {"n_cores": os.cpu_count(), "torch": torch.__version__, "filters": rows})
    write_text(RECORD.with_suffix(".md"), table(rows))
