r"""What the paper's published code does, on each base that it has (claim K5): ``variant="released"``.

Source: repository LML-diffusion-sampler, commit e19cbdc, three schedulers derived from those of diffusers. None turns
the noise that its base is handed, as Algorithm 1 does. Each makes the base's step, and turns one vector in it away from
the same vector of the step before (`lml.correction.ReleasedLML`):

- DDIM: ``x' = sqrt(abar') x0 + sqrt(1 - abar' - s^2) e``, the noise ``e`` in the second term alone; ``x0`` keeps the
  raw noise. With ``use_clipped_model_output`` it is the noise that is left when ``x0`` has been clipped. Its ``freeze``
  is ``start`` here: at timesteps of ``1000 (1 - start)`` and above nothing is turned, though it is remembered.
- Multistep DPM-Solver and DPM-Solver++: the increment ``u`` of ``x' = c x + u``, with its multistep terms, where ``c``
  is a ratio of alphas, for the ++ solvers one of sigmas. The last step leads to timestep 0, which diffusers calls
  ``final_sigmas_type="sigma_min"``. Where its base draws noise, the published code turns nothing.
- Flow-matching Euler: the velocity ``v`` of ``x' = x + (sigma' - sigma) v``, rounded to float32.

Each function makes the step: ``step()`` is the base's own, with the arguments in ``call``, and ``turn(vector)`` gives
the turned vector and remembers the raw one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from diffusers.utils.torch_utils import randn_tensor
from torch import Tensor

__all__ = ["Step", "Turn", "ddim_direction", "dpm_increment", "turned_increment", "velocity"]

Step = Callable[[], Any]
Turn = Callable[..., Tensor]

# The published code counts its timesteps from here, whatever the model's.
_TIMESTEPS = 1000


def ddim_direction(scheduler: Any, step: Step, call: dict[str, Any], turn: Turn) -> Any:
    """DDIM: the noise in the direction term."""
    wants_dict = call.get("return_dict", True)
    call["return_dict"] = True
    t, m, x, eta = call["timestep"], call["model_output"], call["sample"], call.get("eta", 0.0)
    if eta and call.get("variance_noise") is None:  # what the base would draw, to have it in hand
        call["variance_noise"] = randn_tensor(m.shape, call.get("generator"), device=m.device, dtype=m.dtype)
        call["generator"] = None
    result = step()
    before = t - scheduler.config.num_train_timesteps // scheduler.num_inference_steps
    abar = scheduler.alphas_cumprod[t]
    abar_next = scheduler.alphas_cumprod[before] if before >= 0 else scheduler.final_alpha_cumprod
    x0 = result.pred_original_sample
    if call.get("use_clipped_model_output"):
        e = (x - abar**0.5 * x0) / (1 - abar) ** 0.5
    else:
        e = _noise(scheduler.config.prediction_type, m, x, abar**0.5, (1 - abar) ** 0.5)
    turned = turn(e)
    if t < _TIMESTEPS - _TIMESTEPS * scheduler.config.start:
        deviation = eta * scheduler._get_variance(t, before) ** 0.5
        after = abar_next**0.5 * x0 + (1 - abar_next - deviation**2) ** 0.5 * turned
        result.prev_sample = after + deviation * call["variance_noise"] if eta else after
    return result if wants_dict else result.to_tuple()


def _noise(kind: str, m: Tensor, x: Tensor, alpha: Tensor, sigma: Tensor) -> Tensor:
    """Return the noise in the output ``m``, in the dtype in which the base computes; a network may reuse ``m``."""
    if kind == "epsilon":
        return m.clone()
    return (x - alpha * m) / sigma if kind == "sample" else alpha * m + sigma * x


def dpm_increment(scheduler: Any, step: Step, call: dict[str, Any], turn: Turn) -> Any:
    """DPM-Solver: the increment, where the base adds it (`turned_increment`), from the sample as it was given."""
    scheduler._lml_turn = turn, call["sample"]
    try:
        return step()
    finally:
        scheduler._lml_turn = None


def turned_increment(scheduler: Any, update: Callable[..., Tensor], outputs: Any, *args: Any, **kwargs: Any) -> Tensor:
    """Return ``c x + u'`` for an update ``c x + u`` of the base, ``u`` being what it makes of ``x = 0``.

    Args:
        scheduler: whose update it is; it says whether there is anything to turn.
        update: of the base.
        outputs: of the network, as the base converts them: one, or a list with ``None`` for those it does not have.
        *args: of the update.
        **kwargs: of the update, with ``sample``.
    """
    if scheduler._lml_turn is None:
        return update(outputs, *args, **kwargs)
    turn, x = scheduler._lml_turn
    nothing = [_zero(m) for m in outputs] if isinstance(outputs, list) else _zero(outputs)
    u = update(outputs, *args, **{**kwargs, "sample": torch.zeros_like(x)})
    rest = update(nothing, *args, **{**kwargs, "sample": x})
    turned: Tensor = rest + turn(u)
    return turned


def _zero(m: Tensor | None) -> Tensor | None:
    return None if m is None else torch.zeros_like(m)


def velocity(scheduler: Any, step: Step, call: dict[str, Any], turn: Turn) -> Any:
    """Flow-matching Euler: the velocity, which is the output, rounded to float32."""
    m: Tensor = call["model_output"]
    call["model_output"] = turn(m.clone(), rounded=torch.float32)
    result = step()
    if call.get("per_token_timesteps") is not None:
        return result
    after = result[0].to(m.dtype)
    if isinstance(result, tuple):
        return (after, *result[1:])
    result.prev_sample = after
    return result
