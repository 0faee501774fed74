"""Numbers and names of the paper's benchmarks of prompts, which command lines show before anything heavy is loaded."""

from __future__ import annotations

__all__ = ["COCO_CAPTIONS", "COMPBENCH_CATEGORIES"]

#: Captions of MS-COCO that the paper draws (Sec. 5.3.2).
COCO_CAPTIONS = 30_000

#: Categories of T2I-CompBench in the paper's Table 4.
COMPBENCH_CATEGORIES: tuple[str, ...] = ("color", "shape", "texture")
