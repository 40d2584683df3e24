"""What a person can set for a detection and for a scan; the command line fills in the same settings."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from art_plugins.errors import InvalidInputError
from art_plugins.files.image_files import check_size
from art_plugins.files.sound_files import check_seconds
from art_plugins.parameters import check_choice, check_count, check_flag, check_number, shown
from art_plugins.triggers.found import THRESHOLD

EVIDENCE = ("latents", "network", "labels")
FAIL_ON = ("poison", "look", "never")
DETECTION_FAILS_ON = ("backdoor", "look", "never")
APPLY = ("list", "drop", "relabel", "restore")
S = TypeVar("S", "DetectSettings", "ScanSettings")


@dataclass(frozen=True)
class DetectSettings:
    """
    How a detection reads the model and the images, and how long it searches.

    :param classes: Names of the class folders in the order of the model's outputs; ``None``: sorted by name.
    :param size: Width and height in pixels of the images that the model gets; ``None``: the most common size of the clean
        images.
    :param mean: What is subtracted from the images, whose values are 0 to 1: one number, or one for each channel;
        ``None``: 0.
    :param std: What the images are then divided by, in the same form; ``None``: 1.
    :param factory: For a file of weights: ``"package.module:function"``, the function that returns the network. It is your
        own code, and it is run as such.
    :param factory_args: Keyword arguments of this function.
    :param trust_model: Run a TorchScript file in this process, with your rights, whatever it does.
    :param timeout_s: Most seconds that a TorchScript file may take in its own process, in total.
    :param save_detector: New file for the fitted :class:`InFlightDetector`, written if a backdoor is found; ``None``: none.
    :param threshold: A class whose index is above it is called the target of a backdoor if it stands apart from the next.
    :param nb_steps: Most optimisation steps of the trigger inversion.
    :param random_state: Random seed of the trigger inversion and of the choice of clean images.
    :param false_alarm_rate: Accepted share of images without a trigger that are caught. It is also the accepted probability
        that the images make a clean model look backdoored.
    :param kind: ``"image"``, ``"sound"``, or ``"auto"``: whichever kind of file the folder of clean samples holds.
    :param seconds: Length of the clips that a classifier of sounds gets; ``None``: the 95th percentile of the clean clips,
        at most 10 s.
    :param fail_on: What makes the exit status 1: ``"backdoor"``: a model with a backdoor; ``"look"``: anything that a
        person should look at; ``"never"``: nothing.
    :raises InvalidInputError: For a value that is out of its range.
    """

    classes: Sequence[str] | None = None
    size: tuple[int, int] | None = None
    mean: Sequence[float] | None = None
    std: Sequence[float] | None = None
    factory: str | None = None
    factory_args: Mapping[str, Any] | None = None
    trust_model: bool = False
    timeout_s: float = 3600.0
    save_detector: str | Path | None = None
    threshold: float = THRESHOLD
    nb_steps: int = 400
    random_state: int = 0
    false_alarm_rate: float = 0.01
    kind: str = "auto"
    seconds: float | None = None
    fail_on: str = "backdoor"

    def __post_init__(self) -> None:
        check_size(self.size)
        check_choice("kind", self.kind, ("auto", "image", "sound"))
        check_choice("fail_on", self.fail_on, DETECTION_FAILS_ON)
        check_seconds(self.seconds)
        check_number("false_alarm_rate", self.false_alarm_rate, above=0, below=1)
        check_flag("trust_model", self.trust_model)
        check_number("timeout_s", self.timeout_s, "a number of seconds", above=0)
        check_number("threshold", self.threshold, above=0)
        check_count("nb_steps", self.nb_steps)
        check_count("random_state", self.random_state, 0)


@dataclass(frozen=True)
class ScanSettings:
    """
    Which files a scan reads and how, and what it writes besides its results.

    :param kind: ``"sound"``, ``"image"``, or ``"auto"``: whichever kind of file the folder holds.
    :param split: Where the folder holds splits such as ``train`` and ``test``: the only split to scan; ``None``: all of
        them, class by class.
    :param seconds: Length of the clips; ``None``: the 95th percentile of the folder, at most 10 s.
    :param size: Width and height of the images in pixels; ``None``: the most common size.
    :param autoencoder: File of a saved :class:`Autoencoder`, which is used instead of training one; it determines how the
        files are read. ``"speech"``: the one of the package, for sounds of any rate and length. A dict: settings of the one
        that is trained, as :class:`VAELatentDefence` takes them.
    :param save_autoencoder: New file for the autoencoder that is trained.
    :param apply_to: New file for what ``apply`` says. The files that are scanned are never changed.
    :param apply: ``"list"``: the path of every file that was read and is not called poison, relative to the folder, one on
        each line. ``"drop"``: the same as a manifest, a CSV file with the label, the verdict and the decision on each file.
        ``"relabel"``: a manifest that also has the poison for which the scan suggests a label, under this label.
        ``"restore"``: a manifest that has, in place of poison, cleaned copies under the suggested label, where an added
        sound or a patch could be taken off for certain. They are written to a new folder beside the manifest.
    :param max_listed: Number of suspects that the page shows for a class, and of typical samples beside them.
    :param accepted: Table of the samples that a person has cleared: rows of a ``suspects.csv``. They are told by the
        SHA-256 of their content and by their class, so that a new name keeps them cleared.
    :param decisions: What a person has decided on the page of an earlier scan, as the page saves it. What is accepted is
        no suspect any more; what is rejected is poison, also where the scan does not suspect it. Both files are read by
        :func:`~art_plugins.inspection.deciding.decisions.read_decisions`, and this one counts where they disagree.
    :param fail_on: What makes the exit status 1: ``"poison"``: what is called poison; ``"look"``: anything that a person
        should look at; ``"never"``: nothing. What is accepted does not count.
    :param path_column: Column of a table, or name of an array, that holds the samples or the paths of their files;
        ``None``: it is found by its usual name.
    :param label_column: The same for the labels.
    :param rate_hz: Sample rate of waveforms that come as arrays, which do not say it.
    :param only: Kinds of evidence to look at, of ``"latents"`` (the latents of an autoencoder, and sounds, filters and
        patches that a class shares), ``"network"`` (groups of images at the layers of a network) and ``"labels"``
        (labels that networks doubt which were trained on other samples); empty: all that the data allow.
    :param fast: Leave out the evidence for which the scan trains networks of its own besides the autoencoder.
    :param model: TorchScript file of a classifier of images that was trained on the data. Its layers are looked at instead
        of those of a network of the scan's own. It runs in a process of its own, as of a detection.
    :param trusted: Folder of class folders with images that are known to be clean, of the same classes. The network's
        evidence then takes them into account.
    :param cache: Folder in which decoded samples, and their features by an autoencoder that is not trained on them, are
        kept by the hash of their content, so that another scan computes only what is new; ``None``: nothing is kept.
    :param backend: Who decodes files, and computes those features, into the cache: ``"local"``: ``jobs`` processes of this
        machine; ``"dask"`` or ``"ray"``: the workers of the cluster at ``address``. Files and cache must be under the same
        paths on all machines.
    :param address: ``tcp://host:port`` of Dask's scheduler, ``host:port`` of Ray's head.
    :param jobs: Number of local processes; 1: this process alone. They also split the classes.
    :raises InvalidInputError: For a value that is out of its range.
    """

    kind: str = "auto"
    split: str | None = None
    seconds: float | None = None
    size: tuple[int, int] | None = None
    autoencoder: str | Path | dict[str, Any] | None = None
    save_autoencoder: str | Path | None = None
    apply_to: str | Path | None = None
    max_listed: int = 8
    accepted: str | Path | None = None
    fail_on: str = "poison"
    path_column: str | None = None
    label_column: str | None = None
    rate_hz: int | None = None
    only: Sequence[str] = ()
    fast: bool = False
    model: str | Path | None = None
    trusted: str | Path | None = None
    cache: str | Path | None = None
    decisions: str | Path | None = None
    apply: str = "list"
    backend: str = "local"
    address: str | None = None
    jobs: int = 1

    def __post_init__(self) -> None:
        check_seconds(self.seconds)
        check_size(self.size)
        check_count("max_listed", self.max_listed)
        if self.rate_hz is not None:
            check_count("rate_hz", self.rate_hz)
        check_choice("fail_on", self.fail_on, FAIL_ON)
        self._check_evidence()
        check_choice("apply", self.apply, APPLY)
        if isinstance(self.autoencoder, (str, Path)) and self.save_autoencoder is not None:
            raise InvalidInputError(
                "There is no new autoencoder to save when a saved one is used; leave out autoencoder or save_autoencoder."
            )

    def _check_evidence(self) -> None:
        if not isinstance(self.only, (tuple, list)):
            raise InvalidInputError(f"only must be a list of kinds of evidence of {EVIDENCE}; received {shown(self.only)}.")
        for kind in self.only:
            check_choice("only", kind, EVIDENCE)
        check_flag("fast", self.fast)
        for name in ("model", "trusted"):
            if getattr(self, name) is not None and self.only and "network" not in self.only:
                raise InvalidInputError(f"{name} is for the network's evidence, which only does not name; add 'network'.")
        if self.trusted is not None and self.fast and self.model is None:
            raise InvalidInputError("fast leaves out the network that trusted samples are for; leave out one of the two.")
        if self.only and "latents" not in self.only and (self.autoencoder or self.save_autoencoder) is not None:
            raise InvalidInputError(
                "An autoencoder is for the latents, which only does not name; add 'latents', or leave out autoencoder and "
                "save_autoencoder."
            )


def settings_from(kind: type[S], settings: S | None, keywords: Mapping[str, Any], function: str, stacklevel: int = 3) -> S:
    """
    The settings of a call, where some may come as keyword arguments of the function, as in the release before.

    :param keywords: Names and values of fields of ``kind``.
    :param function: Name of the function, for the warning.
    :param stacklevel: Number of calls from here up to the caller of the function, as for ``warnings.warn``.
    :raises InvalidInputError: If a keyword is no setting.
    """
    names = [field.name for field in fields(kind)]
    unknown = [name for name in keywords if name not in names]
    if unknown:
        raise InvalidInputError(f"Unknown parameter {unknown[0]}; the settings of {function} are {', '.join(names)}.")
    if keywords:
        form = ", ".join(f"{name}=..." for name in keywords)
        warnings.warn(
            f"{function} takes {', '.join(keywords)} as settings={kind.__name__}({form}); the next release will not accept "
            "them as keyword arguments.",
            FutureWarning,
            stacklevel=stacklevel,
        )
    return replace(settings if settings is not None else kind(), **keywords)
