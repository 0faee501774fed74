"""The figures by name, and what each shows, without importing what draws them."""

from __future__ import annotations

import ast
from pathlib import Path

from lml.arguments import check_choice

__all__ = ["NAMES", "check_name", "title_of"]

#: The figures, in the order of the paper; each is a file of this package.
NAMES = (
    "schematic",
    "geometry",
    "hessian_error",
    "stationary",
    "convergence",
    "spectral_gap",
    "dimension",
    "annealing",
    "precision",
    "order",
    "quality",
    "quality_supplement",
    "quality_networks",
    "wins",
    "few_steps",
    "score_error",
    "ablations",
    "best_damping",
    "guidance",
    "pareto",
    "samples",
    "samples_network",
    "galaxies",
    "film_strip",
    "time_overhead",
)


def check_name(name: str) -> None:
    """Refuse a name that is no figure's.

    Raises:
        ValueError: listing the figures.
    """
    check_choice(name, "figure", NAMES)


def title_of(name: str) -> str:
    """Return the title of a figure: the ``title`` of ``FIGURE`` in its file, which is read and not imported."""
    check_name(name)
    tree = ast.parse((Path(__file__).parent / f"{name}.py").read_text(encoding="utf-8"))
    for node in tree.body:
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
            titles = [word.value for word in node.value.keywords if word.arg == "title"]
            if titles and isinstance(titles[0], ast.Constant):
                return str(titles[0].value)
    raise ValueError(f"{name}.py must give the title of its FIGURE as a text, it does not")
