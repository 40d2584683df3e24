"""Fig. 7 of Mehlman et al. 2023: adjusted Rand index on the target class against the share of the source class poisoned."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sklearn.metrics import adjusted_rand_score
from tqdm.auto import tqdm

from art_plugins.attacks.tasks import speech_commands_task
from art_plugins.defences.latent_clustering import VAELatentDefence
from art_plugins.evaluation.metrics import rank_of
from art_plugins.features.autoencoder import Autoencoder

PAPER_FRACTIONS = (0.01, 0.05, 0.1, 0.15, 0.2, 0.25, 0.3)


def fraction_curve(
    root: str,
    autoencoder: Autoencoder,
    *,
    fractions: Sequence[float] = PAPER_FRACTIONS,
    seeds: Sequence[int] = (0, 1, 2),
    scoring: str = "contrastive",
    verbose: bool = True,
    **attack: Any,
) -> list[dict[str, Any]]:
    """
    Judge freshly drawn attacks with one fitted autoencoder, as the paper does.

    :param root: Folder of Speech Commands.
    :param fractions: Shares of the source class, each above 0 and at most 1.
    :param seeds: One attack is drawn per fraction and seed.
    :param scoring: ``"contrastive"`` or ``"paper"``; see :class:`VAELatentDefence`.
    :param attack: ``trigger``, ``source``, ``target``, ``cap`` of :func:`speech_commands_task`.
    :return: For each fraction and seed: ``fraction``, ``seed``, ``n_poison``, ``target_share``, ``ari`` of the target
        class's two clusters, ``rank`` of the target class by score (1 = highest, ``None``: not
        judged) and ``found`` (called poisoned).
    """
    points = []
    for fraction, seed in tqdm([(f, s) for f in fractions for s in seeds], desc="fractions", disable=not verbose or None):
        task = speech_commands_task(root, fraction=fraction, seed=seed, **attack)
        data = task.data
        defence = VAELatentDefence(
            None, data.x_train, data.y_train, autoencoder=autoencoder, random_state=seed, scoring=scoring
        )
        defence.detect_poison()
        rows = data.y_train == data.target
        points.append(
            {
                "fraction": fraction,
                "seed": seed,
                "n_poison": int(data.is_poison.sum()),
                "target_share": float(data.is_poison[rows].mean()),
                "ari": float(adjusted_rand_score(data.is_poison[rows], defence.suspects_[rows])),
                "rank": rank_of(defence.class_scores_, data.target),
                "found": data.target in defence.poisoned_classes_,
            }
        )
    return points
