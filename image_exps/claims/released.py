r"""Claim Q3: what the paper's published code does to pictures at ``kappa = 0``, where each published command leaves it.

In exact arithmetic it is its base (K2, K5). What it adds in float32 is rounding noise of the size that K4 predicts,
which grows with ``|eps|^2/lambda``: nothing in d = 64, a sixth to a quarter of the noise itself in d = 3072. Three arms
start from the same noises: the published expression in float64, in float32, and the base with noise on every element
of that predicted size, which knows nothing of the published expression.

The noise is to do as the published float32 does: at least half and at most twice the harm, in the mean. Half of the
noises come from each of two seeds, `SEEDS` further on, that had not been drawn when this was fixed.

The distance is that to the endpoint of the exact flow from the same noise. The pictures are colour pictures at 32x32,
``tau = 0.1``, whose score is computed in float32 in every arm alike.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import ClassVar, Literal, NamedTuple

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import toy
from image_exps.distances import FrechetPCA, difference
from image_exps.images.pixels import pixels
from image_exps.problems.endpoints import FlowBenchmark, flow_benchmark, flow_endpoints, rms
from image_exps.problems.seeds import sample_generators, starting_noise
from image_exps.problems.targets import TAU
from lml.correction import Correction, Memory, NoCorrection, ReleasedLML
from theory_checks.ledger.claim import Finding, Measured, Settings, agreement
from theory_checks.ledger.comparisons import LEVEL, compare, holm, largest_p, power, share, sign_test
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.statistics import Interval, mean_interval
from theory_checks.numerics.rounding_noise import predicted_deviation
from toy import DataMixture

__all__ = ["BUDGETS", "MARGIN", "SEEDS", "RoundingNoise", "check_released_quality", "draw_released_quality"]

#: Evaluations of DDIM, steps equal in time as in the paper's tables, with the damping of its Table 6.
BUDGETS = {10: 8e-4, 20: 5e-4}

#: Added to the seed of a run: half of the noises come from each.
SEEDS = (1000, 2000)

# The noise's harm is within this factor of released float32's, either way.
_FACTOR = 2

#: In d = 64 the published code equals its base if it changes the error by less than this share.
MARGIN = 0.05

# Of third order: half as many steps estimate their error. An error grows by at most the reference's: by the triangle
# inequality a difference of two errors keeps its sign if the reference's error is below half of it.
_REFERENCE_STEPS = 50
_INEXACT = 0.5

_ARMS = ("base", "float64", "float32", "noise")
_SHOWN, _FEW = 6, 32


@dataclass(frozen=True)
class RoundingNoise(Correction):
    r"""Noise on every element, ``u_i (1 + t z_i)`` and the norm of ``u``, of the size that K4 predicts.

    With ``r`` the relative deviation predicted for the float32 vector ``u``, ``t = ((1 - r^2/2)^{-2} - 1)^{1/2}``: the
    inverse of ``r = (2 - 2/(1 + t^2)^{1/2})^{1/2}``.

    Args:
        damping: ``lambda`` of the published code.
        generators: one a sample.
    """

    site: ClassVar[Literal["noise", "update"]] = "update"

    damping: float
    generators: Sequence[torch.Generator]

    @property
    def depth(self) -> int:
        return 0

    def _turned(self, vector: Tensor, history: Sequence[Tensor], progress: float) -> Tensor:
        u = vector.flatten(1)
        r = predicted_deviation(u, self.damping)[:, None]
        t = ((1 - r.square() / 2).pow(-2) - 1).sqrt()
        z = torch.stack([torch.randn(u.shape[1], dtype=torch.float64, generator=g) for g in self.generators])
        noisy = u.double() * (1 + t * z)
        restored: Tensor = noisy * (u.double().norm(dim=1, keepdim=True) / noisy.norm(dim=1, keepdim=True))
        return restored.to(vector).view(vector.shape)


class _Run(NamedTuple):
    """Endpoints of the arms at one budget, (B, d) in float64, their errors (B,), and the predicted rounding."""

    ends: dict[str, Tensor]
    errors: dict[str, np.ndarray]


def _seeds(settings: Settings) -> tuple[int, ...]:
    return tuple(settings.seed + more for more in SEEDS)


def _benchmark(count: int, seeds: Sequence[int], every: int) -> FlowBenchmark:
    """Return noises and endpoints on every so-maniest of 3786 pictures."""
    target = DataMixture(toy.dataset("emoji").images[::every], TAU, dtype=torch.float32)
    model = toy.noise_model(target)
    x = torch.cat([starting_noise(seed, 0, count // len(seeds), (target.dim,)) for seed in seeds])
    ends = flow_endpoints(model, x.float(), _REFERENCE_STEPS)
    return FlowBenchmark(target, model, x, ends.exact.double(), float(ends.refinement.mean()), disagreement=math.nan)


def _compare_arms(lab: FlowBenchmark, evaluations: int, damping: float, seed: int) -> _Run:
    single = replace(lab, x=lab.x.float())
    released = ReleasedLML(damping, 0.0)
    noise = RoundingNoise(damping, sample_generators(seed, 0, len(lab.x), "correction"))
    plan = {"base": (lab, NoCorrection()), "base in float32": (single, NoCorrection()), "float64": (lab, released),
            "float32": (single, released), "noise": (single, noise)}  # fmt: skip
    ends = {name: where.endpoints("ddim", "time", evaluations, arm).double() for name, (where, arm) in plan.items()}
    return _Run(ends, {name: lab.error(x).numpy() for name, x in ends.items()})


def _moved(run: _Run, name: str) -> np.ndarray:
    """Return how far samples are moved from the base's, (B,)."""
    moved: np.ndarray = rms(run.ends[name] - run.ends["base"]).numpy()
    return moved


def _median_moved(run: _Run, name: str) -> float:
    return float(np.median(_moved(run, name)))


def _ranged(name: str, found: Interval, basis: str) -> Measured:
    return Measured(name, found.value, low=found.low, high=found.high, basis=basis)


def check_released_quality(
    settings: Settings, *, count: int | None = None, budgets: Sequence[int] = tuple(BUDGETS), moments: bool = True
) -> Finding:
    """Q3: at ``kappa = 0`` the published code adds rounding noise in float32, which takes samples off the flow."""
    count = count or settings.pick(352, 512)
    every = settings.pick(4, 1)
    lab = _benchmark(count, _seeds(settings), every)
    runs = {n: _compare_arms(lab, n, BUDGETS[n], settings.seed) for n in track(budgets, "pictures")}
    flips = np.random.default_rng(settings.seed)
    harm = {
        (name, n): run.errors[name] - run.errors["base"] for n, run in runs.items() for name in ("float32", "noise")
    }
    tests = [compare(harm["float32", n], flips) for n in budgets]
    least = abs(min(test.mean for test in tests))
    tests += [compare(harm["noise", n] - harm["float32", n] / _FACTOR, flips) for n in budgets]
    tests += [compare(_FACTOR * harm["float32", n] - harm["noise", n], flips) for n in budgets]
    median = max(holm([sign_test(harm["float32", n]) for n in budgets]))
    weakest = min(power(test.mean, test.error, LEVEL / len(tests)) for test in tests)
    student, signs = largest_p(tests)
    # Medians: now and then any rounding sends a sample to another picture.
    in_double = max(_median_moved(run, "float64") / _median_moved(run, "base in float32") for run in runs.values())
    small = flow_benchmark("digits", settings.pick(256, 2048), _seeds(settings))
    digits = {n: _compare_arms(small, n, BUDGETS[n], settings.seed) for n in budgets}
    little = max(_median_moved(run, "float32") / float(np.median(run.errors["base"])) for run in digits.values())
    decisive = (
        Measured("largest p-value: released float32 ends further than its base, noise half to twice as much further",
                 student, limit=LEVEL, basis=f"Student's t, Holm, one-sided, {len(tests)} tests"),
        Measured("the same by sign flips", signs, limit=LEVEL, basis="Holm, one-sided, 4999 flips"),
        Measured("largest p-value: most samples of released float32 end further", median, limit=LEVEL,
                 basis="sign test, Holm"),
        Measured("released float64: distance moved over that by the base's own float32 rounding", in_double, limit=1,
                 basis="medians over the noises; the largest budget counts"),
        Measured("d = 64: distance moved by released float32 over the base's error", little, limit=MARGIN,
                 basis="medians over the noises; the largest budget counts"),
        Measured("error of the reference endpoints over the least effect",
                 lab.refinement / least if least else math.inf, limit=_INEXACT,
                 basis="half as many steps, an upper estimate; triangle inequality"),
    )  # fmt: skip
    figures = (
        *decisive,
        Measured("least power of a test", weakest, basis="normal, at the measured effect, at Holm's strictest step"),
        *(_ranged(f"d = 64, {n} steps: error of released float32 minus its base's, share",
                  share(run.errors["float32"] - run.errors["base"], run.errors["base"].mean(), len(budgets)),
                  "90 % for all; the mean is of few samples that end on another picture")
          for n, run in digits.items()),
        *(_ranged(f"d = 3072, {n} steps: error of {name} minus its base's, share",
                  share(harm[name, n], runs[n].errors["base"].mean(), 2 * len(budgets)), "90 % for all")
          for n in budgets for name in ("float32", "noise")),
        *(Measured(f"d = 3072, {n} steps: distance moved by noise over released float32's",
                   float(_moved(runs[n], "noise").mean() / _moved(runs[n], "float32").mean()), basis="means")
          for n in budgets),
        *_predicted(lab),
        *(_moments(lab, runs, settings) if moments else ()),
        *(_higher_order(lab) if moments else ()),
    )  # fmt: skip
    return Finding(
        verdict=agreement(*decisive),
        figures=figures,
        reading=f"DDIM, steps equal in time, lambda = {', '.join(f'{BUDGETS[n]:g} at {n}' for n in budgets)}; "
        f"{len(toy.dataset('emoji').images[::every])} colour pictures, d = 3072, {count} noises of two seeds, and "
        "digits, d = 64",
        methods=("Student's t on paired differences", "sign flips", "sign test of the median"),
        assumption="our re-implementation of the published code (K5), run in float32",
        remark="So a figure made with the published commands, which leave kappa at 0, is none of Algorithm 1's. Nor "
        "does rounding noise gain here, by either distance. In float16, or in d = 65536, the expression is not a "
        "number, or noise alone (K4). On a multistep DPM-Solver the vector that is turned is ten and more times as "
        "long: all that is left of it is rounding.",
        data=_data(lab, runs),
    )


def _predicted(lab: FlowBenchmark) -> tuple[Measured, ...]:
    """Return the size of the noise at the first step, as predicted, and that of the published expression over it."""
    u = lab.x.float()
    figures = []
    for n, damping in BUDGETS.items():
        size = predicted_deviation(u, damping)
        released, _ = ReleasedLML(damping, 0.0).correct(u, Memory())
        found = (released.double() - u.double()).norm(dim=1) / u.double().norm(dim=1)
        name = f"d = 3072, {n} steps: rounding noise of the first"
        figures += [
            Measured(f"{name}, predicted share of |u|", float(size.mean()), basis="K4"),
            Measured(f"{name}, measured over predicted", float((found / size).mean()), basis="K4"),
        ]
    return tuple(figures)


def _moments(lab: FlowBenchmark, runs: dict[int, _Run], settings: Settings) -> tuple[Measured, ...]:
    """Return differences of Frechet distances, which look at the moments of all samples at once."""
    frechet = FrechetPCA(lab.final)
    figures = []
    for n, run in runs.items():
        value = frechet(run.ends["base"])
        for first, second in (("float32", "base"), ("noise", "base"), ("float32", "noise")):
            found = difference(frechet, run.ends[first], run.ends[second], repeats=100, generator=settings.generator(n))
            name = f"{n} steps, Frechet distance: {first} minus {second}, share of the base's"
            relative = Interval(*(x / value for x in found))
            figures.append(_ranged(name, relative, f"95 %, bootstrap; {frechet.remark(len(lab.x))}"))
    return tuple(figures)


def _higher_order(lab: FlowBenchmark) -> tuple[Measured, ...]:
    """Return what becomes of the multistep DPM-Solver of third order at 10 evaluations."""
    single = replace(lab, x=lab.x[:_FEW].float(), exact=lab.exact[:_FEW])
    base, released = (single.errors("dpm-solver-3m", "log-snr", 10, arm).numpy()
                      for arm in (NoCorrection(), ReleasedLML(BUDGETS[10], 0.0)))  # fmt: skip
    defined = np.isfinite(released)
    found = float(released[defined].mean() / base.mean()) if defined.any() else math.inf
    return (
        Measured("DPM-Solver-3, 10 steps: error of released float32 over its base's", found,
                 basis="no part of the verdict; samples that are numbers"),
        Measured("DPM-Solver-3, 10 steps: share of samples that are not numbers", float(1 - defined.mean())),
    )  # fmt: skip


def _data(lab: FlowBenchmark, runs: dict[int, _Run]) -> dict[str, np.ndarray]:
    """Return errors (arms, budgets, B), and the pictures of the first noises at the largest budget."""
    last = runs[max(runs)]
    rows = torch.stack([*(last.ends[name][:_SHOWN] for name in _ARMS), lab.exact[:_SHOWN]])
    return {
        "evaluations": np.array(list(runs)),
        "errors": np.array([[run.errors[name] for run in runs.values()] for name in _ARMS]),
        "pictures": pixels(rows).view(len(rows), -1, *lab.shape).movedim(2, -1).numpy(),
    }


def draw_released_quality(finding: Finding) -> Figure:
    """Draw the errors of all arms, and the same noises through each of them."""
    figure, (errors, strip) = panels(2, width=3.9, height=3.1)
    data = finding.data
    names = ("base", "released, float64", "released, float32", "noise of K4's size")
    colours = (COLOURS["target"], COLOURS["other"], COLOURS["literal"], COLOURS["control"])
    count = len(data["evaluations"])
    for k, (name, colour) in enumerate(zip(names, colours, strict=True)):
        found = [mean_interval(x) for x in data["errors"][k]]
        middle = np.array([e.value for e in found])
        bars = np.array([[e.value - e.low for e in found], [e.high - e.value for e in found]])
        places = np.arange(count) + 0.14 * (k - 1.5)
        errors.errorbar(places, middle, yerr=bars, fmt="o", ms=4, lw=1, color=colour, label=name)
    errors.set_xticks(np.arange(count), [f"{n} steps" for n in data["evaluations"]])
    errors.set(xlim=(-0.5, count - 0.5), ylim=(0, None), ylabel="distance to the flow's endpoint")
    errors.set_title(r"DDIM, $\kappa = 0$, d = 3072", loc="left")
    errors.legend(loc="upper left", fontsize=7)
    rows = [np.concatenate(list(row), axis=1) for row in data["pictures"]]
    strip.imshow(np.concatenate(rows), interpolation="nearest", aspect="equal")
    height = rows[0].shape[0]
    strip.set_yticks([height * (i + 0.5) for i in range(len(rows))], [*names, "the flow's endpoint"])
    strip.set(xticks=[])
    strip.tick_params(length=0)
    strip.spines[:].set_visible(False)
    strip.set_title(f"{max(data['evaluations'])} steps, the same noises", loc="left")
    return figure
