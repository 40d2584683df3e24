"""The unit of waveforms: whole numbers of every width, floats that were not scaled, and what is hardly a waveform."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.errors import InvalidInputError
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.vae.settings import AutoencoderSettings
from art_plugins.features.vae.waveforms import as_waveforms, full_scale, waveform_notice

CLIPS = 0.5 * np.sin(np.linspace(0, 300, 6 * 400)).reshape(6, 400)


@pytest.mark.parametrize(
    ("dtype", "scale", "middle"),
    [
        (np.int8, 2**7, 0),
        (np.uint8, 2**7, 2**7),
        (np.int16, 2**15, 0),
        (np.int32, 2**31, 0),
        (np.int32, 2**15, 0),
        (np.int64, 2**15, 0),
        (np.int64, 2**23, 0),
    ],
)
def test_whole_numbers_of_every_width_give_the_floats_that_they_were(dtype: Any, scale: int, middle: int) -> None:
    numbers = np.round(CLIPS * scale + middle).astype(dtype)
    found = as_waveforms(numbers, "x")
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, CLIPS, atol=0.51 / scale + 1e-7)


def test_floats_stay_the_same_array_and_a_memory_map_is_read(tmp_path: Any) -> None:
    assert as_waveforms(CLIPS, "x") is CLIPS
    np.save(tmp_path / "x.npy", np.round(CLIPS * 2**15).astype(np.int16))
    np.testing.assert_allclose(as_waveforms(np.load(tmp_path / "x.npy", mmap_mode="r"), "x"), CLIPS, atol=1e-4)


def test_floats_that_were_not_scaled_are_refused_and_one_loud_clip_is_not() -> None:
    with pytest.raises(InvalidInputError, match=r"x reaches 163.* in the typical clip.*divide by"):
        as_waveforms(CLIPS * 32768, "x")
    one_loud = CLIPS.copy()
    one_loud[2] *= 32768
    assert as_waveforms(one_loud, "x") is one_loud  # it is refused with its row, where the values are measured
    assert as_waveforms(CLIPS / CLIPS.std(), "x").std() == pytest.approx(1)
    assert as_waveforms(np.full((3, 5), np.nan), "x").shape == (3, 5)
    assert as_waveforms(np.zeros((0, 5), np.int16), "x").shape == (0, 5)


@pytest.mark.parametrize(("typical", "expected"), [(3, 15), (2**15, 15), (2**15 + 1, 23), (2**24, 31), (2**40, 63)])
def test_full_scale_of_a_wide_type_is_that_of_the_bits_that_the_typical_clip_uses(typical: int, expected: int) -> None:
    clips = np.full((5, 4), -typical, np.int64)
    clips[0] = 0
    clips[1, 2] = 2**62  # one loud value, such as a sound that was added without a limit
    assert full_scale([clips[2:], clips[:2]], "x") == 2**expected
    assert full_scale([clips[2:].astype(np.int8)], "x") == 2**7


@pytest.mark.parametrize("dtype", [np.uint16, np.uint32, np.uint64])
def test_unsigned_numbers_of_unknown_silence_are_refused(dtype: Any) -> None:
    with pytest.raises(InvalidInputError, match=f"x holds {np.dtype(dtype)}; give waveforms as floats"):
        as_waveforms(np.full((3, 4), np.iinfo(dtype).max, dtype), "x")


def test_autoencoder_reads_whole_numbers_as_the_defence_does(
    tiny_waveforms: np.ndarray, tiny_network: dict[str, Any]
) -> None:
    numbers = np.round(tiny_waveforms / np.abs(tiny_waveforms).max() * 32767).astype(np.int16)
    fitted = Autoencoder(AutoencoderSettings(kind="waveform", **tiny_network)).fit(numbers, nb_epochs=1, verbose=False)
    defence = VAELatentDefence(None, numbers, np.arange(len(numbers)) % 6, autoencoder=fitted, verbose=False)
    defence.detect_poison()
    np.testing.assert_array_equal(defence.latents_, fitted.encode(numbers))
    np.testing.assert_array_equal(defence.latents_, fitted.encode((numbers / 32768).astype(np.float32)))


@pytest.mark.parametrize(("x", "is_doubted"), [(np.abs(CLIPS), True), (CLIPS, False), (np.zeros((2, 9)), False)])
def test_waveforms_without_a_negative_value_are_doubted(x: np.ndarray, is_doubted: bool) -> None:
    assert (waveform_notice(x) is not None) == is_doubted


def test_defence_judges_whole_numbers_as_the_floats_that_they_were(
    tiny_waveforms: np.ndarray, tiny_network: dict[str, Any]
) -> None:
    architecture = {name: value for name, value in tiny_network.items() if name != "sample_rate_hz"}
    options = {"autoencoder": architecture, "sample_rate_hz": tiny_network["sample_rate_hz"], "nb_epochs": 2}
    numbers = np.round(tiny_waveforms / np.abs(tiny_waveforms).max() * 32767).astype(np.int16)
    labels = np.arange(len(numbers)) % 6
    found = []
    for x in (numbers, numbers.astype(np.int64), (numbers / 32768).astype(np.float32)):
        defence = VAELatentDefence(None, x, labels, verbose=False, **options)
        report, _ = defence.detect_poison()
        found.append(defence.latents_)
        assert not any("negative" in warning for warning in report["warnings"])
    np.testing.assert_array_equal(found[0], found[2])
    np.testing.assert_array_equal(found[1], found[2])
    report, _ = VAELatentDefence(None, np.abs(tiny_waveforms), labels, verbose=False, **options).detect_poison()
    assert any("none of their values is negative" in warning for warning in report["warnings"])
