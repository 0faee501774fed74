r"""The noise in a network's output: ``eps = a x + b m`` for every prediction type, in the scale of every scheduler.

Variance preserving, ``x = alpha x0 + sigma eps`` with ``alpha^2 + sigma^2 = 1``::

    epsilon          m = eps                            a = 0          b = 1
    sample           m = x0                             a = 1/sigma    b = -alpha/sigma
    v_prediction     m = alpha eps - sigma x0           a = sigma      b = alpha
    flow_prediction  m = eps - x0, alpha = 1 - sigma    a = 1          b = alpha

The Euler family keeps ``x = x0 + s eps``, which is the first scale times ``sqrt(1 + s^2)``; flow matching has
``alpha = 1 - sigma``. The coefficients are numbers or 0-dim tensors that stay on the device of the scheduler's own
table, so that nothing here waits for a device.

Sources: Salimans & Ho 2022 (v), Karras et al. 2022 (the Euler scale), Lipman et al. 2023 (flow).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

from torch import Tensor

__all__ = ["IDENTITY", "Affine", "Evaluation", "exploding", "flow", "preserving", "table"]


class Affine(NamedTuple):
    """``eps = a x + b m``."""

    a: float | Tensor
    b: float | Tensor


#: Where the output is the noise itself.
IDENTITY = Affine(0.0, 1.0)


class Evaluation(NamedTuple):
    """An evaluation of the network, as a scheduler's ``step`` is handed it.

    Attributes:
        timestep: as given to ``step``; on the host where the scheduler looks it up in a table.
        place: in ``scheduler.timesteps``, for schedulers that count their steps.
        tokens: timesteps of each token, shape (B, tokens), or ``None``.
    """

    timestep: Any
    place: int
    tokens: Tensor | None = None


def _predicted(scheduler: Any, level: Callable[[], tuple[Tensor, Tensor]]) -> Affine | None:
    """Return the affine map of the scheduler's prediction type, ``None`` if unknown; ``level`` is asked if needed."""
    kind = scheduler.config.prediction_type
    if kind == "epsilon":
        return IDENTITY
    if kind not in ("sample", "original_sample", "v_prediction", "flow_prediction"):
        return None
    alpha, sigma = level()
    if kind == "v_prediction":
        return Affine(sigma, alpha)
    return Affine(1.0, alpha) if kind == "flow_prediction" else Affine(1 / sigma, -alpha / sigma)


def table(scheduler: Any, at: Evaluation) -> Affine | None:
    """Variance preserving, looked up by timestep, for schedulers that step along it."""

    def level() -> tuple[Tensor, Tensor]:
        squared = scheduler.alphas_cumprod[at.timestep]
        return squared**0.5, (1 - squared) ** 0.5

    return _predicted(scheduler, level)


def preserving(scheduler: Any, at: Evaluation) -> Affine | None:
    """Variance preserving or flow, from the sigmas: the DPM-Solvers, DEIS and UniPC."""
    return _predicted(scheduler, lambda: scheduler._sigma_to_alpha_sigma_t(scheduler.sigmas[at.place]))


def exploding(scheduler: Any, at: Evaluation) -> Affine | None:
    """``x = x0 + s eps``: the schedulers in the variables of EDM."""
    s = scheduler.sigmas[at.place]
    alpha = (1 + s * s) ** -0.5
    found = _predicted(scheduler, lambda: (alpha, s * alpha))
    return found if found is None or found is IDENTITY else Affine(found.a * alpha, found.b)


def flow(scheduler: Any, at: Evaluation) -> Affine | None:
    """Flow matching: ``eps = x + (1 - sigma) v``; with inverted sigmas ``v = x0 - eps`` and ``eps = x - sigma v``."""
    if at.tokens is None:
        sigma = scheduler.sigmas[at.place]
    else:
        sigma = (at.tokens / scheduler.config.num_train_timesteps)[..., None]
    return Affine(1.0, -sigma if scheduler.config.get("invert_sigmas") else 1 - sigma)
