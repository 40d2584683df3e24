"""The network of a file of weights: made by a function of the user's own."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.training import seeded
from art_plugins.files.weight_files import shortened


def make_network(factory: str, arguments: Mapping[str, Any]) -> nn.Module:
    """
    Import the function, and call it; this runs your own code.

    :param factory: ``"package.module:function"``, from an installed package or the current folder.
    :param arguments: Keyword arguments of the function.
    :raises InvalidInputError: If the function cannot be imported, fails, or returns no network.
    """
    module_name, _, function_name = factory.partition(":")
    if not module_name or not function_name:
        raise InvalidInputError(f"A factory is given as package.module:function; received {factory!r}.")
    with _current_folder_importable():
        try:
            function = getattr(importlib.import_module(module_name), function_name, None)
        except Exception as error:  # anything may go wrong in the user's code
            raise InvalidInputError(
                f"The module of the factory {factory!r} cannot be imported ({shortened(error)}); it must be installed, or "
                "lie in the current folder."
            ) from error
        if not callable(function):
            raise InvalidInputError(f"The module {module_name!r} has no function {function_name!r}.")
        try:
            with seeded(0):
                network = function(**arguments)
        except Exception as error:
            raise InvalidInputError(
                f"The factory {factory!r}, called with {dict(arguments)}, failed: {type(error).__name__}: "
                f"{shortened(error)}"
            ) from error
    if not isinstance(network, nn.Module):
        raise InvalidInputError(
            f"The factory {factory!r} must return a torch.nn.Module; received {type(network).__name__}."
        )
    return network


@contextmanager
def _current_folder_importable() -> Iterator[None]:
    here = str(Path.cwd())
    sys.path.insert(0, here)
    try:
        yield
    finally:
        sys.path.remove(here)
