"""Proofs for A5 and A7: how the norm of a noise bends along the flow, and the roots of an extrapolated Euler step."""

from __future__ import annotations

import sympy
from sympy import Function, Matrix, diff, symbols

from theory_checks.ledger.proofs import Proof

__all__ = ["PROOFS"]

r = symbols("r", real=True)
k, m, eta, E = symbols("k m eta E", positive=True)
z = symbols("z")


def claimed_bend(e: Matrix, change: Matrix, bend: Matrix) -> sympy.Expr:
    """Return ``<eps, eps''> + |P eps'|^2``, with ``|P v|^2 = |v|^2 - <eps,v>^2/|eps|^2``."""
    return e.dot(bend) + change.dot(change) - e.dot(change) ** 2 / e.dot(e)


def bend_of_the_norm() -> Matrix:
    """``|eps| |eps|''`` less its claimed form, for every eps(r) in d = 1, 2, 3.

    For ``S = |eps|^2``: ``sqrt(S) sqrt(S)'' = S''/2 - S'^2/(4 S)``.
    """
    rows = []
    for d in (1, 2, 3):
        e = Matrix([Function(f"e{i + 1}", real=True)(r) for i in range(d)])
        S = e.dot(e)
        rows.append(diff(S, r, 2) / 2 - diff(S, r) ** 2 / (4 * S) - claimed_bend(e, diff(e, r), diff(e, r, 2)))
    return Matrix(rows)


def characteristic(rate: sympy.Expr) -> sympy.Expr:
    """Return ``P(z)`` of ``u_{i+1} = u_i - k m ((1 + eta) u_i - eta E u_{i-1})`` with ``E = e^{-h}``."""
    return z**2 - (1 - k * rate * (1 + eta)) * z - k * rate * eta * E


def claimed_limit() -> sympy.Expr:
    """Return ``m = 2/(k (1 + eta + eta E))``."""
    return 2 / (k * (1 + eta + eta * E))


def roots_at_the_limit() -> sympy.Expr:
    """``P(z) - (z + 1)(z - b)`` at the claimed rate, ``b = 2 eta E/(1 + eta + eta E) < 1``."""
    b = 2 * eta * E / (1 + eta + eta * E)
    return characteristic(claimed_limit()) - (z + 1) * (z - b)


PROOFS = (
    Proof(
        "how the norm bends along the flow, for every noise in d = 1, 2, 3",
        ("A5",),
        r"|\epsilon|\,|\epsilon|'' = \langle\epsilon, \epsilon''\rangle + |P\epsilon'|^2, \quad |P\epsilon'|^2 = "
        r"|\epsilon'|^2 - \frac{\langle\epsilon, \epsilon'\rangle^2}{|\epsilon|^2}",
        bend_of_the_norm,
    ),
    Proof(
        "the roots of an extrapolated step at the limit: one is -1, the other is inside",
        ("A7",),
        r"z^2 - (1 - k m (1 + \eta))\,z - k m \eta E = (z + 1)\left(z - \frac{2 \eta E}{1 + \eta + \eta E}\right) "
        r"\quad\mathrm{at}\quad k m = \frac{2}{1 + \eta + \eta E}",
        roots_at_the_limit,
    ),
)
