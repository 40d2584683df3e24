"""Short windows of time that are compared wherever they lie in a clip."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from art_plugins.features.views import principal_axes

FLOOR = 1e-6  # share of the largest variance, below which a direction is rounding error and is left out


class WindowAxes(NamedTuple):
    """``mean`` (D,) of windows, and ``axes`` (D, d), which bring their leading principal components to unit variance."""

    mean: np.ndarray
    axes: np.ndarray


def sliding_windows(frames: np.ndarray, width: int, stride: int) -> np.ndarray:
    """
    Cut frames into overlapping windows and flatten each.

    :param frames: Shape (n, T, F).
    :param width: Frames of a window, at least 1; at most T are taken.
    :param stride: Frames from the start of one window to that of the next, at least 1.
    :return: Shape (n, W, width * F), W at least 1.
    """
    n_frames = frames.shape[1]
    width = min(width, n_frames)
    starts = range(0, n_frames - width + 1, stride)
    return np.stack(
        [frames[:, start : start + width].reshape(len(frames), width * frames.shape[2]) for start in starts], axis=1
    )


def principal_window_axes(windows: np.ndarray, nb_dims: int) -> WindowAxes:
    """
    Find the leading principal components of windows.

    :param windows: Windows of many clips, shape (m, D), m at least 2.
    :param nb_dims: Most components, d.
    """
    windows = np.asarray(windows, dtype=np.float64)
    mean, axes = principal_axes(windows, nb_dims)
    variances = ((windows - mean) @ axes).var(axis=0)
    kept = variances > FLOOR * max(float(variances[0]), 1e-30)
    return WindowAxes(mean, axes[:, kept] / np.sqrt(variances[kept]))


def project_windows(windows: np.ndarray, axes: WindowAxes) -> np.ndarray:
    """Project windows (n, W, D) on the axes; shape (n, W, d), float32."""
    projected: np.ndarray = ((windows - axes.mean) @ axes.axes).astype(np.float32)
    return projected
