"""The kernels of `lml._rotation_triton` in Triton's interpreter, on CPU tensors, in a process of their own.

Triton decides at import whether it compiles or interprets, hence the process. The interpreter is a program in NumPy
that runs one program of the grid after another. Three of its operations are mended here, since a GPU does them right:
a multiply-add rounds once, bfloat16 is rounded to nearest (it truncates), a reduction by a function of ours is done on
arrays (it takes seconds a tile).
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor


@dataclass(frozen=True)
class Run:
    """What one rotation gave, and what it did: kernels launched, bytes read and written, the noise around the result.

    ``untouched`` tells whether no byte before or after the result was written.
    """

    out: Tensor
    launches: int
    loaded: int
    stored: int
    untouched: bool


class Interpreter:
    """A process in which the kernels are interpreted."""

    def __enter__(self) -> Interpreter:
        before = {name: os.environ.get(name) for name in ("TRITON_INTERPRET", "OMP_NUM_THREADS")}
        os.environ.update(TRITON_INTERPRET="1", OMP_NUM_THREADS="1")
        try:
            self._pool = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), initializer=_mend)
            self._pool.submit(int).result()  # the process has started
        finally:
            for name, value in before.items():
                if value is None:
                    del os.environ[name]
                else:
                    os.environ[name] = value
        return self

    def __exit__(self, *_: object) -> None:
        self._pool.shutdown()

    def run(
        self,
        noise: Tensor,
        previous: Tensor,
        damping: float | Tensor,
        kappa: float,
        *,
        wide: bool,
        backwards: bool = False,
        parts: int = 256,
    ) -> Run:
        """Rotate; ``backwards`` runs the programs of a grid in the opposite order, a row has up to ``parts`` parts."""
        arguments = pickle.dumps((noise, previous, damping, kappa, wide, backwards, parts))
        run: Run = pickle.loads(self._pool.submit(_run, arguments).result())
        return run

    def __call__(self, noise: Tensor, previous: Tensor, damping: float | Tensor, kappa: float, *, wide: bool) -> Tensor:
        """Return the direction alone."""
        return self.run(noise, previous, damping, kappa, wide=wide).out


_counted = {"launches": 0, "loaded": 0, "stored": 0, "backwards": 0}


def _mend() -> None:
    import triton.language as tl
    from triton.runtime import interpreter

    np.seterr(all="ignore")
    builder, Handle = interpreter.InterpreterBuilder, interpreter.TensorHandle

    def create_fma(_: object, x: Any, y: Any, z: Any) -> Any:
        # The product of two float32 is exact in float64, and so is what subtracting its own rounding leaves.
        exact = x.data.astype(np.float64) * y.data + z.data
        return Handle(exact.astype(z.data.dtype), z.dtype.scalar)

    cast = builder.cast_impl

    def cast_impl(self: object, source: Any, target: Any) -> Any:
        pair = source.dtype.scalar, target.scalar
        if pair == (tl.bfloat16, tl.float32):
            return Handle((source.data.astype(np.uint32) << 16).view(np.float32), tl.float32)
        if pair == (tl.float32, tl.bfloat16):
            nearest = torch.from_numpy(np.ascontiguousarray(source.data)).bfloat16().view(torch.int16)
            return Handle(nearest.numpy().view(np.uint16), tl.bfloat16)
        return cast(self, source, target)

    def generic_reduce(self: Any, tensors: tuple[Any, ...]) -> list[Any]:
        parts = [np.moveaxis(t.handle.data, self.axis, 0) for t in tensors]
        while len(parts[0]) > 1:  # sizes are powers of two
            half = len(parts[0]) // 2
            sides = [
                [self.to_tensor(p[part], t.dtype) for p, t in zip(parts, tensors, strict=True)]
                for part in (slice(half), slice(half, None))
            ]
            parts = [t.handle.data for t in self.combine_fn.fn(*sides[0], *sides[1])]
        return [self.to_tensor(p[0], t.dtype) for p, t in zip(parts, tensors, strict=True)]

    load, store, place = builder.create_masked_load, builder.create_masked_store, builder.set_grid_idx

    def create_masked_load(self: object, pointers: Any, mask: Any, *rest: Any) -> Any:
        result = load(self, pointers, mask, *rest)
        _counted["loaded"] += int(mask.data.sum()) * result.data.itemsize
        return result

    def create_masked_store(self: object, pointers: Any, value: Any, mask: Any, *rest: Any) -> None:
        _counted["stored"] += int(mask.data.sum()) * value.data.itemsize
        store(self, pointers, value, mask, *rest)

    def set_grid_idx(self: Any, x: int, y: int, z: int) -> None:
        place(self, self.grid_dim[0] - 1 - x if _counted["backwards"] else x, y, z)

    executor = interpreter.GridExecutor.__call__

    def launch(self: object, *args: Any, **kwargs: Any) -> None:
        _counted["launches"] += 1
        executor(self, *args, **kwargs)

    for owner, function in (
        (builder, create_fma),
        (builder, cast_impl),
        (builder, create_masked_load),
        (builder, create_masked_store),
        (builder, set_grid_idx),
        (interpreter.ReduceOps, generic_reduce),
    ):
        setattr(owner, function.__name__, function)
    interpreter.GridExecutor.__call__ = launch


_MARGIN = 4096  # bytes around a result
_MARK = 0xA5


def _run(arguments: bytes) -> bytes:
    from lml import _rotation_triton

    noise, previous, damping, kappa, wide, backwards, _rotation_triton._PARTS = pickle.loads(arguments)
    _counted.update(launches=0, loaded=0, stored=0, backwards=int(backwards))
    size = noise.numel() * noise.element_size()
    memory = torch.full((2 * _MARGIN + size,), _MARK, dtype=torch.uint8)
    memory[_MARGIN : _MARGIN + size] = 0xFF  # not a number in any dtype: an element that is left out shows
    target = memory[_MARGIN : _MARGIN + size].view(noise.dtype).view(noise.shape)
    before = torch.empty_like
    torch.empty_like = lambda _: target
    try:
        out = _rotation_triton.rotate(noise, previous, damping, kappa, wide)
    finally:
        torch.empty_like = before
    around = torch.cat([memory[:_MARGIN], memory[_MARGIN + size :]])
    return pickle.dumps(
        Run(out.clone(), *(_counted[name] for name in ("launches", "loaded", "stored")), bool((around == _MARK).all()))
    )
