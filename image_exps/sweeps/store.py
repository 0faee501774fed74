"""Results on disk: a small Parquet file a cell, written atomically under a digest of its parameters, and their union.

A folder belongs to one grid and one version: ``sweep.json`` says which, and a run of another one is refused. A killed
run has lost nothing but the cells in flight; the next one computes those that have no file.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import torch

import lml
import toy
from image_exps.sweeps.grid import Cell, Grid
from toy.atomic import atomic

__all__ = ["FORMAT", "Store", "read_results", "source", "versions"]

#: Of the columns and their meaning.
FORMAT = 2

_RESULTS = "results.parquet"


def versions() -> dict[str, str | int]:
    """Return what figures depend on besides their parameters, and are never mixed in one folder."""
    return {"format": FORMAT, "package": lml.__version__, "torch": torch.__version__}


def source() -> str:
    """Return a digest of the code that figures depend on: a row says which state of it made it."""
    here = Path(__file__).parents[1]
    files = [here / "sweeps/cell.py"]
    own = [here / name for name in ("samplers", "problems", "distances", "networks")]
    for folder in (Path(lml.__file__).parent, Path(toy.__file__).parent, *own):
        files += sorted(folder.rglob("*.py"))
    digest = hashlib.sha256()
    for file in files:
        digest.update(file.read_bytes())
    return digest.hexdigest()[:12]


class Store:
    """The results folder of one grid.

    Args:
        folder: created where it is missing.
        grid: what is computed.

    Raises:
        ValueError: for a folder with the results of another grid or version, or with files that are not of a sweep.
    """

    def __init__(self, folder: Path, grid: Grid) -> None:
        self.folder, self._grid = folder, grid
        self._cells = folder / "cells"
        mine: dict[str, Any] = {**versions(), "grid": grid.name, "digest": grid.digest, "cells": len(grid.cells)}
        manifest = folder / "sweep.json"
        if manifest.is_file():
            found = _read_manifest(manifest)
            other = [f"{key} {found.get(key)!r}, not {mine[key]!r}" for key in mine if found.get(key) != mine[key]]
            if other:
                raise ValueError(
                    f"out must be a folder of this grid and version, {folder} has {'; '.join(other)}. "
                    "Nothing was changed: choose another folder."
                )
        elif folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise ValueError(f"out must be an empty folder or one of this sweep, {folder} has other things in it")
        self._cells.mkdir(parents=True, exist_ok=True)
        if not manifest.is_file():
            with atomic(manifest) as path:
                path.write_text(json.dumps(mine, indent=1) + "\n", encoding="utf-8")

    def missing(self) -> list[Cell]:
        """Return the cells that have no results yet."""
        there = {path.stem for path in self._cells.glob("*.parquet")}
        return [cell for cell in self._grid.cells if cell.key not in there]

    def add(self, cell: Cell, rows: Sequence[dict[str, Any]]) -> None:
        """Keep the rows of a finished cell."""
        with atomic(self._cells / f"{cell.key}.parquet") as path:
            pd.DataFrame(rows).to_parquet(path, index=False)

    def compact(self) -> Path:
        """Write the rows of all finished cells into one file, in the order of the grid, and return its path."""
        files = (self._cells / f"{cell.key}.parquet" for cell in self._grid.cells)
        frames = [pd.read_parquet(file) for file in files if file.is_file()]
        with atomic(self.folder / _RESULTS) as path:
            pd.concat(frames, ignore_index=True).to_parquet(path, index=False)
        return self.folder / _RESULTS


def read_results(path: Path) -> pd.DataFrame:
    """Return the rows of a results file, or of a sweep's folder whether it is finished or not.

    Raises:
        ValueError: if there are none, or they are of another format.
    """
    if path.is_dir():
        cells = sorted((path / "cells").glob("*.parquet"))
        if not cells:
            raise ValueError(f"results must be a Parquet file or a folder of a sweep, {path} has none")
        frame = pd.concat([pd.read_parquet(file) for file in cells], ignore_index=True)
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


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"out must be a folder of a sweep, {path} is not readable: {error}") from error
    return found if isinstance(found, dict) else {}
