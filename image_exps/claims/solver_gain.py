r"""Claim L1: on networks that nobody here trained, a calibrated solver against the best published method.

`lml.solver.calibrate` sees 16 trajectories of a network. From fresh noises its solver's distance to the end of the
network's flow, ``e = |x - x_flow|/sqrt(d)``, is compared, noise by noise, with that of every baseline at every spacing
(`image_exps.samplers.baselines`): the best of them is known only afterwards, on these very noises. To be nearer than
the best is to be nearer than each: the p-value of a cell is the largest over all baselines, an intersection-union test
that needs no correction for their number (Berger 1982). Holm's correction is over cells.

Controls: the baseline that the same 16 trajectories name best; and the same fit, of levels and rows from the same
baseline along the same ridges, to the ends of *other* noises, which must end further away than the best baseline.

The cells in which the solver is to be nearer, `_NEARER`, and the sizes were frozen after a look at two other seeds in 5
evaluations, and one in 8 on hsc-32. There four fifths of the samples ended nearer, to 0.6 of the distance in the
median, and a few that ended far off undid that in the mean.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from image_exps.pipelines.network import Network, network
from image_exps.problems.seeds import starting_noise
from image_exps.samplers.arms import arm
from image_exps.samplers.baselines import BASELINE_ARMS
from lml.samplers import SAMPLERS, sample
from lml.solver import Calibration, Schedule, calibrate, method
from lml.solver.fitting import Problem, fit
from lml.solver.schedule import spaced
from lml.solver.trajectories import distances
from theory_checks.ledger.claim import Finding, Measured, Settings, agreement
from theory_checks.ledger.comparisons import LEVEL, compare, holm, power, share
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.statistics import Interval

__all__ = ["NETWORKS", "Cell", "check_gain", "draw_gain"]

NETWORKS = ("galaxy-hsc-32", "galaxy-ztf-32")

# Networks and evaluations on which the claim is decided; the other cells are shown.
_NEARER = (("galaxy-hsc-32", 5),)

_TRAJECTORIES, _FRESH = 16, 7000

# DPM-Solver++ of third order, equal in log-SNR; half as many steps bound its error. By the triangle inequality a
# difference of two errors keeps its sign if the reference is off by less than half of it.
_REFERENCE, _REFERENCE_STEPS, _INEXACT = "dpm-solver++-3m", 48, 0.5

# An end further off than this, or that is no number, counts as this far.
_FARTHEST = 1e3


class Cell(NamedTuple):
    """One comparison: errors (N,) of the calibrated solver, of every baseline by name, and of the shuffled fit."""

    network: str
    evaluations: int
    found: Calibration
    ours: np.ndarray
    baselines: dict[str, np.ndarray]
    shuffled: np.ndarray

    @property
    def best(self) -> str:
        """The baseline with the smallest mean error on these noises."""
        return min(self.baselines, key=lambda name: float(self.baselines[name].mean()))

    @property
    def name(self) -> str:
        return f"{self.network.removeprefix('galaxy-')}, {self.evaluations} evaluations"

    def nearer(self, flips: np.random.Generator) -> tuple[float, float]:
        """Return the p-values that the solver is nearer than every baseline, by Student's t and by sign flips."""
        tests = [compare(errors - self.ours, flips) for errors in self.baselines.values()]
        return max(t.student for t in tests), max(t.flips for t in tests)

    def over_best(self, errors: np.ndarray, comparisons: int) -> Interval:
        """Return by how much other errors fall short of the best baseline's, as a share of those."""
        best = self.baselines[self.best]
        return share(best - errors, float(best.mean()), comparisons)


class _Flow(NamedTuple):
    """A network with noises at the first level and the ends of their flow; the mean error of these."""

    made: Network
    schedule: Schedule
    x: Tensor
    ends: Tensor
    refinement: float


def _flow(name: str, seed: int, count: int) -> _Flow:
    made = network(name)
    schedule = Schedule.sampled(made.schedule, made.times)
    fine = schedule.levels(_REFERENCE_STEPS, "log-snr")
    x = fine[0].sigma * starting_noise(seed, 0, count, made.shape).float()
    ends, half = (sample(SAMPLERS[_REFERENCE], made.noise_model, x, some) for some in (fine, fine[::2]))
    return _Flow(made, schedule, x, ends, float(distances(half, ends).mean()))


def _errors(ends: Tensor, exact: Tensor) -> np.ndarray:
    apart: np.ndarray = distances(ends, exact).nan_to_num(_FARTHEST).clamp_max(_FARTHEST).numpy()
    return apart


def _shuffled(ends: Tensor) -> Tensor:
    return ends.roll(1, 0)


@torch.no_grad()
def _cell(flow: _Flow, fits: int, n: int, seed: int, arms: Sequence[str]) -> Cell:
    """Return a cell; its last ``fits`` noises are those of the control's fit, and of nothing else."""
    made, schedule = flow.made, flow.schedule
    model, dim = made.noise_model, flow.x[0].numel()
    found = calibrate(model, schedule, n, _TRAJECTORIES, shape=made.shape, seed=seed, kept=False)
    prior = method(found.baseline)
    problem = Problem(model, flow.x[-fits:], _shuffled(flow.ends[-fits:]), torch.ones(fits, dtype=torch.float64))
    control = fit([problem], prior.base, schedule, spaced(schedule, n, prior.spacing))[-1]
    x, ends = flow.x[:-fits], flow.ends[:-fits]
    baselines = {}
    for name in track(list(dict.fromkeys((*arms, found.baseline))), f"{made.name}, {n} evaluations"):
        plan = arm(name).build(n, dim, seed=seed, count=len(x), schedule=made.schedule, times=made.times)
        baselines[name] = _errors(sample(plan.sampler, model, x, plan.levels, plan.correction), ends)
    ours, shuffled = (_errors(each.sample(model, x), ends) for each in (found.solver, control.solver(schedule)))
    return Cell(made.name, n, found, ours, baselines, shuffled)


def check_gain(
    settings: Settings,
    *,
    count: int | None = None,
    networks: Sequence[str] = NETWORKS,
    evaluations: Sequence[int] | None = None,
    arms: Sequence[str] = BASELINE_ARMS,
) -> Finding:
    """L1: a calibrated solver ends nearer to the flow than every baseline on hsc-32 in 5 evaluations."""
    count = count or settings.pick(64, 128)
    evaluations = evaluations or settings.pick((5,), (5, 8))
    cells, refinement, seed = [], {}, settings.seed + _FRESH
    for name in networks:
        flow = _flow(name, seed, count + _TRAJECTORIES)
        cells += [_cell(flow, _TRAJECTORIES, n, seed, arms) for n in evaluations]
        refinement[name] = flow.refinement
    flips = np.random.default_rng(settings.seed)
    p = [cell.nearer(flips) for cell in cells]
    student, signs = holm([each[0] for each in p]), holm([each[1] for each in p])
    sure = [i for i, cell in enumerate(cells) if (cell.network, cell.evaluations) in _NEARER]
    others = [i for i in range(len(cells)) if i not in sure]
    controls = [compare(cell.shuffled - cell.baselines[cell.best], flips).student for cell in cells]
    gains = [float((cells[i].baselines[cells[i].best] - cells[i].ours).mean()) for i in sure]
    inexact = max(refinement[cells[i].network] / abs(g) if g else math.inf for i, g in zip(sure, gains, strict=True))
    decisive = (
        Measured("largest p-value where it ends nearer than every baseline", max(student[i] for i in sure), limit=LEVEL,
                 basis=f"Student's t, one-sided; the largest over {len(arms)} baselines, Holm over {len(cells)} cells"),
        Measured("the same by sign flips", max(signs[i] for i in sure), limit=LEVEL, basis="4999 flips, Holm"),
        Measured("largest p-value: a fit to the ends of other noises is further than the best baseline",
                 max(holm(controls)), limit=LEVEL, basis="Student's t, one-sided, Holm"),
        Measured("error of the flow's ends over the least gain that is claimed", inexact, limit=_INEXACT,
                 basis="half as many steps, an upper estimate; triangle inequality"),
    )  # fmt: skip
    elsewhere = [Measured(f"p-value of ending nearer than every baseline: {cells[i].name}", student[i],
                          basis="Student's t, Holm") for i in others]  # fmt: skip
    return Finding(
        verdict=agreement(*decisive),
        figures=(*decisive, *elsewhere, _power(cells, sure), *(f for c in cells for f in _shares(c, len(cells)))),
        reading=f"{', '.join(networks)}; {', '.join(map(str, evaluations))} evaluations; {_TRAJECTORIES} trajectories "
        f"for calibration, {count} fresh noises; {len(arms)} baselines",
        methods=("Student's t on paired errors, against each baseline", "sign flips"),
        assumption="the distance to the end of the network's flow is what is asked for",
        remark="Decided on hsc-32 in 5 evaluations alone, as frozen before the run. On ztf-32 a few hard trajectories "
        "carry much of the error: by other draws its solver was about where the best baseline is. In 8, most "
        "samples end nearer, and a few that end far off can undo that in the mean. Chosen: "
        + "; ".join(f"{c.name}: {c.found.solver.method}" for c in cells)
        + ". Said of these networks of one architecture, and of one calibration each; near to the flow of a network is "
        "not near to its data.",
        data=_data(cells),
    )


def _power(cells: Sequence[Cell], sure: Sequence[int]) -> Measured:
    """Return the least power of a test that is claimed, against the best baseline."""
    gains = [cells[i].baselines[cells[i].best] - cells[i].ours for i in sure]
    least = min(power(float(g.mean()), float(g.std(ddof=1)) / len(g) ** 0.5, LEVEL / len(cells)) for g in gains)
    return Measured("least power of a test that is claimed", least, basis="normal, at the measured effect")


def _shares(cell: Cell, comparisons: int) -> list[Measured]:
    best = cell.baselines[cell.best]
    rows = (
        ("calibrated", cell.ours),
        (f"chosen on the trajectories, {cell.found.baseline}", cell.baselines[cell.found.baseline]),
        ("fitted to the ends of other noises", cell.shuffled),
    )
    found = []
    for label, errors in rows:
        gain, nearer = cell.over_best(errors, comparisons), float((errors < best).mean())
        found.append(
            Measured(f"{cell.name}, {label}: distance over that of {cell.best}, {best.mean():.3f}", 1 - gain.value,
                     low=1 - gain.high, high=1 - gain.low,
                     basis=f"90 % for all cells; {nearer:.0%} of the samples end nearer")
        )  # fmt: skip
    return found


def _data(cells: Sequence[Cell]) -> dict[str, np.ndarray]:
    rows = []
    for cell in cells:
        best = float(cell.baselines[cell.best].mean())
        for kind, errors in (("calibrated", cell.ours), ("chosen", cell.baselines[cell.found.baseline]),
                             ("shuffled", cell.shuffled)):  # fmt: skip
            gain = cell.over_best(errors, 1)
            rows.append((cell.name, kind, 1 - gain.value, 1 - gain.high, 1 - gain.low))
        rows += [(cell.name, "baseline", float(e.mean()) / best, math.nan, math.nan) for e in cell.baselines.values()]
    return {key: np.array(column) for key, column in zip(_COLUMNS, zip(*rows, strict=True), strict=True)}


_COLUMNS = ("cell", "kind", "ratio", "low", "high")


def draw_gain(finding: Finding) -> Figure:
    """Draw mean distances over the best baseline's: of the solver, of all baselines and of the controls."""
    data = finding.data
    names = list(dict.fromkeys(data["cell"]))
    figure, (axis,) = panels(1, width=6.4, height=1.2 + 0.75 * len(names))
    looks = {
        "baseline": ("all baselines", "|", COLOURS["target"], 0.0),
        "calibrated": ("calibrated", "o", COLOURS["lml"], 0.2),
        "chosen": ("baseline chosen on 16 trajectories", "s", COLOURS["control"], -0.2),
        "shuffled": ("fitted to the ends of other noises", "x", COLOURS["literal"], -0.3),
    }
    for kind, (label, marker, colour, lift) in looks.items():
        rows = np.flatnonzero(data["kind"] == kind)
        at = np.array([len(names) - 1 - names.index(name) for name in data["cell"][rows]]) + lift
        value, low, high = (data[key][rows] for key in ("ratio", "low", "high"))
        bars = None if kind == "baseline" else np.stack((value - low, high - value))
        axis.errorbar(value, at, xerr=bars, fmt=marker, ms=5, lw=1, color=colour, label=label)
    axis.axvline(1, color=COLOURS["limit"], lw=0.8)
    axis.set(xscale="log", xlim=(None, 10), xlabel="mean distance to the flow's end, over the best baseline's")
    axis.set_xticks([0.5, 1, 2, 5, 10], ["0.5", "1", "2", "5", "10"])
    axis.set_xticks([], minor=True)
    axis.set_yticks(range(len(names))[::-1], names)
    axis.set_ylim(-0.6, len(names) - 0.4)
    axis.legend(loc="upper center", bbox_to_anchor=(0.5, -0.3), ncols=2, fontsize=7)
    return figure
