r"""Proofs of K1 to K3 in every dimension, by the algebra of Gram matrices.

A vector of ``span{b_1 .. b_n}`` is the column of its coefficients, and the inner products of the ``b_i`` are symbols,
the Gram matrix. The operator ``v v^T`` takes coefficients c to ``v (v^T Gram c)``. Nothing else of R^d is used: what
holds for all Gram matrices holds for all vectors of all dimensions.
"""

from __future__ import annotations

import sympy
from sympy import Matrix, eye, sqrt, zeros

from theory_checks.ledger.proofs import Proof

__all__ = ["PROOFS"]

lam = sympy.symbols("lambda", positive=True)
kappa = sympy.symbols("kappa", nonnegative=True)
# Squared lengths <s,s>, <e,e> and inner products of generic vectors.
S, E = sympy.symbols("S E", positive=True)
P, X, Q = sympy.symbols("P X Q", real=True)


def outer(v: Matrix, gram: Matrix) -> Matrix:
    """Return the operator ``v v^T`` on coefficients."""
    return v * v.T * gram


# --- K1: the basis is s and an arbitrary x, with <s,s> = S, <s,x> = P; <x,x> = Q never enters.
_GRAM_S = Matrix([[S, P], [P, Q]])
_s, _x = Matrix([1, 0]), Matrix([0, 1])


def claimed_inverse(A: Matrix) -> Matrix:
    """Return ``(1/lambda)(I - A/(lambda + |s|^2))`` for ``A = s s^T``."""
    return (eye(2) - A / (lam + S)) / lam


def claimed_root(A: Matrix) -> Matrix:
    """Return ``lambda^{-1/2} (I - (1 - sqrt(lambda/(lambda + |s|^2))) A/|s|^2)``."""
    return (eye(2) - (1 - sqrt(lam / (lam + S))) * A / S) / sqrt(lam)


def claimed_log_determinant(d: sympy.Expr) -> sympy.Expr:
    """Return ``(d - 1) log lambda + log(lambda + |s|^2)``."""
    return (d - 1) * sympy.log(lam) + sympy.log(lam + S)


def inverse() -> Matrix:
    """``G M x - x`` for an arbitrary x."""
    A = outer(_s, _GRAM_S)
    return (lam * eye(2) + A) * claimed_inverse(A) * _x - _x


def square_root() -> Matrix:
    """``(M^{1/2})^2 x - M x`` for an arbitrary x."""
    A = outer(_s, _GRAM_S)
    root = claimed_root(A)
    return (root * root * _x - claimed_inverse(A) * _x).applyfunc(sympy.simplify)


def log_determinant() -> Matrix:
    """``G s = (lambda + |s|^2) s``, ``G y = lambda y`` for every y orthogonal to s, and the sum of d logarithms.

    The d eigenvalues are ``lambda + |s|^2``, once, and ``lambda``, d - 1 times. The last rows are the determinants of
    the matrices themselves for d = 1 to 4.
    """
    A = outer(_s, _GRAM_S)
    G = lam * eye(2) + A
    y = _x - P / S * _s  # an arbitrary vector, less its part along s
    d = sympy.symbols("d", positive=True, integer=True)
    total = sympy.expand_log(sympy.log((lam + S) * lam ** (d - 1)))
    rows = [*(G * _s - (lam + S) * _s), *(G * y - lam * y), sympy.expand(total - claimed_log_determinant(d))]
    for n in range(1, 5):
        s = Matrix(sympy.symbols(f"s1:{n + 1}", real=True))
        dense = (lam * eye(n) + s * s.T).det(method="berkowitz")
        product = sympy.exp(claimed_log_determinant(sympy.Integer(n)))
        rows.append(sympy.expand(dense - sympy.expand(product).subs(S, s.dot(s))))
    return Matrix(rows)


# --- K2 and K3: the basis is e and D = p - e, with <e,e> = E, <e,D> = X, <D,D> = Q.
_GRAM_E = Matrix([[E, X], [X, Q]])
_e, _D = Matrix([1, 0]), Matrix([0, 1])


def published_direction() -> Matrix:
    """Return Algorithm 1's ``r = (lambda I + v v^T)^{-1} e`` with ``v = kappa p + (1 - kappa) e``, by Eq. 8."""
    v = kappa * (_e + _D) + (1 - kappa) * _e
    along, squared = (v.T * _GRAM_E * _e)[0], (v.T * _GRAM_E * v)[0]
    return (_e - v * along / (lam + squared)) / lam


def published_total() -> sympy.Expr:
    """Return ``lambda + <v,v>``."""
    return lam + E + 2 * kappa * X + kappa**2 * Q


def multistep_direction() -> Matrix:
    """Return ``(lambda + kappa X + kappa^2 Q) e - kappa (E + kappa X) D``."""
    return (lam + kappa * X + kappa**2 * Q) * _e - kappa * (E + kappa * X) * _D


def rotation() -> tuple[sympy.Expr, Matrix, sympy.Expr]:
    """Return ``zeta``, ``p' = D - (X/E) e`` and ``w = <p',p'>``."""
    w = Q - X**2 / E
    return kappa * (E + kappa * X) / (lam + kappa**2 * w), _D - X / E * _e, w


def identity_at_zero_mixing() -> Matrix:
    """``|e| r/|r| - e`` at ``kappa = 0``."""
    r = published_direction().subs(kappa, 0)
    length = sqrt(sympy.factor((r.T * _GRAM_E * r)[0]))
    return (sqrt(E) * r / length - _e).applyfunc(sympy.simplify)


def multistep_form() -> Matrix:
    """``lambda (lambda + <v,v>) r`` less the multistep form."""
    return lam * published_total() * published_direction() - multistep_direction()


def claimed_eta() -> sympy.Expr:
    """Return ``kappa (E + kappa X)/(lambda + kappa X + kappa^2 Q)``."""
    return kappa * (E + kappa * X) / (lam + kappa * X + kappa**2 * Q)


def extrapolation() -> Matrix:
    """The multistep form less a multiple of ``e + eta (e - p)``."""
    p = _e + _D
    return multistep_direction() - (lam + kappa * X + kappa**2 * Q) * (_e + claimed_eta() * (_e - p))


def rotation_form() -> Matrix:
    """The multistep form less a multiple of ``e - zeta p'``; ``<e,p'>``; and ``<p',p'> - w``."""
    zeta, orthogonal, w = rotation()
    difference = multistep_direction() - (lam + kappa**2 * w) * (_e - zeta * orthogonal)
    lengths = (orthogonal.T * _GRAM_E * orthogonal)[0] - w
    return Matrix([*difference, (_e.T * _GRAM_E * orthogonal)[0], lengths])


def claimed_cosine() -> sympy.Expr:
    """Return ``lambda E + kappa^2 (E Q - X^2)``, positive by the inequality of Cauchy and Schwarz."""
    return lam * E + kappa**2 * (E * Q - X**2)


def acute_angle() -> sympy.Expr:
    """``lambda (lambda + <v,v>) <r,e>`` less an expression that is positive."""
    along = (published_direction().T * _GRAM_E * _e)[0]
    return lam * published_total() * along - claimed_cosine()


def tangent_bound() -> sympy.Expr:
    """``(|e|/(2 sqrt(lambda)))(1 + kappa X/E) - tan`` less a square, where ``tan = zeta |p'|/|e|``."""
    zeta, _, w = rotation()
    length = sympy.symbols("w", positive=True)  # |p'|
    tangent = (zeta * length / sqrt(E)).subs(Q, length**2 + (Q - w))
    square = (sqrt(lam) - kappa * length) ** 2
    factor = sqrt(E) * (1 + kappa * X / E) / (2 * sqrt(lam))
    return factor - tangent - factor * square / (lam + kappa**2 * length**2)


def rank_two_zeta(W: Matrix, a: Matrix) -> Matrix:
    """Return ``kappa <e,e> (lambda I + kappa^2 W)^{-1} a``."""
    return kappa * E * (lam * eye(2) + kappa**2 * W).inv(method="ADJ") * a


def rank_two() -> Matrix:
    """``(lambda I + V V^T)(e - sum_j zeta_j p'_j)`` is a multiple of e: its coefficients of the ``p'_j``, and of e.

    Basis ``e, p'_1, p'_2`` with ``<e,p'_j> = 0``, ``<p'_i,p'_j> = W_ij``, and ``v_j = a_j e + kappa p'_j``.
    """
    W11, W12, W22, a1, a2 = sympy.symbols("W11 W12 W22 a1 a2", real=True)
    W, a = Matrix([[W11, W12], [W12, W22]]), Matrix([a1, a2])
    gram = sympy.diag(E, W)
    zeta = rank_two_zeta(W, a)
    direction = Matrix([1, -zeta[0], -zeta[1]])
    V = [Matrix([a1, kappa, 0]), Matrix([a2, 0, kappa])]
    image = (lam * eye(3) + sum((outer(v, gram) for v in V), zeros(3))) * direction
    multiple = lam * (1 + (a.T * zeta)[0] / kappa)
    return Matrix([image[0] - multiple, image[1], image[2]])


PROOFS = (
    Proof(
        "the inverse, in every dimension",
        ("K1",),
        r"(\lambda I + s s^\top)\,\frac1\lambda\left(I - \frac{s s^\top}{\lambda + |s|^2}\right)\,x = x",
        inverse,
    ),
    Proof(
        "the square root, in every dimension",
        ("K1",),
        r"\left[\lambda^{-1/2}\left(I - \left(1 - \sqrt{\tfrac{\lambda}{\lambda+|s|^2}}\right)"
        r"\frac{s s^\top}{|s|^2}\right)\right]^2 x = M x",
        square_root,
    ),
    Proof(
        "the determinant, in every dimension by its eigenvalues, and expanded for d = 1 to 4",
        ("K1",),
        r"\log\det(\lambda I + s s^\top) = (d-1)\log\lambda + \log(\lambda + |s|^2)",
        log_determinant,
    ),
    Proof(
        "the identity at kappa = 0, in every dimension",
        ("K2",),
        r"|\epsilon|\,\frac{(\lambda I + \epsilon\epsilon^\top)^{-1}\epsilon}"
        r"{|(\lambda I + \epsilon\epsilon^\top)^{-1}\epsilon|} = \epsilon",
        identity_at_zero_mixing,
    ),
    Proof(
        "the multistep form, in every dimension",
        ("K3",),
        r"\lambda(\lambda + |v|^2)\,(\lambda I + v v^\top)^{-1}\epsilon = (\lambda + \kappa X + \kappa^2 Q)\,\epsilon "
        r"- \kappa(E + \kappa X)\,D",
        multistep_form,
    ),
    Proof(
        "an extrapolation, in every dimension",
        ("K3",),
        r"(\lambda + \kappa X + \kappa^2 Q)\,\epsilon - \kappa(E + \kappa X)\,D = (\lambda + \kappa X + \kappa^2 Q)"
        r"\,\left[\epsilon + \eta\,(\epsilon - \epsilon_{prev})\right], \quad "
        r"\eta = \frac{\kappa(E + \kappa X)}{\lambda + \kappa X + \kappa^2 Q}",
        extrapolation,
    ),
    Proof(
        "a rotation in the plane of both noises, in every dimension",
        ("K3",),
        r"(\lambda + \kappa X + \kappa^2 Q)\,\epsilon - \kappa(E + \kappa X)\,D = (\lambda + \kappa^2 w)"
        r"(\epsilon - \zeta p'), \quad \zeta = \frac{\kappa(E + \kappa X)}{\lambda + \kappa^2 w}, \quad "
        r"\langle \epsilon, p'\rangle = 0",
        rotation_form,
    ),
    Proof(
        "the angle is below 90 degrees, in every dimension",
        ("K3",),
        r"\lambda(\lambda + |v|^2)\,\langle (\lambda I + v v^\top)^{-1}\epsilon, \epsilon\rangle = "
        r"\lambda E + \kappa^2 (E Q - X^2) > 0",
        acute_angle,
    ),
    Proof(
        "the largest tangent, in every dimension",
        ("K3",),
        r"\frac{|\epsilon|}{2\sqrt\lambda}\left(1 + \frac{\kappa X}{E}\right) - \zeta\,\frac{|p'|}{|\epsilon|} = "
        r"\frac{|\epsilon|}{2\sqrt\lambda}\left(1 + \frac{\kappa X}{E}\right)\,"
        r"\frac{(\sqrt\lambda - \kappa |p'|)^2}{\lambda + \kappa^2 |p'|^2}",
        tangent_bound,
    ),
    Proof(
        "the form of rank two, in every dimension",
        ("K3", "K6"),
        r"(\lambda I + v_1 v_1^\top + v_2 v_2^\top)(\epsilon - \zeta_1 p'_1 - \zeta_2 p'_2) = "
        r"\lambda\left(1 + E\,a^\top(\lambda I + \kappa^2 W)^{-1} a\right)\,\epsilon, \quad "
        r"\zeta = \kappa E\,(\lambda I + \kappa^2 W)^{-1} a",
        rank_two,
    ),
)
