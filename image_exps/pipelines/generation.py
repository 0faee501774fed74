"""From a request to a folder of pictures: draw batch by batch, write, and go on where a run was interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from image_exps.pipelines.picture_folder import PictureFolder
from image_exps.pipelines.rendering import to_bytes
from image_exps.pipelines.session import Request, open_session
from image_exps.utils.processes import Process

__all__ = ["Outcome", "Progress", "generate"]

#: Told after each batch: how many of this process's pictures are there, and how many it has to make.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Outcome:
    """What a process has done.

    Attributes:
        made: pictures of this call.
        kept: pictures of this process that were there before.
        not_finite: seeds of those, of this call, that are not finite; they have a record but no file.
        complete: whether the whole folder is, by every process.
        seconds: that this call took to draw and write.
    """

    made: int
    kept: int
    not_finite: tuple[int, ...]
    complete: bool
    seconds: float


def generate(request: Request, out: Path, process: Process | None = None, progress: Progress | None = None) -> Outcome:
    """Make the pictures of a request that are not in the folder yet.

    Args:
        request: what is asked for.
        out: the folder.
        process: which of several this one is; all are given the same request and folder.
        progress: told after each batch.

    Raises:
        ValueError: before anything is drawn: for a bad request, or a folder with something else in it.
    """
    process = process or Process()
    session = open_session(request)
    renderer = session.renderer(request.sampler)
    renderer.check_prompts(request.prompts)
    folder = PictureFolder(out, session.settings(request.sampler), request.prompts)
    pending = list(folder.blocks(process.rank, process.world))
    todo = sum(len(folder.kept(block)) for block in pending)
    made, bad = 0, []
    began = time.perf_counter()
    if pending:
        with folder.journal(process.rank) as journal:
            for block in pending:
                start = time.perf_counter()
                kept = folder.kept(block)
                pixels = [to_bytes(picture) for picture in session.draw(renderer, block)]
                rows = [(i, request.seed + i, request.prompt(i), pixels[i - block[0]]) for i in kept]
                folder.save(journal, rows, time.perf_counter() - start)
                bad += [seed for _, seed, _, data in rows if data is None]
                made += len(kept)
                if progress is not None:
                    progress(made, todo)
    seconds = time.perf_counter() - began
    return Outcome(made, folder.share(process.rank, process.world) - todo, tuple(bad), folder.finish(), seconds)
