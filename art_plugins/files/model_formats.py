"""What a file is that holds neither TorchScript nor weights that can be read: told by its first bytes, with the remedy."""

from __future__ import annotations

import zipfile
from pathlib import Path

GIVE_WEIGHTS = (
    "save its weights alone, torch.save(model.state_dict(), 'weights.pt'), and give the function that makes the network "
    "as --factory package.module:function"
)
TORCH_PICKLE = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."  # torch.save before 1.6
OTHER_FRAMEWORK = "give the PyTorch model that it was made from, as TorchScript or as weights with a --factory"
UNPACK = "unpack it, and give the model file that is inside"
# First bytes, what such a file is, and the remedy.
SIGNS: tuple[tuple[bytes, str, str], ...] = (
    (b"\x89HDF\r\n\x1a\n", "an HDF5 file, as Keras writes it", OTHER_FRAMEWORK),
    (b"\x93NUMPY", "a NumPy array", "give a state_dict of torch's or a safetensors file"),
    (b"GGUF", "a GGUF language model, not a classifier of images", OTHER_FRAMEWORK),
    (b"version https://git-lfs", "a Git LFS pointer instead of the model", "run git lfs pull, and give the file again"),
    (b"<!DOCTYPE", "a web page instead of a model", "download the file itself"),
    (b"<!doctype", "a web page instead of a model", "download the file itself"),
    (b"<html", "a web page instead of a model", "download the file itself"),
    (b"\x1f\x8b", "a gzip archive", UNPACK),
    (b"BZh", "a bzip2 archive", UNPACK),
    (b"\xfd7zXZ", "an xz archive", UNPACK),
    (b"7z\xbc\xaf", "a 7-Zip archive", UNPACK),
    (b"Rar!", "a RAR archive", UNPACK),
    (b"\x28\xb5\x2f\xfd", "a Zstandard archive", UNPACK),
)
SUFFIXES = {
    ".onnx": ("an ONNX model", OTHER_FRAMEWORK),
    ".tflite": ("a TensorFlow Lite model", OTHER_FRAMEWORK),
    ".pb": ("a TensorFlow graph", OTHER_FRAMEWORK),
    ".mlmodel": ("a Core ML model", OTHER_FRAMEWORK),
}
PICKLE = ("a pickle, and reading one would run code from the file", f"in the code that made it, {GIVE_WEIGHTS}")


def foreign_format(path: Path) -> str | None:
    """What a file is and what to do with it, as the rest of a sentence; ``None``: it may be a model of torch's."""
    with path.open("rb") as file:
        start = file.read(512)
    if not start:
        return "is empty (0 bytes); copy or download it again."
    found = next(((what, remedy) for sign, what, remedy in SIGNS if start.lstrip()[: len(sign)] == sign), None)
    if found is None and zipfile.is_zipfile(path):
        found = _in_archive(path)
    elif start.startswith(b"PK\x03\x04") and found is None:
        return "is a damaged archive: its end is missing; copy or download it again."
    if found is None and start[4:8] == b"TFL3":
        found = SUFFIXES[".tflite"]
    if found is None and (start[257:262] == b"ustar"):
        found = ("a tar archive", UNPACK)
    if found is None and not zipfile.is_zipfile(path):
        found = SUFFIXES.get(path.suffix.lower()) or (SUFFIXES[".onnx"] if _is_onnx(start) else None)
    if found is None and start[:1] == b"\x80" and start[1:2] <= b"\x05" and not start.startswith(TORCH_PICKLE):
        found = PICKLE
    if found is None and path.suffix.lower() == ".joblib":
        found = ("a file of joblib's, which holds a pickle, and reading one would run code from it", PICKLE[1])
    return None if found is None else f"is {found[0]}, so it is not read: {found[1]}."


def foreign_folder(path: Path) -> str:
    """Why a folder is no model file, as the rest of a sentence."""
    if (path / "saved_model.pb").exists():
        return f"is a SavedModel of TensorFlow's: {OTHER_FRAMEWORK}."
    if (path / "config.json").exists():
        return "is a folder, as Hugging Face's libraries write it; give its model.safetensors, and a --factory."
    return "is not a file; give a model file."


def is_torchscript(path: Path) -> bool:
    """TorchScript files are archives with code; those of ``torch.save`` hold none."""
    if not zipfile.is_zipfile(path):
        return False
    try:
        names = _names(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return False
    return any("/code/" in name or name.endswith("/constants.pkl") for name in names)


def is_safetensors(path: Path) -> bool:
    """By its beginning, whatever its name: the length of the header, and the header, which is JSON."""
    with path.open("rb") as file:
        start = file.read(9)
    return len(start) == 9 and start[8:9] == b"{" and 2 <= int.from_bytes(start[:8], "little") <= path.stat().st_size - 8


def _in_archive(path: Path) -> tuple[str, str] | None:
    try:
        names = _names(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError):
        return ("a damaged archive", "copy or download it again")
    parts = {part for name in names for part in name.split("/")}
    if parts & {"serialized_exported_program.json", "archive_format", "aotinductor", "serialized_exported_program"}:
        return (
            "a program of torch.export (.pt2)",
            "give the model as TorchScript, torch.jit.trace(model, x).save('model.pt'), or give the function that makes "
            "its network as --factory package.module:function, and the weights are taken from this file",
        )
    if "model.weights.h5" in parts:
        return ("a Keras model", OTHER_FRAMEWORK)
    if "saved_model.pb" in parts:
        return ("a SavedModel of TensorFlow's", OTHER_FRAMEWORK)
    if names and all(name.endswith(".npy") for name in names):
        return ("an archive of NumPy arrays", "give a state_dict of torch's or a safetensors file")
    if any(name.endswith("data.pkl") or name.endswith("/version") for name in names):
        return None
    return ("an archive that torch has not written", UNPACK)


def _names(path: Path) -> list[str]:
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def _is_onnx(start: bytes) -> bool:
    """A protocol buffer whose first field is a small version, and whose second is the producer's name or the domain."""
    return len(start) > 4 and start[0] == 0x08 and 1 <= start[1] <= 20 and start[2] in (0x12, 0x1A, 0x22, 0x3A)
