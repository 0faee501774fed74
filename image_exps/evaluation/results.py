"""Results as rows: what was measured, on what, with its interval. Kept as Parquet, one file a folder of pictures."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from filelock import FileLock

from theory_checks.command_line.outputs import check_output_file
from toy.atomic import atomic
from toy.folders import visible_files

__all__ = ["Result", "add_results", "check_parquet", "read_results", "write_results"]


_KINDS: dict[str, Callable[[Any], Any]] = {"str": str, "int": int, "float": float, "bool": bool}


@dataclass(frozen=True)
class Result:
    """One figure.

    Attributes:
        model: of `image_exps.pipelines.models`, or any name.
        sampler: of `image_exps.samplers.pipeline_sampler`; empty if it is not known.
        evaluations: of the network a picture; 0 if it is not known.
        metric: e.g. ``FID``, ``FD-EffNetLite0``, ``CLIP``, ``T2I-CB color``, ``seconds``.
        value: the figure.
        low: end of its interval; NaN without one.
        high: the other end.
        count: how many pictures, or repetitions.
        higher_is_better: whether the metric grows with quality.
        guidance: scale of classifier-free guidance; NaN without.
        remark: what a reader must know of the figure.
        source: name of the folder that was measured.
    """

    model: str
    sampler: str
    evaluations: int
    metric: str
    value: float
    low: float = math.nan
    high: float = math.nan
    count: int = 0
    higher_is_better: bool = False
    guidance: float = math.nan
    remark: str = ""
    source: str = ""


def check_parquet(out: Path) -> None:
    """Refuse a file that results cannot be added to: of another name than Parquet's, not to be written, or of others.

    Raises:
        ValueError: naming it, and saying what makes tables of results.
    """
    if out.suffix != ".parquet":
        raise ValueError(
            f"out must be a .parquet file, got {out}; Markdown, LaTeX and HTML are made of such files by report"
        )
    check_output_file(out)
    if out.exists():
        read_results([out])


def write_results(results: Sequence[Result], path: Path) -> None:
    """Write results as Parquet, in place of the file or not at all.

    Raises:
        ValueError: for none.
    """
    import pandas as pd

    if not results:
        raise ValueError("results must be at least one, got none")
    frame = pd.DataFrame([{name: _text(value) for name, value in asdict(result).items()} for result in results])
    path.parent.mkdir(parents=True, exist_ok=True)
    with atomic(path) as partial:
        frame.to_parquet(partial, index=False)


def add_results(results: Sequence[Result], path: Path) -> None:
    """Write results beside those that a file holds, in place of the ones that they measure again.

    Processes that add to one file wait for each other.

    Raises:
        ValueError: for none, or a file that holds something else.
    """

    def place(r: Result) -> tuple[object, ...]:
        return r.model, r.sampler, r.evaluations, r.metric, None if math.isnan(r.guidance) else r.guidance, r.source

    again = {place(r) for r in results}
    path.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(path.with_name(f".{path.name}.lock")):
        held = [r for r in read_results([path]) if place(r) not in again] if path.exists() else []
        write_results([*held, *results] if results else [], path)


def _text(value: object) -> object:
    """Return a value of which a text is one in UTF-8: names of files may hold halves of characters."""
    return value.encode("utf-8", "replace").decode("utf-8") if isinstance(value, str) else value


def read_results(paths: Iterable[Path]) -> list[Result]:
    """Return the results of Parquet files, and of those named ``results*.parquet`` in folders, hidden ones apart.

    Raises:
        ValueError: for a path that is not there, or a file with other columns.
    """
    found: list[Result] = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"results must be Parquet files or folders of them, {path} is not there")
        files = [path]
        if path.is_dir():
            files = [file for file in visible_files(path).files if fnmatch(file.name, "results*.parquet")]
        for file in files:
            found += _read(file)
    return found


def _read(file: Path) -> list[Result]:
    import pandas as pd

    kinds = {field.name: _KINDS[str(field.type)] for field in fields(Result)}
    try:
        frame = pd.read_parquet(file)
    except (OSError, ValueError) as error:  # pyarrow's errors are among them
        raise ValueError(f"{file} cannot be read as Parquet: {error}") from error
    missing = [name for name in kinds if name not in frame.columns]
    if missing:
        raise ValueError(f"{file} must hold results of evaluate or time, it lacks {', '.join(missing)}")
    try:
        return [
            Result(**{n: kinds[n](value) for n, value in row.items()}) for row in frame[[*kinds]].to_dict("records")
        ]
    except (TypeError, ValueError) as error:
        raise ValueError(f"{file} must hold results of evaluate or time, it holds other values: {error}") from error
