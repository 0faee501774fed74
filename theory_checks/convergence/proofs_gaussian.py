"""Proofs for C8 and C10: the sectors of an isotropic Gaussian in any dimension, and what does not order chi-squared."""

from __future__ import annotations

import sympy
from sympy import Matrix, diff, exp, symbols

from theory_checks.ledger.proofs import Proof

__all__ = ["PROOFS"]

r, a, d, L, t, wave = symbols("r a d L t w", positive=True)
x = symbols("x", real=True)


def claimed_rate(exponent: sympy.Expr) -> sympy.Expr:
    """Return ``phi(a) = 2 a - 4 a^2``."""
    return 2 * exponent - 4 * exponent**2


def claimed_strength() -> sympy.Expr:
    """Return the L that solves ``2 L a^2 - (L + d + 2) a + 1 = 0``."""
    return ((d + 2) * a - 1) / (2 * a**2 - a)


def log_slope() -> sympy.Expr:
    """Return ``(log w)' = (d - 1)/r - r``."""
    return (d - 1) / r - r


def radial() -> sympy.Expr:
    """``(h' + l' h)' + phi(a)(L + r^2) h`` over ``e^{a r^2}`` for ``h = r e^{a r^2}``, every d."""
    h = r * exp(a * r**2)
    flux = diff(h, r) + log_slope() * h
    return sympy.simplify((diff(flux, r) + claimed_rate(a) * (claimed_strength() + r**2) * h) / exp(a * r**2))


def generator(u: sympy.Expr) -> sympy.Expr:
    """Return ``(1/w)(w u'/(L + r^2))' - (d - 1) u/(L r^2)``, the generator in the sector of degree one."""
    flux = diff(u, r) / (L + r**2)
    return diff(flux, r) + log_slope() * flux - (d - 1) * u / (L * r**2)


def first_degree() -> sympy.Expr:
    """``A u + phi(1/(2 L)) u`` over u for ``u = r e^{r^2/(2 L)}``, every d."""
    u = r * exp(r**2 / (2 * L))
    return sympy.simplify(generator(u) / u) + claimed_rate(1 / (2 * L))


def claimed_excess() -> sympy.Expr:
    """Return ``(2 - L)(L^2/2 + L r^2/2 + (d + 1) L + (d - 1) r^2)``."""
    return (2 - L) * (L**2 / 2 + L * r**2 / 2 + (d + 1) * L + (d - 1) * r**2)


def first_degree_barta() -> sympy.Expr:
    """``(-A u/u - 1/4) 2 L (L + r^2)^2`` less its claimed form for ``u = r e^{r^2/4}``, every d."""
    u = r * exp(r**2 / 4)
    rate = -sympy.simplify(generator(u) / u) - sympy.Rational(1, 4)
    return rate * 2 * L * (L + r**2) ** 2 - claimed_excess()


def claimed_crossing() -> sympy.Expr:
    """Return ``(L - d - 1)/(2 L)``."""
    return (L - d - 1) / (2 * L)


def which_is_less() -> sympy.Expr:
    """The polynomial of the radial exponent at ``a = 1/(2 L)`` less its claimed value."""
    half = 1 / (2 * L)
    return 2 * L * half**2 - (L + d + 2) * half + 1 - claimed_crossing()


def claimed_eigenvalues() -> tuple[sympy.Expr, sympy.Expr]:
    """Return the values below which the two chains' largest and smallest modes decay: 3, and ``3 - sqrt(3)``."""
    return sympy.Integer(3), 3 - sympy.sqrt(3)


def three_states() -> Matrix:
    """``A f - 3 f`` for the start ``f = (-1, 2, -1)``, and ``det(B - mu)`` at ``mu = 3 - sqrt(3)``."""
    A = Matrix([[1, -1, 0], [-1, 2, -1], [0, -1, 1]])
    B = A + Matrix([[0, 0, 0], [0, 1, -1], [0, -1, 1]])
    large, small = claimed_eigenvalues()
    f = Matrix([-1, 2, -1])
    return Matrix([*(A * f - large * f), (B - small * sympy.eye(3)).det()])


def claimed_wave() -> sympy.Expr:
    """Return ``sin(w e^{-t} x) exp(-w^2 (1 - e^{-2t})/2)``."""
    return sympy.sin(wave * exp(-t) * x) * exp(-(wave**2) * (1 - exp(-2 * t)) / 2)


def mehler() -> Matrix:
    """``d_t f - (f'' - x f')`` over its exponential for the claimed wave, and its start less ``sin(w x)``."""
    f = claimed_wave()
    residual = diff(f, t) - diff(f, x, 2) + x * diff(f, x)
    return Matrix(
        [sympy.simplify(residual / exp(-(wave**2) * (1 - exp(-2 * t)) / 2)), f.subs(t, 0) - sympy.sin(wave * x)]
    )


PROOFS = (
    Proof(
        "the eigenfunction of the radius, for every d",
        ("C8",),
        r"(h' + \ell' h)' = -(2a - 4a^2)(L + r^2)\,h, \quad h = r\,e^{a r^2},\; \ell' = \frac{d-1}{r} - r,\; "
        r"2La^2 - (L + d + 2)\,a + 1 = 0",
        radial,
    ),
    Proof(
        "the eigenfunction of degree one, for every d",
        ("C8",),
        r"A u = -\frac{L - 1}{L^2}\,u, \quad u = r\,e^{r^2/2L}",
        first_degree,
    ),
    Proof(
        "Barta's inequality in degree one, for every d",
        ("C8",),
        r"\left(-\frac{A u}{u} - \frac14\right) 2L\,(L + r^2)^2 = (2 - L)\left(\frac{L^2}{2} + \frac{L r^2}{2} + (d + "
        r"1) L + (d - 1)\,r^2\right), \quad u = r\,e^{r^2/4}",
        first_degree_barta,
    ),
    Proof(
        "which of the two exponents is the smaller, for every d",
        ("C8",),
        r"2La^2 - (L + d + 2)\,a + 1 = \frac{L - d - 1}{2L} \quad\mathrm{at}\quad a = \frac{1}{2L}",
        which_is_less,
    ),
    Proof(
        "three states: the start is a fast mode of the one chain, and the other's gap is larger",
        ("C10",),
        r"A f = 3 f,\; f = (-1, 2, -1); \quad \det(B - (3 - \sqrt{3})\,I) = 0",
        three_states,
    ),
    Proof(
        "what Langevin makes of a wave",
        ("C10",),
        r"\partial_t f = f'' - x f', \quad f = \sin(w e^{-t} x)\,e^{-w^2 (1 - e^{-2t})/2}, \quad f(0) = \sin(w x)",
        mehler,
    ),
)
