"""From a request to a folder of pictures: draw batch by batch, write, and go on where a run was interrupted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from image_exps.pipelines.picture_folder import PictureFolder, refuse_other
from image_exps.pipelines.rendering import Renderer, to_bytes
from image_exps.pipelines.session import Request, Session, open_session
from image_exps.utils.process_locks import only_processes
from image_exps.utils.processes import Process

__all__ = ["Outcome", "Progress", "generate"]

#: Called after each batch: how many of this process's pictures are there, and how many it has to make.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Outcome:
    """What a process has done.

    Attributes:
        made: pictures of this call.
        kept: pictures of this process that were there before.
        not_finite: seeds of those, of this call, that are not finite; they have a record but no file.
        damaged: pictures that were recorded, and were not there or not as recorded; those of this process are made
            again.
        complete: whether the whole folder is, by every process.
        seconds: that this call took to draw and write.
    """

    made: int
    kept: int
    not_finite: tuple[int, ...]
    damaged: tuple[str, ...]
    complete: bool
    seconds: float


def generate(request: Request, out: Path, process: Process | None = None, progress: Progress | None = None) -> Outcome:
    """Make the pictures of a request that are not in the folder yet.

    Args:
        request: what is asked for.
        out: the folder.
        process: which of several this one is; all are given the same request and folder.
        progress: called after each batch.

    Raises:
        ValueError: before anything is drawn: for a bad request, a folder with something else in it, or one that others
            write.
    """
    process = process or Process()
    session = open_session(request)
    renderer = session.renderer(request.sampler)
    renderer.check_prompts(request.prompts)
    settings = session.settings(request.sampler)
    out.mkdir(parents=True, exist_ok=True)
    refuse_other(out, settings)
    with only_processes(out, process):
        folder = PictureFolder(out, settings, request.prompts)
        began = time.perf_counter()
        made, bad, todo = _draw(session, renderer, folder, process, progress)
        seconds = time.perf_counter() - began
        kept = folder.share(process.rank, process.world) - todo
        complete = folder.finish()
    return Outcome(made, kept, tuple(bad), tuple(sorted(folder.damaged)), complete, seconds)


def _draw(
    session: Session, renderer: Renderer, folder: PictureFolder, process: Process, progress: Progress | None
) -> tuple[int, list[int], int]:
    """Return how many pictures were made, the seeds of those that are not finite, and how many were to be made."""
    request = session.request
    pending = list(folder.blocks(process.rank, process.world))
    todo = sum(len(folder.kept(block)) for block in pending)
    made, bad = 0, []
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
    return made, bad, todo
