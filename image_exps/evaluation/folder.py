"""A folder of pictures to be scored: one that ``sample`` made, with prompts and settings, or any folder of files."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from image_exps.evaluation.results import Result
from image_exps.pipelines.picture_folder import picture_name, read_records, read_settings
from toy.picture_files import check_picture, find_pictures, read_picture

__all__ = ["Generated", "Progress", "load_pictures", "open_generated"]

#: Called after each batch: how many pictures are done, and how many there are.
Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Generated:
    """Pictures on disk.

    Attributes:
        folder: where they are.
        files: of the pictures, in the order of their indices or names.
        prompts: one a picture, ``None`` where there was none.
        settings: what they were made with; empty for a folder that ``sample`` did not make.
        lost: seeds of pictures that were not finite, which have no file.
        left_out: what else lies in a folder that ``sample`` did not make, in words; empty if nothing does.
    """

    folder: Path
    files: tuple[Path, ...]
    prompts: tuple[str | None, ...]
    settings: dict[str, Any] = field(default_factory=dict)
    lost: tuple[int, ...] = ()
    left_out: str = ""

    def __len__(self) -> int:
        return len(self.files)

    @property
    def model(self) -> str:
        """Name of the model, or of the folder."""
        return str(self.settings.get("model", {}).get("name", self.folder.resolve().name))

    @property
    def sampler(self) -> str:
        """Name of the sampler; empty if it is not known."""
        return str(self.settings.get("sampler", {}).get("name", ""))

    @property
    def evaluations(self) -> int:
        """Evaluations of the network a picture; 0 if it is not known."""
        return int(self.settings.get("sampler", {}).get("evaluations", 0))

    @property
    def guidance(self) -> float | None:
        """Scale of classifier-free guidance."""
        scale = self.settings.get("guidance")
        return None if scale is None else float(scale)

    @property
    def remark(self) -> str:
        """What a reader must know of any figure of these pictures; empty if they are all that were asked for."""
        asked = int(self.settings.get("count", 0))
        absent = asked - len(self.files) - len(self.lost)
        remarks = [f"{len(self.lost)} pictures were not finite and are left out"] if self.lost else []
        if absent > 0:
            remarks.append(f"unfinished: {absent} of the {asked} pictures are not there yet")
        return "; ".join(remarks)

    def result(
        self, metric: str, value: float, low: float, high: float, *, higher_is_better: bool, remark: str = ""
    ) -> Result:
        """Return a figure of these pictures as a row, with what a reader must know of them besides ``remark``."""
        return Result(
            self.model,
            self.sampler,
            self.evaluations,
            metric,
            value,
            low,
            high,
            len(self),
            higher_is_better,
            math.nan if self.guidance is None else self.guidance,
            "; ".join(filter(None, (remark, self.remark))),
            self.folder.resolve().name,
        )

    def check_files(self) -> None:
        """Refuse files that are no pictures, by their headers, before anything is computed of the others.

        Raises:
            ValueError: naming the first of them.
        """
        for file in self.files:
            check_picture(file)

    def check_prompts(self, what: str) -> None:
        """Refuse pictures whose prompts are not known for what needs them.

        Raises:
            ValueError: naming the first such picture.
        """
        for file, prompt in zip(self.files, self.prompts, strict=True):
            if prompt is None:
                raise ValueError(f"prompts must be known for {what}, {file} has none")

    def batches(self, size: int = 32, progress: Progress | None = None) -> Iterator[tuple[Tensor, list[str | None]]]:
        """Yield pictures (n, 3, height, width) in [-1, 1], float32, with their prompts; of one size within a batch.

        Args:
            size: of a batch at most.
            progress: called when the next batch is asked for.
        """
        start = 0
        while start < len(self.files):
            pictures = [load_pictures(self.files[start : start + 1])]
            stop = start + 1
            while stop < min(start + size, len(self.files)):
                picture = load_pictures(self.files[stop : stop + 1])
                if picture.shape != pictures[0].shape:
                    break
                pictures.append(picture)
                stop += 1
            yield torch.cat(pictures), list(self.prompts[start:stop])
            start = stop
            if progress is not None:
                progress(start, len(self.files))


def load_pictures(files: Sequence[Path]) -> Tensor:
    """Return pictures of one size as (n, 3, height, width) in [-1, 1], float32, read by `toy.picture_files`.

    Raises:
        ValueError: for a file that is no picture.
    """
    arrays = [np.asarray(read_picture(file)) for file in files]
    return torch.from_numpy(np.stack(arrays)).movedim(-1, 1).to(torch.float32) / 127.5 - 1


def open_generated(folder: Path) -> Generated:
    """Return the pictures of a folder.

    A folder that ``sample`` made is read by its records, so that half-written files and other things in it do not
    count; of any other folder every picture below it, as `toy.picture_files` finds them.

    Raises:
        ValueError: if there is no folder, no picture, or a recorded picture is missing.
    """
    if not (folder / "settings.json").exists():
        files, left_out = find_pictures(folder)
        return Generated(folder, files, (None,) * len(files), left_out=left_out)
    settings = read_settings(folder)
    kinds = {"count": int, "model": dict, "sampler": dict}
    if not all(isinstance(settings.get(key), kind) for key, kind in kinds.items()):
        raise ValueError(f"{folder / 'settings.json'} is none of sample: take it out of a folder of other pictures")
    records = read_records(folder)
    kept = [record for record in records if record["file"] is not None]
    if not kept:
        raise ValueError(f"folder must hold finished pictures, {folder} has settings and none yet")
    files = tuple(folder / picture_name(record["index"]) for record in kept)
    for file in files:
        if not file.is_file():
            raise ValueError(f"{file} is recorded and missing: run the same sample command again")
    lost = tuple(int(record["seed"]) for record in records if record["file"] is None)
    return Generated(folder, files, tuple(record["prompt"] for record in kept), settings, lost)
