"""The training loop of the autoencoders: seeded, resumable, on any device that Lightning Fabric knows."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset
from tqdm.auto import tqdm

from art_plugins.errors import FileFormatError, InvalidInputError
from art_plugins.features.devices import make_fabric
from art_plugins.features.vae.convergence import has_settled, leaves_one_out, most_epochs, steps_per_epoch
from art_plugins.parameters import check_count, check_learning_rate, shown
from art_plugins.storage import atomic_path

if TYPE_CHECKING:
    from lightning.fabric import Fabric

SETTLED = "settled"
MOST_EPOCHS = 10**6  # what nb_epochs may be; more is a mistake


class Rows(Dataset[Tensor]):
    """Rows of an array or memory map, read a batch at a time."""

    def __init__(self, x: np.ndarray) -> None:
        self.x = x

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Tensor:
        return self.__getitems__([index])[0]

    def __getitems__(self, indices: Sequence[int]) -> Tensor:
        # In increasing order, a memory map is read forwards.
        return torch.from_numpy(np.asarray(self.x[np.sort(indices)], dtype=np.float32))


@contextmanager
def seeded(random_state: int) -> Iterator[None]:
    """Seed torch's generators inside the block and give them back as they were."""
    with torch.random.fork_rng(devices=range(torch.cuda.device_count())):
        torch.manual_seed(random_state)
        yield


def train(
    network: nn.Module,
    x: np.ndarray,
    front_end: Callable[[Tensor], Tensor],
    *,
    nb_epochs: int | None,
    batch_size: int,
    learning_rate: float,
    random_state: int,
    patience: int | str | None = None,
    checkpoint: str | Path | None = None,
    identity: str = "",
    fabric: Fabric | None = None,
    verbose: bool = True,
) -> list[dict[str, float]]:
    """
    Minimise ``network(batch).total`` with Adam; the network is changed in place and left in evaluation mode on the CPU,
    with weights in single precision. There are twelve parameters: those of :meth:`Autoencoder.fit`, and its network.

    :param network: Its forward pass returns a named tuple of scalar losses with ``total`` first.
    :param x: Samples along the first axis; may be a ``numpy.memmap``.
    :param front_end: Maps a raw batch to the network's input.
    :param nb_epochs: Most epochs; ``None``: 2,000 steps of the optimiser, but 30 epochs at least.
    :param patience: When to stop before: ``"settled"``: when what the latents hold has stopped changing
        (:mod:`~art_plugins.features.vae.convergence`); a number: when the total loss has not improved by 0.1 % for so many
        epochs; ``None``: never.
    :param checkpoint: File written after every epoch; when it exists the run goes on from it and ends as an
        uninterrupted run would. Removed at the end.
    :param identity: What else must be equal for a checkpoint to belong to this run, such as the front end's settings.
    :param fabric: A launched ``lightning.fabric.Fabric``, for several GPUs or mixed precision; ``None``: one device.
    :return: Mean of each loss over every epoch.
    :raises FileFormatError: If the checkpoint belongs to another run.
    :raises InvalidInputError: If the loss is no longer finite, or an argument is out of range.
    """
    check_training(nb_epochs, batch_size, learning_rate, patience, random_state)
    fabric = fabric or make_fabric()
    steps = steps_per_epoch(len(x), batch_size, fabric.world_size)
    nb_epochs = most_epochs(steps) if nb_epochs is None else nb_epochs
    loader = _loader(x, batch_size, fabric)
    wrapped, optimiser = fabric.setup(network, torch.optim.Adam(network.parameters(), lr=learning_rate))
    state: dict[str, Any] = {"network": wrapped, "optimiser": optimiser, "run": "", "history": []}
    run = _run_identity(network, x, batch_size, learning_rate, random_state, identity)
    if checkpoint is not None and Path(checkpoint).is_file():
        _restore(fabric, Path(checkpoint), state, run)
    history: list[dict[str, float]] = state["history"]
    epochs = tqdm(range(nb_epochs), initial=len(history), desc="autoencoder", unit="epoch", disable=not verbose or None)
    wrapped.train()
    while len(history) < nb_epochs and not _is_enough(history, patience, steps):
        # Each epoch has its own seed, so that a resumed run draws what the uninterrupted one would have drawn.
        with seeded(random_state + 1 + len(history)):
            history.append(_epoch(wrapped, optimiser, loader, front_end, fabric))
        epochs.update()
        epochs.set_postfix(loss=f"{history[-1]['total']:.1f}")
        if checkpoint is not None:
            _write_checkpoint(fabric, Path(checkpoint), {**state, "run": run, "history": history})
    epochs.close()
    network.to("cpu").float().eval()
    if checkpoint is not None and fabric.is_global_zero:
        Path(checkpoint).unlink(missing_ok=True)
    return history


def _loader(x: np.ndarray, batch_size: int, fabric: Fabric) -> Any:
    # Batch normalisation cannot be trained on a single sample: a last batch of one is left out of the epoch.
    lone = leaves_one_out(len(x), batch_size)
    loader: Any = DataLoader(Rows(x), batch_size=batch_size, shuffle=True, drop_last=lone, collate_fn=lambda batch: batch)
    return fabric.setup_dataloaders(loader)


def _write_checkpoint(fabric: Fabric, checkpoint: Path, state: dict[str, Any]) -> None:
    # Every process must call save, but only the first writes: the others must not rename an empty file.
    with atomic_path(checkpoint) if fabric.is_global_zero else nullcontext(checkpoint) as partial:
        fabric.save(partial, state)


def _epoch(
    network: Any, optimiser: Any, loader: Any, front_end: Callable[[Tensor], Tensor], fabric: Fabric
) -> dict[str, float]:
    sums: dict[str, Tensor] = {}
    n_seen = 0
    for batch in loader:
        with torch.no_grad():
            inputs = front_end(batch)
        losses = network(inputs)
        optimiser.zero_grad()
        fabric.backward(losses.total)
        optimiser.step()
        n_seen += len(batch)
        for name, value in losses._asdict().items():
            sums[name] = sums.get(name, torch.zeros_like(value)) + value.detach() * len(batch)
    # Over all processes, so that each of them takes the same decision to stop.
    means = {name: float(fabric.all_reduce(value / n_seen, reduce_op="mean")) for name, value in sums.items()}  # type: ignore[arg-type]
    if not np.isfinite(means["total"]):
        raise InvalidInputError(
            "The autoencoder's loss is no longer finite; lower learning_rate, or look for samples with extreme values."
        )
    return means


def check_training(nb_epochs: Any, batch_size: Any, learning_rate: Any, patience: Any, random_state: Any) -> None:
    """
    :raises InvalidInputError: For an argument of :func:`train` out of range.
    """
    if nb_epochs is not None:
        check_count("nb_epochs", nb_epochs, most=MOST_EPOCHS)
    check_count("batch_size", batch_size)
    check_learning_rate(learning_rate)
    is_count = isinstance(patience, int) and not isinstance(patience, bool) and patience >= 1
    words = f'"{SETTLED}", a whole number of at least 1, or None for no early stop'
    if patience is not None and not is_count and not (isinstance(patience, str) and patience == SETTLED):
        raise InvalidInputError(f"patience must be {words}; received {shown(patience)}.")
    check_count("random_state", random_state, 0)


def _is_enough(history: list[dict[str, float]], patience: int | str | None, steps: int) -> bool:
    if patience == SETTLED:
        return has_settled(history, steps)
    if not isinstance(patience, int) or len(history) <= patience:
        return False
    totals = [losses["total"] for losses in history]
    best = min(totals[:-patience])
    return min(totals[-patience:]) > best - 0.001 * abs(best)


def _run_identity(
    network: nn.Module, x: np.ndarray, batch_size: int, learning_rate: float, random_state: int, identity: str
) -> str:
    """What must be equal for a checkpoint to belong to this run: the data's ends, the shapes and the settings."""
    ends = hashlib.sha256(np.ascontiguousarray(x[:1]).tobytes() + np.ascontiguousarray(x[-1:]).tobytes()).hexdigest()
    shapes = [[name, list(value.shape)] for name, value in network.state_dict().items()]
    return json.dumps([list(x.shape), ends, shapes, batch_size, learning_rate, random_state, identity])


def _restore(fabric: Fabric, checkpoint: Path, state: dict[str, Any], run: str) -> None:
    try:
        found = torch.load(checkpoint, map_location="cpu", weights_only=True)["run"]
    except Exception as error:  # torch.load raises many types for a damaged or a foreign file
        raise FileFormatError(
            f"{checkpoint} is not a training checkpoint of this package; remove it or name another file."
        ) from error
    if found != run:
        raise FileFormatError(
            f"{checkpoint} belongs to another run (other data, architecture or settings); remove it or name another file."
        )
    fabric.load(checkpoint, state, weights_only=True)
