r"""The default strength of LML, ``eta0 = mixing/damping`` at relative damping: one half or one tenth, by the base.

One half on a base of first order, which it makes second order up to the norm (`lml.correction.LML`); one tenth on a
base that extrapolates by itself or evaluates twice a step. To those a fixed strength adds an error of first order
(claim A3): in 5 to 20 steps one half made DPM-Solver++ and UniPC worse, one tenth did not.
"""

from __future__ import annotations

from lml.arguments import check_integer

__all__ = ["DEFAULT_DAMPING", "default_mixing"]

#: ``lambda``, as a share of ``|e|^2``: so small that the rotation stays linear in the change of the noise.
DEFAULT_DAMPING = 1e-3


def default_mixing(order: int) -> float:
    """Return the default ``kappa`` on a base solver of this order of convergence, for `DEFAULT_DAMPING`.

    Raises:
        ValueError: unless the order is a positive integer.
    """
    check_integer(order, "order")
    return 5e-4 if order == 1 else 1e-4
