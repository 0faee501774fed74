"""A folder of generated pictures: what was asked, the pictures in shards, and a record of each.

::

    settings.json            every setting and version, written first
    prompts.json             the prompts, where there are any
    00000/000123.png         picture 123, in the shard of pictures 0 to 999
    records-000.jsonl        a line for each finished batch of process 0
    records.parquet          a row a picture, once all are there

A batch counts when its line is there, which is written last, and the file of each picture has the digest that the line
holds: whatever kills a process loses the batch in flight, a batch that counts is not computed again, and one whose
pictures or line are damaged is, and that is said. Names are numbers: no text from outside reaches a path.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from filelock import FileLock

from image_exps.images.pixels import as_image
from image_exps.utils.text_files import read_json
from theory_checks.command_line.run_lock import LOCK
from toy.atomic import atomic, naming

__all__ = ["SHARD", "PictureFolder", "picture_name", "read_records", "read_settings", "refuse_other"]

_LOG = logging.getLogger(__name__)

#: Pictures in a shard.
SHARD = 1000

_COUNT = "count"

# What a record holds, and of which type.
_RECORD: dict[str, tuple[type, ...]] = {
    "index": (int,),
    "seed": (int,),
    "prompt": (str, type(None)),
    "file": (str, type(None)),
    "finite": (bool,),
    "sha256": (str, type(None)),
    "png_sha256": (str, type(None)),
    "seconds": (int, float),
}


def picture_name(index: int) -> str:
    """Return the path of a picture in its folder, e.g. ``00000/000123.png``."""
    return f"{index // SHARD:05d}/{index:06d}.png"


def read_settings(folder: Path) -> dict[str, Any]:
    """Return what a folder was made with.

    Raises:
        ValueError: if the folder holds no run.
    """
    path = folder / "settings.json"
    try:
        settings = read_json(path)
    except ValueError as error:
        raise ValueError(f"{folder} holds no readable record of pictures: {error}") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(settings).__name__}")
    return settings


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Return the records of the pictures that are there, in the order of their indices.

    Each has ``index``, ``seed``, ``prompt``, ``file`` (in the folder; ``None`` where the picture is not finite),
    ``finite``, ``sha256`` (of its bytes as pixels), ``png_sha256`` (of the file) and ``seconds`` (its share of its
    batch). A line that is damaged does not count, and is named in a warning.
    """
    found: dict[int, dict[str, Any]] = {}
    for path in sorted(folder.glob("records-*.jsonl")):
        for number, line in enumerate(_whole_lines(path.read_bytes()), 1):
            records = _records_in(line)
            if not records:
                _say_once(f"{path}, line {number}, is damaged: its pictures do not count, and sample draws them again")
            found |= {record["index"]: record for record in records}
    return [found[index] for index in sorted(found)]


def _whole_lines(content: bytes) -> list[bytes]:
    """Return the lines that were written to their end."""
    return content[: content.rfind(b"\n") + 1].splitlines()


def _records_in(line: bytes) -> list[dict[str, Any]]:
    """Return the records of a line; none if any of it is not what was written."""
    try:
        records = json.loads(line)["pictures"]
        whole = all(isinstance(record[name], kind) for record in records for name, kind in _RECORD.items())
        return list(records) if whole and all(record["index"] >= 0 for record in records) else []
    except (ValueError, KeyError, TypeError, RecursionError):
        return []


@cache
def _say_once(text: str) -> None:
    _LOG.warning("%s", text)


def refuse_other(folder: Path, settings: Mapping[str, Any]) -> None:
    """Refuse a folder that is not for pictures of these settings; nothing is changed.

    Raises:
        ValueError: if the folder holds something else, other settings, or more pictures than are asked for.
    """
    if not (folder / "settings.json").exists():
        strange = sorted(entry.name for entry in folder.iterdir() if not entry.name.startswith("."))
        if strange:
            raise ValueError(f"{folder} is not empty and holds no run ({strange[0]}, ...): give another --out")
        return
    held = read_settings(folder)
    if not isinstance(held.get(_COUNT), int):
        raise ValueError(f"{folder / 'settings.json'} must hold the count of a run, it does not: give another --out")
    other = _differences(held, settings)
    if other:
        shown = "; ".join(other[:6]) + ("; ..." if len(other) > 6 else "")
        raise ValueError(f"{folder} holds pictures of other settings ({shown}): give another --out")
    if held[_COUNT] > settings[_COUNT]:
        raise ValueError(
            f"{folder} was made for {held[_COUNT]} pictures: ask for as many or more, got count {settings[_COUNT]}"
        )


class PictureFolder:
    """The folder of one run, for one of its processes.

    Args:
        folder: made if it is not there.
        settings: plain JSON; with ``count`` pictures in batches of ``batch``.
        prompts: of the run; picture i has prompt ``i % len(prompts)``.

    Attributes:
        damaged: pictures that were recorded and are not there, or are not the files that were recorded.

    Raises:
        ValueError: if the folder holds something else, other settings, or more pictures than are asked for.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], prompts: Sequence[str] = ()) -> None:
        self.folder = folder
        self.settings = json.loads(json.dumps(dict(settings)))
        self.damaged: set[str] = set()
        self._sound: set[int] = set()
        folder.mkdir(parents=True, exist_ok=True)
        refuse_other(folder, self.settings)
        with FileLock(folder / LOCK):  # one process at a time, and a larger count than before goes on with the run
            refuse_other(folder, self.settings)
            path = folder / "settings.json"
            if not path.exists() or read_settings(folder)[_COUNT] < self.settings[_COUNT]:
                _write_text(path, json.dumps(self.settings, indent=2, sort_keys=True))
            if prompts:
                _write_text(folder / "prompts.json", json.dumps(list(prompts), ensure_ascii=False, indent=0))

    def blocks(self, rank: int = 0, world: int = 1) -> Iterator[range]:
        """Yield the batches of a process that are not there yet, or not as they were recorded, as ranges of indices.

        Batches have fixed places, and each belongs to one process by its number: so a picture meets the same others in
        its batch whatever the number of processes and however often the run is interrupted. The last one is computed
        whole, though only what was asked for is kept, so that it does not depend on the count either.
        """
        records = {record["index"]: record for record in read_records(self.folder)}
        for block in self._blocks(rank, world):
            sound = [index in records and self._is_sound(records[index]) for index in self.kept(block)]
            if not all(sound):
                yield block

    def share(self, rank: int = 0, world: int = 1) -> int:
        """Return how many pictures are a process's, there or not."""
        return sum(len(self.kept(block)) for block in self._blocks(rank, world))

    def kept(self, block: range) -> range:
        """Return the indices of a batch that were asked for."""
        return range(block.start, min(block.stop, self.settings[_COUNT]))

    def _blocks(self, rank: int, world: int) -> Iterator[range]:
        batch, count = self.settings["batch"], self.settings[_COUNT]
        for number in range(rank, -(-count // batch), world):
            yield range(number * batch, (number + 1) * batch)

    def _is_sound(self, record: Mapping[str, Any]) -> bool:
        """Return whether a picture is as its record says; each is read once."""
        index = record["index"]
        if index not in self._sound:
            if record["file"] is not None and _digest_of(self.folder / picture_name(index)) != record["png_sha256"]:
                self.damaged.add(picture_name(index))
                return False
            self._sound.add(index)
        return True

    @contextmanager
    def journal(self, rank: int = 0) -> Iterator[BinaryIO]:
        """Open the records of a process for appending, without what an interrupted write or damage left."""
        path = self.folder / f"records-{rank:03d}.jsonl"
        if path.exists():
            content = path.read_bytes()
            sound = b"".join(line + b"\n" for line in _whole_lines(content) if _records_in(line))
            if sound != content:
                with atomic(path) as partial:
                    partial.write_bytes(sound)
        with path.open("ab") as file:
            yield file

    def save(self, journal: BinaryIO, pictures: Sequence[tuple[int, int, str | None, Any]], seconds: float) -> int:
        """Write a finished batch, its line last; return how many of its pictures are not finite.

        Args:
            journal: of this process.
            pictures: index, seed, prompt and bytes (height, width, channels) of each; bytes are ``None`` where a number
                was not finite: those are recorded with their seed, and no file is written.
            seconds: that the batch took.
        """
        lines: list[dict[str, Any]] = []
        for index, seed, prompt, pixels in pictures:
            name = written = None
            if pixels is not None:
                name = picture_name(index)
                written = self._write(name, pixels)
            lines.append(
                {
                    "index": index,
                    "seed": seed,
                    "prompt": prompt,
                    "file": name,
                    "finite": pixels is not None,
                    "sha256": None if pixels is None else hashlib.sha256(pixels.tobytes()).hexdigest(),
                    "png_sha256": written,
                    "seconds": round(seconds / len(pictures), 6),
                }
            )
        with naming(Path(journal.name)):
            journal.write(json.dumps({"pictures": lines}, ensure_ascii=False).encode() + b"\n")
            journal.flush()
            os.fsync(journal.fileno())
        self._sound.update(line["index"] for line in lines)
        return sum(not line["finite"] for line in lines)

    def _write(self, name: str, pixels: np.ndarray[Any, Any]) -> str:
        """Write a picture, and return the digest of its file."""
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        data = io.BytesIO()
        as_image(pixels).save(data, format="PNG")
        with atomic(path) as partial:
            partial.write_bytes(data.getvalue())
        return hashlib.sha256(data.getvalue()).hexdigest()

    def finish(self) -> bool:
        """Write ``records.parquet`` if every picture is there as it was recorded; return whether it is so."""
        records = [record for record in read_records(self.folder) if record["index"] < self.settings[_COUNT]]
        if len(records) < self.settings[_COUNT] or sum(map(self._is_sound, records)) < len(records):
            return False
        import pandas as pd

        table = pd.DataFrame(records).drop(columns="seconds")
        with atomic(self.folder / "records.parquet") as partial:
            table.to_parquet(partial, index=False)
        return True


def _write_text(path: Path, text: str) -> None:
    with atomic(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def _digest_of(path: Path) -> str:
    """Return the digest of a file; empty if it cannot be read."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


def _differences(held: Mapping[str, Any], asked: Mapping[str, Any], under: str = "") -> list[str]:
    """Return what differs between two nested settings, as ``name: held, asked for``."""
    found = []
    for key in sorted({*held, *asked}):
        name, old, new = f"{under}{key}", held.get(key), asked.get(key)
        if name == _COUNT or old == new:
            continue
        if isinstance(old, dict) and isinstance(new, dict):
            found += _differences(old, new, f"{name}.")
        else:
            found.append(f"{name}: {old!r}, asked for {new!r}")
    return found
