"""What the paper publishes: the figures of its Tables 1 to 5, as data."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import NamedTuple

__all__ = ["METHODS", "PublishedModel", "Table", "TableColumn", "published_tables", "table"]

#: The paper's methods and the samplers of `image_exps.samplers.pipeline_sampler` that are the same algorithm.
#: Its DPM-Solvers are of third order (Supp. B.1), which its published code runs as multistep methods; of UniPC it does
#: not say the order; its LML stands on DPM-Solver (Sec. 3.4).
METHODS: dict[str, tuple[str, ...]] = {
    "DDIM": ("ddim",),
    "PNDM": ("pndm",),
    "DPM-Solver": ("dpm-solver-3s", "dpm-solver-3m"),
    "DPM-Solver++": ("dpm-solver++-3m",),
    "UniPC": ("unipc-2", "unipc-3"),
    "LML": ("dpm-solver-3s/lml", "dpm-solver-3m/lml"),
}


class TableColumn(NamedTuple):
    """A column: which metric, at how many evaluations, and what stands above it."""

    metric: str
    evaluations: int
    label: str


@dataclass(frozen=True)
class PublishedModel:
    """The rows of one model.

    Attributes:
        label: as the paper calls it.
        names: the models of `image_exps.pipelines.models` that it may be.
        rows: by method, one figure a column.
    """

    label: str
    names: tuple[str, ...]
    rows: dict[str, tuple[float, ...]]


@dataclass(frozen=True)
class Table:
    """A table of the paper.

    Attributes:
        number: 1 to 5.
        caption: what is measured.
        decimals: of its figures.
        columns: of every model.
        models: in the paper's order.
        guidance: the scale that it is for, where the paper gives one: results at others do not belong into it.
    """

    number: int
    caption: str
    decimals: int
    columns: tuple[TableColumn, ...]
    models: tuple[PublishedModel, ...]
    guidance: float | None = None

    def takes(self, metric: str, guidance: float) -> bool:
        """Whether a result of this metric and scale (NaN without) may stand in it."""
        return any(c.metric == metric for c in self.columns) and (
            self.guidance is None or math.isnan(guidance) or guidance == self.guidance
        )


@cache
def published_tables() -> tuple[Table, ...]:
    """Return the paper's tables, in their order."""
    content = json.loads((files(__name__) / "tables.json").read_text(encoding="utf-8"))
    return tuple(
        Table(
            t["id"],
            t["caption"],
            t["decimals"],
            tuple(TableColumn(*c) for c in t["columns"]),
            tuple(
                PublishedModel(m["label"], tuple(m["names"]), {k: tuple(v) for k, v in m["rows"].items()})
                for m in t["models"]
            ),
            t.get("guidance"),
        )
        for t in content["tables"]
    )


def table(number: int) -> Table:
    """Return a table of the paper.

    Raises:
        ValueError: for a number that it does not have.
    """
    for each in published_tables():
        if each.number == number:
            return each
    raise ValueError(f"table must be 1 to {len(published_tables())}, got {number!r}")
