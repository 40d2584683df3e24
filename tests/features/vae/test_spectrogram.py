from __future__ import annotations

import sys

import numpy as np
import pytest
import torch

from art_plugins.errors import InvalidInputError, MissingPackageError
from art_plugins.features.vae.spectrogram import LogMelSpectrogram

RATE_HZ = 16_000


# Mel scales by their definitions, hertz of a mel and mel of a hertz: O'Shaughnessy (HTK), and Slaney's Auditory Toolbox.
SCALES = {
    "htk": (lambda mel: 700 * (10 ** (mel / 2595) - 1), lambda hz: 2595 * np.log10(1 + hz / 700)),
    "slaney": (
        lambda mel: np.where(mel < 15, mel * 200 / 3, 1000 * 6.4 ** ((mel - 15) / 27)),
        lambda hz: np.where(hz < 1000, hz * 3 / 200, 15 + 27 * np.log(np.maximum(hz, 1) / 1000) / np.log(6.4)),
    ),
}


def triangles(front_end, n_mels, at_hz):
    """Filters with corners evenly spaced in mel, of height 1 or (norm "slaney") of area 1; (n_mels, frequencies)."""
    to_hz, to_mel = SCALES[front_end.mel.mel_scale.mel_scale]
    corners_hz = to_hz(np.linspace(0, to_mel(np.float64(RATE_HZ / 2)), n_mels + 2))
    peaks = 2 / (corners_hz[2:] - corners_hz[:-2]) if front_end.mel.mel_scale.norm == "slaney" else np.ones(n_mels)
    return np.array([peaks[band] * np.interp(at_hz, corners_hz[band : band + 3], [0, 1, 0]) for band in range(n_mels)])


def tone(hz, seconds=0.5, amplitude=0.5):
    return torch.from_numpy(amplitude * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE_HZ)) / RATE_HZ)).float()[None]


@pytest.mark.parametrize("n_mels", [24, 40])
@pytest.mark.parametrize("hz", [300, 500, 1000, 2500, 6000])
def test_log_mel_pure_tone_peaks_in_the_band_around_it(hz, n_mels):
    front_end = LogMelSpectrogram(n_mels=n_mels)
    frames = front_end(tone(hz))
    assert (frames[0, 2:-2].argmax(dim=1) == int(triangles(front_end, n_mels, hz).argmax())).all()


@pytest.mark.parametrize("floor", [1e-3, 1.0])
def test_log_mel_noise_equals_numpy_written_out(random, floor):
    """Hann window, power spectrum, mel filters, logarithm: by hand for a frame inside."""
    n_mels, window, hop = 24, 512, 400
    signal = random.normal(size=RATE_HZ) * 0.1
    front_end = LogMelSpectrogram(RATE_HZ, n_mels, window / RATE_HZ, hop / RATE_HZ, floor)
    frames = front_end(torch.from_numpy(signal).float()[None])
    step = 7
    piece = signal[step * hop - window // 2 : step * hop + window // 2]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    power = np.abs(np.fft.rfft(piece * hann)) ** 2
    expected = triangles(front_end, n_mels, np.fft.rfftfreq(window, 1 / RATE_HZ)) @ power
    np.testing.assert_allclose(frames[0, step], np.log(expected + floor), rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("n_samples", "hop_s", "n_frames"), [(16_000, 0.025, 40), (16_000, 0.01, 100), (1_000, 0.025, 2), (399, 0.025, 1)]
)
def test_log_mel_number_of_frames_is_the_number_of_whole_hops(n_samples, hop_s, n_frames):
    frames = LogMelSpectrogram(n_mels=8, hop_s=hop_s)(torch.zeros(3, n_samples))
    assert frames.shape == (3, n_frames, 8)


@pytest.mark.parametrize("floor", [1e-5, 1e-3])
def test_log_mel_silence_is_the_logarithm_of_the_floor(floor):
    frames = LogMelSpectrogram(n_mels=8, floor=floor)(torch.zeros(1, 4_000))
    np.testing.assert_allclose(frames, np.log(floor), rtol=1e-6)


def test_log_mel_ten_times_the_amplitude_adds_log_one_hundred():
    front_end = LogMelSpectrogram(n_mels=8, floor=1e-12)
    noise = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 4_000))).float()
    np.testing.assert_allclose(front_end(10 * noise) - front_end(noise), np.log(100), atol=1e-3)


def test_log_mel_waveforms_of_a_batch_do_not_mix():
    front_end = LogMelSpectrogram(n_mels=8)
    both = torch.cat([tone(500), tone(2_000)])
    torch.testing.assert_close(front_end(both)[1:], front_end(both[1:]))


@pytest.mark.parametrize(
    "changes", [{"floor": 0}, {"hop_s": -1}, {"n_mels": 0}, {"sample_rate_hz": 0}, {"window_s": 0.0}, {"hop_s": 1e-6}]
)
def test_log_mel_impossible_setting_is_refused(changes):
    with pytest.raises(InvalidInputError, match=str(next(iter(changes.values())))):
        LogMelSpectrogram(**changes)


def test_log_mel_without_torchaudio_says_what_to_install(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torchaudio", None)  # what Python keeps for "cannot be imported"
    with pytest.raises(
        MissingPackageError,
        match=r"torchaudio, which cannot be imported.*Install torch and torchaudio.*art-plugins\[audio\]",
    ):
        LogMelSpectrogram()


def test_log_mel_torchaudio_without_its_libraries_says_what_to_install(monkeypatch):
    class Broken:
        def find_spec(self, name, path=None, target=None):
            if name == "torchaudio":
                raise OSError("libc10_cuda.so: cannot open shared object file")

    for name in [name for name in sys.modules if name.split(".")[0] == "torchaudio"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "meta_path", [Broken(), *sys.meta_path])
    with pytest.raises(MissingPackageError, match=r"libc10_cuda\.so.*not a CPU-only build of torch"):
        LogMelSpectrogram()


@pytest.mark.parametrize("shape", [(3, RATE_HZ), (2, 700), (1, RATE_HZ // 3)])
def test_log_mel_and_its_gradient_are_those_of_torchaudio(shape):
    front_end = LogMelSpectrogram()
    waveforms = torch.randn(shape, generator=torch.Generator().manual_seed(0)) * 0.1
    found, expected = (waveforms.clone().requires_grad_() for _ in range(2))
    ours = front_end(found)
    theirs = torch.log(front_end.mel(expected).mT + front_end.floor)[:, : ours.shape[1]]
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    ours.square().sum().backward()
    theirs.square().sum().backward()
    torch.testing.assert_close(found.grad, expected.grad, rtol=1e-3, atol=1e-4 * float(expected.grad.abs().max()))
