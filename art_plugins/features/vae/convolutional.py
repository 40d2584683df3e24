"""A plain convolutional variational autoencoder for images. Shapes: B samples, (C, H, W) image, D latents."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from art_plugins.features.vae.variational import LEAK, Losses, Normal, divergence_from_standard

STRIDE = 2


class ConvolutionalAutoencoder(nn.Module):
    """
    A variational autoencoder (Kingma and Welling 2014). The encoder q(f | x) has two strided convolutions; the decoder
    mirrors it.

    :param image_shape: Shape of the images, (C, H, W), with any H and W; images are padded to a multiple of 4.
    :param latent_dim: Number of latents, D.
    :param channels: Number of channels of the first convolution; the second has twice as many.
    :param hidden_dim: Number of units of the dense layer between feature maps and latents.
    :param reconstruction_weight: Weight of the squared error in the loss; the divergence has weight 1.
    """

    def __init__(
        self,
        image_shape: tuple[int, int, int],
        latent_dim: int = 64,
        channels: int = 32,
        hidden_dim: int = 256,
        reconstruction_weight: float = 20.0,
    ) -> None:
        super().__init__()
        self.reconstruction_weight = reconstruction_weight
        colours, height, width = image_shape
        small = (-(-height // STRIDE**2), -(-width // STRIDE**2))
        self.crop = (height, width)
        self.pad = (0, small[1] * STRIDE**2 - width, 0, small[0] * STRIDE**2 - height)
        deep = 2 * channels
        flat = deep * small[0] * small[1]

        def convolution(into: int, out: int) -> list[nn.Module]:
            return [nn.Conv2d(into, out, 4, STRIDE, 1), nn.BatchNorm2d(out), nn.LeakyReLU(LEAK)]

        self.down = nn.Sequential(
            *convolution(colours, channels),
            *convolution(channels, deep),
            nn.Flatten(),
            nn.Linear(flat, hidden_dim),
            nn.LeakyReLU(LEAK),
            nn.Linear(hidden_dim, 2 * latent_dim),
        )
        self.up = nn.Sequential(
            nn.Linear(latent_dim, hidden_dim),
            nn.LeakyReLU(LEAK),
            nn.Linear(hidden_dim, flat),
            nn.LeakyReLU(LEAK),
            nn.Unflatten(1, (deep, *small)),
            nn.ConvTranspose2d(deep, channels, 4, STRIDE, 1),
            nn.BatchNorm2d(channels),
            nn.LeakyReLU(LEAK),
            nn.ConvTranspose2d(channels, colours, 4, STRIDE, 1),
        )

    def posterior(self, x: Tensor) -> Normal:
        """Give q(f | x) of images (B, C, H, W), shape (B, D)."""
        return Normal(*self.down(functional.pad(x, self.pad)).chunk(2, dim=-1))

    def encode(self, x: Tensor) -> Tensor:
        """Give the mean of q(f | x), shape (B, D); call this method in evaluation mode."""
        return self.posterior(x).mean

    def forward(self, x: Tensor) -> Losses:
        """Give the negative evidence lower bound of images (B, C, H, W)."""
        posterior = self.posterior(x)
        rebuilt = self.up(posterior.sample())[..., : self.crop[0], : self.crop[1]]
        reconstruction = self.reconstruction_weight * ((rebuilt - x) ** 2).flatten(1).sum(1).mean()
        divergence_sample = divergence_from_standard(posterior).mean()
        no_steps = torch.zeros_like(divergence_sample)
        return Losses(reconstruction + divergence_sample, reconstruction, divergence_sample, no_steps)
