r"""Proofs of H1 for every density and of H2 for every law of the data, in one to three dimensions.

H2 needs no mixture. ``q(x) = int p(y) N(x; alpha y, sigma^2 I) dy``, and derivatives in x act on the kernel alone:
``grad N/N`` and ``hess N/N`` are polynomials in y, so ``s`` and ``hess(q)/q`` are moments of the posterior of y, which
the proof keeps as symbols.
"""

from __future__ import annotations

from itertools import product

import sympy
from sympy import Function, Matrix, diff, exp, eye, log, symbols

from theory_checks.ledger.proofs import Proof
from theory_checks.numerics.symbolic_calculus import coordinates, gradient, hessian

__all__ = ["PROOFS"]

alpha, sigma = symbols("alpha sigma", positive=True)


def claimed_residual(q: sympy.Expr, x: tuple[sympy.Symbol, ...]) -> Matrix:
    """Return ``s s^T - hess(q)/q``, with ``s = grad q/q``."""
    s = gradient(q, x) / q
    return s * s.T - hessian(q, x) / q


def residual() -> Matrix:
    """``-hess log q - (s s^T - hess(q)/q)`` for a function q of which nothing is known, d = 1, 2, 3."""
    rows: list[sympy.Expr] = []
    for d in (1, 2, 3):
        x = coordinates(d)
        q = Function("q", positive=True)(*x)
        rows += list(-hessian(log(q), x) - claimed_residual(q, x))
    return Matrix(rows)


def claimed_tweedie(covariance: Matrix) -> Matrix:
    """Return ``I/sigma^2 - (alpha^2/sigma^4) Cov(y|x)``."""
    return eye(covariance.rows) / sigma**2 - alpha**2 / sigma**4 * covariance


def moment(powers: tuple[int, ...]) -> sympy.Expr:
    """Return ``E[y_1^{p_1} .. y_d^{p_d} | x]``, a symbol; the moment of order zero is one."""
    return symbols("m_" + "_".join(map(str, powers)), real=True) if any(powers) else sympy.Integer(1)


def posterior_mean(f: sympy.Expr, y: tuple[sympy.Symbol, ...]) -> sympy.Expr:
    """Return the posterior mean of a polynomial in y."""
    return sum((c * moment(powers) for powers, c in sympy.Poly(f, *y).terms()), sympy.Integer(0))


def tweedie() -> Matrix:
    """``F - (I/sigma^2 - alpha^2/sigma^4 Cov(y|x))`` for every law of y, d = 1, 2, 3."""
    rows: list[sympy.Expr] = []
    for d in (1, 2, 3):
        x, y = coordinates(d), symbols(f"y1:{d + 1}", real=True)
        kernel = exp(-sum((a - alpha * b) ** 2 for a, b in zip(x, y, strict=True)) / (2 * sigma**2))
        s = Matrix([posterior_mean(sympy.expand(f), y) for f in gradient(kernel, x) / kernel])
        curvature = Matrix(d, d, [posterior_mean(sympy.expand(f), y) for f in hessian(kernel, x) / kernel])
        mean = Matrix([posterior_mean(a, y) for a in y])
        second = Matrix(d, d, [posterior_mean(a * b, y) for a in y for b in y])
        F = s * s.T - curvature  # H1
        rows += list(F - claimed_tweedie(second - mean * mean.T))
    return Matrix(rows)


def claimed_component(mean: Matrix, variance: sympy.Expr, x: Matrix) -> tuple[Matrix, sympy.Expr]:
    """Return mean and variance of y given x for ``y ~ N(mean, variance I)``, the posterior of one component."""
    total = alpha**2 * variance + sigma**2
    return (alpha * variance * x + sigma**2 * mean) / total, variance * sigma**2 / total


def component_posterior() -> Matrix:
    """``log N(y; m, c I) + log N(x; alpha y, sigma^2 I) - log N(x; alpha m, v I) - log N(y; mu, u I)``, d = 1, 2, 3.

    With it the posterior of a mixture is a mixture with the weights of its components at x, whatever their number.
    """
    rows = []
    c = symbols("c", positive=True)
    for d in (1, 2, 3):
        x, y, m = (Matrix(symbols(f"{name}1:{d + 1}", real=True)) for name in "xym")

        def normal(at: Matrix, centre: Matrix, variance: sympy.Expr, d: int = d) -> sympy.Expr:
            return -(at - centre).dot(at - centre) / (2 * variance) - sympy.Rational(d, 2) * log(
                2 * sympy.pi * variance
            )

        mu, u = claimed_component(m, c, x)
        exponent = normal(y, m, c) + normal(x, alpha * y, sigma**2)
        exponent -= normal(x, alpha * m, alpha**2 * c + sigma**2) + normal(y, mu, u)
        rows.append(sympy.expand_log(sympy.expand(exponent), force=True))
    return Matrix(rows)


def claimed_mixture_covariance(r: list[sympy.Expr], mu: list[Matrix], u: list[sympy.Expr]) -> Matrix:
    """Return ``sum_k r_k (u_k I + mu_k mu_k^T) - (sum_k r_k mu_k)(sum_k r_k mu_k)^T``."""
    d = mu[0].rows
    mean = sum((a * b for a, b in zip(r, mu, strict=True)), sympy.zeros(d, 1))
    second = sum((a * (w * eye(d) + b * b.T) for a, b, w in zip(r, mu, u, strict=True)), sympy.zeros(d))
    return second - mean * mean.T


def mixture() -> Matrix:
    """H2 for a mixture, F by differentiation of ``log q``, Cov(y|x) by the posteriors of the components.

    Three components in 1-d, two isotropic ones in 2-d, all their parameters symbols. The densities of the components
    at x are symbols g_k with ``d_i g_k = -(x_i - alpha m_ki) g_k/v_k``, which is all that differentiation needs.
    """
    rows: list[sympy.Expr] = []
    for d, K in ((1, 3), (2, 2)):
        x = coordinates(d)
        at = Matrix(x)
        means = [Matrix([symbols(f"m{k}_{i}", real=True) for i in range(d)]) for k in range(K)]
        c = symbols(f"c1:{K + 1}", positive=True)
        v = [alpha**2 * variance + sigma**2 for variance in c]
        g = [Function(f"g{k}", positive=True)(*x) for k in range(K)]  # w_k N(x; alpha m_k, v_k I)
        rule = {diff(g[k], x[i]): -(x[i] - alpha * means[k][i]) / v[k] * g[k] for k, i in product(range(K), range(d))}
        q = sum(g)

        def derivative(f: sympy.Expr, i: int, x: tuple[sympy.Symbol, ...] = x,
                       rule: dict[sympy.Expr, sympy.Expr] = rule) -> sympy.Expr:  # fmt: skip
            return diff(f, x[i]).subs(rule)

        F = Matrix(d, d, lambda i, j, q=q, derivative=derivative: -derivative(derivative(q, i) / q, j))
        posterior = [claimed_component(mean, variance, at) for mean, variance in zip(means, c, strict=True)]
        mu, u = [p[0] for p in posterior], [p[1] for p in posterior]
        difference = F - claimed_tweedie(claimed_mixture_covariance([gk / q for gk in g], mu, u))
        plain = dict(zip(g, symbols(f"h1:{K + 1}", positive=True), strict=True))
        rows += list(difference.subs(plain))
    return Matrix(rows)


def claimed_square_gap(d: int, A: sympy.Expr, W: Matrix, noise: Matrix) -> sympy.Expr:
    """Return ``T = 2 sqrt(d) A + A^2 + 2 tr W - |W|^2 + 2 eps^T ((sqrt(d) + A + 1) I - W) eps`` of H3c, ``W = S V``."""
    root = sympy.sqrt(d)
    quadratic = (noise.T * ((root + A + 1) * eye(d) - W) * noise)[0]
    return 2 * root * A + A**2 + 2 * W.trace() - sum(w**2 for w in W) + 2 * quadratic


def bound_squares() -> Matrix:
    """``(sqrt(d) + A + |eps|^2)^2 - |I - W - eps eps^T|^2 - T`` for every symmetric W and every eps, d = 1, 2, 3."""
    A = symbols("A", positive=True)
    rows = []
    for d in (1, 2, 3):
        noise = Matrix(symbols(f"e1:{d + 1}", real=True))
        W = Matrix(d, d, lambda i, j: symbols(f"w{min(i, j) + 1}{max(i, j) + 1}", real=True))
        error = eye(d) - W - noise * noise.T
        bound = sympy.sqrt(d) + A + noise.dot(noise)
        rows.append(bound**2 - sum(e**2 for e in error) - claimed_square_gap(d, A, W, noise))
    return Matrix(rows)


def claimed_trace(r: list[sympy.Expr], y: list[Matrix]) -> sympy.Expr:
    """Return ``(1/2) sum_ij r_i r_j |y_i - y_j|^2``."""
    return sum(a * b * (p - q).dot(p - q) for a, p in zip(r, y, strict=True) for b, q in zip(r, y, strict=True)) / 2


def covariance_trace() -> Matrix:
    """``tr Cov`` of four points with weights of sum one less `claimed_trace`, d = 1, 2, 3: at most ``D^2/2``."""
    rows = []
    for d in (1, 2, 3):
        y = [Matrix(symbols(f"y{k}_1:{d + 1}", real=True)) for k in range(4)]
        r = list(symbols("r1:4", positive=True))
        r.append(1 - sum(r))
        mean = sum((a * p for a, p in zip(r, y, strict=True)), sympy.zeros(d, 1))
        trace = sum(a * (p - mean).dot(p - mean) for a, p in zip(r, y, strict=True))
        rows.append(trace - claimed_trace(r, y))
    return Matrix(rows)


def claimed_isotropic_gains(s: Matrix, F: Matrix) -> tuple[sympy.Expr, sympy.Expr]:
    """Return ``a (|s|^2 - 2 tr F)`` and ``|s|^4 (1 - 1/d) - 2 <s, F s> + 2 |s|^2 tr F/d``, with ``a = |s|^2/d``."""
    d, length = s.rows, s.dot(s)
    trace = F.trace()
    over_outer = length**2 * (1 - sympy.Rational(1, d)) - 2 * (s.T * F * s)[0] + 2 * length * trace / d
    return length / d * (length - 2 * trace), over_outer


def isotropic_gains() -> Matrix:
    """``|F - a I|^2 - |F|^2`` and ``|F - s s^T|^2 - |F - a I|^2`` less their claimed forms, every F and s, d = 2, 3."""
    rows = []
    for d in (2, 3):
        s = Matrix(symbols(f"s1:{d + 1}", real=True))
        F = Matrix(d, d, lambda i, j: symbols(f"f{min(i, j) + 1}{max(i, j) + 1}", real=True))
        distances = [sum(e**2 for e in F - m) for m in (sympy.zeros(d, d), s.dot(s) / d * eye(d), s * s.T)]
        zero, isotropic, outer = distances
        first, second = claimed_isotropic_gains(s, F)
        rows += [isotropic - zero - first, outer - isotropic - second]
    return Matrix(rows)


PROOFS = (
    Proof(
        "the residual, for every density in d = 1, 2, 3",
        ("H1",),
        r"-\nabla^2 \log q = \frac{\nabla q\,\nabla q^\top}{q^2} - \frac{\nabla^2 q}{q}",
        residual,
    ),
    Proof(
        "Tweedie's second order, for every law of the data in d = 1, 2, 3",
        ("H2",),
        r"-\nabla^2 \log \int p(y)\,e^{-|x - \alpha y|^2/2\sigma^2}\,dy = \frac{I}{\sigma^2} - "
        r"\frac{\alpha^2}{\sigma^4}\left(E[y y^\top | x] - E[y|x]\,E[y|x]^\top\right)",
        tweedie,
    ),
    Proof(
        "the posterior of a component of a mixture, in d = 1, 2, 3",
        ("H2",),
        r"N(y; m, c I)\,N(x; \alpha y, \sigma^2 I) = N(x; \alpha m, v I)\,N\left(y; "
        r"\frac{\alpha c\,x + \sigma^2 m}{v}, \frac{c\,\sigma^2}{v} I\right), \quad v = \alpha^2 c + \sigma^2",
        component_posterior,
    ),
    Proof(
        "the same for mixtures, three components in 1-d and two isotropic ones in 2-d",
        ("H2",),
        r"-\nabla^2 \log \sum_k w_k N(x; \alpha m_k, v_k I) = \frac{I}{\sigma^2} - \frac{\alpha^2}{\sigma^4}\left["
        r"\sum_k r_k (u_k I + \mu_k \mu_k^\top) - \sum_{k,l} r_k r_l\,\mu_k \mu_l^\top\right]",
        mixture,
    ),
    Proof(
        "both sides of Prop. 2, squared, for every symmetric W in d = 1, 2, 3",
        ("H3", "H3c"),
        r"(\sqrt{d} + A + |\epsilon|^2)^2 - |I - W - \epsilon\epsilon^\top|^2 = 2\sqrt{d}\,A + A^2 + 2\,\mathrm{tr}\,W "
        r"- |W|^2 + 2\,\epsilon^\top\left((\sqrt{d} + A + 1) I - W\right)\epsilon",
        bound_squares,
    ),
    Proof(
        "the trace of a covariance, for any four points in d = 1, 2, 3",
        ("H3", "H3c"),
        r"\sum_i r_i |y_i - m|^2 = \frac12 \sum_{ij} r_i r_j |y_i - y_j|^2 \le "
        r"\frac{D^2}{2}\left(1 - \sum_i r_i^2\right)",
        covariance_trace,
    ),
    Proof(
        "distances from the isotropic Hessian, for every symmetric F and every s in d = 2, 3",
        ("H6",),
        r"|F - aI|^2 - |F|^2 = a\,(|s|^2 - 2\,\mathrm{tr}F), \quad |F - s s^\top|^2 - |F - aI|^2 = |s|^4 "
        r"\left(1 - \frac1d\right) - 2\,s^\top F s + \frac{2 |s|^2\,\mathrm{tr}F}{d}, \quad a = \frac{|s|^2}{d}",
        isotropic_gains,
    ),
)
