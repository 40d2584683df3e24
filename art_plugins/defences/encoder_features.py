"""Poison in what an encoder sees that was never trained on the data: a filter that needs no model of the task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from art.estimators.classification import PyTorchClassifier
from torch import Tensor, nn

from art_plugins.arrays import check_finite
from art_plugins.defences.contract import PoisonFilter
from art_plugins.defences.layers.groups import CAUGHT, find_poison, removed_by_class
from art_plugins.defences.layers.model import count_not_finite
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import stream_activations
from art_plugins.features.blocks import find_blocks
from art_plugins.features.encoders.named import check_encoder_name, check_inputs, load_encoder
from art_plugins.features.encoders.network import ENCODER, CalledEncoder, EncoderNetwork
from art_plugins.groups.verdict import clearness_limit
from art_plugins.parameters import check_count, check_flag, check_layer_names, check_number, shown

N_PROBED = 3  # samples that are encoded twice before all others
ALIKE = 1e-3  # of the largest feature: by so much both may differ, since sums on GPUs have no fixed order


class EncoderFeatureDefence(PoisonFilter):
    """
    Find groups of training samples that stand apart in the features of an encoder. Nothing is trusted, no model is trained,
    and the encoder need not know the data.

    The encoder is any network that gives features: a pretrained one such as DINOv2, CLIP or WavLM, or your own. Where it is
    a module, all of its blocks are looked at, because a small trigger is best seen by the early ones, and features of the
    content by the last. Each gives its features, or the largest value and the mean over all places and the mean over a
    grid, where it gives a map. How groups are found and judged is what :class:`~art_plugins.LayerwiseFeatureDefence` does
    without trusted data, see :func:`~art_plugins.groups.find.find_groups`. There the layers are those of a model that was
    trained on the poison and knows the trigger. Here the poison has trained nothing, so that an attack that adapts to the
    model under training has nothing to adapt to.

    When this breaks: an encoder that does not see the trigger finds nothing. A vector of what an image shows says little of
    a patch of a few pixels in a corner; a function that gives such a vector is weaker than a module whose blocks can be
    looked at. Of 3,000 images of Fashion-MNIST, 150 had a white patch of 3 x 3 pixels. In the corner, the blocks of an
    untrained network of three convolutions found 149 of them; at random places they found none. No clean image was removed
    (one seed; ``tests/defences/test_encoder_on_real_images.py``). A
    trigger that looks like usual content; clean-label attacks, whose samples are what their label says; fewer
    than 8 poisoned samples of a class; fewer than four classes; and two very different things under one label, such as the
    digits 0 and 1, which stand apart as poison does. A function is trusted to give each sample features that do not depend
    on the other samples of its batch.

    There are ten parameters: three are the model and the data in ART's contract, and the others are the encoder, three that
    say how it takes the samples, and three of the search.

    :param classifier: Not used, and may be ``None``; ART's filters take it first. If it is given, its
        ``nb_classes`` are used.
    :param x_train: Training samples, (n, ...). A memory map is read in parts.
    :param y_train: Labels of these samples, (n,), (n, 1) or one-hot.
    :param encoder: What turns samples into features.

        - A ``torch.nn.Module``. It receives batches (B, ...) as ``x_train`` has them, as tensors in the type and on the
          device of its weights. It runs in evaluation mode and without gradients, and every module gets its mode back.
        - Any callable. A method of a module, such as ``model.encode_image``, is run as the module is. Any other function
          receives batches as NumPy arrays, float32, and looks after the mode of its own modules.
        - A name: ``"timm:vit_small_patch14_dinov2"``, ``"torchvision:resnet18"``, ``"torchaudio:WAV2VEC2_BASE"``. Published
          weights are taken from the network or from the package's cache. Images are repeated to three colours, resized and
          normalised as the weights want it, and waveforms are resampled.

        It gives features (B, d), or maps (B, C, H, W), or sequences (B, T, d). A layer may give several of them; the first
        counts.
    :param layers: Names of modules of the encoder, ``""`` for its output. ``None``: the blocks of a module, as
        :func:`~art_plugins.features.blocks.find_blocks` names them, and the output of a callable.
    :param channels_first: Whether the colour axis of images is before height and width. Only a named encoder of images
        asks; ``None``: as the shape shows.
    :param sample_rate_hz: Sampling rate of waveforms. Only a named encoder of waveforms asks.
    :param fpr: Probability that anything is removed from a data set without poison, above 0 and below 1.
    :param batch_size: Number of samples in one forward pass.
    :param random_state: Random seed of folds, projections, and the choice of the samples on which axes are learned.

    :ivar report_: JSON-safe results: the ``layers``, the ``groups`` that are ``"poison"`` or ``"look here"``, the
        ``clearness_limit`` from which a group is poison, ``n_not_finite``, and ``Class_i`` for each class with
        ``n_samples``, ``n_removed``, ``fraction_removed`` and the ``clearness`` of its clearest group.
    :ivar layers_: The layers that were looked at.
    :ivar outlier_scores_: (n,); a half is the border of a group that is poison, and 1 is its median. Infinite, and the
        sample is poison, where its features are not finite.
    :ivar layer_scores_: The score at each layer, (n, L).
    :ivar threshold_: Samples with a higher score are poison.
    :ivar is_clean_: (n,), 1 = clean, 0 = poison.
    """

    defence_params = ["encoder", "layers", "channels_first", "sample_rate_hz", "fpr", "batch_size", "random_state"]

    def __init__(
        self,
        classifier: Any,
        x_train: np.ndarray,
        y_train: np.ndarray,
        *,
        encoder: nn.Module | Callable[[Any], Any] | str,
        layers: Sequence[str] | None = None,
        channels_first: bool | None = None,
        sample_rate_hz: int | None = None,
        fpr: float = 0.01,
        batch_size: int = 32,
        random_state: int = 0,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in self.defence_params}
        super().__init__(classifier, x_train, y_train)
        for name, value in given.items():
            setattr(self, name, value)
        self.set_params(**given)

    def _check(self, values: dict[str, Any]) -> None:
        encoder = values["encoder"]
        if isinstance(encoder, str):
            check_encoder_name(encoder)
        elif not callable(encoder) or isinstance(encoder, type):
            raise InvalidInputError(
                f"encoder must be a callable, a torch.nn.Module or a name such as 'torchvision:resnet18'; received "
                f"{shown(encoder)}."
            )
        check_layer_names(values["layers"])
        if values["channels_first"] is not None:
            check_flag("channels_first", values["channels_first"])
        if values["sample_rate_hz"] is not None:
            check_count("sample_rate_hz", values["sample_rate_hz"])
        check_number("fpr", values["fpr"], "a probability", above=0, below=1)
        check_count("batch_size", values["batch_size"])
        check_count("random_state", values["random_state"], least=0)

    def _check_data(self) -> None:
        super()._check_data()
        check_finite(self.x_train, "training data", "remove such samples first")
        if isinstance(self.encoder, str):
            check_inputs(self.encoder, self.x_train, self.channels_first, self.sample_rate_hz)

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        network = self._network()
        layers = self._layers(network)
        found = find_poison(
            network,
            self.x_train,
            labels,
            nb_classes,
            layers,
            self.fpr,
            content_layers=layers,  # the encoder has learned none of the labels
            batch_size=self.batch_size,
            random_state=self.random_state,
        )
        self.layers_ = [name.removeprefix(ENCODER).removeprefix(".") for name in layers]
        self.outlier_scores_, self.layer_scores_, self.threshold_ = found.scores, found.layer_scores, CAUGHT
        self.is_clean_ = (found.scores <= CAUGHT).astype(np.int64)
        self.report_: dict[str, Any] = {
            "layers": self.layers_,
            "threshold": self.threshold_,
            "n_not_finite": count_not_finite(self.outlier_scores_),
            "groups": found.summaries,
            "clearness_limit": clearness_limit(len(np.unique(labels)), self.fpr),
        }
        clearest = found.clearest(nb_classes)
        for label, counts in enumerate(removed_by_class(self.is_clean_, labels, nb_classes)):
            self.report_[f"Class_{label}"] = counts | {"clearness": clearest[label]}
        self.report_["parameters"] = {name: _listed(value) for name, value in self.tunables().items()}
        return self.report_

    def _network(self) -> PyTorchClassifier:
        """The encoder as ART holds a network: what is looked at are its layers, and its outputs are no classes."""
        encoder, prepare, device = self.encoder, None, "gpu"
        if isinstance(encoder, str):
            encoder, prepare = load_encoder(encoder, self.channels_first, self.sample_rate_hz)
        network = EncoderNetwork(encoder, prepare)
        if not isinstance(self.encoder, str) and not any(weights.is_cuda for weights in network.parameters()):
            device = "cpu"  # the user's module stays where it is
        shape = tuple(self.x_train.shape[1:])
        return PyTorchClassifier(network, nn.CrossEntropyLoss(), shape, nb_classes=2, device_type=device)

    def _layers(self, network: PyTorchClassifier) -> list[str]:
        """
        The layers to look at, by their names in the network.

        :raises InvalidInputError: If the encoder has no such layer, if a named layer does not give a row for each sample,
            or if the same samples give other features a second time.
        """
        probe = self.x_train[:N_PROBED]
        if self.layers is not None:
            names = [f"{ENCODER}.{name}".rstrip(".") for name in self.layers]
        elif isinstance(network.model.encoder, CalledEncoder):
            names = [ENCODER]
        else:
            names = find_blocks(network, probe)
        first, second = (_activations(network, probe, names) for _ in range(2))
        kept = [name for name in names if len(first[name]) == len(probe) and first[name].ndim > 1]
        if not kept or (self.layers is not None and len(kept) < len(names)):
            wrong = [name.removeprefix(ENCODER).removeprefix(".") for name in names if name not in kept]
            raise InvalidInputError(f"layers {wrong} do not give features, (n, ...), for n samples; name other modules.")
        for name in kept:
            one, other = first[name].nan_to_num(), second[name].nan_to_num()
            if (one - other).abs().max() > ALIKE * one.abs().max():
                raise InvalidInputError(
                    "encoder gives other features when it receives the same samples again; set its modules to evaluation "
                    "mode, and draw no random numbers in it."
                )
        return kept


def _activations(network: PyTorchClassifier, x: np.ndarray, names: list[str]) -> dict[str, Tensor]:
    """What the layers give for one batch."""
    (found,) = [dict(batch.activations) for batch in stream_activations(network, x, names, len(x))]
    return found


def _listed(value: Any) -> Any:
    """A parameter as JSON has it; an encoder that is no name by its type."""
    if isinstance(value, (list, tuple)):
        return list(value)
    return type(value).__name__ if callable(value) else value
