r"""Explicit multistep methods as rows of weights, for any levels.

With ``e_0 .. e_i`` the noise predictions of a trajectory so far, a method steps by

    ``u_i = e_i + sum_{j<i} eta_ij (e_i - e_j)``,    ``x' = linear x - gain u_i``

with the transfer of DDIM (`lml.samplers.exponential`). The rows ``eta_i`` of a published method are read off the
sampler in `lml.samplers` itself (`lml.profile.multistep_weights`): there is no second implementation. UniPC's corrector
reuses the next evaluation, so that it is a row method too.

A method is named ``base@spacing``, and ``base@spacing/lml(0.3)`` where every noise is turned by LML of strength
``eta0 = 0.3`` before the rows.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

from lml.arguments import check_choice, check_number
from lml.profile import multistep_weights
from lml.samplers import Level, sampler
from lml.solver.schedule import SPACINGS

__all__ = ["METHODS", "STRENGTHS", "Method", "method", "published_rows"]

#: The samplers of `lml.samplers` that are rows of weights: of one evaluation a step, each named once.
METHODS: tuple[str, ...] = (
    "ddim",
    "ipndm-2",
    "ipndm-3",
    "ipndm-4",
    "dpm-solver-2m",
    "dpm-solver-3m",
    "dpm-solver++-2m",
    "dpm-solver++-3m",
    "unipc-2",
    "unipc-3",
    "unipc-2-noise",
    "unipc-3-noise",
)

#: Strengths ``eta0`` of LML that are tried: on a first-order method, and on one that extrapolates by itself.
STRENGTHS: dict[int, tuple[float, ...]] = {1: (0.3, 0.5, 0.7), 2: (0.1, 0.2)}

_NAME = re.compile(r"(?P<base>[^@/]+)@(?P<spacing>[^@/]+)(/lml\((?P<strength>[^()]+)\))?")


class Method(NamedTuple):
    """A published method at a published spacing, with LML of strength ``eta0`` before it; zero is without."""

    base: str
    spacing: str
    strength: float = 0.0

    @property
    def name(self) -> str:
        """The name from which `method` makes this again."""
        return f"{self.base}@{self.spacing}" + (f"/lml({self.strength:g})" if self.strength else "")


def method(name: str) -> Method:
    """Return the method of a name.

    Raises:
        ValueError: for a name of another form, or of what does not exist.
    """
    found = _NAME.fullmatch(name) if isinstance(name, str) else None
    if found is None:
        raise ValueError(f"method must have the form base@spacing or base@spacing/lml(strength), got {name!r}")
    base = check_choice(found["base"], "base", METHODS)
    spacing = check_choice(found["spacing"], "spacing", SPACINGS)
    if found["strength"] is None:
        return Method(base, spacing)
    try:
        strength = float(found["strength"])
    except ValueError:
        raise ValueError(f"strength must be a number, got {found['strength']!r}") from None
    return Method(base, spacing, check_number(strength, "strength", above=0, most=100))


def published_rows(base: str, levels: Sequence[Level]) -> tuple[tuple[float, ...], ...]:
    """Return the rows of a method of `METHODS` on these levels; row i has i weights, that of ``e_{i-1}`` first.

    Raises:
        ValueError: for another method.
    """
    check_choice(base, "base", METHODS)
    if base == "ddim":
        return tuple((0.0,) * i for i in range(len(levels) - 1))
    return multistep_weights(sampler(base), levels)
