"""
What a TorchScript file would do besides computing, found before it does any of it.

A TorchScript file is a program. It can write files (``aten::save``, ``aten::from_file``), and some of it runs while it is
loaded (``__setstate__``, and the C++ objects of ``torch.classes``). So the archive is copied entry by entry and looked at
before torch gets it, and the graph of every method is looked at before the first call. Only kinds of nodes that are known
to make values from values pass; this bounds what a program may touch, not how long it runs or how much memory it takes.
"""

from __future__ import annotations

import io
import re
import warnings
import zipfile
from collections.abc import Iterator
from typing import Any

import torch

from art_plugins.errors import InvalidInputError
from art_plugins.files.file_walk import printable

# Why a node is refused, by its kind.
_FILES, _NETWORK, _PYTHON = "reads or writes files", "reaches a network or other processes", "runs Python code"
_UNSEEN = "calls code that is found only while it runs"
_MEMORY = "accesses memory that is not its own"
REFUSED = {
    "aten::save": _FILES,
    "aten::load": _FILES,
    "aten::from_file": _FILES,
    "prim::PythonOp": _PYTHON,
    "prim::IgnoredPythonOp": _PYTHON,
    "prim::Print": "writes to the terminal",
    "prim::Enter": _UNSEEN,
    "prim::Exit": _UNSEEN,
    "prim::CallMethod": _UNSEEN,  # what is left of them when all that is known has been put in their place
    "prim::CallFunction": _UNSEEN,
    "prim::Closure": _UNSEEN,
    "prim::fork": "starts threads",
    "prim::rpc_async": _NETWORK,
    "prim::rpc_sync": _NETWORK,
    "prim::rpc_remote": _NETWORK,
    "aten::to_here": _NETWORK,
    "aten::wait": "waits for threads",
    "aten::set_": _MEMORY,
    "aten::set_data": _MEMORY,
    "aten::_nested_view_from_buffer": _MEMORY,
    "aten::_nested_view_from_jagged": _MEMORY,
}
REFUSED_NAMESPACES = {"c10d": _NETWORK, "_c10d_functional": _NETWORK, "symm_mem": _NETWORK, "rpc": _NETWORK}
UNSAFE = re.compile(r"aten::(_sparse_\w*_unsafe|_test_\w*|_foobar|_print)$")  # without checks of their arguments; for tests
VALUE_NAMESPACES = ("aten", "quantized", "torchvision")  # values from values, but for those above
# Of "prim", which also holds what torch itself puts into graphs: control flow, containers, attributes, properties.
_PRIM = (
    "Constant If Loop GetAttr SetAttr hasattr CreateObject Uninitialized NumToTensor "
    "ListConstruct ListUnpack TupleConstruct TupleUnpack TupleIndex TupleSlice DictConstruct DictIndex "
    "ModuleContainerIndex StringIndex RaiseException isinstance unchecked_cast unchecked_unwrap_optional tolist data grad "
    "requires_grad device dtype layout type shape itemsize nbytes is_cpu is_cuda is_mps is_meta is_nested is_mkldnn "
    "is_quantized is_sparse is_sparse_csr is_xla is_xpu min max abs rangelist EnumName EnumValue "
    "ConstantChunk AutogradZero id name index"
)
PRIM = frozenset(_PRIM.split())
WAY_OUT = (
    "if you know its maker, save its weights alone, torch.save(model.state_dict(), 'weights.pt'), and give the function "
    "that makes the network as --factory package.module:function, or give --trust-model to run it anyway, with "
    "your rights"
)
MOST_EXPANDED = 4  # an archive of torch is not compressed; one that grows by more than this is not one of torch's


def load_script(source: bytes, name: str, device: torch.device, trust: bool = False) -> Any:
    """
    A TorchScript module of which nothing has run yet.

    :param source: The file's content.
    :param name: For messages.
    :param trust: Load it as it is, whatever it does.
    :raises InvalidInputError: If the file is damaged, runs code while it is loaded, or has an operator that does more than
        compute; the operator is named.
    """
    copy = source if trust else checked_copy(source, name)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # torch would rather have torch.export
            script = torch.jit.load(io.BytesIO(copy), map_location=device)  # type: ignore[no-untyped-call]
    except Exception as error:  # of many types, for each kind of damage
        raise InvalidInputError(f"{name} is a TorchScript file that cannot be read: {last_line(error)}.") from error
    if not trust:
        refuse_unsafe(script, name)
    return script


def checked_copy(source: bytes, name: str) -> bytes:
    """
    The archive anew, so that torch reads the very entries that were looked at.

    :raises InvalidInputError: If it is damaged, or would run code while it is loaded.
    """
    copied = io.BytesIO()
    try:
        with zipfile.ZipFile(io.BytesIO(source)) as archive, zipfile.ZipFile(copied, "w") as copy:
            entries = archive.infolist()
            if len({entry.filename for entry in entries}) < len(entries):
                raise InvalidInputError(f"{name} is damaged: two entries of the archive have one name.")
            if sum(entry.file_size for entry in entries) > MOST_EXPANDED * len(source) + 2**20:
                raise InvalidInputError(f"{name} is compressed beyond what torch writes, so it is not read.")
            for entry in entries:
                content = archive.read(entry)
                _refuse_code_at_loading(entry.filename, content, name)
                copy.writestr(zipfile.ZipInfo(entry.filename), content)
    except InvalidInputError:
        raise
    except Exception as error:  # zipfile and its decoders raise many types
        raise InvalidInputError(f"{name} is a damaged TorchScript file: {last_line(error)}.") from error
    return copied.getvalue()


def _refuse_code_at_loading(entry: str, content: bytes, name: str) -> None:
    found = None
    if entry.endswith(".py") and re.search(rb"\b__setstate__\b", content):
        found = "__setstate__"
    if (entry.endswith((".py", ".pkl"))) and re.search(rb"\btorch\s*\.\s*classes\b", content):
        found = "torch.classes"
    if found is not None:
        raise InvalidInputError(
            f"{name} would run code while it is loaded ({found} in {entry.split('/')[-1]}), so it is not loaded. Most such "
            f"models are quantized and have no gradients: give the model before its quantization, or {WAY_OUT}."
        )


def refuse_unsafe(script: Any, name: str) -> None:
    """
    :raises InvalidInputError: If a graph of the module, of its submodules, or of what they call has a node that is not
        known to make values from values.
    """
    for method, graph in _graphs(script._c, set()):
        for node in _nodes(graph):
            reason = _reason(node)
            if reason is not None:
                raise InvalidInputError(
                    f"{name} does more than compute, so it was not run: its method {method!r} has the operator "
                    f"{node.kind()}, which {reason}; {WAY_OUT}."
                )


def _reason(node: Any) -> str | None:
    kind = node.kind()
    namespace, _, operator = kind.partition("::")
    if kind in ("aten::sort", "aten::sorted") and ".any(" in str(node.schema()):  # by the __lt__ of objects of its own
        return _UNSEEN
    if kind in REFUSED:
        return REFUSED[kind]
    if namespace in REFUSED_NAMESPACES:
        return REFUSED_NAMESPACES[namespace]
    if UNSAFE.match(kind):
        return _MEMORY
    if namespace in VALUE_NAMESPACES or (namespace == "prim" and operator in PRIM):
        return None
    return "is not known to be harmless"


def _graphs(module: Any, seen: set[str]) -> Iterator[tuple[str, Any]]:
    """Name and inlined graph of each method and hook, of the module and of its submodules."""
    for method in module._method_names():
        yield method, _inlined(module._get_method(method).graph)
    for hook in (*module._get_forward_hooks(), *module._get_forward_pre_hooks()):
        yield "a forward hook", _inlined(hook.graph)
    for _, submodule in torch._C.ModuleDict(module).items():
        yield from _graphs(submodule, seen)


def _inlined(graph: Any) -> Any:
    """With the bodies of all functions and methods that it calls."""
    copy = graph.copy()
    torch._C._jit_pass_inline(copy)
    return copy


def _nodes(block: Any) -> Iterator[Any]:
    for node in block.nodes():
        yield node
        for inner in node.blocks():
            yield from _nodes(inner)


def last_line(error: Exception) -> str:
    """TorchScript puts its traceback before the reason."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return printable(lines[-1].rstrip(".")[:300]) if lines else type(error).__name__
