"""Common parts of all HTML pages: the template engine, and figures that are stored inside the page."""

from __future__ import annotations

from typing import Any, NamedTuple

from art_plugins.optional import import_optional
from art_plugins.reports import drawing


class Picture(NamedTuple):
    """
    A figure with its size in CSS pixels. ``words`` describes it for readers who cannot see it; ``content`` is the file, a
    PNG unless ``media_type`` says otherwise.
    """

    name: str
    caption: str
    words: str
    content: bytes
    width: int
    height: int
    media_type: str = "image/png"

    @property
    def uri(self) -> str:
        """The value of the attribute ``src`` of the image."""
        return drawing.data_uri(self.content, self.media_type)


def picture(name: str, caption: str, figure: Any, words: str) -> Picture:
    """Render a matplotlib figure."""
    return Picture(name, caption, words, drawing.png_bytes(figure), *drawing.css_size(figure))


def render_page(template: str, **values: Any) -> str:
    """
    Fill in a template of this package. All values are escaped.

    :raises MissingPackageError: If jinja2 cannot be imported.
    :raises jinja2.UndefinedError: If a value of the template is missing.
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
