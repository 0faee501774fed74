"""Distances of samples to a target, each with its interval and with the floor of exact samples."""

from image_exps.distances.base import Distance, Estimate, bootstrap, difference, estimate
from image_exps.distances.colourfulness import Colourfulness
from image_exps.distances.coverage import Coverage, Density, ModeCoverage
from image_exps.distances.endpoint import ENDPOINT_DISTANCES, EndpointDistance, PooledEndpointDistance
from image_exps.distances.energy import MMD, EnergyDistance
from image_exps.distances.features import FrechetFeatures, picture_features
from image_exps.distances.frechet import FrechetDistance, FrechetPCA
from image_exps.distances.likelihood import NegativeLogLikelihood
from image_exps.distances.own_flow import BASE_DISTANCES, DRAW_DISTANCES
from image_exps.distances.reference import Reference, reference_of
from image_exps.distances.registry import DISTANCES, distances
from image_exps.distances.wasserstein import W2, SlicedW2

__all__ = [
    "DISTANCES",
    "ENDPOINT_DISTANCES",
    "FLOW_DISTANCES",
    "MMD",
    "W2",
    "Colourfulness",
    "Coverage",
    "Density",
    "Distance",
    "EndpointDistance",
    "EnergyDistance",
    "Estimate",
    "FrechetDistance",
    "FrechetFeatures",
    "FrechetPCA",
    "ModeCoverage",
    "NegativeLogLikelihood",
    "PooledEndpointDistance",
    "Reference",
    "SlicedW2",
    "bootstrap",
    "difference",
    "distances",
    "estimate",
    "picture_features",
    "reference_of",
]

#: By name: what compares samples with a flow, and needs no target.
FLOW_DISTANCES = (*ENDPOINT_DISTANCES, *BASE_DISTANCES, *DRAW_DISTANCES)
