r"""The vector that a base solver adds to the linear part of its step: what the ``released`` variant turns (claim K5).

Each function gives ``(u, scale)`` for a step that was made: the next sample is ``rest + scale u``, so that turning
``u`` to ``u'`` adds ``scale (u' - u)`` to it.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor

from lml.schedulers.coefficients import Evaluation

__all__ = ["ddim_direction", "dpm_increment"]


def ddim_direction(scheduler: Any, noise: Tensor, at: Evaluation, x: Tensor, after: Tensor) -> tuple[Tensor, Any]:
    """DDIM: ``u = eps``, ``scale = sqrt(1 - abar_prev)``, the direction term alone; ``x0`` keeps the raw noise."""
    before = at.timestep - scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    squared = scheduler.alphas_cumprod[before] if before >= 0 else scheduler.final_alpha_cumprod
    return noise, (1 - squared) ** 0.5


def dpm_increment(scheduler: Any, noise: Tensor, at: Evaluation, x: Tensor, after: Tensor) -> tuple[Tensor, Any]:
    """DPM-Solver: ``u = x_next - c x``, ``scale = 1``; ``c`` is a ratio of alphas, for the ++ solvers one of sigmas."""
    alpha, sigma = scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas[at.place])
    alpha_next, sigma_next = scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas[at.place + 1])
    linear = sigma_next / sigma if scheduler.config.algorithm_type == "dpmsolver++" else alpha_next / alpha
    return after - linear * x.to(after), 1.0
