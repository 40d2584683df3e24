from __future__ import annotations

import math
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from art_plugins.errors import FileFormatError, InvalidInputError
from art_plugins.features import devices
from art_plugins.features.devices import make_fabric
from art_plugins.features.vae import training
from art_plugins.features.vae.training import seeded, train

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
N, D = 40, 6
SETTINGS = {"nb_epochs": 4, "batch_size": 16, "learning_rate": 1e-2, "random_state": 3, "verbose": False}


class Loss(NamedTuple):
    total: Tensor
    draw: Tensor


class Toy(nn.Module):
    """Rebuilds its input through a narrow layer with noise, so that batches, draws and moments all matter."""

    def __init__(self) -> None:
        super().__init__()
        self.down, self.up, self.scale = nn.Linear(D, 2), nn.Linear(2, D), nn.BatchNorm1d(2)

    def forward(self, x: Tensor) -> Loss:
        hidden = self.scale(self.down(x))
        noise = torch.randn_like(hidden)
        error = ((self.up(hidden + 0.1 * noise) - x) ** 2).sum(1).mean()
        return Loss(error + noise.mean() ** 2, noise.mean())


class Fixed(nn.Module):
    """Its losses are given beforehand, one for every batch."""

    def __init__(self, totals: list[float]) -> None:
        super().__init__()
        self.weight, self.totals = nn.Parameter(torch.zeros(1)), iter(totals)

    def forward(self, x: Tensor) -> Loss:
        return Loss(self.weight.sum() * 0 + next(self.totals), torch.zeros(()))


@pytest.fixture
def x(random) -> np.ndarray:
    return random.normal(size=(N, D)).astype(np.float32)


def toy() -> Toy:
    with seeded(0):
        return Toy()


def same(batch: Tensor) -> Tensor:
    return batch


def assert_equal_weights(first: nn.Module, second: nn.Module) -> None:
    for (name, one), two in zip(first.state_dict().items(), second.state_dict().values(), strict=True):
        assert torch.equal(one, two), name


def test_train_one_seed_gives_equal_weights_and_losses(x):
    networks = [toy(), toy(), toy()]
    histories = [
        train(network, x, same, **{**SETTINGS, "random_state": seed})
        for network, seed in zip(networks, (3, 3, 4), strict=True)
    ]
    assert histories[0] == histories[1] != histories[2]
    assert_equal_weights(networks[0], networks[1])


def test_train_equals_a_plain_loop_in_torch(x):
    """Every sample once an epoch, one Adam step a batch, weighted mean losses: written out without Fabric."""
    network, plain = toy(), toy()
    seen = []

    def record(batch: Tensor) -> Tensor:
        seen.append(batch.clone())
        return batch

    history = train(network, x, record, **{**SETTINGS, "nb_epochs": 1})
    assert [len(batch) for batch in seen] == [16, 16, 8]
    np.testing.assert_array_equal(np.sort(torch.cat(seen).numpy(), axis=0), np.sort(x, axis=0))

    optimiser = torch.optim.Adam(plain.parameters(), lr=SETTINGS["learning_rate"])
    sums = 0.0
    with seeded(SETTINGS["random_state"] + 1):
        iter(torch.utils.data.DataLoader(range(N), batch_size=16, shuffle=True))._next_index()  # what shuffling draws
        for batch in seen:
            losses = plain(batch)
            optimiser.zero_grad()
            losses.total.backward()
            optimiser.step()
            sums += losses.total.item() * len(batch)
    assert history == [{"total": pytest.approx(sums / N, rel=1e-5), "draw": history[0]["draw"]}]
    assert_equal_weights(network, plain)


def test_train_global_generators_are_left_as_they_were(x):
    torch_before, numpy_before = torch.get_rng_state(), np.random.get_state()[1].copy()  # noqa: NPY002
    train(toy(), x, same, **SETTINGS)
    assert torch.equal(torch.get_rng_state(), torch_before)
    np.testing.assert_array_equal(np.random.get_state()[1], numpy_before)  # noqa: NPY002


def test_seeded_error_inside_gives_the_generator_back():
    before = torch.get_rng_state()

    def fail() -> None:
        with seeded(1):
            torch.rand(3)
            raise KeyError

    with pytest.raises(KeyError):
        fail()
    assert torch.equal(torch.get_rng_state(), before)


def test_train_network_is_left_in_evaluation_mode_on_the_cpu(x):
    network = toy()
    train(network, x, same, **SETTINGS)
    assert not network.training
    assert all(value.device.type == "cpu" for value in network.state_dict().values())


@pytest.mark.slow
@pytest.mark.parametrize("stops_in_batch", [0, 3, 4, 8])
def test_train_interrupted_and_resumed_ends_as_an_uninterrupted_run(x, tmp_path, stops_in_batch):
    whole, halved = toy(), toy()
    expected = train(whole, x, same, **SETTINGS)
    checkpoint = tmp_path / "run.ckpt"
    batches_seen = 0

    def unplugged(batch: Tensor) -> Tensor:
        nonlocal batches_seen
        if batches_seen == stops_in_batch:
            raise KeyboardInterrupt
        batches_seen += 1
        return batch

    with pytest.raises(KeyboardInterrupt):
        train(halved, x, unplugged, checkpoint=checkpoint, **SETTINGS)
    assert checkpoint.exists() == (stops_in_batch >= 3)  # three batches an epoch
    resumed = toy()
    epochs = []
    history = train(resumed, x, lambda batch: (epochs.append(len(batch)), batch)[1], checkpoint=checkpoint, **SETTINGS)
    assert history == expected
    assert_equal_weights(resumed, whole)
    assert len(epochs) == 3 * (SETTINGS["nb_epochs"] - stops_in_batch // 3)
    assert list(tmp_path.iterdir()) == []


def test_train_checkpoint_is_removed_at_the_end(x, tmp_path):
    train(toy(), x, same, checkpoint=tmp_path / "deep" / "run.ckpt", **SETTINGS)
    assert list((tmp_path / "deep").iterdir()) == []


def interrupted(x, checkpoint, **changes):
    def unplugged(batch: Tensor) -> Tensor:
        if checkpoint.exists():
            raise KeyboardInterrupt
        return batch

    with pytest.raises(KeyboardInterrupt):
        train(toy(), x, unplugged, checkpoint=checkpoint, **{**SETTINGS, **changes})
    return checkpoint.read_bytes()


@pytest.mark.parametrize(
    "changes",
    [{"batch_size": 8}, {"learning_rate": 0.1}, {"random_state": 9}, {"identity": "another front end"}],
    ids=lambda changes: next(iter(changes)),
)
def test_train_checkpoint_of_other_settings_is_refused_and_kept(x, tmp_path, changes):
    before = interrupted(x, tmp_path / "run.ckpt")
    with pytest.raises(FileFormatError, match="belongs to another run"):
        train(toy(), x, same, checkpoint=tmp_path / "run.ckpt", **{**SETTINGS, **changes})
    assert (tmp_path / "run.ckpt").read_bytes() == before


def test_train_checkpoint_of_other_data_is_refused(x, tmp_path):
    interrupted(x, tmp_path / "run.ckpt")
    with pytest.raises(FileFormatError, match="belongs to another run"):
        train(toy(), x + 1, same, checkpoint=tmp_path / "run.ckpt", **SETTINGS)


def test_train_checkpoint_of_another_network_is_refused(x, tmp_path):
    interrupted(x, tmp_path / "run.ckpt")
    with seeded(0), pytest.raises(FileFormatError, match="belongs to another run"):
        train(nn.Sequential(Toy()), x, same, checkpoint=tmp_path / "run.ckpt", **SETTINGS)


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", None], ids=["empty", "text", "foreign_torch_file"])
def test_train_checkpoint_that_is_none_is_refused_and_kept(x, tmp_path, content):
    path = tmp_path / "run.ckpt"
    if content is None:
        torch.save({"weights": torch.zeros(3)}, path)
    else:
        path.write_bytes(content)
    before = path.read_bytes()
    with pytest.raises(FileFormatError, match="not a training checkpoint"):
        train(toy(), x, same, checkpoint=path, **SETTINGS)
    assert path.read_bytes() == before


def test_train_checkpoint_with_code_inside_is_refused_and_not_run(x, tmp_path):
    class Bomb:
        def __reduce__(self):
            return (type(tmp_path).touch, (tmp_path / "exploded",))

    torch.save({"run": Bomb()}, tmp_path / "run.ckpt")
    with pytest.raises(FileFormatError, match="not a training checkpoint"):
        train(toy(), x, same, checkpoint=tmp_path / "run.ckpt", **SETTINGS)
    assert not (tmp_path / "exploded").exists()


# With one batch an epoch, Fixed's numbers are the losses of the epochs.
@pytest.mark.parametrize(
    ("totals", "patience", "n_epochs"),
    [
        ([9.0, 8, 8, 8, 8, 8], None, 6),
        ([9.0, 8, 8, 8, 8, 8], 1, 3),
        ([9.0, 8, 8, 8, 8, 8], 2, 4),
        ([9.0, 8, 7.9999, 7.9998, 7, 6], 2, 4),  # less than 0.1 % is no improvement
        ([9.0, 8, 8, 7, 7, 7], 2, 6),
        ([9.0, 8, 7, 6, 5, 4], 1, 6),
        ([5.0, 6, 7, 8, 9, 9], 3, 4),
        ([5.0], 6, 1),
        ([-10.0, -20, -30, -30, -30, -30], 2, 5),
        ([-10.0, -20, -30, -40, -50, -60], 1, 6),
    ],
)
def test_train_plateau_of_given_losses_stops_after_patience(x, totals, patience, n_epochs):
    settings = {**SETTINGS, "nb_epochs": len(totals), "batch_size": N}
    history = train(Fixed(totals), x, same, patience=patience, **settings)
    assert [losses["total"] for losses in history] == pytest.approx(totals[:n_epochs])


@pytest.mark.parametrize("patience", [0, -1])
def test_train_patience_below_one_is_refused(x, patience):
    with pytest.raises(InvalidInputError, match=f"patience must be.*at least 1.*received {patience}"):
        train(toy(), x, same, patience=patience, **SETTINGS)


@pytest.mark.parametrize("loss", [math.nan, math.inf])
def test_train_loss_no_longer_finite_says_what_to_do(x, loss):
    with pytest.raises(InvalidInputError, match="no longer finite; lower learning_rate"):
        train(Fixed([1.0, loss, 1.0, 1.0]), x, same, **{**SETTINGS, "batch_size": N})


def test_train_last_batch_of_one_sample_is_left_out(x):
    sizes = []
    train(toy(), x[:33], lambda batch: (sizes.append(len(batch)), batch)[1], **{**SETTINGS, "nb_epochs": 1})
    assert sizes == [16, 16]


def test_train_single_sample_in_all_is_kept():
    sizes = []
    network = Fixed([1.0])
    settings = {**SETTINGS, "nb_epochs": 1}
    train(network, np.zeros((1, D)), lambda batch: (sizes.append(len(batch)), batch)[1], **settings)
    assert sizes == [1]


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.uint8, bool])
def test_train_any_real_type_arrives_in_single_precision(x, dtype):
    types = set()
    train(toy(), (4 * x).astype(dtype), lambda batch: (types.add(batch.dtype), batch)[1], **SETTINGS)
    assert types == {torch.float32}


def test_train_memory_map_equals_the_array(x, tmp_path):
    x.tofile(tmp_path / "x.bin")
    mapped = np.memmap(tmp_path / "x.bin", dtype=np.float32, mode="r", shape=x.shape)
    networks = [toy(), toy()]
    histories = [train(network, data, same, **SETTINGS) for network, data in zip(networks, (x, mapped), strict=True)]
    assert histories[0] == histories[1]
    assert_equal_weights(*networks)


@pytest.mark.parametrize("precision", ["64-true", "bf16-mixed"])
def test_train_other_precision_ends_in_single_precision(x, precision, monkeypatch):
    monkeypatch.setattr(devices, "processor_has_bfloat16", lambda: True)
    network = toy()
    history = train(network, x, same, fabric=make_fabric(precision), **SETTINGS)
    assert all(np.isfinite(list(losses.values())).all() for losses in history)
    assert {value.dtype for value in network.parameters()} == {torch.float32}
    with seeded(0):
        assert torch.isfinite(network(torch.from_numpy(x)).total)


@pytest.mark.slow
def test_train_several_processes_write_one_whole_checkpoint(tmp_path):
    script = Path(__file__).with_name("two_processes.py")
    done = subprocess.run([sys.executable, script, tmp_path / "run.ckpt"], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert len(torch.load(tmp_path / "run.ckpt", weights_only=True)["history"]) == 2


def test_rows_unsorted_indices_are_read_forwards(x):
    torch.testing.assert_close(training.Rows(x).__getitems__([7, 2, 5]), torch.from_numpy(x[[2, 5, 7]]))
    torch.testing.assert_close(training.Rows(x)[7], torch.from_numpy(x[7]))
