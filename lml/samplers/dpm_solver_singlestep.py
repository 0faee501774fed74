r"""DPM-Solver, singlestep: each step evaluates the network inside of itself and remembers nothing.

With ``h`` the step in half-log-SNR, ``e`` the noise prediction at its start, ``e_r`` the one at ``r h`` and
``phi_k = phi_k(h)``::

    order 1   x' = linear x - sigma' h phi_1 e                                             DDIM
    order 2   x' = linear x - sigma' h (phi_1 e + phi_1 (e_{1/2} - e))                     midpoint
    order 3   x' = linear x - sigma' h (phi_1 e + phi_2 (e_{2/3} - e)/(2/3))

where ``e_{1/2}`` and ``e_{1/3}`` are evaluated at DDIM's sample, and ``e_{2/3}`` at the one of
``phi_1(2h/3) e + 2 phi_2(2h/3) (e_{1/3} - e)``. A budget of evaluations is spent on as many third-order steps as it
has room for; the steps are uniform in log-SNR.

Source: Lu et al. 2022, DPM-Solver, Algorithms 1 and 2; App. D.3 ("DPM-Solver-fast") for the budget.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

from torch import Tensor

from lml.arguments import check_integer
from lml.samplers.base import Info, Level, Network, Sampler, State
from lml.samplers.exponential import noise_transfer, phi

__all__ = ["Inner", "dpm_solver_singlestep", "singlestep_orders"]

#: The level at a share of the step in half-log-SNR between two levels.
Inner = Callable[[Level, Level, float], Level]


def singlestep_orders(evaluations: int) -> tuple[int, ...]:
    """Return the orders of the steps that spend this many evaluations: 3, 3, ..., and at the end lower ones.

    Raises:
        ValueError: for no evaluation.

    Source: Lu et al. 2022, DPM-Solver, App. D.3.
    """
    check_integer(evaluations, "evaluations")
    thirds, rest = divmod(evaluations, 3)
    return (3,) * thirds + (rest,) if rest else (3,) * (thirds - 1) + (2, 1)


def _stage(x: Tensor, now: Level, after: Level, e: Tensor, difference: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Return ``linear x`` and ``-sigma' h (phi_1 e + phi_2 difference)``, the two parts of a step."""
    transfer = noise_transfer(now, after)
    u = -transfer.gain * e
    if difference is not None:
        u = u - transfer.gain * phi(2, transfer.eta) / phi(1, transfer.eta) * difference
    return transfer.linear * x, u


def step(
    state: State, network: Network, levels: Sequence[Level], i: int, *, orders: Sequence[int], inner: Inner
) -> tuple[State, Info]:
    """Take one step of the order that is its turn."""
    if len(orders) != len(levels) - 1:
        raise ValueError(f"levels must be {len(orders) + 1} for steps of orders {tuple(orders)}, got {len(levels)}")
    now, after, x = levels[i], levels[i + 1], state.x
    first, memory = network.noise(x, now, state.memory, i)
    e, evaluations = first.noise, [first]
    linear, u = _stage(x, now, after, e)
    if orders[i] == 2:
        half = inner(now, after, 1 / 2)
        second, memory = network.noise(_sum(_stage(x, now, half, e)), half, memory, i)
        linear, u = _stage(x, now, after, second.noise)
        evaluations.append(second)
    elif orders[i] == 3:
        third, two_thirds = (inner(now, after, r) for r in (1 / 3, 2 / 3))
        second, memory = network.noise(_sum(_stage(x, now, third, e)), third, memory, i)
        at = _sum(_stage(x, now, two_thirds, e, 2 * (second.noise - e)))
        last, memory = network.noise(at, two_thirds, memory, i)
        linear, u = _stage(x, now, after, e, 3 / 2 * (last.noise - e))
        evaluations += [second, last]
    x, memory = network.advance(linear, 1.0, u, memory, i)
    return State(x, memory), Info(tuple(evaluations))


def _sum(parts: tuple[Tensor, Tensor]) -> Tensor:
    """Return the sample that a stage reaches."""
    return parts[0] + parts[1]


def dpm_solver_singlestep(orders: Sequence[int], inner: Inner) -> Sampler:
    """Return the singlestep DPM-Solver for a trajectory of ``len(orders)`` steps.

    Args:
        orders: of the steps, each 1, 2 or 3: their sum is the number of evaluations.
        inner: the level at a share of a step in half-log-SNR, with the time that a network receives.

    Raises:
        ValueError: for no order or another one; when sampling, for another number of steps.
    """
    if not orders or any(order not in (1, 2, 3) for order in orders):
        raise ValueError(f"orders must be one or more of 1, 2 and 3, got {tuple(orders)}")
    run = partial(step, orders=tuple(orders), inner=inner)
    return Sampler(f"dpm-solver-{max(orders)}s", min(orders), run, evaluations=lambda steps: sum(orders[:steps]))
