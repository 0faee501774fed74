r"""Bring results of earlier versions to the names of the table of samplers: ``python -m image_exps.results.rename``.

One algorithm had several names, and two names meant two algorithms each. In results of sweeps and of the search::

    dpm-solver-3    dpm-solver-3s      the singlestep solver
    dpm-solver-3m   dpm-solver-3m      the multistep solver, as before
    dpm-solver++    dpm-solver++-3m
    unipc           unipc-3

and in results of pictures, by ``python -m image_exps sample`` and ``evaluate``::

    lml-NAME        NAME/lml           with the name of the base as below
    tuned           ddim@tuned/tuned
    dpm-solver-3    dpm-solver-3s
    dpm-solver++    dpm-solver++-3m
    unipc           unipc-2            in pipelines it was of second order

Other names are as they were, so that what is renamed already stays as it is. (The Euler and Heun of models that predict
a flow end in ``-flow`` now; a result does not say what its model predicts, and keeps its name.)

The keys of cells are computed anew, from names and numbers alone. All other columns are the same to the last bit, which
is checked for every file before it is replaced.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import click
import pyarrow as pa
import pyarrow.parquet as pq

from image_exps.samplers.names import SamplerName, parse_name
from image_exps.sweeps.grid import Cell
from image_exps.sweeps.store import FORMAT
from theory_checks.command_line.plain_errors import plain_errors
from toy.atomic import atomic

__all__ = ["new_arm", "new_pipeline_name", "rename_csv", "rename_file", "rename_markdown", "rename_rows"]

_ARMS = {"dpm-solver-3": "dpm-solver-3s", "dpm-solver++": "dpm-solver++-3m", "unipc": "unipc-3"}
_PIPELINES = {**_ARMS, "unipc": "unipc-2"}

# Columns of CSV files that hold names of arms.
_NAMED = ("arm", "best_baseline", "trial")

# An old name where a text has one: not a part of a longer name.
_IN_TEXT = re.compile(r"(?<![\w+@/.-])(dpm-solver-3|dpm-solver\+\+|unipc)(?=[\s@/`|,.;)]|$)", re.MULTILINE)


_RESULTS = Path(__file__).parent
# Their rows have other columns, and never had another name.
_YOUNGER = (_RESULTS / "league", _RESULTS / "solver")


def new_arm(name: str) -> str:
    """Return the present name of an arm of a sweep."""
    parts = parse_name(name)
    return str(parts._replace(base=_ARMS.get(parts.base, parts.base)))


def new_pipeline_name(name: str) -> str:
    """Return the present name of a sampler of pipelines."""
    if name == "tuned":
        return "ddim@tuned/tuned"
    base = name.removeprefix("lml-")
    renamed = SamplerName(_PIPELINES.get(base, base), correction="none" if base == name else "lml")
    return str(renamed) if name else name


def rename_rows(rows: pa.Table) -> pa.Table:
    """Return rows of a sweep or of pictures with present names, in their order.

    Raises:
        ValueError: if two names became one, or a number is not the same to the last bit.
    """
    if "arm" in rows.column_names:
        arms, bases = (_renamed(rows, column, new_arm) for column in ("arm", "base"))
        new = {"arm": arms, "base": bases, "key": _keys(rows, arms), "format": [FORMAT] * len(rows)}
    else:
        new = {"sampler": _renamed(rows, "sampler", new_pipeline_name)}
    made = rows
    for column, values in new.items():
        place = rows.column_names.index(column)
        made = made.set_column(place, rows.schema.field(column), pa.array(values, rows.schema.field(column).type))
    _check(rows, made, new)
    return made


def _renamed(rows: pa.Table, column: str, new: Callable[[str], str]) -> list[str]:
    old = rows.column(column).to_pylist()
    names = {name: new(name) for name in dict.fromkeys(old)}
    if len(set(names.values())) < len(names):
        raise ValueError(f"{column}: two names must not become one, got {names}")
    return [names[name] for name in old]


def _keys(rows: pa.Table, arms: Sequence[str]) -> list[str]:
    """Return the keys of `image_exps.sweeps.grid.Cell` for renamed arms; the rows of a cell are its distances."""
    content = rows.to_pydict()
    distances: dict[str, list[str]] = {}
    for key, distance in zip(content["key"], content["distance"], strict=True):
        distances.setdefault(key, []).append(distance)
    return [
        Cell(
            content["target"][i],
            content["model"][i],
            arms[i],
            content["evaluations"][i],
            content["seed"][i],
            content["count"][i],
            tuple(distances[content["key"][i]]),
            content["repeats"][i],
        ).key
        for i in range(len(rows))
    ]


def _check(before: pa.Table, after: pa.Table, renamed: Sequence[str] | dict[str, object]) -> None:
    """Refuse tables that differ in anything but the renamed columns: numbers are compared as bytes."""
    if before.schema != after.schema or len(before) != len(after):
        raise ValueError("renamed rows must have the columns and the number of the rows before")
    for name in before.column_names:
        old, new = (table.column(name).combine_chunks() for table in (before, after))
        if name not in renamed and not _same(old, new):
            raise ValueError(f"column {name} must be the same to the last bit before and after")


def _same(old: pa.Array, new: pa.Array) -> bool:
    """Whether two columns are the same: numbers to the last bit, of which NaN does not equal itself."""
    if not pa.types.is_floating(old.type):
        return bool(old.equals(new))
    bits = [column.fill_null(0).to_numpy().tobytes() for column in (old, new)]
    return bool(old.is_null().equals(new.is_null())) and bits[0] == bits[1]


def _names_of(rows: pa.Table) -> list[str]:
    """Return the columns that `rename_rows` renames."""
    return ["arm", "base", "key", "format"] if "arm" in rows.column_names else ["sampler"]


def rename_csv(text: str) -> str:
    """Return a CSV file with present names of arms; all other cells keep their text."""
    head, *rows = csv.reader(io.StringIO(text))
    places = [i for i, column in enumerate(head) if column in _NAMED]
    made = [[_in_text(cell) if i in places else cell for i, cell in enumerate(row)] for row in rows]
    out = io.StringIO()
    csv.writer(out, lineterminator="\n").writerows([head, *made])
    return out.getvalue()


def rename_markdown(text: str) -> str:
    """Return a page with present names of arms, where a name stands by itself, in a cell or between back-quotes."""
    return _in_text(text)


def _in_text(text: str) -> str:
    return _IN_TEXT.sub(lambda found: _ARMS[found[1]], text)


def rename_file(path: Path) -> bool:
    """Rename what a Parquet, CSV or Markdown file holds, in place; return whether that changed it.

    Raises:
        ValueError: naming the file, for one that is not of a sweep, of pictures or of the search.
    """
    try:
        if path.suffix == ".parquet":
            before = pq.read_table(path)
            after = rename_rows(before)
            if all(after.column(name).equals(before.column(name)) for name in _names_of(before)):
                return False
            with atomic(path) as partial:
                pq.write_table(after, partial)
                _check(after, pq.read_table(partial), ())
            return True
        text = path.read_text(encoding="utf-8")
        made = rename_csv(text) if path.suffix == ".csv" else rename_markdown(text)
    except (ValueError, KeyError, pa.ArrowException) as error:
        raise ValueError(f"{path} must hold results of this package: {error}") from error
    if made != text:
        with atomic(path) as partial:
            partial.write_text(made, encoding="utf-8")
    return made != text


def _files(folder: Path) -> list[Path]:
    """Return the files of results below a folder; the cells of an unfinished sweep are computed anew.

    Results of the package that were first recorded with present names are left out.
    """
    found = (p for p in folder.rglob("*") if p.suffix in (".parquet", ".csv", ".md"))
    return sorted(p for p in found if p.parent.name != "cells" and not any(p.is_relative_to(y) for y in _YOUNGER))


@click.command()
@click.argument("paths", nargs=-1, type=click.Path(exists=True, path_type=Path))
@plain_errors
def main(paths: tuple[Path, ...]) -> None:
    """Rename the samplers in the results of PATHS, files or folders; of none, in those that come with the package."""
    for path in paths or (_RESULTS,):
        for file in _files(path) if path.is_dir() else [path]:
            click.echo(f"{file}: {'renamed' if rename_file(file) else 'as it was'}")


if __name__ == "__main__":
    main()
