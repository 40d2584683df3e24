"""Check for the packages that pictures and pages need."""

from __future__ import annotations

from art_plugins.errors import MissingPackageError
from art_plugins.reports.comparison.comparison_page import check_report_packages


def report_is_possible() -> bool:
    """Say whether the packages of the extra ``report`` can be imported."""
    try:
        check_report_packages()
    except MissingPackageError:
        return False
    return True
