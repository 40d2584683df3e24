"""
The disentangled sequential autoencoder (DSA): one latent for the whole sample, one for each time step.

Shapes: B samples, T time steps, F mel bands, W frame width (``video_like`` only), C channels, D = ``latent_dim`` of the
per-sample latent f, Z = ``step_latent_dim`` of the per-step latent z, E = ``embedding_dim`` of a frame, H = ``hidden_dim``.

Sources: Y. Li and S. Mandt, Disentangled Sequential Autoencoder, ICML 2018 (model, losses); Mehlman et al. 2023, Table 1
(D = 64, Z = 24, E = 256, H = 128, 30 epochs, learning rate 1e-3).
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.variational import LEAK, Losses, Normal, divergence, divergence_from_standard

POSTERIORS = ("factorised", "full")
KERNEL = 5
ENCODER_STRIDES = (1, 2, 2, 2)
PAPER_COPIES = 3 * 64  # three colours times a frame width of 64
SHRINK = math.prod(ENCODER_STRIDES)


class SequentialAutoencoder(nn.Module):
    """
    DSA for sequences of frames, (B, T, F).

    The default convolves over frequency only. The paper copies each spectral column over a frame's width and over RGB to
    look like video: along those axes the picture is constant, so a convolution over frequency computes the same away from
    the padded edges for about 160 times less work. ``video_like=True`` is the paper's form, kept for comparison.

    :param n_bands: Mel bands F of a frame; a multiple of 8.
    :param latent_dim: D, size of the per-sample latent.
    :param step_latent_dim: Z, size of the latent of each time step.
    :param embedding_dim: E, size of a frame's embedding.
    :param hidden_dim: H, size of the recurrent states.
    :param channels: C of the convolutions (256 in the code that the paper builds on).
    :param posterior: ``"factorised"``: q(z_t | x_t); ``"full"``: q(z_t | x, f).
    :param video_like: Convolve over frequency and a frame width of W = F, with three equal colour planes.
    :param reconstruction_weight: Weight of the squared error against the divergences. The paper's copies of each spectral
        value enter its sum of squared errors one by one, so its weight is the number of copies, 192. With a weight of 1
        the per-sample latent collapses (about 9 nats in 64 dimensions on Speech Commands) and shows no poison.
    :raises InvalidInputError: For a size that the architecture cannot take.

    There are nine parameters: the sizes of the paper's Table 1, and the choices in which this network departs from it.
    """

    def __init__(
        self,
        n_bands: int = 40,
        latent_dim: int = 64,
        step_latent_dim: int = 24,
        embedding_dim: int = 256,
        hidden_dim: int = 128,
        channels: int = 32,
        posterior: str = "factorised",
        video_like: bool = False,
        reconstruction_weight: float = PAPER_COPIES,
    ) -> None:
        super().__init__()
        if n_bands < SHRINK or n_bands % SHRINK:
            raise InvalidInputError(f"n_bands must be a positive multiple of {SHRINK}; received {n_bands}.")
        if posterior not in POSTERIORS:
            raise InvalidInputError(f"posterior must be one of {POSTERIORS}; received {posterior!r}.")
        self.latent_dim, self.step_latent_dim, self.hidden_dim = latent_dim, step_latent_dim, hidden_dim
        self.reconstruction_weight = reconstruction_weight
        self.frames = FrameCodec(n_bands, embedding_dim, latent_dim + step_latent_dim, channels, video_like)

        self.sample_lstm = nn.LSTM(embedding_dim, hidden_dim, batch_first=True, bidirectional=True)
        self.sample_head = nn.Linear(2 * hidden_dim, 2 * latent_dim)

        self.full_posterior = posterior == "full"
        if self.full_posterior:
            self.step_lstm = nn.LSTM(embedding_dim + latent_dim, hidden_dim, batch_first=True, bidirectional=True)
            self.step_rnn = nn.RNN(2 * hidden_dim, hidden_dim, batch_first=True)
        else:
            self.step_mlp = nn.Sequential(nn.Linear(embedding_dim, hidden_dim), nn.LeakyReLU(LEAK))
        self.step_head = nn.Linear(hidden_dim, 2 * step_latent_dim)

        self.prior_cell = nn.LSTMCell(step_latent_dim, hidden_dim)
        self.prior_head = nn.Linear(hidden_dim, 2 * step_latent_dim)

    def sample_posterior(self, embeddings: Tensor) -> Normal:
        """q(f | x) from the embeddings (B, T, E): last forward state beside first backward state -> (B, D)."""
        states, _ = self.sample_lstm(embeddings)
        forward, backward = states[:, -1, : self.hidden_dim], states[:, 0, self.hidden_dim :]
        return Normal(*self.sample_head(torch.cat([forward, backward], dim=-1)).chunk(2, dim=-1))

    def step_posterior(self, embeddings: Tensor, f: Tensor) -> Normal:
        """q(z_1..T | x) or q(z_1..T | x, f), shape (B, T, Z)."""
        if self.full_posterior:
            repeated = f[:, None].expand(-1, embeddings.shape[1], -1)
            states, _ = self.step_rnn(self.step_lstm(torch.cat([embeddings, repeated], dim=-1))[0])
        else:
            states = self.step_mlp(embeddings)
        return Normal(*self.step_head(states).chunk(2, dim=-1))

    def step_prior(self, batch: Tensor, n_steps: int) -> Normal:
        """p(z_1..T): an LSTM rolled on its own samples from a zero state, shape (B, T, Z)."""
        z = batch.new_zeros(len(batch), self.step_latent_dim)
        state = (batch.new_zeros(len(batch), self.hidden_dim),) * 2
        means, log_variances = [], []
        for _ in range(n_steps):
            state = self.prior_cell(z, state)
            step = Normal(*self.prior_head(state[0]).chunk(2, dim=-1))
            z = step.sample()
            means.append(step.mean)
            log_variances.append(step.log_variance)
        return Normal(torch.stack(means, dim=1), torch.stack(log_variances, dim=1))

    def encode(self, x: Tensor) -> Tensor:
        """
        Mean of q(f | x); call it in evaluation mode.

        :param x: Frames, shape (B, T, F).
        :return: Per-sample latents, shape (B, D).
        """
        return self.encode_steps(x)[0]

    def encode_steps(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """
        Means of q(f | x), shape (B, D), and of q(z_1..T | x) given that mean, (B, T, Z); call it in evaluation mode.

        :param x: Frames, shape (B, T, F).
        """
        embeddings = self.frames.embed(x)
        f = self.sample_posterior(embeddings).mean
        return f, self.step_posterior(embeddings, f).mean

    def forward(self, x: Tensor) -> Losses:
        """
        The negative evidence lower bound (up to constants):
        weight * squared error + KL(q(f) || N(0, I)) + sum_t KL(q(z_t) || p(z_t)).

        :param x: Frames, shape (B, T, F).
        """
        embeddings = self.frames.embed(x)
        f_posterior = self.sample_posterior(embeddings)
        f = f_posterior.sample()
        z_posterior = self.step_posterior(embeddings, f)
        z = z_posterior.sample()
        z_prior = self.step_prior(f, x.shape[1])
        rebuilt = self.frames.rebuild(torch.cat([f[:, None].expand(-1, x.shape[1], -1), z], dim=-1))
        reconstruction = self.reconstruction_weight * self.frames.squared_error(rebuilt, x).mean()
        divergence_sample = divergence_from_standard(f_posterior).mean()
        divergence_steps = divergence(z_posterior, z_prior).mean()
        total = reconstruction + divergence_sample + divergence_steps
        return Losses(total, reconstruction, divergence_sample, divergence_steps)


class FrameCodec(nn.Module):
    """
    Frame by frame: convolutions down to an embedding, and the mirror image back to a frame.

    Frames of all time steps go through one 2-D convolution at once. In the default the picture's axes are frequency and
    time, and the kernel is one step wide; with ``video_like`` each frame is a picture of frequency by width.
    """

    def __init__(self, n_bands: int, embedding_dim: int, code_dim: int, channels: int, video_like: bool) -> None:
        super().__init__()
        self.n_bands, self.video_like, self.channels = n_bands, video_like, channels
        width = n_bands if video_like else 1
        colours = 3 if video_like else 1

        def sizes(along_frequency: int, along_width: int) -> tuple[int, int]:
            return along_frequency, along_width if video_like else 1

        padding = (KERNEL // 2, KERNEL // 2 if video_like else 0)
        down: list[nn.Module] = []
        for index, stride in enumerate(ENCODER_STRIDES):
            step = (stride, stride if video_like else 1)
            into = colours if index == 0 else channels
            down += [nn.Conv2d(into, channels, sizes(KERNEL, KERNEL), step, padding)]
            down += [nn.BatchNorm2d(channels), nn.LeakyReLU(LEAK, inplace=True)]
        up: list[nn.Module] = []
        for stride in reversed(ENCODER_STRIDES[1:]):
            step = (stride, stride if video_like else 1)
            extra = (stride - 1, stride - 1 if video_like else 0)
            up += [nn.ConvTranspose2d(channels, channels, sizes(KERNEL, KERNEL), step, padding, extra)]
            up += [nn.BatchNorm2d(channels), nn.LeakyReLU(LEAK, inplace=True)]
        up += [nn.ConvTranspose2d(channels, colours, sizes(KERNEL, KERNEL), 1, padding)]
        self.down, self.up = nn.Sequential(*down), nn.Sequential(*up)

        small = n_bands // SHRINK
        self.small_shape = (channels, small, small if video_like else 1)
        flat = channels * small * self.small_shape[2]
        wide = 2 * embedding_dim
        self.to_embedding = nn.Sequential(
            nn.Linear(flat, wide), nn.LeakyReLU(LEAK), nn.Linear(wide, embedding_dim), nn.LeakyReLU(LEAK)
        )
        self.from_code = nn.Sequential(
            nn.Linear(code_dim, embedding_dim),
            nn.LeakyReLU(LEAK),
            nn.Linear(embedding_dim, wide),
            nn.LeakyReLU(LEAK),
            nn.Linear(wide, flat),
            nn.LeakyReLU(LEAK),
        )
        self.width = width
        # Channels last is 1.3 to 1.5 times faster for these thin kernels on CPUs.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def embed(self, x: Tensor) -> Tensor:
        """(B, T, F) -> embeddings (B, T, E)."""
        n_samples, n_steps, n_bands = x.shape
        if self.video_like:
            picture = x.reshape(-1, 1, n_bands, 1).expand(-1, 3, -1, self.width)
            flat = self.down(picture).flatten(1)
        else:
            maps = self.down(x.transpose(1, 2)[:, None].contiguous(memory_format=torch.channels_last))
            flat = maps.permute(0, 3, 1, 2).reshape(n_samples * n_steps, -1)
        embeddings: Tensor = self.to_embedding(flat).view(n_samples, n_steps, -1)
        return embeddings

    def rebuild(self, codes: Tensor) -> Tensor:
        """Codes (B, T, D + Z) -> frames (B, T, F), or pictures (B, T, 3, F, W) for ``video_like``."""
        n_samples, n_steps, _ = codes.shape
        flat = self.from_code(codes)
        if self.video_like:
            pictures: Tensor = self.up(flat.view(-1, *self.small_shape))
            return pictures.view(n_samples, n_steps, *pictures.shape[1:])
        maps = flat.view(n_samples, n_steps, *self.small_shape[:2]).permute(0, 2, 3, 1)
        rebuilt: Tensor = self.up(maps.contiguous(memory_format=torch.channels_last))
        return rebuilt[:, 0].transpose(1, 2)

    def squared_error(self, rebuilt: Tensor, x: Tensor) -> Tensor:
        """Sum of squared errors of a sample, shape (B,); copies along width and colour count once."""
        if self.video_like:
            target = x[:, :, None, :, None].expand_as(rebuilt)
            return functional.mse_loss(rebuilt, target, reduction="none").mean(dim=(2, 4)).flatten(1).sum(1)
        return ((rebuilt - x) ** 2).flatten(1).sum(1)
