"""Grids of pictures of the trained networks from the same noises (the paper's Figures 3 to 5, 7 and 11)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from image_exps.networks import network_folder
from paper_figures import samples
from paper_figures.figure import Data
from theory_checks.ledger.claim import Settings

_NETWORKS = ("fashion-mnist", "emoji")
_EVALUATIONS = 5


def missing() -> str:
    """Return what is missing."""
    try:
        for name in _NETWORKS:
            network_folder(name)
    except ValueError as error:
        return str(error)
    return ""


def compute(settings: Settings, *, rows: Sequence[str] = samples.ROWS, count: int = 7) -> Data:
    """Return the pictures of `paper_figures.samples` with networks in the place of the exact score."""
    columns = [(name, "network", _EVALUATIONS) for name in _NETWORKS]
    return samples.compute(settings, columns=columns, rows=rows, count=count)


FIGURE = replace(
    samples.FIGURE,
    name="samples_network",
    title="pictures of the trained networks from the same noises (the paper's Figures 3 to 5, 7 and 11)",
    compute=compute,
    missing=missing,
    small={"rows": ("DDIM", "LML on DDIM"), "count": 4},
)
