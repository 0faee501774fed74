"""Solvers as JSON, checked when they are read; files that are there whole or not at all.

What is computed once is kept in the folder ``LML_CACHE``, else ``XDG_CACHE_HOME/lml-toolkit``, else
``~/.cache/lml-toolkit``; anything in it may be deleted. With ``LML_OUTSIDE=none`` there is one only if ``LML_CACHE``
names it.
"""

from __future__ import annotations

import json
import math
import os
import tempfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from lml.arguments import shown
from lml.samplers import Level
from lml.solver.solver import Solver, Validation

__all__ = ["VERSION", "cache_file", "from_dict", "load", "read_json", "save", "to_dict", "write_atomically"]

#: Of the format; a file of another version is refused.
VERSION = 1

_FORMAT = "lml-solver"


def to_dict(solver: Solver) -> dict[str, Any]:
    """Return a solver as values of JSON."""
    return {
        "format": _FORMAT,
        "version": VERSION,
        "method": solver.method,
        # A time that is not known is no number of JSON.
        "levels": [[None if math.isnan(v) else v for v in level] for level in solver.levels],
        "weights": [list(row) for row in solver.weights],
        "restored": list(solver.restored),
        "turn": solver.turn,
        "validation": None if solver.validation is None else asdict(solver.validation),
        "model": solver.model,
    }


def from_dict(values: object, where: str = "solver") -> Solver:
    """Return the solver of `to_dict`.

    Raises:
        ValueError: for anything else, saying what is wrong; ``where`` names it.
    """
    if not isinstance(values, Mapping) or values.get("format") != _FORMAT:
        raise ValueError(f"{where} must be a solver, an object with format {_FORMAT!r}, got {shown(values)}")
    if values.get("version") != VERSION:
        raise ValueError(f"{where} must be of version {VERSION}, got {shown(values.get('version'))}")
    wanted = {"format", "version", "method", "levels", "weights", "restored", "turn", "validation", "model"}
    if set(values) != wanted:
        raise ValueError(f"{where} must have {', '.join(sorted(wanted))}, got {', '.join(sorted(map(str, values)))}")
    try:
        levels = tuple(Level(*(math.nan if v is None else float(v) for v in level)) for level in values["levels"])
        found = values["validation"]
        return Solver(
            values["method"],
            levels,
            tuple(tuple(map(float, row)) for row in values["weights"]),
            tuple(map(float, values["restored"])),
            float(values["turn"]),
            None if found is None else Validation(**found),
            None if values["model"] is None else str(values["model"]),
        )
    except (TypeError, ValueError) as error:
        raise ValueError(f"{where} is no solver: {error}") from error


def save(solver: Solver, path: str | Path) -> None:
    """Write a solver to a file of JSON, whole or not at all."""
    write_atomically(Path(path), json.dumps(to_dict(solver), indent=1, allow_nan=False) + "\n")


def load(path: str | Path) -> Solver:
    """Return the solver of a file.

    Raises:
        ValueError: for a file that cannot be read, or is not one of `save`, naming it.
    """
    return from_dict(read_json(Path(path)), str(path))


def read_json(path: Path) -> Any:
    """Return what a file of JSON holds.

    Raises:
        ValueError: naming the file.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror or error}") from error
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path} is not JSON: {error}") from error


def write_atomically(path: Path, content: str | bytes) -> None:
    """Write a file that is there whole or not at all, whatever interrupts the writing; text as UTF-8."""
    with tempfile.NamedTemporaryFile("wb", dir=path.parent, prefix=f".{path.name}.", delete=False) as f:
        try:
            f.write(content.encode() if isinstance(content, str) else content)
            f.flush()
            os.fsync(f.fileno())
            os.chmod(f.name, 0o644)  # a temporary file is for its maker alone
            os.replace(f.name, path)
        except BaseException:
            os.unlink(f.name)
            raise


def cache_file(name: str) -> Path | None:
    """Return the file of a name in the folder of what is computed once, which is made; ``None`` without one."""
    chosen = os.environ.get("LML_CACHE")
    if not chosen and os.environ.get("LML_OUTSIDE") == "none":
        return None
    home = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    folder = (Path(chosen) if chosen else Path(home) / "lml-toolkit") / "solvers"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError:
        return None
    return folder / name
