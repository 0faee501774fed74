r"""UniPC: a predictor UniP-p and a corrector UniC-p that reuses the predictor's evaluation.

With the transfer ``x' = linear x - gain m``, ``m`` the data or the noise prediction, ``r_k`` the step to an earlier
output in units of ``h``, and ``D_k = (m_k - m_0)/r_k``::

    x' = linear x - gain m_0 - c B sum_k rho_k D_k,    sum_k rho_k r_k^{j-1} = j! eta phi_{j+1}(eta)/B,   j = 1 ..

The predictor has ``D_1 .. D_{p-1}`` of earlier outputs; the corrector, once the model was evaluated at ``x'``, has the
``D`` of that output too (``r = 1``), and repeats the step from ``x``. ``B = eta`` is bh1, ``B = e^eta - 1`` bh2. One
unknown is given its limit ``rho = 1/2``.

The order is ``min(p, 2) + 1``: the first step, UniP-1 with UniC-1, leaves ``h^3``. With ``lower_order_final``, the
published default, the last step is UniP-1 without a corrector and leaves ``h^2``.

Source: Zhao et al. 2023, UniPC, Algorithms 5 to 8 and Theorem 3.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Literal

import torch
from torch import Tensor

from lml.samplers.base import Info, Level, Network, Sampler, State
from lml.samplers.exponential import data_transfer, noise_transfer, phi, step_size

__all__ = ["UNIPC_2", "UNIPC_2_NOISE", "UNIPC_3", "UNIPC_3_NOISE", "unipc"]

Variant = Literal["bh1", "bh2"]


def _increment(
    now: Level,
    after: Level,
    outputs: Sequence[tuple[Level, Tensor]],
    at_after: Tensor | None,
    *,
    variant: str,
    predict_x0: bool,
) -> tuple[float, Tensor]:
    """Return ``linear`` and ``u`` of ``x' = linear x + u``, from the output at ``now`` and those before it.

    ``at_after`` is the output at ``after``, for the corrector.
    """
    linear, gain, eta = (data_transfer if predict_x0 else noise_transfer)(now, after)
    m0, h = outputs[0][1], step_size(now, after)
    r = [-step_size(level, now) / h for level, _ in outputs[1:]]
    D = [(m - m0) / r_k for r_k, (_, m) in zip(r, outputs[1:], strict=True)]
    if at_after is not None:
        r, D = [*r, 1.0], [*D, at_after - m0]
    if not D:
        return linear, -gain * m0
    # With B = e^eta - 1, c B = gain; B = eta differs by phi_1 on both sides.
    unit = 1.0 if variant == "bh2" else 1 / phi(1, eta)
    b = [math.factorial(j) * phi(j + 1, eta) / (phi(1, eta) * unit) for j in range(1, len(D) + 1)]
    powers = [[r_k ** (j - 1) for r_k in r] for j in range(1, len(D) + 1)]
    rho = [0.5] if len(D) == 1 else torch.linalg.solve(*(torch.tensor(t, dtype=torch.float64) for t in (powers, b)))
    total = sum(float(rho_k) * D_k for rho_k, D_k in zip(rho, D, strict=True))
    return linear, -gain * (m0 + unit * total)


def step(
    state: State,
    network: Network,
    levels: Sequence[Level],
    i: int,
    *,
    order: int,
    variant: str,
    predict_x0: bool,
    lower_order_final: bool,
) -> tuple[State, Info]:
    """Evaluate, correct the step before, and predict the next."""
    now, after, steps = levels[i], levels[i + 1], len(levels) - 1
    increment = partial(_increment, variant=variant, predict_x0=predict_x0)
    evaluation, memory = network.noise(state.x, now, state.memory, i)
    m = (state.x - now.sigma * evaluation.noise) / now.alpha if predict_x0 else evaluation.noise
    x = state.x
    if state.previous_x is not None:
        use = min(len(state.outputs), steps - i + 1) if lower_order_final else len(state.outputs)
        linear, u = increment(levels[i - 1], now, state.outputs[:use], m)
        x = linear * state.previous_x + u
    outputs = ((now, m), *state.outputs)[:order]
    use = min(len(outputs), steps - i) if lower_order_final else len(outputs)
    linear, u = increment(now, after, outputs[: use if after.sigma > 0 else 1], None)
    predicted, memory = network.advance(linear * x, 1.0, u, memory, i)
    return State(predicted, memory, outputs, previous_x=x), Info((evaluation,))


def unipc(order: int, *, variant: Variant = "bh2", predict_x0: bool = True, lower_order_final: bool = True) -> Sampler:
    """Return UniPC.

    Args:
        order: 1, 2 or 3: ``p``.
        variant: ``bh1`` or ``bh2``.
        predict_x0: integrate the data prediction; ``False`` integrates the noise prediction.
        lower_order_final: let the order fall in the last steps, as published.

    Raises:
        ValueError: for another order or variant.
    """
    if order not in (1, 2, 3):
        raise ValueError(f"order must be 1, 2 or 3, got {order!r}")
    if variant not in ("bh1", "bh2"):
        raise ValueError(f"variant must be bh1 or bh2, got {variant!r}")
    run = partial(step, order=order, variant=variant, predict_x0=predict_x0, lower_order_final=lower_order_final)
    name = f"unipc-{order}" + ("" if predict_x0 else "-noise") + ("" if variant == "bh2" else f"-{variant}")
    return Sampler(name, order=2 if lower_order_final or order == 1 else 3, step=run)


#: As published: bh2, and the last step of first order.
UNIPC_2, UNIPC_3 = unipc(2), unipc(3)
UNIPC_2_NOISE, UNIPC_3_NOISE = unipc(2, predict_x0=False), unipc(3, predict_x0=False)
