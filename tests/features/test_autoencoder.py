from __future__ import annotations

import json
import warnings

import numpy as np
import pytest
import torch

from art_plugins.arrays import check_samples
from art_plugins.errors import ArtPluginsError, FileFormatError, InvalidInputError, NotFittedError
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.sample_shapes import image_shape, infer_kind
from art_plugins.features.vae.front_end import FrontEnd
from art_plugins.features.vae.settings import KINDS, AutoencoderSettings
from art_plugins.features.vae.spectrogram import LogMelSpectrogram
from art_plugins.storage import load_arrays, save_arrays

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
FAST = {"nb_epochs": 1, "batch_size": 16, "verbose": False}


@pytest.fixture
def data(tiny_waveforms, tiny_spectrograms, tiny_images):
    return {"waveform": tiny_waveforms, "spectrogram": tiny_spectrograms, "image": tiny_images}


@pytest.fixture
def make(tiny_network):
    return lambda kind, **changes: Autoencoder(AutoencoderSettings(kind=kind, **{**tiny_network, **changes}))


@pytest.mark.parametrize("kind", KINDS)
def test_autoencoder_fit_then_encode_gives_one_latent_a_sample(make, data, kind):
    autoencoder = make(kind)
    assert not autoencoder.is_fitted
    assert autoencoder.fit(data[kind], **FAST) is autoencoder
    latents = autoencoder.encode(data[kind])
    assert autoencoder.is_fitted
    assert latents.shape == (60, 4)
    assert latents.dtype == np.float32
    assert np.isfinite(latents).all()
    assert set(autoencoder.history_[0]) == {"total", "reconstruction", "divergence_sample", "divergence_steps"}
    json.dumps(autoencoder.history_, allow_nan=False)


@pytest.mark.parametrize("kind", KINDS)
def test_autoencoder_saved_and_loaded_encodes_equally(make, data, kind, tmp_path):
    autoencoder = make(kind).fit(data[kind], **FAST)
    autoencoder.save(tmp_path / "model.safetensors")
    loaded = Autoencoder.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(loaded.encode(data[kind]), autoencoder.encode(data[kind]))
    assert loaded.settings == autoencoder.settings
    assert loaded.history_ == autoencoder.history_
    assert loaded.is_fitted


def test_autoencoder_of_arrays_that_cannot_be_written_says_nothing_of_it(make, data):
    """Worker processes get such arrays."""
    autoencoder = make("spectrogram").fit(data["spectrogram"], **FAST)
    arrays, settings = autoencoder.state_arrays(), autoencoder.state_settings()
    for array in arrays.values():
        array.setflags(write=False)
    torch.set_warn_always(True)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            read = Autoencoder.from_state(arrays, settings)
    finally:
        torch.set_warn_always(False)
    assert read.is_fitted


@pytest.mark.slow
@pytest.mark.parametrize("changes", [{"posterior": "full"}, {"video_like": True}], ids=str)
def test_autoencoder_other_forms_survive_saving(make, data, changes, tmp_path):
    autoencoder = make("spectrogram", **changes).fit(data["spectrogram"], **FAST)
    autoencoder.save(tmp_path / "model")
    np.testing.assert_array_equal(
        Autoencoder.load(tmp_path / "model").encode(data["spectrogram"]), autoencoder.encode(data["spectrogram"])
    )


@pytest.mark.parametrize("kind", KINDS)
def test_autoencoder_one_seed_gives_equal_latents_and_another_differs(make, data, kind):
    latents = [make(kind).fit(data[kind], random_state=seed, **FAST).encode(data[kind]) for seed in (1, 1, 2)]
    np.testing.assert_array_equal(latents[0], latents[1])
    assert not np.allclose(latents[0], latents[2])


@pytest.mark.slow
def test_autoencoder_second_fit_starts_from_scratch(make, data):
    x = data["spectrogram"]
    autoencoder = make("spectrogram").fit(x + 1, **FAST).fit(x, **FAST)
    np.testing.assert_array_equal(autoencoder.encode(x), make("spectrogram").fit(x, **FAST).encode(x))


@pytest.mark.parametrize("kind", KINDS)
def test_autoencoder_memory_map_equals_the_array(make, data, kind, tmp_path):
    x = data[kind]
    x.tofile(tmp_path / "x.bin")
    mapped = np.memmap(tmp_path / "x.bin", dtype=np.float32, mode="r", shape=x.shape)
    expected = make(kind).fit(x, **FAST).encode(x)
    np.testing.assert_array_equal(make(kind).fit(mapped, **FAST).encode(mapped), expected)


@pytest.mark.slow
def test_autoencoder_encode_any_batch_size_gives_the_same_latents(make, data):
    autoencoder = make("waveform").fit(data["waveform"], **FAST)
    together = autoencoder.encode(data["waveform"])
    np.testing.assert_allclose(autoencoder.encode(data["waveform"], batch_size=7), together, rtol=1e-3, atol=1e-5)


def test_autoencoder_encode_permuted_samples_permutes_the_latents(make, data, random):
    autoencoder = make("spectrogram").fit(data["spectrogram"], **FAST)
    order = random.permutation(60)
    latents = autoencoder.encode(data["spectrogram"])
    np.testing.assert_allclose(autoencoder.encode(data["spectrogram"][order]), latents[order], rtol=1e-3, atol=1e-5)


def test_autoencoder_encode_before_fit_says_what_to_call(make, data, tmp_path):
    with pytest.raises(NotFittedError, match=r"call fit\(x\) or load"):
        make("waveform").encode(data["waveform"])
    with pytest.raises(NotFittedError, match=r"Call fit\(x\) first"):
        make("waveform").save(tmp_path / "model")
    assert list(tmp_path.iterdir()) == []


def test_autoencoder_interrupted_fit_leaves_it_unfitted(make, data, monkeypatch):
    autoencoder = make("spectrogram").fit(data["spectrogram"], **FAST)

    def unplugged(*arguments, **keywords):
        raise KeyboardInterrupt

    monkeypatch.setattr("art_plugins.features.vae.training.train", unplugged)
    with pytest.raises(KeyboardInterrupt):
        autoencoder.fit(data["spectrogram"], **FAST)
    assert not autoencoder.is_fitted


def test_autoencoder_scale_equals_numpy_over_all_frames(make, data):
    autoencoder = make("waveform").fit(data["waveform"], **FAST)
    settings = autoencoder.settings
    frames = LogMelSpectrogram(settings.sample_rate_hz, settings.n_mels, settings.window_s, settings.hop_s, settings.floor)(
        torch.from_numpy(data["waveform"].copy())
    ).numpy()
    state = autoencoder.state_settings()
    assert state["mean"] == pytest.approx(frames.mean(), rel=1e-5)
    assert state["scale"] == pytest.approx(frames.std(), rel=1e-5)


def test_autoencoder_scale_over_many_batches_equals_numpy(make, random, monkeypatch):
    # The scale is measured in batches of at least 256 samples: 600 samples of very different means make three.
    x = (random.normal(size=(600, 2, 8)) + np.linspace(0, 1000, 600)[:, None, None]).astype(np.float32)
    monkeypatch.setattr("art_plugins.features.vae.training.train", lambda *arguments, **keywords: [{"total": 0.0}])
    state = make("spectrogram").fit(x, **FAST).state_settings()
    assert state["mean"] == pytest.approx(x.astype(np.float64).mean(), rel=1e-6)
    assert state["scale"] == pytest.approx(x.astype(np.float64).std(), rel=1e-6)


@pytest.mark.parametrize("kind", ["spectrogram", "image"])  # for waveforms, the logarithm of the power comes first
def test_autoencoder_other_zero_point_and_unit_of_the_data_change_nothing(make, data, kind):
    x = data[kind]
    latents = make(kind).fit(x, **FAST).encode(x)
    moved = 4 * x + 2 if kind == "image" else 4 * x  # padded bands are zeros after the scaling, whatever the zero point
    # Training makes more of the rounding, and on each processor another amount.
    np.testing.assert_allclose(make(kind).fit(moved, **FAST).encode(moved), latents, rtol=1e-2, atol=5e-3)


def test_autoencoder_constant_data_is_encoded(make):
    x = np.full((20, 4, 8), 3.0, dtype=np.float32)
    assert np.isfinite(make("spectrogram").fit(x, **FAST).encode(x)).all()


def test_autoencoder_images_in_every_layout_have_equal_latents(make, data):
    first = data["image"]
    last = np.moveaxis(first, 1, -1)
    latents = make("image").fit(first, **FAST).encode(first)
    np.testing.assert_allclose(make("image").fit(last, **FAST).encode(last), latents, rtol=1e-4, atol=1e-5)


def test_autoencoder_grey_images_with_and_without_an_axis_of_colours_have_equal_latents(make, data):
    grey = data["image"][:, 0]
    latents = [make("image").fit(x, **FAST).encode(x) for x in (grey, grey[:, None], grey[..., None])]
    np.testing.assert_allclose(latents[1], latents[0], rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(latents[2], latents[0], rtol=1e-4, atol=1e-5)


def test_autoencoder_small_square_images_follow_the_given_layout(make, random):
    """As many rows and columns as colours: the shape says nothing, channels_first alone does."""
    first = random.normal(size=(20, 3, 3, 3)).astype(np.float32)
    last = np.moveaxis(first, 1, -1)
    latents = make("image", channels_first=True).fit(first, **FAST).encode(first)
    found = make("image", channels_first=False).fit(last, **FAST).encode(last)
    np.testing.assert_allclose(found, latents, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_autoencoder_fit_sample_that_is_not_finite_is_named_by_its_index(make, data, kind, bad):
    x = data[kind].copy()
    x[37].flat[5] = bad
    autoencoder = make(kind)
    with pytest.raises(InvalidInputError, match=r"x\[37\] holds NaN, infinity"):
        autoencoder.fit(x, **FAST)
    assert not autoencoder.is_fitted


def test_autoencoder_fit_bad_sample_of_a_later_batch_is_named_by_its_index(make):
    x = np.ones((600, 2, 8), dtype=np.float32)
    x[[555, 590]] = np.nan
    with pytest.raises(InvalidInputError, match=r"x\[555\]"):
        make("spectrogram").fit(x, **FAST)


@pytest.mark.parametrize("kind", KINDS)
def test_autoencoder_encode_sample_that_is_not_finite_is_named_by_its_index(make, data, kind):
    autoencoder = make(kind).fit(data[kind], **FAST)
    x = data[kind].copy()
    x[11] = np.nan
    with pytest.raises(InvalidInputError, match="Row 11"):
        autoencoder.encode(x)


@pytest.mark.parametrize(
    ("kind", "shape"), [("waveform", (60, 801)), ("spectrogram", (60, 7, 11)), ("image", (60, 3, 9, 10))]
)
def test_autoencoder_encode_other_sample_shape_is_refused(make, data, kind, shape):
    autoencoder = make(kind).fit(data[kind], **FAST)
    with pytest.raises(InvalidInputError, match="was fitted on samples of shape"):
        autoencoder.encode(np.zeros(shape, dtype=np.float32))


@pytest.mark.parametrize(
    ("kind", "shape", "says"),
    [
        ("waveform", (5, 4, 8), "does not fit samples"),
        ("spectrogram", (5, 800), "does not fit samples"),
        ("image", (5, 800), "does not fit samples"),
        ("waveform", (5, 10), "shorter than half a window"),
        ("image", (5, 2, 6, 6), "cannot be inferred"),
        ("image", (5, 3, 6, 3), "cannot be inferred"),
        ("waveform", (0, 800), "not be empty"),
        ("waveform", (5, 0), "not be empty"),
        ("waveform", (800,), "not be empty"),
    ],
)
def test_autoencoder_fit_shape_that_does_not_fit_is_refused(make, kind, shape, says):
    with pytest.raises(InvalidInputError, match=says):
        make(kind).fit(np.zeros(shape, dtype=np.float32), **FAST)


@pytest.mark.parametrize(
    ("x", "says"),
    [
        ([[0.0, 1.0]], "received list"),
        (np.array([["a"]]), "real numbers"),
        (np.array([[1j]]), "real numbers"),
        (np.array([[1, 2], [3]], dtype=object), "different lengths"),
        (np.array([["2020-01-01"]], dtype="datetime64[D]"), "real numbers"),
    ],
    ids=["list", "text", "complex", "ragged", "dates"],
)
def test_check_samples_what_is_no_array_of_numbers_is_refused(x, says):
    with pytest.raises(InvalidInputError, match=says):
        check_samples(x)


@pytest.mark.parametrize("changes", [{"nb_epochs": 0}, {"batch_size": 0}, {"learning_rate": 0.0}, {"patience": 0}])
def test_autoencoder_fit_bad_argument_is_refused_by_name(make, data, changes):
    with pytest.raises(InvalidInputError, match=next(iter(changes))):
        make("waveform").fit(data["waveform"], **{**FAST, **changes})


@pytest.mark.parametrize("dtype", [np.float64, np.int16, np.uint8])
def test_autoencoder_fit_other_types_equal_their_single_precision(make, random, dtype):
    x = random.integers(0, 100, size=(30, 8, 8)).astype(dtype)
    latents = make("image").fit(x, **FAST).encode(x)
    expected = make("image").fit(x.astype(np.float32), **FAST).encode(x.astype(np.float32))
    np.testing.assert_array_equal(latents, expected)


@pytest.mark.parametrize(
    ("kind", "n", "batch_size"), [("spectrogram", 17, 16), ("image", 17, 16), ("spectrogram", 2, 64), ("image", 2, 64)]
)
def test_autoencoder_fit_awkward_last_batch_is_trained(make, kind, n, batch_size, random):
    """The smallest frames and images shrink to one value a channel, where a batch of one has no variance."""
    x = random.normal(size=(n, 1, 8) if kind == "spectrogram" else (n, 4, 4)).astype(np.float32)
    autoencoder = make(kind).fit(x, nb_epochs=2, batch_size=batch_size, verbose=False)
    assert np.isfinite(autoencoder.encode(x)).all()


@pytest.mark.slow
def test_autoencoder_resumed_fit_equals_an_uninterrupted_one(make, data, tmp_path, monkeypatch):
    x = data["spectrogram"]
    settings = {**FAST, "nb_epochs": 3}
    expected = make("spectrogram").fit(x, **settings)
    halved = make("spectrogram")
    checkpoint = tmp_path / "run.ckpt"
    real = FrontEnd.__call__

    def unplugged(self, batch):
        if checkpoint.exists():
            raise KeyboardInterrupt
        return real(self, batch)

    monkeypatch.setattr(FrontEnd, "__call__", unplugged)
    with pytest.raises(KeyboardInterrupt):
        halved.fit(x, checkpoint=checkpoint, **settings)
    monkeypatch.undo()
    assert checkpoint.exists()
    other_front_end = make("spectrogram", reconstruction_weight=1.0)
    with pytest.raises(FileFormatError, match="belongs to another run"):
        other_front_end.fit(x, checkpoint=checkpoint, **settings)
    changed_inside = x.copy()
    changed_inside[30] += 1
    with pytest.raises(FileFormatError, match="belongs to another run"):
        make("spectrogram").fit(changed_inside, checkpoint=checkpoint, **settings)
    resumed = make("spectrogram").fit(x, checkpoint=checkpoint, **settings)
    assert resumed.history_ == expected.history_
    np.testing.assert_array_equal(resumed.encode(x), expected.encode(x))
    assert list(tmp_path.iterdir()) == []


# Files


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda arrays, state: arrays.popitem(),
        lambda arrays, state: arrays.update(more=np.zeros(3)),
        lambda arrays, state: arrays.update({next(iter(arrays)): np.zeros((1, 1))}),
        lambda arrays, state: state.pop("mean"),
        lambda arrays, state: state.update(scale="wide"),
        lambda arrays, state: state.update(sample_shape=[4]),
        lambda arrays, state: state["settings"].update(latent_dim=5),
        lambda arrays, state: state["settings"].update(latent_dim="many"),
        lambda arrays, state: state["settings"].update(unknown=1),
        lambda arrays, state: state["settings"].update(kind="video"),
        lambda arrays, state: state.pop("settings"),
        lambda arrays, state: state.update(history=None),
    ],
)
def test_autoencoder_load_arrays_that_do_not_fit_the_settings_are_refused(make, data, tmp_path, change):
    path = tmp_path / "model"
    make("spectrogram").fit(data["spectrogram"], **FAST).save(path)
    arrays, state = load_arrays(path, "autoencoder")
    change(arrays, state)
    save_arrays(path, "autoencoder", arrays, state)
    with pytest.raises(FileFormatError, match="do not make an autoencoder"):
        Autoencoder.load(path)


# Settings


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("kind", "video"),
        ("posterior", "exact"),
        *[(name, 0) for name in ("sample_rate_hz", "n_mels", "latent_dim", "step_latent_dim", "embedding_dim")],
        *[(name, -1) for name in ("hidden_dim", "channels")],
        ("latent_dim", 2.5),
        ("latent_dim", "8"),
        *[(name, 0.0) for name in ("window_s", "hop_s", "floor", "reconstruction_weight")],
        ("floor", float("nan")),
        ("hop_s", float("inf")),
        ("window_s", None),
    ],
)
def test_settings_bad_value_is_refused_by_name(name, value):
    with pytest.raises(InvalidInputError, match=rf"{name} must be .*received .*{value}"):
        AutoencoderSettings(**{name: value})


def test_settings_numbers_of_numpy_become_plain_numbers():
    settings = AutoencoderSettings(latent_dim=np.int64(8), floor=np.float32(0.5))
    assert type(settings.latent_dim) is int
    assert type(settings.floor) is float


@pytest.mark.parametrize(("shape", "kind"), [((5, 800), "waveform"), ((5, 3, 8, 8), "image")])
def test_infer_kind_clear_shape_gives_the_kind(shape, kind):
    assert infer_kind(shape) == kind


@pytest.mark.parametrize(
    ("shape", "says"),
    [((5, 8, 8), "kind='spectrogram' or kind='image'"), ((5,), "waveforms are"), ((1,) * 5, "waveforms are")],
)
def test_infer_kind_unclear_shape_says_what_to_do(shape, says):
    with pytest.raises(InvalidInputError, match=says):
        infer_kind(shape)


@pytest.mark.parametrize(
    ("shape", "channels_first", "expected"),
    [
        ((8, 9), None, (1, 8, 9)),
        ((3, 8, 9), None, (3, 8, 9)),
        ((8, 9, 3), None, (3, 8, 9)),
        ((8, 9, 1), None, (1, 8, 9)),
        ((4, 8, 9), None, (4, 8, 9)),
        ((2, 8, 9), True, (2, 8, 9)),
        ((8, 9, 2), False, (2, 8, 9)),
        ((3, 8, 3), True, (3, 8, 3)),
        ((3, 8, 3), False, (3, 3, 8)),
    ],
)
def test_image_shape_layouts_give_colours_height_width(shape, channels_first, expected):
    assert image_shape(shape, channels_first) == expected


def test_errors_of_the_package_are_also_pythons_own():
    assert issubclass(InvalidInputError, ValueError)
    assert issubclass(NotFittedError, RuntimeError)
    assert issubclass(FileFormatError, ArtPluginsError)
