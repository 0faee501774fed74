r"""Corrections of the noise prediction: pure objects between the network and the base solver.

A correction is asked once for every evaluation of the network, ``correct(vector, memory, progress)``, and answers with
the vector to be used and the memory to be carried. It keeps nothing itself, so that one object serves any number of
generations. `LML` is Algorithm 1; `ReleasedLML` is what the paper's published code does; `lml.controls` has what could
produce the same figures by other means.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal, NamedTuple

from torch import Tensor

from lml.arguments import check_choice, check_integer, check_number, check_positive
from lml.damping import check_damping_mode, damping_of, history_needed
from lml.extrapolated_norm import NORMS, with_extrapolated_norm
from lml.kernel import lml_direction, lml_direction_rank, lml_direction_textbook
from lml.strength import DEFAULT_DAMPING, default_mixing

__all__ = ["LML", "Correction", "Memory", "NoCorrection", "ReleasedLML", "Turn"]


class Memory(NamedTuple):
    """What a correction carries: the vectors of the evaluations before this one, uncorrected, latest first."""

    history: tuple[Tensor, ...] = ()


class Correction(ABC):
    """A correction of the vectors that a solver steps along.

    Attributes:
        site: what is corrected. ``noise``: the noise prediction, before the base solver sees it. ``update``: the vector
            that the base solver adds to the linear part of its step.
    """

    site: ClassVar[Literal["noise", "update"]] = "noise"

    @property
    @abstractmethod
    def depth(self) -> int:
        """How many past vectors are remembered."""

    @abstractmethod
    def _turned(self, vector: Tensor, history: Sequence[Tensor], progress: float) -> Tensor:
        """Return the corrected vector."""

    def correct(self, vector: Tensor, memory: Memory, progress: float = 0.0) -> tuple[Tensor, Memory]:
        """Return the vector to be used and the memory for the next evaluation.

        Args:
            vector: the noise prediction (or update, see `site`), shape (B, ...).
            memory: ``Memory()`` at the start of a generation, then what the last call returned.
            progress: the part of the trajectory's steps that is done, in [0, 1).
        """
        turned = self._turned(vector, memory.history, progress)
        return turned, Memory((vector, *memory.history)[: self.depth])


@dataclass(frozen=True)
class NoCorrection(Correction):
    """The base solver as it is."""

    @property
    def depth(self) -> int:
        return 0

    def _turned(self, vector: Tensor, history: Sequence[Tensor], progress: float) -> Tensor:
        return vector


class Turn(Correction):
    """A correction that turns the noise away from past noises; `lml.controls` can shadow it."""

    @abstractmethod
    def acts(self, history: Sequence[Tensor], progress: float) -> bool:
        """Whether there is a past noise to turn away from, at a step where the correction is on."""

    @abstractmethod
    def direction(self, noise: Tensor, history: Sequence[Tensor]) -> Tensor:
        """Return the turned noise, shape (B, ...), for past noises ``history``, latest first."""

    def _turned(self, vector: Tensor, history: Sequence[Tensor], progress: float) -> Tensor:
        return self.direction(vector, history) if self.acts(history, progress) else vector


@dataclass(frozen=True)
class LML(Turn):
    r"""Algorithm 1 of the paper: every noise prediction is turned away from the ones before it, at constant norm.

    With ``norm="extrapolated"`` the norm follows the direction instead (`lml.extrapolated_norm`, claim A5).

    The defaults make the strength ``eta0 = mixing/damping`` one half in any dimension. At equal steps that is the
    two-step Adams-Bashforth extrapolation ``e + (e - p)/2``, which makes a first-order base second order up to the
    norm; the two numbers are small so that the rotation stays linear in ``e - p`` (`lml.kernel`: ``kappa^2 w`` is far
    below ``lambda``). A base that already extrapolates wants less: `lml.strength.default_mixing` has what its
    schedulers default to.

    Args:
        damping: ``lambda`` or its share of ``|e|^2``, positive.
        mixing: ``kappa`` in [0, 1); zero is the base solver, bit for bit.
        damping_mode: one of `lml.damping.DAMPING_MODES`; the paper's is ``absolute``.
        rank: how many past noises span the geometry; the paper's is one.
        start, stop: the correction acts on the part ``[start, stop)`` of the trajectory's steps.
        norm: one of `lml.extrapolated_norm.NORMS`: the paper's is ``kept``; ``extrapolated`` is for rank one.

    Raises:
        ValueError: for an argument out of range, naming it.

    Source: Algorithm 1, steps 7 to 13. The other damping modes, ranks and norms go beyond it (Supp. D.4).
    """

    damping: float = DEFAULT_DAMPING
    mixing: float = default_mixing(1)
    damping_mode: str = "relative"
    rank: int = 1
    start: float = 0.0
    stop: float = 1.0
    norm: str = "kept"

    def __post_init__(self) -> None:
        check_positive(self.damping, "damping")
        check_number(self.mixing, "mixing", least=0, below=1)
        check_damping_mode(self.damping_mode)
        check_integer(self.rank, "rank")
        for name in ("start", "stop"):
            check_number(getattr(self, name), name, least=0, most=1)
        if self.start > self.stop:
            raise ValueError(f"start must not exceed stop, got {self.start} and {self.stop}")
        check_choice(self.norm, "norm", NORMS)
        if self.norm == "extrapolated" and self.rank != 1:
            raise ValueError(f"rank must be 1 with norm='extrapolated', got {self.rank}")

    @property
    def depth(self) -> int:
        return history_needed(self.damping_mode, self.rank) if self.mixing else 0

    def acts(self, history: Sequence[Tensor], progress: float) -> bool:
        return self.mixing > 0 and len(history) > 0 and self.start <= progress < self.stop

    def damping_at(self, noise: Tensor, history: Sequence[Tensor]) -> float | Tensor:
        """Return ``lambda`` for this noise, a number or of shape (B,)."""
        return damping_of(noise, history, mode=self.damping_mode, damping=self.damping)

    def direction(self, noise: Tensor, history: Sequence[Tensor]) -> Tensor:
        lam = self.damping_at(noise, history)
        turned = lml_direction_rank(noise, history[: self.rank], damping=lam, mixing=self.mixing)
        if self.norm == "kept" or turned is noise:
            return turned
        return with_extrapolated_norm(turned, noise, history[0], damping=lam, mixing=self.mixing)


@dataclass(frozen=True)
class ReleasedLML(Correction):
    r"""What the paper's published code does, which is not Algorithm 1 (claim K5); to explain its figures with.

    Source: repository LML-diffusion-sampler, commit e19cbdc. The base solver is handed the raw noise. What is turned is
    the vector that it adds to the linear part of its step: for DDIM the noise in the direction term
    ``sqrt(1 - abar_prev) e`` alone, while ``x0`` keeps the raw noise; for the DPM-Solvers the whole increment
    ``u = x_next - (linear coefficient) x``, with its step-dependent scale and its multistep terms; for flow-matching
    Euler the velocity. The expression is the textbook's, which loses its digits as claim K4 says, with ``v = e`` in the
    first step. In the published code the last vector of one generation is the first "previous" one of the next; here
    each generation starts afresh. `lml.schedulers` has the same in diffusers, with the options of that code.

    Args:
        damping: ``lambda``, positive, absolute.
        mixing: ``kappa`` in [0, 1); its default is zero in every script, and no published command sets it.
        textbook: evaluate the published expression; ``False`` evaluates the one of `lml_direction`.

    Raises:
        ValueError: for an argument out of range, naming it.
    """

    site: ClassVar[Literal["noise", "update"]] = "update"

    damping: float = 1e-3
    mixing: float = 0.0
    textbook: bool = True

    def __post_init__(self) -> None:
        check_positive(self.damping, "damping")
        check_number(self.mixing, "mixing", least=0, below=1)

    @property
    def depth(self) -> int:
        return 1

    def _turned(self, vector: Tensor, history: Sequence[Tensor], progress: float) -> Tensor:
        direction = lml_direction_textbook if self.textbook else lml_direction
        if not history:  # v = e; as kappa e + (1 - kappa) e it would be rounded
            return direction(vector, None, damping=self.damping, mixing=0.0)
        return direction(vector, history[0], damping=self.damping, mixing=self.mixing)
