"""
The command ``art-plugins``: one module for each kind of task; importing the package registers all commands.

The parameters of a command's function are the options of the command line, so they may be many; the bodies are short.
"""

from art_plugins.cli import (
    guard,
    inspect,
    measure,
    measure_attacks,
    measure_filters,
    measure_models,
    measure_sounds,
    pretrain,
    report,
)
from art_plugins.cli.app import app, main

__all__ = [
    "app",
    "guard",
    "inspect",
    "main",
    "measure",
    "measure_attacks",
    "measure_filters",
    "measure_models",
    "measure_sounds",
    "pretrain",
    "report",
]
