"""Parameters that the layer-wise filter and the detector share: the rule, its settings, and the threshold."""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any

from art_plugins.defences.contract import CheckedParameters
from art_plugins.defences.layers.mahalanobis import MahalanobisRule
from art_plugins.defences.layers.paper import PaperRule
from art_plugins.defences.layers.rules import LayerRule
from art_plugins.parameters import (
    Renamed,
    check_choice,
    check_count,
    check_layer_names,
    check_settings_dict,
    is_number,
    plain,
    renamed,
    shown,
)
from art_plugins.statistics.benign_threshold import check_terms

RULES: dict[str, type[LayerRule]] = {kind.name: kind for kind in (PaperRule, MahalanobisRule)}
OPTIONS = ("mode", "mode_params", "layers", "tau", "fpr", "random_state")


def _to_fpr(quantile: Any) -> Any:
    """1 - quantile; what is no number stays, so that the check of ``fpr`` shows it. 1 - .99 is a little more than .01."""
    return round(1 - quantile, 12) if is_number(quantile) else quantile


OLD_SETTINGS = {name: Renamed("mode_params", name) for name in ("pooled", "n_folds", "max_dims")}
OLD_NAMES = {"quantile": Renamed("fpr", convert=_to_fpr), **OLD_SETTINGS}


def check_options(values: Mapping[str, Any]) -> None:
    """
    :param values: Every option by name, and ``batch_size`` where there is one.
    :raises InvalidInputError: If an option cannot be used.
    """
    check_choice("mode", values["mode"], RULES)
    kind, settings = RULES[values["mode"]], values["mode_params"]
    check_settings_dict("mode_params", settings, kind.settings)
    kind.check_settings({} if settings is None else settings)
    check_layer_names(values["layers"])
    if given_terms(values["tau"], values["fpr"]):
        check_terms(values["tau"], values["fpr"])
    for name, least in (("random_state", 0), ("batch_size", 1)):
        check_count(name, values.get(name, least), least)


def given_terms(tau: float | None, fpr: float | None) -> dict[str, float]:
    """Those of both that are not ``None``."""
    return {name: value for name, value in (("tau", tau), ("fpr", fpr)) if value is not None}


def present_options(given: Mapping[str, Any], current: Mapping[str, Any]) -> dict[str, Any]:
    """
    Options by their present names; old names are carried over, see :func:`~art_plugins.parameters.renamed`.

    A new ``mode`` without ``mode_params`` starts with that rule's own settings. Old names that set what the mode does not
    read had no effect and are left out.

    :param given: Options by name, as the caller gave them.
    :param current: Present values by name; empty for a saved file.
    """
    mode = given.get("mode", current.get("mode"))
    is_known = isinstance(mode, str) and mode in RULES
    is_new = is_known and mode != current.get("mode")
    unread = [name for name in given if is_known and name in OLD_SETTINGS and name not in RULES[mode].settings]
    for name in unread:
        warnings.warn(
            f"The parameter {name} goes with the next release. {name}={shown(plain(given[name]))} is left out now: mode "
            f"{mode!r} does not read it.",
            FutureWarning,
            stacklevel=3,
        )
    read = {name: value for name, value in given.items() if name not in unread}
    if is_new and "mode_params" not in read:
        read["mode_params"] = None
        current = {}
    return renamed(read, OLD_NAMES, current)


class LayerwiseParameters(CheckedParameters):
    """What the filter and the detector do with their parameters; it stands before the base class of ART's contract."""

    def set_params(self, **kwargs: Any) -> None:
        """
        Check, then take over parameters; nothing is changed if one of them is wrong. A new ``mode`` without ``mode_params``
        starts with that rule's own settings.

        :raises InvalidInputError: For an unknown name or a value out of range.
        """
        super().set_params(**present_options(kwargs, self.tunables()))

    def _check(self, values: dict[str, Any]) -> None:
        check_options(values)
