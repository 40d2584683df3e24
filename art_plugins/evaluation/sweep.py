"""
Hundreds of attacks on one data set, judged with one autoencoder (Mehlman et al. 2023, 4.4: Fig. 4, 6 and 7).

Every clip is encoded once as it is and once with each trigger; an attacked data set is then a choice of rows.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from sklearn.metrics import adjusted_rand_score
from tqdm.auto import tqdm

from art_plugins.attacks.datasets.labelled import LabelledData
from art_plugins.errors import FileFormatError, InvalidInputError
from art_plugins.evaluation.metrics import rank_of
from art_plugins.evaluation.running.environment import versions
from art_plugins.evaluation.running.parallel import check_backend, parallel_map
from art_plugins.evaluation.running.runs import recorded_runs, run_name
from art_plugins.features.autoencoder import Autoencoder
from art_plugins.features.views import SETTINGS as VIEW_SETTINGS
from art_plugins.features.views import Views, describe_alike
from art_plugins.statistics.class_verdicts import judge_scores
from art_plugins.statistics.contrast import contrast_classes
from art_plugins.statistics.crowds import find_crowds, split_crowd
from art_plugins.statistics.latent_classes import cluster_latent_classes
from art_plugins.statistics.scoring_settings import ScoringSettings
from art_plugins.statistics.scorings import split_contrasted
from art_plugins.storage import load_arrays, save_arrays
from art_plugins.triggers.sounds import AudioTrigger, WanderingTrigger, armory_sound, noise_burst, tone

FILE_KIND = "sweep_views"
RESAMPLED = 0.9  # of every class, drawn without replacement for a clean set
# Which windows a scoring sees; None: none, but the latents of whole samples.
WINDOWS = {"contrastive": "all", "steps": "steps", "frames": "frames", "latents": None, "paper": None}
FRACTIONS = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3)


class EncodedData(NamedTuple):
    """``labels`` (n,); ``class_names``; ``clean``: views of every clip; ``triggered``: trigger -> the same with it."""

    labels: np.ndarray
    class_names: tuple[str, ...]
    clean: Views
    triggered: dict[str, Views]


def sweep_triggers() -> dict[str, Callable[[], Callable[[np.ndarray], np.ndarray]]]:
    """Armory's four sounds at its scales; a tone of a tenth of a second anywhere; a burst of 30 ms at a low level."""
    sounds = ("clapping", "whistle", "car_horn", "dog_clicker")
    return {
        **{name: partial(armory_sound, name) for name in sounds},
        "tone": lambda: WanderingTrigger(tone(), scale=0.1),
        "burst": lambda: AudioTrigger(noise_burst(start_s=0.25, length_s=0.03), scale=0.05),
    }


def check_sweep(class_names: Sequence[str], triggers: Sequence[str], curve: Sequence[tuple[str, str]]) -> None:
    """
    :raises InvalidInputError: For a trigger or a class that there is not.
    """
    unknown = [name for name in triggers if name not in sweep_triggers()]
    if unknown:
        raise InvalidInputError(f"trigger must be one of {', '.join(sweep_triggers())}; received {unknown[0]!r}.")
    for source, target in curve:
        for name in (source, target):
            if name not in class_names or source == target:
                raise InvalidInputError(
                    f"A curve goes from one class to another of {', '.join(class_names)}; received {source}:{target}."
                )


def encode_all(
    data: LabelledData, autoencoder: Autoencoder, triggers: Sequence[str], cache: Path, verbose: bool = True
) -> EncodedData:
    """Views of all training clips, clean and triggered; read from ``cache`` where they are there."""
    made = sweep_triggers()
    digest = hashlib.sha256(json.dumps([autoencoder.state_settings(), versions(), VIEW_SETTINGS]).encode())
    for array in (*autoencoder.state_arrays().values(), data.x_train[::64], data.y_train):
        digest.update(np.ascontiguousarray(array).tobytes())
    files = {name: cache / f"{name}-{digest.hexdigest()[:16]}.safetensors" for name in ("clean", *triggers)}
    if not all(map(_is_whole, files.values())):

        def versions_of_all() -> Iterator[np.ndarray]:
            for name in tqdm(files, desc="encoding", disable=not verbose or None):
                yield data.x_train if name == "clean" else made[name]()(data.x_train)

        for file, views in zip(files.values(), describe_alike(autoencoder, versions_of_all()), strict=True):
            arrays = {f"window_{i:03d}": window for i, window in enumerate(views.windows)}
            save_arrays(file, FILE_KIND, {"latents": views.latents, **arrays}, {"n_steps": len(views.steps)})
    read = {name: _read(file) for name, file in files.items()}
    return EncodedData(data.y_train, data.class_names, read.pop("clean"), read)


def judge(
    views: Views, labels: np.ndarray, nb_classes: int, known: Mapping[str, Any] | None = None, changed: Sequence[int] = ()
) -> dict[str, Any]:
    """
    Class scores by every scoring.

    :param known: What this gave for data that differ in the classes ``changed`` only: of the others it is taken over, but
        for the latents of whole samples, where that takes no time.
    :return: ``crowds``; ``contrasts`` of the latents of whole samples; for each scoring its ``class_scores`` (K,); and the
        paper's ``suspects`` (n,).
    """
    crowds = find_crowds(views.windows, labels, nb_classes, known=known["crowds"] if known else None, changed=changed)
    found: dict[str, Any] = {"crowds": crowds}
    for name, windows in WINDOWS.items():
        if windows is not None:
            found[name] = crowds.of_views(_chosen(views, windows)).class_scores
    found["contrasts"] = contrast_classes(views.latents, labels, nb_classes)
    found["latents"] = np.array([np.nan if one is None else one.score() for one in found["contrasts"]])
    paper, only = ScoringSettings(scoring="paper"), changed if known else None
    judged = cluster_latent_classes(views.latents, labels, nb_classes, settings=paper, only=only)
    scores = judged.class_scores
    found["paper"] = scores if known is None else np.where(np.isnan(scores), known["paper"], scores)
    found["suspects"] = judged.suspects
    return found


def judge_attack(
    data: EncodedData, clean: Mapping[str, Any], trigger: str, source: int, target: int, fraction: float, seed: int
) -> dict[str, Any]:
    """
    Poison ``int(fraction * n_source)`` clips of the source, drawn without replacement, and judge the set.

    Only the source and the target are judged anew: the samples of the other classes are the same, and their scores are
    those of the clean set. The target is split and called as the defence does by default.

    :return: What was done, and for each scoring the target's ``score`` (NaN: too few samples to judge), its ``rank`` among
        the classes, ``found`` (called poisoned), the ``p_value``, and the ``ari`` of its halves.
    """
    of_source = np.flatnonzero(data.labels == source)
    random = np.random.default_rng([seed, source, target])
    chosen = random.choice(of_source, size=max(1, int(fraction * len(of_source))), replace=False)
    labels = data.labels.copy()
    labels[chosen] = target
    views = _with_rows(data.clean, data.triggered[trigger], chosen)
    found = judge(views, labels, len(data.class_names), clean, (source, target))
    is_poison = np.isin(np.flatnonzero(labels == target), chosen)
    row = {
        "trigger": trigger,
        "source": data.class_names[source],
        "target": data.class_names[target],
        "fraction": fraction,
        "seed": seed,
        "n_poison": len(chosen),
        "n_target": len(is_poison),
    }
    for name, windows in WINDOWS.items():
        scores = found[name]
        contrast = found["contrasts"][target]
        if name == "paper":
            halves = found["suspects"][labels == target]
        elif windows is None:
            halves = np.zeros(len(is_poison)) if contrast is None else split_contrasted(contrast).labels
        else:
            halves = split_crowd(found["crowds"].of_views(_chosen(views, windows)), labels, target).labels
        verdicts = judge_scores(scores, _scoring(name))
        row[name] = {
            "score": float(scores[target]),
            "rank": rank_of(scores, target),
            "found": target in verdicts.poisoned_classes,
            "p_value": None if name == "paper" else float(verdicts.class_p_values[target]),
            "ari": float(adjusted_rand_score(is_poison, halves)),
        }
    return row


def judge_clean(data: EncodedData, seed: int) -> dict[str, Any]:
    """Judge a draw of nine tenths of every class: for each scoring its ``scores`` (NaN: not judged), and ``n_called``."""
    random = np.random.default_rng(seed)
    kept = np.sort(
        np.concatenate(
            [
                random.choice(rows, size=round(RESAMPLED * len(rows)), replace=False)
                for rows in (np.flatnonzero(data.labels == label) for label in range(len(data.class_names)))
            ]
        )
    )
    views = _each(data.clean, lambda array: array[kept])
    found = judge(views, data.labels[kept], len(data.class_names))
    row: dict[str, Any] = {"seed": seed}
    for name in WINDOWS:
        called = judge_scores(found[name], _scoring(name)).poisoned_classes
        row[name] = {"scores": found[name].tolist(), "n_called": len(called)}
    return row


def judge_set(shared: tuple[EncodedData, Mapping[str, Any]], task: tuple[str, tuple[Any, ...]]) -> dict[str, Any]:
    """
    One run of the record, by whichever worker.

    :param shared: The data, and what :func:`judge` gave for them as they are (empty: not needed).
    :param task: ``"clean"`` and the arguments of :func:`judge_clean`; ``"attacks"`` or ``"curve"``: :func:`judge_attack`.
    """
    kind, arguments = task
    data, clean = shared
    row = judge_clean(data, *arguments) if kind == "clean" else judge_attack(data, clean, *arguments)
    return {"kind": kind, "rows": [row]}


def run_sweep(
    data: LabelledData,
    autoencoder: Autoencoder,
    triggers: Sequence[str],
    n_clean: int,
    curve: Sequence[tuple[str, str]],
    out: Path,
    command: str,
    report: Callable[[Mapping[str, Any]], str],
    seed: int = 0,
    n_pairs: int | None = None,
    verbose: bool = True,
    backend: str = "local",
    address: str | None = None,
    jobs: int | None = None,
) -> dict[str, Any]:
    """
    Judge every pair of source and target with every trigger at a tenth of the source class, clean draws, and curves.

    Every set that is judged is recorded as soon as it is; an interrupted call goes on where it stopped, with any backend.

    :param n_clean: Clean draws.
    :param curve: Pairs of source and target whose share is varied, by name.
    :param n_pairs: So many pairs, drawn at random; ``None``: all.
    :param backend: Who judges, as ``address`` and ``jobs``: see :func:`parallel_map`.
    :return: The record; its runs have a ``kind``: ``"attacks"``, ``"clean"`` or ``"curve"``, and ``rows``.
    """
    check_backend(backend, address, jobs)
    encoded = encode_all(data, autoencoder, triggers, out / "encoded", verbose)
    names = encoded.class_names
    pairs = [(source, target) for source in range(len(names)) for target in range(len(names)) if source != target]
    if n_pairs is not None:
        pairs = [pairs[i] for i in np.sort(np.random.default_rng(seed).permutation(len(pairs))[:n_pairs])]
    # The clean draws first: they take longest, and the workers end together.
    sets: list[tuple[str, tuple[Any, ...]]] = [("clean", (number,)) for number in range(n_clean)]
    sets += [("attacks", (trigger, *pair, 0.1, seed)) for trigger in triggers for pair in pairs]
    for source, target in curve:
        pair = names.index(source), names.index(target)
        sets += [("curve", (trigger, *pair, fraction, seed)) for trigger in triggers for fraction in FRACTIONS]
    digest = hashlib.sha256(b"".join(window.tobytes() for window in encoded.clean.windows)).hexdigest()
    names_of = (run_name("-".join(map(str, (kind, *arguments))), digest, *WINDOWS) for kind, arguments in sets)
    tasks = dict(zip(names_of, sets, strict=True))

    def do(left: Mapping[str, tuple[str, tuple[Any, ...]]]) -> Iterator[tuple[str, dict[str, Any]]]:
        attacked = any(kind != "clean" for kind, _ in left.values())
        shared = encoded, judge(encoded.clean, encoded.labels, len(names)) if attacked else {}
        found = parallel_map(judge_set, shared, list(left.values()), backend=backend, address=address, jobs=jobs)
        with closing(found):
            for index, run in found:
                yield list(left)[index], run

    with tqdm(total=len(tasks), desc="sweep", disable=not verbose or None) as bar:
        return recorded_runs(tasks, out, command, report, lambda run: bar.update(), do)


def _scoring(name: str) -> str:
    return "paper" if name == "paper" else "contrastive"


def _chosen(views: Views, which: str) -> list[int]:
    n_steps, n_windows = len(views.steps), len(views.windows)
    return list({"all": range(n_windows), "steps": range(n_steps), "frames": range(n_steps, n_windows)}[which])


def _with_rows(clean: Views, triggered: Views, rows: np.ndarray) -> Views:
    def replaced(before: np.ndarray, after: np.ndarray) -> np.ndarray:
        mixed = before.copy()
        mixed[rows] = after[rows]
        return mixed

    return Views(
        replaced(clean.latents, triggered.latents),
        [replaced(*pair) for pair in zip(clean.steps, triggered.steps, strict=True)],
        [replaced(*pair) for pair in zip(clean.frames, triggered.frames, strict=True)],
    )


def _each(views: Views, change: Callable[[np.ndarray], np.ndarray]) -> Views:
    return Views(change(views.latents), [*map(change, views.steps)], [*map(change, views.frames)])


def _is_whole(file: Path) -> bool:
    try:
        load_arrays(file, FILE_KIND)
    except FileFormatError:
        return False
    return True


def _read(file: Path) -> Views:
    arrays, settings = load_arrays(file, FILE_KIND)
    latents = arrays.pop("latents")
    windows = [arrays[name] for name in sorted(arrays)]
    return Views(latents, windows[: settings["n_steps"]], windows[settings["n_steps"] :])
