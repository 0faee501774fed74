"""What samples are compared with: an exact distribution, or real pictures where there is none."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor

from toy import ExactTarget, Pictures

__all__ = ["Comparable", "Reference", "reference_of"]

# Seeds of the reference set and of the split of real pictures: fixed, so that figures of different runs compare.
_REFERENCE_SEED = 0x5EED
_SPLIT_SEED = 0x5711
_BLOCK_SEED = 0xB10C


@runtime_checkable
class Comparable(Protocol):
    """What `image_exps.problems.targets.Target` offers to distances."""

    @property
    def name(self) -> str:
        """By which the target is found."""
        ...

    @property
    def shape(self) -> tuple[int, ...]:
        """Of one sample."""
        ...

    def final(self) -> ExactTarget:
        """Return the distribution at the last level."""
        ...


@dataclass(frozen=True, eq=False)
class Reference:
    """The source of exact samples.

    Exactly one of ``law`` and ``real`` is given. Real pictures are split once, by a fixed seed: one half is the
    reference, the other is held out, and its draws give the floor. No picture is compared with itself.

    Attributes:
        name: in messages and remarks.
        shape: of one sample; (channels, height, width) for pictures.
        law: the exact distribution.
        real: real pictures, shape (N, d).
    """

    name: str
    shape: tuple[int, ...]
    law: ExactTarget | None = None
    real: Tensor | None = None

    def __post_init__(self) -> None:
        if (self.law is None) == (self.real is None):
            raise ValueError("law or real must be given, and not both")

    @property
    def dim(self) -> int:
        """The dimension d of one sample."""
        return int(torch.Size(self.shape).numel())

    @property
    def is_picture(self) -> bool:
        """Whether a sample is a picture."""
        return len(self.shape) == 3

    @property
    def held_out(self) -> int | None:
        """How many samples `draw` can give at most; ``None`` without a limit."""
        return None if self.real is None else len(self._halves[1])

    @cached_property
    def exact(self) -> ExactTarget:
        """The law in float64.

        Raises:
            ValueError: if there is none.
        """
        if self.law is None:
            raise ValueError(f"reference {self.name!r} has real pictures, and no exact distribution")
        return self.law.to(dtype=torch.float64)

    @cached_property
    def _halves(self) -> tuple[Tensor, Tensor]:
        assert self.real is not None
        order = torch.randperm(len(self.real), generator=torch.Generator().manual_seed(_SPLIT_SEED))
        middle = len(order) // 2
        return self.real[order[:middle]], self.real[order[middle:]]

    def fixed(self, count: int) -> Tensor:
        """Return the reference set, shape (m, d) in float64: ``m = count``, or all there are where they are fewer."""
        if self.real is not None:
            return self._halves[0][:count].double()
        assert self.law is not None
        return self.law.sample(count, generator=torch.Generator().manual_seed(_REFERENCE_SEED)).double()

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return samples, shape (count, d) in float64, independent of `fixed`; of real pictures each at most once.

        Raises:
            ValueError: for more samples than there are held out.
        """
        if self.real is None:
            assert self.law is not None
            return self.law.sample(count, generator=generator).double()
        rest = self._halves[1]
        if count > len(rest):
            raise ValueError(f"count must be at most the {len(rest)} held-out pictures of {self.name}, got {count}")
        return rest[torch.randperm(len(rest), generator=generator)[:count]].double()

    def block(self, index: int, size: int) -> Tensor:
        """Return the block of this index of one long row of held-out samples, shape (at most size, d), in float64."""
        if self.real is not None:
            return self._halves[1][index * size : (index + 1) * size].double()
        assert self.law is not None
        return self.law.sample(size, generator=torch.Generator().manual_seed(_BLOCK_SEED + index)).double()

    def moments(self) -> tuple[Tensor, Tensor]:
        """Return mean (d,) and covariance (d, d) in float64: closed forms of a law, else of the reference half."""
        if self.law is not None:
            return self.exact.mean(), self.exact.covariance()
        x = self._halves[0].double()
        return x.mean(0), torch.cov(x.T).reshape(self.dim, self.dim)


def reference_of(target: Comparable | Pictures | ExactTarget | Reference) -> Reference:
    """Return what samples of a target are compared with.

    A target has its exact distribution at the last level; a trained network has none, and is compared with the real
    `toy.Pictures`.

    Raises:
        ValueError: for anything else.
    """
    if isinstance(target, Reference):
        return target
    if isinstance(target, Pictures):
        return Reference(target.name, tuple(target.images.shape[1:]), real=target.images.flatten(1))
    if isinstance(target, ExactTarget):
        return Reference(type(target).__name__, (target.dim,), law=target)
    if isinstance(target, Comparable):
        return Reference(target.name, tuple(target.shape), law=target.final())
    raise ValueError(f"target must be a Target, Pictures, an ExactTarget or a Reference, got {type(target).__name__}")
