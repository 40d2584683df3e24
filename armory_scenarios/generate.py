"""Write every config of the table: ``python -m armory_scenarios.generate``."""

from __future__ import annotations

import json
from pathlib import Path

from armory_scenarios.table import Config, configs
from art_plugins.storage import write_text

FOLDER = Path(__file__).parent


def config_text(config: Config) -> str:
    """As Armory's own files are written: sorted keys, four spaces."""
    return json.dumps(config, indent=4, sort_keys=True) + "\n"


def generate(folder: Path = FOLDER) -> list[Path]:
    """Write the files, and remove older configs that the table no longer names; gives the files in the table's order."""
    written = []
    for name, config in configs():
        path = folder / f"{name}.json"
        write_text(path, config_text(config))
        written.append(path)
    for path in set(folder.glob("*/*.json")) - set(written):
        path.unlink()
    return written


if __name__ == "__main__":
    print(f"{len(generate())} configs below {FOLDER}")
