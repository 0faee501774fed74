"""How a notebook is executed and written: top to bottom in a fresh kernel, and free of what changes from run to run."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from traitlets.config import Config

from toy.atomic import atomic

__all__ = ["executed", "normalised", "write"]

# A notebook takes less than a minute at quick size; a machine that does more than one thing may need longer.
_CELL_SECONDS = 300

# A kernel that is spoken to through files needs no open port; Windows knows no other way.
_CONFIG = Config({"KernelManager": {"transport": "tcp" if os.name == "nt" else "ipc"}})


def executed(file: Path) -> nbformat.NotebookNode:
    """Run a notebook in a fresh kernel of this Python and return it with its outputs; the file is left as it is.

    Raises:
        nbclient.exceptions.CellExecutionError: if a cell raises, with its traceback.
    """
    notebook = nbformat.read(file, as_version=4)
    client = NotebookClient(notebook, timeout=_CELL_SECONDS, kernel_name="python3", record_timing=False, config=_CONFIG)
    client.execute()
    return normalised(notebook)


def normalised(notebook: nbformat.NotebookNode) -> nbformat.NotebookNode:
    """Drop counts and metadata that say which run or which installation wrote the outputs; changes the notebook."""
    notebook.metadata = nbformat.from_dict(
        {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    )
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number:02d}"
        cell.metadata = nbformat.NotebookNode()
        if cell.cell_type == "code":
            cell.execution_count = None
            for output in cell.outputs:
                if "execution_count" in output:
                    output.execution_count = None
    return notebook


def write(notebook: nbformat.NotebookNode, file: Path) -> None:
    """Write a notebook as Jupyter does: one line a line, so that two versions can be compared; whole or not at all."""
    nbformat.validate(notebook)
    with atomic(file) as partial:
        partial.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8")
