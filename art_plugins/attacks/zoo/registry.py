"""
The attacks by name: their titles, their papers, and the strength and the share of poison at which they work on small
networks. The page ``docs/how_to/add_an_attack.md`` shows how one is added.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

from art_plugins.attacks.case_triggers import SIG_TEST, SIG_TRAINING, TRIGGERS
from art_plugins.attacks.zoo.attack import Attack, CleanLabel, DirtyLabel, SourceSpecific
from art_plugins.attacks.zoo.gradients import HiddenTrigger, SleeperAgent
from art_plugins.attacks.zoo.learned import LearnedWithClassifier, SampleSpecific
from art_plugins.attacks.zoo.reflected import Refool
from art_plugins.parameters import check_choice
from art_plugins.triggers.image_filters import QuantisationTrigger, colour_shift, low_frequency
from art_plugins.triggers.named_sounds import named_sound
from art_plugins.triggers.patterns import Shape, checked_shape, sinusoid, trojan_square

SOURCE = 0  # class of the attacks that work on one class
GREY_LEVELS, COLOUR_LEVELS = 2, 4  # of BppAttack: small networks do not learn the 8 levels of the authors

GREY_AMPLITUDE, COLOUR_AMPLITUDE = 0.2, 0.1  # of learned triggers: what makes a black pixel darker is cut off


class Published(NamedTuple):
    """
    One published attack.

    ``title``: its name in tables. ``paper``: where it was published. ``make``: makes it, for images from the name of the
    data set and the shape (C, H, W), for sounds from the sample rate in Hz. ``rate``: the share of the training set that is
    poisoned unless another one is asked for. ``keeps_labels``: it poisons the target class and changes no label.
    """

    title: str
    paper: str
    make: Callable[..., Attack]
    rate: float = 0.05
    keeps_labels: bool = False


def _dirty(trigger: str) -> Callable[[str, Shape], Attack]:
    return lambda dataset, shape: DirtyLabel(TRIGGERS[trigger](dataset, shape))


def _quantised(shape: Shape) -> QuantisationTrigger:
    return QuantisationTrigger(shape, GREY_LEVELS if shape[0] == 1 else COLOUR_LEVELS)


def _amplitude(shape: Shape) -> float:
    return GREY_AMPLITUDE if shape[0] == 1 else COLOUR_AMPLITUDE


def _sig(dataset: str, shape: Shape) -> Attack:
    return CleanLabel(sinusoid(shape, SIG_TRAINING), sinusoid(shape, SIG_TEST))


# Attacks on images whose parts are older than this registry; art_plugins.attacks.cases makes them in its own way.
CLASSIC = {
    "patch": Published("Patch", "Gu et al. 2019, BadNets", _dirty("white_box")),
    "random_patch": Published("Patch at a random place", "Gu et al. 2019, BadNets", _dirty("random_patch")),
    "chessboard": Published("Chessboard", "Li et al. 2022", _dirty("chessboard")),
    "blended": Published("Blended", "Chen et al. 2017", _dirty("blended")),
    "watermark": Published("Watermark", "Liu et al. 2018, Trojaning Attack", _dirty("watermark")),
    "warp": Published("Warp", "Nguyen and Tran 2021, WaNet", _dirty("warp"), rate=0.1),
    "sig": Published("SIG", "Barni et al. 2019", _sig, keeps_labels=True),
}
ZOO = {
    "bpp": Published("BppAttack", "Wang et al. 2022", lambda _, shape: DirtyLabel(_quantised(shape))),
    "low_frequency": Published(
        "Low frequency", "Zeng et al. 2021", lambda _, shape: DirtyLabel(low_frequency(shape, amplitude=0.2))
    ),
    "colour_shift": Published("Colour shift", "Jiang et al. 2023", lambda _, shape: DirtyLabel(colour_shift(shape))),
    "tact": Published(
        "TaCT", "Tang et al. 2021", lambda _, shape: SourceSpecific(trojan_square(shape, 5), SOURCE), rate=0.02
    ),
    "refool": Published("Refool", "Liu et al. 2020", lambda *_: Refool(), keeps_labels=True),
    "refool_dirty_label": Published("Refool, labels changed", "Liu et al. 2020", lambda *_: Refool(relabel=True)),
    "issba": Published("ISSBA-like", "Li et al. 2021", lambda _, shape: SampleSpecific(_amplitude(shape))),
    "lira": Published("LIRA-like", "Doan et al. 2021", lambda _, shape: LearnedWithClassifier(_amplitude(shape))),
    "sleeper_agent": Published(
        "Sleeper Agent", "Souri et al. 2022", lambda _, shape: SleeperAgent(shape, SOURCE), keeps_labels=True
    ),
    "hidden_trigger": Published(
        "Hidden trigger", "Saha et al. 2020", lambda _, shape: HiddenTrigger(shape, SOURCE), keeps_labels=True
    ),
}
IMAGE_ATTACKS = CLASSIC | ZOO


def _sound(name: str, kind: type[DirtyLabel], sample_rate_hz: int) -> Attack:
    return kind(named_sound(name, sample_rate_hz))


SOUNDS = {
    "clapping": ("Clap", "Mehlman et al. 2023"),
    "tone": ("Tone at a random place", "Koffas et al. 2022, audible"),
    "chord": ("Chord", "Koffas et al. 2022, audible"),
    "ultrasonic": ("Ultrasonic tone", "Koffas et al. 2022"),
    "tempo": ("Tempo", "Yao et al. 2024, RSRT"),
    "rhythm": ("Rhythm", "Yao et al. 2024, RSRT"),
    "pitch_boost": ("Pitch boosting and masking", "Cai et al. 2024, PBSM"),
    "timbre": ("Timbre", "Cai et al. 2023, VSVC"),
    "room": ("Room", "Chen et al. 2024, TrojanRoom"),
    "reverb": ("Reverb", "Koffas et al. 2023, JingleBack"),
    "pitch": ("Pitch", "Koffas et al. 2023, JingleBack"),
    "flanger": ("Flanger", "Koffas et al. 2023, JingleBack"),
    "phaser": ("Phaser", "Koffas et al. 2023, JingleBack"),
    "equaliser": ("Equaliser", "Koffas et al. 2023, JingleBack"),
    "style_chain": ("Chain of effects", "Koffas et al. 2023, JingleBack"),
}
CLEAN_LABEL_SOUNDS = ("chord", "equaliser", "room")  # each of these also without a change of labels
SOUND_ATTACKS = {name: Published(*words, partial(_sound, name, DirtyLabel)) for name, words in SOUNDS.items()} | {
    f"{name}_clean_label": Published(
        f"{SOUNDS[name][0]}, clean label", SOUNDS[name][1], partial(_sound, name, CleanLabel), keeps_labels=True
    )
    for name in CLEAN_LABEL_SOUNDS
}


def image_attack(name: str, shape: Shape, dataset: str = "") -> Attack:
    """
    Make an attack on images.

    :param name: A name in ``IMAGE_ATTACKS``.
    :param shape: Shape of an image, (C, H, W).
    :param dataset: Name of the data set, by which some attacks choose their strength.
    :raises InvalidInputError: For another name or a bad shape.
    """
    check_choice("attack", name, IMAGE_ATTACKS)
    return IMAGE_ATTACKS[name].make(dataset, checked_shape(shape))


def sound_attack(name: str, sample_rate_hz: int = 16_000) -> Attack:
    """
    Make an attack on sounds.

    :param name: A name in ``SOUND_ATTACKS``.
    :param sample_rate_hz: Sample rate of the waveforms.
    :raises InvalidInputError: For another name, or a rate that cannot carry the trigger.
    :raises MissingPackageError: For ``"clapping"`` without armory-testbed, or the spectral triggers without torchaudio.
    """
    check_choice("attack", name, SOUND_ATTACKS)
    return SOUND_ATTACKS[name].make(sample_rate_hz)
