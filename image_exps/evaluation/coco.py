"""Captions of MS-COCO from a local annotations file: the paper's 30,000, drawn with a stated seed.

The paper draws 30,000 prompts at random and does not say which; its published code reads them from a file, one caption
for each number of a picture, that is not published. Here: the captions in the order of their ids, shuffled by NumPy's
PCG64 with the seed, the first caption of each picture that comes, no picture twice.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from image_exps.evaluation.benchmarks import COCO_CAPTIONS
from image_exps.utils.text_files import read_json
from lml.arguments import check_integer

__all__ = ["SEED", "coco_captions"]

#: Of the selection, unless another is given.
SEED = 0


def coco_captions(annotations: Path, count: int = COCO_CAPTIONS, seed: int = SEED) -> tuple[str, ...]:
    """Return captions of ``count`` different pictures.

    Args:
        annotations: ``captions_val2014.json``, of 40,504 pictures with five captions each.
        count: how many.
        seed: of the selection.

    Raises:
        ValueError: for a file that holds no captions, or of too few pictures.
    """
    check_integer(count, "count")
    check_integer(seed, "seed", least=0)
    where = "annotations must be captions_val2014.json of http://images.cocodataset.org/annotations/"
    where += "annotations_trainval2014.zip"
    try:
        entries = read_json(annotations)["annotations"]
        rows = sorted((int(e["id"]), int(e["image_id"]), " ".join(str(e["caption"]).split())) for e in entries)
    except (KeyError, TypeError, OverflowError) as error:
        raise ValueError(f"{where}, {annotations} holds something else") from error
    except ValueError as error:
        raise ValueError(f"{where}: {error}") from error
    seen: dict[int, str] = {}
    for place in np.random.default_rng(seed).permutation(len(rows)):
        _, image, caption = rows[place]
        if caption:
            seen.setdefault(image, caption)
        if len(seen) == count:
            break
    if len(seen) < count:
        raise ValueError(f"count must be at most the {len(seen)} pictures of {annotations}, got {count}")
    return tuple(seen.values())
