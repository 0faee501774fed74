r"""The targets on which samplers are compared, all with an exact noise prediction and closed-form moments.

- Smoothed data, ``(1/N) sum_i N(y_i, tau^2 I)``: real pictures; a good sampler finds a picture of the data.
- Mixtures of low-rank Gaussians fitted to them (`toy.low_rank`): a good sampler makes pictures that no one has seen.
- Analytic mixtures in 2 and 16 dimensions, where every distance can be had without features.

Those that are not *reported* are for choices: settings are tuned there, and judged on the others. Other packages add
targets through the entry-point group ``lml.targets``: an entry names a function that returns a `Target`.

``tau`` is 0.1 for all data, a twentieth of the range [-1, 1] of a pixel: the eye sees pictures still, while the score
is smooth, of slope at most ``1/tau^2`` or so, where sampling ends: the noise left at time 1e-3 is ``sigma = 0.01``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from types import MappingProxyType

import torch

import toy
from image_exps.problems.names import GROUP
from image_exps.utils.plugins import load_functions
from lml.arguments import check_choice
from lml.samplers import Level, NoiseModel
from toy import DataMixture, ExactTarget, LowRankFit, Pictures
from toy.levels import Spacing, level_at

__all__ = [
    "FITS",
    "GROUP",
    "SCHEDULE",
    "TARGETS",
    "TAU",
    "TIMES",
    "Target",
    "final_level",
    "find_targets",
    "level_of",
    "levels",
    "target",
]

#: Standard deviation of the smoothed data.
TAU = 0.1

#: The schedule of every trajectory, the linear variance-preserving one.
SCHEDULE = toy.noise_schedule("vp-linear")

#: First and last time of every trajectory.
TIMES = (1.0, 1e-3)

# In this dimension and above results are in float32: along a trajectory eps is off by 2e-5 of itself at most,
# where a hundred steps of a solver leave 1e-2.
_SINGLE_FROM = 784


@dataclass(frozen=True)
class Target:
    """A distribution to sample from, with what is known of it.

    Attributes:
        name: as in `TARGETS`.
        distribution: the data distribution, at ``alpha = 1, sigma = 0``.
        shape: of one sample: (channels, height, width) for pictures, else (d,).
        pictures: the real pictures behind it, if any.
        dtype: of its results.
        reported: whether figures on it count; else it is for tuning.
    """

    name: str
    distribution: ExactTarget
    shape: tuple[int, ...]
    pictures: Pictures | None
    dtype: torch.dtype
    reported: bool

    @property
    def dim(self) -> int:
        """The dimension d."""
        return self.distribution.dim

    def model(self) -> NoiseModel:
        """Return the exact noise prediction, for samples of any shape (B, ...) that has d numbers."""
        return toy.noise_model(self.distribution)

    def final(self) -> ExactTarget:
        """Return the exact distribution where trajectories end."""
        level = final_level()
        return self.distribution.diffuse(level.alpha, level.sigma)


def levels(steps: int, spacing: Spacing = "log-snr") -> list[Level]:
    """Return the ``steps + 1`` levels of a trajectory, from `TIMES`' first to its last; see `toy.noise_levels`.

    Raises:
        ValueError: for fewer than one step, or a spacing that does not exist.
    """
    return toy.noise_levels(SCHEDULE, steps, spacing=spacing, times=TIMES)


def level_of(half_log_snr: float) -> Level:
    """Return the level of `SCHEDULE` whose ``log(alpha/sigma)`` this is."""
    return level_at(SCHEDULE, float(SCHEDULE.time(2 * half_log_snr)))


def final_level() -> Level:
    """Return the last noise level of every trajectory."""
    return levels(1)[-1]


def _dtype(dim: int) -> torch.dtype:
    return torch.float32 if dim >= _SINGLE_FROM else torch.float64


def _data(name: str, *, reported: bool = True) -> Target:
    pictures = toy.dataset(name)
    shape = tuple(pictures.images.shape[1:])
    dtype = _dtype(pictures.images[0].numel())
    return Target(name, DataMixture(pictures.images, TAU, dtype=dtype), shape, pictures, dtype, reported)


def _low_rank(data: str, fit: LowRankFit, *, reported: bool = True) -> Target:
    pictures, name = toy.dataset(data), f"{data}-low-rank"
    shape = tuple(pictures.images.shape[1:])
    dtype = _dtype(pictures.images[0].numel())
    distribution = toy.low_rank_mixture(pictures.images, fit, name=name, dtype=dtype)
    return Target(name, distribution, shape, pictures, dtype, reported)


def _analytic(name: str, *, reported: bool = True) -> Target:
    distribution = toy.target(name)
    return Target(name, distribution, (distribution.dim,), None, distribution.dtype, reported)


#: How each low-rank mixture is fitted: of ten components or more, so that there are modes to miss, and ``components *
#: rank <= 1600``, so that a score costs no more than one over the data, those of the largest `toy.low_rank.held_out`
#: of a few tried. In nats a dimension; beside it, components, rank and steps of EM of others:
FITS = {
    "digits": LowRankFit(10, 40, 5, TAU),  # 0.174; (10, 30, 5) 0.101, (10, 40, 0) 0.170, (15, 40, 5) 0.169
    "mnist": LowRankFit(10, 160, 3, TAU),  # 0.329; (10, 160, 0) 0.328, (20, 80, 0) 0.001, (40, 40, 0) -0.285
    "emoji": LowRankFit(20, 80, 2, TAU),  # 0.494; (20, 80, 0) 0.490, (10, 160, 0) 0.438, (40, 40, 2) 0.370
    "photo-8": LowRankFit(20, 80, 0, TAU),  # 1.023; (20, 40, 0) 0.974, (10, 40, 0) 0.976, (40, 40, 0) 0.960
}

#: The targets by name: those that are reported, then those for tuning.
TARGETS: dict[str, Callable[[], Target]] = {
    **{name: partial(_data, name) for name in ("digits", "mnist", "emoji")},
    **{f"{name}-low-rank": partial(_low_rank, name, FITS[name]) for name in ("digits", "mnist", "emoji")},
    **{name: partial(_analytic, name) for name in ("ring-2d", "random-16d")},
    **{name: partial(_data, name, reported=False) for name in ("photo-8", "photo-16")},
    "photo-8-low-rank": partial(_low_rank, "photo-8", FITS["photo-8"], reported=False),
    **{name: partial(_analytic, name, reported=False) for name in ("cross-2d", "random-16d-tuning")},
}


@cache
def find_targets() -> Mapping[str, Callable[[], Target]]:
    """Return what makes the targets, by name: ours, then those of every installed package.

    Raises:
        ValueError: if a plug-in cannot be loaded, or takes a name that is taken.
    """
    return MappingProxyType({**TARGETS, **load_functions(GROUP, taken=TARGETS)})


def target(name: str) -> Target:
    """Return the target of this name.

    Raises:
        ValueError: for a name that is not known, or a plug-in that makes no target.
    """
    known = find_targets()
    check_choice(name, "target", known)
    made = known[name]()
    if not isinstance(made, Target):
        raise ValueError(f"the plug-in {name!r} of {GROUP} must make a Target, got {type(made).__name__}")
    return made
