"""A detection in sentences: the finding, and what a reader must know before trusting it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from art_plugins.defences.flight.fit import FEW_SAMPLES, WEAK_PATTERN
from art_plugins.errors import InvalidInputError
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.inspection.isolation.judge import FittedLayers
from art_plugins.inspection.verdicts.images import ImageVerdicts
from art_plugins.inspection.verdicts.words import (
    IMAGE,
    NOUNS,
    Noun,
    carry_the_trigger,
    unknown_kind,
    without_backdoor,
)
from art_plugins.reports.trigger_figures import norm_text
from art_plugins.statistics.outliers import gaps_below
from art_plugins.triggers.found import Inversion, false_alarm_rate, listed

FEW_CLASSES = 5
# What the numbers of a detection are, beside INDEX_RULE; nowhere else are they explained.
PATTERN_INDEX = (
    "The index of a pattern compares its size with how far the images of other classes lie from the class. It says how far "
    "the logarithm of this ratio lies below the median of all classes, in robust standard deviations. If the size by "
    "itself gives a lower index, that one is taken."
)
SUCCESS = "Success is the share of the clean images of the other classes that the pattern sends to the class."
LOW_ACCURACY = 0.5  # on the clean images; below it, the class names or the normalisation are probably wrong


def finding(
    inversion: Inversion | None,
    names: Sequence[str],
    threshold: float,
    images: ImageVerdicts | None,
    layers: FittedLayers | None = None,
    noun: Noun = IMAGE,
) -> str:
    """
    The result in a few sentences.

    :param inversion: ``None``: no pattern was searched for.
    :param names: Class names.
    :param images: The verdicts on the images; ``None``: none was judged.
    :param layers: The layer-wise detector.
    """
    if inversion is None:
        return _by_layers_alone(images, layers, noun)
    index = inversion.anomaly_index
    if inversion.target_class is not None:
        return _backdoor(inversion, names, threshold, images)
    if images is not None and images.layers is not None and images.layers.has_backdoor:
        undecided = f" {undecided_words(inversion, names)}" if inversion.undecided else ""
        return unknown_kind(images.layers, images.counts()["caught"]) + undecided
    known = np.isfinite(index).any()
    rest = without_backdoor(layers, images)
    if known:
        rest = (
            f"The highest index is {np.nanmax(index):.2f}, that of {names[int(np.nanargmax(index))]}, and the threshold is "
            f"{threshold:g}. {_too_near(index, threshold)}{rest}"
        )
    if inversion.undecided:
        return f"The result is not decided. {undecided_words(inversion, names)} {rest}"
    if not known:
        return f"The model could not be judged: no pattern works for any class. Give more steps with --nb-steps. {rest}"
    return f"No backdoor was found: no class stands out. {rest}"


def _too_near(index: np.ndarray, threshold: float) -> str:
    """Why a class above the threshold is not accused, with a space behind; nothing if none is above it."""
    if np.nanmax(index) <= threshold:
        return ""
    return (
        f"It is above the threshold, but it lies only {gaps_below(index)[0]:.2f} above the next class: in clean models "
        "classes differ as much, and a backdoor's target stands apart. Look at the pattern. "
    )


def _by_layers_alone(images: ImageVerdicts | None, layers: FittedLayers | None, noun: Noun) -> str:
    if images is not None and images.layers is not None and images.layers.has_backdoor:
        return unknown_kind(images.layers, images.counts()["caught"], noun)
    judged = "" if images is None or images.layers is None else "No backdoor was found. "
    return judged + without_backdoor(layers, images, noun)


def undecided_words(inversion: Inversion, names: Sequence[str]) -> str:
    """What a search that broke off or did not converge means, for the classes concerned."""
    broke_off, unfinished = (
        listed(names[label] for label in labels if label in inversion.undecided)
        for labels in (inversion.broke_off, inversion.unfinished)
    )
    sentences = []
    if broke_off:
        sentences.append(
            f"The search for a pattern towards {broke_off} broke off, because the model gave values or gradients that are "
            "not finite."
        )
    if unfinished:
        sentences.append(
            f"The search for a pattern towards {unfinished} did not converge: after the last step the pattern was still "
            "shrinking, or none worked yet. Give more steps with --nb-steps."
        )
    return " ".join([*sentences, "A backdoor towards such a class cannot be excluded."])


def threshold_note(threshold: float, nb_classes: int) -> str:
    """What the threshold means for a clean model."""
    rate = false_alarm_rate(threshold, nb_classes)
    return (
        f"Of clean models with {nb_classes:,} classes, at most a share of {rate:.2g} is said to have a backdoor at the "
        f"threshold {threshold:g}, as estimated from 17 clean models of 10 to 92 classes."
    )


def screening_note(inversion: Inversion, nb_classes: int) -> list[str]:
    """Which classes were not searched in full, in a sentence; nothing if all were."""
    if not inversion.screened:
        return []
    return [
        f"Of the {nb_classes:,} classes, {nb_classes - len(inversion.screened)} were searched in full: those for which a "
        "short contest promised the smallest patterns, and some that stand for the others in the comparison. The others "
        "were only screened, and the tables leave them out."
    ]


def _backdoor(inversion: Inversion, names: Sequence[str], threshold: float, images: ImageVerdicts | None) -> str:
    target, source = inversion.target_class, inversion.source_class
    assert target is not None
    patterns = inversion.inverted if source is None else inversion.by_source
    one = next(one for one in patterns if one.kind == inversion.kind)
    what = "a patch" if one.kind == "patch" else "an additive pattern"
    norm, sources = one.norms[target if source is None else source], "other classes" if source is None else names[source]
    judged = (
        "No image was judged." if images is None else carry_the_trigger(int(images.is_caught.sum()), len(images.is_caught))
    )
    return (
        f"The model has a backdoor towards {names[target]}: {what} of {norm_text(one.kind, norm)} sends "
        f"{inversion.success_rate:.3f} of the clean images of {sources} there (index "
        f"{inversion.anomaly_index[target]:.2f}, threshold {threshold:g}). {judged}"
    )


def score_rule(margin: float, target: str) -> str:
    """
    What the score of an image is, and which scores mean that the image is caught.

    :param margin: In nats.
    """
    return (
        f"The score of an image compares two explanations of its features: another class with the trigger on it, and clean "
        f"{target}. It is the difference of the two log-likelihoods in nats. An image is caught if the model predicts "
        f"{target} and the score is above the margin, {margin:.2f}. Clean images with the trigger on them set this margin."
    )


def input_note(reader: ImageReader | SoundReader, channels_first: bool, names: Sequence[str]) -> str:
    """How the samples are given to the model, and how its outputs are understood."""
    if isinstance(reader, SoundReader):
        return (
            f"The model takes waveforms of {reader.n_samples:,} samples at {reader.sample_rate_hz:,} Hz, with values -1 to "
            f"1. Its outputs are assumed to be, in this order: {', '.join(names)}."
        )
    colours, order = "grey" if reader.is_grey else "coloured", "first" if channels_first else "last"
    return (
        f"The model takes {colours} images of {reader.size[0]} x {reader.size[1]} pixels, channels {order}. Its outputs "
        f"are assumed to be, in this order: {', '.join(names)}."
    )


def files_sentences(record: Mapping[str, Any]) -> list[str]:
    """How many files were found, read, mended, skipped and ignored: of the images to judge, and of the clean images."""
    counts, clean, many = record["counts"], record["clean_files"], NOUNS[record["kind_of_file"]].many
    number = f"{counts['found']:,} found, {counts['read'] or 'none'} judged"
    images = f"{many.capitalize()} in {record['folder']}: {number}; {_passed_over(record['judged_files'])}."
    return [
        f"There were no {many} to judge." if record["folder"] is None else images,
        f"Clean {many} in {record['settings']['clean']}: {counts['clean']:,} read; {_passed_over(clean)}.",
    ]


def _passed_over(files: Mapping[str, Any]) -> str:
    mended = {file for which in files["mended_files"].values() for file in which}
    return (
        f"{len(mended):,} mended, {len(files['skipped_files']):,} skipped, {sum(files['ignored_files'].values()):,} other "
        f"files ignored, {len(files['skipped_folders']):,} folders skipped"
    )


def clean_cautions(predicted: np.ndarray, y_clean: np.ndarray, names: Sequence[str], noun: Noun = IMAGE) -> list[str]:
    """
    What a reader must know about the clean images: how well the model does on them, and whether they are many enough.

    :param predicted: The model's classes, (n,).
    :param y_clean: The classes of the images' folders, (n,).
    :raises InvalidInputError: If the model is right on few of the images, but on most if the folders come in another order.
    """
    cautions = []
    accuracy = float((predicted == y_clean).mean())
    if accuracy < LOW_ACCURACY:
        counts = np.zeros((len(names), len(names)), dtype=int)
        np.add.at(counts, (predicted, y_clean), 1)
        outputs, folders = linear_sum_assignment(-counts)
        reached = counts[outputs, folders].sum() / len(y_clean)
        if reached >= LOW_ACCURACY:
            raise InvalidInputError(
                f"The class folders are not in the order of the model's outputs: the model assigns {accuracy:.3f} of the "
                f"clean {noun.many} to the class of their folder, but {reached:.3f} with --classes "
                f"{','.join(names[label] for label in folders)}"
            )
        cautions.append(
            f"The model assigns only {accuracy:.3f} of the clean {noun.many} to the class of their folder, so do not rely "
            f"on any result here. {_probably_wrong(noun)}"
        )
    fewest = int(np.bincount(y_clean, minlength=len(names)).min())
    if fewest < FEW_SAMPLES:
        cautions.append(
            f"At least one class has only {fewest} clean {noun.many}. With fewer than {FEW_SAMPLES}, more {noun.many} "
            "without a trigger are caught by mistake."
        )
    if len(names) < FEW_CLASSES:
        cautions.append(f"With only {len(names)} classes there is little to compare with, so do not rely on the finding.")
    return cautions


def _probably_wrong(noun: Noun) -> str:
    if noun == IMAGE:
        return "The normalisation (--mean, --std), the image size (--size) or the clean images are probably wrong."
    return "The length of the clips (--seconds), their sample rate or the clean clips are probably wrong."


def detector_cautions(success_rate: float, inversion: Inversion, threshold: float, names: Sequence[str]) -> list[str]:
    """
    What a reader must know about the backdoor that was found.

    :param success_rate: For each other class, the share of its clean images that the estimated pattern sends to the target;
        this is the largest of these shares.
    """
    cautions = [] if not inversion.undecided else [undecided_words(inversion, names)]
    index = np.nan_to_num(inversion.anomaly_index, nan=-np.inf)
    others = [names[int(label)] for label in np.flatnonzero(index > threshold) if label != inversion.target_class]
    if others:
        cautions.append(
            f"The index of {', '.join(others)} is also above the threshold. Images are judged only for the class of the "
            "highest index."
        )
    if success_rate < WEAK_PATTERN:
        cautions.append(
            f"The estimated trigger sends at most {success_rate:.3f} of the clean images of any class to the target class, "
            "so it is a weak estimate, and the judgement of the images is less reliable. More steps (--nb-steps) may "
            "improve it."
        )
    return cautions
