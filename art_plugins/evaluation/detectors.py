"""The registry of detectors: every detector of triggers at test time that is measured, with its title and its settings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

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
from art_plugins.baselines.pyod_filter import pyod_is_installed
from art_plugins.features.batch_norms import has_batch_norms
from art_plugins.reports.record_files import IN_FLIGHT, LAYERWISE, SOUND_DETECTORS
from art_plugins.triggers.trigger import Trigger

MAHALANOBIS, PAPER = "mahalanobis", "paper"  # the two rules of layer-wise feature analysis
SOUNDS_TOO = (LAYERWISE, SOUND_DETECTORS)
FPRS = (0.01, 0.02)  # target false-positive rates at which the default rule is shown


class Backdoor(NamedTuple):
    """What a defender knows of a backdoor, from a trigger inversion: the trigger and the class that it leads to."""

    trigger: Trigger
    target: int


class Detector(NamedTuple):
    """
    A detector of triggers at test time, by other authors.

    :param title: Title in tables.
    :param make: Makes the detector, not yet fitted, for a classifier, with a random seed and with what is known of the
        backdoor (``None``: nothing).
    :param evaluations: Kinds of the records that have the detector; see ``art_plugins.reports.record_files.KINDS``.
    :param most: Where nothing is known of the backdoor, at most so many clean and so many triggered images are judged,
        drawn at random, since the detector runs the model many times on each image; ``None``: all.
    :param needs_backdoor: The detector is left out where nothing is known of the backdoor.
    :param needs_batch_norm: The detector is left out where the network has no batch normalisation.
    :param needs_pyod: The detector is left out where PyOD is not installed.
    """

    title: str
    make: Callable[[Any, int, Backdoor | None], Any]
    evaluations: tuple[str, ...] = (LAYERWISE,)
    most: int | None = None
    needs_pyod: bool = False
    needs_batch_norm: bool = False
    needs_backdoor: bool = False


def _neural_cleanse(classifier: Any, random_state: int, backdoor: Backdoor | None) -> NeuralCleanseFilter:
    assert backdoor is not None
    return NeuralCleanseFilter(classifier, backdoor.trigger, backdoor.target)


def _b3d(classifier: Any, random_state: int, backdoor: Backdoor | None) -> B3D:
    assert backdoor is not None
    return B3D(classifier, backdoor.trigger, target_class=backdoor.target)


def _strip(classifier: Any, random_state: int, backdoor: Backdoor | None) -> STRIP:
    target = None if backdoor is None else backdoor.target
    return STRIP(classifier, target_class=target, random_state=random_state)


def _strip_vita(classifier: Any, random_state: int, backdoor: Backdoor | None) -> STRIPViTA:
    return STRIPViTA(classifier, random_state=random_state)


DETECTORS = (
    Detector("Neural Cleanse", _neural_cleanse, (IN_FLIGHT,), needs_backdoor=True),
    Detector("B3D", _b3d, (IN_FLIGHT, SOUND_DETECTORS), needs_backdoor=True),
    Detector("STRIP", _strip, (IN_FLIGHT, LAYERWISE, SOUND_DETECTORS), most=200),
    Detector("STRIP-ViTA", _strip_vita, (SOUND_DETECTORS,), most=200),
    Detector("STEP", lambda classifier, seed, backdoor: STEP(classifier, random_state=seed), (SOUND_DETECTORS,), most=400),
    Detector("SCALE-UP, data-free", lambda classifier, seed, backdoor: ScaleUp(classifier, "data-free"), most=1000),
    Detector("SCALE-UP, data-limited", lambda classifier, seed, backdoor: ScaleUp(classifier, "data-limited"), most=1000),
    Detector("Beatrix", lambda classifier, seed, backdoor: Beatrix(classifier, random_state=seed), SOUNDS_TOO),
    Detector("TED", lambda classifier, seed, backdoor: TED(classifier), SOUNDS_TOO, needs_pyod=True),
    Detector("TED++", lambda classifier, seed, backdoor: TEDPlusPlus(classifier), SOUNDS_TOO, needs_pyod=True),
    Detector("BaDExpert", lambda classifier, seed, backdoor: BaDExpert(classifier, random_state=seed)),
    Detector(
        "IBD-PSC", lambda classifier, seed, backdoor: IBDPSC(classifier), SOUNDS_TOO, most=1000, needs_batch_norm=True
    ),
    Detector(
        "Cognitive Distillation",
        lambda classifier, seed, backdoor: CognitiveDistillation(classifier, random_state=seed),
        most=200,
    ),
)


class RuleSetting(NamedTuple):
    """A rule of layer-wise feature analysis: its title in tables, and keyword arguments of the detector or filter."""

    title: str
    parameters: dict[str, Any]


def default_rule(fpr: float) -> RuleSetting:
    """The default rule at a target false-positive rate."""
    return RuleSetting(f"default, target FPR {fpr:g}", {"mode": MAHALANOBIS, "fpr": fpr})


def paper_rule(tau: float) -> RuleSetting:
    """The paper's rule at a threshold tau."""
    return RuleSetting(f"paper, tau {tau:g}", {"mode": PAPER, "tau": tau})


LAYERWISE_DETECTORS = (paper_rule(2.0), paper_rule(2.5), *map(default_rule, FPRS))


def detectors_of(evaluation: str, classifier: Any = None) -> list[Detector]:
    """
    The detectors that an evaluation measures and whose packages are installed, in the order of the registry.

    :param evaluation: Kind of its record, such as ``"layerwise"``.
    :param classifier: Only detectors that can judge by this classifier; ``None``: all.
    """
    normed = classifier is None or has_batch_norms(classifier)
    found = [one for one in DETECTORS if evaluation in one.evaluations and (pyod_is_installed() or not one.needs_pyod)]
    return [one for one in found if normed or not one.needs_batch_norm]
