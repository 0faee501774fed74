r"""Adams-Bashforth combinations of the last noise predictions, for steps of equal size.

``e_0`` is the latest::

    1   e_0
    2   (3 e_0 - e_1)/2
    3   (23 e_0 - 16 e_1 + 5 e_2)/12
    4   (55 e_0 - 59 e_1 + 37 e_2 - 9 e_3)/24

Source: Hairer, Nørsett & Wanner 1993, Solving Ordinary Differential Equations I, Sec. III.1.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import reduce

import torch
from torch import Tensor

__all__ = ["adams_bashforth"]

_WEIGHTS = (
    (1.0,),
    (3 / 2, -1 / 2),
    (23 / 12, -16 / 12, 5 / 12),
    (55 / 24, -59 / 24, 37 / 24, -9 / 24),
)


def adams_bashforth(predictions: Sequence[Tensor]) -> Tensor:
    """Return the combination of one to four predictions of one shape, latest first."""
    weights = _WEIGHTS[len(predictions) - 1]
    return reduce(torch.add, [weight * e for weight, e in zip(weights, predictions, strict=True)])
