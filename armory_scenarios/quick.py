"""A config at a size at which it is seen to the end in a minute: its figures mean nothing, that it ends does."""

from __future__ import annotations

import copy
from typing import Any

CAP, TEST_CAP, N_VALIDATION = 60, 20, 10  # samples of each class
LEAST_POISON = 4  # samples of each poisoned class, for filters that estimate something from them
NETWORKS = {"resnet18_tiny": "cnn"}  # of waveforms
WIDTH, EPOCHS, STEPS = 4, 2, 20


def quick(config: dict[str, Any]) -> dict[str, Any]:
    """
    Give a small copy of a config: few samples, a narrow network, few epochs and steps.

    The share of poison is raised where it would be less than four samples of a class. A config without poison stays so.
    """
    config = copy.deepcopy(config)
    adhoc, model = config["adhoc"], config["model"]
    adhoc["train_epochs"] = EPOCHS
    if adhoc["poison_dataset"]:
        adhoc["fraction_poisoned"] = max(adhoc["fraction_poisoned"], LEAST_POISON / CAP)
    blocks = [config["dataset"]]
    defence = config["defense"]
    if defence is not None:
        kwargs = defence["kwargs"]
        blocks += [kwargs["trusted"]] if "trusted" in kwargs else []
        if defence["name"] == "VAELatentDefence":
            kwargs["nb_epochs"] = 1
    for block in blocks:
        block |= {"cap": CAP, "test_cap": TEST_CAP}
        if "n_validation" in block:
            block["n_validation"] = N_VALIDATION
    network = model["model_kwargs"] or {}
    if "network" in network:
        network["network"] = NETWORKS.get(network["network"], network["network"])
    if "width" in network:
        network["width"] = WIDTH
    if "nb_steps" in config["scenario"]["kwargs"]:
        config["scenario"]["kwargs"]["nb_steps"] = STEPS
    return config
