"""The levels on which a diffusers scheduler moves, and its trajectory of an exact noise prediction."""

import torch

from lml.samplers import Level


def variance_preserving(ratio: torch.Tensor, time: float = float("nan")) -> Level:
    """Return the level of a float32 ``sigma/alpha``: diffusers keeps this table and derives alpha and sigma from it."""
    s = float(ratio)
    return Level(1 / (1 + s * s) ** 0.5, s / (1 + s * s) ** 0.5, time)


def of_cumulative(squared_alpha: torch.Tensor, time: float = float("nan")) -> Level:
    """Return the level of a float32 ``alpha^2``, the table of DDIM and PNDM; ``1 - alpha^2`` is exact in float64."""
    a = float(squared_alpha)
    return Level(a**0.5, (1 - a) ** 0.5, time)


def sigma_levels(scheduler) -> list[Level]:
    return [variance_preserving(s) for s in scheduler.sigmas]


def run(scheduler, model, x: torch.Tensor, level_of) -> list[torch.Tensor]:
    """Return the sample after each evaluation, float32; the model is evaluated in float64 at ``level_of(i)``."""
    made = []
    x = x.float()
    for i, t in enumerate(scheduler.timesteps):
        noise = model(x.double(), level_of(i)).float()
        x = scheduler.step(noise, t, x).prev_sample
        made.append(x)
    return made
