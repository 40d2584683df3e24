"""Whether a scan, or a detection, lets a pipeline go on: its exit status, and the reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from art_plugins.inspection.detect_record import NOT_APART
from art_plugins.inspection.detect_words import LOW_ACCURACY
from art_plugins.inspection.evidence.found import POISON
from art_plugins.inspection.scan_words import POISONED, is_judged
from art_plugins.inspection.suspect_rows import is_poison
from art_plugins.inspection.verdicts.by_layers import DIFFERENT

NOTHING, FOUND, NO_ANSWER = 0, 1, 2  # exit statuses; an error ends with 2 as well


def gate(record: Mapping[str, Any], fail_on: str) -> dict[str, Any]:
    """
    The exit status of a scan, and why.

    Suspects that a person has accepted do not count.

    :param record: Has ``classes``, ``suspects`` and ``skipped_files``.
    :param fail_on: ``"poison"``: a class or a file that is called poison fails. ``"look"``: anything that a person should
        look at fails too: other suspects, classes that could not be judged, files that could not be read. ``"never"``:
        nothing fails.
    :return: ``fail_on``; ``status``: 0 nothing, 1 found, 2 no class could be judged; ``reasons``: sentences.
    """
    if fail_on == "never":
        return {"fail_on": fail_on, "status": NOTHING, "reasons": []}
    reasons = _poison(record) + (_to_look_at(record) if fail_on == "look" else [])
    status = FOUND if reasons else NOTHING
    if not any(is_judged(row) for row in record["classes"]):
        status = max(status, NO_ANSWER)
        reasons.insert(0, "No class could be judged, so the scan does not say whether there is poison.")
    return {"fail_on": fail_on, "status": status, "reasons": reasons}


def gate_sentence(outcome: Mapping[str, Any]) -> str:
    """The exit status and the reasons in one line."""
    why = " ".join(outcome["reasons"]) or "Nothing was found that counts."
    if outcome["fail_on"] == "never":
        why = "Nothing counts, as you asked."
    return f"Exit status {outcome['status']} (fail on {outcome['fail_on']}): {why}"


def detection_gate(record: Mapping[str, Any], fail_on: str) -> dict[str, Any]:
    """
    The exit status of a detection, and why.

    :param record: Has ``is_backdoored``, ``classes``, ``undecided_classes``, ``clean_accuracy``, ``layers``, ``folder``,
        ``counts`` and ``judged_files``.
    :param fail_on: ``"backdoor"``: a model with a backdoor fails. ``"look"``: anything that a person should look at fails
        too: caught files, files of another kind than the clean ones, a class above the threshold that does not stand apart,
        files that could not be read. ``"never"``: nothing fails.
    :return: ``fail_on``; ``status``: 0 nothing, 1 found, 2 the question is not answered; ``reasons``: sentences.
    """
    if fail_on == "never":
        return {"fail_on": fail_on, "status": NOTHING, "reasons": []}
    reasons = ["The model has a backdoor."] if record["is_backdoored"] else []
    reasons += _to_look_at_beside_the_model(record) if fail_on == "look" else []
    status = FOUND if reasons else NOTHING
    unanswered = [] if record["is_backdoored"] else _unanswered(record)
    if unanswered:
        status, reasons = NO_ANSWER, [*unanswered, *reasons]
    return {"fail_on": fail_on, "status": status, "reasons": reasons}


def _unanswered(record: Mapping[str, Any]) -> list[str]:
    """Why it is not known that the model has no backdoor, where none was found."""
    reasons = []
    if record["undecided_classes"]:
        reasons.append(f"A backdoor towards {', '.join(record['undecided_classes'])} cannot be excluded.")
    elif record["classes"] and all(row["index"] is None for row in record["classes"]):
        reasons.append("The model could not be judged: no pattern works for any class.")
    if record["clean_accuracy"] < LOW_ACCURACY:
        reasons.append(
            f"The model gives only {record['clean_accuracy']:.0%} of the clean files the class of their folder; check the "
            "order of the classes, and how the model was fed in its training."
        )
    if "verdict" not in record["layers"] and (record["folder"] is not None or not record["classes"]):
        reasons.append("No file was judged by the layers of the model.")
    return reasons


def _to_look_at_beside_the_model(record: Mapping[str, Any]) -> list[str]:
    reasons = []
    n_caught, n_skipped = record["counts"]["caught"], len(record["judged_files"]["skipped_files"])
    if n_caught:
        reasons.append(f"{n_caught:,} {'file carries' if n_caught == 1 else 'files carry'} the trigger.")
    near = [row["name"] for row in record["classes"] if row["verdict"] == NOT_APART]
    if record["layers"].get("verdict") == DIFFERENT:
        reasons.append("The files to judge are different from the clean ones.")
    if near:
        reasons.append(f"{', '.join(near)} is above the threshold, but does not stand apart.")
    if n_skipped:
        reasons.append(f"{n_skipped:,} {'file was' if n_skipped == 1 else 'files were'} skipped, so not judged.")
    return reasons


def _poison(record: Mapping[str, Any]) -> list[str]:
    reasons = []
    n_open = sum(is_poison(row) for row in record["suspects"])
    if n_open:
        files = "1 file is" if n_open == 1 else f"{n_open:,} files are"
        reasons.append(f"{files} called poison, and not accepted.")
    unlisted = [row["name"] for row in record["classes"] if row["verdict"] == POISONED and row["n_suspects"] == 0]
    if unlisted:
        reasons.append(f"{', '.join(unlisted)} is called poisoned, but its suspects are not known.")
    return reasons


def _to_look_at(record: Mapping[str, Any]) -> list[str]:
    reasons = []
    n_open = sum(row["verdict"] != POISON and not row["accepted"] for row in record["suspects"])
    if n_open:
        reasons.append(f"{n_open:,} {'file' if n_open == 1 else 'files'} should be looked at, and not accepted.")
    not_judged = [row["name"] for row in record["classes"] if not is_judged(row)]
    if not_judged and len(not_judged) < len(record["classes"]):
        reasons.append(f"{len(not_judged)} of {len(record['classes'])} classes could not be judged.")
    n_skipped = len(record["skipped_files"])
    if n_skipped:
        reasons.append(f"{n_skipped:,} {'file was' if n_skipped == 1 else 'files were'} skipped, so not judged.")
    return reasons
