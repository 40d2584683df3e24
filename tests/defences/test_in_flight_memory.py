"""The in-flight detector says what memory it needs before it works, and still reads files with full covariances."""

from __future__ import annotations

import logging
from types import SimpleNamespace

import numpy as np
import pytest
from art.estimators.classification import PyTorchClassifier
from torch import nn

from art_plugins.defences.flight import fit as in_flight_fit
from art_plugins.defences.flight.files import FILE_KIND
from art_plugins.defences.in_flight import InFlightDetector
from art_plugins.errors import FileFormatError, InvalidInputError
from art_plugins.statistics.factor_gaussians import fit_bytes
from art_plugins.storage import load_arrays, save_arrays


@pytest.fixture(scope="module")
def classifier(digits):
    network = digits.network("white_square")
    return PyTorchClassifier(network, nn.CrossEntropyLoss(), (1, 8, 8), 10, clip_values=(0, 1), device_type="cpu")


def test_fit_that_needs_more_memory_than_there_is_is_refused_before_the_work(classifier, digits, monkeypatch):
    needed = fit_bytes(200, 96)
    runs = []
    handle = classifier.model.register_forward_hook(lambda module, inputs, output: runs.append(len(output)))
    detector = InFlightDetector(classifier, digits.white_square, digits.target)
    try:
        monkeypatch.setattr(in_flight_fit.psutil, "virtual_memory", lambda: SimpleNamespace(available=needed - 1))
        with pytest.raises(InvalidInputError, match=r"96 features.*layers 3, 5.*200 images.*give fewer clean images"):
            detector.fit(digits.x_clean, digits.y_clean)
        assert set(runs) == {1}
        monkeypatch.setattr(in_flight_fit.psutil, "virtual_memory", lambda: SimpleNamespace(available=needed))
        detector.fit(digits.x_clean, digits.y_clean)
    finally:
        handle.remove()


def test_fit_says_what_memory_it_needs(classifier, digits, caplog):
    with caplog.at_level(logging.INFO):
        InFlightDetector(classifier, digits.white_square, digits.target).fit(digits.x_clean, digits.y_clean)
    assert f"96 features take at most {fit_bytes(200, 96) / 1e9:.2f} GB" in caplog.text


def with_full_covariances(arrays: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays of the release before: the inverse of each covariance as a whole matrix."""
    found = {name: arrays[name] for name in ("power", "centre", "scale", "used")}
    basis, factors, owners, noise = (arrays[name] for name in ("basis", "factors", "owners", "noise"))
    assert basis.shape[0] == basis.shape[1]
    whitening = []
    for label, own_noise in enumerate(noise):
        own = factors[owners == label]
        inverse = basis.T @ (np.eye(len(basis)) - own.T @ own) @ basis / own_noise
        whitening.append(np.linalg.cholesky(inverse).T)
    means = np.linalg.solve(basis, arrays["means"].T).T
    found |= {"log_weights": np.zeros((len(noise), 1)), "means": means[:, None], "whitening": np.stack(whitening)[:, None]}
    return found | {"log_scales": np.array([[np.linalg.slogdet(one)[1]] for one in whitening])}


def test_file_of_the_release_before_gives_the_same_scores(classifier, digits, tmp_path):
    saved = InFlightDetector(classifier, digits.white_square, digits.target, removal=False)
    saved.fit(digits.x_clean, digits.y_clean)
    saved.save(tmp_path / "new")
    arrays, settings = load_arrays(tmp_path / "new", FILE_KIND)
    save_arrays(tmp_path / "old", FILE_KIND, with_full_covariances(arrays), settings)
    x = digits.white_square(digits.x_test[:80])
    expected, is_trigger = saved.detect(x)
    found, found_trigger = InFlightDetector.load(tmp_path / "old", classifier).detect(x)
    np.testing.assert_allclose(found["log_likelihoods"], expected["log_likelihoods"], rtol=1e-6)
    np.testing.assert_array_equal(found_trigger, is_trigger)


@pytest.mark.parametrize("owners", [[1, 0], [0, 10]])
def test_file_whose_factors_belong_to_no_class_is_refused(classifier, digits, tmp_path, owners):
    saved = InFlightDetector(classifier, digits.white_square, digits.target)
    saved.fit(digits.x_clean, digits.y_clean)
    saved.save(tmp_path / "file")
    arrays, settings = load_arrays(tmp_path / "file", FILE_KIND)
    arrays = arrays | {"owners": np.array(owners), "factors": arrays["factors"][:2]}
    save_arrays(tmp_path / "file", FILE_KIND, arrays, settings)
    with pytest.raises(FileFormatError, match="owners of the factors must be classes in ascending order"):
        InFlightDetector.load(tmp_path / "file", classifier)
