r"""Claim S4: what a discretised chain does, for each reading of Eq. 7, and without bias once it is Metropolis-adjusted.

Euler-Maruyama with step h has a stationary law at distance ``c h`` from that of its diffusion. So the corrected and the
mirror reading tend to q, the literal one to the law of S1. The mirror reading makes its step in the dual variable
``Y = phi'(X)``, ``phi'' = G``: ``Y' = Y + h s(X) + sqrt(2 h G(X)) z``; in one dimension, where such a phi exists (S3).

The adjusted chain's efficiency is counted in independent draws for each score evaluation: ``1/(tau e)`` with tau the
integrated autocorrelation time in steps and e the evaluations a step. The literal drift needs one; ``div M`` needs
``H s`` and ``tr H``, that is ``1 + d`` products with the score's Jacobian more.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import toy
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.statistics import Interval, mean_interval
from theory_checks.numerics.euler_chain import Coefficients, EulerChain, euler_chain, euler_grid
from theory_checks.numerics.levels import U, levels
from theory_checks.numerics.particles import Proposal, adjusted, coupled_euler, euler
from theory_checks.stationary.stationary_measure import literal_density, total_variation
from toy import ExactTarget, GaussianMixture

__all__ = [
    "READINGS",
    "adjusted_chain",
    "autocorrelation_time",
    "check_discretisation",
    "draw_discretisation",
    "mirror_chain",
]

#: Readings of Eq. 7, and plain Langevin.
READINGS = ("langevin", "literal", "corrected", "mirror")

_ADJUSTED = ("langevin", "literal", "corrected")
_TARGET, _DAMPING, _REACH = "bimodal-1d", 1.0, 5.0


def _along(q: ExactTarget, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return ``log q`` and ``s`` at points (n,) of the line."""
    points = torch.from_numpy(x)[:, None]
    return q.log_density(points).numpy(), q.score(points)[:, 0].numpy()


def mirror_chain(q: ExactTarget, damping: float, h: float, x: np.ndarray) -> EulerChain:
    """Return the mirror reading's chain on a uniform grid (n,) of the primal variable."""
    spacing = x[1] - x[0]
    (_, s), (_, middle) = _along(q, x), _along(q, x[:-1] + spacing / 2)
    squares = (s[:-1] ** 2 + 4 * middle**2 + s[1:] ** 2) * spacing / 6  # Simpson's rule for the integral of s^2
    Y = damping * x + np.concatenate(([0.0], np.cumsum(squares)))
    G = damping + s**2
    deviation = (Y[None, :] - (Y + h * s)[:, None]) ** 2 / (4 * h * G[:, None])
    matrix = np.exp(-np.minimum(deviation, 700.0)) * G[None, :]  # dY = G dx
    return EulerChain(h, x, matrix / matrix.sum(1, keepdims=True))


def adjusted_chain(q: ExactTarget, damping: float, dynamics: str, h: float, x: np.ndarray) -> EulerChain:
    """Return the Metropolis-adjusted chain on a uniform grid (n,)."""
    proposal = euler_chain(Coefficients(q, damping, dynamics), h, x).matrix
    log_q, _ = _along(q, x)
    flow = np.exp(log_q - log_q.max())[:, None] * proposal
    # q_i p_ij min(1, q_j p_ji/(q_i p_ij)) is symmetric; what is refused stays.
    matrix = np.minimum(flow, flow.T) / np.exp(log_q - log_q.max())[:, None]
    np.fill_diagonal(matrix, 0.0)
    np.fill_diagonal(matrix, 1 - matrix.sum(1))
    return EulerChain(h, x, matrix)


def autocorrelation_time(chain: EulerChain, weight: np.ndarray, f: np.ndarray, steps: int | None = None) -> float:
    """Return how many steps are worth one independent draw for the mean of f (n,), over ``steps`` steps or for ever.

    ``Var(mean of T)/(Var f/T)``, which is ``1 + 2 sum_k rho_k`` for ``T = inf``; ``weight`` (n,) is stationary.
    """
    centred = f - weight @ f
    variance = float(weight @ centred**2)
    if steps is None:
        system = np.eye(len(f)) - chain.matrix + weight[None, :]
        return 2 * float(weight @ (centred * np.linalg.solve(system, centred))) / variance - 1
    total, moved = variance, centred
    for k in range(1, steps):
        moved = chain.matrix @ moved
        total += 2 * (1 - k / steps) * float(weight @ (centred * moved))
    return total / variance


def _biases(q: GaussianMixture, steps: Sequence[float]) -> dict[str, np.ndarray]:
    """Return by reading the total variation from its own limit and from q, shape (2, len(steps))."""
    found = {}
    for reading in READINGS:
        coefficients = Coefficients(q, _DAMPING, "corrected" if reading == "mirror" else reading)
        x = euler_grid(coefficients, steps[-1], -_REACH, _REACH)
        rows = []
        for h in steps:
            chain = mirror_chain(q, _DAMPING, h, x) if reading == "mirror" else euler_chain(coefficients, h, x)
            p = chain.stationary()
            log_q, _ = _along(q, x)
            own = np.exp(log_q)
            if reading == "literal":
                own = literal_density(q, torch.from_numpy(x)[:, None], _DAMPING).numpy()
                own /= own.sum() * chain.spacing
            rows.append([total_variation(p, limit, chain.spacing) for limit in (own, np.exp(log_q))])
        found[reading] = np.array(rows).T
    return found


def _particles_on_line(q: GaussianMixture, settings: Settings, worst: MaxError) -> None:
    """Note how far particles are from the chains on the grid, over their intervals."""
    generator = settings.generator(1)
    count, h = settings.pick(6000, 50_000), 0.08
    for dynamics in _ADJUSTED:
        coefficients = Coefficients(q, _DAMPING, dynamics)
        x = euler_grid(coefficients, h / 4, -_REACH, _REACH)  # finer than the kernel needs: the set is made of cells
        chain = euler_chain(coefficients, h, x)
        p = chain.stationary() * chain.spacing
        log_q, _ = _along(q, x)
        inside = p > np.exp(log_q) * chain.spacing
        index = torch.multinomial(torch.from_numpy(p), count, replacement=True, generator=generator)
        jitter = torch.rand(count, dtype=torch.float64, generator=generator) - 0.5
        start = (torch.from_numpy(x)[index] + chain.spacing * jitter)[:, None]
        ends = euler(Proposal(q, _DAMPING, dynamics, h), start, settings.pick(60, 300), generator)
        cell = np.clip(np.rint((ends[:, 0].numpy() - x[0]) / chain.spacing).astype(int), 0, len(x) - 1)
        share = mean_interval(inside[cell].astype(np.float64), level=0.99, comparisons=6)
        # A cell at the border of the set is split by it: its mass is not resolved.
        border = float(p[1:][inside[1:] != inside[:-1]].sum())
        worst.update("euler", abs(share.value - float(p[inside].sum())) / ((share.high - share.low) / 2 + border))

        chain = adjusted_chain(q, _DAMPING, dynamics, 0.5, x)
        weight = np.exp(log_q) / np.exp(log_q).sum()
        length = settings.pick(40, 200)
        exact = autocorrelation_time(chain, weight, x, length)
        draws = q.sample(count // 4, generator=generator)
        _, means, _ = adjusted(Proposal(q, _DAMPING, dynamics, 0.5), draws, length, generator, lambda y: y[:, 0])
        variance = float(weight @ x**2)  # bimodal-1d has mean zero
        found = mean_interval(length * means.numpy() ** 2 / variance, level=0.99, comparisons=6)
        worst.update("adjusted", abs(found.value - exact) / ((found.high - found.low) / 2))


def _square(x: Tensor) -> Tensor:
    return (x * x).sum(1)


def _large(name: str, settings: Settings, comparisons: int) -> tuple[dict[str, Interval], dict[str, Interval]]:
    """Return by dynamics the relative bias of ``E|X|^2`` at a fixed time and of a step, and draws' worth of a mean.

    Chains start from q. Euler's ends are extrapolated to ``h = 0`` under the same noise, and ``|X_0|^2``, whose mean is
    known, is subtracted: what is left is the reading's own bias, and one more term of second order in h.
    """
    data = toy.target(name)
    (q,) = levels(data, (0.0,)) if name == "digits" else (data,)
    generator = settings.generator(2)
    count = settings.pick(220, 500) if name == "digits" else settings.pick(800, 3000)
    start = q.sample(count, generator=generator)
    damping = 0.1 * float(_square(q.score(start)).mean())
    exact = float(q.covariance().trace() + (q.mean() ** 2).sum())
    steps = settings.pick(8, 16) if name == "digits" else settings.pick(20, 60)
    biases, worth = {}, {}
    for dynamics in _ADJUSTED:
        h = 0.01 if dynamics == "langevin" else 0.01 * damping
        pair = (Proposal(q, damping, dynamics, h), Proposal(q, damping, dynamics, h / 2))
        coarse, fine = coupled_euler(*pair, start, steps, generator)
        change = (2 * _square(fine) - _square(coarse) - _square(start)) / exact
        biases[dynamics] = mean_interval(change.numpy(), level=0.90, comparisons=comparisons)
        ends, _, _ = adjusted(pair[0], start, steps, generator)
        change = (_square(ends) - _square(start)) / exact
        biases[f"{dynamics}, adjusted"] = mean_interval(change.numpy(), level=0.90, comparisons=comparisons)
        if name != "digits":
            length = settings.pick(40, 200)
            long = Proposal(q, damping, dynamics, 10 * h if dynamics != "langevin" else 5 * h)
            _, means, _ = adjusted(long, start, length, generator, _square)
            squared = length * (means - exact).numpy() ** 2 / float(_square(start).var())
            worth[dynamics] = mean_interval(squared, level=0.95, comparisons=3)
    return biases, worth


# Within 5 % of E|x|^2 is no bias: a tenth of what the literal reading shows where it runs to its end.
_MARGIN = 0.05


# Steps of the adjusted chains on the grid.
_TRIED = np.geomspace(0.1, 102.4, 11)


@dataclass
class _Results:
    """What chains on a grid and particles gave.

    Attributes:
        worst: errors over their bounds, and distances of orders from 1.
        steps: of the Euler chains on the grid.
        bias: by reading, total variation from its own limit and from q, shape (2, steps).
        times: autocorrelation time of the adjusted chains, by drift, a tried step.
        per_draw: score evaluations for one draw of the adjusted chain at its best step, by drift.
        biases: of ``E|x|^2`` in many dimensions, by target and chain.
        worth: steps for one draw of ``|x|^2`` in 8 dimensions, by drift.
    """

    worst: MaxError = field(default_factory=MaxError)
    steps: list[float] = field(default_factory=list)
    bias: dict[str, np.ndarray] = field(default_factory=dict)
    times: dict[str, list[float]] = field(default_factory=dict)
    per_draw: dict[str, float] = field(default_factory=dict)
    biases: dict[str, Interval] = field(default_factory=dict)
    worth: dict[str, Interval] = field(default_factory=dict)


def check_discretisation(settings: Settings, names: Sequence[str] = ("random-8d", "digits")) -> Finding:
    """S4: bias of order one in the step towards each reading's own limit; none of the Metropolis-adjusted chains."""
    found = _measure(settings, names)
    verdict, figures = _judge(found)
    return _describe(verdict, figures, found, names)


def _measure(settings: Settings, names: Sequence[str]) -> _Results:
    """Run the chains: Euler's and adjusted ones on a grid, particles on the line and in many dimensions."""
    q = toy.target(_TARGET)
    assert isinstance(q, GaussianMixture)
    found = _Results(steps=[0.08 / 2**k for k in range(settings.pick(5, 7))])
    found.bias = _biases(q, found.steps)
    for distances, _ in found.bias.values():
        orders = [math.log2(a / b) for a, b in itertools.pairwise(distances)]
        found.worst.update("order", abs(orders[-1] - 1))
        late = abs(orders[-1] - 1) / abs(orders[0] - 1) if abs(orders[0] - 1) > 0.05 else 0.0
        found.worst.update("late", late)
    for dynamics in track(_ADJUSTED, "adjusted chains on a grid"):
        _adjusted_on_grid(found, q, dynamics)
    _particles_on_line(q, settings, found.worst)
    for name in track(names, "particles in many dimensions"):
        biases, draws = _large(name, settings, 6 * len(names))
        found.biases |= {f"{name}, {key}": value for key, value in biases.items()}
        found.worth |= draws
    return found


def _adjusted_on_grid(found: _Results, q: GaussianMixture, dynamics: str) -> None:
    """The adjusted chain's stationary law against q, and its autocorrelation time, at every tried step."""
    x = euler_grid(Coefficients(q, _DAMPING, dynamics), float(_TRIED[0]), -_REACH, _REACH)
    log_q, _ = _along(q, x)
    weight = np.exp(log_q) / np.exp(log_q).sum()
    times = []
    for h in _TRIED:
        chain = adjusted_chain(q, _DAMPING, dynamics, float(h), x)
        times.append(autocorrelation_time(chain, weight, x))
        # Rounding of an elimination of n equations, each of which carries a probability in units of u.
        error = total_variation(chain.stationary(), weight / chain.spacing, chain.spacing)
        found.worst.update("unbiased", error / (len(x) * U * times[-1]))
    found.times[dynamics] = times
    found.per_draw[dynamics] = min(times) * Proposal(q, _DAMPING, dynamics, 1.0).evaluations


def _judge(found: _Results) -> tuple[Verdict, tuple[Measured, ...]]:
    """Return the verdict with its figures: only the literal reading's chain is biased beyond its step."""
    literal = {key: value for key, value in found.biases.items() if key.endswith("literal")}
    others = {key: value for key, value in found.biases.items() if key not in literal}
    furthest = max(others.values(), key=lambda i: max(abs(i.low), abs(i.high)))
    nearest = min(literal.values(), key=lambda i: i.low)
    from_limit, from_q = (float(row[-1]) for row in found.bias["literal"])
    figures = (
        Measured("order of the bias in h from 1, the largest of the readings", found.worst["order"], limit=0.25,
                 basis="last halving; orders are multiples of one half, which this distinguishes"),
        Measured("that distance over the one at the first halving, the largest", found.worst["late"], limit=1,
                 basis="it falls as h does"),
        Measured(f"total variation of the literal chain from q at h = {found.steps[-1]:g}", from_q,
                 low=from_q - from_limit, high=from_q + from_limit, basis="its distance from its own limit"),
        Measured("total variation of the adjusted chains from q, over rounding", found.worst["unbiased"], limit=1,
                 basis="three drifts, eleven steps: n u tau"),
        Measured("particles of Euler chains against the grid, over the error", found.worst["euler"], limit=1,
                 basis="99 % simultaneous intervals, and the cells at the border"),
        Measured("autocorrelation time of adjusted particles against the grid, over the error", found.worst["adjusted"],
                 limit=1, basis="99 % simultaneous intervals"),
        Measured("bias of E|x|^2 in many dimensions, all but the literal, the furthest from 0", furthest.value,
                 low=furthest.low, high=furthest.high, basis=f"90 % simultaneous; none if inside +-{_MARGIN}"),
        Measured("the same, literal without adjustment, the nearest to 0 (control)", nearest.value, low=nearest.low,
                 high=nearest.high, basis="90 % simultaneous"),
        *(Measured(f"score evaluations for one draw, adjusted, {d} drift, {_TARGET}, best step", found.per_draw[d],
                   basis="exact on the grid") for d in _ADJUSTED),
        *(Measured(f"steps for one draw of |x|^2, adjusted, {d} drift, 8 dimensions", value.value, low=value.low,
                   high=value.high, basis="95 % simultaneous, over the run's length")
          for d, value in found.worth.items()),
    )  # fmt: skip
    equal = all(interval.inside(_MARGIN) for interval in others.values())
    apart = all(interval.low > _MARGIN for interval in literal.values())
    holds = all(figure.within for figure in figures) and equal and apart and from_q > 0.1
    return (Verdict.HOLDS if holds else Verdict.OPEN), figures


def _describe(verdict: Verdict, figures: tuple[Measured, ...], found: _Results, names: Sequence[str]) -> Finding:
    cost = {d: found.per_draw[d] / found.per_draw["langevin"] for d in ("literal", "corrected")}
    return Finding(
        verdict=verdict,
        figures=figures,
        reading=f"literal, corrected and mirror on {_TARGET} at lambda = {_DAMPING:g}; literal and corrected on "
        f"{', '.join(names)} at lambda = E|s|^2/10",
        methods=("transition matrices on a grid, no sampling", "particles in 1, 8 and 64 dimensions"),
        assumption="In many dimensions chains start from q and run for a fixed time, not to stationarity.",
        remark="No step is small enough for the literal reading: its bias is that of its limit. The adjusted chain has "
        "none whatever the drift, so that with an accept step div M is not needed. Whether the geometry then pays "
        f"depends: on {_TARGET} a draw costs {cost['literal']:.2f} times the evaluations of adjusted plain Langevin "
        f"with the literal drift and {cost['corrected']:.1f} times with the corrected one, each at its best step; the "
        "second derivatives never earn their cost here.",
        data={
            "steps": np.array(found.steps),
            **{f"bias:{key}": value for key, value in found.bias.items()},
            "tried": _TRIED,
            **{f"time:{key}": np.array(value) for key, value in found.times.items()},
        },
    )


def draw_discretisation(finding: Finding) -> Figure:
    """Draw the bias against the step by reading, and the cost of a draw by the adjusted chains."""
    figure, (left, right) = panels(2, width=3.8, height=2.9)
    data = finding.data
    colours = {"langevin": "target", "literal": "literal", "corrected": "corrected", "mirror": "lml"}
    for reading, colour in colours.items():
        own, from_q = data[f"bias:{reading}"]
        left.loglog(data["steps"], from_q, "o-", color=COLOURS[colour], ms=3, label=reading)
        if reading == "literal":
            left.loglog(data["steps"], own, "o:", color=COLOURS[colour], ms=3, label="literal, from its own limit")
    left.set(xlabel="step h", ylabel="total variation from q", ylim=(None, 20))
    left.set_xticks(data["steps"][::2], [f"{h:g}" for h in data["steps"][::2]])
    left.minorticks_off()
    left.set_title("Euler-Maruyama", loc="left")
    left.legend(loc="upper left", fontsize=7)
    for dynamics in _ADJUSTED:
        cost = 3 if dynamics == "corrected" else 1
        right.loglog(data["tried"], cost * data[f"time:{dynamics}"], "o-", color=COLOURS[colours[dynamics]], ms=3,
                     label=dynamics)  # fmt: skip
    right.set(xlabel="step h", ylabel="score evaluations a draw")
    right.set_title("Metropolis-adjusted", loc="left")
    right.legend(loc="upper center")
    return figure
