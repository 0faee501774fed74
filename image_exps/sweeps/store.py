"""Results on disk: a small Parquet file a cell, written atomically under a digest of its parameters, and their union.

A folder belongs to one grid and one version: ``sweep.json`` says which, and a run of another one is refused. A killed
run has lost nothing but the cells in flight; the next one computes those that have no file, and those whose file is not
as it was written: each holds a digest of its rows. How long a cell took is in its own file alone, so that the union is
the same to the byte however the run was interrupted.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

import lml
from image_exps.sweeps.grid import Cell, Grid
from image_exps.utils.text_files import read_json
from theory_checks.command_line.run_lock import only_run
from theory_checks.ledger.code_version import code_version
from toy.atomic import atomic

__all__ = ["COLUMNS", "FORMAT", "TIMES", "Store", "read_results", "source", "versions"]

#: Of the columns and their meaning.
FORMAT = 2

#: Columns that say how long something took, which no two runs have in common.
TIMES = ("sampling_seconds", "distance_seconds", "seconds")

#: The columns of a cell's rows, in their order.
COLUMNS = (
    "target", "model", "arm", "evaluations", "seed", "count", "repeats", "base", "spacing", "correction", "damping",
    "mixing", "dim", "dtype", "spent", "not_finite", "sampling_seconds", "distance", "value", "low", "high", "floor",
    "floor_low", "floor_high", "remark", "higher_is_better", "distance_seconds", "format", "package", "torch",
    "revision", "source", "key", "seconds",
)  # fmt: skip

_RESULTS = "results.parquet"
_DIGEST = b"lml.sha256"


def versions() -> dict[str, str | int]:
    """Return what figures depend on besides their parameters, and are never mixed in one folder."""
    return {"format": FORMAT, "package": lml.__version__, "torch": torch.__version__}


def source() -> str:
    """Return a digest of the code that computes a cell: a row says which state of it made it."""
    # What a grid declares are the parameters of cells: another grid changes none of them.
    return code_version("image_exps.sweeps.cell", looks=("image_exps.sweeps.grid",))[:12]


class Store:
    """The results folder of one grid; nothing is written before `open`.

    Args:
        folder: created where it is missing.
        grid: what is computed.

    Attributes:
        damaged: cells whose file was not as it was written, with what was wrong: found by `missing`.

    Raises:
        ValueError: for a folder with the results of another grid or version, or with files that are not of a sweep.
    """

    def __init__(self, folder: Path, grid: Grid) -> None:
        self.folder, self._grid = folder, grid
        self.damaged: dict[Cell, str] = {}
        self._cells = folder / "cells"
        self._manifest = folder / "sweep.json"
        self._mine = {**versions(), "grid": grid.name, "digest": grid.digest, "cells": len(grid.cells)}
        self._frames: dict[str, pd.DataFrame] = {}
        self._refuse_other()

    def _refuse_other(self) -> None:
        folder, mine = self.folder, self._mine
        if self._manifest.is_file():
            found = read_json(self._manifest)
            found = found if isinstance(found, dict) else {}
            other = [f"{key} {found.get(key)!r}, not {mine[key]!r}" for key in mine if found.get(key) != mine[key]]
            if other:
                raise ValueError(
                    f"out must be a folder of this grid and version, {folder} has {'; '.join(other)}. "
                    "Nothing was changed: choose another folder."
                )
        elif folder.exists() and not (folder.is_dir() and self._is_new()):
            raise ValueError(f"out must be an empty folder or one of this sweep, {folder} has other things in it")

    def _is_new(self) -> bool:
        """Return whether there is nothing but what a run leaves that is killed at its very beginning."""
        seen = [path for path in self.folder.iterdir() if not path.name.startswith(".")]
        return seen in ([], [self._cells]) and not (seen and any(self._cells.iterdir()))

    @contextmanager
    def open(self) -> Iterator[None]:
        """Hold the folder for this run alone.

        Raises:
            ValueError: if another run writes it, or has made it one of another grid.
        """
        with only_run(self.folder):
            self._refuse_other()
            self._cells.mkdir(exist_ok=True)
            if not self._manifest.is_file():
                with atomic(self._manifest) as path:
                    path.write_text(json.dumps(self._mine, indent=1) + "\n", encoding="utf-8")
            yield

    def missing(self) -> list[Cell]:
        """Return the cells that have no results yet, or whose results are not as they were written."""
        self.damaged = {}
        absent = []
        for cell in self._grid.cells:
            file = self._file(cell)
            if not file.is_file():
                absent.append(cell)
                continue
            try:
                self._frames[cell.key] = _read_cell(file, cell.key)
            except ValueError as error:
                self.damaged[cell] = str(error)
                absent.append(cell)
        return absent

    def add(self, cell: Cell, rows: Sequence[dict[str, Any]]) -> None:
        """Keep the rows of a finished cell.

        Raises:
            ValueError: for rows of other columns than `COLUMNS`.
        """
        frame = pd.DataFrame(rows)
        if tuple(frame.columns) != COLUMNS:
            raise ValueError(f"rows must have the columns {', '.join(COLUMNS)}, got {', '.join(frame.columns)}")
        table = pa.Table.from_pandas(frame, preserve_index=False)
        table = table.replace_schema_metadata({**table.schema.metadata, _DIGEST: _digest(frame).encode()})
        with atomic(self._file(cell)) as path:
            pq.write_table(table, path)
        # As a later run reads it: the union is the same to the byte.
        self._frames[cell.key] = _read_cell(self._file(cell), cell.key)

    def compact(self) -> Path:
        """Write the rows of all finished cells into one file, in the order of the grid, and return its path."""
        frames = [self._frames[cell.key] for cell in self._grid.cells if cell.key in self._frames]
        whole = pd.concat(frames, ignore_index=True).drop(columns=list(TIMES))
        with atomic(self.folder / _RESULTS) as path:
            whole.to_parquet(path, index=False)
        return self.folder / _RESULTS

    def _file(self, cell: Cell) -> Path:
        return self._cells / f"{cell.key}.parquet"


def _digest(frame: pd.DataFrame) -> str:
    rows = json.dumps([list(frame.columns), frame.to_numpy(dtype=object).tolist()], default=str)
    return hashlib.sha256(rows.encode()).hexdigest()


def _read_cell(file: Path, key: str) -> pd.DataFrame:
    """Return the rows of a cell.

    Raises:
        ValueError: if they are not those that were written, saying what is wrong.
    """
    try:
        # Opened here: of a damaged file pyarrow may keep its handle.
        with file.open("rb") as opened:
            table = pq.read_table(opened)
        frame = table.to_pandas()
    except Exception as error:  # pyarrow raises of many kinds
        raise ValueError(f"cannot be read as Parquet: {str(error).partition(chr(10))[0]}") from error
    if tuple(frame.columns) != COLUMNS:
        other = sorted({*frame.columns} ^ {*COLUMNS})
        raise ValueError(f"has other columns than this version: {', '.join(other) or 'in another order'}")
    if (table.schema.metadata or {}).get(_DIGEST) != _digest(frame).encode():
        raise ValueError("its rows are not those that were written")
    if set(frame["key"]) != {key}:
        raise ValueError("its rows are those of another cell")
    return frame


def read_results(path: Path) -> pd.DataFrame:
    """Return the rows of a results file, or of a sweep's folder whether it is finished or not.

    Raises:
        ValueError: if there are none, one is damaged, or they are of another format.
    """
    if path.is_dir():
        cells = sorted((path / "cells").glob("*.parquet"))
        if not cells:
            raise ValueError(f"results must be a Parquet file or a folder of a sweep, {path} has none")
        frames = []
        for file in cells:
            try:
                frames.append(_read_cell(file, file.stem))
            except ValueError as error:
                raise ValueError(f"{file} {error}: run the sweep again, which computes this cell anew") from error
        frame = pd.concat(frames, ignore_index=True)
    elif path.is_file():
        try:
            frame = pd.read_parquet(path)
        except (OSError, ValueError) as error:
            raise ValueError(f"results must be a Parquet file, {path} is not: {error}") from error
    else:
        raise ValueError(f"results must be a Parquet file or a folder of a sweep, {path} does not exist")
    found = sorted(set(frame["format"])) if "format" in frame else []
    if found != [FORMAT]:
        advice = f"python -m image_exps.results.rename {path}" if found == [1] else "run the sweep again"
        raise ValueError(f"results must be of format {FORMAT}, {path} has {found or 'none'}: {advice}")
    return frame
