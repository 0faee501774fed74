r"""Claim A3: what LML tends to as the step shrinks, and how fast.

On equal steps ``h`` of the half-log-SNR ``l`` the last noise is ``eps - h eps'``, so that LML hands its base

    ``eps + eta0 h P eps' + O(h^2)``,    ``P = I - eps eps^T/|eps|^2``,    ``eta0 = kappa |eps|^2/lambda``.

A base of second order or more integrates that without further error of first order; a base that holds its noise
constant adds ``-(h/2) eps'``; and Heun, whose first evaluation repeats the level of the one before, sees half of the
change. In ``w = x/sqrt(alpha^2 + sigma^2)``, with ``sigma/alpha = tan(theta)`` and ``J = d eps/d w``, the error is
``h delta + O(h^2)`` with

    ``delta' = sin(theta)^2 delta - sin(theta) (J delta + c P eps' - b eps')``,    ``delta = 0`` at the start,

``c = eta0`` (Heun: ``eta0/2``), ``b = 1/2`` for a base of first order and 0 for the others.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from scipy.integrate import solve_ivp
from torch import Tensor

import toy
from lml.correction import LML, Correction
from lml.samplers import SAMPLERS, Level, NoiseModel, Sampler, sample, unipc
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from toy import ExactTarget

__all__ = [
    "BASES",
    "ETA0",
    "LOG_SNR",
    "Order",
    "across",
    "check_order",
    "draw_order",
    "errors_of",
    "first_order_constant",
    "first_order_error",
    "forced_error",
    "observed_order",
]

# Where the flow of every target turns most; later errors are those of the basin that a sample fell in.
LOG_SNR = (-3.0, 1.0)

#: One base of each family, and UniPC without its last step of first order, which hides its third order.
BASES: dict[str, Sampler] = {
    name: SAMPLERS[name]
    for name in (
        "ddim",
        "dpm-solver-2m",
        "dpm-solver-3m",
        "dpm-solver++-2m",
        "dpm-solver++-3m",
        "pndm",
        "pndm-prk",
        "unipc-2",
        "heun",
        "heun-flow",
    )
}
BASES["unipc-2, order kept"] = unipc(2, lower_order_final=False)

ETA0 = 0.5
_DAMPING = 1e-3
_SAMPLES = 15


class Order(NamedTuple):
    """An order of convergence from errors over dyadic steps.

    Attributes:
        value: of the last two errors: the median over samples of ``p_n = log2(|e_n|/|e_{n+1}|)``.
        limit: of ``p_n``, whose distance from it halves with the step: ``2 p_n - p_{n-1}``.
        error: of ``limit``: what the last halving changed, half of what the one before did, and the turn of the error's
            direction in the last halving in the same unit, together.
    """

    value: float
    limit: float
    error: float


def observed_order(errors: list[Tensor]) -> Order:
    """Return the order of errors (B, d), at least four, over steps of which each is half of the one before.

    Errors ``e = h^p (c_0 + c_1 h + c_2 h^2 + ..)`` have ``p_n = p + a h + b h^2 + ..``: the limit has no ``a``, and its
    error, of order ``b h^2``, is below either change of ``p_n`` once the expansion holds. Both can vanish by chance,
    where ``c_1`` is across ``c_0``; the direction of the error then still turns by ``h |c_1|/|c_0|``, and a length that
    changed by as much would have moved ``p_n`` by ``log2(1 + turn)``. The median passes over samples that started near
    the border of two basins, where the expansion holds at much smaller steps only.
    """
    sizes = [e.norm(dim=1) for e in errors[-4:]]
    p = [float(torch.log2(a / b).median()) for a, b in itertools.pairwise(sizes)]
    turn = float((errors[-2] / sizes[-2][:, None] - errors[-1] / sizes[-1][:, None]).norm(dim=1).median())
    return Order(p[2], 2 * p[2] - p[1], abs(p[2] - p[1]) + abs(p[1] - p[0]) / 2 + math.log2(1 + turn))


def first_order_constant(errors: list[Tensor], steps: list[float]) -> tuple[Tensor, Tensor]:
    """Return the limit of ``errors/step``, (B, d), by Romberg's scheme, and what its last stage changed."""
    scaled = [e / h for e, h in zip(errors, steps, strict=True)][-3:]
    first = [2 * scaled[1] - scaled[0], 2 * scaled[2] - scaled[1]]
    return (4 * first[1] - first[0]) / 3, first[1] - first[0]


def _median_ratio(a: Tensor, b: Tensor) -> float:
    """Return the median over samples of ``|a|/|b|``."""
    return float((a.norm(dim=1) / b.norm(dim=1)).median())


def errors_of(
    base: Sampler, model: NoiseModel, x: Tensor, exact: Tensor, counts: tuple[int, ...], correction: Correction | None
) -> tuple[list[Tensor], list[float]]:
    """Return the errors at the last level, (B, d) each, and the steps in half-log-SNR, for each count of steps."""
    schedule = toy.noise_schedule("vp-linear")
    errors = []
    for count in counts:
        levels = toy.noise_levels(schedule, count, log_snr=LOG_SNR)
        errors.append(sample(base, model, x, levels, correction) - exact)
    return errors, [(LOG_SNR[1] - LOG_SNR[0]) / 2 / count for count in counts]


def forced_error(
    target: ExactTarget,
    x: Tensor,
    start: Level,
    end: Level,
    sources: Callable[[Tensor, Tensor], Sequence[Tensor]],
) -> list[Tensor]:
    """Return what the flow makes, at ``end``, of noise predictions that are off by ``c``: (B, d) for each source ``c``.

        ``delta' = sin(theta)^2 delta - sin(theta) (J delta + c)``,    ``delta = 0`` at the start.

    Args:
        target: the data distribution.
        x: samples at ``start``, shape (B, d).
        start: level of ``x``.
        end: level of the result.
        sources: the ``c`` for ``eps`` and its derivative ``eps'`` along the flow, shapes (B, d).
    """
    shape = x.shape

    def at(half_log_snr: float) -> tuple[ExactTarget, float]:
        theta = math.atan(math.exp(-half_log_snr))
        return target.diffuse(math.cos(theta), math.sin(theta)), math.sin(theta)

    def slope(half_log_snr: float, state: np.ndarray) -> np.ndarray:
        w, *deltas = torch.from_numpy(state).view(-1, *shape)
        q, sine = at(half_log_snr)
        eps = q.noise(w)
        dw = sine**2 * w - sine * eps
        # Along the tangent the directional derivative is the total one. Fourth order: t^4 and u/t are both 1e-12.
        t = 1e-3
        near = {k: at(half_log_snr + k * t)[0].noise(w + k * t * dw) for k in (-2, -1, 1, 2)}
        change = (8 * (near[1] - near[-1]) - (near[2] - near[-2])) / (12 * t)
        slopes = [
            sine**2 * delta - sine * (-sine * q.hessian_vector(w, delta) + source)
            for delta, source in zip(deltas, sources(eps, change), strict=True)
        ]
        result: np.ndarray = torch.stack((dw, *slopes)).flatten().numpy()
        return result

    w = x / math.hypot(start.alpha, start.sigma)
    count = len(sources(w, w))
    state = torch.stack((w, *[torch.zeros_like(w)] * count)).flatten().numpy()
    span = (start.half_log_snr, end.half_log_snr)
    solution = solve_ivp(slope, span, state, method="DOP853", rtol=1e-7, atol=1e-8)
    _, *errors = torch.from_numpy(solution.y[:, -1].copy()).view(-1, *shape) * math.hypot(end.alpha, end.sigma)
    return errors


def across(noise: Tensor, vector: Tensor) -> Tensor:
    """Return the part of a vector that is orthogonal to the noise, ``P v = v - eps <eps,v>/|eps|^2``, shape (B, d)."""
    return vector - (vector * noise).sum(1, keepdim=True) / (noise * noise).sum(1, keepdim=True) * noise


def first_order_error(target: ExactTarget, x: Tensor, start: Level, end: Level) -> tuple[Tensor, Tensor]:
    """Return ``delta`` at ``end`` for ``c = 1, b = 0`` and for ``c = 0, b = -1``, (B, d) each; it is linear in both."""
    turn, change = forced_error(target, x, start, end, lambda eps, change: (across(eps, change), change))
    return turn, change


def check_order(
    settings: Settings, bases: Mapping[str, Sampler] = BASES, names: Sequence[str] | None = None
) -> Finding:
    """A3: as the step shrinks LML tends to its base's limit, at first order whatever the base's order.

    Args:
        settings: profile and seed.
        bases: samplers by label; a label that starts with "heun" evaluates at each level twice.
        names: of targets; those of the profile by default.
    """
    counts = settings.pick((16, 32, 64, 128), (16, 32, 64, 128, 256, 512))
    names = names or settings.pick(("cross-2d", "random-8d"), ("cross-2d", "ring-2d", "random-8d", "random-64d"))
    correction = LML(damping=_DAMPING, mixing=ETA0 * _DAMPING)
    worst = {"base": 0.0, "lml": 0.0, "constant": 0.0, "resolved": 0.0, "unexplained": math.inf}
    orders: list[float] = []
    data: dict[str, np.ndarray] = {"steps": np.array(counts), "samples": np.array(_SAMPLES)}
    gain: list[float] = []
    loss: list[float] = []
    for name in names:
        target = toy.target(name)
        model = toy.noise_model(target)
        start, end = toy.noise_levels(toy.noise_schedule("vp-linear"), 1, log_snr=LOG_SNR)
        x = target.diffuse(start.alpha, start.sigma).sample(_SAMPLES, generator=settings.generator())
        exact = toy.probability_flow(target, x, start, end)
        turn, change = first_order_error(target, x, start, end)
        for label, base in track(list(bases.items()), f"orders on {name}"):
            plain, steps = errors_of(base, model, x, exact, counts, None)
            turned, _ = errors_of(base, model, x, exact, counts, correction)
            before, after = observed_order(plain), observed_order(turned)
            worst["base"] = max(worst["base"], abs(before.limit - base.order) / before.error)
            worst["lml"] = max(worst["lml"], abs(after.limit - 1) / after.error)
            worst["resolved"] = max(worst["resolved"], before.error, after.error)
            of_lml = (ETA0 / 2 if label.startswith("heun") else ETA0) * turn
            of_base = -0.5 * change if base.order == 1 else torch.zeros_like(change)
            constant, error = first_order_constant(turned, steps)
            worst["constant"] = max(worst["constant"], _median_ratio(constant - of_lml - of_base, error))
            worst["unexplained"] = min(worst["unexplained"], _median_ratio(constant - of_base, error))
            orders.append(after.value)
            (gain if base.order == 1 else loss).append(float(turned[-1].norm() / plain[-1].norm()))
            if name == names[-1]:
                data[f"{label}:base"] = np.array([float(e.norm()) for e in plain])
                data[f"{label}:lml"] = np.array([float(e.norm()) for e in turned])
    figures = (
        Measured("error of LML over h against its derived first-order term, over the refinement error",
                 worst["constant"], limit=1, basis="what the last halving changed in the extrapolated limit"),
        Measured("observed order with LML, all bases", float(np.mean(orders)), low=min(orders),
                 high=max(orders), basis=f"range over {len(bases)} bases and {len(names)} targets, smallest step"),
        Measured("its distance from 1, over the refinement error", worst["lml"], limit=1,
                 basis="change of the order as the step halves"),
        Measured("distance of a base's order from its stated one, over the refinement error", worst["base"], limit=1,
                 basis="the same"),
        Measured("refinement error of an order, largest", worst["resolved"], limit=0.5,
                 basis="enough to distinguish integers"),
        Measured("the same limit without LML's term, over the refinement error, least (control)", worst["unexplained"],
                 basis="it must be far above 1"),
        Measured(f"error with LML over without, DDIM at {counts[-1]} steps", float(np.mean(gain)), low=min(gain),
                 high=max(gain), basis="range over targets"),
        Measured(f"error with LML over without, bases of order 2 and 3 at {counts[-1]} steps", float(np.median(loss)),
                 low=min(loss), high=max(loss), basis="median and range"),
    )  # fmt: skip
    return Finding(
        verdict=agreement(*figures) if worst["unexplained"] > 10 else Verdict.OPEN,
        figures=figures,
        reading=f"eta0 = {ETA0} at every step (relative damping {_DAMPING:g}), {', '.join(names)}; "
        f"log-SNR {LOG_SNR[0]:g} to {LOG_SNR[1]:g} in {counts[0]} to {counts[-1]} equal steps",
        methods=(
            "orders over dyadic steps against DOP853 at 1e-12",
            "the first-order term from its own differential equation",
        ),
        assumption="eta0 = kappa |eps|^2/lambda stays fixed as the step shrinks (at a fixed kappa with lambda ~ 1/n it "
        "does not: A6), and sigma stays above zero. In one dimension nothing is across eps, and LML is its base.",
        remark="LML is consistent: its limit is the probability flow. But a fixed strength adds an error of first "
        "order, so that the second and third order of the better bases is lost. A gain can only be one of few steps, "
        "or of a base of first order, of whose error eta0 = 1/2 removes the source across eps and no more.",
        data=data,
    )


def draw_order(finding: Finding) -> Figure:
    """Draw errors against steps for every base, with and without LML."""
    labels = [k.removesuffix(":lml") for k in finding.data if k.endswith(":lml")]
    chosen = ("ddim", "dpm-solver-2m", "dpm-solver-3m", "unipc-2, order kept", "heun", "pndm")
    shown = [name for name in chosen if name in labels]
    figure, axes = panels(3, rows=math.ceil(len(shown) / 3), width=2.5, height=2.3, sharex=True, sharey=True)
    steps = finding.data["steps"]
    for axis, label in zip(axes, shown, strict=False):
        for key, colour, text in (("base", "target", "base"), ("lml", "lml", "with LML")):
            axis.loglog(steps, finding.data[f"{label}:{key}"], "o-", color=COLOURS[colour], ms=3, lw=1.4, label=text)
        first = finding.data[f"{label}:lml"]
        axis.loglog(steps, first[-1] * steps[-1] / steps, ":", color=COLOURS["limit"], lw=1, label="first order")
        axis.set_title(label, loc="left")
        axis.set_xticks(steps, [str(n) for n in steps])
        axis.minorticks_off()
    for axis in axes[-3:]:
        axis.set_xlabel("steps")
    axes[0].set_ylabel("error")
    axes[0].legend(loc="lower left")
    return figure
