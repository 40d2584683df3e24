"""What the notebooks show: titles and shares as given, words that say the same, and an alternative text that arrives."""

from __future__ import annotations

import sys

import numpy as np
import pytest

from art_plugins.errors import InvalidInputError, MissingPackageError
from art_plugins.reports.drawing import new_figure, png_bytes
from art_plugins.reports.notebook import image_figure, image_words, score_figure, score_words, show, show_table

GREY = np.random.default_rng(0).uniform(size=(3, 1, 6, 6))
ROWS = {"clean": GREY, "marked": 1 - GREY}
TITLES = [["a", "b", "c"], ["d", "e", "f\ng"]]
SCORES = {"clean": np.array([0.0, 1.0, 2.0, 3.0]), "poison": np.array([8.0, 9.0])}


class Display:
    """In place of IPython.display: keeps what it was given."""

    def __init__(self) -> None:
        self.shown: list = []

    def display(self, what) -> None:
        self.shown.append(what)

    def Image(self, **options) -> dict:
        return options

    def Markdown(self, text) -> str:
        return text


@pytest.fixture
def display(monkeypatch) -> Display:
    stand_in = Display()
    monkeypatch.setitem(sys.modules, "IPython.display", stand_in)
    return stand_in


def test_image_figure_shows_every_image_under_its_title_and_row() -> None:
    figure = image_figure(ROWS, TITLES)
    assert [axes.get_title() for axes in figure.axes] == ["a", "b", "c", "d", "e", "f\ng"]
    assert [axes.get_ylabel() for axes in figure.axes] == ["clean", "", "", "marked", "", ""]
    np.testing.assert_array_equal(figure.axes[4].images[0].get_array(), 1 - GREY[1, 0])
    # One scale for all: a dark image is not brightened.
    assert {axes.images[0].get_clim() for axes in figure.axes} == {(0, 1)}
    assert image_words(ROWS, TITLES) == "Rows of images. clean: a; b; c. marked: d; e; f, g."


def test_image_figure_of_colours_has_them_last() -> None:
    colours = np.random.default_rng(1).uniform(size=(1, 3, 4, 5))
    shown = image_figure({"": colours}, [[""]]).axes[0].images[0].get_array()
    np.testing.assert_array_equal(shown[2, 3], colours[0, :, 2, 3])


@pytest.mark.parametrize("titles", [[["a", "b", "c"]], [["a", "b", "c"], ["d"]]])
def test_image_figure_with_a_title_too_few_is_refused(titles) -> None:
    with pytest.raises(InvalidInputError, match="as many images as titles"):
        image_figure(ROWS, titles)


def test_score_figure_bars_are_shares_of_their_group() -> None:
    figure = score_figure(SCORES, 5.0, "ratio (nats)")
    axes = figure.axes[0]
    heights = [sum(patch.get_height() for patch in bars) for bars in axes.containers]
    assert heights == pytest.approx([1, 1])
    assert max(patch.get_height() for patch in axes.containers[1]) == pytest.approx(0.5)
    assert [line.get_xdata()[0] for line in axes.lines] == [5.0]
    assert axes.get_xlabel() == "ratio (nats); higher = more suspicious"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert sorted(labels) == ["clean (4)", "poison (2)", "threshold: 5.00"]


def test_score_words_count_what_is_above_the_threshold() -> None:
    words = score_words(SCORES, 2.5, "ratio (nats)")
    assert "clean: 4 samples, median 1.50, 1 above the threshold" in words
    assert "poison: 2 samples, median 8.50, 2 above the threshold" in words


def test_show_gives_the_figure_at_its_size_with_its_words(display) -> None:
    figure = new_figure(2, 1)
    show(figure, "an empty figure")
    (shown,) = display.shown
    assert shown == {"data": png_bytes(figure), "format": "png", "width": 192, "height": 96, "alt": "an empty figure"}


def test_show_table_escapes_cells_and_aligns_all_but_the_first_column(display) -> None:
    show_table("Two rows", ["Name", "Value"], [["a_b|c", "1"], ["d", "2"]])
    lines = display.shown[0].splitlines()
    assert lines[0] == "Two rows"
    assert lines[2:4] == ["| Name | Value |", "| --- | ---: |"]
    assert r"\|" in lines[4]


def test_show_without_ipython_says_what_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "IPython", None)
    monkeypatch.setitem(sys.modules, "IPython.display", None)
    with pytest.raises(MissingPackageError, match=r"art-plugins\[notebooks\]"):
        show_table("", ["a"], [])
