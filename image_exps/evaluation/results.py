"""Results as rows: what was measured, on what, with its interval. Kept as Parquet, one file a folder of pictures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path

from image_exps.utils.locks import lock
from toy.atomic import atomic

__all__ = ["Result", "add_results", "check_parquet", "read_results", "write_results"]


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
    """Refuse a file of results that is not named as Parquet.

    Raises:
        ValueError: saying what makes tables of it.
    """
    if out.suffix != ".parquet":
        raise ValueError(
            f"out must be a .parquet file, got {out}; Markdown, LaTeX and HTML are made of such files by report"
        )


def write_results(results: Sequence[Result], path: Path) -> None:
    """Write results as Parquet, in place of the file or not at all.

    Raises:
        ValueError: for none.
    """
    import pandas as pd

    if not results:
        raise ValueError("results must be at least one, got none")
    frame = pd.DataFrame([asdict(result) for result in results])
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
    with path.with_name(f".{path.name}.lock").open("w") as file:
        lock(file)
        held = [r for r in read_results([path]) if place(r) not in again] if path.exists() else []
        write_results([*held, *results] if results else [], path)


def read_results(paths: Iterable[Path]) -> list[Result]:
    """Return the results of Parquet files, and of those named ``results*.parquet`` in folders.

    Raises:
        ValueError: for a path that is not there, or a file with other columns.
    """
    import pandas as pd

    names = [field.name for field in fields(Result)]
    found: list[Result] = []
    for path in paths:
        if not path.exists():
            raise ValueError(f"results must be Parquet files or folders of them, {path} is not there")
        for file in sorted(path.rglob("results*.parquet")) if path.is_dir() else [path]:
            try:
                frame = pd.read_parquet(file)
            except (OSError, ValueError) as error:  # pyarrow's errors are among them
                raise ValueError(f"{file} cannot be read as Parquet: {error}") from error
            missing = [name for name in names if name not in frame.columns]
            if missing:
                raise ValueError(f"{file} must hold results of evaluate or time, it lacks {', '.join(missing)}")
            found += [Result(**row) for row in frame[names].to_dict("records")]
    return found
