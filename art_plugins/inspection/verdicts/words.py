"""What the layers say, in sentences."""

from __future__ import annotations

import re

from art_plugins.inspection.isolation.judge import FittedLayers
from art_plugins.inspection.verdicts.by_layers import LayerVerdict
from art_plugins.inspection.verdicts.images import ImageVerdicts
from art_plugins.statistics.layer_scores import CONTRADICTING

ONLY_SMALL = (
    "Only small patterns were searched for. A trigger that distorts the image or differs from image to image leaves none."
)
OF_A_SCRIPT = re.compile(r"(.*\.)?heads\.\d+")  # where a ScriptedNetwork shows hidden vectors, and no activation function
# What the page explains once.
LAYER_RULE = (
    "The layer-wise detector needs no pattern. It learned from the clean images how each class looks at every layer of the "
    "model. An image stands out if it does not look like the class that the model gives it. It contradicts itself if it "
    "looks like another class at the layers although the model is sure of its class. A trigger brings this about. Images "
    "that are merely turned, noisy or darker stand out as well, but the model is less sure of them."
)


def unknown_kind(verdict: LayerVerdict, n_caught: int) -> str:
    """The finding for a model whose backdoor shows in the images alone."""
    return (
        f"The model has a backdoor of unknown kind. No small pattern was found, but {verdict.n_contradicting:,} of the "
        f"{verdict.n_judged:,} images contradict themselves: at the layers they look like another class than the one that "
        f"the model is sure of. Of clean images, a share of {CONTRADICTING:g} does so (p = {verdict.p_contradicting:.2g}). "
        f"{carry_the_trigger(n_caught, verdict.n_judged)}"
    )


def carry_the_trigger(n_caught: int, n_judged: int) -> str:
    """How many images are caught."""
    return f"{n_caught or 'None'} of the {n_judged} images {'carries' if n_caught == 1 else 'carry'} the trigger."


def without_backdoor(layers: FittedLayers | None, images: ImageVerdicts | None) -> str:
    """What follows the answer that no pattern was found, where the images do not show a backdoor either."""
    if layers is not None and layers.problem is not None:
        why = f"The layer-wise detector, which finds such triggers, could not be fitted. {layers.problem}"
        return f"No image was judged. {ONLY_SMALL} {why}"
    if images is None or images.layers is None:
        return (
            f"No image was judged. {ONLY_SMALL} Give images that came to the model, which are then judged by their layers."
        )
    found = images.layers
    if found.is_different:
        return different_images(found)
    return (
        f"{found.n_standing_out or 'None'} of the {found.n_judged} images {_stand(found.n_standing_out)} out at the layers "
        "of the model, no more than of clean images."
    )


def different_images(found: LayerVerdict) -> str:
    """What it means that many images stand out of which few contradict themselves."""
    return (
        f"The images are different from the trusted ones: {found.n_standing_out:,} of the {found.n_judged:,} stand out at "
        f"the layers of the model, but only {found.n_contradicting:,} contradict themselves, so this is no sign of a "
        "backdoor. Give clean images of the same origin as the images to judge."
    )


def layer_notes(layers: FittedLayers, images: ImageVerdicts | None, has_pattern: bool) -> list[str]:
    """
    What a reader must know about the layers beside the finding.

    :param has_pattern: Whether a small pattern was found, so that the finding tells nothing of the layers.
    """
    notes = []
    if has_pattern and layers.problem is not None:
        notes.append(
            f"The layer-wise detector could not be fitted, so images are judged by the pattern alone. {layers.problem}"
        )
    if images is None or images.layers is None:
        return notes
    if any(OF_A_SCRIPT.fullmatch(name) for name in layers.layers):
        notes.append(
            "This TorchScript file has no activation function that is known, so only its last layers can be looked at. "
            "They catch far fewer images than those of the same model from its weights, with --factory."
        )
    found = images.layers
    if found.is_different and (has_pattern or found.has_backdoor):
        notes.append(
            f"Most images that stand out are different from the trusted ones: {found.n_standing_out:,} of the "
            f"{found.n_judged:,} stand out at the layers of the model, but only {found.n_contradicting:,} contradict "
            "themselves. Only the latter are caught by the layers."
        )
    if has_pattern:
        counts = images.counts()
        both = counts["caught_by_pattern"] + counts["caught_by_layers"] - counts["caught"]
        notes.append(
            f"Of the caught images, {counts['caught_by_pattern']:,} are caught by the pattern and "
            f"{counts['caught_by_layers']:,} by the layers, {both:,} of them by both."
        )
    return notes


def _stand(count: int) -> str:
    return "stands" if count == 1 else "stand"
