from __future__ import annotations

import numpy as np
import pytest

from art_plugins import disk_room
from art_plugins.errors import InvalidInputError
from art_plugins.features import encodings
from art_plugins.features import views as views_module
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.encodings import encode_all, frames
from art_plugins.features.vae.settings import AutoencoderSettings
from art_plugins.features.views import (
    MAX_DIMS,
    MAX_WINDOWS,
    describe,
    describe_alike,
    principal_axes,
    project,
    time_windows,
)

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
FAST = {"nb_epochs": 1, "batch_size": 16, "verbose": False}


@pytest.mark.parametrize("n_steps", [1, 2, 5, 16, 17, 32, 50, 100, 331])
def test_time_windows_cover_every_step_and_are_few(random, n_steps):
    steps = random.normal(size=(3, n_steps, 2))
    windows = time_windows(steps)
    assert 1 <= len(windows) <= MAX_WINDOWS + 1
    np.testing.assert_array_equal(windows[0][:, :2], steps[:, 0])
    np.testing.assert_array_equal(windows[-1][:, -2:], steps[:, -1])
    seen = {value for window in windows for value in window[0]}
    assert seen == set(steps[0].ravel())


def test_time_windows_of_32_steps_overlap_by_half(random):
    steps = random.normal(size=(3, 32, 2))
    first, second = time_windows(steps)[:2]
    assert first.shape == (3, 4 * 2)
    np.testing.assert_array_equal(first[:, 4:], second[:, :4])


def test_project_on_principal_axes_keeps_what_varies_most(random):
    x = random.normal(size=(500, 3)) @ random.normal(size=(3, MAX_DIMS + 9))
    mean, axes = principal_axes(x)
    components = project(x, mean, axes)
    assert components.shape == (500, MAX_DIMS)
    np.testing.assert_allclose(((x - x.mean(axis=0)) ** 2).sum(), (components**2).sum())


def test_describe_sequences_have_windows_of_steps_and_frames_and_images_have_none(
    tiny_waveforms, tiny_images, tiny_network
):
    fitted = Autoencoder(AutoencoderSettings(kind="waveform", **tiny_network)).fit(tiny_waveforms, **FAST)
    views = describe(fitted, tiny_waveforms)
    np.testing.assert_array_equal(views.latents, fitted.encode(tiny_waveforms))
    assert views.windows == [*views.steps, *views.frames]
    assert views.steps
    assert views.frames
    assert all(len(window) == len(tiny_waveforms) for window in views.windows)
    assert np.isfinite(frames(fitted, tiny_waveforms)).all()
    of_images = Autoencoder(AutoencoderSettings(kind="image", **tiny_network)).fit(tiny_images, **FAST)
    assert describe(of_images, tiny_images).windows == []


def test_describe_alike_puts_other_data_on_the_axes_of_the_first(tiny_waveforms, tiny_network):
    fitted = Autoencoder(AutoencoderSettings(kind="waveform", **tiny_network)).fit(tiny_waveforms, **FAST)
    first, part = describe_alike(fitted, [tiny_waveforms, tiny_waveforms[5:30]])
    for whole, some in zip(first.windows, part.windows, strict=True):
        np.testing.assert_allclose(some, whole[5:30], atol=1e-4)


def test_encode_all_of_a_sample_does_not_depend_on_the_others(tiny_waveforms, tiny_network):
    fitted = Autoencoder(AutoencoderSettings(kind="waveform", **tiny_network)).fit(tiny_waveforms, **FAST)
    together = encode_all(fitted, tiny_waveforms)
    for rows in ([7], [30, 7, 2]):
        for name, values in encode_all(fitted, tiny_waveforms[rows])._asdict().items():
            np.testing.assert_array_equal(values, getattr(together, name)[rows])


def test_encode_all_in_blocks_and_with_a_memory_is_what_it_is_at_once(tiny_waveforms, tiny_network, monkeypatch):
    fitted = Autoencoder(AutoencoderSettings(kind="waveform", **tiny_network)).fit(tiny_waveforms, **FAST)
    together = encode_all(fitted, tiny_waveforms)
    monkeypatch.setattr(encodings, "BLOCK", 11)
    asked = []

    def memory(block, compute):
        asked.append(len(block))
        return compute(np.arange(len(block)))

    for found in (encode_all(fitted, tiny_waveforms), encode_all(fitted, tiny_waveforms, memory)):
        for name, values in found._asdict().items():
            np.testing.assert_array_equal(values, getattr(together, name))
    assert sum(asked) == len(tiny_waveforms)
    assert max(asked) == 11
    broken = tiny_waveforms.copy()
    broken[25] = np.nan
    with pytest.raises(InvalidInputError, match=r"(x\[25\]|Row 25)"):
        encode_all(fitted, broken, memory)


def test_describe_in_blocks_is_what_it_is_at_once(tiny_waveforms, tiny_network, monkeypatch):
    fitted = Autoencoder(AutoencoderSettings(kind="waveform", **tiny_network)).fit(tiny_waveforms, **FAST)
    together = describe(fitted, tiny_waveforms)
    monkeypatch.setattr(views_module, "BLOCK", 7)
    monkeypatch.setattr(disk_room, "IN_MEMORY_BYTES", 0)
    for window, whole in zip(describe(fitted, tiny_waveforms).windows, together.windows, strict=True):
        np.testing.assert_allclose(window, whole, rtol=1e-5, atol=1e-5)


def test_scratch_array_on_disk_is_an_array_of_zeros_that_outlives_its_file(monkeypatch):
    monkeypatch.setattr(disk_room, "IN_MEMORY_BYTES", 0)
    array = disk_room.scratch_array((3, 4), np.float32, "It needs")
    assert not array.any()
    array[1] = 5
    assert array.sum() == 20
    assert type(array) is np.ndarray
