"""STEP (Wang et al. 2026): a label that stays without the words, or changes with them, gives a trigger away."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from art_plugins.defences.detector_classifier import ForDetectorClassifier
from art_plugins.defences.threshold_detector import ThresholdDetector
from art_plugins.parameters import check_count
from art_plugins.statistics.gaussian import fit_gaussian
from art_plugins.statistics.peers.label_stability import BREAKING, PRESERVING, Perturbation, robust_z

N_FOLDS = 5  # by which the benign clips are scored with what was learned without them
LEAST_SPREAD = 0.1  # of a branch's scores, so that benign clips that are all alike do not make one unusual label infinite


class STEP(ForDetectorClassifier, ThresholdDetector):
    """
    STEP, stability-based trigger exposure profiling, for sounds at test time: only the predicted classes of the model are
    used. A trigger keeps the label when the content of a clip is destroyed (stable), or loses it when the content is kept
    (fragile).

    | Paper: K. Wang, M. Chen, J. Wang et al., STEP: Detecting Audio Backdoor Attacks via Stability-based Trigger Exposure
      Profiling, arXiv 2603.18103, 2026. The abstract reports an AUROC of .979 over seven attacks.

    1. *Profile.* Every clip is changed in five ways that destroy what is said (time reversed, parts shuffled, noise as loud
       as the clip, another clip on top, half silenced) and in five that keep it (faint noise, loudness, moved by up to 2 %,
       smoothed, a moment silenced). The profile holds, for each way, the share of draws in which the label stays.
    2. *Branches.* Each branch has a Gaussian of the profiles of benign clips, with a shrunk covariance. A branch's score is
       the Mahalanobis distance to it, with the sign of the sum of deviations: more stable than benign clips where the
       content is destroyed, more fragile where it is kept. It is standardised by the scores of benign clips.
    3. *Score.* The root of the sum of squares of the two, of what is above 0.

    Deviates from the paper: only its abstract was at hand. The ways, their strengths, the Gaussians and the combination of
    the branches are this package's own reading of it; the authors' one-class detectors and weights may be others.

    When this breaks: triggers that destroying the content destroys as well, such as quiet sounds all along the clip under
    loud noise, if keeping the content does not destroy them either; models that give most destroyed clips one class, if
    this is the target; models that often change their label for benign clips. The network runs about 45 times on each clip.

    Any samples with time as the last axis are taken: waveforms (n, S) and spectrograms (n, ..., frames).

    :param n_draws: Number of draws of each way that is random.
    :param random_state: Random seed of the draws.

    Scores are in standard deviations of benign clips, 0 or above. The other parameters are those of
    :class:`ThresholdDetector`.

    :ivar references_: Benign clips that are put on top of others, (n_draws, ...).
    """

    defence_params = [*ThresholdDetector.defence_params, "n_draws", "random_state"]

    def __init__(
        self,
        classifier: Any,
        target_class: int | None = None,
        *,
        n_draws: int = 5,
        threshold: float | None = None,
        fpr: float = 0.05,
        random_state: int = 0,
    ) -> None:
        super().__init__(classifier, target_class, threshold, fpr)
        self.n_draws, self.random_state = n_draws, random_state
        self.set_params(**self.tunables())

    def _check(self, values: dict[str, Any]) -> None:
        super()._check(values)
        check_count("n_draws", values["n_draws"])
        check_count("random_state", values["random_state"], 0)

    def _learn(self, x: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        self._fitted_draws, self._seed = self.n_draws, self.random_state
        random = np.random.default_rng(self.random_state)
        self.references_ = np.array(x[np.sort(random.choice(len(x), min(len(x), self.n_draws), replace=False))])
        profiles = self.profiles(x, batch_size)
        folds = random.permutation(len(x)) % min(N_FOLDS, len(x))
        distances = np.empty((2, len(x)))
        for fold in np.unique(folds):
            rows, rest = folds == fold, folds != fold if len(x) > 1 else folds == fold
            for branch, profile in enumerate(profiles):
                distances[branch, rows] = signed_distances(profile[rows], profile[rest], _sign(branch))
        self._benign_profiles, self._benign_distances = profiles, distances
        self._scores_of_clean = self._fused(distances)

    def _clean_scores(self, x: np.ndarray, rows: np.ndarray, batch_size: int) -> np.ndarray:
        return np.asarray(self._scores_of_clean[rows])

    def _scores(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        profiles = zip(self.profiles(x, batch_size), self._benign_profiles, strict=True)
        return self._fused(
            np.stack([signed_distances(one, benign, _sign(branch)) for branch, (one, benign) in enumerate(profiles)])
        )

    def _fused(self, distances: np.ndarray) -> np.ndarray:
        """:param distances: Distances of the samples in each branch, (2, n)."""
        standardised = [
            robust_z(one, benign, LEAST_SPREAD) for one, benign in zip(distances, self._benign_distances, strict=True)
        ]
        return np.asarray(np.linalg.norm(np.maximum(standardised, 0), axis=0))

    def profiles(self, x: np.ndarray, batch_size: int = 128) -> tuple[np.ndarray, np.ndarray]:
        """
        Give the share of draws in which the label stays, for each way that destroys the content, and that keeps it.

        :param x: Clips (n, ..., T).
        :return: Two arrays, (n, 5).
        """
        kept = (np.empty((len(x), len(BREAKING))), np.empty((len(x), len(PRESERVING))))
        for start in range(0, len(x), batch_size):
            rows = slice(start, start + batch_size)
            clips = np.asarray(x[rows], dtype=np.float32)
            labels = self._predicted(clips, batch_size)
            for branch, ways in enumerate((BREAKING, PRESERVING)):
                kept[branch][rows] = self._stabilities(clips, labels, ways, branch)
        return kept

    def _stabilities(self, clips: np.ndarray, labels: np.ndarray, ways: Sequence[Perturbation], branch: int) -> np.ndarray:
        found = np.empty((len(clips), len(ways)))
        clip_values = self.classifier.clip_values
        for column, way in enumerate(ways):
            n_draws = self._fitted_draws if way.is_random else 1
            stays = np.zeros(len(clips))
            for draw in range(n_draws):
                random = np.random.default_rng((self._seed, branch, column, draw))
                changed = way.change(clips, self.references_, random).astype(np.float32)
                if clip_values is not None:
                    changed = np.clip(changed, *clip_values)
                stays += self._predicted(changed, len(clips)) == labels
            found[:, column] = stays / n_draws
        return found


def signed_distances(profiles: np.ndarray, benign: np.ndarray, sign: int) -> np.ndarray:
    """
    Give the Mahalanobis distance of profiles to benign ones, negative where they lie on the harmless side.

    :param profiles: Shape (n, d).
    :param benign: Shape (m, d).
    :param sign: 1 if higher values are suspicious, -1 if lower ones are.
    :return: Shape (n,).
    """
    gaussian = fit_gaussian(benign)
    deviations = profiles - gaussian.mean
    squares = np.einsum("ij,ij->i", deviations, np.linalg.solve(gaussian.covariance + _floor(benign), deviations.T).T)
    return np.asarray(np.sign(sign * deviations.sum(axis=1)) * np.sqrt(squares))


def _floor(benign: np.ndarray) -> np.ndarray:
    return np.eye(benign.shape[1]) * LEAST_SPREAD**2


def _sign(branch: int) -> int:
    """Stable labels are suspicious where the content is destroyed, unstable ones where it is kept."""
    return 1 if branch == 0 else -1
