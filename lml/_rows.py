"""Sums, norms and powers of rows, one row a sample, whose bits depend on the row alone.

In eager PyTorch on a CPU the result of a row is the same in any batch, at any place in it, with any number of threads
and any vector width (AVX2, AVX-512). That takes three things, which everything that is built on this has to keep to:

- an element-wise operation rounds once. Fused ones (``addcmul``, ``lerp``, ``add`` and ``sub`` with ``alpha``) may
  round otherwise in the body of a vector loop than in its tail, and the rows before it decide which of them a row
  meets;
- a sum runs along one row in an order that its length alone fixes (`row_sum`). The order of BLAS (``dot``, ``bmm``)
  depends on the alignment of the row;
- a function that has one approximation for vectors and another for single numbers (``pow``) is applied row by row
  (`row_power`).
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["accumulator", "row_norm", "row_power", "row_sum"]

# Devices without float64. There scalars are accumulated in float32, from inputs that were scaled to order one.
_NO_FLOAT64 = frozenset({"mps"})

# Elements of one sum: longer rows are cut, so that none is alone.
_SEGMENT = 4096


def accumulator(device: torch.device) -> torch.dtype:
    """Return the dtype in which scalars of a batch on this device are accumulated."""
    return torch.float32 if device.type in _NO_FLOAT64 else torch.float64


def row_sum(x: Tensor) -> Tensor:
    """Return the sums of the rows of ``x`` (B, d), shape (B, 1).

    Eager PyTorch splits one long sum among its threads, several it does not: long rows are cut, so that none is alone.
    """
    rows, cols = x.shape
    if x.device.type != "cpu" or torch.compiler.is_compiling() or cols < 2 * _SEGMENT:
        return x.sum(1, keepdim=True)
    whole = cols - cols % _SEGMENT
    total = row_sum(x[:, :whole].reshape(rows, -1, _SEGMENT).sum(2))
    return total if whole == cols else total + x[:, whole:].sum(1, keepdim=True)


def row_norm(x: Tensor) -> Tensor:
    """Return the norms of the rows of ``x`` (B, d), shape (B, 1), where no square leaves the range of the dtype."""
    return torch.sqrt(row_sum(x * x))


def row_power(x: Tensor, exponent: float) -> Tensor:
    """Return ``x**exponent`` for a column ``x`` (B, 1)."""
    # Two copies side by side: a row then begins a loop of its own, too short for a vector or one vector long.
    return torch.pow(x.expand(-1, 2), exponent)[:, :1]
