"""Data sets: shapes, splits, labels; Speech Commands from the real folder where there is one."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import soundfile

from art_plugins.attacks.datasets.digits import digits
from art_plugins.attacks.datasets.speech_commands import COMMANDS, FOLDER, speech_commands
from art_plugins.attacks.datasets.synthetic_speech import SAMPLE_RATE_HZ, WORDS, synthetic_speech
from art_plugins.errors import InvalidInputError


def test_digits_are_all_there_and_in_range() -> None:
    data = digits()
    assert len(data.x_train) + len(data.x_test) == 1_797
    assert data.x_train.shape[1:] == (1, 8, 8)
    assert (data.x_train.min(), data.x_train.max()) == (0.0, 1.0)


def test_digits_enlarged_keep_their_means_and_sides() -> None:
    small, large = digits(3, test_fraction=0.5), digits(3, side=16, test_fraction=0.5)
    assert large.x_train.shape == (898, 1, 16, 16)
    assert large.x_train.dtype == np.float32
    np.testing.assert_array_equal(small.y_train, large.y_train)
    assert (large.x_train.min(), large.x_train.max()) == (0.0, 1.0)
    # Bilinear interpolation of twice the size: the mean of each 2 x 2 block is a weighted mean of 3 x 3 pixels by hand.
    image, enlarged = small.x_train[0, 0], large.x_train[0, 0]
    weights = np.outer([1, 6, 1], [1, 6, 1]) / 64
    assert enlarged[6:8, 8:10].mean() == pytest.approx((weights * image[2:5, 3:6]).sum(), abs=1e-6)


@pytest.mark.parametrize("wrong", [{"side": 4}, {"test_fraction": 0.0}, {"test_fraction": 1.0}])
def test_digits_of_another_size_or_share_are_refused(wrong) -> None:
    with pytest.raises(InvalidInputError, match="received"):
        digits(**wrong)


def test_synthetic_speech_with_one_seed_repeats_and_fits_its_range() -> None:
    first, second, other = (synthetic_speech(3, 2, random_state=seed) for seed in (0, 0, 1))
    np.testing.assert_array_equal(first.x_train, second.x_train)
    assert (first.x_train != other.x_train).any()
    assert first.x_train.shape == (3 * len(WORDS), SAMPLE_RATE_HZ // 2)
    assert np.abs(first.x_train).max() <= 1
    assert np.bincount(first.y_train).tolist() == [3] * len(WORDS)
    assert np.bincount(first.y_test).tolist() == [2] * len(WORDS)


def fake_folder(root: Path, n_clips: int) -> Path:
    """Ten commands with ``n_clips`` clips each (all but the first have a stand-in's chance), two other words, noise."""
    folder = root / FOLDER
    for word in (*COMMANDS, "eight", "bed"):
        (folder / word).mkdir(parents=True)
        for index in range(n_clips):
            samples = np.full(8_000, index, dtype=np.int16)
            soundfile.write(folder / word / f"{index:04d}_nohash_0.wav", samples, 16_000, subtype="PCM_16")
    (folder / "_background_noise_").mkdir()
    soundfile.write(
        folder / "_background_noise_" / "hum.wav", np.full(40_000, 900, dtype=np.int16), 16_000, subtype="PCM_16"
    )
    for name, index in (("validation_list.txt", 0), ("testing_list.txt", 1)):
        lines = [f"{word}/{index:04d}_nohash_0.wav" for word in (*COMMANDS, "eight", "bed")]
        (folder / name).write_text("\n".join(lines) + "\n")
    return folder


def test_speech_commands_of_a_full_folder_have_armorys_twelve_classes(tmp_path: Path) -> None:
    fake_folder(tmp_path, 100)
    data = speech_commands(tmp_path, silence=True, cap=120)
    assert data.class_names == (*COMMANDS, "_silence_", "_unknown_")
    assert data.x_train.shape[1] == 16_000
    counts = np.bincount(data.y_train)
    assert (counts[:10] == 98).all()  # 100 less one validation and one test clip
    assert counts[11] == 120  # 2 x 98 capped
    assert np.bincount(data.y_test)[:10].tolist() == [1] * 10
    # Clip number k is the constant k / 2^15 for half a second, then zero padding.
    assert data.x_train[0, 0] == pytest.approx(2 / 2**15)
    assert not data.x_train[0, 8_000:].any()
    silence = data.x_train[data.y_train == 10]
    assert len(silence)
    assert (silence.max(axis=1) <= 900 / 2**15 + 1e-6).all()
    assert not data.notes


def test_speech_commands_without_a_command_take_a_stand_in_and_say_so(tmp_path: Path) -> None:
    folder = fake_folder(tmp_path, 100)
    shutil.rmtree(folder / "off")
    data = speech_commands(tmp_path)
    assert data.class_names[4] == "eight"
    assert any("'eight' stands in for 'off'" in note for note in data.notes)


def test_speech_commands_without_a_stand_in_left_is_refused(tmp_path: Path) -> None:
    folder = fake_folder(tmp_path, 100)
    for word in ("off", "on"):
        shutil.rmtree(folder / word)
    with pytest.raises(InvalidInputError, match="no stand-in"):
        speech_commands(tmp_path)


def test_speech_commands_in_a_missing_folder_says_what_to_give(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError, match="--download"):
        speech_commands(tmp_path)


def test_speech_commands_with_a_damaged_file_names_it(tmp_path: Path) -> None:
    folder = fake_folder(tmp_path, 100)
    (folder / "up" / "0005_nohash_0.wav").write_bytes(b"RIFF")
    with pytest.raises(InvalidInputError, match="0005_nohash_0"):
        speech_commands(tmp_path)


def test_speech_commands_from_real_data_keep_speakers_apart(data_root: Path) -> None:
    data = speech_commands(data_root, silence=True)
    assert len(data.class_names) == 12
    assert data.class_names[0] == "down"
    assert data.class_names[-2:] == ("_silence_", "_unknown_")
    counts = np.bincount(data.y_train)
    assert counts[:10].min() > 300
    assert counts[11] > 1_000
    assert np.abs(data.x_train).max() <= 1
