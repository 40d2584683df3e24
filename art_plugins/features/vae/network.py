"""The network of an autoencoder, made from its settings."""

from __future__ import annotations

from art_plugins.features.vae.convolutional import ConvolutionalAutoencoder
from art_plugins.features.vae.front_end import FrontEnd
from art_plugins.features.vae.sequential import SHRINK, SequentialAutoencoder
from art_plugins.features.vae.settings import AutoencoderSettings

AutoencoderNetwork = SequentialAutoencoder | ConvolutionalAutoencoder


def make_network(settings: AutoencoderSettings, front_end: FrontEnd) -> AutoencoderNetwork:
    """
    Make the untrained network: convolutional for images, sequential for frames.

    :param settings: Sizes of the network.
    :param front_end: Gives the shape of what the network sees.
    """
    if settings.kind == "image":
        colours, height, width = front_end.image_shape
        return ConvolutionalAutoencoder(
            (colours, height, width),
            settings.latent_dim,
            settings.channels,
            reconstruction_weight=settings.reconstruction_weight,
        )
    return SequentialAutoencoder(
        n_bands=-(-front_end.n_bands // SHRINK) * SHRINK,
        latent_dim=settings.latent_dim,
        step_latent_dim=settings.step_latent_dim,
        embedding_dim=settings.embedding_dim,
        hidden_dim=settings.hidden_dim,
        channels=settings.channels,
        posterior=settings.posterior,
        video_like=settings.video_like,
        reconstruction_weight=settings.reconstruction_weight,
    )
