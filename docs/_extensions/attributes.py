"""Docstrings of constants and properties as they are written: a colon in a sentence is no type.

`sphinx.ext.napoleon` reads the first words of "The bases by name: of first order first." as the type of what follows.
"""

from __future__ import annotations

import inspect
import re
from typing import Any

from docutils import nodes
from sphinx.addnodes import desc_annotation, desc_signature
from sphinx.application import Sphinx

#: Letters of a constant's value that are printed; a table of samplers would be a page of addresses.
LONGEST = 80
KINDS = ("attribute", "data", "property")


class Keeper:
    """What the docstring was before napoleon read it."""

    def __init__(self) -> None:
        self.lines: list[str] = []

    def keep(self, app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
        """Note the lines; those of a value's class do not describe the value."""
        if what == "data" and lines and "\n".join(lines).strip() == (inspect.getdoc(type(obj)) or "").strip():
            lines.clear()
        self.lines = lines.copy()

    def restore(self, app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
        """Put them back, unless they have sections for napoleon to set."""
        if what in KINDS and not any(re.fullmatch(r"[A-Z][a-z]+:", line.strip()) for line in self.lines):
            lines[:] = self.lines


def skip(app: Sphinx, what: str, name: str, obj: Any, skipped: bool, options: Any) -> bool | None:
    """Leave out the fields of a named tuple that nobody described."""
    return True if (getattr(obj, "__doc__", None) or "").startswith("Alias for field number") else None


def shorten(app: Sphinx, doctree: nodes.document) -> None:
    """Leave out long values of constants: type and description are what a reader needs."""
    for signature in doctree.findall(desc_signature):
        for node in [n for n in signature.children if isinstance(n, desc_annotation)]:
            if node.astext().startswith(" = ") and len(node.astext()) > LONGEST:
                signature.remove(node)


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx, before and after napoleon, which has the priority 500."""
    keeper = Keeper()
    app.connect("autodoc-process-docstring", keeper.keep, priority=400)
    app.connect("autodoc-process-docstring", keeper.restore, priority=600)
    app.connect("autodoc-skip-member", skip)
    app.connect("doctree-read", shorten)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
