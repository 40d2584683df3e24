"""Any encoder as a network whose modules can be looked at: a module, a method of one, or a function of arrays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from art_plugins.errors import ArtPluginsError, InvalidInputError
from art_plugins.features.forward_pass import first_tensor

ENCODER = "encoder"  # name of the encoder inside the network


class EncoderNetwork(nn.Module):
    """
    Prepares samples, runs an encoder, and gives one vector for each sample.

    :param encoder: A module, or a callable. It is given batches of samples, (B, ...), float32: a module, and a method of
        one (such as ``model.encode_image``), as tensors, any other callable as NumPy arrays. It gives features (B, d),
        feature maps (B, C, H, W) or sequences (B, T, d), as array or tensor.
    :param prepare: Turns samples into the encoder's inputs, (B, ...) -> (B, ...).
    """

    def __init__(self, encoder: Any, prepare: Callable[[Tensor], Tensor] | None = None) -> None:
        super().__init__()
        self.prepare = prepare
        self.encoder = encoder if isinstance(encoder, nn.Module) else CalledEncoder(encoder)

    def forward(self, batch: Tensor) -> Tensor:
        """
        :param batch: Samples, (B, ...).
        :return: (B, D).
        :raises InvalidInputError: If the encoder raises an error, or does not give a row of features for each sample.
        """
        inputs = batch if self.prepare is None else self.prepare(batch)
        try:
            output = self.encoder(inputs)
        except (ArtPluginsError, MemoryError, torch.OutOfMemoryError):
            raise
        except Exception as error:  # the user's encoder may raise any error
            raise InvalidInputError(
                f"encoder raised {type(error).__name__} on inputs of shape {tuple(inputs.shape)}: {error}"
            ) from error
        features = first_tensor(output)
        if features.ndim < 2 or len(features) != len(batch) or features.shape[1:].numel() == 0:
            raise InvalidInputError(
                f"encoder must give features (n, d) for n samples; for {len(batch)} samples it gave "
                f"{tuple(features.shape)}."
            )
        return features.flatten(1)


class CalledEncoder(nn.Module):
    """
    A callable as a module. The module to which a method belongs is a part of it, so that it is set to evaluation mode.

    :param function: See :class:`EncoderNetwork`.
    """

    def __init__(self, function: Callable[[Any], Any]) -> None:
        super().__init__()
        self.function = function
        owner = getattr(function, "__self__", None)
        self.takes_tensors = isinstance(owner, nn.Module)
        self.owner = owner if isinstance(owner, nn.Module) else None

    def forward(self, inputs: Tensor) -> Tensor:
        """
        :raises InvalidInputError: If the callable gives neither an array of numbers nor a tensor.
        """
        output = self.function(inputs if self.takes_tensors else inputs.cpu().numpy())
        if isinstance(output, np.ndarray) and np.issubdtype(output.dtype, np.number) and output.dtype.kind in "fiu":
            return torch.from_numpy(np.ascontiguousarray(output, dtype=np.float32)).to(inputs.device)
        if self.takes_tensors or isinstance(output, Tensor):
            return first_tensor(output)
        what = f"an array of {output.dtype}" if isinstance(output, np.ndarray) else type(output).__name__
        raise InvalidInputError(f"encoder must give a NumPy array or a tensor of features (n, d); it gave {what}.")
