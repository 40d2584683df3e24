"""Armory's poison scenario: seeded throughout, several source classes, and errors that say what to do."""

from __future__ import annotations

import math
import sys
from typing import Any

import numpy as np
import torch
from armory.instrument import del_globals
from armory.scenarios.poison import Poison

from armory_scenarios.checks import check_config, filter_parameters, is_filter, is_perfect_filter, load
from armory_scenarios.datasets import samples
from armory_scenarios.log import log
from armory_scenarios.poisoners import ManySourcesPoisoner, ZooPoisoner
from art_plugins.attacks.zoo.attack import Attack


class PoisonScenario(Poison):  # type: ignore[misc]  # Armory has no type hints for mypy
    """
    ``armory.scenarios.poison.Poison`` with these differences.

    ``adhoc.split_id`` seeds torch too, and is the ``random_state`` of the model and of the defence where they take one and
    the config names none; ``nb_classes`` of the model, likewise, is that of the data. ``adhoc.source_class`` may be a list.
    An attack of ``art_plugins.attacks.zoo`` poisons the whole set; ``adhoc.fraction_poisoned`` is then a share of that.
    Names in the config that nobody reads end the run before anything is trained. An error ends it with a sentence and exit
    status 1.
    """

    poisoner: Any
    test_poisoner: Any

    def evaluate(self) -> None:
        """Run the config and write the results JSON; exit status 1 after an error."""
        try:
            self._evaluate()
        except Exception as error:  # whatever ends a run, a reader of the log gets a sentence
            log.opt(exception=True).debug("The traceback:")
            log.error(f"{self.config['_description']}: {type(error).__name__}: {error}")
            del_globals()
            sys.exit(1)
        self.save()

    def load(self) -> None:
        """Check the config, then train, poison, filter and train again as Armory does."""
        check_config(self.config)
        super().load()

    def set_random_seed(self) -> None:
        """Seed NumPy, random, TensorFlow and torch."""
        super().set_random_seed()
        torch.manual_seed(self.seed)

    def load_model(self, defended: bool = True) -> None:
        """Hand the seed to the model and to the defence, and the number of classes to the model, then load the model."""
        model, defence = self.config["model"], self.config["defense"]
        if model["module"] == "armory_scenarios.models":
            model["wrapper_kwargs"].setdefault("random_state", self.seed)
            if "nb_classes" not in model["model_kwargs"]:
                _, y = samples({**self.config["dataset"], "split": "train"})
                model["model_kwargs"]["nb_classes"] = int(y.max()) + 1
        if is_filter(defence) and not is_perfect_filter(defence) and "random_state" in filter_parameters(load(defence)):
            defence["kwargs"].setdefault("random_state", self.seed)
        super().load_model(defended)

    def load_poisoner(self) -> None:
        """Poison one or several source classes."""
        self.n_test = self.n_source_test = 0
        super().load_poisoner()
        sources = self.source_class
        self.source_classes: list[int] = list(sources) if isinstance(sources, (list, tuple)) else [sources]
        if self.use_poison:
            attack, fraction = self.test_poisoner.attack, self.test_poisoner.fraction
            named = attack, self.source_classes, self.target_class, fraction
            whole_set = isinstance(attack, Attack)
            self.poisoner = ZooPoisoner(*named, self.seed) if whole_set else ManySourcesPoisoner(*named)
            self.test_poisoner = self.poisoner

    def run_benign(self) -> None:
        """As Armory does, for several source classes."""
        self.hub.set_context(stage="benign")
        self.x.flags.writeable = False
        self.y_pred = self.model.predict(self.x, **self.predict_kwargs)
        self.probe.update(y_pred=self.y_pred)
        self.source = np.isin(self.y, self.source_classes)
        self.n_test += len(self.y)
        self.n_source_test += int(self.source.sum())
        if self.source.any():
            self.probe.update(y_source=self.y[self.source], y_pred_source=self.y_pred[self.source])
        if self.explanatory_model is not None or self.majority_masks is not None:
            self.run_explanatory()

    def finalize_results(self) -> None:
        """Armory's meters, and the denominators of its rates."""
        self.hub.record("N_test_samples", self.n_test)
        self.hub.record("N_source_class_test_samples", self.n_source_test)
        super().finalize_results()

    def prepare_results(self) -> dict[str, Any]:
        """Armory's results; a rate without a denominator is ``null``, since JSON has no NaN."""
        return {**super().prepare_results(), "results": without_nan(self.results)}


def without_nan(value: Any) -> Any:
    """The same nested value with ``None`` for numbers that are not finite."""
    if isinstance(value, dict):
        return {name: without_nan(one) for name, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [without_nan(one) for one in value]
    if isinstance(value, (float, np.floating)) and not math.isfinite(value):
        return None
    return value
