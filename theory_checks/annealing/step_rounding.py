r"""How far the arithmetic of one step of a sampler can be from the step on levels ``sigma_i = e^{-hi}``, ``alpha = 1``.

The level is computed from a rounded ``h i`` by an exponential that is right to an ulp, ``2 u``. Its relative error is
at most ``(h i + 2) u``, and grows along the trajectory. A sampler finds the step from two levels, as ``log1p(q)`` of
``q = (sigma' - sigma)/sigma``. Two operations leave ``2 u |q|``, over ``1 + q = e^{-h}``, and log1p an ulp of h::

    delta_i = ((2 i + 1) h + 4 + 2 (e^h - 1) + 2 h) u        error of the step h that is found

With ``k = 1 - e^{-h} < h`` the relative errors of the terms that a step adds up are

- ``delta_i/k`` of the gain ``e^{-h}(e^h - 1)``; of DDIM's form, ``sigma'/sigma`` times terms that are at most ``1/k``
  times as large as their difference, no more;
- ``6 delta_i/h`` of the quotients of steps, of which divided differences of second order have three;
- ``delta_i`` of the levels of the noises, and of the weights ``phi_j/phi_1``, whose logarithms change with h by less
  than one;
- ``16 u/k`` of the eight operations of DDIM's form, on terms ``1 + e^{-h} < 2`` over k as large;
- ``40 u`` of at most 14 operations of the other forms, and of the weights: 24 u of ``phi_3`` at one, by its recursion.
"""

from __future__ import annotations

import numpy as np

from theory_checks.numerics.levels import U

__all__ = ["error_of_the_step", "rounding_of_a_step"]


def error_of_the_step(h: float, i: np.ndarray) -> np.ndarray:
    """Return ``delta_i``, the error of h as a sampler finds it in step i, shape of i."""
    delta: np.ndarray = ((2 * i + 1) * h + 4 + 2 * np.expm1(h) + 2 * h) * U
    return delta


def rounding_of_a_step(h: float, i: np.ndarray) -> np.ndarray:
    """Return a bound of the rounding of step i over the sum of its absolute terms, shape of i, for ``h <= 2``."""
    k = -np.expm1(-h)
    rounding: np.ndarray = (7 / k + 1) * error_of_the_step(h, i) + (16 / k + 40) * U
    return rounding
