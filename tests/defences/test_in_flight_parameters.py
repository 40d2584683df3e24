"""Old names of the in-flight detector's parameters still work and give the same verdicts."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
import pytest
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.defences.flight.files import FILE_KIND
from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.errors import FileFormatError, InvalidInputError
from art_plugins.storage import load_arrays, save_arrays

OLD: list[dict[str, Any]] = [
    {"family": "mixture", "power": 1},
    {"tie": 0.25},
    {"power": np.float32(0.25)},
    {"family": "oas", "tie": None, "power": 0.75},
]
every_old = pytest.mark.parametrize("old", OLD, ids=lambda one: "-".join(one))


@pytest.fixture(scope="module")
def classifier(digits):
    network = digits.network("white_square")
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu")


def make(classifier: Any, digits: Any, **parameters: Any) -> InFlightDetector:
    return InFlightDetector(classifier, digits.white_square, digits.target, **parameters)


def scores(detector: InFlightDetector, digits: Any) -> np.ndarray:
    found: np.ndarray = detector.detect(digits.white_square(digits.x_test[:60]))[0]["outlier_scores"]
    return found


@every_old
def test_old_names_give_the_verdicts_of_the_new_ones(classifier, digits, old):
    expected = make(classifier, digits, density=old)
    expected.fit(digits.x_clean, digits.y_clean)
    with pytest.warns(FutureWarning, match=f"The parameter {next(iter(old))} goes with the next release: write density="):
        by_constructor = make(classifier, digits, **old)
    by_constructor.fit(digits.x_clean, digits.y_clean)
    by_fit = make(classifier, digits)
    with pytest.warns(FutureWarning):
        by_fit.fit(digits.x_clean, digits.y_clean, **old)
    for detector in (by_constructor, by_fit):
        assert detector.tunables() == expected.tunables()
        assert detector.margin_ == expected.margin_
        np.testing.assert_array_equal(scores(detector, digits), scores(expected, digits))


@every_old
def test_file_with_old_names_is_read_without_a_warning(classifier, digits, old, tmp_path):
    saved = make(classifier, digits, density=old)
    saved.fit(digits.x_clean, digits.y_clean)
    saved.save(tmp_path / "file")
    arrays, settings = load_arrays(tmp_path / "file", FILE_KIND)
    flat = {"family": "regularised", "tie": None, "power": 0.5, **saved.density}
    parameters = {name: value for name, value in settings["parameters"].items() if name != "density"} | flat
    save_arrays(tmp_path / "file", FILE_KIND, arrays, {**settings, "parameters": parameters})
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        loaded = InFlightDetector.load(tmp_path / "file", classifier, digits.white_square)
    assert loaded.density == flat
    np.testing.assert_array_equal(scores(loaded, digits), scores(saved, digits))


def test_file_with_a_bad_setting_is_refused(classifier, digits, tmp_path):
    saved = make(classifier, digits)
    saved.fit(digits.x_clean, digits.y_clean)
    saved.save(tmp_path / "file")
    arrays, settings = load_arrays(tmp_path / "file", FILE_KIND)
    for density in (3, [], {"family": "spherical"}, {"famly": "oas"}):
        parameters = {**settings["parameters"], "density": density}
        save_arrays(tmp_path / "file", FILE_KIND, arrays, {**settings, "parameters": parameters})
        with pytest.raises(FileFormatError, match="does not hold a detector"):
            InFlightDetector.load(tmp_path / "file", classifier)


def test_old_name_changes_one_setting_and_a_new_dict_all_of_them(classifier, digits):
    detector = make(classifier, digits, density={"family": "oas", "power": 1})
    with pytest.warns(FutureWarning, match=r"write density=\{'power': 0.5\} in place of power=0.5"):
        detector.set_params(power=0.5)
    assert detector.density == {"family": "oas", "power": 0.5}
    detector.set_params(density={"tie": 0.5})
    assert detector.density == {"tie": 0.5}
    given = {"tie": 0.25}
    detector.set_params(density=given)
    given["tie"] = 7
    assert detector.density == {"tie": 0.25}


def test_new_names_give_no_warning(classifier, digits):
    with warnings.catch_warnings():
        warnings.simplefilter("error", FutureWarning)
        make(classifier, digits, density={"family": "tied"}).fit(digits.x_clean, digits.y_clean, density=None)


@pytest.mark.parametrize("old", [{"family": "spherical"}, {"tie": 2}, {"power": 0}, {"power": "a"}, {"tie": True}])
@pytest.mark.filterwarnings("ignore::FutureWarning")
def test_bad_value_of_an_old_name_is_refused_by_name_and_nothing_changes(classifier, digits, old):
    detector = make(classifier, digits)
    before = detector.get_params()
    for call in (detector.set_params, lambda **wrong: make(classifier, digits, **wrong)):
        with pytest.raises(InvalidInputError, match=f"{next(iter(old))} must be"):
            call(**old)
    assert detector.get_params() == before
