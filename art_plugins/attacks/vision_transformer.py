"""A small vision transformer for small images, built from the layers of ``torch.nn``."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class PatchTokens(nn.Module):
    """
    Turns an image into one token for each patch, with fixed sinusoidal places in two dimensions (Beyer et al. 2022). So
    images of any size can be taken.

    :param patch: Side of a patch in pixels; an edge that fills no patch is left out.
    :param width: Length of a token, a multiple of 4.
    """

    def __init__(self, in_channels: int, width: int, patch: int) -> None:
        super().__init__()
        self.project = nn.Conv2d(in_channels, width, patch, patch)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, tokens, width)."""
        maps: Tensor = self.project(x)
        _, width, height, across = maps.shape
        rates = 10_000.0 ** (-torch.arange(width // 4, device=x.device, dtype=x.dtype) / (width // 4 - 1))
        rows, columns = (torch.arange(side, device=x.device, dtype=x.dtype)[:, None] * rates for side in (height, across))
        down = torch.cat([rows.sin(), rows.cos()], dim=1)[:, None].expand(-1, across, -1)
        right = torch.cat([columns.sin(), columns.cos()], dim=1)[None].expand(height, -1, -1)
        places = torch.cat([down, right], dim=2).flatten(0, 1)
        return maps.flatten(2).transpose(1, 2) + places


class MeanToken(nn.Module):
    """The mean over all tokens; (B, tokens, width) -> (B, width)."""

    def forward(self, x: Tensor) -> Tensor:
        """Take the mean."""
        return x.mean(dim=1)


def vit(in_channels: int, nb_classes: int, width: int = 64, depth: int = 4, patch: int = 4) -> nn.Sequential:
    """
    A small vision transformer (Dosovitskiy et al. 2021) in the simple form of Beyer et al. 2022: fixed places,
    normalisation first, and the mean of all tokens instead of a class token. Without dropout.

    :param width: Length of a token, a multiple of 4; an attention head has 16 of it where it can.
    :param depth: Number of encoder blocks.
    :param patch: Side of a patch in pixels.
    """
    blocks = [
        nn.TransformerEncoderLayer(
            width, max(1, width // 16), 4 * width, dropout=0.0, activation="gelu", batch_first=True, norm_first=True
        )
        for _ in range(depth)
    ]
    head = [nn.LayerNorm(width), MeanToken(), nn.Linear(width, nb_classes)]
    return nn.Sequential(PatchTokens(in_channels, width, patch), *blocks, *head)
