"""Detectors of triggers at test time, on the model that a poison scenario has trained and on its test stream."""

from __future__ import annotations

import abc
from typing import Any

import numpy as np

from armory_scenarios.datasets import samples
from armory_scenarios.scenario import PoisonScenario
from art_plugins.errors import InvalidInputError
from art_plugins.evaluation.held_out import HeldOut
from art_plugins.evaluation.in_flight import evaluate_in_flight
from art_plugins.evaluation.layerwise import evaluate_detectors
from art_plugins.reports.studies.in_flight_tables import DEFAULT_ROW


class DetectionScenario(PoisonScenario, abc.ABC):
    """
    Train on the poisoned set, then judge every clean test sample, and every one of the source classes with the trigger.

    The defender has the clean samples of the data set's split ``"validation"``. The results JSON has Armory's meters and
    the whole evaluation under ``record_name``.
    """

    record_name: str

    def load(self) -> None:
        """Train the attacked model and load the defender's samples."""
        if not self.config["adhoc"]["poison_dataset"]:
            raise InvalidInputError("A detector is measured on an attacked model; set adhoc.poison_dataset to true.")
        self.held_out = samples({**self.config["dataset"], "split": "validation"})
        self.stream: list[tuple[np.ndarray, ...]] = []
        super().load()

    def evaluate_current(self) -> None:
        """Armory's meters on one batch, which is kept."""
        super().evaluate_current()
        self.stream.append((self.x, self.y, self.x_adv[self.source], self.y[self.source]))

    def finalize_results(self) -> None:
        """Measure the detectors on the test stream."""
        split = HeldOut(*self.held_out, *(np.concatenate(parts) for parts in zip(*self.stream, strict=True)))
        self.hub.set_context(stage="detect")
        measured = self.measure(split)
        super().finalize_results()
        self.results[self.record_name] = measured

    @abc.abstractmethod
    def measure(self, split: HeldOut) -> dict[str, Any]:
        """The evaluation, JSON-safe; its headline goes to ``self.hub.record``."""


class InFlightScenario(DetectionScenario):
    """
    Li et al. 2022: reverse-engineer the trigger, fit the detector on the held-out clean images, measure TPR, FPR and the
    accuracy of the inferred source class over both denominators, beside Neural Cleanse, B3D and STRIP. The inversion has
    the precision that the model was trained in.

    :param nb_steps: Most steps of the inversion.
    :param with_baselines: Measure those as well.
    """

    record_name = "in_flight"

    def __init__(self, config: dict[str, Any], nb_steps: int = 400, with_baselines: bool = True, **kwargs: Any) -> None:
        super().__init__(config, **kwargs)
        self.options: dict[str, Any] = {"nb_steps": nb_steps, "with_baselines": with_baselines}

    def measure(self, split: HeldOut) -> dict[str, Any]:
        """See :func:`art_plugins.evaluation.in_flight.evaluate_in_flight`."""
        precision = self.config["model"]["wrapper_kwargs"].get("precision") or "32-true"
        measured = evaluate_in_flight(
            self.model,
            split,
            self.target_class,
            **self.options,
            precision=precision,
            random_state=self.seed,
            verbose=False,
        )
        self.hub.record("in_flight_right_target", measured["inversion"]["right_target"])
        default = measured["detectors"][DEFAULT_ROW]
        for name in ("tpr", "tpr_of_all", "fpr", "fpr_of_all", "sia", "sia_of_all"):
            self.hub.record(f"in_flight_{name}", default[name])
        for row in measured.get("baselines", []):
            for name in ("tpr", "fpr"):
                self.hub.record(f"{row['title'].lower().replace(' ', '_')}_{name}", row[name])
        return measured


class LayerwiseScenario(DetectionScenario):
    """Preetha et al. 2023: layer-wise detection over the threshold tau, by the paper's rule and by this package's."""

    record_name = "layerwise"

    def measure(self, split: HeldOut) -> dict[str, Any]:
        """See :func:`art_plugins.evaluation.layerwise.evaluate_detectors`."""
        measured = evaluate_detectors(self.model, split, self.target_class, self.seed)
        for row in measured["detectors"]:
            title = row["title"].replace(",", "").replace(" ", "_").lower()
            for name in ("tpr", "tpr_of_all", "fpr"):
                self.hub.record(f"layerwise_{title}_{name}", row[name])
        return measured
