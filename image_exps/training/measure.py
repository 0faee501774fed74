"""What is measured on an exported network, for its card."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from image_exps.distances import Estimate, distances, estimate
from image_exps.problems.seeds import starting_noise
from image_exps.problems.targets import SCHEDULE, levels
from lml.samplers import SAMPLERS, Level, NoiseModel, sample
from toy import Pictures

__all__ = ["EVALUATIONS", "SOLVER", "Measured", "draw", "measure", "noise_loss"]

#: How samples are drawn for the card.
SOLVER, EVALUATIONS = "dpm-solver++-2m", 20

# Of the 1000 timesteps every twentieth is measured.
_TIMESTEPS = 50


@dataclass(frozen=True)
class Measured:
    """What is measured on an exported network.

    Attributes:
        losses: mean squared error of the noise prediction by the name of the pictures.
        frechet: the Frechet distance of ``samples`` within the 64 leading components of the data.
        milliseconds: of processor time for a picture and an evaluation.
        samples: of no class, shape (count, C, H, W).
    """

    losses: Mapping[str, float]
    frechet: Estimate
    milliseconds: float
    samples: Tensor


def noise_loss(model: NoiseModel, pictures: Tensor, seed: int = 0) -> float:
    """Return the mean of ``(eps_theta(a_t y + s_t z, t) - z)^2`` over pictures, pixels and 50 timesteps.

    Args:
        model: the network.
        pictures: shape (N, C, H, W); each meets one of the timesteps, so that ``N >= 50``.
        seed: of the noises.

    Raises:
        ValueError: for fewer pictures.
    """
    if len(pictures) < _TIMESTEPS:
        raise ValueError(f"pictures must be at least {_TIMESTEPS}, got {len(pictures)}")
    table = SCHEDULE.discrete(1000)
    noise = starting_noise(seed, 0, len(pictures), tuple(pictures.shape[1:])).to(pictures)
    errors = []
    for k in range(_TIMESTEPS):
        n = 1000 * k // _TIMESTEPS + 500 // _TIMESTEPS
        level = Level(float(table.alpha[n]), float(table.sigma[n]))
        y, z = pictures[k::_TIMESTEPS], noise[k::_TIMESTEPS]
        errors.append((model(level.alpha * y + level.sigma * z, level) - z).square().mean())
    return float(torch.stack(errors).mean())


def draw(model: NoiseModel, count: int, shape: tuple[int, ...], seed: int = 0) -> Tensor:
    """Return ``count`` samples of the shape, in 20 evaluations of DPM-Solver++."""
    return sample(SAMPLERS[SOLVER], model, starting_noise(seed, 0, count, shape).float(), levels(EVALUATIONS))


def measure(model: NoiseModel, sets: Mapping[str, Tensor], pictures: Pictures, count: int) -> Measured:
    """Return what there is to measure on a network.

    Args:
        model: the network.
        sets: pictures by name, for the loss.
        pictures: for the Frechet distance.
        count: of samples.
    """
    losses = {name: noise_loss(model, images) for name, images in sets.items()}
    began = time.process_time()
    samples = draw(model, count, tuple(pictures.images.shape[1:]))
    milliseconds = 1e3 * (time.process_time() - began) / (count * EVALUATIONS)
    (distance,) = distances(pictures, which=["frechet-pca"]).values()
    frechet = estimate(distance, samples.flatten(1).double(), generator=torch.Generator().manual_seed(0))
    return Measured(losses, frechet, milliseconds, samples)
