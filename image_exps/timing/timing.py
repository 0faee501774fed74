"""Time of a sampler with and without LML, in one process: interleaved, network apart, medians with their spread.

A shared machine drifts, so the arms of a comparison take turns: one generation of each, in an order that turns with the
repetition, is one repetition, and ratios are formed within it. The clock is the host's on a CPU and the device's own on
CUDA, where events are placed in the stream and read at the end: nothing waits inside of what is timed.
"""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import torch
from torch import Tensor

from image_exps.samplers.names import check_known
from image_exps.samplers.pipeline_sampler import PIPELINE_BASES, pipeline_sampler
from image_exps.samplers.schedulers import make_scheduler
from lml.arguments import check_integer

__all__ = [
    "Clock",
    "CudaClock",
    "HostClock",
    "Predictor",
    "Spread",
    "Timing",
    "clock_of",
    "interleaved",
    "machine",
    "median_ratio",
    "spread",
    "time_samplers",
]

#: What a scheduler's loop calls: a sample (B, ...) and a timestep to an output (B, ...).
Predictor = Callable[[Tensor, Any], Tensor]

# Resamples behind the interval of a median ratio.
_RESAMPLES = 2000


class Clock(Protocol):
    """Marks points of time, and tells the seconds between two of them afterwards."""

    def mark(self) -> Any:
        """Return a mark of now, in the order of what was started."""
        ...

    def seconds(self, start: Any, stop: Any) -> float:
        """Return the time between two marks; what was started before ``stop`` is waited for."""
        ...


class HostClock:
    """The clock of the host, for devices on which a call returns when it is done."""

    def mark(self) -> float:
        return time.perf_counter()

    def seconds(self, start: float, stop: float) -> float:
        return stop - start


class CudaClock:
    """Events in the stream of a CUDA device."""

    def __init__(self, device: torch.device) -> None:
        self._device = device

    def mark(self) -> torch.cuda.Event:
        event = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
        event.record(torch.cuda.current_stream(self._device))
        return event

    def seconds(self, start: torch.cuda.Event, stop: torch.cuda.Event) -> float:
        stop.synchronize()
        return float(start.elapsed_time(stop)) / 1000


def clock_of(device: torch.device) -> Clock:
    """Return the clock of a device.

    Raises:
        ValueError: for a device that has none here.
    """
    if device.type == "cuda":
        return CudaClock(device)
    if device.type == "cpu":
        return HostClock()
    raise ValueError(f"device must be cpu or cuda to be timed, got {device.type!r}")


@dataclass(frozen=True, eq=False)
class Timing:
    """What the repetitions of one arm took, in seconds, each of shape (repetitions,).

    Attributes:
        arm: its name.
        evaluations: of the network, in one generation.
        seconds: of the whole generation.
        network: the part of it that the network's evaluations took.
    """

    arm: str
    evaluations: int
    seconds: np.ndarray
    network: np.ndarray


class Spread(NamedTuple):
    """A median with the quartiles around it."""

    median: float
    lower: float
    upper: float


def spread(values: np.ndarray) -> Spread:
    """Return the median and the quartiles of ``values``, shape (n,)."""
    lower, median, upper = np.quantile(values, (0.25, 0.5, 0.75))
    return Spread(float(median), float(lower), float(upper))


def median_ratio(above: np.ndarray, below: np.ndarray, seed: int = 0, level: float = 0.95) -> Spread:
    """Return the median of ``above/below``, formed within each repetition, with its bootstrap interval.

    Args:
        above: positive, shape (n,).
        below: of the same repetitions, positive, shape (n,).
        seed: of the resamples.
        level: of the interval.

    Raises:
        ValueError: for arrays of different shapes, or none.
    """
    if above.shape != below.shape or above.ndim != 1 or len(above) == 0:
        raise ValueError(f"above and below must have one shape (n,), got {above.shape} and {below.shape}")
    ratios = above / below
    rows = np.random.default_rng(seed).integers(len(ratios), size=(_RESAMPLES, len(ratios)))
    low, high = np.quantile(np.median(ratios[rows], axis=1), ((1 - level) / 2, (1 + level) / 2))
    return Spread(float(np.median(ratios)), float(low), float(high))


def interleaved(
    arms: Mapping[str, Callable[[], object]], repetitions: int, clock: Clock, *, warm_up: int = 1
) -> dict[str, np.ndarray]:
    """Return the seconds of every arm, shape (repetitions,), the arms taking turns.

    The order of the arms turns by one in each repetition, so that none always follows the same other one.

    Raises:
        ValueError: for no arm or fewer than one repetition.
    """
    if not arms:
        raise ValueError("arms must be at least one, got none")
    check_integer(repetitions, "repetitions")
    names = list(arms)
    for _ in range(warm_up):
        for name in names:
            arms[name]()
    marks: dict[str, list[tuple[Any, Any]]] = {name: [] for name in names}
    for repetition in range(repetitions):
        turn = repetition % len(names)
        for name in names[turn:] + names[:turn]:
            start = clock.mark()
            arms[name]()
            marks[name].append((start, clock.mark()))
    return {name: np.array([clock.seconds(*pair) for pair in pairs]) for name, pairs in marks.items()}


class _Watched:
    """A predictor that marks when it is entered and left."""

    def __init__(self, network: Predictor, clock: Clock) -> None:
        self._network, self._clock = network, clock
        self.marks: list[tuple[Any, Any]] = []

    def __call__(self, x: Tensor, timestep: Any) -> Tensor:
        start = self._clock.mark()
        output = self._network(x, timestep)
        self.marks.append((start, self._clock.mark()))
        return output


def time_samplers(
    network: Predictor,
    x: Tensor,
    own: Any,
    *,
    base: str = "ddim",
    evaluations: Sequence[int] = (5, 10, 15, 20, 30, 50, 100),
    repetitions: int = 200,
    warm_up: int = 1,
    progress: Callable[[int, int], None] | None = None,
) -> list[Timing]:
    """Time a base and LML on it for each number of evaluations, as a pipeline runs them: a scheduler's loop.

    Args:
        network: of the model, without gradients.
        x: the starting noise, on the device and in the dtype of the network.
        own: the model's scheduler, whose config is kept.
        base: one of `image_exps.samplers.pipeline_sampler.PIPELINE_BASES`.
        evaluations: the budgets; two arms each.
        repetitions: of every arm.
        warm_up: repetitions before them that are not counted.
        progress: called after each budget with how many are done and how many there are.

    Raises:
        ValueError: for an unknown base, a budget that it cannot spend, no budget, or too few repetitions.
    """
    check_known("base", base, PIPELINE_BASES)
    if not evaluations:
        raise ValueError("evaluations must name at least one budget, got none")
    clock = clock_of(x.device)
    samplers = [[pipeline_sampler(name, n) for name in (base, f"{base}/lml")] for n in evaluations]
    made = [[make_scheduler(s, own, latent=True) for s in pair] for pair in samplers]
    found: list[Timing] = []
    for i, (pair, schedulers) in enumerate(zip(samplers, made, strict=True)):
        watched = {s.name: _Watched(network, clock) for s in pair}
        arms = {
            s.name: _loop(scheduler, s.steps, watched[s.name], x) for s, scheduler in zip(pair, schedulers, strict=True)
        }
        seconds = interleaved(arms, repetitions, clock, warm_up=warm_up)
        for s in pair:
            calls = np.array([clock.seconds(*mark) for mark in watched[s.name].marks])
            each = calls.reshape(warm_up + repetitions, s.evaluations).sum(1)
            found.append(Timing(s.name, s.evaluations, seconds[s.name], each[warm_up:]))
        if progress is not None:
            progress(i + 1, len(samplers))
    return found


def _loop(scheduler: Any, steps: int, network: Predictor, x: Tensor) -> Callable[[], Tensor]:
    """Return one generation as a pipeline makes it, without what does not depend on the sampler."""

    def generation() -> Tensor:
        with torch.inference_mode():
            scheduler.set_timesteps(steps, device=x.device)
            sample: Tensor = x * scheduler.init_noise_sigma
            for timestep in scheduler.timesteps:
                output = network(scheduler.scale_model_input(sample, timestep), timestep)
                sample = scheduler.step(output, timestep, sample, return_dict=False)[0]
        return sample

    return generation


def machine(device: torch.device) -> dict[str, str]:
    """Return what a time depends on besides the code: processor or GPU, threads, versions."""
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "device": name,
        "cores": str(os.cpu_count() or 1),
        "threads": str(torch.get_num_threads()),
        "torch": torch.__version__,
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
    }


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            names = [line.partition(":")[2].strip() for line in file if line.startswith("model name")]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "CPU"
