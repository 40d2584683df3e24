"""What the HTML pages share: the template engine, and figures that stand inside the page."""

from __future__ import annotations

from typing import Any, NamedTuple

from art_plugins.optional import import_optional
from art_plugins.reports import drawing


class Picture(NamedTuple):
    """A figure as PNG with its size in CSS pixels, and ``words`` for those who do not see it."""

    name: str
    caption: str
    words: str
    png: bytes
    width: int
    height: int

    @property
    def uri(self) -> str:
        """The ``src`` of the image."""
        return drawing.png_data_uri(self.png)


def picture(name: str, caption: str, figure: Any, words: str) -> Picture:
    """A matplotlib figure, drawn."""
    return Picture(name, caption, words, drawing.png_bytes(figure), *drawing.css_size(figure))


def render_page(template: str, **values: Any) -> str:
    """
    A template of this package, filled in; all values are escaped, and one that is missing is an error.

    :raises MissingPackageError: Without jinja2.
    """
    jinja2 = import_optional("jinja2")
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("art_plugins.reports", "templates"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return str(environment.get_template(template).render(**values))
