"""Samplers that draw, with their noise in our hands: every standard normal number that they ask for is the same.

At zero what is left is the drift, which two implementations of one algorithm share to rounding; at one it shows how
much noise they add. `torch.randn` and its like are answered inside of `fixed_noise`; samplers that ask a function of
their own for noise, as those with Brownian trees do, are given `noise_sampler`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

__all__ = ["fixed_noise", "noise_sampler"]

_value: ContextVar[float | None] = ContextVar("value", default=None)


class _Fixed(TorchFunctionMode):
    """Answers requests for normal numbers with one number."""

    def __init__(self, value: float) -> None:
        super().__init__()
        self._value = value

    def __torch_function__(
        self, func: Callable[..., Any], types: Sequence[type], args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        kwargs = dict(kwargs or {})
        made = func(*args, **kwargs)
        if func in (torch.randn, torch.randn_like, torch.normal) or func is Tensor.normal_:
            return made.fill_(self._value)
        return made


@contextmanager
def fixed_noise(value: float) -> Iterator[None]:
    """Answer every request for a standard normal number with ``value`` inside of a block."""
    token = _value.set(value)
    try:
        with _Fixed(value):
            yield
    finally:
        _value.reset(token)


def noise_sampler() -> Callable[[Any, Any], float] | None:
    """Return ``(sigma, sigma_next) -> noise`` inside of `fixed_noise`, else ``None``."""
    value = _value.get()
    return None if value is None else lambda sigma, sigma_next: value
