r"""Claim Q4: what LML gains on DDIM in few steps when the score is not exact.

Two endpoints are asked for from the same noise: that of the model's *own* flow, which no sampler of this model can do
better than reach, and that of the *exact* flow, which is what is wanted. The errors are those of
`image_exps.problems.score_errors`, on the digits: smooth (the same ``x`` meets the same error), white (it has no flow
of its own), a bias; and those of a trained network, of which only its own flow is known.

LML extrapolates the errors as well. Where they are independent from step to step, ``n`` now and ``m`` before, of one
size, the turned noise is ``rho (e + n + eta (e + n - p - m))`` with ``rho = |e|/|e + eta (e - p)|``, so that the
variance of its error is that of ``n`` times

    ``rho^2 ((1 + eta)^2 + eta^2) = rho^2 (1 + 2 eta + 2 eta^2)``,

less one part in d, since the norm is kept. At the end of a trajectory it need not be larger at all: of ``eta (n - m)``,
what one step adds the next one takes back.

Kinds, sizes and ends of `_NEARER` and `_FURTHER` were chosen after a look at seed 0 and are frozen; the verdict is
decided on noises of two other seeds, `SEEDS` further on, and on errors of a seed of their own.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from typing import Any, NamedTuple, get_args

import numpy as np
import torch
from matplotlib.figure import Figure

from image_exps.networks import network_model
from image_exps.problems.endpoints import FlowBenchmark, flow_benchmark, flow_endpoints, rms
from image_exps.problems.score_errors import Imperfect, Kind
from image_exps.problems.seeds import starting_noise
from image_exps.problems.targets import levels
from lml.controls import extrapolation_coefficient
from lml.correction import LML, NoCorrection
from lml.samplers import SAMPLERS, NoiseModel, sample, trajectory
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.comparisons import LEVEL, compare, largest_p, power, share
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.statistics import Interval

__all__ = ["SEEDS", "SIZES", "STEPS", "check_imperfect", "draw_imperfect", "network_errors"]

#: Steps of DDIM, equal in log-SNR.
STEPS = 10

#: Sizes of the errors, relative to the noise prediction.
SIZES = (0.05, 0.1, 0.2, 0.4)

#: Added to the seed of a run: half of the noises come from each. A run of 192 noises of 1000 and 2000 found every
#: effect, one of them with a power of 0.59, so twice as many were drawn, of other seeds.
SEEDS = (3000, 4000)

_SEED = 1  # of the errors: one model for all noises
_SHAPE = (1, 8, 8)
_NETWORK, _NETWORK_SHAPE = "fashion-mnist", (1, 28, 28)
# Of third order; half as many estimate the error.
_REFERENCE_STEPS = 60
_LML = LML()
_KINDS: tuple[Kind, ...] = get_args(Kind)

# A small error, and what its growth is known to: the formula drops terms of relative order `_SMALL`, and those in
# ``<n, m>`` and ``<n, e>``, of relative deviation ``2/(d B)^{1/2}``: 0.02 for a hundred noises in d = 64.
_SMALL = 0.02
_FIRST_ORDER = 0.05

# Where a network stands on the axis of sizes: its error is not known.
_NETWORK_AT = 30.0

# By the triangle inequality a difference of two errors keeps its sign if the reference is off by less than half of it.
_INEXACT = 0.5


class _Case(NamedTuple):
    """One kind and size of error, against one endpoint: errors (B,) of DDIM and of LML."""

    kind: str
    size: float
    end: str
    base: np.ndarray
    lml: np.ndarray

    @property
    def gain(self) -> np.ndarray:
        difference: np.ndarray = self.base - self.lml
        return difference

    @property
    def name(self) -> str:
        error = "exact score" if self.size == 0 else f"{self.kind} error of {self.size:.0%}"
        return f"{error}, {self.end} flow"


# What the verdict says of each case: LML ends nearer, or further. What is not here is between.
_NEARER = {
    ("smooth", 0.05, "own"), ("smooth", 0.1, "own"), ("smooth", 0.2, "own"), ("bias", 0.05, "own"),
    ("smooth", 0.05, "exact"), ("smooth", 0.1, "exact"), ("white", 0.05, "exact"), ("white", 0.1, "exact"),
}  # fmt: skip
_FURTHER = {("bias", 0.1, "exact"), ("bias", 0.2, "exact"), ("white", 0.4, "exact"), ("smooth", 0.4, "exact")}


def _cases(lab: FlowBenchmark, sizes: tuple[float, ...]) -> tuple[list[_Case], float]:
    """Return all cases on the digits, and the largest error of an own endpoint over its least gain."""
    cases, inexact = [], 0.0
    arms = (NoCorrection(), _LML)
    exact = [lab.errors("ddim", "log-snr", STEPS, arm).numpy() for arm in arms]
    cases.append(_Case("none", 0.0, "exact", *exact))
    for kind, size in track([(k, s) for k in _KINDS for s in sizes], "errors"):
        model = _spoiled(lab.model, kind, size)
        spoiled = replace(lab, model=model)
        ends = [spoiled.endpoints("ddim", "log-snr", STEPS, arm) for arm in arms]
        cases.append(_Case(kind, size, "exact", *(lab.error(x).numpy() for x in ends)))
        if (kind, size, "own") in _NEARER:
            own = flow_endpoints(model, lab.x, _REFERENCE_STEPS)
            towards = replace(spoiled, exact=own.exact)
            cases.append(_Case(kind, size, "own", *(towards.error(x).numpy() for x in ends)))
            inexact = max(inexact, _over(float(own.refinement.mean()), cases[-1]))
    return cases, inexact


def _spoiled(model: NoiseModel, kind: Kind, size: float) -> Imperfect:
    return Imperfect(model, kind, size, _SEED, _SHAPE)


def network_errors(model: NoiseModel, shape: tuple[int, ...], count: int, seed: int) -> tuple[_Case, float]:
    """Return the errors of a network's samples against its own flow, and the mean error of that flow's endpoints.

    Args:
        model: any noise model for samples ``(B, *shape)``, in float32.
        shape: of one sample.
        count: how many noises.
        seed: of the noises.
    """
    x = starting_noise(seed, 0, count, shape).float()
    ends = flow_endpoints(model, x, _REFERENCE_STEPS)
    base, lml = (
        rms((sample(SAMPLERS["ddim"], model, x, levels(STEPS), arm).double() - ends.exact.double()).flatten(1)).numpy()
        for arm in (NoCorrection(), _LML)
    )
    return _Case("network", math.nan, "own", base, lml), float(ends.refinement.mean())


class _Growth(NamedTuple):
    """How LML makes white errors grow.

    Attributes:
        measured: variance of the error of the turned noise over that of the noise, along a trajectory.
        predicted: the same by the formula of the module.
        end: mean square that the errors add at the end, LML's over DDIM's.
    """

    measured: float
    predicted: float
    end: float


def _growth(lab: FlowBenchmark) -> _Growth:
    """Measure how small white errors grow, turn by turn and at the end."""
    spoiled = _spoiled(lab.model, "white", _SMALL)
    steps, here, seen = levels(STEPS), lab.x, []
    for i, (state, info) in enumerate(trajectory(SAMPLERS["ddim"], lab.model, lab.x, steps)):
        seen.append((info.evaluations[0].raw, spoiled(here, steps[i])))
        here = state.x
    measured, predicted = [], []
    for (p, p_off), (e, e_off) in pairwise(seen):
        turned, off = _LML.direction(e, (p,)), _LML.direction(e_off, (p_off,))
        eta = extrapolation_coefficient(e, p, damping=_LML.damping_at(e, (p,)), mixing=_LML.mixing)
        extrapolated = e + eta[:, None] * (e - p)
        rho2 = e.square().sum(1) / extrapolated.square().sum(1)
        now, before = (e_off - e).square().sum(1), (p_off - p).square().sum(1)
        measured.append((off - turned).square().sum(1) / now)
        predicted.append(rho2 * (1 - 1 / e.shape[1]) * ((1 + eta).square() + eta.square() * before / now))
    added = []
    for arm in (NoCorrection(), _LML):
        moved = replace(lab, model=spoiled).endpoints("ddim", "log-snr", STEPS, arm) - lab.endpoints(
            "ddim", "log-snr", STEPS, arm
        )
        added.append(float(moved.square().mean()))
    return _Growth(float(torch.cat(measured).mean()), float(torch.cat(predicted).mean()), added[1] / added[0])


def _over(error: float, case: _Case) -> float:
    gain = abs(float(case.gain.mean()))
    return error / gain if gain else math.inf


def check_imperfect(settings: Settings, *, count: int | None = None, network: bool = True) -> Finding:
    """Q4: with an imperfect score LML still gains, until the error drowns the gain; a mere scale takes it at once."""
    count = count or settings.pick(384, 1024)
    lab = flow_benchmark("digits", count, [settings.seed + more for more in SEEDS])
    cases, inexact = _cases(lab, SIZES)
    growth = _growth(lab)
    nearer = [c for c in cases if (c.kind, c.size, c.end) in _NEARER]
    further = [c for c in cases if (c.kind, c.size, c.end) in _FURTHER]
    if network:
        trained, refinement = network_errors(
            network_model(_NETWORK), _NETWORK_SHAPE, settings.pick(32, 64), settings.seed + SEEDS[0]
        )
        inexact = max(inexact, _over(refinement, trained))
        cases.append(trained)
        nearer.append(trained)
    flips = np.random.default_rng(settings.seed)
    tests = [compare(c.gain, flips) for c in nearer] + [compare(-c.gain, flips) for c in further]
    student, signs = largest_p(tests)
    weakest = min(power(test.mean, test.error, LEVEL / len(tests)) for test in tests)
    off = growth.measured / growth.predicted - 1
    decisive = (
        Measured("largest p-value: LML ends nearer, and further where the remark says so", student, limit=LEVEL,
                 basis=f"Student's t, Holm, one-sided, {len(tests)} tests"),
        Measured("the same by sign flips", signs, limit=LEVEL, basis="Holm, one-sided, 4999 flips"),
        Measured("error of the own endpoints over the least gain", inexact, limit=_INEXACT,
                 basis="half as many steps, an upper estimate; triangle inequality"),
        Measured("growth of white errors by a turn, measured over predicted, minus 1", off, limit=_FIRST_ORDER,
                 basis=f"to first order in an error of {_SMALL:.0%}"),
    )  # fmt: skip
    figures = (
        *decisive,
        Measured("least power of a test", weakest, basis="normal, at the measured effect, at Holm's strictest step"),
        *(_gain(c, len(cases)) for c in cases),
        Measured("growth of white errors by a turn, in variance", growth.measured,
                 basis=f"predicted {growth.predicted:.3g}; 2.5 for eta = 1/2 but for the norm"),
        Measured("white errors at the end, mean square with LML over DDIM's", growth.end,
                 basis=f"for an error of {_SMALL:.0%}"),
        Measured("size of white errors at which the gain is gone, exact flow", _crossing(cases, "white"),
                 basis="between the sizes, linear in mean squares"),
        Measured("size of smooth errors at which the gain is gone, exact flow", _crossing(cases, "smooth"),
                 basis="as before"),
    )  # fmt: skip
    return Finding(
        verdict=Verdict.CORRECTED if agreement(*decisive) is Verdict.HOLDS else Verdict.OPEN,
        figures=figures,
        reading=f"DDIM, {STEPS} steps equal in log-SNR, eta0 = 1/2; digits, d = 64, {count} noises of two seeds, "
        "exact score plus an error of known size; "
        + ("the shipped network of Fashion-MNIST" if network else "no network"),
        methods=("Student's t on paired differences", "sign flips"),
        assumption="the distance to an endpoint is what is asked for",
        remark="Correction: for errors up to 10 % that are no mere scale. LML removes an error of the steps, and none "
        "of the score: it ends nearer to the flow of the score that it is given, and nearer to the exact one as long "
        "as the steps err more than the score; at 40 % it ends further away. White errors grow at every turn, and yet "
        "LML adds no more of them at the end: the next turn takes a part back. Where the noise is only shrunk, as "
        "regression to the mean shrinks it, the error of the steps happens to undo a part of the shrinking, and LML, "
        "which removes it, ends further from the exact flow at 10 and 20 %; that at 5 % is a figure beside it. Of "
        "the network only its own flow is known.",
        data=_data(cases),
    )


def _gain(case: _Case, comparisons: int) -> Measured:
    found: Interval = share(case.gain, float(case.base.mean()), comparisons)
    name = "network of Fashion-MNIST, own flow" if case.kind == "network" else case.name
    return Measured(f"gain with {name}, share of DDIM's error {case.base.mean():.3f}", found.value, low=found.low,
                    high=found.high, basis=f"90 % for all; {(case.gain > 0).mean():.0%} end nearer")  # fmt: skip


def _crossing(cases: list[_Case], kind: str) -> float:
    """Return the size at which the mean square of LML's error meets DDIM's, NaN if it does not."""
    found = [c for c in cases if c.end == "exact" and c.kind in ("none", kind)]
    points = [(c.size**2, float((c.base**2).mean() - (c.lml**2).mean())) for c in found]
    for (s, gain), (after, loss) in pairwise(points):
        if gain > 0 >= loss:
            return math.sqrt(s + (after - s) * gain / (gain - loss))
    return math.nan


def _data(cases: list[_Case]) -> dict[str, np.ndarray]:
    """Return the gain of each case as a share of DDIM's error, with an interval of its own."""
    found = [share(c.gain, float(c.base.mean()), 1) for c in cases]
    return {
        "kind": np.array([c.kind for c in cases]),
        "size": np.array([c.size for c in cases]),
        "end": np.array([c.end for c in cases]),
        "share": np.array([f.value for f in found]),
        "low": np.array([f.low for f in found]),
        "high": np.array([f.high for f in found]),
    }


def draw_imperfect(finding: Finding) -> Figure:
    """Draw LML's gain as a share of DDIM's error, against the size of the score's error."""
    figure, axes = panels(2, width=3.9, height=2.9, sharey=True)
    data = finding.data
    colours = {"white": COLOURS["control"], "smooth": COLOURS["lml"], "bias": COLOURS["literal"]}
    for axis, end in zip(axes, ("own", "exact"), strict=True):
        for kind, colour in colours.items():
            rows = (data["kind"] == kind) & (data["end"] == end)
            if end == "exact":
                rows |= data["kind"] == "none"
            if rows.any():
                _bars(axis, data, rows, 100 * data["size"][rows], colour, kind)
        network = (data["kind"] == "network") & (data["end"] == end)
        if network.any():
            _bars(axis, data, network, np.array([_NETWORK_AT]), COLOURS["other"], "trained network")
        axis.axhline(0, color=COLOURS["limit"], lw=0.8)
        axis.set(xlabel="error of the score, %", ylim=(-0.6, 1))
        axis.set_title(f"to the {end} flow's endpoint", loc="left")
        axis.legend(loc="lower left", fontsize=7)
    axes[0].set_xticks([5, 10, 20, _NETWORK_AT], ["5", "10", "20", "unknown"])
    axes[0].set_ylabel("gain, share of DDIM's error")
    return figure


def _bars(axis: Any, data: Mapping[str, np.ndarray], rows: np.ndarray, at: np.ndarray, colour: str, label: str) -> None:
    middle, low, high = (data[key][rows] for key in ("share", "low", "high"))
    axis.errorbar(at, middle, yerr=np.stack((middle - low, high - middle)), fmt="o-", ms=4, lw=1, color=colour,
                  label=label)  # fmt: skip
