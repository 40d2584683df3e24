"""Does a stream of numbers still look like the ones that a detector was calibrated with?"""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

import numpy as np
from scipy.stats import ks_2samp

from art_plugins.arrays import check_finite
from art_plugins.errors import InvalidInputError
from art_plugins.parameters import check_count, check_number

LEAST_REFERENCE = 20  # with fewer values, hardly any difference could be seen


class Drift(NamedTuple):
    """
    One test of the stream.

    ``n_seen``: number of values that the stream has had; ``statistic``: largest distance between the distribution functions
    of the window and of the reference, 0 to 1; ``p_value``; ``drifted``: whether the p-value is at most the false-alarm
    rate.
    """

    n_seen: int
    statistic: float
    p_value: float
    drifted: bool


class DriftMonitor:
    """
    Compare the last values of a stream with reference values by the two-sample test of Kolmogorov and Smirnov.

    The window slides by ``step`` values; a test takes place each time it has moved on. For a stream that looks like the
    reference, each test gives a false alarm with the probability ``false_alarm_rate``. So there is one false alarm in
    ``step / false_alarm_rate`` values on average: with the defaults, one in 100,000.

    When this breaks: values that depend on each other, such as neighbouring frames of a video, make false alarms more
    frequent. A stream in which the classes have other shares than in the reference is a drift as well.

    :param reference: Values for clean samples that looked like those to come, (n,), n >= 20. They must not have been used
        to fit what gives the values.
    :param window: Number of values of the stream in one test.
    :param step: Number of new values between two tests; ``None``: half of the window.
    :param false_alarm_rate: Above 0, below 1.
    :raises InvalidInputError: For too few or not finite reference values, or a parameter out of range.
    """

    def __init__(
        self, reference: np.ndarray, window: int = 200, step: int | None = None, false_alarm_rate: float = 0.001
    ) -> None:
        check_count("window", window, LEAST_REFERENCE)
        check_count("step", window // 2 if step is None else step)
        check_number("false_alarm_rate", false_alarm_rate, above=0, below=1)
        values = np.asarray(reference, dtype=np.float64)
        if values.ndim != 1 or len(values) < LEAST_REFERENCE:
            raise InvalidInputError(
                f"reference must be (n,), with at least {LEAST_REFERENCE} values of clean samples; received {values.shape}."
            )
        check_finite(values[:, None], "reference", "remove such values first")
        self.reference, self.window, self.false_alarm_rate = values, window, false_alarm_rate
        self.step = window // 2 if step is None else step
        self._last: deque[float] = deque(maxlen=window)
        self._n_seen, self._next = 0, window

    def update(self, values: np.ndarray) -> list[Drift]:
        """
        Take the next values of the stream, in their order.

        :param values: Shape (n,). Values that are not finite are a drift: they count as larger than all others.
        :return: The tests that took place, in their order; none before the first window is full.
        """
        found = []
        for value in np.nan_to_num(np.asarray(values, dtype=np.float64).reshape(-1), nan=np.inf):
            self._last.append(float(value))
            self._n_seen += 1
            if self._n_seen == self._next:
                self._next += self.step
                found.append(self._test())
        return found

    def _test(self) -> Drift:
        # The test takes ranks alone, so a number larger than all others stands for infinity.
        most = float(np.finfo(np.float64).max)
        window = np.nan_to_num(np.array(self._last), posinf=most, neginf=-most)
        statistic, p_value = ks_2samp(self.reference, window)
        return Drift(self._n_seen, float(statistic), float(p_value), bool(p_value <= self.false_alarm_rate))


def class_margins(logits: np.ndarray) -> np.ndarray:
    """
    Give the largest output of a model less the second largest: how sure the model is of its class.

    :param logits: Outputs of a model, (n, K), K >= 2.
    :return: Shape (n,), float64; NaN for outputs that are not finite.
    """
    outputs = np.asarray(logits, dtype=np.float64)
    two = np.sort(np.partition(outputs, -2, axis=1)[:, -2:], axis=1)
    margins: np.ndarray = np.where(np.isfinite(outputs).all(axis=1), two[:, 1] - two[:, 0], np.nan)
    return margins
