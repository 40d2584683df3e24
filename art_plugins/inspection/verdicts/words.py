"""What the layers say, in sentences."""

from __future__ import annotations

import re
from typing import NamedTuple

from art_plugins.inspection.isolation.judge import FittedLayers
from art_plugins.inspection.verdicts.by_layers import LayerVerdict
from art_plugins.inspection.verdicts.images import ImageVerdicts
from art_plugins.statistics.layer_scores import CONTRADICTING

ONLY_SMALL = (
    "Only small patterns were searched for. A trigger that distorts the image or differs from image to image leaves none."
)
NO_SEARCH = (
    "No pattern was searched for, since the search is made for images; the layers alone judge a classifier of sounds."
)
OF_A_SCRIPT = re.compile(r"(.*\.)?heads\.\d+")  # where a ScriptedNetwork shows hidden vectors, and no activation function


class Noun(NamedTuple):
    """What the samples are called: ``one`` of them, and ``many``."""

    one: str
    many: str


IMAGE, CLIP = Noun("image", "images"), Noun("clip", "clips")
NOUNS = {"image": IMAGE, "sound": CLIP}  # by the kind of file


def layer_rule(noun: Noun = IMAGE) -> str:
    """What the layer-wise detector does, which the page explains once."""
    others = "Clips of another kind stand out as well."
    if noun == IMAGE:
        others = "Images that are merely turned, noisy or darker stand out as well, but the model is less sure of them."
    return (
        f"The layer-wise detector needs no pattern. It learned from the clean {noun.many} how each class looks at every "
        f"layer of the model. {_article(noun)} {noun.one} stands out if it does not look like the class that the model "
        "gives it. It contradicts itself if it looks like another class at the layers although the model is sure of its "
        f"class. A trigger brings this about. {others}"
    )


# How the source class of an image is told that only the layers catch.
SOURCE_RULE = (
    "Where only the layers catch it, the inferred class is the one that it is nearest to at the first half of the layers, "
    "if this class is likelier than all others together. Its probability was learned from clean {many}. A trigger that "
    "changes the early layers too, such as a warp, makes it too high."
)


def unknown_kind(verdict: LayerVerdict, n_caught: int, noun: Noun = IMAGE) -> str:
    """The finding for a model whose backdoor shows in the images alone."""
    why = (
        f"No small pattern was found, but {verdict.n_contradicting:,}" if noun == IMAGE else f"{verdict.n_contradicting:,}"
    )
    return (
        f"The model has a backdoor of unknown kind. {why} of the {verdict.n_judged:,} {noun.many} contradict themselves: "
        "at the layers they look like another class than the one that the model is sure of. "
        f"A share of {CONTRADICTING:g} of clean {noun.many} does so (p = {verdict.p_contradicting:.2g}). "
        f"{carry_the_trigger(n_caught, verdict.n_judged, noun)}"
    )


def carry_the_trigger(n_caught: int, n_judged: int, noun: Noun = IMAGE) -> str:
    """How many images are caught."""
    return f"{n_caught or 'None'} of the {n_judged} {noun.many} {'carries' if n_caught == 1 else 'carry'} the trigger."


def without_backdoor(layers: FittedLayers | None, images: ImageVerdicts | None, noun: Noun = IMAGE) -> str:
    """What follows the answer that no pattern was found, where the images do not show a backdoor either."""
    if layers is not None and layers.problem is not None:
        why = f"The layer-wise detector, which finds such triggers, could not be fitted. {layers.problem}"
        return f"No {noun.one} was judged. {ONLY_SMALL if noun == IMAGE else NO_SEARCH} {why}"
    if images is None or images.layers is None:
        if noun != IMAGE:
            return f"No {noun.one} was judged: none of the files can be read."
        return (
            f"No image was judged. {ONLY_SMALL} Give images that came to the model, which are then judged by their layers."
        )
    found = images.layers
    if found.is_different:
        return different_images(found, noun)
    return (
        f"{found.n_standing_out or 'None'} of the {found.n_judged} {noun.many} {_stand(found.n_standing_out)} out at the "
        f"layers of the model, no more than of clean {noun.many}."
    )


def different_images(found: LayerVerdict, noun: Noun = IMAGE) -> str:
    """What it means that many images stand out of which few contradict themselves."""
    return (
        f"The {noun.many} are different from the trusted ones: {found.n_standing_out:,} of the {found.n_judged:,} stand "
        f"out at the layers of the model, but only {found.n_contradicting:,} contradict themselves, so this is no sign of "
        f"a backdoor. Give clean {noun.many} of the same origin as the {noun.many} to judge."
    )


def layer_notes(layers: FittedLayers, images: ImageVerdicts | None, has_pattern: bool, noun: Noun = IMAGE) -> list[str]:
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
            f"They catch far fewer {noun.many} than those of the same model from its weights, with --factory."
        )
    found = images.layers
    if found.is_different and (has_pattern or found.has_backdoor):
        notes.append(
            f"Most {noun.many} that stand out are different from the trusted ones: {found.n_standing_out:,} of the "
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


def _article(noun: Noun) -> str:
    return "An" if noun.one[0] in "aeiou" else "A"


def _stand(count: int) -> str:
    return "stands" if count == 1 else "stand"
