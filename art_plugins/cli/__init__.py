"""The command ``art-plugins``: one module for each kind of task; importing the package registers all commands."""

from art_plugins.cli import inspect, measure, report
from art_plugins.cli.app import app, main

__all__ = ["app", "inspect", "main", "measure", "report"]
