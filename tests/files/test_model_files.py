"""Model files of every kind give the network's own outputs; others are one sentence, and nothing is ever unpickled."""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import hidden_layers, logits_and_hidden
from art_plugins.features.classifiers import torch_module
from art_plugins.features.vae.training import seeded
from art_plugins.files.model_files import load_classifier
from art_plugins.files.scripted_network import ScriptedNetwork
from art_plugins.files.weight_files import load_weights
from art_plugins.triggers.differentiable import DifferentiableClassifier

pytestmark = pytest.mark.usefixtures("global_generators_untouched")
LENET = "art_plugins.attacks.networks:lenet5"
GREY = {"in_channels": 1, "nb_classes": 7}


def small(channels: int = 1, side: int = 8) -> nn.Sequential:
    """A convolution with batch normalisation, two hidden vectors and five classes."""
    with seeded(3):
        network = nn.Sequential(
            nn.Conv2d(channels, 4, 3, padding=1),
            nn.BatchNorm2d(4),
            nn.ReLU(),
            nn.Flatten(),
            nn.Linear(4 * side**2, 12),
            nn.ReLU(),
            nn.Linear(12, 5),
        )
        network[1].running_mean.normal_()
    return network.eval()


class LastChannels(nn.Module):
    """Takes (n, H, W, 3)."""

    def __init__(self) -> None:
        super().__init__()
        self.network = small(3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x.permute(0, 3, 1, 2))


class Twofold(nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


def scripted(network: nn.Module, path: Path, example: torch.Tensor | None = None) -> Path:
    """Saved as TorchScript, from its code or by following an example."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(network) if example is None else torch.jit.trace(network, example)
        torch.jit.save(script, path)
    return path


def images(shape: tuple[int, ...], n: int = 6) -> np.ndarray:
    return np.random.default_rng(5).random((n, *shape), dtype=np.float32)


def judged(classifier: Any, x: np.ndarray, n_layers: int = 2) -> tuple[np.ndarray, np.ndarray]:
    return logits_and_hidden(classifier, x, hidden_layers(classifier, x, n_layers))


def outputs_of(network: nn.Module, x: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return network(torch.from_numpy(x)).numpy()


@pytest.fixture
def factory_here(tmp_path, monkeypatch):
    """A module of factories in the current folder."""
    name = f"handmade_{tmp_path.name}"
    (tmp_path / f"{name}.py").write_text(
        "from torch import nn\n"
        "def network(side=8):\n"
        "    return nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(),\n"
        "                         nn.Linear(4 * side**2, 12), nn.ReLU(), nn.Linear(12, 5))\n"
        "def words():\n"
        "    return 'a network'\n"
        "def broken():\n"
        "    raise ZeroDivisionError('by nothing')\n"
    )
    monkeypatch.chdir(tmp_path)
    yield name
    sys.modules.pop(name, None)


@pytest.mark.parametrize("traced", [False, True], ids=["scripted", "traced"])
@pytest.mark.parametrize("ending", [(), (nn.Softmax(dim=1),), (nn.LogSoftmax(dim=1),)], ids=["logits", "softmax", "log"])
def test_load_classifier_torchscript_gives_outputs_hidden_vectors_and_gradients_of_the_network(tmp_path, traced, ending):
    x = images((1, 8, 8))
    plain = small()
    whole = nn.Sequential(*plain, *ending).eval()
    path = scripted(whole, tmp_path / "m.pt", torch.from_numpy(x[:2]) if traced else None)
    classifier = load_classifier(path, (8, 8), is_grey=True)
    assert (classifier.input_shape, classifier.nb_classes, classifier.channels_first) == ((1, 8, 8), 5, True)
    outputs, hidden = judged(classifier, x)
    np.testing.assert_allclose(outputs, outputs_of(whole, x), atol=1e-5)
    expected = [outputs_of(plain[:4], x), outputs_of(plain[:6], x)]
    np.testing.assert_allclose(hidden, np.concatenate(expected, axis=1), atol=1e-5)

    gradients = []
    for network in (torch_module(classifier), whole):
        inputs = torch.from_numpy(x).requires_grad_()
        gradients.append(torch.autograd.grad(network(inputs)[:, 2].sum(), inputs)[0])
    assert gradients[1].abs().max() > 1e-4
    torch.testing.assert_close(*gradients, atol=1e-5, rtol=1e-4)


def test_load_classifier_torchscript_with_one_linear_layer_has_one_hidden_vector(tmp_path):
    with seeded(0):
        network = nn.Sequential(nn.Conv2d(3, 6, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(6, 4)).eval()
    classifier = load_classifier(scripted(network, tmp_path / "m.pt"), (9, 7))
    assert classifier.input_shape == (3, 7, 9)
    x = images((3, 7, 9))
    np.testing.assert_allclose(judged(classifier, x)[1], outputs_of(network[:3], x), atol=1e-6)


def test_load_classifier_torchscript_layers_over_tokens_are_no_hidden_vectors(tmp_path):
    class Tokens(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.embed, self.head = nn.Linear(8, 6), nn.Linear(6, 4)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return self.head(torch.relu(self.embed(x[:, 0])).mean(dim=1))

    with seeded(0):
        network = Tokens().eval()
    classifier = load_classifier(scripted(network, tmp_path / "m.pt"), (8, 8), is_grey=True)
    assert judged(classifier, images((1, 8, 8)))[1].shape == (6, 6)


def save_weights(network: nn.Module, path: Path, form: str) -> Path:
    weights = network.state_dict()
    if form == "safetensors":
        path = path.with_suffix(".safetensors")
        safetensors.torch.save_file(weights, path)
    elif form == "old":
        torch.save(weights, path, _use_new_zipfile_serialization=False)
    elif form == "checkpoint":
        torch.save({"epoch": 3, "state_dict": weights}, path)
    elif form == "parallel":
        torch.save({f"module.{name}": value for name, value in weights.items()}, path)
    else:
        torch.save(weights, path)
    return path


@pytest.mark.parametrize("form", ["state_dict", "old", "safetensors", "checkpoint", "parallel"])
def test_load_classifier_weights_of_every_form_give_the_networks_outputs(tmp_path, factory_here, form):
    path = save_weights(small(), tmp_path / "weights.pt", form)
    before = list(sys.path)
    classifier = load_classifier(path, (8, 8), factory=f"{factory_here}:network")
    assert sys.path == before
    assert not torch_module(classifier).training
    x = images((1, 8, 8))
    np.testing.assert_allclose(judged(classifier, x)[0], outputs_of(small(), x), atol=1e-6)


def test_load_classifier_factory_of_an_installed_package_gets_its_arguments(tmp_path):
    from art_plugins.attacks.networks import lenet5

    with seeded(0):
        network = lenet5(**GREY).eval()
    path = save_weights(network, tmp_path / "w.pt", "state_dict")
    classifier = load_classifier(path, (28, 28), factory=LENET, factory_args=GREY)
    x = images((1, 28, 28))
    np.testing.assert_allclose(judged(classifier, x)[0], outputs_of(network, x), atol=1e-6)


@pytest.mark.parametrize("is_grey", [False, True])
@pytest.mark.parametrize(
    ("network", "shape", "channels_first"),
    [(small(1), (1, 8, 8), True), (small(3), (3, 8, 8), True), (LastChannels(), (8, 8, 3), False)],
    ids=["grey", "colour", "channels_last"],
)
def test_load_classifier_finds_colours_and_order_of_channels(tmp_path, network, shape, channels_first, is_grey):
    classifier = load_classifier(scripted(network.eval(), tmp_path / "m.pt"), (8, 8), is_grey=is_grey)
    assert (tuple(classifier.input_shape), classifier.channels_first) == (shape, channels_first)
    x = images(shape)
    np.testing.assert_allclose(judged(classifier, x)[0], outputs_of(network, x), atol=1e-6)


@pytest.mark.parametrize(
    ("network", "shape", "mean", "std"),
    [
        (small(3), (3, 8, 8), [0.1, 0.2, 0.3], [0.5, 0.6, 0.7]),
        (small(3), (3, 8, 8), [0.1], None),
        (small(1), (1, 8, 8), None, [1 / 255]),
        (LastChannels(), (8, 8, 3), [0.1, 0.2, 0.3], [0.5]),
    ],
)
def test_load_classifier_normalises_in_the_model_so_that_gradients_respect_it(tmp_path, network, shape, mean, std):
    classifier = load_classifier(scripted(network.eval(), tmp_path / "m.pt"), (8, 8), mean=mean, std=std)
    x = images(shape)
    by_channel = (-1, 1, 1) if classifier.channels_first else (1, 1, -1)
    scaled = x - np.reshape(np.float32(mean or [0]), by_channel)
    scaled = scaled / np.reshape(np.float32(std or [1]), by_channel)
    expected = outputs_of(network, scaled.astype(np.float32))
    np.testing.assert_allclose(judged(classifier, x)[0], expected, rtol=1e-4, atol=1e-4)
    logits = DifferentiableClassifier(classifier, x).logits(torch.from_numpy(x))
    np.testing.assert_allclose(logits.detach().numpy(), expected, rtol=1e-4, atol=1e-4)


class Malicious:
    """Unpickled, it makes a folder."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, (self.path,)


@pytest.mark.parametrize("new_format", [True, False])
def test_load_classifier_pickled_objects_are_never_run(tmp_path, new_format):
    torch.save(Malicious(tmp_path / "owned"), tmp_path / "m.pt", _use_new_zipfile_serialization=new_format)
    with pytest.raises(InvalidInputError, match=r"would run code .* is not read: .*state_dict") as error:
        load_classifier(tmp_path / "m.pt", (8, 8), factory=LENET)
    assert "\n" not in str(error.value)
    assert not (tmp_path / "owned").exists()


def test_load_classifier_pickled_network_is_refused_with_a_way_out(tmp_path):
    torch.save(small(), tmp_path / "m.pt")
    with pytest.raises(InvalidInputError, match=r"whole pickled model.*torch\.save\(model\.state_dict\(\)"):
        load_classifier(tmp_path / "m.pt", (8, 8))


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "does not exist; give a model file"),
        ("folder", "is not a file; give a model file"),
        (b"", "is empty .0 bytes."),
        (b"hello world", "no readable model file"),
        ({"epoch": 3}, "holds no state_dict"),
        ({}, "holds no state_dict"),
        ([torch.zeros(2)], "holds no state_dict"),
    ],
)
def test_load_classifier_files_that_are_no_model_are_one_sentence(tmp_path, content, sentence):
    path = tmp_path / "m.pt"
    if content == "folder":
        path.mkdir()
    elif isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    with pytest.raises(InvalidInputError, match=sentence) as error:
        load_classifier(path, (8, 8), factory=LENET, factory_args=GREY)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("suffix", [".pt", ".safetensors"])
@pytest.mark.parametrize("script", [True, False])
def test_load_classifier_damaged_file_is_one_sentence(tmp_path, suffix, script):
    path = scripted(small(), tmp_path / "m.pt") if script else save_weights(small(), tmp_path / "m.pt", suffix[1:])
    path.write_bytes(path.read_bytes()[:1500])
    with pytest.raises(
        InvalidInputError, match=r"no readable model file|is a damaged archive|as safetensors it is damaged"
    ) as error:
        load_classifier(path, (8, 8), factory=LENET)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("factory", "arguments", "sentence"),
    [
        (None, {}, r"holds weights only.*--factory"),
        ("network", {}, "given as package.module:function; received 'network'"),
        ("no_such_module_anywhere:network", {}, "cannot be imported .*current folder"),
        ("{here}:nothing", {}, "has no function 'nothing'"),
        ("{here}:broken", {}, "failed: ZeroDivisionError: by nothing"),
        ("{here}:network", {"sides": 8}, "failed: TypeError.*sides"),
        ("{here}:words", {}, "must return a torch.nn.Module; received str"),
        ("{here}:network", {"side": 7}, "not those of the network"),
        (LENET, GREY, "not those of the network"),
    ],
)
def test_load_classifier_factories_that_do_not_fit_are_one_sentence(tmp_path, factory_here, factory, arguments, sentence):
    path = save_weights(small(), tmp_path / "w.pt", "state_dict")
    name = None if factory is None else factory.format(here=factory_here)
    with pytest.raises(InvalidInputError, match=sentence) as error:
        load_classifier(path, (8, 8), factory=name, factory_args=arguments)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("network", "options", "sentence"),
    [
        (small(), {"factory": LENET}, "leave out the factory"),
        (small(side=9), {}, "neither grey nor coloured images of 8 x 8 pixels.*--size"),
        (Twofold(), {}, "must give one tensor .* gave tuple"),
        (nn.Conv2d(1, 5, 3), {}, r"for 2 images it gave \(2, 5, 6, 6\)"),
        (nn.Sequential(nn.Conv2d(1, 5, 8), nn.Flatten()), {}, "no linear layer over one vector.*--factory"),
        (small(3), {"mean": [0.1, 0.2]}, "--mean must be one number, or one for each of the 3 channels"),
        (small(1), {"mean": [0.1, 0.2, 0.3]}, "--mean must be one number, in units"),
        (small(1), {"std": [0.0]}, "--std must be one number above 0"),
        (small(1), {"mean": [np.nan]}, "--mean must be"),
    ],
)
def test_load_classifier_torchscript_that_cannot_be_used_is_one_sentence(tmp_path, network, options, sentence):
    path = scripted(network.eval(), tmp_path / "m.pt")
    with pytest.raises(InvalidInputError, match=sentence) as error:
        load_classifier(path, (8, 8), **options)
    assert "\n" not in str(error.value)


class BehindLearned(nn.Module):
    """A network after a step that has learned values of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.network = nn.Linear(4, 4), nn.Linear(4, 2)


def test_weights_of_a_part_are_no_weights_of_a_network_whose_rest_is_learned_too(tmp_path):
    with seeded(0):
        network, other = BehindLearned(), nn.Linear(4, 2)
    with pytest.raises(InvalidInputError, match="not those of the network"):
        load_weights(network, other.state_dict(), tmp_path / "weights.pth", "mine:network")


def test_scripted_network_whose_copy_differs_is_refused(monkeypatch):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        script = torch.jit.script(small())
    monkeypatch.setattr(ScriptedNetwork, "forward", lambda self, x: self._function(x)[-1] + 0.01)
    with pytest.raises(InvalidInputError, match=r"its outputs and those of its copy differ by 0\.01"):
        ScriptedNetwork.from_script(script, torch.full((2, 1, 8, 8), 0.5))


def test_load_classifier_network_without_linear_layer_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    name = f"conv_{tmp_path.name}"
    Path(f"{name}.py").write_text(
        "from torch import nn\ndef network(): return nn.Sequential(nn.Conv2d(1, 5, 8), nn.Flatten())\n"
    )
    with seeded(0):
        path = save_weights(nn.Sequential(nn.Conv2d(1, 5, 8), nn.Flatten()), tmp_path / "w.pt", "state_dict")
    with pytest.raises(InvalidInputError, match="No linear layer over one vector"):
        load_classifier(path, (8, 8), factory=f"{name}:network")
    sys.modules.pop(name, None)
