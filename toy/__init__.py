"""Exact worlds: targets whose diffusion, score, Hessian and posterior are closed forms."""

from toy.classes import ClassMixture, gaussian_classes, smoothed_classes
from toy.covariance import LowRankPlusDiagonal
from toy.data_mixture import DataMixture
from toy.datasets import Pictures, dataset, image_folder
from toy.flow import noise_model, probability_flow
from toy.guidance import ClassifierFreeGuidance
from toy.levels import noise_levels
from toy.low_rank import LowRankFit, low_rank_mixture
from toy.mixture import GaussianMixture
from toy.schedule import NoiseSchedule, noise_schedule
from toy.spiked import LowRankPlusIsotropic
from toy.target import ExactTarget
from toy.zoo import ZOO, target

__all__ = [
    "ZOO",
    "ClassMixture",
    "ClassifierFreeGuidance",
    "DataMixture",
    "ExactTarget",
    "GaussianMixture",
    "LowRankFit",
    "LowRankPlusDiagonal",
    "LowRankPlusIsotropic",
    "NoiseSchedule",
    "Pictures",
    "dataset",
    "gaussian_classes",
    "image_folder",
    "low_rank_mixture",
    "noise_levels",
    "noise_model",
    "noise_schedule",
    "probability_flow",
    "smoothed_classes",
    "target",
]
