"""ART's contract for poison filters and detectors, held by every public class of the package."""

from __future__ import annotations

import copy
import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from art.defences.detector.evasion import EvasionDetector
from art.defences.detector.poison.poison_filtering_defence import PoisonFilteringDefence

import art_plugins
from art_plugins.errors import InvalidInputError, NotFittedError

NOT_DEFENCES = {"Autoencoder", "AutoencoderSettings", "Inversion", "invert_triggers"}
NAMES = sorted(set(art_plugins._HOMES) - NOT_DEFENCES)
FILTERS = [name for name in NAMES if name.endswith(("Defence", "SPECTRE", "Signatures", "Clustering"))]
FILTERS += ["PerfectFilter", "PyODFilter", "RandomFilter"]
DETECTORS = [name for name in NAMES if name not in FILTERS]
WITH_FILES = ["InFlightDetector", "LayerwiseFeatureDetector", "VAELatentDefence"]
# Of any type that a parameter may have, so that for each parameter some are wrong.
ODD = ("no such value", [], float("nan"), 10**400, -1.5, {}, object(), True)
PATHS_AND_LISTS = {"autoencoder", "checkpoint", "layers"}  # of which a text may be right

every_class = pytest.mark.parametrize("name", NAMES)
every_filter = pytest.mark.parametrize("name", FILTERS)
every_detector = pytest.mark.parametrize("name", DETECTORS)


def strided(x: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(x[::-1])[::-1]


def read_only(x: np.ndarray) -> np.ndarray:
    x = np.array(x)
    x.setflags(write=False)
    return x


def on_disk(x: np.ndarray, folder: Path) -> np.ndarray:
    np.save(folder / "x.npy", x)
    return np.load(folder / "x.npy", mmap_mode="r")


ARRAYS: dict[str, Callable[..., np.ndarray]] = {
    "float16": lambda x, folder: x.astype(np.float16),
    "float64": lambda x, folder: x.astype(np.float64),
    "big_endian": lambda x, folder: x.astype(">f4"),
    "negative_strides": lambda x, folder: strided(x),
    "fortran": lambda x, folder: np.asfortranarray(x),
    "read_only": lambda x, folder: read_only(x),
    "memmap": on_disk,
}
LABELS: dict[str, Callable[[np.ndarray, int], Any]] = {
    "column": lambda y, k: y[:, None],
    "one_hot": lambda y, k: np.eye(k, dtype=np.float32)[y],
    "float_integers": lambda y, k: y.astype(np.float64),
    "uint8": lambda y, k: y.astype(np.uint8),
    "list": lambda y, k: y.tolist(),
    "list_of_lists": lambda y, k: np.eye(k, dtype=int)[y].tolist(),
}


def test_every_public_class_is_driven_here(strangers):
    assert sorted(FILTERS) == sorted(strangers.filters)
    assert sorted(DETECTORS) == sorted(strangers.detectors)


@pytest.mark.parametrize("name", art_plugins.__all__)
def test_public_name_is_imported_from_the_module_that_defines_it(name):
    assert getattr(art_plugins, name).__module__ == art_plugins._HOMES[name]


@every_class
def test_kind_is_arts(strangers, name):
    assert isinstance(strangers.make(name), PoisonFilteringDefence if name in FILTERS else EvasionDetector)


@every_class
def test_wrong_value_is_refused_by_the_constructor_and_by_set_params_and_named(strangers, name):
    right = strangers.make(name)
    for parameter in right.tunables():
        refused = 0
        for value in ODD:
            before = right.get_params()
            try:
                strangers.make(name, **{parameter: value})
            except InvalidInputError as error:
                refused += 1
                assert parameter in str(error), (parameter, value)  # noqa: PT017
                with pytest.raises(InvalidInputError, match=parameter):
                    right.set_params(**{parameter: value})
                assert right.get_params() == before
        assert refused >= len(ODD) - 3 - (parameter in PATHS_AND_LISTS), parameter
    if name not in ("PerfectFilter",):
        assert right.tunables()


@every_class
def test_unknown_parameter_is_refused(strangers, name):
    with pytest.raises(InvalidInputError, match=r"no_such_thing.*classifier"):
        strangers.make(name).set_params(no_such_thing=1)


@every_class
def test_parameters_hold_the_classifier_and_can_be_given_back(strangers, name):
    defence = strangers.make(name)
    parameters = defence.get_params()
    assert parameters["classifier"] is strangers.classifier
    assert "classifier" not in defence.tunables()
    defence.set_params(**parameters)
    assert defence.get_params() == parameters
    twin = strangers.make(name, **defence.tunables())
    assert twin.get_params() == parameters


@every_filter
def test_filter_takes_another_classifier(strangers, name):
    other = strangers.wrap(strangers.network)
    defence = strangers.make(name)
    defence.set_params(classifier=other)
    assert defence.get_params()["classifier"] is other


@every_detector
def test_detector_stays_with_the_classifier_that_it_learned_of(strangers, name):
    detector = strangers.make(name)
    with pytest.raises(InvalidInputError, match="classifier cannot be changed"):
        detector.set_params(classifier=strangers.wrap(strangers.network))
    assert detector.classifier is strangers.classifier


@every_class
@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))], ids=["deepcopy", "pickle"])
def test_copy_gives_the_same_answers(strangers, name, copied):
    expected = strangers.verdict(name)
    fresh = copied(strangers.make(name))
    if name in DETECTORS:
        fresh.fit(strangers.x, strangers.y)
    np.testing.assert_array_equal(strangers.verdict(name, defence=fresh), expected)
    again = copied(strangers.fitted(name))
    np.testing.assert_array_equal(strangers.verdict(name, defence=again), expected)
    assert again.tunables().keys() == fresh.tunables().keys()


@every_class
@pytest.mark.parametrize("form", ARRAYS)
def test_array_gives_the_verdict_of_its_float32_copy(strangers, name, form, tmp_path):
    x = ARRAYS[form](strangers.x, tmp_path)
    np.testing.assert_array_equal(strangers.verdict(name, x), strangers.verdict(name))


@every_class
@pytest.mark.parametrize("form", LABELS)
def test_labels_of_every_form_give_the_verdict_of_indices(strangers, name, form):
    y = LABELS[form](strangers.y, strangers.k)
    np.testing.assert_array_equal(strangers.verdict(name, y=y), strangers.verdict(name))


@every_class
def test_two_instances_share_nothing(strangers, name):
    one, other = strangers.fitted(name), strangers.make(name)
    held = {key for key in vars(one) if key.endswith("_") and not key.startswith("_")}
    assert held, name
    assert not held & set(vars(other))
    before = other.get_params()
    for value in vars(one).values():
        if isinstance(value, list):
            value.append("changed")
    assert other.get_params() == before
    assert strangers.make(name).get_params().keys() == before.keys()


@every_filter
def test_is_clean_has_length_order_and_values(strangers, name):
    defence = strangers.make(name)
    report, is_clean = defence.detect_poison()
    json.dumps(report, allow_nan=False)
    assert isinstance(is_clean, list)
    assert len(is_clean) == strangers.n
    assert {type(value) for value in is_clean} == {int}
    assert set(is_clean) <= {0, 1}
    np.testing.assert_array_equal(defence.is_clean_, is_clean)
    if name == "PerfectFilter":
        np.testing.assert_array_equal(1 - np.array(is_clean), np.arange(strangers.n) % 5 == 0)


@every_filter
def test_evaluation_is_arts_json_and_counts_the_last_verdict(strangers, name):
    defence = strangers.make(name)
    truth = (np.arange(strangers.n) % 5 != 0).astype(int)
    matrix = json.loads(defence.evaluate_defence(truth))
    assert set(matrix) == {f"class_{label}" for label in range(strangers.k)}
    found = np.asarray(defence.is_clean_)
    for label in range(strangers.k):
        rows = strangers.y == label
        caught = int(((found == 0) & (truth == 0))[rows].sum())
        rate = matrix[f"class_{label}"]["TruePositive"]
        assert (rate["numerator"], rate["denominator"]) == (caught, int((truth[rows] == 0).sum()))
    with pytest.raises(InvalidInputError, match="is_clean"):
        defence.evaluate_defence(truth[:-1])


@every_detector
def test_verdicts_of_a_detector_have_length_order_and_type(strangers, name):
    detector = strangers.fitted(name)
    report, is_trigger = detector.detect(strangers.x)
    assert is_trigger.shape == (strangers.n,)
    assert is_trigger.dtype == bool
    assert report["outlier_scores"].shape == (strangers.n,)
    order = np.random.default_rng(0).permutation(strangers.n)
    np.testing.assert_array_equal(detector.detect(strangers.x[order])[1], is_trigger[order])
    np.testing.assert_array_equal(detector.predict(strangers.x), np.where(is_trigger, 1.0, -1.0)[:, None])


@pytest.mark.parametrize("name", WITH_FILES)
def test_files_are_written_in_both_of_arts_ways(strangers, name, tmp_path):
    defence = strangers.fitted(name)
    defence.save("one.safetensors", str(tmp_path))
    defence.save(tmp_path / "other.safetensors")
    load = getattr(art_plugins, name).load
    data = (strangers.x, strangers.y) if name in FILTERS else ()
    for file in ("one", "other"):
        loaded = load(tmp_path / f"{file}.safetensors", strangers.classifier, *data)
        np.testing.assert_array_equal(strangers.verdict(name, defence=loaded), strangers.verdict(name, defence=defence))


@every_detector
def test_detector_that_has_no_file_or_has_learned_nothing_says_so(strangers, name, tmp_path):
    with pytest.raises((InvalidInputError, NotFittedError), match="fit"):
        strangers.make(name).save("file", str(tmp_path))
    assert not list(tmp_path.iterdir())
