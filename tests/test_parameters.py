"""Old names of parameters, and dicts of settings."""

from __future__ import annotations

import warnings

import numpy as np
import pytest

from art_plugins.errors import InvalidInputError
from art_plugins.parameters import Renamed, check_number, check_settings_dict, plain, renamed

OLD = {
    "quantile": Renamed("fpr", convert=lambda value: round(1 - value, 12)),
    "rate": Renamed("fpr"),
    "power": Renamed("density", "power"),
    "tie": Renamed("density", "tie"),
}


@pytest.mark.parametrize("value", [2**63, -(2**63), 10**30])
def test_a_whole_number_beyond_64_bits_is_refused_by_name_and_a_float_of_its_size_is_not(value):
    with pytest.raises(InvalidInputError, match="weight must be a float, or a whole number of 64 bits"):
        check_number("weight", value)
    check_number("weight", float(value))
    check_number("weight", (abs(value) - 1) % 2**63)


def test_renamed_present_names_pass_without_a_warning():
    given = {"fpr": 0.1, "density": {"tie": 1}, "other": None}
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert renamed(given, OLD, {}) == given


@pytest.mark.parametrize(
    ("given", "current", "expected", "said"),
    [
        ({"rate": 0.1}, {}, {"fpr": 0.1}, "write fpr=0.1 in place of rate=0.1"),
        ({"quantile": 0.99}, {}, {"fpr": 0.01}, "write fpr=0.01 in place of quantile=0.99"),
        ({"quantile": np.float64(0.5)}, {"fpr": 0.3}, {"fpr": 0.5}, "write fpr=0.5"),
        ({"quantile": None, "fpr": 0.2}, {}, {"fpr": 0.2}, "quantile=None"),
        ({"quantile": None}, {"fpr": 0.2}, {"fpr": None}, "write fpr=None"),
        ({"quantile": 0.9, "fpr": None}, {}, {"fpr": 0.1}, "write fpr=0.1"),
        ({"power": 1}, {}, {"density": {"power": 1}}, r"write density=\{'power': 1\} in place of power=1"),
        ({"power": 1}, {"density": {"tie": 0.5, "power": 2}}, {"density": {"tie": 0.5, "power": 1}}, "density"),
        ({"power": 1, "density": None}, {"density": {"tie": 0.5}}, {"density": {"tie": 0.5, "power": 1}}, "density"),
        ({"power": 1, "density": {}}, {"density": {"tie": 0.5}}, {"density": {"power": 1}}, "density"),
        ({"power": 1, "tie": None}, {}, {"density": {"power": 1, "tie": None}}, "density"),
    ],
)
def test_renamed_old_name_is_carried_over_and_the_warning_names_the_new_form(given, current, expected, said):
    before = {name: plain(value) for name, value in current.items()}
    with pytest.warns(FutureWarning, match=said):
        assert renamed(given, OLD, current) == expected
    assert current == before


@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_renamed_both_names_at_once_and_settings_that_are_no_dict_are_refused():
    with pytest.raises(InvalidInputError, match="either fpr or its old name quantile"):
        renamed({"quantile": 0.9, "fpr": 0.1}, OLD, {})
    with pytest.raises(InvalidInputError, match="density must be a dict of settings or None; received 3"):
        renamed({"power": 1, "density": 3}, OLD, {})


def test_plain_numbers_inside_a_dict_are_pythons_own_and_the_dict_is_a_copy():
    given = {"power": np.float32(0.5)}
    found = plain(given)
    assert found == given
    assert found is not given
    assert type(found["power"]) is float


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (3, "density must be a dict of settings or None; received 3"),
        ([], "density must be a dict"),
        ({1: 2}, "density must be a dict"),
        ({"ties": 1}, "density must hold only tie, power; received {'ties': 1}"),
    ],
)
def test_settings_dict_of_another_form_is_refused(value, said):
    with pytest.raises(InvalidInputError, match=said):
        check_settings_dict("density", value, ("tie", "power"))


def test_settings_dict_of_known_settings_or_none_passes():
    for value in (None, {}, {"tie": 1}):
        check_settings_dict("density", value, ("tie", "power"))
