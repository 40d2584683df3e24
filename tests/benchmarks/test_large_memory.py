"""Memory that a defence takes for each further image: 100,000 small ones must fit; ``pytest -m benchmark``."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.benchmark
# Less than the images themselves have, which lie on the disk: 0.3 GB for 100,000 images, beyond what any number needs.
MOST_BYTES = 32 * 32 * 3
SCRIPT = """
import sys, threading
import numpy as np, psutil
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.groups.pictures import shared_patch

shared_patch.MOST_PICTURES = 500  # it bounds the memory of the search, so that it does not grow from there on
random = np.random.default_rng(0)
x = random.integers(0, 256, (int(sys.argv[1]), 4, 4, 3), dtype=np.uint8).repeat(8, axis=1).repeat(8, axis=2)
process, peak, done = psutil.Process(), [0], threading.Event()

def private():
    now = process.memory_info()
    return now.rss - now.shared

def watch():
    while not done.wait(0.01):
        peak[0] = max(peak[0], private())

before = private()
watcher = threading.Thread(target=watch)
watcher.start()
VAELatentDefence(None, x, np.arange(len(x)) % 10, nb_epochs=1, kind="image", verbose=False).detect_poison()
done.set()
watcher.join()
print(peak[0] - before)
"""


def peak_bytes(n: int) -> int:
    """Private memory beyond the images, at its peak, of a defence on ``n`` of them."""
    found = subprocess.run([sys.executable, "-c", SCRIPT, str(n)], capture_output=True, text=True, check=True)
    return int(found.stdout)


def test_memory_for_a_further_image() -> None:
    few, many = 2_000, 10_000
    for_each = (peak_bytes(many) - peak_bytes(few)) / (many - few)
    print({"bytes for a further image": round(for_each)})
    assert for_each <= MOST_BYTES
