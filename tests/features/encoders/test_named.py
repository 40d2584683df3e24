"""Encoders by name, with weights that the tests make: nothing is downloaded, and no file of weights can run code."""

from __future__ import annotations

import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

import art_plugins
from art_plugins.errors import InvalidInputError
from art_plugins.features.encoders.named import check_encoder_name, load_encoder
from art_plugins.features.vae.training import seeded

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
OF_TORCHVISION, OF_TIMM, OF_TORCHAUDIO = "torchvision:shufflenet_v2_x0_5", "timm:test_vit", "torchaudio:HUBERT_BASE"


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache of weights for torchvision and torchaudio, and no network."""

    def refuse(*arguments: Any, **keywords: Any) -> None:
        raise OSError("no network in tests")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    return folder


@pytest.fixture
def torchvision_file(cache: Path) -> Path:
    """Where the weights of the encoder of torchvision are looked for."""
    models = pytest.importorskip("torchvision.models")
    return cache / Path(models.ShuffleNet_V2_X0_5_Weights.DEFAULT.url).name


@pytest.fixture
def of_torchvision(torchvision_file: Path) -> nn.Module:
    """The encoder of torchvision with random weights, which are in the cache."""
    models = pytest.importorskip("torchvision.models")
    with seeded(0):
        network: nn.Module = models.shufflenet_v2_x0_5(weights=None)
    torch.save(network.state_dict(), torchvision_file)
    return network.eval()


@pytest.fixture
def of_timm(monkeypatch: pytest.MonkeyPatch) -> nn.Module:
    """The encoder of timm with random weights, which its hub is made to give."""
    timm = pytest.importorskip("timm")
    with seeded(0):
        network: nn.Module = timm.create_model("test_vit", pretrained=False)
    state = network.state_dict()
    monkeypatch.setattr("timm.models._builder.load_state_dict_from_hf", lambda *arguments, **keywords: dict(state))
    return network.eval()


@pytest.fixture
def bundle(cache: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], nn.Module]:
    """Puts a tiny network with random weights in the place of a bundle of torchaudio; says whether it normalises."""
    pipelines = pytest.importorskip("torchaudio.pipelines")

    def make(is_normalised: bool) -> nn.Module:
        small = {
            "extractor_conv_layer_config": [(8, 10, 5), (8, 3, 2)],
            "encoder_embed_dim": 16,
            "encoder_pos_conv_kernel": 16,
            "encoder_pos_conv_groups": 4,
            "encoder_num_layers": 2,
            "encoder_num_heads": 2,
            "encoder_ff_interm_features": 32,
        }
        params = {**pipelines.HUBERT_BASE._params, **small}
        tiny = pipelines.Wav2Vec2Bundle("tiny.pth", params, 16_000, is_normalised, "Wav2Vec2")
        monkeypatch.setattr(pipelines, "HUBERT_BASE", tiny)
        from torchaudio.models import wav2vec2_model

        with seeded(0):
            network: nn.Module = wav2vec2_model(**params)
        torch.save(network.state_dict(), cache / "tiny.pth")
        return network.eval()

    return make


def images(n: int = 4, shape: tuple[int, ...] = (3, 20, 30)) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(size=(n, *shape)).astype(np.float32))


# Images


@pytest.mark.usefixtures("of_torchvision")
def test_encoder_of_torchvision_has_the_weights_of_the_cache_and_normalises_as_they_want(of_torchvision: nn.Module) -> None:
    models = pytest.importorskip("torchvision.models")
    encoder = load_encoder(OF_TORCHVISION)
    assert all(
        torch.equal(value, encoder.network.state_dict()[name]) for name, value in of_torchvision.state_dict().items()
    )
    transforms = models.ShuffleNet_V2_X0_5_Weights.DEFAULT.transforms()
    of_size = images(2, (3, 224, 224))
    mean, std = (torch.tensor(values)[:, None, None] for values in (transforms.mean, transforms.std))
    torch.testing.assert_close(encoder.prepare(of_size), (of_size - mean) / std)


@pytest.mark.usefixtures("of_timm")
def test_encoder_of_timm_has_the_published_weights_and_no_head(of_timm: nn.Module) -> None:
    encoder = load_encoder(OF_TIMM)
    state = encoder.network.state_dict()
    assert state
    assert all(torch.equal(value, of_timm.state_dict()[name]) for name, value in state.items())
    prepared = encoder.prepare(images())
    assert prepared.shape == (4, 3, 160, 160)
    with torch.no_grad():
        assert encoder.network.eval()(prepared).shape == (4, of_timm.num_features)


@pytest.mark.usefixtures("of_torchvision")
def test_images_of_every_form_are_prepared_alike() -> None:
    grey = images(shape=(20, 30))
    prepared = load_encoder(OF_TORCHVISION).prepare(grey)
    assert prepared.shape == (4, 3, 224, 224)
    for other in (grey[:, None], grey[..., None], grey[:, None].repeat(1, 3, 1, 1), grey[..., None].repeat(1, 1, 1, 3)):
        torch.testing.assert_close(load_encoder(OF_TORCHVISION).prepare(other), prepared)


@pytest.mark.usefixtures("of_torchvision")
def test_whole_image_is_seen_up_to_its_corners() -> None:
    x = images()
    stamped = x.clone()
    stamped[:, :, -2:, -2:] = 1
    prepare = load_encoder(OF_TORCHVISION).prepare
    differences = (prepare(stamped) - prepare(x)).abs()
    assert differences[..., -10:, -10:].min() > 0
    assert differences[..., :100, :100].max() == 0


@pytest.mark.parametrize(
    ("x", "said"),
    [
        (np.zeros((5, 4, 8, 8), dtype=np.float32), "one or three colours"),
        (np.zeros((5, 2, 8, 8), dtype=np.float32), "one or three colours|colour axis"),
        (np.zeros((5, 800), dtype=np.float32), "one or three colours"),
        (np.tile(np.arange(64, dtype=np.uint8).reshape(8, 8) * 4, (5, 1, 1)), "x_train / 255"),
        (np.tile(np.linspace(-1, 1, 64).reshape(8, 8), (5, 1, 1)), "from -1 to 1"),
        (np.tile(np.linspace(0, 1 / 255, 64).reshape(8, 8), (5, 1, 1)), "from 0 to 0.003922"),
    ],
    ids=["four_colours", "two_colours", "waveforms", "bytes", "negative", "divided_twice"],
)
def test_images_that_an_encoder_cannot_be_given_are_refused_before_weights_are_loaded(
    x: np.ndarray, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("art_plugins.defences.encoder_features.load_encoder", None)
    defence = art_plugins.EncoderFeatureDefence(None, x, np.arange(5) % 2, encoder="torchvision:resnet18")
    with pytest.raises(InvalidInputError, match=said):
        defence.detect_poison()


# Waveforms


@pytest.mark.parametrize("is_normalised", [False, True])
def test_encoder_of_torchaudio_hears_waveforms_at_its_own_rate(
    is_normalised: bool, bundle: Callable[[bool], nn.Module]
) -> None:
    network = bundle(is_normalised)
    functional = pytest.importorskip("torchaudio.functional")
    encoder = load_encoder(OF_TORCHAUDIO, sample_rate_hz=8_000)
    x = 0.1 * torch.from_numpy(np.random.default_rng(0).normal(size=(3, 1, 2_000)).astype(np.float32))
    x[1] *= 10  # is not to change what is heard of the others
    inputs = functional.resample(x[:, 0], 8_000, 16_000)
    if is_normalised:
        inputs = (inputs - inputs.mean(dim=1, keepdim=True)) / inputs.var(dim=1, correction=0, keepdim=True).add(
            1e-5
        ).sqrt()
    with torch.no_grad():
        found, _ = encoder.network.eval()(encoder.prepare(x))
        expected, _ = network(inputs)
        alone, _ = encoder.network(encoder.prepare(x[:1]))
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    torch.testing.assert_close(alone, found[:1], atol=1e-5, rtol=1e-4)


def test_waveforms_at_the_rate_of_the_encoder_are_not_resampled(bundle: Callable[[bool], nn.Module]) -> None:
    bundle(False)
    x = images(shape=(2_000,))
    assert torch.equal(load_encoder(OF_TORCHAUDIO, sample_rate_hz=16_000).prepare(x), x)


@pytest.mark.parametrize(
    ("shape", "options", "said"),
    [((800,), {}, "give sample_rate_hz"), ((3, 8, 8), {"sample_rate_hz": 8_000}, "takes waveforms")],
)
def test_waveforms_without_a_rate_and_images_are_refused(shape: tuple[int, ...], options: Any, said: str) -> None:
    x = np.zeros((5, *shape), dtype=np.float32)
    defence = art_plugins.EncoderFeatureDefence(None, x, np.arange(5) % 2, encoder="torchaudio:HUBERT_BASE", **options)
    with pytest.raises(InvalidInputError, match=said):
        defence.detect_poison()


# Names and files


@pytest.mark.parametrize("name", ["resnet18", "timm:", ":resnet18", "torch.hub:resnet18", "TIMM:resnet18"])
def test_name_without_a_package_is_refused(name: str) -> None:
    with pytest.raises(InvalidInputError, match="encoder must be"):
        check_encoder_name(name)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("timm:vit_small_patch14_dinov3x", "vit_small_patch14_dinov2"),
        ("timm:hf-hub:someone/model", "it has"),
        ("timm:local-dir:somewhere", "it has"),
        ("torchvision:resnet81", "resnet18"),
        ("torchvision:fcn_resnet50", "resnet50"),
        ("torchaudio:WAV2VEC2_BASS", "WAV2VEC2_BASE"),
        ("torchaudio:Wav2Vec2Bundle", "it has"),
    ],
)
def test_unknown_name_is_refused_with_names_that_are_near(name: str, near: str) -> None:
    pytest.importorskip(name.partition(":")[0])
    with pytest.raises(InvalidInputError, match=f"of this name.*{near}"):
        load_encoder(name, sample_rate_hz=16_000)


@pytest.mark.usefixtures("cache")
def test_weights_that_cannot_be_had_are_told_in_one_sentence() -> None:
    pytest.importorskip("torchvision")
    with pytest.raises(InvalidInputError, match=r"cannot be loaded.*no network in tests"):
        load_encoder(OF_TORCHVISION)


class Harmful:
    """A pickle of it makes a folder when it is read."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def __reduce__(self) -> Any:
        return Path.mkdir, (self.folder,)


@pytest.mark.parametrize("package", ["torchvision", "torchaudio"])
def test_file_that_is_more_than_weights_is_refused_and_does_not_run(
    package: str, cache: Path, torchvision_file: Path, bundle: Callable[[bool], nn.Module], tmp_path: Path
) -> None:
    bundle(False)
    file = torchvision_file if package == "torchvision" else cache / "tiny.pth"
    torch.save({"weights": Harmful(tmp_path / "harm")}, file)
    with pytest.raises(InvalidInputError, match="cannot be loaded"):
        load_encoder(OF_TORCHVISION if package == "torchvision" else OF_TORCHAUDIO, sample_rate_hz=16_000)
    assert not (tmp_path / "harm").exists()
    pickle.loads(pickle.dumps(Harmful(tmp_path / "harm")))
    assert (tmp_path / "harm").is_dir()  # it would have run
    shutil.rmtree(tmp_path / "harm")


@pytest.mark.usefixtures("of_timm")
def test_filter_judges_by_the_blocks_of_an_encoder_that_was_named() -> None:
    x = images(60, (12, 12, 3)).numpy()
    defence = art_plugins.EncoderFeatureDefence(None, x, np.arange(60) % 3, encoder=OF_TIMM)
    report, is_clean = defence.detect_poison()
    assert is_clean == [1] * 60
    assert len([name for name in defence.layers_ if name.startswith("blocks.")]) >= 4
    assert report["parameters"]["encoder"] == OF_TIMM
