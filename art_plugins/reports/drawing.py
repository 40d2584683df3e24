"""Common parts of all figures: style, colours, size, legend, and the PNG file."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from functools import wraps
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from art_plugins.optional import import_optional

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

P = ParamSpec("P")
T = TypeVar("T")

CSS_PIXELS_PER_INCH = 96
PIXEL_RATIO = 2  # of the PNG to CSS pixels: sharp on dense screens
# Okabe and Ito's colours, told apart under every common colour blindness; shape or hatch says the same again.
PLAIN, SUSPECT, CURVE, LINE = "#56B4E9", "#D55E00", "#0072B2", "#000000"
MAX_NAME_LENGTH = 28


def own_style(draw: Callable[P, T]) -> Callable[P, T]:
    """Draw with the default settings of matplotlib, because a user's matplotlibrc may set LaTeX or white text."""

    @wraps(draw)
    def drawn(*args: P.args, **kwargs: P.kwargs) -> T:
        matplotlib = import_optional("matplotlib")
        with matplotlib.rc_context():
            matplotlib.rcdefaults()
            return draw(*args, **kwargs)

    return drawn


@own_style
def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG, ``CSS_PIXELS_PER_INCH * PIXEL_RATIO`` pixels to the inch; equal figures give equal bytes."""
    stream = io.BytesIO()
    figure.savefig(stream, format="png", dpi=CSS_PIXELS_PER_INCH * PIXEL_RATIO, metadata={"Software": None})
    return stream.getvalue()


def css_size(figure: Figure) -> tuple[int, int]:
    """Give the width and height in CSS pixels at which the text of the figure has its nominal size."""
    width, height = figure.get_size_inches() * CSS_PIXELS_PER_INCH
    return round(width), round(height)


def data_uri(content: bytes, media_type: str = "image/png") -> str:
    """
    Give the content of a file as the ``src`` of an image or a sound in a self-contained page.

    :param content: The bytes of the file.
    :param media_type: The media type of the file, such as ``"audio/wav"``.
    """
    return f"data:{media_type};base64,{base64.b64encode(content).decode('ascii')}"


def new_figure(width_in: float, height_in: float) -> Figure:
    """Give an empty white figure of a size in inches, whose parts do not overlap."""
    figures = import_optional("matplotlib.figure")
    figure: Figure = figures.Figure(figsize=(width_in, height_in), layout="constrained", facecolor="white")
    return figure


def legend_below(figure: Figure, axes: Axes) -> None:
    """Put a legend with one entry for each label under the axes, where it hides nothing."""
    handles, labels = axes.get_legend_handles_labels()
    entries = dict(zip(labels, handles, strict=True))
    figure.legend(
        list(entries.values()), list(entries), loc="outside lower center", ncols=3 if len(entries) < 4 else 2, frameon=False
    )


def short_name(text: str, length: int = MAX_NAME_LENGTH) -> str:
    """Give a name on one line, shortened to ``length`` characters, that matplotlib does not read as mathematics."""
    line = " ".join(str(text).split())
    short = line if len(line) <= length else line[: length - 1] + "\u2026"
    return short.replace("$", r"\$")
