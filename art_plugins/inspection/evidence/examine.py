"""All evidence on a data set, one kind after the other, and one verdict for each sample."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from art_plugins.baselines.label_issues import cleanlab_is_installed
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.features.encodings import Memory
from art_plugins.files.folder_data import FolderData
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.inspection.evidence.found import POISON, Found, united
from art_plugins.inspection.evidence.labels import Doubts, doubt_labels, label_findings
from art_plugins.inspection.evidence.latents import kind_of_data, latent_findings
from art_plugins.inspection.evidence.model import look_with_model
from art_plugins.inspection.evidence.network import Labelled, LayerSearch, look_at_layers, network_findings
from art_plugins.inspection.evidence.own_network import FOR_GROUPS, train_on, why_not
from art_plugins.inspection.evidence.pictures import pictures_of
from art_plugins.inspection.evidence.trusted import Trusted
from art_plugins.inspection.settings import EVIDENCE, ScanSettings
from art_plugins.statistics.latents.scoring_settings import FALSE_ALARM_RATE

LATENTS, NETWORK, LABELS = EVIDENCE
CALLING = (LATENTS, NETWORK)  # kinds that call something poison, and so share the false-alarm rate
FAST, NOT_ASKED = "it needs a training, and --fast leaves that out", "--only does not name it"
# Of 1,500 spoken digits, 40 of them with a burst of noise, a network of the scan's own called 22 clean clips poison, at
# p = 0.005, and none of the 40.
NOT_FOR_SOUNDS = "for sounds, groups at the layers of a network do not keep the false-alarm rate"
NO_CLEANLAB = 'it needs cleanlab: pip install "art-plugins[peers]"'
OWN = "a network that the scan has trained on these data"


@dataclass
class Examined:
    """
    What all evidence says together.

    ``left_out``: kind of evidence -> why it was not looked at; ``None``: it was. ``groups``: without common members, the
    gravest first. ``defence``: after its detection; ``None``: latents were not looked at. ``doubts``: ``None``: labels were
    not looked at. ``notes``: sentences on what a reader must know of the evidence.
    """

    left_out: dict[str, str | None]
    groups: list[Found] = field(default_factory=list)
    defence: VAELatentDefence | None = None
    doubts: Doubts | None = None
    notes: list[str] = field(default_factory=list)

    @property
    def n_verdicts(self) -> int:
        """Number of kinds of evidence that share the false-alarm rate."""
        return max(1, sum(self.left_out[kind] is None for kind in CALLING))

    def with_verdict(self, verdict: str, n: int) -> np.ndarray:
        """The samples with a verdict, (n,), bool."""
        members = np.zeros(n, dtype=bool)
        for group in self.groups:
            members |= group.members & (group.verdict == verdict)
        return members

    def scores(self, n: int) -> np.ndarray:
        """A score for each sample, (n,): that of its group; where it is in none, that of the latents."""
        scores = np.zeros(n) if self.defence is None else np.array(self.defence.outlier_scores_, dtype=float)
        for group in self.groups:
            scores[group.members] = group.scores[group.members]
        return scores

    def suggested(self, index: int, label: int) -> tuple[int, float] | None:
        """A class that fits a sample better than its own with more than half of all probability, and this probability."""
        if self.doubts is None:
            return None
        best = int(self.doubts.suggested[index])
        probability = float(self.doubts.probabilities[index, best])
        return (best, probability) if best != label and probability > 0.5 else None


def plan(settings: ScanSettings, labels: np.ndarray, is_sound: bool = False) -> dict[str, str | None]:
    """Which kinds of evidence are looked at, and why the others are not."""
    too_small = why_not(labels)
    of_groups = NOT_FOR_SOUNDS if is_sound else too_small
    needs = {LATENTS: None, NETWORK: of_groups, LABELS: too_small if cleanlab_is_installed() else NO_CLEANLAB}
    left_out: dict[str, str | None] = {}
    for kind in EVIDENCE:
        if settings.only and kind not in settings.only:
            left_out[kind] = NOT_ASKED
        elif kind == NETWORK and settings.model is not None:
            left_out[kind] = None
        elif needs[kind] is None and settings.fast and kind != LATENTS:
            left_out[kind] = FAST
        else:
            left_out[kind] = needs[kind]
    return left_out


def examine(
    data: FolderData,
    reader: SoundReader | ImageReader,
    settings: ScanSettings,
    params: dict[str, Any],
    autoencoder: Any,
    trusted: Trusted | None = None,
    memory: Memory | None = None,
) -> Examined:
    """
    Look at every kind of evidence that is asked for and possible.

    :param params: Parameters of :class:`VAELatentDefence`.
    :param autoencoder: Fitted, or what to train, as the defence takes it.
    :param trusted: Samples that are known to be clean.
    :param memory: Where the features of a fitted autoencoder are kept; ``None``: nowhere.
    """
    examined = Examined(plan(settings, data.labels, isinstance(reader, SoundReader)))
    left_out, n_verdicts = examined.left_out, examined.n_verdicts
    found: list[Found] = []
    rate = params.get("false_alarm_rate", FALSE_ALARM_RATE) / n_verdicts
    if trusted is not None:
        examined.notes.append(trusted.note if left_out[NETWORK] is None else f"{trusted.note} Nothing looks at them.")
    if left_out[LATENTS] is None:
        defence = examined.defence = VAELatentDefence(None, data.x, data.labels)
        defence.memory = memory
        defence.detect_poison(autoencoder=autoencoder, **{**params, "false_alarm_rate": rate}, **kind_of_data(reader))
        found += latent_findings(defence, data.class_names, n_verdicts)
    model = settings.model if left_out[NETWORK] is None else None
    if model is not None and isinstance(reader, ImageReader):  # a model for other data has been refused before
        shown = look_with_model(model, reader, data, trusted, rate, params.get("random_state", 0))
        found += network_findings(shown, data.labels, n_verdicts, f"the model {model}")
    trains = left_out[NETWORK] is None and model is None
    if trains or left_out[LABELS] is None:
        found += _by_own_networks(examined, found, data, reader, params, rate, trusted if trains else None, trains)
    examined.groups = united(found)
    return examined


def _by_own_networks(
    examined: Examined,
    found: Sequence[Found],
    data: FolderData,
    reader: SoundReader | ImageReader,
    params: dict[str, Any],
    rate: float,
    trusted: Trusted | None,
    trains: bool,
) -> list[Found]:
    """
    What the networks that the scan trains say.

    :param found: By other evidence; what is called poison there takes no part in the cross-validation.
    :param rate: Part of the false-alarm rate that groups get.
    :param trains: Whether a network is trained in which groups are looked for.
    """
    how = {name: params[name] for name in ("precision", "random_state", "verbose") if name in params}
    nb_classes = len(data.class_names)
    new: list[Found] = []
    with pictures_of(reader, data.x, *([] if trusted is None else [trusted.x])) as (pictures, *of_trusted):
        if trains:
            network = train_on(pictures, data.labels, nb_classes, FOR_GROUPS, "network for groups", **how)
            known = None if trusted is None else Labelled(of_trusted[0], trusted.labels)
            search = LayerSearch(Labelled(pictures, data.labels), rate, known, how.get("random_state", 0))
            new += network_findings(look_at_layers(network, search), data.labels, examined.n_verdicts, OWN)
        if examined.left_out[LABELS] is None:
            examined.groups = united([*found, *new])
            is_poison = examined.with_verdict(POISON, len(data.labels))
            examined.doubts = doubt_labels(pictures, data.labels, nb_classes, is_poison, **how)
            new += label_findings(examined.doubts, data.labels)
    return new
