"""Does a sample's direction depend on the batch beside it? Every bit, over the shapes where vectors and blocks end.

``python batch_independence.py`` prints the cases that do, one a line, and the vector width that PyTorch uses.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

import torch
from torch import Tensor

from lml import _rotation, _rows
from lml.damping import damping_of
from lml.kernel import lml_direction_rank

DTYPES = (torch.float64, torch.float32, torch.bfloat16, torch.float16)
_BITS = {8: torch.int64, 4: torch.int32, 2: torch.int16}


def small_shapes() -> Iterator[tuple[int, int]]:
    """Yield rows up to twice four vectors of AVX-512 in float32, one by one, and scalars in vectors of any length."""
    yield from itertools.product((2, 5), range(1, 71))
    yield from ((batch, 3) for batch in range(7, 34, 2))


def large_shapes() -> Iterator[tuple[int, int]]:
    """Yield rows and batches around every size at which a row is cut, a block ends or PyTorch starts threads."""
    ends = (_rows._SEGMENT, 2 * _rows._SEGMENT, 32768, _rotation._BLOCK)
    yield from ((2, end + shift) for end in ends for shift in (-1, 0, 1))
    yield from ((3, 40001), (5, 20001))
    block = _rotation._BLOCK // 7  # elements of a row of which a block holds seven
    yield from ((batch, block) for batch in (6, 7, 8))


def bits(x: Tensor) -> Tensor:
    """Return the bits as integers: two zeros of other signs differ, two equal NaNs do not."""
    return x.view(_BITS[x.element_size()])


def draw(shape: tuple[int, int], count: int, seed: int) -> list[Tensor]:
    """Return noises (B, d), float64: the first, and others that resemble it."""
    generator = torch.Generator().manual_seed(seed)
    e = torch.randn(shape, dtype=torch.float64, generator=generator)
    return [e, *(e + 0.3 * torch.randn(shape, dtype=torch.float64, generator=generator) for _ in range(count - 1))]


def depends_on_its_batch(inputs: list[Tensor], damping: Tensor | float, mixing: float) -> bool:
    """Return whether rotating the samples together gives other bits than one by one."""
    together = lml_direction_rank(inputs[0], inputs[1:], damping=damping, mixing=mixing)
    alone = []
    for i in range(len(inputs[0])):
        row = [t[i : i + 1].clone() for t in inputs]  # memory of its own: another alignment
        lam = damping[i : i + 1] if isinstance(damping, Tensor) else damping
        alone.append(lml_direction_rank(row[0], row[1:], damping=lam, mixing=mixing))
    return not torch.equal(bits(together), bits(torch.cat(alone)))


def float64_depends_on_its_batch(inputs: list[Tensor], damping: Tensor, mixing: float) -> bool:
    """The same before the result is rounded to a narrower dtype, which hides most differences of float64."""
    lam = damping[:, None].double()
    together = _rotation._turn(inputs[0].double(), [p.double() for p in inputs[1:]], lam, mixing)
    alone = [_rotation._turn(*_row(inputs, i), lam[i : i + 1], mixing) for i in range(len(inputs[0]))]
    return not torch.equal(bits(together), bits(torch.cat(alone)))


def _row(inputs: list[Tensor], i: int) -> tuple[Tensor, list[Tensor]]:
    e, *previous = (t[i : i + 1].double().clone() for t in inputs)
    return e, previous


def damping_depends_on_its_batch(inputs: list[Tensor], mode: str) -> bool:
    """Return whether the damping of the samples together has other bits than one by one."""
    together = damping_of(inputs[0], inputs[1:], mode=mode, damping=1e-3)
    alone = [damping_of(t[0], t[1:], mode=mode, damping=1e-3) for t in zip(*(x.split(1) for x in inputs), strict=True)]
    return not torch.equal(bits(together), bits(torch.cat(alone)))


def failures() -> Iterator[str]:
    """Yield the cases in which a sample depends on its batch."""
    small = ((1, shape) for shape in small_shapes())
    for place, (threads, shape) in enumerate(itertools.chain(small, itertools.product((1, 2), large_shapes()))):
        torch.set_num_threads(threads)
        noises = draw(shape, 4, place)
        lam = torch.logspace(-4, 2, shape[0], dtype=torch.float64)
        m = (1, 1, 2, 1, 3)[place % 5]
        case = f"shape {shape}, {threads} threads, rank {m}"
        narrow = DTYPES[1 + place % 3]
        dtypes = (torch.float64, narrow) if shape[1] <= 70 else (narrow if place % 2 else torch.float64,)
        for dtype, damping in zip(dtypes, (lam, lam if place % 2 else 0.05), strict=False):
            if depends_on_its_batch([t.to(dtype) for t in noises[: 1 + m]], damping, 1e-3):
                yield f"{case}, {dtype}, damping {'apiece' if damping is lam else 'shared'}"
        if float64_depends_on_its_batch([t.to(narrow) for t in noises[: 1 + m]], lam, 1e-3):
            yield f"{case}, {narrow} before rounding"
        for mode in ("relative", "adaptive")[place % 2 :]:
            if damping_depends_on_its_batch([t.to(narrow) for t in noises[:3]], mode):
                yield f"{case}, {narrow}, {mode} damping"


if __name__ == "__main__":
    for failure in failures():
        print(failure)  # noqa: T201
    print(torch.backends.cpu.get_cpu_capability())  # noqa: T201
