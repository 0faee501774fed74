r"""Claims D: the orders that the multistep solvers in use have, as published and as diffusers ships them.

A method is of order ``p`` if its steps add ``O(h^(p+1))``. A first step of first order is taken once and adds ``h^2``:
it holds every multistep solver here at order 2, and what its steps could do is seen in one step from an exact history.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np

from image_exps.claims.solver_steps import Order, StepOrder, along_the_flow, by_coefficients, limit_of, read_steps
from image_exps.judge.functions import judged_sampler
from image_exps.judge.judged import Judged
from image_exps.judge.right import converge
from image_exps.judge.what import find
from image_exps.league.second import second_order
from lml.samplers import Level, unipc
from lml.samplers.dpm_solver import dpm_solver
from lml.samplers.dpm_solver_pp import dpm_solver_pp
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.progress import track
from toy.threads import single_thread

__all__ = ["check_adams_bashforth", "check_second", "check_third", "check_unipc"]

# Steps along it, and the whole of UniPC.
_TARGET, _WHOLE = "cross-2d", "random-8d"
# Timesteps of the table that schedulers are run on are whole: half of one moves a step, and log2 of a ratio of errors.
_TABLE = 6144


class Solver(NamedTuple):
    """A solver with the order that its steps should have.

    Attributes:
        label: as in the finding.
        made: makes it.
        order: of what one step adds, one more than its own.
        levels_of: its levels; ``None`` is equal in log-SNR.
    """

    label: str
    made: Callable[[], Judged]
    order: int
    levels_of: Callable[[int], list[Level]] | None = None


def _diffusers(name: str, **options: object) -> Callable[[], Judged]:
    return lambda: find(f"diffusers:{name}Scheduler", **options)


def _published(order: int, *, data: bool, exact: bool = False) -> Callable[[], Judged]:
    make = dpm_solver_pp if data else dpm_solver
    return lambda: judged_sampler(make(order, exact_curvature=exact))


def _equal_ratios(count: int) -> list[Level]:
    """Return levels equal in ``sigma/alpha``, over the range of the others."""
    high, low = math.exp(1.5), math.exp(-0.5)
    ratios = [high + (low - high) * i / count for i in range(count + 1)]
    return [Level(1 / math.hypot(1, r), r / math.hypot(1, r)) for r in ratios]


_SECOND = (
    Solver("DPM-Solver-2M, published", _published(2, data=False), 3),
    Solver("DPM-Solver++ 2M, published", _published(2, data=True), 3),
    Solver("DPM-Solver++ 2M, diffusers", _diffusers("DPMSolverMultistep"), 3),
    Solver("DEIS-2, diffusers", _diffusers("DEISMultistep"), 3),
)
_THIRD = (
    Solver("DPM-Solver-3M, published", _published(3, data=False), 3),
    Solver("DPM-Solver++ 3M, published", _published(3, data=True), 3),
    Solver("DPM-Solver++ 3M, diffusers", _diffusers("DPMSolverMultistep", solver_order=3), 3),
)
_FOURTH = (
    Solver("DPM-Solver++ 3M, twice the weight of D2", _published(3, data=True, exact=True), 4),
    Solver("DEIS-3, diffusers", _diffusers("DEISMultistep", solver_order=3), 4),
)
_ADAMS = (
    Solver("iPNDM-2, equal log-SNR", lambda: find("ipndm-2"), 3),
    Solver("iPNDM-4, equal log-SNR", lambda: find("ipndm-4"), 3),
    *(Solver(f"iPNDM-{k}, equal sigma/alpha", partial(find, f"ipndm-{k}"), k + 1, _equal_ratios) for k in (2, 3)),
)


class _Steps(NamedTuple):
    """What both methods found of one solver."""

    solver: Solver
    along: Order
    by: StepOrder


def _wider(order: Order, by: float) -> Order:
    return Order(order.value, order.error + by)


def _measure(solvers: Sequence[Solver], counts: Sequence[int]) -> list[_Steps]:
    found = []
    with single_thread():
        for solver in track(list(solvers), "steps from an exact history"):
            judged = solver.made()
            rounding = 0.0 if judged.free_levels else solver.order * (0.5 * counts[-1] / _TABLE) / math.log(2)
            tableaux = read_steps(judged, counts, solver.levels_of)
            along = limit_of(along_the_flow(judged, tableaux, _TARGET, solver.levels_of))
            by = by_coefficients(tableaux)
            found.append(_Steps(solver, _wider(along, rounding), by._replace(order=_wider(by.order, rounding))))
    return found


def _figures(found: Sequence[_Steps]) -> tuple[Measured, ...]:
    """Return the figures that decide: distances of orders from whole numbers, over what refinement leaves open."""
    flow = max(abs(each.along.value - each.solver.order) / each.along.error for each in found)
    weights = max(abs(each.by.order.value - each.solver.order) / each.by.order.error for each in found)
    spread = max(max(each.along.error, each.by.order.error) for each in found)
    return (
        Measured("distance of the orders along a flow from the stated ones, over the refinement error, largest", flow,
                 limit=1, basis="change of the order as the step halves, and the rounding of timesteps to a table"),
        Measured("the same by the coefficients", weights, limit=1, basis="the same"),
        Measured("refinement error of an order, largest", spread, limit=0.5, basis="enough to distinguish integers"),
        *(_shown(f"order of a step along a flow: {each.solver.label}", each.along, "refinement") for each in found),
        *(_shown(f"order of a step by its coefficients: {each.solver.label}", each.by.order,
                 f"the residual of power {each.by.power}") for each in found),
    )  # fmt: skip


def _shown(name: str, order: Order, basis: str) -> Measured:
    return Measured(name, order.value, low=order.value - order.error, high=order.value + order.error, basis=basis)


_METHODS = (
    "what a step adds along an exact flow (DOP853), over halved steps",
    "the coefficients of a step, read off with unit vectors, against the integrals of powers in closed form",
)


def _finding(settings: Settings, solvers: Sequence[Solver], reading: str, remark: str) -> Finding:
    counts = settings.pick((16, 32, 64, 128), (16, 32, 64, 128, 256))
    figures = _figures(_measure(solvers, counts))
    data = {"counts": np.array(counts)}
    return Finding(agreement(*figures), figures, f"{reading}; log-SNR -3 to 1 in {counts[0]} to {counts[-1]} steps",
                   methods=_METHODS, remark=remark, data=data)  # fmt: skip


def check_second(settings: Settings, solvers: Sequence[Solver] = _SECOND) -> Finding:
    """D1: the multistep solvers of two predictions are of order 2, as published and as shipped."""
    return _finding(
        settings, solvers, "one step from an exact history adds h^3",
        "The order of the whole is 2 as well: the first step, DDIM, adds h^2 once.",
    )  # fmt: skip


def check_third(settings: Settings, solvers: Sequence[Solver] = (*_THIRD, *_FOURTH)) -> Finding:
    """D2: DPM-Solver-3M and DPM-Solver++ 3M are of order 2; with twice the weight of D2 a step is of the third."""
    return _finding(
        settings, solvers,
        "one step from an exact history adds h^3; with twice the weight of the second difference, and in DEIS-3 "
        "(controls), h^4",
        "D2 is a divided difference, h^2 m''/2, and has the weight of h^2 m''. With the right weight the whole stays "
        "of order 2, since the first step adds h^2; what the weight costs is the size of the error.",
    )  # fmt: skip


def check_adams_bashforth(settings: Settings, solvers: Sequence[Solver] = _ADAMS) -> Finding:
    """D4: iPNDM's steps are of order 2 on levels equal in log-SNR, of order k on levels equal in sigma/alpha."""
    return _finding(
        settings, solvers,
        "one step from an exact history adds h^3 on levels equal in log-SNR, h^(k+1) on levels equal in sigma/alpha",
        "The weights are those of equal steps in sigma/alpha, the variable in which the flow is integrated. With the "
        "start of first order the whole is of order 2 on any levels. It is in few steps that iPNDM-4 is good, where "
        "orders say little.",
    )  # fmt: skip


#: UniPC, published and as diffusers ships it, each with its last step and with the order kept: the order of the whole.
_UNIPC: Mapping[str, tuple[Callable[[], Judged], int]] = {
    "UniPC-2, published": (lambda: judged_sampler(unipc(2)), 2),
    "UniPC-3, published": (lambda: judged_sampler(unipc(3)), 2),
    "UniPC-2, diffusers": (_diffusers("UniPCMultistep", final_sigmas_type="sigma_min"), 2),
    "UniPC-2, order kept to the end": (lambda: judged_sampler(unipc(2, lower_order_final=False)), 3),
}


def check_unipc(
    settings: Settings, solvers: Mapping[str, tuple[Callable[[], Judged], int]] = _UNIPC, target: str = _WHOLE
) -> Finding:
    """D3: UniPC-p is of order 2 as published, because of its last step; with the order kept UniPC-2 is of order 3."""
    counts = settings.pick((12, 24, 48, 96), (12, 24, 48, 96, 192))
    flow, again, spread, shown = 0.0, 0.0, 0.0, []
    with single_thread():
        for label, (made, order) in track(list(solvers.items()), "orders of UniPC"):
            judged = made()
            found = converge(judged, target, counts, samples=16).order
            second = second_order(judged, tuple(counts))
            width = max(found.high - found.value, found.value - found.low)
            flow = max(flow, math.inf if found.reason else abs(found.value - order) / width)
            again = max(again, math.inf if second.reason else abs(second.value - order) / second.error)
            spread = max(spread, width, second.error)
            shown += [
                Measured(f"order: {label}", found.value, low=found.low, high=found.high, basis="regression"),
                Measured(f"order by the second method: {label}", second.value, low=second.value - second.error,
                         high=second.value + second.error, basis="refinement"),
            ]  # fmt: skip
    figures = (
        Measured("distance of the orders from the stated ones, over their error, largest", flow, limit=1,
                 basis="slope, last local order, bootstrap over samples, and what the last halving changed"),
        Measured("the same by the second method", again, limit=1, basis="change of the order as the step halves"),
        Measured("error of an order, largest", spread, limit=0.5, basis="enough to distinguish integers"),
        *shown,
    )  # fmt: skip
    return Finding(
        agreement(*figures) if shown else Verdict.OPEN,
        figures,
        f"orders of the whole, to a last level with noise, in {counts[0]} to {counts[-1]} steps",
        methods=(
            f"regression of errors against the exact flow of {target}",
            "four Gaussians in NumPy, other levels, DOP853 in sigma/alpha, Richardson's limit",
        ),
        remark="The last step is UniP-1 without a corrector and leaves h^2, once. A last step into sigma = 0, the "
        "default of diffusers, is one to the data prediction, which no order describes: before it the order is that of "
        "the solver whose order is kept.",
    )
