"""A detection in sentences: the finding, and what a reader must know before trusting it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.optimize import linear_sum_assignment

from art_plugins.defences.in_flight_fit import FEW_SAMPLES, WEAK_PATTERN
from art_plugins.errors import InvalidInputError
from art_plugins.files.image_files import ImageReader
from art_plugins.reports.trigger_figures import norm_text
from art_plugins.triggers.found import Inversion

FEW_CLASSES = 5
# What the numbers of a detection are; nowhere else are they explained.
INDEX_RULE = (
    "The index of a class is the sum of its indices by each kind of pattern, divided by the square root of the number of "
    "kinds; a kind of which no pattern works for the class adds nothing. The class of the highest index is called a "
    "backdoor's target if that index is above the threshold."
)
PATTERN_INDEX = (
    "The index of a pattern: how far the logarithm of its size, in relation to how far the images of other classes lie "
    "from the class, lies below the median of all classes, in robust standard deviations."
)
SUCCESS = "Success: the share of the clean images of the other classes that the pattern sends to the class."
LOW_ACCURACY = 0.5  # on the clean images; below it the classes or the normalisation are probably wrong


def finding(inversion: Inversion, names: Sequence[str], threshold: float, caught: tuple[int, int] | None) -> str:
    """
    What came out.

    :param names: Of the classes.
    :param caught: Number of images that are caught, and of all that were judged; ``None``: no backdoor was found.
    """
    index = inversion.anomaly_index
    if not np.isfinite(index).any():
        return "The model could not be judged: no class has a pattern that works; give more steps. No image was judged."
    if inversion.target_class is None or caught is None:
        return (
            f"No backdoor found: no class stands out. The highest index is {np.nanmax(index):.2f}, that of "
            f"{names[int(np.nanargmax(index))]}, and the threshold is {threshold:g}. No image was judged."
        )
    target = inversion.target_class
    source = inversion.source_class
    patterns = inversion.inverted if source is None else inversion.by_source
    one = next(one for one in patterns if one.kind == inversion.kind)
    what = "a patch" if one.kind == "patch" else "an additive pattern"
    norm, images = one.norms[target if source is None else source], "other classes" if source is None else names[source]
    n_caught, n_judged = caught
    return (
        f"The model has a backdoor towards {names[target]}: {what} of {norm_text(one.kind, norm)} sends "
        f"{inversion.success_rate:.3f} of the clean images of {images} there (index {index[target]:.2f}, threshold "
        f"{threshold:g}). {n_caught or 'None'} of the {n_judged} images {'carries' if n_caught == 1 else 'carry'} the "
        "trigger."
    )


def score_rule(margin: float, target: str) -> str:
    """
    What the score of an image is, and from which on it is caught.

    :param margin: In nats.
    """
    return (
        f"The score of an image is how much better its features are explained by another class with the trigger on it than "
        f"by clean {target}: the difference of the two log-likelihoods in nats. Caught are the images of which the model "
        f"says {target} and whose score is above the margin, {margin:.2f}, which clean images with the trigger on them set."
    )


def input_note(reader: ImageReader, channels_first: bool, names: Sequence[str]) -> str:
    """How the images are given to the model, and how its outputs are understood."""
    colours, order = "grey" if reader.is_grey else "coloured", "first" if channels_first else "last"
    return (
        f"The model takes {colours} images of {reader.size[0]} x {reader.size[1]} pixels, channels {order}. Its outputs "
        f"are taken to be, in this order: {', '.join(names)}."
    )


def clean_cautions(predicted: np.ndarray, y_clean: np.ndarray, names: Sequence[str]) -> list[str]:
    """
    What the model does to the clean images, and how many there are.

    :param predicted: The model's classes, (n,).
    :param y_clean: Those of the images' folders, (n,).
    :raises InvalidInputError: If the model is right on few of the images, and on most with the folders in another order.
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
                f"The classes are not in the order of the model's outputs: it puts {accuracy:.3f} of the clean images into "
                f"the class of their folder, and {reached:.3f} with --classes {','.join(names[label] for label in folders)}"
            )
        cautions.append(
            f"The model puts only {accuracy:.3f} of the clean images into the class of their folder, so nothing here can "
            "be relied on: the normalisation (--mean, --std), --size or the clean images are probably wrong."
        )
    fewest = int(np.bincount(y_clean, minlength=len(names)).min())
    if fewest < FEW_SAMPLES:
        cautions.append(
            f"Some class has only {fewest} clean images; with fewer than {FEW_SAMPLES} more images without a trigger are "
            "caught."
        )
    if len(names) < FEW_CLASSES:
        cautions.append(f"With {len(names)} classes there is little to stand out from: do not rely on the finding.")
    return cautions


def detector_cautions(success_rate: float, inversion: Inversion, threshold: float, names: Sequence[str]) -> list[str]:
    """
    :param success_rate: Share of the clean images that the estimated pattern sends to the target class, of the other class
        from which it sends most.
    """
    cautions = []
    index = np.nan_to_num(inversion.anomaly_index, nan=-np.inf)
    others = [names[int(label)] for label in np.flatnonzero(index > threshold) if label != inversion.target_class]
    if others:
        cautions.append(
            f"{', '.join(others)} {'is' if len(others) == 1 else 'are'} above the threshold as well; images are judged for "
            "the class of the highest index only."
        )
    if success_rate < WEAK_PATTERN:
        cautions.append(
            f"The estimated pattern sends at most {success_rate:.3f} of a class's clean images to the target class, so the "
            "judgement of the images rests on a weak estimate; --nb-steps may improve it."
        )
    return cautions
