"""Docstrings name functions and classes with Sphinx's roles; the pages show these names as code."""

from __future__ import annotations

import re
from typing import Any

import griffe

ROLE = re.compile(r":(?:func|class|meth|attr|mod|data):`(~?)([\w.]+)`")
LINE_BLOCK = re.compile(r"(?m)^\| ")


class SphinxRoles(griffe.Extension):
    """Rewrites the docstrings when they are read."""

    def on_instance(self, *, obj: griffe.Object, **kwargs: Any) -> None:
        """Every module, class, function and attribute of the package passes here once."""
        if obj.docstring is not None:
            text = ROLE.sub(lambda found: f"`{found[2].rsplit('.', 1)[-1] if found[1] else found[2]}`", obj.docstring.value)
            obj.docstring.value = LINE_BLOCK.sub("", text)
