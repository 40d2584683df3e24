"""The settings by which latents are scored class by class, checked once (Mehlman et al. 2023, sections 3.1 and 4.2)."""

from __future__ import annotations

from dataclasses import dataclass

from art_plugins.errors import InvalidInputError
from art_plugins.parameters import check_choice, check_count, check_flag, check_number, plain
from art_plugins.statistics.gaussian import SHRINKAGES
from art_plugins.statistics.latents.reduction import WHITENINGS

SCORINGS = ("contrastive", "paper")
CLASS_RULES = ("auto", "false_alarms", "mad", "argmax")
FALSE_ALARM_RATE = 0.05
THRESHOLD = 3.5  # the usual cut-off of a median-based index (Iglewicz and Hoaglin 1993)


@dataclass(frozen=True)
class ScoringSettings:
    """
    How classes are scored, split in two and judged.

    :param scoring: ``"contrastive"`` compares each class with all others; ``"paper"`` looks at each class by itself.
    :param nb_dims: Largest number of directions that describe a class in one view.
    :param whiten: Whitening of a class's latents: ``"after_pca"``, ``"before_pca"`` or ``"none"``. Only ``"paper"`` reads
        it.
    :param shrinkage: Shrinkage of the clusters' covariances: ``"within"``, ``"oas"``, ``"ledoit_wolf"`` or ``"none"``. Only
        ``"paper"`` reads it.
    :param nb_trials: Number of clustering trials that are averaged.
    :param n_init: Number of k-means++ starts of each trial.
    :param refine: Whether Fisher's discriminant refines the split; ``False`` is the paper's plain 2-means. Only ``"paper"``
        reads it.
    :param class_rule: ``"false_alarms"`` calls a class whose p-value is below ``false_alarm_rate``; ``"mad"`` one whose
        (score - median) / (1.4826 MAD) is above ``threshold``; ``"argmax"`` the class of the highest score; ``"auto"`` is
        the first rule for ``"contrastive"`` and the second for ``"paper"``.
    :param false_alarm_rate: Accepted chance that data without poison have any class called, between 0 and 1.
    :param threshold: Threshold of the ``"mad"`` rule, greater than 0.
    :raises InvalidInputError: If a value is out of range.
    """

    scoring: str = "contrastive"
    nb_dims: int = 24
    whiten: str = "after_pca"
    shrinkage: str = "within"
    nb_trials: int = 10
    n_init: int = 100
    refine: bool = True
    class_rule: str = "auto"
    false_alarm_rate: float = FALSE_ALARM_RATE
    threshold: float = THRESHOLD

    def __post_init__(self) -> None:
        for name in ("nb_dims", "nb_trials", "n_init"):
            check_count(name, plain(getattr(self, name)))
        check_flag("refine", plain(self.refine))
        choices = {"scoring": SCORINGS, "whiten": WHITENINGS, "shrinkage": SHRINKAGES, "class_rule": CLASS_RULES}
        for name, accepted in choices.items():
            check_choice(name, getattr(self, name), accepted)
        check_number("false_alarm_rate", plain(self.false_alarm_rate), "a chance", above=0, below=1)
        if self.scoring == "paper" and self.class_rule == "false_alarms":
            raise InvalidInputError(
                'The paper\'s scores follow no known law; class_rule must be "auto", "mad" or "argmax".'
            )
        check_number("threshold", plain(self.threshold), above=0)
