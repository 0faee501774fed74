r"""Claim A7 on a network: at which guidance does each solver break, and does the derived limit tell?

The network is the class-conditional one that ships, ``eps_w = eps(x) + w [eps(x, class) - eps(x)]``, on levels that are
equal in log-SNR. ``python -m image_exps.sweeps.guided_stability`` writes a row for every solver and number of steps.

*Predicted.* Along the guided flow the rate m of claim A7 is taken to be the eigenvalue of largest modulus of ``sigma d
eps_w/dx``, by power iteration with finite differences, the largest of all levels of the trajectory and the median over
samples. ``guidance_limit`` gives the rate at which a solver's step stops to contract; the guidance at which the rate
gets there, interpolated in log w, is the prediction.

*Seen.* Two runs from noises that differ by a thousandth part in a random direction end some distance apart. A solver
*breaks* at the guidance from which on the median distance is more than twice the one that the flow itself makes of that
difference (DPM-Solver++ 2M in `REFERENCE` steps): where it is stable it contracts about as the flow does. It *loses* at
the guidance from which on its end is further from the flow's than DDIM's is, in as many steps.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import click
import numpy as np
import pandas as pd
import torch
from torch import Tensor

from image_exps.networks import class_names, network_model
from image_exps.problems.endpoints import rms
from image_exps.problems.seeds import starting_noise
from image_exps.problems.targets import levels
from lml.correction import LML, Correction
from lml.samplers import SAMPLERS, Level, NoiseModel, sample, trajectory
from theory_checks.annealing.stability import SOLVERS, Solver, guidance_limit
from theory_checks.command_line.plain_errors import plain_errors
from toy.atomic import atomic
from toy.threads import single_thread

__all__ = ["PLAN", "REFERENCE", "ROWS", "Plan", "Seen", "crossing", "measure", "seen", "stiffest_rate"]

#: Where the rows are.
ROWS = Path(__file__).parents[1] / "results/guidance/rows.csv"

#: Steps of the solver that stands for the flow.
REFERENCE = 60

_NETWORK, _SHAPE = "emoji", (3, 32, 32)


class Plan(NamedTuple):
    """What is measured."""

    labels: tuple[str, ...]
    steps: tuple[int, ...]
    guidance: tuple[float, ...]
    solvers: tuple[str, ...]
    seed: int


#: The plan: a class a sample.
PLAN = Plan(
    labels=("Animals & Nature", "Food & Drink", "Smileys & Emotion"),
    steps=(10, 20),
    guidance=(1.0, 3.0, 6.0, 10.0, 15.0, 22.0),
    solvers=("ddim", "extrapolation, eta = 1/2", "extrapolation, eta = 1", "dpm-solver++-2m", "lml",
             "lml, norm extrapolated"),
    seed=6133,
)  # fmt: skip

# Across the noise LML has the limit of its extrapolation (claim A7).
_HALF = "extrapolation, eta = 1/2"
_OURS: dict[str, Correction] = {"lml": LML(), "lml, norm extrapolated": LML(norm="extrapolated")}

_ITERATIONS = 8
_DIFFERENCE = 1e-3
_BROKEN = 2.0


def _solver(name: str) -> tuple[Solver, Correction | None]:
    """Return the solver whose limit holds, and what is done to its noise."""
    if name in _OURS:
        return SOLVERS[_HALF], _OURS[name]
    return SOLVERS[name], SOLVERS[name].correction


def stiffest_rate(model: NoiseModel, x: Tensor, level: Level, generator: torch.Generator) -> Tensor:
    """Return the eigenvalue of largest modulus of ``sigma d eps/dx`` at every sample, shape (B,).

    Args:
        model: the noise prediction.
        x: samples (B, ...).
        level: their noise level.
        generator: of the first direction.
    """
    there = model(x, level)
    v = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
    rate = torch.zeros(len(x))
    for _ in range(_ITERATIONS):
        v = v / v.flatten(1).norm(dim=1).reshape(-1, *[1] * (x.ndim - 1))
        # In the direction v the noise moves x by about sigma: no further than that.
        moved = (model(x + level.sigma * v, level) - there) / level.sigma
        rate = level.sigma * (v * moved).flatten(1).sum(1)
        v = moved
    return rate.double()


class Seen(NamedTuple):
    """What a solver makes of noises and of a small difference of them.

    Attributes:
        ends: where it ends, shape (B, ...).
        growth: how much larger the difference is at the ends than at the starts, shape (B,).
    """

    ends: Tensor
    growth: Tensor


def seen(run: Callable[[Tensor], Tensor], x: Tensor, generator: torch.Generator) -> Seen:
    """Run a solver from noises ``x`` (B, ...) and from noises that differ from them in a random direction."""
    direction = torch.randn(x.shape, generator=generator, dtype=torch.float64).to(x)
    both = run(torch.cat((x, x + _DIFFERENCE * direction))).double()
    ends = both[: len(x)]
    apart = (both[len(x) :] - ends).flatten(1).norm(dim=1)
    return Seen(ends, apart / (_DIFFERENCE * direction.double().flatten(1).norm(dim=1)))


def crossing(guidance: Sequence[float], values: Sequence[float], limit: float) -> float:
    """Return the guidance from which on values exceed a limit, interpolated in the logarithms; infinite if none does.

    At the first guidance it is that one, if the limit is exceeded from there on.
    """
    above = np.asarray(values) > limit
    if not above[-1]:
        return math.inf
    first = len(above) - int(np.argmin(above[::-1])) if not above.all() else 0
    if first == 0:
        return guidance[0]
    a, b = (math.log(max(values[i], 1e-12)) for i in (first - 1, first))
    share = (math.log(limit) - a) / (b - a)
    return float(guidance[first - 1] * (guidance[first] / guidance[first - 1]) ** share)


def _model(plan: Plan, w: float, copies: int = 1) -> NoiseModel:
    return network_model(_NETWORK, labels=plan.labels * copies, guidance=w)


def _rates(plan: Plan, x: Tensor, w: float) -> float:
    """Return the largest rate along the guided flow, the median over samples."""
    model = _model(plan, w)
    path, generator = levels(12), torch.Generator().manual_seed(plan.seed)
    states = [x, *(state.x for state, _ in trajectory(SAMPLERS["dpm-solver++-2m"], model, x, path))]
    found = [stiffest_rate(model, y, level, generator) for y, level in zip(states, path, strict=True)]
    return float(torch.stack(found).amax(0).median())


def measure(plan: Plan = PLAN) -> list[dict[str, Any]]:
    """Return the rows of a plan, one for each solver and number of steps."""
    assert set(plan.labels) <= set(class_names(_NETWORK))
    x = starting_noise(plan.seed, 0, len(plan.labels), _SHAPE).float()
    rates = [_rates(plan, x, w) for w in plan.guidance]

    def run(name: str, correction: Correction | None, n: int, w: float) -> Seen:
        model, generator = _model(plan, w, copies=2), torch.Generator().manual_seed(plan.seed)
        return seen(lambda y: sample(SAMPLERS[name], model, y, levels(n), correction), x, generator)

    flow = [run("dpm-solver++-2m", None, REFERENCE, w) for w in plan.guidance]
    rows = []
    for n in plan.steps:
        path = levels(n)
        h = (path[-1].half_log_snr - path[0].half_log_snr) / n
        ddim: list[float] = []
        for name in plan.solvers:
            solver, correction = _solver(name)
            runs = [run(solver.sampler, correction, n, w) for w in plan.guidance]
            growths = [float((a.growth / b.growth).median()) for a, b in zip(runs, flow, strict=True)]
            errors = [float(rms((a.ends - b.ends).flatten(1)).median()) for a, b in zip(runs, flow, strict=True)]
            ddim = ddim or errors  # the first solver
            limit = guidance_limit(solver, h)
            rows.append(
                {"solver": name, "steps": n, "h": h, "limit": limit, "seed": plan.seed,
                 "predicted": crossing(plan.guidance, rates, limit), "broke": crossing(plan.guidance, growths, _BROKEN),
                 "loses": crossing(plan.guidance, [a / b for a, b in zip(errors, ddim, strict=True)], 1.0),
                 **{f"growth at {w:g}": value for w, value in zip(plan.guidance, growths, strict=True)},
                 **{f"error at {w:g}": value for w, value in zip(plan.guidance, errors, strict=True)},
                 **{f"rate at {w:g}": value for w, value in zip(plan.guidance, rates, strict=True)}}
            )  # fmt: skip
    return rows


@click.command()
@click.option("--out", type=click.Path(path_type=Path), default=ROWS, show_default=True, help="File for the rows.")
@plain_errors
def main(out: Path) -> None:
    """Measure at which guidance each solver breaks on the class-conditional network; five minutes of one core."""
    with single_thread(), torch.inference_mode():
        frame = pd.DataFrame(measure())
    with atomic(out) as temporary:
        frame.to_csv(temporary, index=False, float_format="%.6g")
    click.echo(frame[["solver", "steps", "limit", "predicted", "broke", "loses"]].to_string())


if __name__ == "__main__":
    main()
