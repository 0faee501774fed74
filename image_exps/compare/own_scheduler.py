"""The scheduler that a pipeline came with, as one arm of a comparison: its own levels, steps and end."""

from __future__ import annotations

import copy
import inspect
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import Tensor

from image_exps.networks.levelled import LevelledModel
from image_exps.pipelines.network import Network
from image_exps.pipelines.prompted import PromptedModel

__all__ = ["OwnEnds", "own_ends"]

# Timesteps of a flow-matching network are 1000 times sigma.
_FLOW_STEPS = 1000

# A scheduler ends at no noise or at that of the first training timestep; at several times that it has not ended.
_NOISY = 2.0

# Schedulers that keep ``x = y + s eps`` start from a multiple of the noise, the others from the noise.
_SOME_SCALE = 1.001


class OwnEnds(NamedTuple):
    """Where a scheduler ends.

    Attributes:
        x: the samples, (B, ...).
        sigma: of the noise that is left in them.
        first: the timestep at which it evaluates the network on pure noise.
    """

    x: Tensor
    sigma: float
    first: float


def own_ends(made: Network, x: Tensor, evaluations: int, count: Callable[[], None] = lambda: None) -> OwnEnds:
    """Return where the pipeline's own scheduler takes starting noises, (B, ...), in so many evaluations.

    Args:
        made: with a renderer.
        x: noises of unit variance.
        evaluations: of the network.
        count: called after each of them.

    Raises:
        ValueError: for a scheduler that cannot spend this number, or that draws noise: its samples are not those of
            the flow, and have no distance to it.
    """
    assert made.renderer is not None
    assert isinstance(made.noise_model, LevelledModel)
    own, model = made.renderer.pipe.scheduler, made.noise_model
    name = type(own).__name__
    given = _spending(own, model, evaluations)
    if given is None:
        raise ValueError(f"{name} cannot spend {evaluations} evaluations")
    few = x[:2]
    left, again = (_left(made, own, given, few, seed) for seed in (0, 1))
    if not torch.allclose(left, again, rtol=1e-4, atol=1e-5):
        raise ValueError(f"{name} draws noise in its steps, and has no distance to the flow")
    sigma, last = float(left.square().mean().sqrt() / few.square().mean().sqrt()), made.levels(1)[-1].sigma
    if sigma > _NOISY * last:
        raise ValueError(f"{name} ends with noise in its samples, sigma {sigma:.2g}, and has no distance to the flow")

    def output(z: Tensor, t: float) -> Tensor:
        answer = model.outputs(z, t)
        count()
        return answer

    prepared = _prepared(own, given)
    first = float(prepared.timesteps[0])
    ends = _walk(prepared, x, output, 0)
    # Rounding of levels to whole timesteps leaves a small share of the last sigma.
    return OwnEnds(ends, 0.0 if sigma < last / 2 else last, first)


def _spending(own: Any, model: LevelledModel, evaluations: int) -> dict[str, Any] | None:
    """Return the arguments of ``set_timesteps`` that make so many evaluations, ``None`` where there are none."""
    for steps in dict.fromkeys((evaluations, evaluations - 1, (evaluations + 1) // 2, evaluations // 2)):
        if steps < 1:
            continue
        prompted = isinstance(model, PromptedModel)
        given = model.asked_of_scheduler(steps) if prompted else {"num_inference_steps": steps}  # type: ignore[attr-defined]
        try:
            if len(_prepared(own, given).timesteps) == evaluations:
                return given
        except (ValueError, IndexError):  # a number of steps that the scheduler does not have
            continue
    return None


def _prepared(own: Any, given: dict[str, Any]) -> Any:
    scheduler = copy.deepcopy(own)
    scheduler.set_timesteps(**given)
    return scheduler


@torch.no_grad()
def _walk(scheduler: Any, x: Tensor, output: Callable[[Tensor, float], Tensor], seed: int) -> Tensor:
    """Run a scheduler as a pipeline does."""
    extra = {}
    if "generator" in inspect.signature(scheduler.step).parameters:
        extra["generator"] = torch.Generator().manual_seed(seed)
    y = x * getattr(scheduler, "init_noise_sigma", 1.0)  # flow matching starts from the noise itself
    for t in scheduler.timesteps:
        m = output(scheduler.scale_model_input(y, t) if hasattr(scheduler, "scale_model_input") else y, float(t))
        y = scheduler.step(m, t, y, return_dict=False, **extra)[0]
    return y


def _left(made: Network, own: Any, given: dict[str, Any], noise: Tensor, seed: int) -> Tensor:
    """Return what is left at the end if all data are one point, zero: the noise of the scheduler's last level.

    The network's answer is then a sample's noise at every level, which every solver takes to the end without error from
    ``sigma`` times the noise at the first level. The levels do not depend on the prediction type.
    """
    table = getattr(made.noise_model, "table", None)
    if table is not None:
        own = type(own).from_config(own.config, prediction_type="epsilon")
    scheduler = _prepared(own, given)
    first = float(scheduler.timesteps[0])
    if table is None:
        sigma = first / _FLOW_STEPS
    elif float(scheduler.init_noise_sigma) > _SOME_SCALE:
        sigma = float(scheduler.sigmas[0])
    else:
        sigma = float(table.sigma(first / (len(table.betas) - 1)))
    scale = getattr(scheduler, "init_noise_sigma", 1.0)
    return _walk(scheduler, sigma / scale * noise, lambda _z, _t: noise, seed)
