r"""Claim K5: the paper's published implementation is not its Algorithm 1.

Both turn a vector away from the one before it. Algorithm 1 turns the noise that the base is handed. The published code
(repository LML-diffusion-sampler, commit e19cbdc; `lml.schedulers.released`) hands its base the raw noise and turns
what the base adds to the linear part of its step:

- DDIM, ``x' = alpha' x0 + sigma' e``: the noise in the direction term alone. With ``r`` the turned noise,

      Algorithm 1: ``x' - x'_base = (sigma' - alpha' sigma/alpha)(r - e)``,   published: ``sigma' (r - e)``.

  The first factor is negative and of the order of the step, the second positive and is not, in the ratio
  ``-1/(e^h - 1)``: the published code goes the other way, and its errors do not shrink with the step.
- DPM-Solver: the increment ``u ~ h sigma' e``, whose square, and so the strength ``kappa |u|^2/lambda``, is smaller.
- Flow-matching Euler: the velocity. It is not checked here: at ``kappa = 0`` it is its base too, by the same algebra.

At ``kappa = 0``, the default of every published script, which no published command changes, both are their base in
exact arithmetic.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import toy
from lml.correction import LML, Memory, ReleasedLML
from lml.samplers import SAMPLERS, Level, Network, NoiseModel, State, sample, trajectory
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.statistics import mean_interval
from theory_checks.numerics.rounding_noise import predicted_deviation, turns_of

__all__ = ["STRENGTHS", "check_released", "draw_released"]

_U = torch.finfo(torch.float64).eps / 2
_DAMPING = 1e-3  # the paper's
_LOG_SNR = (-6.0, 2.0)
_STEPS = 10
_LIMIT_LOG_SNR = (-6.0, 0.0)  # before a sample commits to one digit, which the step decides where errors are large
_BASES = ("ddim", "dpm-solver-3m")

#: ``eta0`` of Algorithm 1 where ``|e|^2 = d``: a weak, a moderate and a strong correction.
STRENGTHS = (0.125, 0.25, 0.5)


@dataclass(frozen=True)
class _Recorder(ReleasedLML):
    """The published correction, with a note of every vector that it met and of what it made of it."""

    seen: list[tuple[Tensor, Tensor]] = field(default_factory=list)

    def correct(self, vector: Tensor, memory: Memory, progress: float = 0.0) -> tuple[Tensor, Memory]:
        turned, memory = super().correct(vector, memory, progress)
        self.seen.append((vector, turned))
        return turned, memory


def _levels(steps: int, log_snr: tuple[float, float] = _LOG_SNR) -> list[Level]:
    return toy.noise_levels(toy.noise_schedule("vp-linear"), steps, log_snr=log_snr)


@dataclass
class _Results:
    """What the runs of K5 gave: errors over their bounds, and the figures of each base, step and strength.

    Attributes:
        worst: errors over their bounds.
        at_zero: largest relative distance of the rounded expression from the base at ``kappa = 0``, float64.
        shares: size of the float32 rounding noise over that of its vector, by base, a step.
        predicted: the same over K4's prediction, all bases and steps.
        distances: between both codes over Algorithm 1's move from the base, all bases and strengths.
        factors: of the published move over Algorithm 1's, a DDIM step.
        same_way: in how many steps of samples the two moves do not oppose each other.
        ratios: ``|u|^2/|eps|^2`` of DPM-Solver-3, a step.
        residue: limit of the error of DDIM as the step falls, over its refinement error, by kind.
        data: arrays behind the picture.
    """

    worst: MaxError = field(default_factory=MaxError)
    at_zero: float = 0.0
    shares: dict[str, list[float]] = field(default_factory=lambda: {name: [] for name in _BASES})
    predicted: list[float] = field(default_factory=list)
    distances: list[float] = field(default_factory=list)
    factors: list[float] = field(default_factory=list)
    same_way: float = 0.0
    ratios: list[float] = field(default_factory=list)
    residue: dict[str, float] = field(default_factory=dict)
    data: dict[str, np.ndarray] = field(default_factory=lambda: {"strengths": np.array(STRENGTHS)})


def check_released(settings: Settings) -> Finding:
    """K5: the published implementation equals its base at ``kappa = 0`` and differs from Algorithm 1 above."""
    measured = _measure(settings)
    verdict, figures = _judge(measured)
    return _describe(verdict, figures, measured.data)


def _measure(settings: Settings) -> _Results:
    """Run both codes and their base on the digits, at ``kappa = 0`` and above."""
    target = toy.target("digits")
    model = toy.noise_model(target)
    levels = _levels(_STEPS)
    x = target.diffuse(levels[0].alpha, levels[0].sigma).sample(settings.pick(96, 512), generator=settings.generator())
    found = _Results()
    found.worst.update("bytes", 0.0)
    for name in track(_BASES, "kappa = 0, and above"):
        plain = sample(SAMPLERS[name], model, x, levels)
        _at_zero(found, name, plain, model, x, levels)
        _above_zero(found, name, plain, model, x, levels)
    found.factors, found.same_way = _one_step(model, x, levels, found.worst)
    found.ratios = _strength_ratios(model, x, levels)
    counts = np.array(settings.pick((64, 128, 256), (128, 256, 512)))
    found.data["counts"] = counts
    for kind in ("algorithm", "published"):
        errors = _errors(model, kind, counts.tolist(), settings)
        coarse, fine = 2 * errors[1] - errors[0], 2 * errors[2] - errors[1]
        found.residue[kind] = float(fine.norm() / (fine - coarse).norm())
        found.data[f"{kind}:error"] = np.array([float(e.norm()) for e in errors])
    found.data |= {"factors": np.array(found.factors), "ratios": np.array(found.ratios)}
    return found


def _at_zero(found: _Results, name: str, plain: Tensor, model: NoiseModel, x: Tensor, levels: list[Level]) -> None:
    """At ``kappa = 0``: form K3 against the base in bytes, the textbook expression against its rounding errors.

    The product and the quotient of the textbook expression are rounded, to 2 u of e in all, where lambda/|e|^2 of e is
    left; the norms are sums of d squares. K4 takes roundings to be independent, which holds for the first vector; later
    ones hold what the expression returned before.
    """
    base, d = SAMPLERS[name], x.shape[1]
    exact = sample(base, model, x, levels, ReleasedLML(_DAMPING, 0.0, textbook=False))
    found.worst.update("bytes", float((plain.view(torch.int64) != exact.view(torch.int64)).sum()))
    recorder = _Recorder(_DAMPING, 0.0)
    rounded = sample(base, model, x, levels, recorder)
    for vector, turned in recorder.seen:
        squared = vector.square().sum(1)
        bound = 2 * _U * (1 + squared / _DAMPING) + (d + 8) * _U
        found.worst.update("float64", float(((turned - vector).norm(dim=1) / squared.sqrt() / bound).max()))
    found.at_zero = max(found.at_zero, float((rounded - plain).norm() / plain.norm()))
    single = _Recorder(_DAMPING, 0.0)
    sample(base, model, x.float(), levels, single)
    for i, (vector, turned) in enumerate(single.seen):
        deviation = (turned.double() - vector.double()).norm(dim=1) / vector.double().norm(dim=1)
        ratio = (deviation / predicted_deviation(vector, _DAMPING)).numpy()
        found.shares[name].append(float(deviation.mean()))
        found.predicted.append(float(ratio.mean()))
        if i == 0:
            interval = mean_interval(ratio, level=1 - 1e-4, comparisons=len(_BASES))
            limit = (interval.high - interval.low) / 2 + 1 / d + 1 / turns_of(vector, _DAMPING)
            found.worst.update("float32", abs(interval.value - 1) / limit)


def _above_zero(found: _Results, name: str, plain: Tensor, model: NoiseModel, x: Tensor, levels: list[Level]) -> None:
    """At each strength: how far both codes move from the base, and from each other."""
    base, distances = SAMPLERS[name], []
    for strength in STRENGTHS:
        kappa = strength * _DAMPING / x.shape[1]
        algorithm = sample(base, model, x, levels, LML(_DAMPING, kappa, damping_mode="absolute"))
        published = sample(base, model, x, levels, ReleasedLML(_DAMPING, kappa, textbook=False))
        distances.append(float((published - algorithm).norm() / (algorithm - plain).norm()))
        found.data[f"{name}:algorithm:{strength:g}"] = (algorithm - plain).norm(dim=1).numpy()
        found.data[f"{name}:published:{strength:g}"] = (published - plain).norm(dim=1).numpy()
    found.data[f"{name}:distance"] = np.array(distances)
    found.distances += distances


def _judge(found: _Results) -> tuple[Verdict, tuple[Measured, ...]]:
    """Return the verdict with its figures: the codes differ by far more than rounding, and one tends to no flow."""
    least = min(found.distances)
    ddim, multistep = (found.shares[name] for name in _BASES)
    figures = (
        Measured("samples apart, over Algorithm 1's own move from the base, least", least, low=least,
                 high=max(found.distances),
                 basis=f"range over {', '.join(_BASES)} and eta0 {STRENGTHS}; {_STEPS} steps"),
        Measured("relative distance to the base at kappa = 0, textbook in float64 (control)", found.at_zero,
                 basis="rounding: the difference above is not one of implementation"),
        Measured("bytes that differ from the base at kappa = 0, form K3", found.worst["bytes"], limit=0, basis="exact"),
        *found.worst.figures(
            ("float64", "textbook at kappa = 0 in float64, deviation over its bound", "2 u (1 + |v|^2/lambda)"),
            ("float32", "first float32 deviation over K4's, minus 1, over its error", "interval, 1/d, 1/turns"),
            ("term", "difference of one DDIM step from its term, over rounding", "16 u of the terms"),
        ),
        _range("rounding noise at kappa = 0 in float32, DDIM, share of |eps|", np.mean(ddim), ddim, "range over steps"),
        _range("the same on DPM-Solver-3, share of |u|", np.mean(multistep), multistep, "range over steps"),
        _range("deviation in float32 over K4's prediction, all steps", np.mean(found.predicted), found.predicted,
               "over steps; low where the input was the last output"),
        _range("published move over Algorithm 1's in one DDIM step", np.median(found.factors), found.factors,
               "over steps; -1/(e^h - 1) in closed form: the other way"),
        Measured("steps in which the two moves do not oppose each other", found.same_way, limit=0,
                 basis="every sample"),
        _range("|u|^2 over |eps|^2 on DPM-Solver-3: the strength that is left", np.median(found.ratios), found.ratios,
               "median and range over steps"),
        Measured("published on DDIM: limit of the error as h falls, over its refinement error",
                 found.residue["published"], basis="above 10: it does not tend to the flow"),
        Measured("Algorithm 1 on DDIM, the same (control)", found.residue["algorithm"], limit=1, basis="it does"),
    )  # fmt: skip
    differs = least > max(0.05, 1e6 * found.at_zero) and found.residue["published"] > 10
    return (agreement(*figures) if differs else Verdict.OPEN), figures


def _range(name: str, value: np.floating, values: list[float], basis: str) -> Measured:
    return Measured(name, float(value), low=min(values), high=max(values), basis=basis)


def _describe(verdict: Verdict, figures: tuple[Measured, ...], data: dict[str, np.ndarray]) -> Finding:
    return Finding(
        verdict=verdict,
        figures=figures,
        reading="the formulas of the public source (LML-diffusion-sampler, commit e19cbdc) on DDIM and DPM-Solver, "
        f"written again; digits, lambda = {_DAMPING:g} absolute, {_STEPS} equal steps of log-SNR "
        f"from {_LOG_SNR[0]:g} to {_LOG_SNR[1]:g}",
        methods=(
            "samples of both, same start",
            "the term of one step in closed form",
            "K4's error analysis, without a fitted constant",
        ),
        remark="At kappa = 0, where every published command leaves it, the published code is its base plus "
        "rounding noise in float32. With kappa > 0 on DDIM it moves against Algorithm 1 and does not tend to the "
        "probability flow. The published memory also survives from one generation to the next; ours does not.",
        data=data,
    )


def _one_step(model: NoiseModel, x: Tensor, levels: list[Level], worst: MaxError) -> tuple[list[float], float]:
    """Compare one DDIM step from each state of the base's trajectory; return the factor a step and how many agree."""
    base = SAMPLERS["ddim"]
    kappa = 0.25 * _DAMPING / x.shape[1]
    algorithm, published = LML(_DAMPING, kappa, damping_mode="absolute"), ReleasedLML(_DAMPING, kappa, textbook=False)
    factors, same_way, past = [], 0.0, None
    here = x
    for i, (state, info) in enumerate(trajectory(base, model, x, levels)):
        e = info.evaluations[0].raw
        if past is not None:
            start = State(here, Memory((past,)))
            ends = {c: base.step(start, Network(model, c, _STEPS), levels, i)[0].x for c in (algorithm, published)}
            now, after = levels[i], levels[i + 1]
            r = algorithm.direction(e, (past,))
            term = -after.alpha * now.sigma / now.alpha * (r - e)
            size = after.alpha / now.alpha * (here.norm(dim=1) + now.sigma * e.norm(dim=1)) + after.sigma * e.norm(
                dim=1
            )
            gap = (ends[algorithm] - ends[published] - term).norm(dim=1)
            worst.update("term", float((gap / (16 * _U * size)).max()))
            moves = {c: ends[c] - state.x for c in ends}
            along = (moves[published] * moves[algorithm]).sum(1)
            same_way += float((along >= 0).sum())
            factors.append(float((along / moves[algorithm].square().sum(1)).median()))
        past, here = e, state.x
    return factors, same_way


def _strength_ratios(model: NoiseModel, x: Tensor, levels: list[Level]) -> list[float]:
    """Return the median of ``|u|^2/|e|^2`` in each step of DPM-Solver-3."""
    recorder = _Recorder(_DAMPING, 0.0, textbook=False)
    infos = [info for _, info in trajectory(SAMPLERS["dpm-solver-3m"], model, x, levels, recorder)]
    return [
        float((u.square().sum(1) / info.evaluations[0].raw.square().sum(1)).median())
        for (u, _), info in zip(recorder.seen, infos, strict=True)
    ]


def _errors(model: NoiseModel, kind: str, counts: list[int], settings: Settings) -> list[Tensor]:
    """Return the errors of DDIM with a correction against the exact flow, (B, d) for each count of steps."""
    target = toy.target("digits")
    start, end = _levels(1, _LIMIT_LOG_SNR)
    x = target.diffuse(start.alpha, start.sigma).sample(4, generator=settings.generator(1))
    exact = toy.probability_flow(target, x, start, end)
    kappa = 0.25 * _DAMPING / target.dim
    correction = {
        "algorithm": LML(_DAMPING, kappa, damping_mode="absolute"),
        "published": ReleasedLML(_DAMPING, kappa, textbook=False),
    }[kind]
    return [sample(SAMPLERS["ddim"], model, x, _levels(n, _LIMIT_LOG_SNR), correction) - exact for n in counts]


def draw_released(finding: Finding) -> Figure:
    """Draw how far either moves from its base, and by which factor the moves of one DDIM step differ."""
    figure, axes = panels(3, width=2.9, height=2.7)
    strengths = finding.data["strengths"]
    for axis, name, title in zip(axes, _BASES, ("DDIM", "DPM-Solver-3"), strict=False):
        for kind, colour, label in (("algorithm", "lml", "Algorithm 1"), ("published", "literal", "published code")):
            moves = [float(finding.data[f"{name}:{kind}:{s:g}"].mean()) for s in strengths]
            axis.loglog(strengths, moves, "o-", color=COLOURS[colour], ms=4, label=label)
        axis.set_xticks(strengths, [f"{s:g}" for s in strengths])
        axis.minorticks_off()
        axis.set(xlabel=r"$\eta_0 = \kappa d/\lambda$")
        axis.set_title(title, loc="left")
    axes[0].set_ylabel("distance from the base's samples")
    axes[0].legend(loc="best")
    counts = finding.data["counts"]
    for kind, colour in (("algorithm", "lml"), ("published", "literal")):
        axes[2].loglog(counts, finding.data[f"{kind}:error"], "o-", color=COLOURS[colour], ms=4)
    axes[2].set_xticks(counts, [str(n) for n in counts])
    axes[2].minorticks_off()
    axes[2].set(xlabel="steps", ylabel="distance from the exact flow")
    axes[2].set_title(r"DDIM, $\eta_0 = 1/4$", loc="left")
    return figure
