r"""Claims Q1 and Q2 on exact scores: what LML gains in few steps, and what the gain is owed to.

The distance is that of a sample to the endpoint of the exact flow from the same noise
(`image_exps.problems.endpoints`), so that samplers are compared noise by noise. The *gain* of a correction is
the base's error minus its own. Families of one-sided tests are corrected by Holm at 5 %, for Student's t and for
sign flips.

Scope: DDIM on the targets of `TARGETS`: smoothed digits, whose exact score finds a picture of the data in the end, a
mixture of low rank fitted to them, and a mixture in 16 dimensions. Imperfect scores and a trained network are claim
Q4's, networks from elsewhere Q5's; other targets, bases and budgets are those of sweeps. Targets, spacings and budgets
were frozen after a look at seed 0; the verdict is decided on noises of two other seeds, `SEEDS` further on.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import NamedTuple

import numpy as np
from matplotlib.figure import Figure
from torch import Tensor

from image_exps.claims.pictures import ROWS, arm_pictures, draw_arm_pictures, emoji_benchmark
from image_exps.distances import FrechetDistance, bootstrap
from image_exps.problems.endpoints import (
    EVALUATIONS,
    NOISES,
    FlowBenchmark,
    compared_corrections,
    flow_benchmark,
    rms,
)
from lml.correction import LML, Correction, NoCorrection
from lml.strength import default_mixing
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.comparisons import LEVEL, compare, holm, largest_p, power, share, sign_test
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from toy.levels import Spacing

__all__ = [
    "MARGIN",
    "SEEDS",
    "SOUGHT",
    "TARGETS",
    "check_attribution",
    "check_gain",
    "draw_attribution",
    "draw_pictures",
]

_SPACINGS: tuple[Spacing, ...] = ("log-snr", "time")

# Where Q1 is about the median, too; and what Q2 looks at where steps are equal in time.
_DECIDED_MEDIAN = "log-snr"
_IN_TIME = ("base", "LML", "extrapolation", "norm only", "lower level")

#: What Q1 and Q2 are asked of.
TARGETS = ("digits", "digits-low-rank", "random-16d")

#: Added to the seed of a run, by claim: half of the noises come from each. Q1 had 1000 and 2000 too, with 512 noises:
#: every test found its gain, but one had a power of 0.84, so more noises were drawn, of other seeds.
SEEDS = {"Q1": (3000, 4000), "Q2": (1000, 2000)}

#: The gain that Q1's sample size is made to find, as a share of the base's error, and how often it may miss it.
SOUGHT, _MISSED = 0.25, 0.1

#: Extrapolation alone equals LML if their errors differ by less than this share of the base's: a fifth of `SOUGHT`.
MARGIN = 0.05

# What each control of Q2 gains at most, as a share of LML's gain.
_HALF, _SHIFTED = 0.5, 0.75

# A control acts if it moves the samples at least this share as far as LML.
_ACTS = 0.1

# Mean error of the reference, as a share of the least gain, up to which it may be taken for exact.
_NEGLIGIBLE = 0.05

_FIRST_ORDER, _HIGHER_ORDER = LML(mixing=default_mixing(1)), LML(mixing=default_mixing(2))  # eta0 = 1/2 and 1/10


def _seeds(settings: Settings, claim: str) -> tuple[int, ...]:
    return tuple(settings.seed + more for more in SEEDS[claim])


def check_gain(
    settings: Settings, *, count: int | None = None, targets: Sequence[str] = TARGETS, pictures: bool = True
) -> Finding:
    """Q1: with an exact score LML brings DDIM nearer, in the mean, to where the flow ends, in 5, 10 and 20 steps."""
    count = count or settings.pick(704, 2048)
    flips = np.random.default_rng(settings.seed)
    family = [(target, spacing, n) for target in targets for spacing in _SPACINGS for n in EVALUATIONS]
    tests, medians, figures, missed, nearer, inexact = [], [], [], [], [], 0.0
    for target, spacing, n in track(family, "DDIM"):
        lab = flow_benchmark(target, count, _seeds(settings, "Q1"))
        base, lml = (lab.errors("ddim", spacing, n, c).numpy() for c in (NoCorrection(), _FIRST_ORDER))
        test = compare(base - lml, flips)
        tests.append(test)
        missed.append(1 - power(SOUGHT * base.mean(), test.error, LEVEL / len(family)))
        nearer.append(float((lml < base).mean()))
        if spacing == _DECIDED_MEDIAN:
            medians.append(sign_test(base - lml))
        inexact = max(inexact, _share_of(max(lab.refinement, lab.disagreement), test.mean))
        middle = float(np.median(base - lml) / base.mean())
        basis = f"n = {count}; in the median {middle:.3f}; {nearer[-1]:.0%} end nearer"
        figures.append(_gain_figure(f"DDIM, {target}, {n} steps of {spacing}", base, lml, len(family), basis))
    lab = flow_benchmark(targets[0], count, _seeds(settings, "Q1"))
    for n in EVALUATIONS:
        base, lml = (lab.errors("dpm-solver++-2m", "log-snr", n, c).numpy() for c in (NoCorrection(), _HIGHER_ORDER))
        name = f"DPM-Solver++ 2M, {targets[0]}, {n} steps of log-snr"
        figures.append(_gain_figure(name, base, lml, len(EVALUATIONS), "eta0 = 1/10; no part of the verdict"))
    student, signs = largest_p(tests)
    decisive = (
        Measured("largest p-value of the family of DDIM, Student's t", student, limit=LEVEL,
                 basis=f"Holm, one-sided, {len(tests)} tests of the mean"),
        Measured("the same by sign flips", signs, limit=LEVEL, basis="Holm, one-sided, 4999 flips"),
        Measured("largest p-value that the median gains, steps equal in log-SNR", max(holm(medians)), limit=LEVEL,
                 basis=f"sign test, Holm, one-sided, {len(medians)} tests"),
        Measured("error of the reference endpoints over the least gain", inexact, limit=_NEGLIGIBLE,
                 basis="the larger of two estimates: half as many steps, and DOP853"),
        Measured(f"chance to miss a gain of {SOUGHT:.0%}, largest of the family", max(missed), limit=_MISSED,
                 basis="one less the power, normal, for the observed spread, at Holm's strictest step"),
        Measured("share of samples that end nearer", float(np.median(nearer)), low=min(nearer), high=max(nearer),
                 basis="median and range of the family"),
    )  # fmt: skip
    return Finding(
        verdict=agreement(*decisive),
        figures=(*decisive, *figures),
        reading=f"{', '.join(targets)}; exact score, {count} noises of two seeds, eta0 = 1/2 with relative damping; "
        "mean over samples of the root mean square distance to the flow's endpoint, and the median where steps are "
        "equal in log-SNR",
        methods=("Student's t on paired differences", "sign flips", "sign test of the median"),
        assumption="a base of first order; those of higher order have a weaker default",
        remark="The mean is of every sample alike, and on the digits it is decided by few: most samples end on the "
        "picture that the flow ends on, and where 10 or 20 steps are equal in time most of these end slightly further "
        "from it with LML, while fewer end on another picture: there the gain is one of the mean, and not of the "
        "median. The figures have both. On DPM-Solver++ no gain is shown at this size. The pictures: "
        "DDIM on 3786 colour pictures, d = 3072, tau = 0.05, the same four noises in every cell, below it the error of "
        "the strip.",
        data=_pictures(settings.seed) if pictures else {},
    )


def _share_of(error: float, gain: float) -> float:
    return error / abs(gain) if gain else math.inf


def _pictures(seed: int) -> dict[str, np.ndarray]:
    def rows() -> dict[str, Correction]:
        made = compared_corrections(_FIRST_ORDER, 4, seed)
        return {name: made[name] for name in ROWS}

    return arm_pictures(emoji_benchmark(4, seed), "ddim", "log-snr", rows)


def _gain_figure(name: str, base: np.ndarray, lml: np.ndarray, comparisons: int, basis: str) -> Measured:
    gain = share(base - lml, base.mean(), comparisons)
    return Measured(f"gain on {name}, share of its error {base.mean():.3f}", gain.value, low=gain.low, high=gain.high,
                    basis=f"90 % for all {comparisons}; {basis}")  # fmt: skip


def check_attribution(settings: Settings, *, count: int | None = None, targets: Sequence[str] = TARGETS) -> Finding:
    """Q2: at equal steps of log-SNR the gain is the extrapolation's, and no control of LML's size gains as much."""
    count = count or settings.pick(256, 2048)
    names = list(compared_corrections(_FIRST_ORDER, count, settings.seed))
    controls = names[2:]
    runs = {target: _run_arms(target, count, settings) for target in track(list(targets), "targets")}
    gains = {(target, *key): run.gain(*key) for target, run in runs.items() for key in run.ends}
    cells: list[tuple[str, Spacing, int]] = [(target, "log-snr", n) for target in targets for n in EVALUATIONS]
    flips = np.random.default_rng(settings.seed)
    tests = [
        compare(
            (1 if name == "extrapolation" else -1) * (gains[*cell, name] - _most(name) * gains[*cell, "LML"]), flips
        )
        for name in controls
        for cell in cells
    ]
    student, signs = largest_p(tests)
    least = min(
        runs[target].moved(spacing, n, name) / runs[target].moved(spacing, n, "LML")
        for name in controls
        for target, spacing, n in cells
    )
    first = runs[targets[0]]
    equality = {
        (spacing, n): share(
            first.errors[spacing, n, "extrapolation"] - first.errors[spacing, n, "LML"],
            first.errors[spacing, n, "base"].mean(),
            2 * len(EVALUATIONS),
        )
        for spacing in _SPACINGS
        for n in EVALUATIONS
    }

    def shares(name: str, spacing: Spacing) -> list[float]:
        return [
            float(gains[target, spacing, n, name].mean() / gains[target, spacing, n, "LML"].mean())
            for target in targets
            for n in EVALUATIONS
        ]

    ends = {(name, n): first.ends["log-snr", n, name] for name in names for n in EVALUATIONS}
    frechet, frechet_figures = _frechet_figures(first.lab, ends, settings)
    figures = (
        Measured("largest p-value: extrapolation gains over half of LML's gain, every other control less", student,
                 limit=LEVEL, basis=f"Student's t, Holm, one-sided, {len(tests)} tests; a shift of the level gains "
                 f"less than {_SHIFTED:.0%}"),
        Measured("the same by sign flips", signs, limit=LEVEL, basis="Holm, one-sided, 4999 flips"),
        Measured("how far the weakest control moves samples, over LML", least, basis=f"it acts: at least {_ACTS:g}"),
        *(Measured(f"error of extrapolation alone minus LML's, {targets[0]}, {n} steps of {spacing}, share", e.value,
                   low=e.low, high=e.high, basis=f"90 % for all six; equal if all are within {MARGIN:.0%}")
          for (spacing, n), e in equality.items()),
        *(Measured(f"gain of {name} over LML's", float(np.median(found)), low=min(found), high=max(found),
                   basis="median and range over targets and 5, 10, 20 steps of log-SNR")
          for name in controls for found in [shares(name, "log-snr")]),
        *(Measured(f"gain of {name} over LML's, steps equal in time", float(np.median(found)), low=min(found),
                   high=max(found), basis="median and range over targets and 5, 10, 20 steps; no part of the verdict")
          for name in _IN_TIME[2:] for found in [shares(name, "time")]),
        *frechet_figures,
    )  # fmt: skip
    equal = all(e.inside(MARGIN) for e in equality.values())
    unequal = any(not e.low <= 0 <= e.high for e in equality.values())
    verdict = Verdict.OPEN
    if agreement(*figures) is Verdict.HOLDS and least >= _ACTS and (equal or unequal):
        verdict = Verdict.HOLDS if equal else Verdict.CORRECTED
    return Finding(
        verdict=verdict,
        figures=figures,
        reading=f"as Q1, with steps equal in log-SNR, {count} noises; "
        f"{' and '.join(f'{s:.0%}' for s in NOISES)} noise on every element, a random turn by LML's angle, the change "
        "that LML makes to another sample, and one of LML's size along the noise, as a shift of its level",
        methods=("Student's t on paired differences", "sign flips"),
        assumption="the distance to the flow's endpoint is what is asked for",
        remark="Correction: extrapolation alone does not equal LML, it gains at least half as much, and in 10 and 20 "
        "steps equal in log-SNR it ends nearer: the restored norm takes a part away. And the attribution is one at "
        "steps equal in log-SNR: where they are equal in time a noise that is only made shorter, as of a lower level, "
        "gains about as much as LML. Noise can hardly shorten a distance to an endpoint; the other controls have LML's "
        "size and could. The distance decides, too: in Frechet distance, which looks at the moments of all samples at "
        "once, noise on every element gains about as much as LML at 5 steps, while it takes single samples far from "
        "where the flow ends. A gain in such a distance alone does not show that a sampler solves its equation better.",
        data=_attribution_data(
            controls,
            {(name, n): gains[targets[0], "log-snr", n, name] for name in names for n in EVALUATIONS},
            frechet,
            frechet_figures[1],
        ),
    )


def _most(control: str) -> float:
    return _SHIFTED if control.endswith("level") else _HALF


class _Run(NamedTuple):
    """Where the arms end on one target, (B, d), and their errors, (B,), by spacing, steps and arm."""

    lab: FlowBenchmark
    ends: dict[tuple[Spacing, int, str], Tensor]
    errors: dict[tuple[Spacing, int, str], np.ndarray]

    def gain(self, spacing: Spacing, n: int, name: str) -> np.ndarray:
        difference: np.ndarray = self.errors[spacing, n, "base"] - self.errors[spacing, n, name]
        return difference

    def moved(self, spacing: Spacing, n: int, name: str) -> float:
        """Return how far samples are moved from the base's, in the mean."""
        return float(rms(self.ends[spacing, n, name] - self.ends[spacing, n, "base"]).mean())


def _run_arms(target: str, count: int, settings: Settings) -> _Run:
    lab = flow_benchmark(target, count, _seeds(settings, "Q2"))
    ends: dict[tuple[Spacing, int, str], Tensor] = {}
    for spacing, n in product(_SPACINGS, EVALUATIONS):
        made = compared_corrections(_FIRST_ORDER, count, settings.seed)
        for name in made if spacing == "log-snr" else _IN_TIME:
            ends[spacing, n, name] = lab.endpoints("ddim", spacing, n, made[name])
    return _Run(lab, ends, {key: lab.error(x).numpy() for key, x in ends.items()})


def _frechet_figures(
    lab: FlowBenchmark, ends: dict[tuple[str, int], Tensor], settings: Settings
) -> tuple[dict[tuple[str, int], float], tuple[Measured, ...]]:
    """Return the Frechet distances of all endpoints, and the figures about them."""
    frechet = FrechetDistance(lab.final)
    distances = {key: frechet(x) for key, x in ends.items()}
    count = len(lab.x)
    fresh = settings.generator(1)
    floor = np.array([frechet(lab.final.sample(count, generator=fresh)) for _ in range(20)])
    few = EVALUATIONS[0]
    noise = min((name for name, n in ends if name.startswith("element noise") and n == few),
                key=lambda name: distances[name, few])  # fmt: skip
    sets = [ends[name, few] for name in ("base", "LML", noise)]
    base, lml, noisy = bootstrap(frechet, sets, repeats=200, generator=settings.generator(2))[1].T
    low, high = np.quantile((base - noisy) / (base - lml), (0.025, 0.975))
    gained = (distances["base", few] - distances[noise, few]) / (distances["base", few] - distances["LML", few])
    return distances, (
        Measured(f"gain in Frechet distance of {noise} over LML's, {few} steps", float(gained), low=float(low),
                 high=float(high), basis="95 %, bootstrap of the noises"),
        Measured("Frechet distance of exact samples, the floor", float(floor.mean()), low=float(floor.min()),
                 high=float(floor.max()), basis=f"range of 20 fresh sets of {count}"),
        *(Measured(f"Frechet distance at {n} steps, {name}", distances[name, n], basis="to be read less the floor")
          for n in EVALUATIONS for name in ("base", "LML", "extrapolation", "random turn", noise)),
    )  # fmt: skip


def _attribution_data(
    controls: list[str],
    gains: dict[tuple[str, int], np.ndarray],
    frechet: dict[tuple[str, int], float],
    floor: Measured,
) -> dict[str, np.ndarray]:
    """Return the gains (controls, evaluations) as shares of LML's by either distance, NaN where LML's is chance."""
    data = {"controls": np.array(controls), "evaluations": np.array(EVALUATIONS)}
    for index, key in enumerate(("share", "low", "high")):
        data[key] = np.array(
            [[share(gains[c, n], gains["LML", n].mean(), 1)[index] for n in EVALUATIONS] for c in controls]
        )
    spread = np.ptp([x for x in (floor.low, floor.high) if x is not None])
    of_lml = np.array([frechet["base", n] - frechet["LML", n] for n in EVALUATIONS])
    of_lml[of_lml < spread / 2] = np.nan
    of_controls = np.array([[frechet["base", n] - frechet[c, n] for n in EVALUATIONS] for c in controls])
    return {**data, "frechet": of_controls / of_lml}


def draw_pictures(finding: Finding) -> Figure:
    """Draw the grid of pictures."""
    return draw_arm_pictures(finding.data)


def draw_attribution(finding: Finding) -> Figure:
    """Draw what each control gains as a share of LML's gain, by either distance; a triangle lies further left.

    Frechet distances are shown where LML's gain exceeds half of the range of exact samples.
    """
    figure, axes = panels(2, width=3.9, height=2.9, sharey=True)
    data = finding.data
    places = np.arange(len(data["controls"]))[::-1]
    colours = (COLOURS["other"], COLOURS["control"], COLOURS["lml"])
    for k, n in enumerate(data["evaluations"]):
        y = places + 0.2 * (1 - k)
        ends = np.abs(np.stack((data["low"][:, k], data["high"][:, k])) - data["share"][:, k])
        for axis, values, spread in ((axes[0], data["share"][:, k], ends), (axes[1], data["frechet"][:, k], None)):
            seen = values > -1.5
            bars = None if spread is None else spread[:, seen]
            axis.errorbar(values[seen], y[seen], xerr=bars, fmt="o", ms=4, lw=1, color=colours[k], label=f"{n} steps")
            off = values <= -1.5
            axis.plot(np.full(off.sum(), -1.45), y[off], "<", ms=5, color=colours[k])
    for axis, title in zip(axes, ("distance to the flow's endpoint", "Frechet distance"), strict=True):
        axis.axvline(0, color=COLOURS["limit"], lw=0.8)
        axis.axvline(1, color=COLOURS["limit"], lw=0.8, ls="--")
        axis.set(xlim=(-1.5, 1.8), xlabel="gain over LML's")
        axis.set_yticks(places, data["controls"])
        axis.set_title(title, loc="left")
    axes[0].legend(loc="upper left", fontsize=7)
    return figure
