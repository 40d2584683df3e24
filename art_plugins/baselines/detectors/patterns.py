"""The baselines of the in-flight detector (Li et al. 2022, sections 2 and 5.2): STRIP, B3D and Neural Cleanse."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import log_softmax

from art_plugins.defences.detector_classifier import ForDetectorClassifier
from art_plugins.defences.threshold_detector import ThresholdDetector
from art_plugins.errors import InvalidInputError
from art_plugins.features.activations import penultimate_activations
from art_plugins.parameters import check_count, check_number
from art_plugins.triggers.trigger import Trigger, apply_trigger


class STRIP(ForDetectorClassifier, ThresholdDetector):
    """
    STRIP: a trigger still works after the image is blended with clean images, so the prediction stays certain. The score is
    minus the mean entropy of the class probabilities over blends ``weight * image + (1 - weight) * clean image``.

    | Paper: Y. Gao et al., STRIP: a defence against trojan attacks on deep neural networks, ACSAC 2019, section IV; blends
      as in Li et al. 2022, section 5.2.

    Deviates from the paper: all images are blended with the same clean images, which are drawn once, so the score of an
    image does not depend on the other images. (The STRIP of ART computes the entropy over the blends instead of the
    classes.)

    When this breaks: triggers that blending weakens (faint ones over the whole image), triggers that work on images of
    one class only, and models that are certain for every blend.

    :param n_blends: Number of clean images in the blends, from 1 to the number that :meth:`fit` receives.
    :param weight: Weight of the judged image in a blend, above 0 and below 1.
    :param random_state: Random seed of the choice of clean images.

    Scores are in nats, 0 or below. The other parameters are those of :class:`ThresholdDetector`.

    :ivar blended_with_: The clean images, (n_blends, ...), float32.
    """

    defence_params = [*ThresholdDetector.defence_params, "n_blends", "weight", "random_state"]

    def __init__(
        self,
        classifier: Any,
        n_blends: int = 100,
        weight: float = 0.5,
        target_class: int | None = None,
        *,
        threshold: float | None = None,
        fpr: float = 0.05,
        random_state: int = 0,
    ) -> None:
        super().__init__(classifier, target_class, threshold, fpr)
        self.n_blends, self.weight, self.random_state = n_blends, weight, random_state
        self.set_params(**self.tunables())

    def _learn(self, x: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        if len(x) < self.n_blends:
            raise InvalidInputError(f"n_blends is {self.n_blends}, but there are only {len(x)} clean images to blend with.")
        chosen = np.random.default_rng(self.random_state).choice(len(x), self.n_blends, replace=False)
        self.blended_with_ = x[np.sort(chosen)].astype(np.float32)
        self._fitted_shares = self._shares()

    def _shares(self) -> tuple[Any, Any]:
        """Factors of the judged image and of the clean one in a blend."""
        weight = np.float32(self.weight)
        return weight, 1 - weight

    def _scores(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        (weight, others), n_blends = self._fitted_shares, len(self.blended_with_)
        clean_part = others * self.blended_with_
        step = max(1, batch_size // n_blends)
        scores = np.empty(len(x))
        for start in range(0, len(x), step):
            images = x[start : start + step].astype(np.float32)
            blends = (weight * images[:, None] + clean_part).reshape(-1, *x.shape[1:])  # (B * n_blends, ...)
            log_p = log_softmax(self._outputs(blends, batch_size), axis=1)
            negative_entropies = (np.exp(log_p) * log_p).sum(axis=1)
            scores[start : start + step] = negative_entropies.reshape(-1, n_blends).mean(axis=1)
        return scores

    def _check(self, values: dict[str, Any]) -> None:
        super()._check(values)
        check_count("n_blends", values["n_blends"])
        if "weight" in values:
            check_number("weight", values["weight"], above=0, below=1)
        check_count("random_state", values["random_state"], 0)


class B3D(ForDetectorClassifier, ThresholdDetector):
    """
    B3D: a second trigger changes nothing on an image that already carries the trigger. The score is minus the
    Kullback-Leibler divergence, KL(without || with), in nats, between the class probabilities of the image without and with
    the trigger stamped on it.

    | Paper: Y. Dong et al., Black-box detection of backdoor attacks with limited information and data, ICCV 2021; as
      described in Li et al. 2022, section 2.

    When this breaks: the trigger hardly changes the predictions for clean images of the target class either. If only images
    that are predicted as the target are judged, clean and triggered ones are hard to distinguish.

    :param trigger: The estimated (or true) trigger, a callable that stamps a batch of images.

    The other parameters are those of :class:`ThresholdDetector`.
    """

    def __init__(
        self,
        classifier: Any,
        trigger: Trigger,
        target_class: int | None = None,
        *,
        threshold: float | None = None,
        fpr: float = 0.05,
    ) -> None:
        super().__init__(classifier, target_class, threshold, fpr)
        self.trigger = trigger
        self.set_params(**self.tunables())

    def _learn(self, x: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        apply_trigger(self.trigger, x[:1])  # a trigger that fails raises its error here, even if the threshold is given

    def _scores(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        log_p = log_softmax(self._outputs(x, batch_size), axis=1)
        log_q = log_softmax(self._outputs(apply_trigger(self.trigger, x), batch_size), axis=1)
        return np.asarray((np.exp(log_p) * (log_q - log_p)).sum(axis=1))


class NeuralCleanseFilter(ForDetectorClassifier, ThresholdDetector):
    """
    The filter of Neural Cleanse: some neurons serve the backdoor. The score is the mean activation of the penultimate
    neurons whose activation the trigger raises most.

    | Paper: B. Wang et al., Neural Cleanse: identifying and mitigating backdoor attacks in neural networks, IEEE S&P 2019,
      section VI-A.

    When this breaks: the backdoor uses the same neurons as the target class, so that its clean images activate them too.

    :param trigger: The estimated (or true) trigger, a callable that stamps a batch of images.
    :param top: Share of the neurons that are used, above 0 and at most 1; at least one is used.

    Scores have the unit of the activations. The other parameters are those of :class:`ThresholdDetector`.

    :ivar neurons_: Indices of the neurons that are used, in the order of decreasing rise.
    """

    defence_params = [*ThresholdDetector.defence_params, "top"]

    def __init__(
        self,
        classifier: Any,
        trigger: Trigger,
        target_class: int | None = None,
        top: float = 0.01,
        *,
        threshold: float | None = None,
        fpr: float = 0.05,
    ) -> None:
        super().__init__(classifier, target_class, threshold, fpr)
        self.trigger, self.top = trigger, top
        self.set_params(**self.tunables())

    def _learn(self, x: np.ndarray, labels: np.ndarray, batch_size: int) -> None:
        triggered = penultimate_activations(self.classifier, apply_trigger(self.trigger, x), batch_size)
        clean = penultimate_activations(self.classifier, x, batch_size)
        raised = triggered.mean(axis=0, dtype=np.float64) - clean.mean(axis=0, dtype=np.float64)
        self.neurons_ = np.argsort(-raised, kind="stable")[: max(1, round(self.top * len(raised)))]

    def _scores(self, x: np.ndarray, batch_size: int) -> np.ndarray:
        activations = penultimate_activations(self.classifier, x, batch_size)
        return np.asarray(activations[:, self.neurons_].mean(axis=1, dtype=np.float64))

    def _check(self, values: dict[str, Any]) -> None:
        super()._check(values)
        top = values["top"]
        check_number("top", top, "a share", above=0, most=1)
