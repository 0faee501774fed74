"""Pure samplers, one published algorithm a file; any of them takes any correction."""

from lml.samplers.base import Evaluation, Info, Level, Network, NoiseModel, Sampler, State, sample, trajectory
from lml.samplers.ddim import DDIM

__all__ = [
    "DDIM",
    "Evaluation",
    "Info",
    "Level",
    "Network",
    "NoiseModel",
    "Sampler",
    "State",
    "sample",
    "trajectory",
]
