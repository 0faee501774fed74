"""Seven short lessons on the claims, to be read beside the report. ``python -m theory_checks.notebooks`` runs them."""

from pathlib import Path

__all__ = ["NOTEBOOKS"]

#: The notebooks, in alphabetical order.
NOTEBOOKS = tuple(sorted(Path(__file__).parent.glob("*.ipynb")))
