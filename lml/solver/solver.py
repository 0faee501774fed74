r"""A solver: levels, rows of weights, a share of the norm that is restored, and what it was judged on.

Step i, with the noise predictions ``e_0 .. e_i`` so far::

    v_j = LML(e_j, e_{j-1}) of strength ``turn``                  v_j = e_j at strength 0
    u_i = v_i + sum_{j<i} eta_ij (v_i - v_j)
    x' = linear x - gain (|v_i|/|u_i|)^rho_i u_i                   the transfer of DDIM

At ``turn = 0`` and ``rho = 0`` this is any explicit linear multistep method that is exact where the noise prediction is
constant; at ``turn = 0`` it is `lml.profile.Profile` on DDIM. A solver is a value: it keeps nothing of a trajectory.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from torch import Tensor

from lml.arguments import check_number, shown
from lml.correction import LML, Correction
from lml.profile import Profile
from lml.samplers import DDIM, Level, NoiseModel, sample
from lml.solver.methods import METHODS, Method, method, published_rows
from lml.solver.schedule import Schedule
from lml.strength import DEFAULT_DAMPING

__all__ = ["FITTED", "LEAST_EVALUATIONS", "MOST_EVALUATIONS", "Rows", "Solver", "Validation", "of_levels", "of_method"]

#: Numbers of evaluations that a solver can have.
LEAST_EVALUATIONS, MOST_EVALUATIONS = 3, 50

#: The method of rows that were fitted.
FITTED = "fitted"


@dataclass(frozen=True)
class Validation:
    """What a solver was judged on: trajectories, or targets, that were not used to fit it.

    Attributes:
        on: what, in words.
        count: of trajectories, or of targets.
        ratio: of its mean distance from the flow's end to that of ``against``.
        low, high: the ends of the 90 % interval of the ratio, by the bootstrap over what it was judged on.
        against: the baseline, by name.
    """

    on: str
    count: int
    ratio: float
    low: float
    high: float
    against: str

    def __str__(self) -> str:
        return f"{self.ratio:.2f} [{self.low:.2f}, {self.high:.2f}] times the distance of {self.against}, on {self.on}"


@dataclass(frozen=True)
class Rows(Correction):
    """The correction of DDIM that makes it a solver: LML on every noise, then the rows.

    Args:
        profile: weights and shares of the norm.
        turn: the strength ``eta0`` of LML.
    """

    profile: Profile
    turn: float = 0.0

    @property
    def lag(self) -> int:
        """How many noises before the last one have a weight."""
        return max((j + 1 for row in self.profile.weights for j, eta in enumerate(row) if eta), default=0)

    @property
    def depth(self) -> int:
        return self.lag + (self.turn > 0)

    def _turned(self, vector: Tensor, history: Sequence[Tensor], progress: float) -> Tensor:
        return self.at(vector, history, round(progress * self.profile.steps))

    def at(self, noise: Tensor, history: Sequence[Tensor], step: int) -> Tensor:
        """Return the direction of a step, shape (B, ...), for the noises before it, latest first."""
        row, rho = self.profile.weights[step], self.share(step)
        used = max((j + 1 for j, eta in enumerate(row) if eta), default=0)
        if used > len(history):
            raise ValueError(f"history must hold {used} noises at step {step}, got {len(history)}")
        e = [noise, *history]
        if self.turn:
            lml = LML(damping=DEFAULT_DAMPING, mixing=self.turn * DEFAULT_DAMPING)
            e = [lml.direction(x, e[j + 1 :]) if j + 1 < len(e) else x for j, x in enumerate(e[: used + 1])]
        if not used:
            return e[0]
        # The rows of a shorter profile: that of the noises that have a weight.
        made = Profile((*((0.0,) * i for i in range(used)), row[:used]), (*(0.0,) * used, rho))
        return made.direction(e[0], e[1 : used + 1])

    def share(self, step: int) -> float:
        """Return ``rho`` of a step."""
        rho = self.profile.restored
        return rho[step] if isinstance(rho, tuple) else rho


@dataclass(frozen=True)
class Solver:
    """A few-step solver; `solver.sample(noise_model, x)`.

    Attributes:
        method: by the name of `lml.solver.methods`, or ``fitted``.
        levels: of a trajectory, ``evaluations + 1``, noise falling; the last may have ``sigma = 0``.
        weights: ``eta_ij``, a row a step; row i has i numbers, for ``e_{i-1}`` first.
        restored: ``rho``, a share of the norm for every step, in [0, 1].
        turn: the strength ``eta0`` of LML on every noise, at relative damping; zero is none.
        validation: what it was judged on, if it was.
        model: digest of the network that it was calibrated on, if it was.

    Raises:
        ValueError: for an attribute that does not fit, naming it.
    """

    method: str
    levels: tuple[Level, ...]
    weights: tuple[tuple[float, ...], ...]
    restored: tuple[float, ...]
    turn: float = 0.0
    validation: Validation | None = None
    model: str | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.method, str) or not self.method:
            raise ValueError(f"method must be a name, got {shown(self.method)}")
        _check_levels(self.levels)
        if len(self.levels) != len(self.weights) + 1:
            raise ValueError(
                f"levels must be one more than the rows of weights, got {len(self.levels)} and {len(self.weights)}"
            )
        if len(self.restored) != len(self.weights):
            raise ValueError(f"restored must be {len(self.weights)} numbers, got {len(self.restored)}")
        Profile(self.weights, self.restored)
        check_number(self.turn, "turn", least=0, most=100)

    @property
    def evaluations(self) -> int:
        """Evaluations of the network that a trajectory costs."""
        return len(self.weights)

    @property
    def range(self) -> tuple[float, float]:
        """The first and the last ``log(alpha/sigma)``; the last is infinite at ``sigma = 0``."""
        return self.levels[0].half_log_snr, self.levels[-1].half_log_snr

    @property
    def rows(self) -> Rows:
        """The correction of DDIM that makes it this solver."""
        return Rows(Profile(self.weights, self.restored), self.turn)

    def sample(self, noise_model: NoiseModel, x: Tensor) -> Tensor:
        """Return the sample at the last level, shape (B, ...).

        Args:
            noise_model: the noise prediction ``eps(x, level)``.
            x: the sample at the first level, shape (B, ...).
        """
        return sample(DDIM, noise_model, x, self.levels, self.rows)

    def tail(self, begin: int) -> Solver:
        """Return the solver of a trajectory that begins at level ``begin``, without the steps before (image-to-image).

        The rows of a published method are those of the levels that are left. Fitted ones take the first noise for those
        that there are not: ``e_j = e_begin`` for ``j < begin``.

        Raises:
            ValueError: for a place at which no step begins.
        """
        if isinstance(begin, bool) or not isinstance(begin, int) or not 0 <= begin < self.evaluations:
            raise ValueError(f"begin must be an integer in [0, {self.evaluations}), got {shown(begin)}")
        if not begin:
            return self
        levels = self.levels[begin:]
        base = self.method.partition("@")[0]
        if base in METHODS:
            weights = published_rows(base, levels)
        else:
            weights = tuple(
                (*row[: i - 1], math.fsum(row[i - 1 :])) if i else () for i, row in enumerate(self.weights[begin:])
            )
        return replace(self, levels=levels, weights=weights, restored=self.restored[begin:])


def of_method(name: str | Method, schedule: Schedule, evaluations: int) -> Solver:
    """Return a published method at a published spacing over a schedule.

    Raises:
        ValueError: for a name or a number of evaluations that does not fit.
    """
    chosen = method(name) if isinstance(name, str) else name
    return of_levels(chosen, schedule.levels(evaluations, chosen.spacing))


def of_levels(chosen: Method, levels: Sequence[Level]) -> Solver:
    """Return a published method on levels that are given, whatever its spacing."""
    weights = published_rows(chosen.base, levels)
    return Solver(chosen.name, tuple(levels), weights, (0.0,) * len(weights), chosen.strength)


def _check_levels(levels: Sequence[Level]) -> None:
    if len(levels) < 2:
        raise ValueError(f"levels must be two or more, got {len(levels)}")
    for i, level in enumerate(levels):
        if not isinstance(level, Level):
            raise ValueError(f"levels must be of type Level, got {shown(level)} at {i}")
        if not (0 < level.alpha < math.inf and 0 <= level.sigma < math.inf):
            raise ValueError(f"levels must have alpha > 0 and sigma >= 0, got {level.alpha} and {level.sigma} at {i}")
        if i and not levels[i - 1].half_log_snr < level.half_log_snr:
            raise ValueError(
                f"levels must have falling noise, got log(alpha/sigma) {levels[i - 1].half_log_snr:.6g} at {i - 1} and "
                f"{level.half_log_snr:.6g} at {i}"
            )
