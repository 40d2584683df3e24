"""Published defences against backdoor poisoning for the Adversarial Robustness Toolbox. Higher scores = more suspicious."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from art_plugins.baselines.agpd import AGPD
    from art_plugins.baselines.art_filters import ActivationClustering, SpectralSignatures
    from art_plugins.baselines.bounds import PerfectFilter, RandomFilter
    from art_plugins.baselines.confusion_training import ConfusionTraining
    from art_plugins.baselines.detector_filter import DetectorFilter
    from art_plugins.baselines.detectors.bad_expert import BaDExpert
    from art_plugins.baselines.detectors.beatrix import Beatrix
    from art_plugins.baselines.detectors.cognitive_distillation import CognitiveDistillation
    from art_plugins.baselines.detectors.ibd_psc import IBDPSC
    from art_plugins.baselines.detectors.patterns import B3D, STRIP, NeuralCleanseFilter
    from art_plugins.baselines.detectors.scale_up import ScaleUp
    from art_plugins.baselines.detectors.step import STEP
    from art_plugins.baselines.detectors.strip_vita import STRIPViTA
    from art_plugins.baselines.detectors.ted import TED
    from art_plugins.baselines.detectors.ted_plus_plus import TEDPlusPlus
    from art_plugins.baselines.flare import FLARE
    from art_plugins.baselines.label_issues import LabelIssues
    from art_plugins.baselines.psbd import PSBD
    from art_plugins.baselines.pyod_filter import PyODFilter
    from art_plugins.baselines.spectre import SPECTRE
    from art_plugins.defences.encoder_features import EncoderFeatureDefence
    from art_plugins.defences.in_flight import InFlightDetector
    from art_plugins.defences.latent_clustering import VAELatentDefence
    from art_plugins.defences.layerwise import LayerwiseFeatureDefence
    from art_plugins.defences.layerwise_detector import LayerwiseFeatureDetector
    from art_plugins.features.autoencoder import Autoencoder
    from art_plugins.features.vae.settings import AutoencoderSettings
    from art_plugins.triggers.found import Inversion
    from art_plugins.triggers.inversion import invert_triggers

__all__ = [
    "AGPD",
    "B3D",
    "FLARE",
    "IBDPSC",
    "PSBD",
    "SPECTRE",
    "STEP",
    "STRIP",
    "TED",
    "ActivationClustering",
    "Autoencoder",
    "AutoencoderSettings",
    "BaDExpert",
    "Beatrix",
    "CognitiveDistillation",
    "ConfusionTraining",
    "DetectorFilter",
    "EncoderFeatureDefence",
    "InFlightDetector",
    "Inversion",
    "LabelIssues",
    "LayerwiseFeatureDefence",
    "LayerwiseFeatureDetector",
    "NeuralCleanseFilter",
    "PerfectFilter",
    "PyODFilter",
    "RandomFilter",
    "STRIPViTA",
    "ScaleUp",
    "SpectralSignatures",
    "TEDPlusPlus",
    "VAELatentDefence",
    "invert_triggers",
]

_HOMES = {
    "AGPD": "art_plugins.baselines.agpd",
    "B3D": "art_plugins.baselines.detectors.patterns",
    "FLARE": "art_plugins.baselines.flare",
    "IBDPSC": "art_plugins.baselines.detectors.ibd_psc",
    "PSBD": "art_plugins.baselines.psbd",
    "SPECTRE": "art_plugins.baselines.spectre",
    "STEP": "art_plugins.baselines.detectors.step",
    "STRIP": "art_plugins.baselines.detectors.patterns",
    "TED": "art_plugins.baselines.detectors.ted",
    "ActivationClustering": "art_plugins.baselines.art_filters",
    "Autoencoder": "art_plugins.features.autoencoder",
    "AutoencoderSettings": "art_plugins.features.vae.settings",
    "BaDExpert": "art_plugins.baselines.detectors.bad_expert",
    "Beatrix": "art_plugins.baselines.detectors.beatrix",
    "CognitiveDistillation": "art_plugins.baselines.detectors.cognitive_distillation",
    "ConfusionTraining": "art_plugins.baselines.confusion_training",
    "DetectorFilter": "art_plugins.baselines.detector_filter",
    "EncoderFeatureDefence": "art_plugins.defences.encoder_features",
    "InFlightDetector": "art_plugins.defences.in_flight",
    "Inversion": "art_plugins.triggers.found",
    "LabelIssues": "art_plugins.baselines.label_issues",
    "LayerwiseFeatureDefence": "art_plugins.defences.layerwise",
    "LayerwiseFeatureDetector": "art_plugins.defences.layerwise_detector",
    "NeuralCleanseFilter": "art_plugins.baselines.detectors.patterns",
    "PerfectFilter": "art_plugins.baselines.bounds",
    "PyODFilter": "art_plugins.baselines.pyod_filter",
    "RandomFilter": "art_plugins.baselines.bounds",
    "STRIPViTA": "art_plugins.baselines.detectors.strip_vita",
    "ScaleUp": "art_plugins.baselines.detectors.scale_up",
    "SpectralSignatures": "art_plugins.baselines.art_filters",
    "TEDPlusPlus": "art_plugins.baselines.detectors.ted_plus_plus",
    "VAELatentDefence": "art_plugins.defences.latent_clustering",
    "invert_triggers": "art_plugins.triggers.inversion",
}


def __getattr__(name: str) -> Any:
    """Import torch and ART only when a class is asked for (PEP 562), so that the command line answers at once."""
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'art_plugins' has no attribute {name!r}")
