"""Where to cut one number for each sample into a group and the rest: exact, over all cuts, with shares as priors."""

from __future__ import annotations

import numpy as np

from art_plugins.statistics.moments import centre_and_spread

LEAST_MEMBERS = 8  # the variance of fewer values says little: with 8 its relative standard error is one half
NORMAL, HEAVY = np.inf, 5.0  # degrees of freedom; with 5, the fewest whole ones, the fourth moment is finite
LEAST_VARIANCE = 1e-4  # of all values; a few equal values have none, and its logarithm would decide alone


def minimum_error_cut(values: np.ndarray, least: int = LEAST_MEMBERS) -> float | None:
    """
    Cut values in two where two normal distributions, each with a share, a mean and a variance of its own, fit best.

    | Paper: J. Kittler, J. Illingworth, Minimum error thresholding, Pattern Recognition 19, 1986, equation 15.

    All n - 1 cuts are compared, from cumulative sums, so there is no start and no iteration.

    When this breaks: a heavy tail also looks like a second, wider distribution. Whoever uses the cut judges the group.

    :param values: One number for each sample, (n,), finite.
    :param least: Smallest number of samples on either side.
    :return: Largest value of the lower side; ``None`` if there are fewer than ``2 * least`` samples or all are equal.
    """
    n = len(values)
    ordered = np.sort(values.astype(np.float64))
    spread = ordered.std() if n >= 2 * least else 0.0
    if not spread > 0:
        return None
    z = (ordered - ordered.mean()) / spread
    sums, squares, n_below = np.cumsum(z), np.cumsum(z * z), np.arange(1, n)
    below, above = sums[:-1] / n_below, (sums[-1] - sums[:-1]) / (n - n_below)
    var_below = squares[:-1] / n_below - below**2
    var_above = (squares[-1] - squares[:-1]) / (n - n_below) - above**2
    share = n_below / n
    errors = share * np.log(np.maximum(var_below, LEAST_VARIANCE)) - 2 * share * np.log(share)
    errors += (1 - share) * np.log(np.maximum(var_above, LEAST_VARIANCE)) - 2 * (1 - share) * np.log(1 - share)
    errors[: least - 1] = errors[n - least :] = np.inf
    return float(ordered[int(np.argmin(errors))])


def bayes_cut(values: np.ndarray, group: np.ndarray, dof: float = NORMAL) -> float:
    """
    Give the value between the medians of a group and of the rest where both are as likely, with their shares as priors.

    Both are normal, or have Student's distribution, by median and median deviation. Without the shares, a group of one in
    twenty would draw in the tail of the rest, and be another group after some rounds. Normal distributions serve a group
    that is wider than it looks; heavy tails keep the outliers of many samples out of a small group.

    :param values: One number for each sample, (n,); the group's median is the larger one.
    :param group: Who is of the group, (n,), bool; at least one sample is, and one is not.
    :param dof: Degrees of freedom of both distributions; infinite: normal.
    :return: The cut; the median of the rest, if the group is the likelier one everywhere between the medians.
    """
    upper, upper_spread = map(float, centre_and_spread(values[group], robust=True))
    lower, lower_spread = map(float, centre_and_spread(values[~group], robust=True))
    least = 1e-9 * max(abs(upper - lower), 1e-300)
    upper_spread, lower_spread = max(upper_spread, least), max(lower_spread, least)
    share = group.mean()
    places = np.linspace(lower, upper, 201)
    log_group = np.log(share / upper_spread) + _log_density((places - upper) / upper_spread, dof)
    log_rest = np.log((1 - share) / lower_spread) + _log_density((places - lower) / lower_spread, dof)
    of_rest = np.flatnonzero(log_group < log_rest)
    return float(places[of_rest[-1]] if len(of_rest) else lower)


def _log_density(z: np.ndarray, dof: float) -> np.ndarray:
    """Logarithm of the density of Student's distribution, but for its constant; z in deviations."""
    found: np.ndarray = -z * z / 2 if np.isinf(dof) else -(dof + 1) / 2 * np.log1p(z * z / dof)
    return found
