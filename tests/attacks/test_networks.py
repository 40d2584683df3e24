"""Networks: Armory's front end, shapes, and the papers' numbers of parameters."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.signal import stft

from art_plugins.attacks.networks import (
    NETWORKS,
    InvertedResidual,
    STFTMagnitude,
    lenet5,
    mobilenet_v2,
    plain_cnn,
    resnet,
    resnet18_cifar,
    vgg16,
)
from art_plugins.attacks.vision_transformer import vit


def test_stft_magnitude_of_a_second_has_armorys_shape_and_scipys_values() -> None:
    waveform = np.random.default_rng(0).normal(size=16_000).astype(np.float32)
    ours = STFTMagnitude()(torch.from_numpy(waveform)[None]).numpy()
    assert ours.shape == (1, 1, 124, 129)
    window = torch.hann_window(255).numpy()
    _, _, theirs = stft(waveform, window=np.append(window, 0), nperseg=256, noverlap=128, boundary=None, padded=False)
    theirs = np.abs(theirs).T * window.sum()
    # Like TensorFlow's, SciPy's window begins at a frame's first sample.
    np.testing.assert_allclose(ours[0, 0], theirs, atol=1e-3)


@pytest.mark.parametrize("name", NETWORKS)
def test_networks_give_one_logit_a_class(name: str) -> None:
    network = NETWORKS[name](1, 5).eval()
    assert network(torch.zeros(2, 1, 33, 31)).shape == (2, 5)
    assert list(network.named_children())[-1][1].out_features == 5


def test_resnet18_at_full_width_has_the_papers_number_of_parameters() -> None:
    # He et al. 2016 with three colours and 1,000 classes: 11.69 million; here 1 colour and 1,000 classes.
    n_parameters = sum(value.numel() for value in resnet(3, 1_000, 18).parameters())
    assert n_parameters == 11_689_512


def test_resnet50_at_full_width_has_the_papers_number_of_parameters() -> None:
    assert sum(value.numel() for value in resnet(3, 1_000, 50).parameters()) == 25_557_032


def test_resnet18_for_cifar_has_the_usual_number_of_parameters_and_maps_of_four_by_four() -> None:
    # kuangliu/pytorch-cifar's ResNet18: 11,173,962.
    network = resnet18_cifar(3, 10)
    assert sum(value.numel() for value in network.parameters()) == 11_173_962
    narrow = resnet18_cifar(3, 10, width=4).eval()
    assert narrow[:-3](torch.zeros(1, 3, 32, 32)).shape == (1, 32, 4, 4)


def test_lenet5_has_the_papers_number_of_parameters_and_takes_both_sizes() -> None:
    # C1 156, C3 2,416 (fully connected maps), C5 48,120, F6 10,164, output 850.
    network = lenet5(1, 10)
    assert sum(value.numel() for value in network.parameters()) == 61_706
    assert network(torch.zeros(2, 1, 28, 28)).shape == network(torch.zeros(2, 1, 32, 32)).shape == (2, 10)


def test_lenet5_on_28_pixels_pools_without_overlap() -> None:
    network = lenet5(1, 10)
    x = torch.rand(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    maps = network[:5](x)
    assert torch.equal(network[5](maps), torch.nn.functional.max_pool2d(maps, 2))


def test_vgg16_has_the_papers_convolutions_and_two_hidden_layers() -> None:
    network = vgg16(3, 10, width=64)
    convolutions = [module for module in network if isinstance(module, torch.nn.Conv2d)]
    assert [module.out_channels for module in convolutions] == [64] * 2 + [128] * 2 + [256] * 3 + [512] * 6
    # Table 2 of the paper without biases, plus 2 x 4,224 of batch normalisation and the linear layers.
    n_convolution = 9 * (3 * 64 + 64 * 64 + 64 * 128 + 128**2 + 128 * 256 + 2 * 256**2 + 256 * 512 + 5 * 512**2)
    n_linear = 2 * (512 * 512 + 512) + 512 * 10 + 10
    assert sum(value.numel() for value in network.parameters()) == n_convolution + 2 * 4_224 + n_linear


@pytest.mark.parametrize("side", [28, 32, 64])
def test_vgg16_takes_images_of_any_size(side: int) -> None:
    assert vgg16(3, 7, width=2).eval()(torch.zeros(2, 3, side, side)).shape == (2, 7)


def test_mobilenet_v2_at_full_width_has_the_papers_number_of_parameters_and_17_blocks() -> None:
    # Sandler et al. 2018, Table 4: 3.4 million with 1,000 classes; torchvision's: 3,504,872.
    network = mobilenet_v2(3, 1_000)
    assert sum(value.numel() for value in network.parameters()) == 3_504_872
    assert sum(isinstance(module, InvertedResidual) for module in network) == 17


def test_mobilenet_v2_on_32_pixels_ends_in_maps_of_four_by_four_and_a_last_convolution_of_1280() -> None:
    network = mobilenet_v2(3, 10, width=8).eval()
    assert network[:-3](torch.zeros(1, 3, 32, 32)).shape == (1, 1280, 4, 4)
    assert [module.body[-1].num_features for module in network if isinstance(module, InvertedResidual)] == [
        8, 8, 8, 8, 8, 8, 16, 16, 16, 16, 24, 24, 24, 40, 40, 40, 80
    ]  # fmt: skip


def test_inverted_residual_adds_its_input_where_shapes_allow_and_rectifies_no_sum() -> None:
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(2, 8, 4, 4, generator=generator)
    for block, has_shortcut in ((InvertedResidual(8, 8, 1, 6), True), (InvertedResidual(8, 8, 2, 6), False)):
        output = block.eval()(x)
        torch.nn.init.zeros_(block.body[-1].weight)
        torch.nn.init.zeros_(block.body[-1].bias)
        assert (output < 0).any()
        assert torch.equal(block(x), x if has_shortcut else torch.zeros_like(output))


def test_plain_cnn_has_three_convolutions_and_no_normalisation() -> None:
    network = plain_cnn(3, 10)
    kinds = [type(module).__name__ for module in network.modules()]
    assert kinds.count("Conv2d") == 3
    assert not [kind for kind in kinds if "Norm" in kind]
    n_parameters = 16 * 28 + 32 * (16 * 9 + 1) + 64 * (32 * 9 + 1) + 128 * (64 * 9 + 1) + 10 * 129
    assert sum(value.numel() for value in network.parameters()) == n_parameters


def test_vit_has_four_blocks_of_width_64_and_the_patches_of_the_image() -> None:
    network = vit(3, 10).eval()
    blocks = [module for module in network if isinstance(module, torch.nn.TransformerEncoderLayer)]
    assert len(blocks) == 4
    assert network[0](torch.zeros(2, 3, 32, 28)).shape == (2, 8 * 7, 64)
    # A block: 4 width^2 of attention and 8 width^2 of the two layers, with 4 + 4 + 1 biases and 4 of normalisation.
    n_block = 12 * 64**2 + 13 * 64
    assert sum(value.numel() for value in network.parameters()) == 64 * 49 + 4 * n_block + 128 + 650


def test_vit_knows_where_a_patch_lies() -> None:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = vit(1, 5).eval()
    tokens = network[0](torch.zeros(1, 1, 12, 8))[0]
    assert len(torch.unique((tokens - tokens.mean(dim=0)).mul(1e4).round(), dim=0)) == 6
    upper, lower = torch.zeros(2, 1, 1, 12, 8)
    upper[..., :4, :4], lower[..., 8:, 4:] = 1, 1
    assert not torch.allclose(network(upper), network(lower), atol=1e-5)
