"""Targets whose diffusion, score, Hessian and posterior are closed forms: schedules, data, the exact flow.

What is imported from here is public and stable; it is loaded when it is first asked for.
"""

from typing import TYPE_CHECKING

from lml._lazy import lazy

if TYPE_CHECKING:
    from toy.classes import ClassMixture, gaussian_classes, smoothed_classes
    from toy.covariance import LowRankPlusDiagonal
    from toy.data_mixture import DataMixture
    from toy.datasets import Pictures, dataset, image_folder
    from toy.exact_target import ExactTarget
    from toy.flow import noise_model, probability_flow
    from toy.guidance import ClassifierFreeGuidance
    from toy.levels import noise_levels
    from toy.low_rank import LowRankFit, low_rank_mixture
    from toy.mixture import GaussianMixture
    from toy.schedule import NoiseSchedule, noise_schedule
    from toy.spiked import LowRankPlusIsotropic
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

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "toy.classes": ("ClassMixture", "gaussian_classes", "smoothed_classes"),
            "toy.covariance": ("LowRankPlusDiagonal",),
            "toy.data_mixture": ("DataMixture",),
            "toy.datasets": ("Pictures", "dataset", "image_folder"),
            "toy.exact_target": ("ExactTarget",),
            "toy.flow": ("noise_model", "probability_flow"),
            "toy.guidance": ("ClassifierFreeGuidance",),
            "toy.levels": ("noise_levels",),
            "toy.low_rank": ("LowRankFit", "low_rank_mixture"),
            "toy.mixture": ("GaussianMixture",),
            "toy.schedule": ("NoiseSchedule", "noise_schedule"),
            "toy.spiked": ("LowRankPlusIsotropic",),
            "toy.zoo": ("ZOO", "target"),
        },
    )
