"""About a hundred odd model files: each works as its network does, or is refused with its true reason and a remedy."""

from __future__ import annotations

import argparse
import collections
import datetime
import gzip
import io
import json
import os
import pathlib
import pickle
import sys
import tarfile
import warnings
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import joblib
import numpy as np
import pytest
import safetensors.torch
import torch
from torch import Tensor, nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import hidden_layers, logits_and_hidden
from art_plugins.features.vae.training import seeded
from art_plugins.files.model_files import load_classifier

Maker = Callable[[Path], None]
OLD = {"_use_new_zipfile_serialization": False}
FACTORY = "odd_factory:network"
SHAPE = (1, 8, 8)


class Plain(nn.Module):
    """A convolution with batch normalisation and two linear layers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3)
        self.first, self.last = nn.Linear(192, 12), nn.Linear(12, 5)

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(torch.relu(self.norm(self.conv(x))).flatten(1))))


class OptionalTensor(Plain):
    def forward(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        hidden = torch.relu(self.first(torch.relu(self.norm(self.conv(x))).flatten(1)))
        if mask is not None:
            hidden = hidden * mask
        return self.last(hidden)


class OptionalNumbers(Plain):
    def forward(self, x: Tensor, scale: float = 2.0, flag: bool = True, n: int = 3) -> Tensor:
        hidden = torch.relu(self.first(torch.relu(self.norm(self.conv(x))).flatten(1)))
        if flag:
            hidden = hidden * scale * float(n)
        return self.last(hidden)


class TwoInputs(Plain):
    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(x.flatten(1).repeat(1, 3) + y)))


class Dictionary(Plain):
    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"logits": self.last(torch.relu(self.first(self.conv(x).flatten(1))))}


class Labels(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(self.conv(x).flatten(1)))).argsort(dim=1)


class Sparse(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(self.conv(x).flatten(1)))).to_sparse()


class FailsInColour(Plain):
    """Its error has several lines, and would turn the terminal red."""

    def forward(self, x: Tensor) -> Tensor:
        raise RuntimeError("first\n\x1b[31mlast")


class NotFinite(Plain):
    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(self.conv(x).flatten(1)))) / 0


class Halves(Plain):
    """Its type is in the code, not in the weights alone."""

    def forward(self, x: Tensor) -> Tensor:
        return self.last(torch.relu(self.first(torch.relu(self.norm(self.conv(x))).flatten(1)))).to(torch.float16)


class Malicious:
    """Unpickled, it makes a folder."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("owned",)


class Harmless:
    """Somebody's own options."""

    def __init__(self) -> None:
        self.lr = 0.1


def plain(kind: type[Plain] = Plain) -> Any:
    with seeded(4):
        network = kind()
        network.norm.running_mean.normal_()
    return network.eval()


def weights(prefix: str = "", **extra: Any) -> dict[str, Any]:
    return {**{f"{prefix}{name}": value for name, value in plain().state_dict().items()}, **extra}


def torch_file(content: Any, **options: Any) -> Maker:
    return lambda path: torch.save(content() if callable(content) else content, path, **options)


def script(kind: type[Plain] = Plain, dtype: torch.dtype | None = None, trace: bool = False, freeze: bool = False) -> Maker:
    def make(path: Path) -> None:
        network = plain(kind)
        network = network if dtype is None else network.to(dtype)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            x = torch.full((2, *SHAPE), 0.5, dtype=dtype)
            made: Any = torch.jit.trace(network, x) if trace else torch.jit.script(network)
            torch.jit.save(torch.jit.freeze(made) if freeze else made, path)

    return make


def content(data: bytes) -> Maker:
    def make(path: Path) -> None:
        path.write_bytes(data)

    return make


def damaged(maker: Maker, damage: Callable[[bytes], bytes]) -> Maker:
    def make(path: Path) -> None:
        maker(path)
        path.write_bytes(damage(path.read_bytes()))

    return make


def archive(entries: dict[str, bytes]) -> Maker:
    def make(path: Path) -> None:
        with zipfile.ZipFile(path, "w") as file:
            for name, data in entries.items():
                file.writestr(name, data)

    return make


def tar(path: Path) -> None:
    with tarfile.open(path, "w") as file:
        file.addfile(tarfile.TarInfo("weights.pt"))


def exported(path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.export.save(torch.export.export(plain(), (torch.zeros(2, *SHAPE),)), path)


def folder(name: str) -> Maker:
    def make(path: Path) -> None:
        path.mkdir()
        (path / name).write_bytes(b"x")

    return make


def flipped(data: bytes) -> bytes:
    """With 300 other bytes in its middle: more than the padding between two entries."""
    place = len(data) // 2
    return data[:place] + bytes(byte ^ 255 for byte in data[place : place + 300]) + data[place + 300 :]


def not_utf8(data: bytes) -> bytes:
    return data.replace(b"/code/", b"/c\xff\xfee/")


def changed(change: Callable[[str, Tensor], Tensor]) -> Callable[[], dict[str, Tensor]]:
    """The weights, each changed by its name and value."""
    return lambda: {name: change(name, value) for name, value in weights().items()}


def floats(change: Callable[[Tensor], Tensor]) -> Callable[[], dict[str, Tensor]]:
    """The weights, those changed that are floating-point numbers."""
    return changed(lambda _, value: change(value) if value.is_floating_point() else value)


def quantized(value: Tensor) -> Tensor:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return torch.quantize_per_tensor(value, 0.1, 0, torch.qint8)


def packed(first: bytes | None = None) -> Maker:
    """Weights in an archive that is compressed, as torch does not write it, and with other bytes in the first place."""

    def make(path: Path) -> None:
        torch.save(weights(), path)
        with zipfile.ZipFile(path) as archive:
            entries = {name: archive.read(name) for name in archive.namelist()}
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in entries.items():
                archive.writestr(name, first if first is not None and name.endswith("/data/0") else data)

    return make


def as_parameter(name: str, value: Tensor) -> Tensor:
    return nn.Parameter(value) if value.is_floating_point() else value


def inner_compiled() -> dict[str, Tensor]:
    return {name.replace("conv.", "conv._orig_mod."): value for name, value in weights().items()}


def dated() -> dict[str, Any]:
    return {"net": weights(), "when": datetime.datetime(2024, 1, 2), "in": pathlib.Path("x")}


def cut_safetensors(path: Path) -> None:
    path.write_bytes(safetensors.torch.save(weights())[:-9])


def numpy_scalars() -> dict[str, Any]:
    numbers = {"best": np.float64(0.5), "n": np.int64(3), "rates": np.arange(3.0), "kind": np.dtype("f4")}
    return {"state_dict": weights(), **numbers}


def options() -> dict[str, Any]:
    return {"net": weights(), "args": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("/x")), "acc": 93.1, "epoch": 7}


def lightning() -> dict[str, Any]:
    saved = {**weights("model."), "criterion.weight": torch.ones(5)}
    return {"state_dict": saved, "hyper_parameters": {"lr": 0.1}, "pytorch-lightning_version": "2.5", "epoch": 3}


def with_optimiser() -> dict[str, Any]:
    network = plain()
    return {"model": network.state_dict(), "optimizer": torch.optim.Adam(network.parameters()).state_dict(), "epoch": 3}


WORKS = None
PICKLED = r"run code from"
WHOLE = r"holds Python objects \(.*\) instead of weights, such as a whole pickled model\..*torch\.save\(model\.state_dict"
ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.4.0:\x10"
OTHER = "give the PyTorch model that it was made from"
# Name of the file, how it is made, the expected reason (None: it works), whether a factory is given.
CASES: list[tuple[str, Maker, str | None]] = [
    # weights in every dress
    ("state_dict.pt", torch_file(weights), WORKS),
    ("old.pt", torch_file(weights, **OLD), WORKS),
    ("state_dict.pth", torch_file(weights), WORKS),
    ("state_dict.bin", torch_file(weights), WORKS),
    ("no_suffix", torch_file(weights), WORKS),
    ("ordered.pt", torch_file(lambda: collections.OrderedDict(weights())), WORKS),
    ("parameters.pt", torch_file(changed(as_parameter)), WORKS),
    ("parallel.pt", torch_file(lambda: weights("module.")), WORKS),
    ("compiled.pt", torch_file(lambda: weights("_orig_mod.")), WORKS),
    ("parallel_compiled.pt", torch_file(lambda: weights("module._orig_mod.")), WORKS),
    ("compiled_parallel.pt", torch_file(lambda: weights("_orig_mod.module.")), WORKS),
    ("model_prefix.pt", torch_file(lambda: weights("model.")), WORKS),
    ("deep_prefix.pt", torch_file(lambda: weights("model.backbone.net.")), WORKS),
    ("inner_compiled.pt", torch_file(inner_compiled), WORKS),
    ("lightning.ckpt", torch_file(lightning), WORKS),
    ("lightning_compiled.ckpt", torch_file(lambda: {"state_dict": weights("model._orig_mod.")}), WORKS),
    ("net_acc_epoch.pth", torch_file(lambda: {"net": weights(), "acc": 93.1, "epoch": 7}), WORKS),
    ("state_dict_key.pt", torch_file(lambda: {"state_dict": weights(), "epoch": 1}), WORKS),
    ("model_state_dict.pt", torch_file(lambda: {"model_state_dict": weights(), "loss": torch.ones(1)}), WORKS),
    ("model_key.pt", torch_file(lambda: {"model": weights()}), WORKS),
    ("network_key.pt", torch_file(lambda: {"network": weights()}), WORKS),
    ("weights_key.pt", torch_file(lambda: {"weights": weights()}), WORKS),
    ("params_key.pt", torch_file(lambda: {"params": weights()}), WORKS),
    ("nested.pt", torch_file(lambda: {"model": {"state_dict": weights("module.")}}), WORKS),
    ("optimiser.pt", torch_file(with_optimiser), WORKS),
    ("numpy_scalars.pt", torch_file(numpy_scalars), WORKS),
    ("numpy_scalars_old.pt", torch_file(numpy_scalars, **OLD), WORKS),
    ("namespace.pt", torch_file(options), WORKS),
    ("namespace_old.pt", torch_file(options, **OLD), WORKS),
    ("own_class.pt", torch_file(lambda: {"net": weights(), "options": Harmless()}), WORKS),
    ("dates.pt", torch_file(dated), WORKS),
    ("default_dict.pt", torch_file(lambda: {"net": weights(), "log": collections.defaultdict(list, a=[1])}), WORKS),
    ("counter.pt", torch_file(lambda: {"net": weights(), "log": collections.Counter("aab"), "set": {1, 2}}), WORKS),
    ("network_as_note.pt", torch_file(lambda: {"state_dict": weights(), "network_object": plain()}), WORKS),
    ("half.pt", torch_file(changed(lambda _, v: v.half() if v.is_floating_point() else v)), WORKS),
    ("double.pt", torch_file(changed(lambda _, v: v.double() if v.is_floating_point() else v)), WORKS),
    ("no_counters.pt", torch_file(lambda: {n: v for n, v in weights().items() if "num_batches" not in n}), WORKS),
    ("model.safetensors", lambda path: safetensors.torch.save_file(weights(), path), WORKS),
    ("safe.bin", lambda path: safetensors.torch.save_file(weights(), path), WORKS),
    ("safe_prefix.safetensors", lambda path: safetensors.torch.save_file(weights("model."), path), WORKS),
    ("compressed.pt", packed(), WORKS),
    # TorchScript
    ("scripted.pt", script(), WORKS),
    ("traced.pt", script(trace=True), WORKS),
    ("frozen.pt", script(freeze=True), WORKS),
    ("optional_tensor.pt", script(OptionalTensor), WORKS),
    ("optional_tensor_traced.pt", script(OptionalTensor, trace=True), WORKS),
    ("optional_numbers.pt", script(OptionalNumbers), WORKS),
    ("double_script.pt", script(dtype=torch.float64), WORKS),
    ("double_traced.pt", script(dtype=torch.float64, trace=True), WORKS),
    ("half_script.pt", script(dtype=torch.float16), WORKS),
    ("half_traced.pt", script(dtype=torch.float16, trace=True), WORKS),
    ("half_frozen.pt", script(dtype=torch.float16, freeze=True), WORKS),
    ("bfloat_script.pt", script(dtype=torch.bfloat16), WORKS),
    ("half_outputs.pt", script(Halves), WORKS),
    ("two_inputs.pt", script(TwoInputs), "needs more than images"),
    ("dictionary.pt", script(Dictionary), "must give one tensor .* gave dict"),
    ("labels.pt", script(Labels), "gives torch.int64 instead of class scores"),
    ("not_finite.pt", script(NotFinite), "outputs are not finite"),
    ("sparse_outputs.pt", script(Sparse), r"of layout torch\.sparse_coo instead of class scores"),
    ("fails_in_colour.pt", script(FailsInColour), r"takes neither grey nor coloured images .*x1b\[31mlast"),
    # pickles
    ("whole_model.pt", torch_file(plain), WHOLE),
    ("whole_model_old.pt", torch_file(plain, **OLD), WHOLE),
    ("whole_in_checkpoint.pt", torch_file(lambda: {"model": plain(), "epoch": 3}), WHOLE),
    ("own_object.pt", torch_file(Harmless), WHOLE),
    ("malicious.pt", torch_file(Malicious), PICKLED),
    ("malicious_beside.pt", torch_file(lambda: {"net": weights(), "x": Malicious()}), PICKLED),
    ("plain_pickle.pkl", content(pickle.dumps({"a": 1})), f"is a pickle.*{PICKLED}"),
    ("pickle_2.pkl", content(pickle.dumps(Malicious(), protocol=2)), f"is a pickle.*{PICKLED}"),
    ("pickle_in_pt.pt", content(pickle.dumps(Malicious())), f"is a pickle.*{PICKLED}"),
    ("model.joblib", lambda path: joblib.dump({"a": 1}, path) and None, f"is a pickle.*{PICKLED}"),
    ("packed.joblib", lambda path: joblib.dump({"a": 1}, path, compress=3) and None, "is a file of joblib's"),
    # other formats
    ("program.pt2", exported, None),
    ("model.onnx", content(ONNX), f"is an ONNX model.*{OTHER}"),
    ("onnx_by_content.bin", content(ONNX), f"is an ONNX model.*{OTHER}"),
    ("keras.h5", content(b"\x89HDF\r\n\x1a\n" + bytes(100)), f"is an HDF5 file, as Keras writes it.*{OTHER}"),
    ("hdf5.pt", content(b"\x89HDF\r\n\x1a\n" + bytes(100)), "is an HDF5 file"),
    ("model.keras", archive({"config.json": b"{}", "model.weights.h5": b"x"}), f"is a Keras model.*{OTHER}"),
    ("saved_model", folder("saved_model.pb"), f"is a SavedModel of TensorFlow's.*{OTHER}"),
    ("saved_model.zip", archive({"m/saved_model.pb": b"x"}), "is a SavedModel of TensorFlow's"),
    ("frozen_graph.pb", content(b"\n\x10Placeholder"), "is a TensorFlow graph"),
    ("model.tflite", content(b"\x1c\x00\x00\x00TFL3" + bytes(20)), "is a TensorFlow Lite model"),
    ("core.mlmodel", content(b"\x00\x01core"), "is a Core ML model"),
    ("hugging_face", folder("config.json"), r"as Hugging Face's libraries write it; give its model\.safetensors"),
    ("empty_folder", lambda path: path.mkdir(), "is not a file; give a model file"),
    ("array.npy", lambda path: np.save(path, np.zeros(3)), "is a NumPy array"),
    ("arrays.npz", lambda path: np.savez(path, a=np.zeros(3)), "is an archive of NumPy arrays"),
    ("llama.gguf", content(b"GGUF" + bytes(20)), "is a GGUF language model"),
    ("lfs.pt", content(b"version https://git-lfs.github.com/spec/v1\noid sha256:1\n"), "Git LFS pointer .*git lfs pull"),
    ("page.pt", content(b"<!DOCTYPE html><title>Sign in</title>"), "is a web page .* download the file itself"),
    ("page2.pt", content(b"\n<html>"), "is a web page"),
    ("weights.pt.gz", lambda path: path.write_bytes(gzip.compress(b"x" * 100)) and None, "is a gzip archive.*unpack it"),
    ("weights.tar", tar, "is a tar archive.*unpack it"),
    ("weights.zip", archive({"weights.pt": b"x"}), "an archive that torch has not written.*unpack it"),
    # nothing to be read
    ("empty.pt", content(b""), r"is empty \(0 bytes\)"),
    ("text.pt", content(b"hello world"), "no readable model file"),
    ("json.pt", content(json.dumps({"a": 1}).encode()), "no readable model file"),
    ("zeros.pt", content(bytes(1000)), "no readable model file"),
    ("noise.pt", content(np.random.default_rng(0).bytes(1000)), "no readable model file"),
    ("number.pt", torch_file(3), "holds no state_dict"),
    ("list.pt", torch_file([torch.zeros(2)]), "holds no state_dict"),
    ("tensor.pt", torch_file(torch.zeros(2)), "holds no state_dict"),
    ("nothing.pt", torch_file({}), "holds no state_dict"),
    ("optimiser_only.pt", torch_file({"epoch": 3, "lr": 0.1}), "holds no state_dict"),
    ("other_network.pt", torch_file({"a.weight": torch.zeros(2)}), "are not those of the network"),
    ("other_shapes.pt", torch_file(changed(lambda _, v: v.repeat(2) if v.ndim == 1 else v)), "not those of"),
    ("nan_weights.pt", torch_file(changed(lambda n, v: v * np.nan if "last" in n else v)), "are not finite"),
    # tensors that are no plain numbers, or other numbers than the network's
    ("meta.pt", torch_file(floats(lambda value: value.to("meta"))), "has a shape and no values"),
    ("sparse.pt", torch_file(floats(lambda value: value.to_sparse())), "is a sparse, nested or quantized tensor"),
    ("quantized.pt", torch_file(floats(quantized)), "is a sparse, nested or quantized tensor"),
    ("float8.pt", torch_file(floats(lambda value: (value * torch.nan).to(torch.float8_e5m2))), "weights .* are not finite"),
    ("endless.pt", torch_file(floats(lambda value: torch.zeros(1).expand(10**13))), "are not those of the network"),
    ("complex.pt", torch_file(floats(lambda value: value * 1j)), r"is of type torch\.complex64, and that of the network"),
    ("int8.pt", torch_file(floats(lambda value: (10 * value).to(torch.int8))), r"is of type torch\.int8, and that of"),
    ("name_in_colour.pt", torch_file(lambda: weights(**{"\x1b[31m\n": torch.zeros(1)})), r"are not those of .*x1b\[31m"),
    ("name_turned.pt", torch_file(lambda: {"a\u202eb": torch.zeros(1)}), "are not those of the network"),
    ("packed.pt", packed(bytes(2**26)), "is compressed beyond what torch writes"),
    # damage
    ("moved_script.pt", damaged(script(), lambda data: data[:300] + data[4_300:]), "is a damaged TorchScript file: "),
    ("cut_script.pt", damaged(script(), lambda data: data[:3000]), "is a damaged archive: its end is missing"),
    ("cut_weights.pt", damaged(torch_file(weights), lambda data: data[:-200]), "is a damaged archive: its end is missing"),
    ("cut_old.pt", damaged(torch_file(weights, **OLD), lambda data: data[:500]), "no readable model file"),
    ("flipped_script.pt", damaged(script(), flipped), "is a damaged TorchScript file: "),
    ("not_utf8.pt", damaged(script(), not_utf8), "damaged|cannot be read|no readable"),
    ("cut_safe.safetensors", cut_safetensors, "safetensors it is damaged"),
    ("text.safetensors", content(b"hello world, this is no model"), "safetensors it is damaged"),
    ("script_without_data.pt", archive({"m/code/a.py": b"", "m/constants.pkl": b""}), "cannot be read"),
    ("padded_weights.pt", damaged(torch_file(weights), lambda data: b"junk" * 10 + data), "no readable model file"),
]  # fmt: skip
IDS = [case[0] for case in CASES]


@pytest.fixture(scope="module")
def folder_of_files(tmp_path_factory) -> Iterator[Path]:
    """A current folder with the factory."""
    here, before = tmp_path_factory.mktemp("odd"), Path.cwd()
    (here / "odd_factory.py").write_text(
        "import torch\nfrom torch import nn\n"
        "class Plain(nn.Module):\n"
        "    def __init__(self):\n"
        "        super().__init__()\n"
        "        self.conv, self.norm = nn.Conv2d(1, 3, 3, padding=1), nn.BatchNorm2d(3)\n"
        "        self.first, self.last = nn.Linear(192, 12), nn.Linear(12, 5)\n"
        "    def forward(self, x):\n"
        "        return self.last(torch.relu(self.first(torch.relu(self.norm(self.conv(x))).flatten(1))))\n"
        "network = Plain\n"
        "def doubles():\n    return Plain().double()\n"
        "def halves():\n    return Plain().half()\n"
    )
    os.chdir(here)
    yield here
    os.chdir(before)
    sys.modules.pop("odd_factory", None)


def test_there_are_about_a_hundred():
    assert len(CASES) >= 100
    assert len(set(IDS)) == len(IDS)


@pytest.mark.parametrize(("name", "make", "reason"), CASES, ids=IDS)
def test_odd_model_file(folder_of_files, name, make, reason):
    path = folder_of_files / name
    make(path)
    is_script = any(make.__qualname__.startswith(f"{maker}.") for maker in ("script",))
    factory = None if is_script or "script" in name else FACTORY
    if reason is not None:
        with pytest.raises(InvalidInputError, match=reason) as error:
            load_classifier(path, (8, 8), is_grey=True, factory=factory)
        assert name in str(error.value) or is_script
        assert str(error.value).isprintable()
        assert len(str(error.value)) < 800
        assert "holds Python objects" not in str(error.value) or reason == WHOLE
        assert not (folder_of_files / "owned").exists()
        return
    classifier = load_classifier(path, (8, 8), is_grey=True, factory=factory)
    x = np.random.default_rng(5).random((4, *SHAPE), dtype=np.float32)
    outputs, hidden = logits_and_hidden(classifier, x, hidden_layers(classifier, x, 2))
    with torch.no_grad():
        expected = expected_network(name)(torch.from_numpy(x)).float().numpy()
    atol = 0.05 if "bfloat" in name else 5e-3 if "half" in name else 1e-4
    np.testing.assert_allclose(outputs, expected, atol=atol, rtol=atol)
    assert hidden.shape == (4, 204)
    np.testing.assert_allclose(classifier.predict(x), outputs, atol=1e-3)


def expected_network(name: str) -> Any:
    return plain(OptionalNumbers if name == "optional_numbers.pt" else Plain)


@pytest.mark.parametrize("function", ["doubles", "halves"])
def test_networks_of_another_type_from_a_factory_take_the_images(folder_of_files, function):
    path = folder_of_files / f"{function}.pt"
    torch.save(weights(), path)
    classifier = load_classifier(path, (8, 8), is_grey=True, factory=f"odd_factory:{function}")
    x = np.random.default_rng(5).random((4, *SHAPE), dtype=np.float32)
    with torch.no_grad():
        expected = plain()(torch.from_numpy(x)).numpy()
    np.testing.assert_allclose(classifier.predict(x), expected, atol=5e-3)
    gradient = classifier.loss_gradient(x, np.eye(5, dtype=np.float32)[[0, 1, 2, 3]])
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


def test_odd_model_file_in_memory_is_what_torch_reads():
    """The makers make what they say: torch reads the weights that are expected to work."""
    buffer = io.BytesIO()
    torch.save(weights(), buffer)
    buffer.seek(0)
    assert set(torch.load(buffer, weights_only=True)) == set(plain().state_dict())
