"""VAE latent clustering (Mehlman et al. 2023) in ART's contract for poison filters."""

from __future__ import annotations

import logging
import warnings
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from art_plugins.defences.contract import PoisonFilter
from art_plugins.defences.latents.images import search_patches
from art_plugins.defences.latents.report import json_value, latent_report
from art_plugins.defences.latents.sounds import evidence_of, search_sounds, united
from art_plugins.errors import InvalidInputError, NotFittedError
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.devices import PRECISIONS, make_fabric
from art_plugins.features.encodings import Memory
from art_plugins.features.resampling import resample_clips
from art_plugins.features.sample_shapes import infer_kind, spectrogram_notice
from art_plugins.features.vae.settings import KINDS, AutoencoderSettings
from art_plugins.features.vae.shipped import SHIPPED, check_speech, is_shipped, load_autoencoder
from art_plugins.features.vae.training import SETTLED, check_training
from art_plugins.features.vae.waveforms import as_waveforms, waveform_notice
from art_plugins.features.views import describe
from art_plugins.file_rules import SettingRule, check_settings, reading
from art_plugins.groups.sounds.sound_search import SharedSounds
from art_plugins.parameters import Renamed, check_choice, check_flag, check_settings_dict, renamed, shown
from art_plugins.statistics.latents.latent_classes import LatentClasses, cluster_latent_classes
from art_plugins.statistics.latents.scoring_settings import FALSE_ALARM_RATE, ScoringSettings
from art_plugins.storage import load_arrays, save_arrays, target_file

if TYPE_CHECKING:
    from art.utils import CLASSIFIER_TYPE

logger = logging.getLogger(__name__)

FILE_KIND = "vae_latent_defence"
ARCHITECTURE = tuple(field.name for field in fields(AutoencoderSettings))
DOUBTS = {"image": spectrogram_notice, "waveform": waveform_notice}  # whether a guess of the kind may be wrong
OF_THE_DATA = ("kind", "channels_first", "sample_rate_hz")  # what x_train is; parameters of the defence itself
OF_THE_AUTOENCODER = (*(name for name in ARCHITECTURE if name not in OF_THE_DATA), "patience")
TRAINING = ("nb_epochs", "batch_size", "learning_rate")
SCORING = ("scoring", "nb_dims", "class_rule", "false_alarm_rate")
OF_THE_SCORING = tuple(field.name for field in fields(ScoringSettings) if field.name not in SCORING)
OLD_NAMES = {
    **{name: Renamed("autoencoder", name) for name in OF_THE_AUTOENCODER},
    **{name: Renamed("scoring_params", name) for name in OF_THE_SCORING},
}


class VAELatentDefence(PoisonFilter):
    """
    Find poisoned classes and samples by clustering the latents of an autoencoder that is trained without labels.

    A variational autoencoder is trained on all of ``x_train``. The latents of each class are compared with those of all
    other classes, both for whole samples and for windows of time. Samples of a class are suspects if they lie close
    together where the other classes have no samples. The class is called poisoned if this crowd is unusually large, and the
    crowd is removed.

    | Paper: N. Mehlman, X. Shi, A. Kommineni, S. Narayanan, Detecting Poisoning Attacks against Speech Datasets using
      Variational Autoencoders, 2023.

    Higher scores are always more suspicious. A second call of :meth:`detect_poison` trains again only if ``x_train`` is
    another array, or if a parameter of the autoencoder has changed.

    Deviates from the paper:

    - Each class is compared with the other classes, window by window. The paper looks at each class alone, and only at the
      latents of whole samples (``scoring="paper"``: 2-means and the poison likelihood score of Eq. 1, with shrunk
      covariances).
    - In waveforms, clips of a class that share one sound at any place, or one filter (an echo, a room), are looked for
      without the autoencoder (:func:`~art_plugins.groups.sounds.sound_search.find_shared_sounds`,
      :func:`~art_plugins.groups.sounds.shared_filter.find_shared_filters`). The three verdicts share the false-alarm rate.
    - In images, a patch that images of a class share pixel by pixel, at one place or anywhere, is looked for without the
      autoencoder (:func:`~art_plugins.groups.pictures.shared_patch.find_shared_patches`). Both verdicts share the
      false-alarm rate.
    - Frames of a finer front end are compared as well as the latents.
    - A test with a false-alarm rate decides which classes stand out. The paper uses a rule based on the median.
    - The convolutions run over frequency, with 32 channels. The paper uses pictures of copied columns
      (``autoencoder={"video_like": True}``) and 256 channels.

    When this breaks:

    - Fewer than seven samples of a class are poisoned. In speech, fewer than about fifteen, because a poisoned sample joins
      the crowd only if its own sound is faint under the trigger.
    - Less than a hundredth of a large class, or more than three quarters of a class, is poisoned.
    - Only one class has a certain sub-population, or copies of one sample.
    - The trigger is at another place in every spectrogram. In images: it is at another place in each, and is no patch of
      equal pixels, as after lossy compression.
    - More than a third of the classes are poisoned, or two classes with one trigger.
    - There are fewer than five classes, so little can be compared. With fewer than four, no class is judged; the report
      says so, and all samples count as clean.

    There are nineteen parameters. Three are the model and the data, as in ART. The others are what a user sets by name, in
    code or in a config.

    :param classifier: May be ``None``. It is here because ART's filters take it first. If it is given, its ``nb_classes``
        and ``channels_first`` are used.
    :param x_train: Waveforms (n, S), spectrograms (n, T, F) or images (n, C, H, W), (n, H, W, C), (n, H, W). A
        ``numpy.memmap`` is read in parts.
    :param y_train: Labels (n,), (n, 1) or one-hot (n, nb_classes).
    :param autoencoder: ``None``: an autoencoder with the default settings is trained on ``x_train``. A dict: one with these
        settings is trained. The names are those of :class:`~art_plugins.features.autoencoder.AutoencoderSettings`, without
        those that are parameters here, and ``patience`` of :meth:`Autoencoder.fit`. An :class:`Autoencoder` that is not
        fitted: one with its settings is trained. A fitted one, or the path of a saved one: it is used without training
        (section 4.4). ``"speech"``: the one that comes with the package is used without training, for waveforms of any
        length and rate; they are resampled, in memory, from ``sample_rate_hz`` to its 16 kHz.
    :param kind: ``"waveform"``, ``"spectrogram"``, ``"image"``, or ``"auto"``: by the number of axes. Waveforms are floats
        of -1 to 1; whole numbers are divided by their full scale.
    :param channels_first: Whether the colour axis of images is before height and width. ``None``: as the classifier says,
        or as the shape shows.
    :param sample_rate_hz: Sampling rate of waveforms.
    :param nb_epochs: Largest number of training epochs (Table 1: 30). ``None``: the training ends when the latents have
        settled, and after at most 2,000 steps of the optimiser or 30 epochs, whichever is more. The report has a warning if
        they have not settled.
    :param batch_size: Number of samples in a training batch.
    :param learning_rate: Learning rate of Adam (Table 1: 1e-3).
    :param precision: Precision by its name in Lightning, such as ``"32-true"`` or ``"bf16-mixed"``; the latter in 32 bits
        on a processor that would only imitate bfloat16.
    :param checkpoint: File that keeps the state of the training, so that an interrupted training can continue.
    :param scoring: ``"contrastive"``: each class is compared with the others. ``"paper"``: each class is looked at alone.
    :param nb_dims: Largest number of directions that describe a class (section 4.2: 24).
    :param class_rule: ``"false_alarms"``: p-value below ``false_alarm_rate``; ``"mad"``: median-based index above the
        ``threshold`` of ``scoring_params``; ``"argmax"``: the class with the highest score; ``"auto"``: the first for
        ``"contrastive"``, the second for ``"paper"``.
    :param false_alarm_rate: Probability, between 0 and 1, that some class of data without poison is called poisoned.
    :param scoring_params: Other settings of the scoring, as a dict; ``None``: the defaults. The names are those of
        :class:`~art_plugins.statistics.latents.scoring_settings.ScoringSettings`: ``whiten``, ``shrinkage`` and
        ``refine`` of ``"paper"``, ``nb_trials`` and ``n_init`` of the clustering, ``threshold`` of the rule ``"mad"``.
    :param random_state: Random seed of the training and the clustering. Two runs with one seed give equal results. Global
        random generators are not used.
    :param verbose: Whether to show a progress bar during the training.

    :ivar report_: JSON-safe results. ``kind`` is the kind of data. ``autoencoder`` holds ``nb_epochs`` and whether it has
        ``settled`` (``None``: not known). ``classes_not_judged`` have no verdict, and their samples count as clean.
        ``warnings`` are also logged. The others are ``poisoned_classes``, ``class_rule``, ``score_limit``, ``nb_dims`` and
        ``parameters``, and for each class ``Class_i`` with its sizes, score and ``verdict`` (``"poisoned"``, ``"clean"``,
        or ``"not judged: "`` with the reason). For waveforms, also ``sound`` and ``filter``, which the clips of the class
        share: score, p-value, coherence and number of clips.
    :ivar class_scores_: Score of each class in nats, (nb_classes,); NaN: the class has none.
    :ivar class_index_: (score - median) / (1.4826 MAD) of each class, (nb_classes,); NaN: not judged.
    :ivar class_p_values_: Smallest false-alarm rate at which each class is called poisoned, (nb_classes,); NaN: not judged,
        or ``scoring="paper"``.
    :ivar poisoned_classes_: Classes that are called poisoned.
    :ivar outlier_scores_: Score of each sample, (n,): its soft cluster label times the index of its class. It is 0 in
        classes at or below the median.
    :ivar suspects_: Whether each sample is in the smaller group of its class, whatever the verdict on the class, (n,),
        bool. If the larger group is the crowd, its samples are the suspects. Classes without a score have none.
    :ivar is_clean_: Verdict on each sample, (n,), 1 = clean, 0 = poison.
    :ivar latents_: Latents of the samples, (n, latent_dim).
    :ivar autoencoder_: The fitted :class:`Autoencoder`.
    :ivar memory: Where features that depend on one sample are kept
        (:func:`~art_plugins.features.encodings.encode_all`); ``None``: nowhere.
    """

    memory: Memory | None = None
    defence_params = [
        "autoencoder",
        *OF_THE_DATA,
        *TRAINING,
        "precision",
        "checkpoint",
        *SCORING,
        "scoring_params",
        "random_state",
        "verbose",
    ]

    def __init__(
        self,
        classifier: CLASSIFIER_TYPE | None,
        x_train: np.ndarray,
        y_train: np.ndarray,
        *,
        autoencoder: Autoencoder | dict[str, Any] | str | Path | None = None,
        kind: str = "auto",
        channels_first: bool | None = None,
        sample_rate_hz: int = 16_000,
        nb_epochs: int | None = None,
        batch_size: int = 64,
        learning_rate: float = 1e-3,
        precision: str = "32-true",
        checkpoint: str | Path | None = None,
        scoring: str = "contrastive",
        nb_dims: int = 24,
        class_rule: str = "auto",
        false_alarm_rate: float = FALSE_ALARM_RATE,
        scoring_params: dict[str, Any] | None = None,
        random_state: int = 0,
        verbose: bool = True,
        **old_names: Any,
    ) -> None:
        given = {name: value for name, value in locals().items() if name in self.defence_params}
        super().__init__(classifier, x_train, y_train)
        for name, value in given.items():
            setattr(self, name, value)
        self.set_params(**given, **old_names)
        self._trained_with: dict[str, Any] | None = None
        self._trained_on: np.ndarray | None = None

    def set_params(self, **kwargs: Any) -> None:
        """
        Check, then take over parameters; nothing is changed if one of them is wrong.

        :raises InvalidInputError: For an unknown name or a value out of range.
        """
        autoencoder = kwargs.get("autoencoder", self.autoencoder)
        if autoencoder is not None and not isinstance(autoencoder, dict):  # it brings its own settings
            kwargs = {name: value for name, value in kwargs.items() if name not in OF_THE_AUTOENCODER}
        super().set_params(**renamed(kwargs, OLD_NAMES, self.tunables()))

    def _detect(self, labels: np.ndarray, nb_classes: int) -> dict[str, Any]:
        encoder, x = self._encoder()
        views = describe(encoder, x, self.memory)
        self.latents_ = views.latents
        settings = ScoringSettings(**{name: getattr(self, name) for name in SCORING}, **(self.scoring_params or {}))
        searched = search_sounds(encoder, x, views, labels, nb_classes, settings, self.random_state)
        searched |= search_patches(encoder, x, labels, nb_classes, settings, self.random_state)
        n_verdicts = 1 + len(searched)
        settings = replace(settings, false_alarm_rate=settings.false_alarm_rate / n_verdicts)
        result = cluster_latent_classes(
            self.latents_, labels, nb_classes, windows=views.windows, random_state=self.random_state, settings=settings
        )
        evidence = np.nan_to_num(result.class_index, nan=0.0).clip(min=0)
        if searched:
            result = united(result, searched, labels, n_verdicts, split_stays="patch" in searched)
            evidence = np.maximum(evidence, evidence_of(searched, nb_classes))
        self.class_scores_, self.class_index_ = result.class_scores, result.class_index
        self.class_p_values_ = result.class_p_values
        self.poisoned_classes_ = result.poisoned_classes
        self.suspects_ = result.suspects
        self.outlier_scores_ = result.soft_labels * evidence[labels]
        self.is_clean_ = 1 - (result.suspects & np.isin(labels, result.poisoned_classes)).astype(int)
        self.report_ = self._report(labels, nb_classes, result, searched)
        for warning in self.report_["warnings"]:
            logger.warning(warning)
        return self.report_

    def save(self, filename: str | Path, path: str | Path | None = None) -> None:
        """
        Write the parameters and the fitted autoencoder as one safetensors file, atomically.

        :param filename: Name of the file, or its whole path.
        :param path: The folder, as ART has it; ``None``: ``filename`` says where.
        :raises NotFittedError: Before :meth:`detect_poison`.
        """
        if not hasattr(self, "autoencoder_"):
            raise NotFittedError("There is no fitted autoencoder to save; call detect_poison() first.")
        parameters = {
            name: getattr(self, name) for name in self.defence_params if name not in ("autoencoder", "checkpoint")
        }
        if is_shipped(self.autoencoder):  # its name, since the data of another rate have to be resampled again
            parameters["autoencoder"] = self.autoencoder
        settings = {"parameters": parameters, "autoencoder": self.autoencoder_.state_settings()}
        save_arrays(target_file(filename, path), FILE_KIND, self.autoencoder_.state_arrays(), settings)

    @classmethod
    def load(
        cls, path: str | Path, classifier: CLASSIFIER_TYPE | None, x_train: np.ndarray, y_train: np.ndarray
    ) -> VAELatentDefence:
        """
        A defence with saved parameters and autoencoder, ready to judge ``x_train`` without training.

        :raises FileFormatError: If the file is damaged, of another kind or version.
        """
        arrays, settings = load_arrays(path, FILE_KIND)
        with reading(f"The parameters in {path} are not those"):
            check_settings(settings, {"parameters": SettingRule(dict), "autoencoder": SettingRule(dict)})
            autoencoder = Autoencoder.from_state(arrays, settings["autoencoder"])
            defence = cls(classifier, x_train, y_train)
            named = settings["parameters"].get("autoencoder")
            if named is not None:
                _check_same(named, arrays)
            if settings["parameters"].get("checkpoint") is not None:
                raise InvalidInputError("a file does not say where to write a checkpoint")
            with warnings.catch_warnings():  # the file of an earlier release has old names, all of them
                warnings.simplefilter("ignore", FutureWarning)
                defence.set_params(**{"autoencoder": autoencoder, **settings["parameters"]})
        return defence

    def _check_data(self) -> None:
        super()._check_data()
        if self.is_to_train():
            self._settings()
        elif is_shipped(self.autoencoder):
            check_speech(self.x_train.shape, self.kind, self.sample_rate_hz)

    def _check(self, values: dict[str, Any]) -> None:
        """The whole set of parameters, without touching the data."""
        check_settings_dict("scoring_params", values["scoring_params"], OF_THE_SCORING)
        ScoringSettings(**{name: values[name] for name in SCORING}, **(values["scoring_params"] or {}))
        check_choice("kind", values["kind"], ("auto", *KINDS))
        kind = "waveform" if values["kind"] == "auto" else values["kind"]
        architecture = {"kind": kind, **{name: values[name] for name in OF_THE_DATA[1:]}}
        autoencoder, patience = values["autoencoder"], SETTLED
        if autoencoder is None or isinstance(autoencoder, dict):
            check_settings_dict("autoencoder", autoencoder, OF_THE_AUTOENCODER)
            architecture |= autoencoder or {}
            patience = architecture.pop("patience", SETTLED)
        elif not isinstance(autoencoder, (Autoencoder, str, Path)):
            raise InvalidInputError(
                "autoencoder must be an Autoencoder, a dict of its settings, the path of a saved one or "
                f"{' or '.join(map(repr, SHIPPED))}; received {type(autoencoder).__name__}."
            )
        AutoencoderSettings(**architecture)
        check_training(**{name: values[name] for name in (*TRAINING, "random_state")}, patience=patience)
        check_choice("precision", values["precision"], PRECISIONS)
        check_flag("verbose", values["verbose"])
        if values["checkpoint"] is not None and not isinstance(values["checkpoint"], (str, Path)):
            raise InvalidInputError(
                f"checkpoint must be None or the path of a file; received {shown(values['checkpoint'])}."
            )

    def training_settings(self) -> dict[str, Any]:
        """All that the trained autoencoder depends on besides ``x_train``, JSON-safe."""
        training = {name: getattr(self, name) for name in (*TRAINING, "random_state")}
        training["patience"] = (self.autoencoder if isinstance(self.autoencoder, dict) else {}).get("patience", SETTLED)
        return {"settings": asdict(self._settings()), "precision": self.precision, "training": training}

    def is_to_train(self) -> bool:
        """Whether ``autoencoder`` says what to train, instead of being fitted."""
        given = self.autoencoder
        return given is None or isinstance(given, dict) or (isinstance(given, Autoencoder) and not given.is_fitted)

    def _settings(self) -> AutoencoderSettings:
        """What to train."""
        if isinstance(self.autoencoder, Autoencoder):
            return self.autoencoder.settings
        architecture = {name: getattr(self, name) for name in OF_THE_DATA}
        if architecture["kind"] == "auto":
            architecture["kind"] = infer_kind(self.x_train.shape)
        if architecture["kind"] == "image" and architecture["channels_first"] is None:
            architecture["channels_first"] = getattr(self.classifier, "channels_first", None)
        architecture |= {name: value for name, value in (self.autoencoder or {}).items() if name != "patience"}
        return AutoencoderSettings(**architecture)

    def _encoder(self) -> tuple[Autoencoder, np.ndarray]:
        """The autoencoder handed in or named, the one trained before with the same settings, or a new one; its samples."""
        given = self.autoencoder
        if not self.is_to_train():
            x, self._trained_with = self.x_train, None
            self.autoencoder_ = given if isinstance(given, Autoencoder) else load_autoencoder(given)
            if self.autoencoder_.settings.kind == "waveform":
                x = as_waveforms(x, "x_train")
            if is_shipped(given):
                x = resample_clips(x, self.sample_rate_hz, self.autoencoder_.settings.sample_rate_hz)
                self.autoencoder_ = self.autoencoder_.for_shape(x.shape[1:])
            return self.autoencoder_, x
        wanted = self.training_settings()
        x = as_waveforms(self.x_train, "x_train") if wanted["settings"]["kind"] == "waveform" else self.x_train
        if self._trained_on is not self.x_train or wanted != self._trained_with:
            self.autoencoder_ = Autoencoder(AutoencoderSettings(**wanted["settings"])).fit(
                x,
                checkpoint=self.checkpoint,
                fabric=make_fabric(self.precision),
                verbose=self.verbose,
                **wanted["training"],
            )
            self._trained_with, self._trained_on = wanted, self.x_train
        return self.autoencoder_, x

    def _report(
        self, labels: np.ndarray, nb_classes: int, result: LatentClasses, searched: dict[str, SharedSounds]
    ) -> dict[str, Any]:
        encoder = self.autoencoder_
        notices = [encoder.not_settled]
        if self.kind == "auto" and encoder.settings.kind in DOUBTS:
            notices.append(DOUBTS[encoder.settings.kind](self.x_train))
        return {
            "kind": encoder.settings.kind,
            "autoencoder": {"nb_epochs": len(encoder.history_), "settled": encoder.has_settled},
            **latent_report(result, searched, labels, nb_classes, [notice for notice in notices if notice]),
            "parameters": {name: json_value(getattr(self, name)) for name in self.defence_params},
        }


def _check_same(named: Any, arrays: dict[str, np.ndarray]) -> None:
    """Check that a file's named autoencoder is the one that this release ships under that name, and no path."""
    if not is_shipped(named):
        raise InvalidInputError(f"the autoencoder is called {shown(named)}")
    weights = load_autoencoder(named).state_arrays()
    if any(not np.array_equal(weights[name], arrays[name]) for name in weights):
        raise InvalidInputError(f"its autoencoder {named!r} is another one; judge the data anew")
