"""One config through Armory's own command, and what its results JSON says."""

from __future__ import annotations

import json
import re
import sys
import tempfile
import time
import uuid
from pathlib import Path
from typing import Any

from armory_scenarios.generate import FOLDER
from armory_scenarios.leash import run_on_leash
from armory_scenarios.quick import quick
from art_plugins.errors import InvalidInputError
from art_plugins.storage import write_json

OF_ADHOC = ("fraction_poisoned", "poison_dataset", "split_id")  # what the table of a run shows


def find_configs(patterns: list[str]) -> list[str]:
    """
    Names of the configs that match the patterns, such as ``speech_commands/clapping_p10_*``, in the patterns' order.

    The path of a config of one's own, with ``.json``, is a pattern as well.

    :raises InvalidInputError: If a pattern matches none.
    """
    found: list[str] = []
    for pattern in patterns:
        if pattern.endswith(".json") or Path(pattern).is_absolute():
            is_config = pattern.endswith(".json") and Path(pattern).is_file()
            names = [Path(pattern).resolve().with_suffix("").as_posix()] if is_config else []
        else:
            names = sorted(path.relative_to(FOLDER).with_suffix("").as_posix() for path in FOLDER.glob(f"{pattern}.json"))
        if not names:
            raise InvalidInputError(
                f"No config matches {pattern!r}; python -m armory_scenarios list names all of them, and the path of a file "
                "of your own ends in .json."
            )
        found += names
    return list(dict.fromkeys(found))


def read_config(name: str, seed: int | None = None, fraction: float | None = None) -> dict[str, Any]:
    """
    A config by name, with another seed or another share of the source class poisoned.

    :raises InvalidInputError: If somebody's own config is no JSON, or lacks what every config of poisoning has.
    """
    path = FOLDER / f"{name}.json"
    try:
        config: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        needed = ("_description", "adhoc", "attack", "dataset", "defense", "model", "scenario", "sysconfig")
        missing = [key for key in needed if key not in config] if isinstance(config, dict) else [*needed]
        missing += [f"adhoc.{key}" for key in OF_ADHOC if key not in (config["adhoc"] or {})] if not missing else []
    except ValueError as error:
        raise InvalidInputError(f"{path} is no JSON ({error}).") from error
    if missing:
        raise InvalidInputError(f"{path} has no {', '.join(missing)}; begin with a config that `list` names.")
    if seed is not None:
        config["adhoc"]["split_id"] = seed
    if fraction is not None:
        config["adhoc"] |= {"fraction_poisoned": fraction, "poison_dataset": fraction > 0}
    return config


def run_config(config: dict[str, Any], log: Path) -> dict[str, Any]:
    """
    ``armory run FILE --no-docker``; gives the results JSON.

    :param log: File for what Armory prints.
    :raises InvalidInputError: If the run fails, with its first error.
    """
    from armory import paths

    prefix = f"art_plugins_{uuid.uuid4().hex[:12]}"
    config = {**config, "sysconfig": {**config["sysconfig"], "output_dir": prefix}}
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "config.json"
        write_json(file, config)
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("w", encoding="utf-8") as out:
            status = run_on_leash([sys.executable, "-m", "armory", "run", str(file), "--no-docker"], out)
    outputs = sorted(Path(paths.HostPaths().output_dir).glob(f"{prefix}_*/*.json"))
    if status != 0 or not outputs:
        error = first_error(log.read_text(encoding="utf-8"))
        raise InvalidInputError(f"armory run ended with status {status}: {error} All of it is in {log}.")
    results: dict[str, Any] = json.loads(outputs[-1].read_text(encoding="utf-8"))
    return results


def first_error(log: str) -> str:
    """The message of the first error in what Armory printed, without colours."""
    plain = re.sub(r"\x1b\[[0-9;]*m", "", log)
    found = re.search(r"^\S+ \S+ +\S+ ERROR +[^: ]+:[^: ]+:\d+ (.*)$", plain, re.MULTILINE)
    return found[1] if found else "no error was logged."


def run_record(name: str, seed: int | None, fraction: float | None, log: Path, is_quick: bool = False) -> dict[str, Any]:
    """
    Run a config and keep what a table needs.

    :param is_quick: Make the config small, and keep the sentence of an error as ``error`` in place of raising it.
    """
    config = read_config(name, seed, fraction)
    if is_quick:
        config = quick(config)
    start = time.perf_counter()
    error = None
    try:
        results = run_config(config, log)
    except InvalidInputError as raised:
        if not is_quick:
            raise
        results, error = {"armory_version": None, "results": {}}, str(raised)
    attack, _, defence = config["_description"].rpartition(", ")
    adhoc = config["adhoc"]
    further: dict[str, Any] = {"quick": True, "error": error} if is_quick else {}
    if config["attack"]["name"] == "zoo_attack":
        further["share_of"] = "the training set"
    return {
        "config": name,
        "attack": attack,
        "defence": defence,
        "fraction": adhoc["fraction_poisoned"],
        "seed": adhoc["split_id"],
        "armory_version": results["armory_version"],
        "results": results["results"],
        "seconds": time.perf_counter() - start,
        **further,
    }
