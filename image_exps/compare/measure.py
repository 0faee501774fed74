"""Measure: every arm from the same noises, and its distance to where the network's own flow ends from them.

A distance is the root mean square over the dimensions of a sample, pixels or latents. What was computed is kept in a
folder, by a digest of network, noises, prompts and arm: an interrupted run goes on from there.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from image_exps.compare.flow import FIRST, Flow, flow_ends, reference_ends
from image_exps.compare.own_scheduler import own_ends
from image_exps.pipelines.network import Network
from image_exps.pipelines.prompted import PromptedModel
from image_exps.problems.endpoints import rms
from image_exps.samplers.arms import arm
from image_exps.samplers.table import algorithm
from lml.arguments import check_integer
from lml.samplers import Level, NoiseModel, sample
from theory_checks.ledger.statistics import Interval, mean_interval
from toy.fit_cache import cached_in, checksum

__all__ = [
    "OWN",
    "Comparison",
    "Row",
    "check_arms",
    "compare",
    "default_arms",
    "duration",
    "first_evaluation",
    "plain_base",
    "ratio",
]

#: The arm of the pipeline's own scheduler.
OWN = "own"

_SPACINGS = ("time", "log-snr", "karras")
_BASES = ("ddim", "ddim/lml", "dpm-solver++-2m", "dpm-solver++-2m/lml", "unipc-2", "ipndm-4")
_FLOW_BASES = ("euler-flow", "euler-flow/lml", "dpm-solver++-2m", "dpm-solver++-2m/lml", "unipc-2", "ipndm-4")


def default_arms(made: Network) -> tuple[str, ...]:
    """Return the arms that are compared by default: the pipeline's own scheduler, published samplers, LML on two.

    Flow-matching networks are sampled at equal steps of their own shifted time alone.
    """
    own = () if made.renderer is None else (OWN,)
    if made.flow:
        return (*own, *(_at(name, "time") for name in _FLOW_BASES))
    return (*own, *(_at(name, spacing) for spacing in _SPACINGS for name in _BASES))


def _at(name: str, spacing: str) -> str:
    base, slash, correction = name.partition("/")
    return f"{base}@{spacing}{slash}{correction}"


def plain_base(made: Network) -> str:
    """Return the arm that all others are held against: DDIM at equal steps of time, or Euler along a flow."""
    return "euler-flow@time" if made.flow else "ddim@time"


def check_arms(names: Sequence[str], made: Network) -> tuple[str, ...]:
    """Return the names of arms, each with its spacing, without repetitions; that of `plain_base` is among them.

    Raises:
        ValueError: for an arm that does not exist or is not for this network.
    """
    found = [_checked(name, made) for name in names]
    return tuple(dict.fromkeys((*found, *(() if plain_base(made) in found else (plain_base(made),)))))


def _checked(name: str, made: Network) -> str:
    if name == OWN:
        if made.renderer is None:
            raise ValueError(f"arms: {made.name} has no scheduler of its own, got {OWN!r}")
        return name
    found = arm(name)
    if algorithm(found.base).flow and not made.flow:
        raise ValueError(f"arms: {found.base} is for networks that predict a flow, got {name!r}")
    base, slash, correction = found.name.partition("/")
    return f"{base.partition('@')[0]}@{found.spacing}{slash}{correction}"


@dataclass(frozen=True)
class Row:
    """An arm in a number of evaluations.

    Attributes:
        arm: by name.
        evaluations: of the network.
        distances: of each sample to the end of the flow, (B,), ``None`` where it could not be measured.
        ends: of the samples, (B, ...), with no noise left or as the last level has it.
        reason: why it could not be measured.
        first: of the pipeline's own scheduler, the timestep that it takes pure noise for.
    """

    arm: str
    evaluations: int
    distances: np.ndarray | None = None
    ends: Tensor | None = None
    reason: str = ""
    first: float | None = None

    @property
    def mean(self) -> float:
        """Mean distance."""
        return float("nan") if self.distances is None else float(self.distances.mean())

    @property
    def rms(self) -> float:
        """Root mean square of the distances."""
        return float("nan") if self.distances is None else float(np.sqrt(np.square(self.distances).mean()))


@dataclass(frozen=True)
class Comparison:
    """What was measured.

    Attributes:
        made: the network.
        rows: arms by numbers of evaluations, in the order of both.
        flow: the reference.
        seed, count: of the noises.
        seconds: of one evaluation for all samples, and of the whole.
    """

    made: Network
    rows: tuple[Row, ...]
    flow: Flow
    seed: int
    count: int
    seconds: tuple[float, float] = (0.0, 0.0)

    def row(self, name: str, evaluations: int) -> Row:
        """Return the row of an arm."""
        return next(row for row in self.rows if (row.arm, row.evaluations) == (name, evaluations))

    @property
    def evaluations(self) -> tuple[int, ...]:
        """The numbers of evaluations."""
        return tuple(dict.fromkeys(row.evaluations for row in self.rows))


def ratio(one: np.ndarray, other: np.ndarray, comparisons: int = 1) -> Interval:
    """Return ``r``, the mean of ``one`` over that of ``other`` on the same samples, with its 95 % interval.

    The error of ``r`` is that of the mean of ``one - r other`` over the mean of ``other``; Student's interval.

    Source: Cochran 1977, Sampling Techniques, Eq. 6.4 (the ratio estimator).
    """
    r, mean = float(one.mean() / other.mean()), float(other.mean())
    return Interval(*(r + value / mean for value in mean_interval(one - r * other, comparisons=comparisons)))


class _Ends(NamedTuple):
    """Samples, (B, ...), the sigma left in them, and the first timestep of a pipeline's own scheduler."""

    x: Tensor
    sigma: float
    first: float


@dataclass
class _Counted:
    """A noise model that counts its evaluations and says so."""

    model: NoiseModel
    notify: Callable[[int], None]
    done: int = field(default=0)

    def __call__(self, x: Tensor, level: Level) -> Tensor:
        answer = self.model(x, level)
        self.add(1)
        return answer

    def add(self, count: int) -> None:
        self.done += count
        self.notify(self.done)


def first_evaluation(made: Network, x: Tensor) -> tuple[str, float]:
    """Return a digest of a network's answers at noises ``x``, and the seconds that one evaluation of all takes.

    Raises:
        ValueError: for a network that returns another shape, numbers that are not finite, or fails otherwise.
    """
    model, level = made.noise_model, made.levels(2)[1]
    try:
        model(x[:1], level)
        began = time.perf_counter()
        answer = model(x, level)
        seconds = time.perf_counter() - began
    except (RuntimeError, TypeError, IndexError, AttributeError) as error:  # what a network that does not fit raises
        said = " ".join(str(error).split())[:200]
        raise ValueError(f"the network of {made.name} cannot be evaluated on shape {tuple(x.shape)}: {said}") from error
    if not bool(torch.isfinite(answer).all()):
        raise ValueError(f"the network of {made.name} returns numbers that are not finite")
    # Six digits: enough to tell two networks, and blind to the order of a sum.
    answers = np.char.mod("%.5e", answer[:2].double().numpy()).tobytes()
    words = (model.prompts, model.first) if isinstance(model, PromptedModel) else getattr(model, "labels", None)
    return checksum(x, answers, words, str(made.schedule), made.times), seconds


def compare(
    made: Network,
    arms: Sequence[str],
    evaluations: Sequence[int],
    *,
    count: int = 32,
    seed: int = 0,
    folder: Path | None = None,
    announce: Callable[[str], None] = lambda _: None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Comparison:
    """Measure every arm in every number of evaluations.

    Args:
        made: the network.
        arms: names by `check_arms`.
        evaluations: of the network, at least one each.
        count: samples, at least four: half of them choose in `image_exps.compare.advice`, half report.
        seed: of the first sample; then one more each.
        folder: where what is computed is kept for another run; ``None`` keeps nothing.
        announce: given a sentence that says how long it will take.
        progress: evaluations of all samples that are done, and how many there will be at least.

    Raises:
        ValueError: for an argument that does not fit, or a network that cannot be evaluated.
    """
    check_integer(count, "count", least=4)
    numbers = tuple(dict.fromkeys(check_integer(n, "evaluations") for n in evaluations))
    if not numbers:
        raise ValueError("evaluations must be at least one number, got none")
    names = check_arms(arms, made)
    began = time.perf_counter()
    x = made.start(seed, count)
    digest, seconds = first_evaluation(made, x)
    total = len(names) * sum(numbers) + 3 * FIRST + 2
    before = ", less what is kept of a run before" if folder is not None and any(folder.glob("*.safetensors")) else ""
    announce(
        f"{count} samples, {len(names)} samplers, {', '.join(map(str, numbers))} evaluations: {total} evaluations of "
        f"{seconds:.2g} s, {duration(total * seconds)}{before}, and more if the reference needs more than {2 * FIRST}"
    )
    counted = _Counted(made.noise_model, lambda done: progress(done, max(done, total)))
    kept = _kept(folder, digest)
    ends: dict[tuple[str, int], _Ends | str] = {}
    for n in numbers:
        for name in names:
            ends[name, n] = _ends(made, counted, x, name, n, seed, kept)

    def nearest(flow: Tensor) -> float:
        found = [_mean(e.x - flow) for e in ends.values() if not isinstance(e, str) and torch.isfinite(e.x).all()]
        return min(found, default=0.0)

    def reference(spent: int) -> tuple[Tensor, Tensor]:
        found = kept(f"flow-{spent}", lambda: _pair(reference_ends(made, counted, x, spent)), counted, spent + 1)
        return found["x"], found["noise"]

    flow = flow_ends(made, x, nearest, reference)
    if not bool(torch.isfinite(flow.x).all()):
        raise ValueError(f"the flow of {made.name} does not end at finite numbers: there is nothing to compare with")
    rows = tuple(_row(name, n, ends[name, n], flow, made) for n in numbers for name in names)
    return Comparison(made, rows, flow, seed, count, (seconds, time.perf_counter() - began))


def duration(seconds: float) -> str:
    """Return a time in words."""
    if seconds < 100:
        return f"about {max(1, round(seconds))} s"
    return f"about {round(seconds / 60)} min" if seconds < 6000 else f"about {seconds / 3600:.1f} h"


def _mean(difference: Tensor) -> float:
    return float(rms(difference.flatten(1)).mean())


def _pair(found: tuple[Tensor, Tensor]) -> dict[str, Tensor]:
    return {"x": found[0].contiguous(), "noise": found[1].contiguous()}


def _kept(folder: Path | None, digest: str) -> Callable[..., dict[str, Tensor]]:
    """Return a function that computes tensors of a name, or takes them from the folder."""

    def kept(name: str, make: Callable[[], dict[str, Tensor]], counted: _Counted, cost: int) -> dict[str, Tensor]:
        before = counted.done
        if folder is None:
            return make()
        file = re.sub(r"[^\w.+@-]+", "_", name)[:100]
        key = checksum(digest, name)
        found = cached_in(folder / f"{file}-{key[:12]}.safetensors", key, make)
        if counted.done == before:
            counted.add(cost)
        return found

    return kept


def _ends(
    made: Network, counted: _Counted, x: Tensor, name: str, n: int, seed: int, kept: Callable[..., dict[str, Tensor]]
) -> _Ends | str:
    """Return where an arm ends and the sigma that is left there, or why it cannot be run."""
    last = made.levels(1)[-1].sigma

    def run() -> dict[str, Tensor]:
        if name == OWN:
            found = own_ends(made, x, n, lambda: counted.add(1))
            return {"x": found.x.contiguous(), "sigma": _number(found.sigma), "first": _number(found.first)}
        plan = arm(name).build(n, x[0].numel(), seed=seed, count=len(x), schedule=made.schedule, times=made.times)
        y = sample(plan.sampler, counted, x, plan.levels, plan.correction)
        return {"x": y.contiguous(), "sigma": _number(last), "first": _number(math.nan)}

    try:
        found = kept(f"{name}-{n}", run, counted, n)
    except ValueError as error:
        counted.add(n)
        return str(error)
    return _Ends(found["x"], float(found["sigma"]), float(found["first"]))


def _number(value: float) -> Tensor:
    return torch.tensor(value, dtype=torch.float64)


def _row(name: str, n: int, found: _Ends | str, flow: Flow, made: Network) -> Row:
    if isinstance(found, str):
        return Row(name, n, reason=found)
    if not bool(torch.isfinite(found.x).all()):
        return Row(name, n, reason="its samples are not finite")
    there = flow.x if found.sigma == flow.level.sigma else flow.at(found.sigma, straight=made.flow)
    distances = rms((found.x - there).flatten(1)).double().numpy()
    return Row(name, n, distances, found.x, first=None if math.isnan(found.first) else found.first)
