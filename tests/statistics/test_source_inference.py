"""The source of a triggered image: the sum by hand, probabilities and logits alike, what each part decides."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import softmax

from art_plugins.statistics.source_inference import HELD_WEIGHT, LET_GO_WEIGHT, STRENGTHS, infer_sources, log_scores

K, TARGET = 5, 2


@pytest.fixture
def drawn(random):
    return random.normal(scale=3, size=(40, K)), random.normal(scale=3, size=(len(STRENGTHS), 40, K))


def test_infer_sources_equals_the_sum_by_hand(drawn):
    log_likelihoods, outputs = drawn
    found = infer_sources(log_likelihoods, outputs, TARGET)
    lets_go = 0
    for row in range(len(found)):
        gone = np.argmax(outputs[-1, row]) != TARGET
        lets_go += gone
        scores = {}
        for label in set(range(K)) - {TARGET}:
            without_target = [np.delete(one, TARGET) for one in outputs[:, row]]
            place = label - (label > TARGET)
            seen = np.mean([np.log(softmax(one)[place]) for one in without_target])
            scores[label] = seen + (LET_GO_WEIGHT if gone else HELD_WEIGHT) * log_likelihoods[row, label]
        assert found[row] == max(scores, key=scores.__getitem__)
    assert 5 < lets_go < 38


def test_infer_sources_of_probabilities_equals_that_of_logits(drawn):
    log_likelihoods, outputs = drawn
    found = infer_sources(log_likelihoods, softmax(outputs, axis=2), TARGET)
    np.testing.assert_array_equal(found, infer_sources(log_likelihoods, outputs, TARGET))


def test_infer_sources_never_gives_the_target_nor_a_class_without_samples(drawn):
    log_likelihoods, outputs = drawn
    log_likelihoods[:, TARGET] = 1e6
    log_likelihoods[:, 4] = -np.inf
    assert set(infer_sources(log_likelihoods, outputs, TARGET)) == {0, 1, 3}


def test_infer_sources_the_model_decides_where_it_lets_go_and_the_densities_where_it_clings():
    log_likelihoods = np.array([[0.0, 12.0, 0.0, 0.0, 0.0]] * 2)
    outputs = np.zeros((len(STRENGTHS), 2, K))
    outputs[:, :, 3] = 6.0
    outputs[:, 1, TARGET] = 9.0
    np.testing.assert_array_equal(infer_sources(log_likelihoods, outputs, TARGET), [3, 1])


@pytest.mark.parametrize("logits", [np.array([[0.2, 0.8, 0.5]]), np.array([[-0.2, 1.2]])])
def test_log_scores_leave_logits_as_they_are(logits):
    np.testing.assert_array_equal(log_scores(logits), logits)


def test_log_scores_of_saturated_probabilities_are_finite():
    assert np.isfinite(log_scores(np.array([[1.0, 0.0]]))).all()
