"""The page of a detection: the patterns towards all classes, and the images that are caught and that are not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from art_plugins.errors import InvalidInputError
from art_plugins.files.image_files import ImageReader, png_bytes
from art_plugins.files.sound_files import SoundReader, wav_bytes
from art_plugins.inspection.detect_inputs import Inputs
from art_plugins.inspection.detect_record import SCREENED, Outcome
from art_plugins.inspection.detect_words import PATTERN_INDEX, SUCCESS, files_sentences, score_rule
from art_plugins.inspection.judged import Judged
from art_plugins.inspection.verdicts.images import ImageVerdicts
from art_plugins.inspection.verdicts.words import NOUNS, SOURCE_RULE, layer_rule
from art_plugins.reports.drawing import data_uri
from art_plugins.reports.pages import picture, render_page
from art_plugins.reports.trigger_figures import inversion_figure, inversion_words, shown_classes
from art_plugins.triggers.found import INDEX_RULE, Inversion

MAX_SHOWN = 24  # images that are caught, and as many that are not
MAX_HEARD = 8  # the same of sounds, which take more room; the page of a scan has as many of a class
MAX_NAMES = 20  # of files in a list


def detect_page(record: dict[str, Any], outcome: Outcome, inputs: Inputs) -> str:
    """
    The page as HTML; the figure and the thumbnails are inside the file.

    :param record: The record of the detection.
    :param outcome: What was found out.
    :param inputs: What was given.
    """
    inversion, names, judged, images = outcome.inversion, inputs.class_names, outcome.judged, outcome.images
    caught, let_through = [], []
    noun, most = NOUNS[inputs.kind], MAX_SHOWN if inputs.kind == "image" else MAX_HEARD
    if judged is not None and images is not None and inputs.folder is not None:
        cards = _Cards(judged, images, names, inputs.folder, inputs.reader)
        caught = [cards.card(row) for row in judged.by_score(images.is_caught)[:most]]
        let_through = [cards.card(row) for row in judged.by_score(~images.is_caught)[:most]]
    return render_page(
        "detect.html.j2",
        record=record,
        name=Path(record["model"]).name,
        noun=noun,
        figure=None if inversion is None else _figure(inversion, names),
        kinds=[] if inversion is None else [one.kind for one in inversion.inverted],
        classes=[row for row in record["classes"] if row["verdict"] != SCREENED],
        caught=caught,
        let_through=let_through,
        max_names=MAX_NAMES,
        files=files_sentences(record),
        index_rule=INDEX_RULE,
        pattern_index=PATTERN_INDEX,
        success=SUCCESS,
        score_rule=None if record["margin"] is None else score_rule(record["margin"], str(record["target_class"])),
        layer_rule=layer_rule(noun),
        source_rule=SOURCE_RULE.format(many=noun.many),
    )


def _figure(inversion: Inversion, names: Sequence[str]) -> Any:
    """The patterns towards all classes that are shown."""
    n_shown = len(shown_classes(inversion))
    return picture(
        "patterns",
        "The smallest pattern towards each class, the most suspicious class first"
        + (f", {n_shown} of {len(names)}." if len(names) > n_shown else "."),
        inversion_figure(inversion, names),
        inversion_words(inversion, names),
    )


class _Cards:
    """Makes what the page shows of an image; the file is read again, because judging keeps no picture."""

    def __init__(
        self,
        judged: Judged,
        images: ImageVerdicts,
        names: Sequence[str],
        folder: Path,
        reader: ImageReader | SoundReader,
    ) -> None:
        self.judged, self.images, self.names, self.folder, self.reader = judged, images, names, folder, reader

    def card(self, row: int) -> dict[str, Any]:
        judged = self.judged
        try:
            source = self._media(self.folder / judged.files[row])
        except InvalidInputError:  # it has been changed or removed meanwhile
            source = None
        found = self.images.source(judged, row) if self.images.is_caught[row] else None
        return {
            "file": judged.files[row],
            "source": source,
            "predicted": self.names[judged.predicted[row]],
            "is_sound": isinstance(self.reader, SoundReader),
            "inferred": None if found is None else self.names[found[0]],
            "probability": None if found is None else found[1],
            "score": _known(judged.scores[row]),
            "layer_score": None if judged.layers is None else _known(judged.layers.scores[row]),
            "found_by": self.images.found_by(row) if self.images.is_caught[row] else None,
        }

    def _media(self, path: Path) -> str:
        """The picture or the sound as the model gets it, inside the page."""
        sample = self.reader.read(path)[0]
        if isinstance(self.reader, SoundReader):
            return data_uri(wav_bytes(sample, self.reader.sample_rate_hz), "audio/wav")
        return data_uri(png_bytes(sample))


def _known(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
