"""Arithmetic in float64 for code that asks for float32: the schedulers of diffusers cast samples and tables.

Inside of `double_precision` every request of PyTorch for float32 is one for float64: ``x.to(torch.float32)``,
``torch.linspace(.., dtype=torch.float32)``, ``x.float()``, and numbers without a dtype. What NumPy rounded to float32
before (the tables of ``sigmas``) keeps its values and is exact from there on: it changes which levels are meant, and no
arithmetic between them. Whether a scheduler has become exact is measured by `image_exps.judge.levels`, not assumed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["double_precision", "to_double"]


class _Double(TorchFunctionMode):
    """Turns float32 into float64 in the arguments of every function of PyTorch."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.float:
            func = Tensor.double
        kwargs = {name: _wide(value) for name, value in (kwargs or {}).items()}
        return func(*map(_wide, args), **kwargs)


def _wide(value: Any) -> Any:
    return torch.float64 if value is torch.float32 else value


@contextmanager
def double_precision() -> Iterator[None]:
    """Make float32 mean float64 inside of a block, in this thread."""
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        with _Double():
            yield
    finally:
        torch.set_default_dtype(before)


def to_double(thing: object) -> None:
    """Turn the float32 tensors that an object has as attributes into float64, in place."""
    for name, value in vars(thing).items():
        if isinstance(value, Tensor) and value.dtype is torch.float32:
            setattr(thing, name, value.to(torch.float64))
