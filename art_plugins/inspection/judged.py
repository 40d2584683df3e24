"""What a detector says of a folder of images, and how it is asked."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm.auto import tqdm

from art_plugins.errors import InvalidInputError
from art_plugins.files.image_files import ImageReader
from art_plugins.files.sound_files import SoundReader
from art_plugins.files.sources.samples import Samples
from art_plugins.inspection.isolation.images import to_inputs
from art_plugins.inspection.isolation.judge import BATCH_SIZE, Judgement, LayerJudgement


@dataclass(frozen=True)
class Judged:
    """
    The images of a folder with what the detectors said of each.

    ``files`` (n,): those that could be read; ``predicted`` (n,): the model's classes; ``is_trigger`` (n,): whether the
    in-flight detector catches the image; ``source`` (n,): the inferred class of such an image, -1 for the others;
    ``scores`` (n,): its score, higher is more suspicious, NaN where the model does not predict the target class;
    ``skipped_files``: name -> reason; ``mended_files``: what was done -> names; ``layers``: what the layer-wise detector
    said, ``None`` if there is none.
    """

    files: list[str]
    predicted: np.ndarray
    is_trigger: np.ndarray
    source: np.ndarray
    scores: np.ndarray
    skipped_files: dict[str, str]
    mended_files: dict[str, list[str]]
    layers: LayerJudgement | None = None

    def by_score(self, chosen: np.ndarray) -> np.ndarray:
        """
        Rows of the chosen images, the most suspicious first: those that the in-flight detector catches, by its score; then
        the others, by the score of the layers, or by that of the in-flight detector where there is no layer-wise one.

        :param chosen: (n,), bool.
        """
        rows = np.flatnonzero(chosen)
        in_flight = np.nan_to_num(self.scores, nan=-np.inf)
        by_layers = in_flight if self.layers is None else self.layers.scores
        keys = np.where(self.is_trigger, in_flight, by_layers)[rows]
        order: np.ndarray = rows[np.lexsort((-keys, ~self.is_trigger[rows]))]
        return order


def judge_files(
    detect: Callable[[np.ndarray], Judgement],
    channels_first: bool,
    folder: str | Path,
    found: Samples,
    reader: ImageReader | SoundReader,
    verbose: bool = True,
) -> Judged:
    """
    Give every file of a folder to the fitted detectors, one batch at a time.

    Files that cannot be read are left out, with the reason.

    :param detect: Judges a batch of images, (n, ...).
    """
    files: list[str] = []
    reports: list[Judgement] = []
    skipped = dict(found.skipped_files)
    mended: dict[str, list[str]] = {}
    waiting: list[np.ndarray] = []

    def judge() -> None:
        reports.append(detect(to_inputs(np.stack(waiting), channels_first)))
        waiting.clear()

    for file in tqdm(found.files, desc="judging", unit="file", disable=not verbose or None):
        try:
            picture, what = reader.read(Path(folder) / file)
        except InvalidInputError as error:
            skipped[file] = str(error)
            continue
        files.append(file)
        waiting.append(picture)
        for entry in what:
            mended.setdefault(entry, []).append(file)
        if len(waiting) == BATCH_SIZE:
            judge()
    if waiting:
        judge()
    if not reports:
        return Judged([], np.zeros(0, int), np.zeros(0, bool), np.zeros(0, int), np.zeros(0), skipped, mended)
    predicted, is_trigger, source, scores = (np.concatenate(parts) for parts in list(zip(*reports, strict=True))[:4])
    by_layers = [report.layers for report in reports if report.layers is not None]
    layers = LayerJudgement(*map(np.concatenate, zip(*by_layers, strict=True))) if by_layers else None
    return Judged(files, predicted, is_trigger, source, scores, skipped, mended, layers)
