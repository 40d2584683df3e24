"""Names what a result was computed with: Python, the platform and the versions of the packages that matter."""

from __future__ import annotations

import platform
from importlib import metadata

PACKAGES = (
    "art-plugins",
    "adversarial-robustness-toolbox",
    "torch",
    "torchaudio",
    "lightning",
    "scikit-learn",
    "numpy",
    "pyod",
    "umap-learn",
)


def versions() -> dict[str, str]:
    """
    Read the versions by name from the installed metadata; no package is imported.

    :return: ``python``, ``platform``, then each package; ``"not installed"`` where there is no metadata.
    """
    found = {"python": platform.python_version(), "platform": platform.platform()}
    for package in PACKAGES:
        try:
            found[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            found[package] = "not installed"
    return found
