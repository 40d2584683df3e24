"""The figure of inverted triggers: what it shows, in which order, and that it fits a page."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from matplotlib.colors import to_hex

from art_plugins.reports import drawing
from art_plugins.reports.trigger_figures import (
    inversion_figure,
    inversion_words,
    most_suspicious_first,
    norm_text,
    pattern_image,
)
from art_plugins.triggers.found import Inversion, InvertedTriggers


def inverted(kind: str, index: list[float], shape: tuple[int, ...] = (1, 6, 6), clip_values=(0.0, 1.0)) -> InvertedTriggers:
    random = np.random.default_rng(1)
    k = len(index)
    low, high = clip_values
    patterns = random.uniform(low, high, size=(k, *shape))
    masks = np.ones((k, *([1] * len(shape)))) if kind == "additive" else random.uniform(size=(k, 1, *shape[1:]))
    return InvertedTriggers(kind, masks, patterns, np.arange(2.0, k + 2), np.full(k, 0.995), np.array(index), clip_values)


def both(index: list[float], target: int | None = None) -> Inversion:
    kind = None if target is None else "additive"
    one, other = inverted("patch", [0.0 if np.isfinite(value) else np.nan for value in index]), inverted("additive", index)
    return Inversion((one, other), np.ones(len(index)), np.array(index), target, kind, None if target is None else 0.995)


def titles(figure):
    return [axes.get_title() for axes in figure.axes]


def test_inversion_figure_rows_are_kinds_and_columns_classes_by_index():
    figure = inversion_figure(both([0.5, 4.0, np.nan, 1.0], target=1), ["ant", "bee", "cat", "dog"])
    assert [title.split("\n")[0] for title in titles(figure)] == 2 * ["bee", "dog", "ant", "cat"]
    assert titles(figure)[0] == "bee\n3.0 px\nsuccess 0.99\nindex 0.00"
    assert titles(figure)[4] == "bee\nL2 3.00\nsuccess 0.99\nindex 4.00"
    assert titles(figure)[7].endswith("no index")


def test_inversion_figure_only_the_pattern_that_gave_the_backdoor_away_is_framed():
    def framed(result):
        figure = inversion_figure(result, ["ant", "bee", "cat"])
        colours = [{to_hex(spine.get_edgecolor()).upper() for spine in axes.spines.values()} for axes in figure.axes]
        return [drawing.SUSPECT in colour for colour in colours]

    assert framed(both([0.5, 4.0, 1.0], target=1)) == [False, False, False, True, False, False]
    assert framed(both([0.5, 2.0, 1.0])) == 6 * [False]


@pytest.mark.parametrize("k", [3, 10, 43])
def test_inversion_figure_fits_a_page_and_shows_at_most_ten_classes(k):
    figure = inversion_figure(both(list(np.linspace(0, 2, k))), [f"a class with a long name {i}" for i in range(k)])
    assert len(figure.axes) == 2 * min(k, 10)
    width, _ = drawing.css_size(figure)
    assert width <= 1000
    assert drawing.png_bytes(figure).startswith(b"\x89PNG")


@pytest.mark.parametrize("shape", [(1, 6, 6), (1, 6, 4), (1, 4, 6)])
@pytest.mark.parametrize("name", ["{}", "Speed limit ({}0 km/h)"])
def test_inversion_figure_panels_and_titles_keep_apart(name, shape):
    index = list(np.linspace(0, 2, 10))
    result = Inversion(
        (inverted("patch", index, shape), inverted("additive", index, shape)),
        np.ones(10),
        np.array(index),
        None,
        None,
        None,
    )
    figure = inversion_figure(result, [name.format(i) for i in range(10)])
    figure.draw_without_rendering()
    titles = [axes.title.get_window_extent() for axes in figure.axes]
    panels = [axes.get_window_extent() for axes in figure.axes]
    for row in (titles[:10], titles[10:]):
        assert all(left.x1 <= right.x0 for left, right in itertools.pairwise(row))
    assert max(title.y1 for title in titles) <= figure.bbox.y1
    assert max(title.y1 for title in titles[10:]) <= min(panel.y0 for panel in panels[:10])
    assert min(panel.width for panel in panels) > 0.6 * figure.dpi


def test_pattern_image_by_hand():
    one = inverted("patch", [0.0], clip_values=(10.0, 30.0))
    expected = one.masks[0, 0] * (one.patterns[0, 0] - 10) / 20 + (1 - one.masks[0, 0]) / 2
    np.testing.assert_allclose(pattern_image(one, 0), expected)
    additive = inverted("additive", [0.0])._replace(patterns=np.array([-0.1, 0.0, 0.05, 0.1]).reshape(1, 1, 2, 2))
    np.testing.assert_allclose(pattern_image(additive, 0), [[0, 0.5], [0.75, 1]])
    np.testing.assert_allclose(pattern_image(additive._replace(patterns=np.zeros((1, 1, 2, 2))), 0), 0.5)


@pytest.mark.parametrize("shape", [(3, 6, 5), (6, 5, 3)])
def test_pattern_image_coloured_patterns_are_shown_with_their_channels_last(shape):
    random = np.random.default_rng(0)
    one = inverted("additive", [0.0])._replace(patterns=random.normal(size=(1, *shape)), masks=np.ones((1, 1, 1, 1)))
    picture = pattern_image(one, 0)
    assert picture.shape == (6, 5, 3)
    scaled = 0.5 + one.patterns[0] / (2 * np.abs(one.patterns[0]).max())
    np.testing.assert_allclose(picture[2, 4, 1], scaled[1, 2, 4] if shape[0] == 3 else scaled[2, 4, 1])


def test_inversion_words_say_what_is_smallest_and_framed():
    words = inversion_words(both([0.5, 4.0, np.nan], target=1), ["ant", "bee", "cat"])
    assert "The smallest patch pattern, 2.0 pixels, leads to ant; the median of all is 2.5 pixels." in words
    assert "The additive pattern towards bee is framed." in words
    assert "framed" not in inversion_words(both([0.5, 2.0, 1.0]), ["ant", "bee", "cat"])
    assert "No patch pattern works. No additive pattern works." in inversion_words(
        both([np.nan] * 3), ["ant", "bee", "cat"]
    )


def test_most_suspicious_first_unjudged_classes_come_last():
    assert most_suspicious_first(np.array([1.0, np.nan, 3.0, -2.0])) == [2, 0, 3, 1]
    assert norm_text("patch", 3.14) == "3.1 pixels"
