"""Armory's log, for messages from outside of Armory's own packages."""

from __future__ import annotations

from typing import Any

from armory.logs import log as armory_log


def _as_armory(record: dict[str, Any]) -> None:
    record["name"] = f"armory.{record['name']}"


# Of packages that are not its own Armory prints warnings and errors alone.
log = armory_log.patch(_as_armory)
