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
    """Write the files, in the table's order. Others are left alone: they may be somebody's own."""
    written = []
    for name, config in configs():
        path = folder / f"{name}.json"
        write_text(path, config_text(config))
        written.append(path)
    return written


if __name__ == "__main__":
    written = generate()
    print(f"{len(written)} configs below {FOLDER}")
    others = sorted(str(path.relative_to(FOLDER)) for path in set(FOLDER.glob("*/*.json")) - set(written))
    if others:
        print(f"Not of the table, and left alone: {', '.join(others)}. Remove them if they are old.")
