"""Distances of samples to a target, each with its interval and with the floor of exact samples."""

from image_exps.distances.base import Distance, Estimate, bootstrap, difference, estimate
from image_exps.distances.frechet import FrechetDistance, FrechetPCA
from image_exps.distances.reference import Reference, reference_of
from image_exps.distances.registry import DISTANCES, distances

__all__ = [
    "DISTANCES",
    "Distance",
    "Estimate",
    "FrechetDistance",
    "FrechetPCA",
    "Reference",
    "bootstrap",
    "difference",
    "distances",
    "estimate",
    "reference_of",
]
