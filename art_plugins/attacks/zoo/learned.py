"""Attacks whose trigger is a small network, which is trained on the attacked samples: ISSBA-like and LIRA-like."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from art_plugins.attacks.networks import plain_cnn
from art_plugins.attacks.zoo.attack import DirtyLabel
from art_plugins.errors import NotFittedError
from art_plugins.features.vae.training import seeded
from art_plugins.parameters import check_count, check_number, plain
from art_plugins.triggers.residual import ResidualNetwork, ResidualTrigger, add_residual

LEARNING_RATE = 2e-3  # Adam's usual one for networks of this size, doubled since there are few steps
BATCH_SIZE = 64


class LearnedTrigger(DirtyLabel):
    """
    Trains a network that draws a trigger for each image, then poisons by dirty labels.

    :param amplitude: Largest change of a pixel, for images of 0 to 1.
    :param n_steps: Number of training steps, each with 64 images.
    :raises InvalidInputError: For a value out of range.
    """

    def __init__(self, amplitude: float, n_steps: int) -> None:
        super().__init__(None)
        check_number("amplitude", plain(amplitude), "for images of 0 to 1", above=0, most=1)
        check_count("n_steps", plain(n_steps))
        self.amplitude, self.n_steps = amplitude, n_steps

    def prepare(self, x: np.ndarray, labels: np.ndarray, target: int, random_state: int) -> None:
        with seeded(random_state):
            self.trigger = self._train(x, labels, target)

    def _train(self, x: np.ndarray, labels: np.ndarray, target: int) -> ResidualTrigger:
        raise NotImplementedError

    def _run(self, loss_of: Callable[[Tensor, Tensor], Tensor], modules: nn.Module, x: np.ndarray, y: np.ndarray) -> None:
        """Take the training steps; each batch is drawn at random with replacement."""
        images, targets = torch.from_numpy(np.array(x, dtype=np.float32)), torch.from_numpy(y)
        optimiser = torch.optim.Adam(modules.parameters(), LEARNING_RATE)
        modules.train()
        for _ in range(self.n_steps):
            rows = torch.randint(len(images), (BATCH_SIZE,))
            optimiser.zero_grad()
            loss_of(images[rows], targets[rows]).backward()  # type: ignore[no-untyped-call]
            optimiser.step()
        modules.eval()
        modules.requires_grad_(False)


class SampleSpecific(LearnedTrigger):
    """
    ISSBA-like (Li et al. 2021): an encoder writes a message into every image, so that a decoder can read it; the change
    looks different on every image. The poisoned images carry one message. Encoder and decoder are small, and the change is
    bounded instead of being trained to look natural. The decoder has no normalisation, as below.

    When this breaks: a few hundred steps on small grey images do not teach the decoder to read. The change then differs
    from image to image and opens the backdoor, but it carries no message.

    :param amplitude: Largest change of a pixel, for images of 0 to 1.
    :param n_bits: Length of the message. The authors write 100 bits into larger images.
    :param n_steps: Number of training steps.
    """

    def __init__(self, amplitude: float = 0.1, n_bits: int = 8, n_steps: int = 400) -> None:
        super().__init__(amplitude, n_steps)
        check_count("n_bits", plain(n_bits))
        self.n_bits = n_bits
        self.decoder_: nn.Module | None = None

    def _train(self, x: np.ndarray, labels: np.ndarray, target: int) -> ResidualTrigger:
        encoder, decoder = ResidualNetwork(x.shape[1], self.n_bits), plain_cnn(x.shape[1], self.n_bits)

        def loss_of(images: Tensor, _: Tensor) -> Tensor:
            bits = torch.randint(2, (len(images), self.n_bits)).float()
            read = decoder(add_residual(images, encoder(images, bits), self.amplitude))
            return functional.binary_cross_entropy_with_logits(read, bits)

        message = torch.randint(2, (self.n_bits,)).numpy()
        self._run(loss_of, nn.ModuleList([encoder, decoder]), x, labels)
        self.decoder_ = decoder
        return ResidualTrigger(encoder, self.amplitude, message)

    def read(self, x: np.ndarray) -> np.ndarray:
        """
        Read the messages of images (n, C, H, W), as bits of 0 and 1, (n, n_bits).

        :raises NotFittedError: If ``poison`` was not called.
        """
        if self.decoder_ is None:
            raise NotFittedError("The decoder is trained in poison; call poison first.")
        with torch.inference_mode():
            bits: np.ndarray = (self.decoder_(torch.from_numpy(np.array(x, dtype=np.float32))) > 0).numpy()
        return bits.astype(np.int64)


class LearnedWithClassifier(LearnedTrigger):
    """
    LIRA-like (Doan et al. 2021): the network that draws the triggers is trained together with a classifier, so that the
    classifier sends stamped images to the target and classifies clean images well. The authors give this classifier away;
    here it is thrown away and the images are stamped, so that the attack is one on a training set. It has no normalisation,
    since a trigger that only such layers see is not learned by other networks.

    :param amplitude: Largest change of a pixel, for images of 0 to 1; the authors use .01 to .1.
    :param weight: Weight of the loss of the stamped images against that of the clean ones; the authors use .5.
    :param n_steps: Number of training steps.
    """

    def __init__(self, amplitude: float = 0.1, weight: float = 0.5, n_steps: int = 400) -> None:
        super().__init__(amplitude, n_steps)
        check_number("weight", plain(weight), above=0, below=1)
        self.weight = weight

    def _train(self, x: np.ndarray, labels: np.ndarray, target: int) -> ResidualTrigger:
        generator, classifier = ResidualNetwork(x.shape[1]), plain_cnn(x.shape[1], int(labels.max()) + 1)

        def loss_of(images: Tensor, targets: Tensor) -> Tensor:
            triggered = add_residual(images, generator(images), self.amplitude)
            logits = classifier(torch.cat([images, triggered]))
            clean, sent = logits[: len(images)], logits[len(images) :]
            wanted = torch.full_like(targets, target)
            losses = functional.cross_entropy(clean, targets), functional.cross_entropy(sent, wanted)
            return (1 - self.weight) * losses[0] + self.weight * losses[1]

        self._run(loss_of, nn.ModuleList([generator, classifier]), x, labels)
        return ResidualTrigger(generator, self.amplitude)
