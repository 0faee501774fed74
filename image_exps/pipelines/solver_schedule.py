"""The noise levels on which the scheduler of a pipeline will use a few-step solver: those to calibrate it on."""

from __future__ import annotations

import math

from image_exps.pipelines.network import Network
from image_exps.pipelines.prompted import PromptedModel
from lml.schedulers import LMLSolverScheduler
from lml.schedulers.noise_tables import table_of
from lml.solver import Schedule

__all__ = ["solver_schedule"]


def solver_schedule(made: Network, evaluations: int) -> Schedule:
    """Return the table of `LMLSolverScheduler` for a network's pipeline.

    Args:
        made: the network.
        evaluations: of a generation. A flow whose shift depends on the size of the picture has the shift that the
            pipeline asks for at the network's size.

    Raises:
        ValueError: for a configuration whose levels are not known.
    """
    if made.renderer is None:  # galaxies: beta = 1 on [0, 10], as a table of diffusers
        return Schedule.of_betas([-math.expm1(-0.01)] * 1000)
    config = LMLSolverScheduler.from_config(made.renderer.pipe.scheduler.config).config
    mu = None
    if config.use_dynamic_shifting and isinstance(made.noise_model, PromptedModel):
        mu = float(made.noise_model.asked_of_scheduler(evaluations)["mu"])
    return table_of(config, mu)
