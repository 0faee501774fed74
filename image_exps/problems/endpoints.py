r"""Where a sampler ends, against where the exact probability flow ends from the same noise.

With an exact score the endpoint of the flow is the one right answer for every starting noise: the error of a sample is
a number of its own, and two samplers are compared noise by noise. The targets are those
of `image_exps.problems.targets`, and time runs from 1 to 1e-3 on the linear variance-preserving schedule.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import torch
from torch import Tensor

import toy
from image_exps.problems.seeds import sample_generators, starting_noise
from image_exps.problems.targets import final_level, levels
from image_exps.problems.targets import target as find_target
from lml.arguments import check_integer
from lml.controls import ElementNoise, Extrapolation, LevelShift, NormOnly, OtherSample, RandomTurn
from lml.correction import LML, Correction, NoCorrection
from lml.samplers import SAMPLERS, Level, NoiseModel, sample
from toy import DataMixture, ExactTarget
from toy.levels import Spacing

__all__ = [
    "EVALUATIONS",
    "NOISES",
    "Endpoints",
    "FlowBenchmark",
    "compared_corrections",
    "flow_benchmark",
    "flow_endpoints",
    "reference",
    "rms",
]

#: Evaluations of the network at which samplers are compared; the bases here take one a step.
EVALUATIONS = (5, 10, 20)

#: Relative sizes of the noise on every element in `compared_corrections`.
NOISES = (0.1, 0.2)

# Steps of the third-order reference; half as many estimate its error, and DOP853 checks it on the first few samples.
_REFERENCE_STEPS = 160
_CHECKED = 8


def rms(x: Tensor) -> Tensor:
    """Return root mean squares of the rows, shape (B,)."""
    return x.square().mean(1).sqrt()


@dataclass(frozen=True)
class FlowBenchmark:
    """A target with noises and the endpoints of the exact flow from them.

    Attributes:
        target: the data, at ``alpha = 1, sigma = 0``.
        model: its exact noise prediction.
        x: starting noises, shape (B, d).
        exact: endpoints of the probability flow, shape (B, d).
        refinement: mean error of ``exact``'s samples at half as many steps, an upper estimate of its own.
        disagreement: mean distance to DOP853 at a relative tolerance of 1e-9, on the first samples.
    """

    target: ExactTarget
    model: NoiseModel
    x: Tensor
    exact: Tensor
    refinement: float
    disagreement: float

    def endpoints(self, base: str, spacing: Spacing, evaluations: int, arm: Correction) -> Tensor:
        """Return where a sampler ends, shape (B, d)."""
        return _run(self.model, self.x, base, spacing, evaluations, arm)

    def errors(self, base: str, spacing: Spacing, evaluations: int, arm: Correction) -> Tensor:
        """Return the error of every sample, its root mean square over the dimensions, shape (B,)."""
        return self.error(self.endpoints(base, spacing, evaluations, arm))

    def error(self, ends: Tensor) -> Tensor:
        """Return the distance of endpoints (B, d) from the flow's, root mean squares over the dimensions, (B,)."""
        return rms(ends - self.exact)

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of one sample; (d,) of a target that is no mixture over pictures."""
        return self.target.shape if isinstance(self.target, DataMixture) else (self.target.dim,)

    @property
    def final(self) -> ExactTarget:
        """The exact distribution at the last level."""
        level = final_level()
        return self.target.diffuse(level.alpha, level.sigma)


def _run(
    model: NoiseModel, x: Tensor, base: str, spacing: Spacing, steps: int, correction: Correction | None = None
) -> Tensor:
    return sample(SAMPLERS[base], model, x, levels(steps, spacing), correction)


def reference(
    model: NoiseModel, x: Tensor, steps: int = _REFERENCE_STEPS, spaced: Callable[[int], list[Level]] = levels
) -> Tensor:
    """Return the endpoint of the flow by DPM-Solver++ of third order, shape of ``x``.

    Args:
        model: whose flow.
        x: noises.
        steps: how many.
        spaced: the levels of so many steps, equal in log-SNR.
    """
    return sample(SAMPLERS["dpm-solver++-3m"], model, x, spaced(steps))


class Endpoints(NamedTuple):
    """Where the exact flow of a model ends.

    Attributes:
        exact: the endpoints, shape of the noises.
        refinement: how far they are from those of half as many steps, root mean squares over the dimensions, (B,): an
            upper estimate of their own error, which for third order is about a seventh of it.
    """

    exact: Tensor
    refinement: Tensor


def flow_endpoints(
    model: NoiseModel, x: Tensor, steps: int = _REFERENCE_STEPS, spaced: Callable[[int], list[Level]] = levels
) -> Endpoints:
    """Return the endpoints of the flow of any noise model, exact or a network, from noises of shape (B, ...).

    It costs ``3/2 steps`` evaluations. A network is a function that is less smooth than an exact score: what its
    endpoints are worth is in ``refinement``, and nowhere else. Of a model with another schedule than the linear one,
    ``spaced`` has its levels.

    Raises:
        ValueError: for no noise, or fewer than four steps.
    """
    if len(x) == 0:
        raise ValueError(f"x must hold at least one noise, got shape {tuple(x.shape)}")
    check_integer(steps, "steps", least=4)
    exact = reference(model, x, steps, spaced)
    return Endpoints(exact, rms((exact - reference(model, x, steps // 2, spaced)).flatten(1)))


def flow_benchmark(name: str, count: int, seeds: Sequence[int]) -> FlowBenchmark:
    """Return noises and endpoints on one of `image_exps.problems.targets.TARGETS`, equally many of each seed.

    Cached: the endpoints cost more than everything that is compared with them.

    Raises:
        ValueError: for a target that is not known, or a count that the seeds do not divide.
    """
    if count % len(seeds):
        raise ValueError(f"count must be a multiple of the number of seeds, {len(seeds)}, got {count}")
    return _flow_benchmark(name, count, tuple(seeds), _REFERENCE_STEPS)


@lru_cache(maxsize=6)
def _flow_benchmark(name: str, count: int, seeds: tuple[int, ...], steps: int) -> FlowBenchmark:
    target = find_target(name).distribution
    model = toy.noise_model(target)
    x = torch.cat([starting_noise(seed, 0, count // len(seeds), (target.dim,)) for seed in seeds])
    exact = reference(model, x, steps)
    few = x[:_CHECKED]
    start, end = levels(1)
    truth = toy.probability_flow(target, few, start, end, rtol=1e-9, atol=1e-10)
    return FlowBenchmark(
        target,
        model,
        x,
        exact,
        refinement=float(rms(exact[:_CHECKED] - reference(model, few, steps // 2)).mean()),
        disagreement=float(rms(exact[:_CHECKED] - truth).mean()),
    )


def compared_corrections(lml: LML, count: int, seed: int) -> dict[str, Correction]:
    """Return the base, LML and the controls of claim Q2 by name.

    Where noise is drawn there is a generator for each of ``count`` samples: the corrections serve one run. The controls
    draw from the same seeds, as the arms of a sweep do.
    """

    def generators() -> list[torch.Generator]:
        return sample_generators(seed, 0, count, "correction")

    return {
        "base": NoCorrection(),
        "LML": lml,
        "extrapolation": Extrapolation(lml),
        "norm only": NormOnly(lml),
        "random turn": RandomTurn(lml, generators()),
        "other sample": OtherSample(lml),
        "higher level": LevelShift(lml, 1),
        "lower level": LevelShift(lml, -1),
        **{f"element noise {size:.0%}": ElementNoise(size, generators()) for size in NOISES},
    }
