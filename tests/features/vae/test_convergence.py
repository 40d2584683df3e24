"""When the latents of an autoencoder have settled, on histories whose answer is known."""

from __future__ import annotations

import math

import numpy as np
import pytest
from torch.utils.data import DataLoader, DistributedSampler

from art_plugins.features.vae.convergence import (
    MOST_CHANGE,
    WINDOW_STEPS,
    changes,
    has_settled,
    leaves_one_out,
    most_epochs,
    settled_words,
    steps_per_epoch,
    window_epochs,
)

NOTHING = [0.0] * 99


def history(sample, steps=NOTHING, total=NOTHING):
    return [
        {"total": loss, "reconstruction": loss, "divergence_sample": float(of_sample), "divergence_steps": float(of_steps)}
        for of_sample, of_steps, loss in zip(sample, steps, total, strict=False)
    ]


@pytest.mark.parametrize(("steps", "width"), [(1, 100), (7, 15), (33, 4), (34, 3), (50, 3), (10_000, 3)])
def test_window_is_of_so_many_steps_and_three_epochs_at_least(steps, width):
    assert window_epochs(steps) == width
    assert width * steps >= WINDOW_STEPS
    assert most_epochs(steps) >= 2 * width


@pytest.mark.parametrize(("steps", "epochs"), [(1, 2_000), (21, 96), (100, 30), (5_000, 30)])
def test_training_without_an_end_ends_after_two_thousand_steps_or_thirty_epochs(steps, epochs):
    assert most_epochs(steps) == epochs


def test_changes_are_those_of_the_means_of_two_windows():
    rising = np.arange(1.0, 9)
    found = changes(history(rising), 50)  # windows of three epochs
    expected = [
        abs(rising[i + 3 : i + 6].mean() - rising[i : i + 3].mean()) / rising[i + 3 : i + 6].mean() for i in range(3)
    ]
    np.testing.assert_allclose(found, expected)


@pytest.mark.parametrize("n_epochs", [0, 1, 5])
def test_fewer_epochs_than_two_windows_have_no_change(n_epochs):
    assert changes(history([10.0] * n_epochs), 50).shape == (0,)
    assert not has_settled(history([10.0] * n_epochs), 50)
    assert "and 6 epochs are needed to tell" in settled_words(history([10.0] * n_epochs), 50)


@pytest.mark.parametrize(
    ("sample", "steps", "settled"),
    [
        ([10] * 6, [0] * 6, True),
        ([0] * 6, [0] * 6, True),  # they hold nothing, and never will
        ([1e-9, 1e-7, 1e-5, 1e-3, 1e-3, 1e-3], [0] * 6, True),
        ([10, 11, 12, 13, 14, 15], [0] * 6, False),
        ([15, 14, 13, 12, 11, 10], [0] * 6, False),
        ([10, 11, 12, 13, 14, 15], [90, 89, 88, 87, 86, 85], False),  # it moves from one to the other
        ([100, 100.5, 101, 101.5, 102, 102.5], [0] * 6, True),
        ([10] * 6 + [20, 30, 40], [0] * 9, True),  # it did at some time
        ([math.nan] * 6, [0] * 6, False),
    ],
)
def test_latents_have_settled_when_what_they_hold_changes_no_more(sample, steps, settled):
    given = history(sample, steps)
    assert has_settled(given, 50) == settled
    assert (settled_words(given, 50) is None) == settled


def test_loss_that_goes_on_falling_does_not_count():
    assert has_settled(history([10.0] * 6, total=[1e6 / 2**epoch for epoch in range(6)]), 50)


def test_words_name_the_number_that_is_computed():
    given = history(np.linspace(10, 20, 8))
    share = changes(given, 50)[-1]
    assert share > MOST_CHANGE
    words = f"After 8 epochs of 50 steps the autoencoder's latents still change, by {share:.1%} in 3 epochs. "
    assert settled_words(given, 50).startswith(words)


@pytest.mark.parametrize("n_samples", [1, 2, 16, 17, 31, 32, 33, 49])
@pytest.mark.parametrize("batch_size", [1, 2, 16])
@pytest.mark.parametrize("n_processes", [1, 2])
def test_steps_are_those_of_the_loader(n_samples, batch_size, n_processes):
    rows = list(range(n_samples))
    lone = leaves_one_out(n_samples, batch_size)
    sampler = DistributedSampler(rows, n_processes, rank=0) if n_processes > 1 else None
    loader = DataLoader(rows, batch_size=batch_size, drop_last=lone, sampler=sampler)
    assert steps_per_epoch(n_samples, batch_size, n_processes) == len(loader)
