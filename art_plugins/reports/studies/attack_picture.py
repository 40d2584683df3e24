"""The picture of attacks by filters, as SVG. It needs no package, and equal records give an equal file."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple
from xml.etree import ElementTree

from art_plugins.reports.drawing import short_name
from art_plugins.reports.pages import Picture
from art_plugins.reports.studies.attack_grid import FOUND_TPR, FPR_BOUND, AttackGrid, Cell, attack_grid, grid_words
from art_plugins.storage import write_text

FILE_NAME = "attacks_by_filters.svg"
HALF, GAP, LABEL, MARGIN = 54, 6, 232, 10  # widths in pixels: half a cell, between filters, names of rows, around all
LOW, HIGH, HEADING, SECTION = (
    20,
    32,
    15,
    26,
)  # heights: a row, a row with ranges, a line of a heading, the name of an attack
TITLE_LETTERS = 14  # of one line of a filter's name
# From good to bad; each is darker than the one before, so that the picture says the same in grey.
TONES = ("#f2f6fa", "#cfe0ee", "#92bcd9", "#2f6f9f", "#0a2f55")
TEXT_ON = ("#000000", "#000000", "#000000", "#ffffff", "#ffffff")
SOFT = "#555555"
# Where a tone ends. The numbers in the cells are exact; these are for the eye.
TPR_STEPS = (0.99, 0.95, FOUND_TPR, 0.5)  # at least
FPR_STEPS = (0.002, FPR_BOUND, 0.05, 0.2)  # at most


class Place(NamedTuple):
    """Left upper corner of a cell and the height of its row, in pixels."""

    x: float
    y: float
    height: float


def write_attack_picture(records: Sequence[Mapping[str, Any]], folder: Path) -> Path:
    """
    Write ``attacks_by_filters.svg``.

    :param records: Records of the kind ``"filters"``.
    :return: The file.
    """
    file = folder / FILE_NAME
    write_text(file, attack_svg(attack_grid(records))[0])
    return file


def attack_picture(grid: AttackGrid) -> Picture:
    """Give the picture for a page."""
    svg, width, height = attack_svg(grid)
    caption = "Attacks by filters: the darker a cell, the worse."
    return Picture("attacks_by_filters", caption, grid_words(grid), svg.encode(), width, height, "image/svg+xml")


def attack_svg(grid: AttackGrid) -> tuple[str, int, int]:
    """
    Draw the grid. Each cell has the TPR at the left and the FPR at the right. The darker, the worse. A triangle marks an
    FPR above the bound.

    :return: The SVG, its width and its height in pixels.
    """
    width = 2 * MARGIN + LABEL + max(3, len(grid.filters)) * (2 * HALF + GAP)
    root = ElementTree.Element("svg", {"xmlns": "http://www.w3.org/2000/svg", "role": "img"})
    ElementTree.SubElement(root, "title").text = "Attacks by filters"
    ElementTree.SubElement(root, "desc").text = grid_words(grid)
    ElementTree.SubElement(root, "rect", {"width": "100%", "height": "100%", "fill": "#ffffff"})
    y = _headings(root, grid.filters, _legend(root, MARGIN))
    attack = None
    for row in grid.rows:
        if row.attack != attack:
            attack = row.attack
            _text(root, MARGIN, y + SECTION - 8, short_name(attack, 60), weight="bold")
            y += SECTION
        height = HIGH if any(_has_range(cell) for cell in row.cells.values()) else LOW
        _text(root, MARGIN + 10, y + height / 2 + 4, short_name(row.model, 36))
        for number, title in enumerate(grid.filters):
            place = Place(MARGIN + LABEL + number * (2 * HALF + GAP), y, height)
            _cell(root, row.cells.get(title), place)
        y += height + 1
    height = int(y) + MARGIN
    root.attrib |= {"width": str(width), "height": str(height), "viewBox": f"0 0 {width} {height}"}
    root.attrib |= {"font-family": "system-ui, sans-serif", "font-size": "12"}
    ElementTree.indent(root, " ")
    return ElementTree.tostring(root, encoding="unicode") + "\n", width, height


def tone(value: float, is_tpr: bool) -> int:
    """Give the number of the tone of a rate: 0 is good, the last one is bad."""
    if is_tpr:
        return sum(value < step for step in TPR_STEPS)
    return sum(value > step for step in FPR_STEPS)


def _legend(root: ElementTree.Element, top: float) -> float:
    """Draw what the tones and the mark mean; gives the place below."""
    for line, (name, steps, word, last) in enumerate((("TPR", TPR_STEPS, "≥", "lower"), ("FPR", FPR_STEPS, "≤", "higher"))):
        y = top + line * (LOW + 2)
        _text(root, MARGIN, y + 14, f"{name}: removed share of the {'poison' if name == 'TPR' else 'rest'}")
        for number, step in enumerate([*steps, None]):
            place = Place(MARGIN + LABEL + number * (HALF + 4), y, LOW)
            _half(root, place, number, last if step is None else f"{word} {step:g}", HALF + 4)
    y = top + 2 * (LOW + 2)
    _mark(root, MARGIN + 2, y + 14, "#000000")
    _text(
        root,
        MARGIN + 14,
        y + 14,
        f"FPR above {FPR_BOUND:g} in at least one seed. Second line: lowest to highest over the seeds.",
    )
    _text(root, MARGIN, y + 32, "Rows: data set, network, number of training samples. \u2014: no poison. ·: not measured.")
    return y + 46


def _headings(root: ElementTree.Element, filters: Sequence[str], top: float) -> float:
    names = [textwrap.wrap(title, TITLE_LETTERS) for title in filters]
    n_lines = max(map(len, names), default=0)
    for number, lines in enumerate(names):
        x = MARGIN + LABEL + number * (2 * HALF + GAP)
        for line, words in enumerate(lines):
            y = top + HEADING * (n_lines - len(lines) + line + 1)
            _text(root, x + HALF, y, short_name(words, TITLE_LETTERS + 4), anchor="middle", weight="bold")
        for half, name in enumerate(("TPR", "FPR")):
            _text(root, x + HALF * (half + 0.5), top + HEADING * (n_lines + 1), name, anchor="middle", fill=SOFT)
    return top + HEADING * (n_lines + 1) + 4


def _cell(root: ElementTree.Element, cell: Cell | None, place: Place) -> None:
    middle = place.y + place.height / 2 + 4
    if cell is None:
        _text(root, place.x + HALF, middle, "·", anchor="middle", fill=SOFT)
    elif cell.note:
        _text(root, place.x + HALF, middle, cell.note, anchor="middle", fill=SOFT)
    else:
        for half, (values, is_tpr) in enumerate(((cell.tpr, True), (cell.fpr, False))):
            at = place._replace(x=place.x + half * HALF)
            if not values:
                _text(root, at.x + HALF / 2, middle, "—", anchor="middle", fill=SOFT)
                continue
            mean = sum(values) / len(values)
            colour = _half(root, at, tone(mean, is_tpr), _number(mean), HALF - 1, _range(values))
            if not is_tpr and cell.is_worse:
                _mark(root, at.x + 3, at.y + (14 if at.height == LOW or not _range(values) else 13), colour)


def _half(root: ElementTree.Element, place: Place, number: int, words: str, width: float, range_words: str = "") -> str:
    """Draw a box of a tone with its number, and below it the range over the seeds; gives the colour of the text."""
    box = {"x": place.x, "y": place.y, "width": width, "height": place.height}
    attributes = {name: f"{value:g}" for name, value in box.items()}
    ElementTree.SubElement(root, "rect", {**attributes, "fill": TONES[number], "stroke": "#c4ccd4", "stroke-width": ".5"})
    x, y = place.x + width / 2, place.y + (14 if range_words else place.height / 2 + 4)
    _text(root, x + 3, y, words, anchor="middle", fill=TEXT_ON[number])
    if range_words:
        _text(root, x, place.y + 27, range_words, anchor="middle", fill=TEXT_ON[number], size="9")
    return TEXT_ON[number]


def _mark(root: ElementTree.Element, x: float, y: float, colour: str) -> None:
    """Draw a triangle; ``x``, ``y``: its left lower corner."""
    ElementTree.SubElement(root, "path", {"d": f"M{x:g} {y:g}h8l-4-8z", "fill": colour})


def _text(root: ElementTree.Element, x: float, y: float, words: str, **style: str) -> None:
    names = {"anchor": "text-anchor", "weight": "font-weight", "size": "font-size"}
    attributes = {names.get(name, name): value for name, value in style.items()}
    ElementTree.SubElement(root, "text", {"x": f"{x:g}", "y": f"{y:g}", **attributes}).text = words


def _has_range(cell: Cell) -> bool:
    return bool(_range(cell.tpr) or _range(cell.fpr))


def _range(values: Sequence[float]) -> str:
    if not values:
        return ""
    lowest, highest = _number(min(values)), _number(max(values))
    return "" if lowest == highest else f"{lowest}\u2013{highest}"


def _number(value: float) -> str:
    """Three decimals, without the zero before the point."""
    return f"{value:.3f}".removeprefix("0")
