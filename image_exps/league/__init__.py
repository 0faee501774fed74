"""The league: the judge's questions to every sampler in use, as rows of one table, and what they answer.

`image_exps.league.entries` says who takes part, `image_exps.league.measure` measures one of them,
`image_exps.league.rows` reads the rows that ship with the package, and `image_exps.league.answer` says in five lines
which scheduler to take for how many steps.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from image_exps.league.rows import Rows

__all__ = ["five_lines", "read_rows"]


def read_rows() -> Rows:
    """Return the rows that ship with the package; see `image_exps.league.rows.read_rows`."""
    from image_exps.league.rows import read_rows as read

    return read()


def five_lines() -> list[str]:
    """Return which scheduler to take for how many steps, a sentence in Markdown for each number of evaluations."""
    from image_exps.league.answer import five_lines as lines

    return lines(read_rows())
