"""Pictures in few steps: what LML gains, by which distance, what else gains as much; models, commands, cost.

What is imported from here is public and stable; it is loaded when it is first asked for.
"""

from typing import TYPE_CHECKING

from lml._lazy import lazy

if TYPE_CHECKING:
    from image_exps.distances import Distance, Estimate
    from image_exps.evaluation import Result, Score, open_generated, read_results
    from image_exps.networks import network_model
    from image_exps.networks.galaxies import galaxy_model
    from image_exps.pipelines.generation import generate
    from image_exps.pipelines.models import Model, find_models
    from image_exps.pipelines.network import Network, network
    from image_exps.pipelines.session import Request
    from image_exps.problems.specification import SamplingProblem, sampling_problem
    from image_exps.samplers.arms import Arm, arm
    from image_exps.sweeps.grid import Grid, load_grid
    from image_exps.sweeps.run import run_sweep

__all__ = [
    "Arm",
    "Distance",
    "Estimate",
    "Grid",
    "Model",
    "Network",
    "Request",
    "Result",
    "SamplingProblem",
    "Score",
    "arm",
    "find_models",
    "galaxy_model",
    "generate",
    "load_grid",
    "network",
    "network_model",
    "open_generated",
    "read_results",
    "run_sweep",
    "sampling_problem",
]

if not TYPE_CHECKING:
    __getattr__, __dir__ = lazy(
        __name__,
        {
            "image_exps.distances": ("Distance", "Estimate"),
            "image_exps.evaluation": ("Result", "Score", "open_generated", "read_results"),
            "image_exps.networks": ("network_model",),
            "image_exps.networks.galaxies": ("galaxy_model",),
            "image_exps.pipelines.generation": ("generate",),
            "image_exps.pipelines.models": ("Model", "find_models"),
            "image_exps.pipelines.network": ("Network", "network"),
            "image_exps.pipelines.session": ("Request",),
            "image_exps.problems.specification": ("SamplingProblem", "sampling_problem"),
            "image_exps.samplers.arms": ("Arm", "arm"),
            "image_exps.sweeps.grid": ("Grid", "load_grid"),
            "image_exps.sweeps.run": ("run_sweep",),
        },
    )
