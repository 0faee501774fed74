"""The page of public names: each name of a class or function in its tables leads to its description."""

from __future__ import annotations

from importlib import import_module

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.application import Sphinx

PAGE = "api/public"


def link_names(app: Sphinx, doctree: nodes.document) -> None:
    """Turn the names in the first column of each section's table into references."""
    if app.env.docname != PAGE:
        return
    for section in [s for s in doctree.findall(nodes.section) if isinstance(s.parent, nodes.section)]:
        package = import_module(section.next_node(nodes.title).astext())
        for row in [r for r in section.findall(nodes.row) if isinstance(r.parent, nodes.tbody)]:
            for literal in list(row[0].findall(nodes.literal)):
                found = getattr(package, literal.astext())
                module = getattr(found, "__module__", None)
                if isinstance(module, str) and hasattr(found, "__qualname__"):
                    target = f"{module}.{literal.astext()}"
                    reference = pending_xref("", reftype="obj", refdomain="py", reftarget=target, refexplicit=True)
                    literal.replace_self(reference)
                    reference += literal


def setup(app: Sphinx) -> dict[str, bool]:
    """Register with Sphinx."""
    app.connect("doctree-read", link_names)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
