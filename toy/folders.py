"""Which files of a folder count: all below it that are not hidden, each once."""

from __future__ import annotations

import os
from pathlib import Path
from typing import NamedTuple

__all__ = ["VisibleFiles", "visible_files"]


class VisibleFiles(NamedTuple):
    """Files below a folder.

    Attributes:
        files: in the order of their paths.
        hidden: how many files and folders were left out, since their names begin with a dot.
    """

    files: tuple[Path, ...]
    hidden: int


def visible_files(folder: Path) -> VisibleFiles:
    """Return the files below a folder, without hidden ones: ``.ipynb_checkpoints``, ``._photo.png``, ``.DS_Store``.

    Links to files count as files, a link that leads nowhere too. Links to folders are followed, and each folder counts
    once: by its own name where it lies below ``folder``, else by the first link to it in the order of paths. A link
    that leads up, to a folder that holds the link or ``folder``, is not followed.

    Raises:
        ValueError: naming the folder, if one cannot be read.
    """
    files: list[Path] = []
    hidden = 0
    waiting: list[Path] = [folder]
    links: list[Path] = []
    seen: set[Path] = set()
    while waiting or links:
        if not waiting:
            links.sort(reverse=True)
            waiting.append(links.pop())
        here = waiting.pop()
        place = here.resolve()
        if place in seen:
            continue
        seen.add(place)
        try:
            entries = list(os.scandir(here))
        except OSError as error:
            raise ValueError(f"{here} cannot be read: {error.strerror or error}") from error
        for entry in entries:
            path = here / entry.name
            if entry.name.startswith("."):
                hidden += 1
            elif not path.is_dir():
                files.append(path)
            elif not entry.is_symlink():
                waiting.append(path)
            elif not any(above.is_relative_to(path.resolve()) for above in (place, folder.resolve())):
                links.append(path)
    return VisibleFiles(tuple(sorted(files)), hidden)
