"""A folder of generated pictures: what was asked, the pictures in shards, and a record of each.

::

    settings.json            every setting and version, written first
    prompts.json             the prompts, where there are any
    00000/000123.png         picture 123, in the shard of pictures 0 to 999
    records-000.jsonl        a line for each finished batch of process 0
    records.parquet          a row a picture, once all are there

A batch counts when its line is there, which is written last: whatever kills a process loses the batch in flight, and a
batch that counts is not computed again. Names are numbers: no text from outside reaches a path.
"""

from __future__ import annotations

import hashlib
import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from image_exps.images.pixels import as_image
from image_exps.utils.locks import lock
from toy.atomic import atomic

__all__ = ["SHARD", "PictureFolder", "picture_name", "read_records", "read_settings"]

#: Pictures in a shard.
SHARD = 1000

_COUNT = "count"


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
        settings = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} holds no pictures of this toolkit: {path.name} cannot be read ({error})") from error
    if not isinstance(settings, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(settings).__name__}")
    return settings


def read_records(folder: Path) -> list[dict[str, Any]]:
    """Return the records of the pictures that are there, in the order of their indices.

    Each has ``index``, ``seed``, ``prompt``, ``file`` (in the folder; ``None`` where the picture is not finite),
    ``finite``, ``sha256`` (of its bytes as pixels) and ``seconds`` (its share of its batch).
    """
    found: dict[int, dict[str, Any]] = {}
    for path in sorted(folder.glob("records-*.jsonl")):
        for line in _whole_lines(path.read_bytes()):
            for record in json.loads(line)["pictures"]:
                found[record["index"]] = record
    return [found[index] for index in sorted(found)]


def _whole_lines(content: bytes) -> list[bytes]:
    """Return the lines that were written to their end."""
    return content[: content.rfind(b"\n") + 1].splitlines()


class PictureFolder:
    """The folder of one run, for one of its processes.

    Args:
        folder: made if it is not there.
        settings: plain JSON; with ``count`` pictures in batches of ``batch``.
        prompts: of the run; picture i has prompt ``i % len(prompts)``.

    Raises:
        ValueError: if the folder holds something else, other settings, or more pictures than are asked for.
    """

    def __init__(self, folder: Path, settings: Mapping[str, Any], prompts: Sequence[str] = ()) -> None:
        self.folder = folder
        self.settings = json.loads(json.dumps(dict(settings)))
        self._claim()
        if prompts:
            _write_text(folder / "prompts.json", json.dumps(list(prompts), ensure_ascii=False, indent=0))

    def _claim(self) -> None:
        """Write the settings if nobody has, else compare; a larger count than before goes on with the run."""
        self.folder.mkdir(parents=True, exist_ok=True)
        path = self.folder / "settings.json"
        if not path.exists():
            strange = sorted(entry.name for entry in self.folder.iterdir() if not entry.name.startswith("."))
            if strange and strange != ["settings.json"] and not path.exists():
                raise ValueError(f"{self.folder} is not empty and holds no run ({strange[0]}, ...): give another --out")
            _write_first(path, json.dumps(self.settings, indent=2, sort_keys=True))
        held = read_settings(self.folder)
        other = _differences(held, self.settings)
        if other:
            shown = "; ".join(other[:6]) + ("; ..." if len(other) > 6 else "")
            raise ValueError(f"{self.folder} holds pictures of other settings ({shown}): give another --out")
        if held[_COUNT] > self.settings[_COUNT]:
            raise ValueError(
                f"{self.folder} was made for {held[_COUNT]} pictures: ask for as many or more, "
                f"got count {self.settings[_COUNT]}"
            )
        if held[_COUNT] < self.settings[_COUNT]:
            _write_text(path, json.dumps(self.settings, indent=2, sort_keys=True))

    def blocks(self, rank: int = 0, world: int = 1) -> Iterator[range]:
        """Yield the batches of a process that are not there yet, as ranges of indices.

        Batches have fixed places, and each belongs to one process by its number: so a picture meets the same others in
        its batch whatever the number of processes and however often the run is interrupted. The last one is computed
        whole, though only what was asked for is kept, so that it does not depend on the count either.
        """
        done = {record["index"] for record in read_records(self.folder) if self._there(record)}
        for block in self._blocks(rank, world):
            if not done.issuperset(self.kept(block)):
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

    def _there(self, record: Mapping[str, Any]) -> bool:
        return record["file"] is None or (self.folder / picture_name(record["index"])).is_file()

    @contextmanager
    def journal(self, rank: int = 0) -> Iterator[BinaryIO]:
        """Open the records of a process for appending, without what an interrupted write left.

        Raises:
            ValueError: if another process writes them right now.
        """
        path = self.folder / f"records-{rank:03d}.jsonl"
        with path.open("a+b") as file:
            if not lock(file, wait=False):
                raise ValueError(f"{path} is written by another process right now: wait for it, or give another --out")
            file.seek(0)
            whole = file.read().rfind(b"\n") + 1
            file.truncate(whole)
            yield file

    def save(self, journal: BinaryIO, pictures: Sequence[tuple[int, int, str | None, Any]], seconds: float) -> int:
        """Write a finished batch, its line last; return how many of its pictures are not finite.

        Args:
            journal: of this process.
            pictures: index, seed, prompt and bytes (height, width, channels) of each; bytes are ``None`` where a number
                was not finite: those are recorded with their seed, and no file is written.
            seconds: that the batch took.
        """
        lines = []
        for index, seed, prompt, pixels in pictures:
            name = None
            if pixels is not None:
                name = picture_name(index)
                self._write(name, pixels)
            lines.append(
                {
                    "index": index,
                    "seed": seed,
                    "prompt": prompt,
                    "file": name,
                    "finite": pixels is not None,
                    "sha256": None if pixels is None else hashlib.sha256(pixels.tobytes()).hexdigest(),
                    "seconds": round(seconds / len(pictures), 6),
                }
            )
        journal.write(json.dumps({"pictures": lines}, ensure_ascii=False).encode() + b"\n")
        journal.flush()
        os.fsync(journal.fileno())
        return sum(not line["finite"] for line in lines)

    def _write(self, name: str, pixels: np.ndarray[Any, Any]) -> None:
        path = self.folder / name
        path.parent.mkdir(exist_ok=True)
        for left in path.parent.glob(f".{path.name}.*"):  # by a process that was killed: this picture is ours alone
            left.unlink(missing_ok=True)
        data = io.BytesIO()
        as_image(pixels).save(data, format="PNG")
        with atomic(path) as partial:
            partial.write_bytes(data.getvalue())

    def finish(self) -> bool:
        """Write ``records.parquet`` if every picture is there; return whether it is so."""
        records = [r for r in read_records(self.folder) if r["index"] < self.settings[_COUNT] and self._there(r)]
        if len(records) < self.settings[_COUNT]:
            return False
        import pandas as pd

        table = pd.DataFrame(records).drop(columns="seconds")
        with atomic(self.folder / "records.parquet") as partial:
            table.to_parquet(partial, index=False)
        return True


def _write_text(path: Path, text: str) -> None:
    with atomic(path) as partial:
        partial.write_text(text + "\n", encoding="utf-8")


def _write_first(path: Path, text: str) -> None:
    """Write a text at once, unless another process was first: then what it has written stays."""
    whole = path.with_name(f".{path.name}.{os.getpid()}.first")
    try:
        _write_text(whole, text)
        try:
            os.link(whole, path)
        except FileExistsError:
            pass
        except OSError:  # a file system without hard links
            os.replace(whole, path)
    finally:
        whole.unlink(missing_ok=True)


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
