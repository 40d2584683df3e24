"""What the layer-wise detector says of many images: a backdoor of unknown kind, images of another kind, or nothing."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.stats import betabinom

from art_plugins.inspection.isolation.judge import FittedLayers, LayerJudgement
from art_plugins.statistics.layer_scores import CONTRADICTING

# All three were chosen on MNIST and Fashion-MNIST (LeNet-5 and a plain CNN). The how-to page has figures on other data.
# In a clean model, images without a trigger contradict themselves at most 1.8 times as often as the trusted images, also if
# they are turned, moved, noisy, blurred, darker or brighter.
SLACK = 2  # contradictions are judged as if this many times as many images had been seen
# A trigger moves the scores of its own images far up and leaves the others; images of another kind all move. Measured: at
# most .17 with triggers; .2 and more for images of another kind, except where nearly all of them stand out.
MOVED = 0.2  # of all images, those inside the threshold and above the median of trusted images less those below it
# Share of the images that stand out which contradict themselves, at least, if a trigger makes them stand out. It was
# lowered to this value after a look at the attack on every class on EMNIST letters, so that case is no test of it.
OF_TRIGGERED = 0.05

BACKDOOR, DIFFERENT, NOTHING = "backdoored, kind unknown", "different from the trusted images", "nothing found"


class LayerVerdict(NamedTuple):
    """
    What the layers of a model say of n images, and what follows for the model.

    ``n_judged``; ``n_standing_out``: images whose score is above the threshold; ``n_contradicting``: images that contradict
    themselves (see :class:`~art_plugins.statistics.layer_scores.Contradiction`); ``p_standing_out`` and
    ``p_contradicting``: the probability of that many or more without a trigger, among images like the trusted ones, and
    among images of another kind as well;
    ``has_backdoor``: more images contradict themselves than chance allows; ``is_different``: more images stand out than
    chance and triggers explain.
    """

    n_judged: int
    n_standing_out: int
    n_contradicting: int
    p_standing_out: float
    p_contradicting: float
    has_backdoor: bool
    is_different: bool

    @property
    def verdict(self) -> str:
        """The answer in few words."""
        return BACKDOOR if self.has_backdoor else DIFFERENT if self.is_different else NOTHING

    def to_record(self) -> dict[str, Any]:
        """As JSON-safe values."""
        return {**self._asdict(), "verdict": self.verdict}


def layer_verdict(found: LayerJudgement, fitted: FittedLayers, false_alarm_rate: float) -> LayerVerdict:
    """
    Tell a backdoor from images that simply are of another kind than the trusted ones.

    Images of another kind stand out in numbers as well. But the model is less sure of those that look like another class
    at its layers, and a trigger makes it sure. So only images that contradict themselves count against the model. Without
    a backdoor, images that stand out in numbers are of another kind. With one, they are so if the other images have
    moved as well, or if too few contradict themselves.

    :param found: What the detector says of each image.
    :param fitted: The detector.
    :param false_alarm_rate: Probability that a clean model is called backdoored, at most.
    """
    n, out, contradicting = len(found.scores), int(found.stands_out.sum()), int(found.contradicts.sum())
    p_out = exceedance_probability(out, n, fitted.fpr, fitted.n_clean)
    p_contradicting = exceedance_probability(contradicting, SLACK * n, CONTRADICTING, fitted.n_clean)
    has_backdoor = p_contradicting < false_alarm_rate
    inside = found.scores[~found.stands_out]
    has_moved = int((inside > fitted.median).sum()) - int((inside <= fitted.median).sum()) > MOVED * n
    is_other = not has_backdoor or has_moved or contradicting < OF_TRIGGERED * out
    is_different = p_out < false_alarm_rate and is_other
    return LayerVerdict(n, out, contradicting, p_out, p_contradicting, has_backdoor, is_different)


def exceedance_probability(n_above: int, n: int, share: float, n_reference: int) -> float:
    """
    The probability that so many of n new scores, or more, exceed a threshold that was taken from reference scores.

    The share of new scores above the m-th highest of N reference scores is itself random: it has the distribution
    Beta(m, N + 1 - m), whatever that of the scores. So the number has a beta-binomial distribution. With few reference
    scores this is far from the binomial distribution of a known share.

    :param n_above: Number of new scores above the threshold.
    :param n: Number of new scores.
    :param share: Share of the reference scores that exceed the threshold, rounded down to a whole number of them.
    :param n_reference: Number of reference scores N, at least 1.
    """
    rank = min(int(share * n_reference + 1e-9) + 1, n_reference)
    return float(np.clip(betabinom.sf(n_above - 1, n, rank, n_reference + 1 - rank), 0, 1))
