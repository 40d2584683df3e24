"""Published defences against backdoor poisoning for the Adversarial Robustness Toolbox. Higher scores = more suspicious."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from art_plugins.defences.baselines import ActivationClustering, PerfectFilter, RandomFilter, SpectralSignatures
    from art_plugins.defences.latent_clustering import VAELatentDefence
    from art_plugins.features.autoencoder import Autoencoder, AutoencoderSettings

__all__ = [
    "ActivationClustering",
    "Autoencoder",
    "AutoencoderSettings",
    "PerfectFilter",
    "RandomFilter",
    "SpectralSignatures",
    "VAELatentDefence",
]

_BASELINES = "art_plugins.defences.baselines"
_HOMES = {
    "ActivationClustering": _BASELINES,
    "Autoencoder": "art_plugins.features.autoencoder",
    "AutoencoderSettings": "art_plugins.features.autoencoder",
    "PerfectFilter": _BASELINES,
    "RandomFilter": _BASELINES,
    "SpectralSignatures": _BASELINES,
    "VAELatentDefence": "art_plugins.defences.latent_clustering",
}


def __getattr__(name: str) -> Any:
    """Import torch and ART only when a class is asked for (PEP 562), so that the command line answers at once."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'art_plugins' has no attribute {name!r}")
