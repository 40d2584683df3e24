"""Shapes: B samples, T steps, F bands, C channels, D and Z sizes of the latents, E of an embedding, H of a state."""

from __future__ import annotations

import pytest
import torch
from torch.distributions import Independent, kl_divergence
from torch.distributions import Normal as TorchNormal

from art_plugins.errors import InvalidInputError
from art_plugins.features.vae.convolutional import ConvolutionalAutoencoder
from art_plugins.features.vae.sequential import FrameCodec, SequentialAutoencoder
from art_plugins.features.vae.training import seeded
from art_plugins.features.vae.variational import Normal, divergence, divergence_from_standard

B, T, F, D, Z, E, H, C = 3, 5, 16, 6, 2, 10, 7, 4
FORMS = [("factorised", False), ("full", False), ("factorised", True), ("full", True)]


@pytest.fixture(autouse=True)
def drawn_from_one_seed():
    with seeded(0):
        yield


def network(posterior="factorised", video_like=False, **changes):
    sizes = {"n_bands": F, "latent_dim": D, "step_latent_dim": Z, "embedding_dim": E, "hidden_dim": H, "channels": C}
    return SequentialAutoencoder(**sizes, posterior=posterior, video_like=video_like, **changes)


def gaussian(normal: Normal, axes: int) -> Independent:
    return Independent(TorchNormal(normal.mean, torch.exp(0.5 * normal.log_variance)), axes)


def draw_means(monkeypatch):
    """Put each distribution's mean in the place of a draw, so that the test can follow the forward pass."""
    monkeypatch.setattr(Normal, "sample", lambda self: self.mean)


# The divergence


@pytest.mark.parametrize("shape", [(4, 3), (4, 5, 3)])
def test_divergence_two_gaussians_equals_torch_distributions(shape):
    posterior, prior = (Normal(torch.randn(shape), torch.randn(shape)) for _ in range(2))
    expected = kl_divergence(gaussian(posterior, len(shape) - 1), gaussian(prior, len(shape) - 1))
    torch.testing.assert_close(divergence(posterior, prior), expected, rtol=1e-5, atol=1e-5)


def test_divergence_from_standard_equals_torch_distributions():
    posterior = Normal(torch.randn(4, 3), torch.randn(4, 3))
    standard = Independent(TorchNormal(torch.zeros(4, 3), torch.ones(4, 3)), 1)
    torch.testing.assert_close(divergence_from_standard(posterior), kl_divergence(gaussian(posterior, 1), standard))


def test_divergence_of_a_distribution_from_itself_is_zero():
    posterior = Normal(torch.randn(4, 3), torch.randn(4, 3))
    torch.testing.assert_close(divergence(posterior, posterior), torch.zeros(4))


def test_sample_many_draws_have_the_mean_and_the_variance():
    log_variance = torch.tensor([[-2.0, 0.0, 1.0]])
    draws = Normal(torch.tensor([[1.0, -2.0, 0.5]]).expand(40_000, -1), log_variance.expand(40_000, -1)).sample()
    torch.testing.assert_close(draws.mean(0), torch.tensor([1.0, -2.0, 0.5]), atol=0.03, rtol=0)
    torch.testing.assert_close(draws.var(0), log_variance[0].exp(), atol=0, rtol=0.05)


# Shapes


@pytest.mark.parametrize(("posterior", "video_like"), FORMS)
def test_network_every_form_gives_the_documented_shapes(posterior, video_like):
    model = network(posterior, video_like)
    x = torch.randn(B, T, F)
    embeddings = model.frames.embed(x)
    assert embeddings.shape == (B, T, E)
    f = model.sample_posterior(embeddings)
    assert f.mean.shape == f.log_variance.shape == (B, D)
    z = model.step_posterior(embeddings, f.mean)
    assert z.mean.shape == z.log_variance.shape == (B, T, Z)
    prior = model.step_prior(f.mean, T)
    assert prior.mean.shape == prior.log_variance.shape == (B, T, Z)
    rebuilt = model.frames.rebuild(torch.randn(B, T, D + Z))
    assert rebuilt.shape == ((B, T, 3, F, F) if video_like else (B, T, F))
    assert model.encode(x).shape == (B, D)
    assert all(loss.shape == () for loss in model(x))


@pytest.mark.parametrize("n_steps", [1, 2, 9])
@pytest.mark.parametrize("n_bands", [8, 24])
def test_network_any_number_of_steps_and_bands_is_taken(n_steps, n_bands):
    model = network(n_bands=n_bands) if n_bands == F else SequentialAutoencoder(n_bands, D, Z, E, H, C)
    assert torch.isfinite(model(torch.randn(B, n_steps, n_bands)).total)


@pytest.mark.parametrize("changes", [{"n_bands": 12}, {"n_bands": 0}, {"posterior": "exact"}])
def test_network_impossible_size_is_refused(changes):
    with pytest.raises(InvalidInputError, match=next(iter(changes))):
        SequentialAutoencoder(**changes)


# The losses


@pytest.mark.parametrize(("posterior", "video_like"), FORMS)
@pytest.mark.parametrize("weight", [1.0, 192.0])
def test_forward_loss_equals_its_terms_computed_apart(monkeypatch, posterior, video_like, weight):
    draw_means(monkeypatch)
    model = network(posterior, video_like, reconstruction_weight=weight).eval()
    x = torch.randn(B, T, F)
    losses = model(x)

    embeddings = model.frames.embed(x)
    f = model.sample_posterior(embeddings)
    z = model.step_posterior(embeddings, f.mean)
    codes = torch.stack([torch.cat([f.mean, z.mean[:, step]], dim=1) for step in range(T)], dim=1)
    rebuilt = model.frames.rebuild(codes)
    copies = 3 * F if video_like else 1  # along colour (axis 2) and width (axis 4); they count once
    target = x.reshape(B, T, 1, F, 1) if video_like else x
    error = ((rebuilt - target) ** 2).sum() / copies
    standard = Independent(TorchNormal(torch.zeros(B, D), torch.ones(B, D)), 1)
    prior = model.step_prior(x, T)
    expected = {
        "reconstruction": weight * error / B,
        "divergence_sample": kl_divergence(gaussian(f, 1), standard).sum() / B,
        "divergence_steps": kl_divergence(gaussian(z, 2), gaussian(prior, 2)).sum() / B,
    }
    for name, value in expected.items():
        torch.testing.assert_close(getattr(losses, name), value, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(losses.total, sum(expected.values()), rtol=1e-4, atol=1e-5)


def test_forward_draws_are_used():
    """The latents are sampled in training: with the noise gone, the loss is another."""
    model = network().eval()
    x = torch.randn(B, T, F)
    with seeded(1):
        first = model(x)
    with seeded(1):
        same = model(x)
    with seeded(2):
        other = model(x)
    assert first == same
    assert first.reconstruction != other.reconstruction
    assert first.divergence_sample == other.divergence_sample


def test_step_prior_is_an_lstm_rolled_on_its_own_draws_from_zero(monkeypatch):
    draw_means(monkeypatch)
    model = network()
    prior = model.step_prior(torch.zeros(B, D), 3)
    h = c = torch.zeros(B, H)
    z = torch.zeros(B, Z)
    for step in range(3):
        h, c = model.prior_cell(z, (h, c))
        mean, log_variance = model.prior_head(h).split(Z, dim=1)
        torch.testing.assert_close(prior.mean[:, step], mean)
        torch.testing.assert_close(prior.log_variance[:, step], log_variance)
        z = mean


def test_sample_posterior_takes_the_last_forward_and_the_first_backward_state():
    model = network()
    embeddings = torch.randn(B, T, E)
    _, (last, _) = model.sample_lstm(embeddings)  # PyTorch's own final states: forward, backward
    mean, log_variance = model.sample_head(torch.cat([last[0], last[1]], dim=1)).split(D, dim=1)
    found = model.sample_posterior(embeddings)
    torch.testing.assert_close(found.mean, mean)
    torch.testing.assert_close(found.log_variance, log_variance)


def test_step_posterior_factorised_step_sees_its_own_frame_only():
    model = network("factorised")
    embeddings = torch.randn(B, T, E)
    changed = embeddings.clone()
    changed[:, 2] += 1
    difference = (
        model.step_posterior(changed, torch.zeros(B, D)).mean - model.step_posterior(embeddings, torch.ones(B, D)).mean
    )
    assert (difference.abs().amax(dim=(0, 2)) > 0).tolist() == [False, False, True, False, False]


def test_step_posterior_full_every_step_sees_all_frames_and_the_sample_latent():
    model = network("full")
    embeddings = torch.randn(B, T, E)
    changed = embeddings.clone()
    changed[:, -1] += 1
    zero, one = torch.zeros(B, D), torch.ones(B, D)
    plain = model.step_posterior(embeddings, zero).mean
    assert ((model.step_posterior(changed, zero).mean - plain).abs().amax(dim=(0, 2)) > 0).all()
    assert ((model.step_posterior(embeddings, one).mean - plain).abs().amax(dim=(0, 2)) > 0).all()


@pytest.mark.parametrize(("posterior", "video_like"), FORMS)
def test_forward_gradients_reach_every_parameter(posterior, video_like):
    model = network(posterior, video_like)
    model(torch.randn(B, T, F)).total.backward()
    without = [name for name, value in model.named_parameters() if value.grad is None or not value.grad.any()]
    assert without == []
    assert all(torch.isfinite(value.grad).all() for value in model.parameters())


@pytest.mark.slow
def test_forward_few_steps_of_training_lower_the_loss():
    model = network()
    x = torch.randn(16, T, 1) * torch.linspace(-1, 1, F)
    optimiser = torch.optim.Adam(model.parameters(), lr=1e-2)
    totals = []
    for _ in range(30):
        losses = model(x)
        optimiser.zero_grad()
        losses.total.backward()
        optimiser.step()
        totals.append(losses.total.item())
    assert min(totals[-5:]) < 0.7 * totals[0]


# Encoding


@pytest.mark.parametrize(("posterior", "video_like"), FORMS)
def test_encode_in_evaluation_mode_is_deterministic_and_by_sample(posterior, video_like):
    model = network(posterior, video_like).eval()
    x = torch.randn(B, T, F)
    latents = model.encode(x)
    assert torch.equal(model.encode(x), latents)
    alone = torch.cat([model.encode(x[row : row + 1]) for row in range(B)])
    torch.testing.assert_close(alone, latents, rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(latents, model.sample_posterior(model.frames.embed(x)).mean)


# The one-dimensional and the paper's two-dimensional form


def test_embed_video_like_picture_is_constant_along_width_and_equals_the_flat_form_inside():
    """
    A 2-D kernel whose taps over width and colours sum to the 1-D kernel computes, two columns away from the padded
    edges, what the 1-D form computes: the claim that makes the 1-D form the default.
    """
    bands, channels = 64, 3
    flat = FrameCodec(bands, 8, 4, channels, video_like=False).eval()
    video = FrameCodec(bands, 8, 4, channels, video_like=True).eval()
    for one, two in zip(flat.down, video.down, strict=True):
        if isinstance(one, torch.nn.Conv2d):
            shares = torch.softmax(torch.randn(two.in_channels // one.in_channels, 1, two.kernel_size[1]).flatten(), 0)
            shares = shares.view(1, -1, 1, two.kernel_size[1])
            with torch.no_grad():
                two.weight.copy_(one.weight.expand(-1, -1, -1, two.kernel_size[1]) * shares)
                two.bias.copy_(one.bias)
        elif isinstance(one, torch.nn.BatchNorm2d):
            with torch.no_grad():
                for parameter in (one.running_mean, one.weight, one.bias):
                    parameter.copy_(torch.randn(channels))
            two.load_state_dict(one.state_dict())
    x = torch.randn(2, 3, bands)
    seen_flat, seen_video = x.transpose(1, 2)[:, None], x.reshape(6, 1, bands, 1).expand(-1, 3, -1, bands)
    with torch.no_grad():
        for one, two in zip(flat.down, video.down, strict=True):
            seen_flat, seen_video = one(seen_flat), two(seen_video)
            inside = seen_video[..., 2:-2]
            steps = seen_flat.permute(0, 3, 1, 2).reshape(6, -1, seen_flat.shape[2], 1)
            torch.testing.assert_close(inside, steps.expand_as(inside), rtol=1e-4, atol=1e-5)
    assert seen_video.shape == (6, channels, bands // 8, bands // 8)


def test_rebuild_flat_form_steps_do_not_mix():
    model = network().eval()
    codes = torch.randn(B, T, D + Z)
    changed = codes.clone()
    changed[:, 1] += 1
    difference = model.frames.rebuild(changed) - model.frames.rebuild(codes)
    assert (difference.abs().amax(dim=(0, 2)) > 1e-7).tolist() == [False, True, False, False, False]


def test_embed_equal_frames_in_other_places_have_equal_embeddings():
    """Time is not convolved: a frame's embedding does not depend on where it stands, in either form."""
    for video_like in (False, True):
        model = network(video_like=video_like).eval()
        x = torch.randn(B, T, F)
        torch.testing.assert_close(model.frames.embed(x.flip(1)).flip(1), model.frames.embed(x))


# The plain autoencoder for images


@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 10, 9), (1, 5, 7), (4, 1, 1)])
def test_convolutional_autoencoder_any_image_size_gives_latents_and_losses(shape):
    model = ConvolutionalAutoencoder(shape, latent_dim=D, channels=2, hidden_dim=8)
    images = torch.randn(B, *shape)
    losses = model(images)
    assert model.encode(images).shape == (B, D)
    assert torch.isfinite(losses.total)
    losses.total.backward()
    assert all(value.grad is not None for value in model.parameters())


@pytest.mark.parametrize("weight", [1.0, 20.0])
def test_convolutional_autoencoder_loss_equals_its_terms_computed_apart(monkeypatch, weight):
    draw_means(monkeypatch)
    model = ConvolutionalAutoencoder(
        (3, 10, 9), latent_dim=D, channels=2, hidden_dim=8, reconstruction_weight=weight
    ).eval()
    images = torch.randn(B, 3, 10, 9)
    losses, posterior = model(images), model.posterior(images)
    rebuilt = model.up(posterior.mean)[:, :, :10, :9]
    standard = Independent(TorchNormal(torch.zeros(B, D), torch.ones(B, D)), 1)
    torch.testing.assert_close(losses.reconstruction, weight * ((rebuilt - images) ** 2).sum() / B)
    torch.testing.assert_close(losses.divergence_sample, kl_divergence(gaussian(posterior, 1), standard).mean())
    torch.testing.assert_close(losses.total, losses.reconstruction + losses.divergence_sample)
    assert losses.divergence_steps == 0
