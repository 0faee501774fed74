r"""Are two implementations one algorithm? Path by path in float64, on the same levels, and where they part.

Where one of the two leaves its levels to whoever calls it, it is given those of the other. Both then start from the
same samples of the same exact target. Every evaluation of one is compared with that of the other, in the size of the
data, ``x/(alpha^2 + sigma^2)^(1/2)``, so that conventions do not matter. Samplers that draw are compared twice: without
noise, where what is left is the drift, and with every normal number equal to one, which shows how much they add.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor

from image_exps.judge.functions import grid_levels
from image_exps.judge.judged import Grid, Judged, Trajectory
from image_exps.judge.levels import own_levels
from image_exps.judge.noise import fixed_noise
from image_exps.judge.predictors import Budget, ExactPredictor, Limited
from image_exps.judge.right import chance, exact_start, problem
from lml.samplers import Level

__all__ = ["SAME_COUNTS", "Same", "judge_same"]

#: Numbers of steps: below and above 15, where published solvers change their last steps.
SAME_COUNTS = (6, 12, 24)

_TARGET, _SAMPLES = "random-8d", 16
# What two orders of the same float64 arithmetic leave, and what float32 tables of levels do.
_EQUAL, _SINGLE, _LEVELS = 1e-9, 1e-5, 1e-5


@dataclass(frozen=True)
class Same:
    """How two samplers compare.

    Attributes:
        other: the second one, by name.
        levels: largest difference of their levels in half-log-SNR; ``None`` if the other was given those of the first.
        differences: largest difference of their ends, relative to the size of the samples, one a count.
        counts: of steps.
        parts: where they part, in words; empty if they do not.
        drawn: whether noise was held fixed.
    """

    other: str
    levels: float | None
    differences: tuple[float, ...]
    counts: tuple[int, ...]
    parts: tuple[str, ...] = field(default_factory=tuple)
    drawn: bool = False

    @property
    def same(self) -> bool:
        """Whether they are one algorithm on the same levels, at every number of steps."""
        return not self.parts and max(self.differences) <= _SINGLE

    @property
    def sentence(self) -> str:
        """What a referee would sign."""
        worst = max(self.differences)
        counts = ", ".join(map(str, self.counts))
        if self.same:
            held = ", with noise held fixed" if self.drawn else ""
            single = "" if worst <= _EQUAL else ", the rounding of tables in float32"
            return f"the same algorithm as {self.other}: in {counts} steps they agree to {worst:.0e}{single}{held}"
        where = "; ".join(self.parts) or "from the first step on"
        return f"not the same as {self.other}: in {counts} steps they differ by up to {worst:.2g}. {where}"


def judge_same(
    judged: Judged, other: Judged, counts: Sequence[int] = SAME_COUNTS, *, grid: Grid | None = None, seed: int = 0
) -> Same:
    """Return how two samplers compare.

    Args:
        judged: the first.
        other: the second.
        counts: numbers of steps.
        grid: where levels lie; the sampler's own on a real model by default.
        seed: of the samples.

    Raises:
        CannotRunError: as `Judged.run`.
    """
    grid = grid or Grid("model")
    if judged.free_levels and not other.free_levels:
        turned = judge_same(other, judged, counts, grid=grid, seed=seed)
        return Same(other.name, turned.levels, turned.differences, turned.counts, turned.parts, turned.drawn)
    drawn = chance(judged, grid=grid) or chance(other, grid=grid)
    gaps, differences, parts = list[float](), list[float](), list[str]()
    for n in counts:
        levels = _levels(judged, n, grid)
        given = tuple(levels) if other.free_levels else None
        mine = tuple(levels) if judged.free_levels else None
        if given is None:
            gaps.append(_gap(levels, _levels(other, n, grid)))
        found = [
            _compare(judged, other, n, grid, mine, given, seed, noise)
            for noise in ((0.0, 1.0) if drawn else (None,))
        ]  # fmt: skip
        differences.append(max(each[0] for each in found))
        for (difference, where), noise in zip(found, (0.0, 1.0), strict=False):
            if difference > _SINGLE:
                label = "" if not drawn else "without noise: " if noise == 0 else "the noise that is added: "
                parts.append(f"{label}{where} ({n} steps)")
    if gaps and max(gaps) > _LEVELS:
        parts.insert(0, f"levels: their half-log-SNRs are up to {max(gaps):.3g} apart")
    return Same(other.name, max(gaps) if gaps else None, tuple(differences), tuple(counts), _merged(parts), drawn)


def _merged(parts: Sequence[str]) -> tuple[str, ...]:
    """Return the places where they part, one of each kind: that of the fewest steps."""
    seen: dict[str, str] = {}
    for part in parts:
        kind = part[: part.rfind(":")] if ":" in part else part.rpartition(" (")[0]
        seen.setdefault(kind, part)
    return tuple(seen.values())


def _levels(judged: Judged, steps: int, grid: Grid) -> list[Level]:
    """Return the levels that a run steps through, the last included."""
    if judged.free_levels:
        # Functions of k-diffusion are given a last sigma of zero; the others end at the model's own last level.
        return grid_levels(steps, grid, "karras", final_zero=judged.kind == "k-diffusion function")
    found = own_levels(judged, steps, grid)
    asked = [found.asked[0]]
    for level in found.asked[1:]:
        if level.half_log_snr > asked[-1].half_log_snr + 1e-9:
            asked.append(level)
    if len(asked) >= 2 * steps - 1 > steps:  # those in the middle of a step
        asked = asked[::2]
    a, b = found.end
    if found.jump or not (a > 0 and abs(b) > 1e-6 * a):
        return [*asked, Level(1.0, 0.0)]
    end = Level(a, abs(b))
    # What draws shows no level of its own at its end: the point of data is spread.
    last = end if end.half_log_snr > asked[-1].half_log_snr + 1e-9 else asked.pop()
    return [*asked, last]


def _gap(first: Sequence[Level], second: Sequence[Level]) -> float:
    """Return the largest difference of levels in half-log-SNR; infinite if one ends without noise, or has more."""
    if len(first) != len(second):
        return math.inf
    gaps = [0.0]
    for a, b in zip(first, second, strict=True):
        if (a.sigma == 0) != (b.sigma == 0):
            return math.inf
        # Beyond a signal of 1e-3 nothing of the data is seen.
        if a.sigma > 0 and max(a.alpha / a.sigma, b.alpha / b.sigma) > 1e-3:
            gaps.append(abs(a.half_log_snr - b.half_log_snr))
    return max(gaps)


def _run(
    judged: Judged, steps: int, grid: Grid, levels: tuple[Level, ...] | None, seed: int, noise: float | None
) -> Trajectory:
    target = problem(_TARGET)
    shape = torch.Size((_SAMPLES, target.dim))
    predictor = Limited(ExactPredictor(target), shape, Budget(40 * steps + 400))
    with nullcontext() if noise is None else fixed_noise(noise):
        return judged.run(predictor, exact_start(target, _SAMPLES, seed), steps, grid=grid, levels=levels, seed=seed)


def _compare(
    judged: Judged,
    other: Judged,
    steps: int,
    grid: Grid,
    mine: tuple[Level, ...] | None,
    given: tuple[Level, ...] | None,
    seed: int,
    noise: float | None,
) -> tuple[float, str]:
    """Return the relative difference of the ends, and where two runs part."""
    a = _run(judged, steps, grid, mine, seed, noise)
    b = _run(other, steps, grid, given, seed, noise)
    ends = [_sized(run.end.double(), _end_size(who, steps, grid, levels))
            for run, who, levels in ((a, judged, mine), (b, other, given))]  # fmt: skip
    size = float(ends[0].abs().max())
    difference = float((ends[0] - ends[1]).abs().max()) / max(size, 1e-300)
    if not math.isfinite(difference):
        return math.inf, "one of them is not finite"
    return difference, _where(a, b) if difference > _EQUAL else ""


def _end_size(judged: Judged, steps: int, grid: Grid, levels: tuple[Level, ...] | None) -> float:
    """Return the length of ``(alpha, sigma)`` in the coordinates in which a sampler ends."""
    with fixed_noise(0.0):
        end = own_levels(judged, steps, grid, levels).end
    return math.hypot(*end)


def _sized(x: Tensor, size: float) -> Tensor:
    return x / size


def _where(a: Trajectory, b: Trajectory) -> str:
    """Return where two runs part, by the first evaluation that differs."""
    if len(a.calls) != len(b.calls):
        return f"evaluations: {len(a.calls)} and {len(b.calls)}"
    for k, (first, second) in enumerate(zip(a.calls, b.calls, strict=True)):
        x, y = (call.x.double() / math.hypot(call.level.alpha, call.level.sigma) for call in (first, second))
        one, two = first.level, second.level
        # Beyond a signal of 1e-3 nothing of the data is seen.
        if (
            abs(one.half_log_snr - two.half_log_snr) > _LEVELS
            and max(one.alpha / one.sigma, two.alpha / two.sigma) > 1e-3
        ):
            return f"levels: evaluation {k + 1} is at half-log-SNR {one.half_log_snr:.4f} and {two.half_log_snr:.4f}"
        if float((x - y).abs().max()) > _EQUAL * float(x.abs().max()):
            return _step_name(a, k)
    return "last step: every evaluation agrees, and what is made of them at the end does not"


def _step_name(a: Trajectory, k: int) -> str:
    told = [call.level.half_log_snr for call in a.calls]
    step = 1 + sum(after > now + 1e-9 for now, after in itertools.pairwise(told[:k]))
    if k <= 1:
        return ("start: they do not begin with the same sample", "first step")[k]
    if k == len(a.calls) - 1:
        return "last step but one"
    return f"history: from step {step} on, after the first agreed"
