"""Which noise levels the tables of diffusers stand for, and the options by which it spaces them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

from image_exps.judge.judged import CannotRunError
from lml.samplers import Level

__all__ = ["is_flow", "of_cumulative", "preserving", "spacing_options", "timestep_level"]


def spacing_options(spacing: str, accepted: set[str]) -> dict[str, Any]:
    """Return the options of diffusers for a spacing, the others switched off.

    Raises:
        CannotRunError: where the class cannot be spaced so.
    """
    sigmas = {"karras": "use_karras_sigmas", "log-snr": "use_lu_lambdas", "exponential": "use_exponential_sigmas",
              "beta": "use_beta_sigmas"}  # fmt: skip
    if spacing in ("leading", "linspace", "trailing") and "timestep_spacing" in accepted:
        return {"timestep_spacing": spacing, **{key: False for key in sigmas.values() if key in accepted}}
    wanted = sigmas.get(spacing)
    if wanted == "use_lu_lambdas" and wanted not in accepted:
        wanted = "use_exponential_sigmas"  # the same levels, under its other name
    if wanted is None or wanted not in accepted:
        raise CannotRunError(f"it cannot space its levels by {spacing}")
    return {wanted: True, **{key: False for key in sigmas.values() if key in accepted and key != wanted}}


def is_flow(scheduler: Any) -> bool:
    """Return whether a scheduler has the levels of flow matching, ``alpha = 1 - s, sigma = s``."""
    config = getattr(scheduler, "config", {})
    own = any(part in type(scheduler).__name__ for part in ("FlowMatch", "AncestralRF"))
    return (
        (own and not hasattr(scheduler, "alphas_cumprod"))
        or bool(config.get("use_flow_sigmas"))
        or config.get("prediction_type") == "flow_prediction"
    )


def preserving(ratio: float, time: float) -> Level:
    """Return the variance-preserving level of ``sigma/alpha``."""
    root = math.hypot(1.0, ratio)
    return Level(1 / root, ratio / root, time)


def of_cumulative(table: Tensor, time: float) -> Level:
    """Return the level of a timestep; between two, ``sigma/alpha`` is interpolated."""
    low = min(max(int(time), 0), len(table) - 1)
    if low == time or low == len(table) - 1:
        squared = float(table[low])
        return Level(math.sqrt(squared), math.sqrt(1 - squared), time)
    ratios = ((1 - table[low : low + 2].double()) / table[low : low + 2].double()).sqrt()
    return preserving(float(torch.lerp(ratios[0], ratios[1], time - low)), time)


def timestep_level(scheduler: Any) -> Callable[[float], Level] | None:
    """Return the level that a trained network associates with a timestep, where the scheduler has a table of them."""
    table = getattr(scheduler, "alphas_cumprod", None)
    if not isinstance(table, Tensor):
        return None
    return lambda time: of_cumulative(table, time)
