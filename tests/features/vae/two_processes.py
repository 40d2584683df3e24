"""Trains with two processes until a pulled plug, run as a script: spawned processes import it from its path."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from lightning.fabric import Fabric
from torch import Tensor, nn

from art_plugins.features.vae.training import train


class Loss(NamedTuple):
    total: Tensor


class Linear(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(6, 6)

    def forward(self, x: Tensor) -> Loss:
        return Loss(((self.layer(x) - x) ** 2).mean())


def work(fabric: Fabric, checkpoint: str) -> None:
    """Each process sees half of the batches of 16; the fifth of both pulls the plug, in the third epoch."""
    n_batches = 0

    def unplugged(batch: Tensor) -> Tensor:
        nonlocal n_batches
        n_batches += 1
        if n_batches == 5:
            raise KeyboardInterrupt
        return batch

    x = np.random.default_rng(0).normal(size=(64, 6)).astype(np.float32)
    settings = {"nb_epochs": 4, "batch_size": 16, "learning_rate": 1e-2, "random_state": 3, "verbose": False}
    try:
        train(Linear(), x, unplugged, checkpoint=checkpoint, fabric=fabric, **settings)
    except KeyboardInterrupt:
        fabric.barrier()
    assert len(torch.load(Path(checkpoint), weights_only=True)["history"]) == 2


if __name__ == "__main__":
    launched = Fabric(accelerator="cpu", devices=2, strategy="ddp_spawn")
    launched.launch(work, sys.argv[1])
