r"""Proofs for A4: which reverse-time SDE has the marginals of a forward one, for densities of which nothing is known.

Forward, ``dX = f X dt + g dB`` gives ``d q/dt = -div(f x q) + (g^2/2) lap q``. In reverse time
``dX = a dt + g M^{1/2} dB`` is, forward in ``r = -t``, an SDE of drift ``-a``, whose Fokker-Planck equation is
``d rho/dr = div(a rho) + (g^2/2) sum_ij d_i d_j (M_ij rho)``, so that

    ``d rho/dt = -div(a rho) - (g^2/2) sum_ij d_i d_j (M_ij rho)``.

The law of X is ``q_t`` at every time if both right sides agree at ``rho = q_t``, whatever ``q_t`` is (where the reverse
SDE has one solution and integrable coefficients: `theory_checks.annealing.corrected_sde` shows both for the damped M).
``log q`` is a function symbol of place and time, f and g are symbols; a proof names the dimensions in which it is run.
"""

from __future__ import annotations

import sympy
from sympy import Function, Matrix, diff, exp, symbols

from theory_checks.ledger.proofs import Proof
from theory_checks.numerics.symbolic_calculus import (
    Coordinates,
    claimed_divergence,
    coordinates,
    divergence,
    gradient,
    hessian,
    inverse,
)

__all__ = ["PROOFS"]

f, t = symbols("f t", real=True)
g = symbols("g", positive=True)


def flow_divergence(field: Matrix, x: Coordinates) -> sympy.Expr:
    """Return ``sum_i d_i v_i``."""
    return sum((diff(field[i], x[i]) for i in range(len(x))), sympy.Integer(0))


def forward_change(q: sympy.Expr, x: Coordinates) -> sympy.Expr:
    """Return ``-div(f x q) + (g^2/2) lap q``."""
    return flow_divergence(-f * Matrix(x) * q + g**2 / 2 * gradient(q, x), x)


def reverse_change(rho: sympy.Expr, a: Matrix, M: Matrix, x: Coordinates) -> sympy.Expr:
    """Return ``-div(a rho) - (g^2/2) sum_ij d_i d_j (M_ij rho)``."""
    return flow_divergence(-a * rho - g**2 / 2 * divergence(M * rho, x), x)


def corrected_drift(x: Coordinates, s: Matrix, M: Matrix, div_M: Matrix) -> Matrix:
    """Return ``f x - (g^2/2)(s + M s + div M)``."""
    return f * Matrix(x) - g**2 / 2 * (s + M * s + div_M)


def literal_drift(x: Coordinates, s: Matrix, M: Matrix) -> Matrix:
    """Return ``f x - g^2 M s``, that of Eq. 9."""
    return f * Matrix(x) - g**2 * M * s


def claimed_excess(q: sympy.Expr, x: Coordinates, s: Matrix, M: Matrix, div_M: Matrix) -> sympy.Expr:
    """Return ``(g^2/2) div(q [(M - I) s - div M])``."""
    return g**2 / 2 * flow_divergence(q * (M * s - s - div_M), x)


def damped_residual() -> Matrix:
    """Reverse less forward change over q, ``M = (lambda I + s s^T)^{-1}``, every q in d = 1, 2."""
    rows: list[sympy.Expr] = []
    for d in (1, 2):
        x = coordinates(d)
        L = Function("L", real=True)(*x, t)
        q, s = exp(L), gradient(L, x)
        M = inverse(s)
        a = corrected_drift(x, s, M, claimed_divergence(s, hessian(L, x)))
        rows.append((reverse_change(q, a, M, x) - forward_change(q, x)) / q)
    return Matrix(rows)


def general_residual() -> Matrix:
    """The same for every q and every symmetric matrix field ``M(x, t)``, d = 1, 2, 3."""
    rows: list[sympy.Expr] = []
    for d in (1, 2, 3):
        x = coordinates(d)
        L = Function("L", real=True)(*x, t)
        q, s, M = exp(L), gradient(L, x), any_matrix(x)
        a = corrected_drift(x, s, M, divergence(M, x))
        rows.append((reverse_change(q, a, M, x) - forward_change(q, x)) / q)
    return Matrix(rows)


def literal_residual() -> Matrix:
    """Reverse less forward change over q for literal Eq. 9, less ``claimed_excess``, d = 1, 2, 3.

    Eq. 9 keeps the marginals if and only if ``q [(M - I) s - div M]`` has no divergence.
    """
    rows: list[sympy.Expr] = []
    for d in (1, 2, 3):
        x = coordinates(d)
        L = Function("L", real=True)(*x, t)
        q, s, M = exp(L), gradient(L, x), any_matrix(x)
        change = reverse_change(q, literal_drift(x, s, M), M, x) - forward_change(q, x)
        rows.append((change - claimed_excess(q, x, s, M, divergence(M, x))) / q)
    return Matrix(rows)


def any_matrix(x: Coordinates) -> Matrix:
    """Return a symmetric matrix of functions of x and t of which nothing is known."""
    name = "M{}{}".format
    return Matrix(len(x), len(x), lambda i, j: Function(name(min(i, j) + 1, max(i, j) + 1), real=True)(*x, t))


PROOFS = (
    Proof(
        "the corrected SDE has the marginals of the forward one, for every density and damping in d = 1, 2",
        ("A4",),
        r"-\nabla\!\cdot\!(a q) - \frac{g^2}{2} \sum_{ij} \partial_i \partial_j (M_{ij} q) = "
        r"-\nabla\!\cdot\!(f x q) + \frac{g^2}{2} \Delta q, \quad "
        r"a = f x - \frac{g^2}{2} (s + M s + \nabla\!\cdot\! M)",
        damped_residual,
    ),
    Proof(
        "the same for every symmetric M(x, t), in d = 1, 2, 3",
        ("A4",),
        r"-\nabla\!\cdot\!(a q) - \frac{g^2}{2} \sum_{ij} \partial_i \partial_j (M_{ij} q) = "
        r"-\nabla\!\cdot\!(f x q) + \frac{g^2}{2} \Delta q, \quad M = M(x, t)",
        general_residual,
    ),
    Proof(
        "what literal Eq. 9 changes beside that, for every density and every symmetric M(x, t) in d = 1, 2, 3",
        ("A4",),
        r"\partial_t \rho - \partial_t q = \frac{g^2}{2} \nabla\!\cdot\!\left(q\,[(M - I)\,s - "
        r"\nabla\!\cdot\! M]\right) \quad\mathrm{at}\quad \rho = q",
        literal_residual,
    ),
)
