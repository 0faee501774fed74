r"""Claim C10: what ``lambda M <= I`` orders against plain Langevin, and what it does not (ours).

Let ``A`` and ``B`` be the generators ``-(1/q) div(q D grad .)`` of the damped dynamics, ``D = lambda M``, and of plain
Langevin, ``D = I``. Both are self-adjoint in ``L2(q)``, and ``0 <= <f, A f> <= <f, B f>``. With ``f = rho_0/q - 1``,
``chi2(rho_t|q) = <f, exp(-2 t A) f>``.

*Ordered.* From any one density chi-squared falls no faster: ``-d chi2/dt = 2 <f, A f>``. The gap is no larger: it is
the least ``<f, A f>/<f, f>``. Chi-squared summed over all time is no less: ``int chi2 dt = <f, A^-1 f>/2``, and

    ``<f, A^-1 f> = sup_g 2 <f, g> - <g, A g>``

falls as A grows. So the asymptotic variance of a time average, ``2 <f, A^-1 f>`` for the observable f, is no less
(Peskun 1973, Tierney 1998).

*Not ordered.* Chi-squared at one time t. ``exp(-t .)`` does not reverse the order of operators, as ``1/.`` does. Three
states in a row with equal weights, a start in the middle, and conductances (1, 1) against (1, 2):

    ``A = [[1, -1, 0], [-1, 2, -1], [0, -1, 1]]``, ``B = A + [[0, 0, 0], [0, 1, -1], [0, -1, 1]] >= A``.

The start ``(-1, 2, -1)`` is an eigenvector of A, of its larger eigenvalue 3: ``chi2 = 2 exp(-6 t)``. B has the
eigenvalues ``3 -+ sqrt(3)``, and the start has a part in the smaller one, 1.27, which is above A's smaller one, 1: the
dynamics with the larger gap end up behind, by a factor that grows without bound.

*On the line.* For ``q = N(0, 1)`` and ``rho_0 = q (1 + sin(w x))`` Langevin has, by Mehler's formula,

    ``chi2(rho_t|q) = exp(-w^2 (1 - e^{-2t})) (1 - exp(-2 w^2 e^{-2t}))/2``.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy.linalg
from flint import arb, arb_mat, fmpq, fmpq_mat
from matplotlib.figure import Figure

import toy
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.proofs import with_proofs
from theory_checks.numerics.fokker_planck import reversible_flow
from theory_checks.numerics.interval_minimum import lower, upper
from theory_checks.numerics.levels import U

__all__ = [
    "DAMPED",
    "PLAIN",
    "Curve",
    "check_order",
    "draw_order",
    "galerkin_chi_squared",
    "langevin_chi_squared",
    "row_generator",
    "state_chi_squared",
    "unordered",
    "volumes_chi_squared",
]

#: Conductances between neighbours of three states in a row.
DAMPED, PLAIN = (1, 1), (1, 2)

_DAMPING, _WAVE = 3.0, 2.5
_TIMES = (0.5, 1.0, 2.0, 4.0)


def row_generator(conductances: Sequence[int]) -> list[list[int]]:
    """Return ``-L`` of a chain in a row with equal weights: ``sum_j c_ij (f_i - f_j)``, an (n, n) list."""
    n = len(conductances) + 1
    rows = [[0] * n for _ in range(n)]
    for i, c in enumerate(conductances):
        rows[i][i] += c
        rows[i + 1][i + 1] += c
        rows[i][i + 1] -= c
        rows[i + 1][i] -= c
    return rows


def state_chi_squared(conductances: Sequence[int], t: float) -> arb:
    """Enclose chi-squared at time t from the middle of three states in a row: ``3 exp(-2 t A)_22 - 1``."""
    return 3 * (arb_mat(row_generator(conductances)) * arb(-2 * t)).exp()[1, 1] - 1


def langevin_chi_squared(wave: float, times: np.ndarray) -> np.ndarray:
    """Return ``exp(-w^2 (1 - e^{-2t})) (1 - exp(-2 w^2 e^{-2t}))/2``, shape of ``times``."""
    left = np.exp(-2 * times)
    return np.asarray(np.exp(-(wave**2) * (1 - left)) * -np.expm1(-2 * wave**2 * left) / 2)


class Curve(NamedTuple):
    """Chi-squared over time, (len(times),), and its error."""

    value: np.ndarray
    error: np.ndarray


def volumes_chi_squared(damping: float, wave: float, times: np.ndarray, cells: int) -> tuple[Curve, Curve]:
    """Return chi-squared of the damped and of plain Langevin dynamics by finite volumes, extrapolated in the cells."""
    q, curves = toy.target("gauss-1d"), []
    for dynamics in ("corrected_normalised", "langevin"):
        found = []
        for n in (cells // 4, cells // 2, cells):
            flow = reversible_flow(q, damping=damping, dynamics=dynamics, low=-9.0, high=9.0, cells=n)
            start = flow.weight * (1 + np.sin(wave * flow.x))
            found.append(flow.chi_squared(start / start.sum(), times))
        # Second order in the cells; the error is what the last halving changes of the extrapolated value, and the
        # rounding of sums over the cells.
        once = [(4 * b - a) / 3 for a, b in itertools.pairwise(found)]
        curves.append(Curve(once[1], np.abs(once[1] - once[0]) + cells * U * once[1]))
    return curves[0], curves[1]


def _galerkin(damping: float, wave: float, times: np.ndarray, modes: int) -> np.ndarray:
    nodes = 4 * modes
    x, V = scipy.linalg.eigh_tridiagonal(np.zeros(nodes), np.sqrt(np.arange(1.0, nodes)))
    inside = (V * (damping / (damping + x**2))) @ V.T  # of lambda M, between normalised Hermite polynomials
    root = np.sqrt(np.arange(1.0, modes + 1))  # h_n' = sqrt(n) h_{n-1}
    A = root[:, None] * inside[:modes, :modes] * root
    n = np.arange(1, modes + 1)
    # E[sin(w X) h_n] = w^n/sqrt(n!) exp(-w^2/2) Im(i^n).
    sizes = np.exp(n * math.log(wave) - 0.5 * np.array([math.lgamma(k + 1) for k in n]) - wave**2 / 2)
    start = sizes * np.array([(0, 1, 0, -1)[k % 4] for k in n])
    rates, vectors = np.linalg.eigh(A)
    return np.asarray(np.exp(-2 * np.outer(times, rates)) @ (vectors.T @ start) ** 2)


def galerkin_chi_squared(damping: float, wave: float, times: np.ndarray, modes: int) -> Curve:
    """Return chi-squared of the damped dynamics by Galerkin's method in Hermite polynomials, which knows no grid.

    ``A_mn = sqrt(m n) E_q[h_{m-1} h_{n-1} lambda/(lambda + x^2)]``, by Gauss's rule on four times as many nodes.
    """
    fine, coarse = (_galerkin(damping, wave, times, n) for n in (modes, modes // 2))
    return Curve(fine, np.abs(fine - coarse) + modes * U * fine)


def unordered(states: int, trials: int, generator: np.random.Generator) -> int:
    """Count, in exact rationals, random chains and observables whose energies or inverse forms are not ordered.

    Conductances between all pairs of states with equal weights, those of A at most those of B; ``<f, A^+ f>`` by
    solving with ``A + 1 1^T``, for f of mean zero.
    """
    failing = 0
    for _ in range(trials):
        A, B = (fmpq_mat(states, states) for _ in range(2))
        for i in range(states):
            for j in range(i):
                large = fmpq(int(generator.integers(1, 50)), 10)
                small = large * fmpq(int(generator.integers(1, 11)), 10)
                for matrix, c in ((A, small), (B, large)):
                    for a, b in ((i, j), (j, i)):
                        matrix[a, a] += c
                        matrix[a, b] -= c
        values = [fmpq(int(v)) for v in generator.integers(-20, 21, states)]
        mean = sum(values, fmpq(0)) / states
        f = fmpq_mat(states, 1, [v - mean for v in values])
        ones = fmpq_mat(states, states, [1] * states**2)
        energies = [(f.transpose() * m * f)[0, 0] for m in (A, B)]
        inverses = [(f.transpose() * (m + ones).solve(f))[0, 0] for m in (A, B)]
        failing += not (energies[0] <= energies[1] and inverses[0] >= inverses[1])
    return failing


@with_proofs("C10")
def check_order(settings: Settings) -> Finding:
    """C10: ``lambda M <= I`` orders gap, dissipation and the time integral of chi-squared, not chi-squared itself."""
    times = np.linspace(0.0, 3.0, 61)
    damped, plain = ([state_chi_squared(c, t) for t in _TIMES] for c in (DAMPED, PLAIN))
    ahead = [lower(b - a) for a, b in zip(damped, plain, strict=True)][1:]
    closed = max(abs(float(a) - 2 * math.exp(-6 * t)) for a, t in zip(damped, _TIMES, strict=True))
    gaps = [sorted(np.linalg.eigvalsh(np.array(row_generator(c), dtype=float)))[1] for c in (DAMPED, PLAIN)]
    exact_gap = max(abs(gaps[0] - 1), abs(gaps[1] - (3 - math.sqrt(3))))
    failing = sum(unordered(n, settings.pick(30, 300), np.random.default_rng(settings.seed + n)) for n in (3, 5, 8))

    volumes, langevin = volumes_chi_squared(_DAMPING, _WAVE, times, settings.pick(800, 1600))
    galerkin = galerkin_chi_squared(_DAMPING, _WAVE, times, settings.pick(120, 240))
    exact = langevin_chi_squared(_WAVE, times)
    apart = float((np.abs(volumes.value - galerkin.value) / (volumes.error + galerkin.error)).max())
    mehler = float((np.abs(langevin.value - exact) / langevin.error).max())
    # Where Langevin is furthest behind, as a share of its own value.
    at = int(np.argmin(galerkin.value / exact))
    gain = float(exact[at] / galerkin.value[at])
    error = gain * float((galerkin.error + volumes.error)[at] / galerkin.value[at])
    figures = (
        Measured("three states at t = 1: chi-squared of the smaller conductances", float(damped[1]),
                 low=lower(damped[1]), high=upper(damped[1]), basis="certified: ball arithmetic"),
        Measured("the same of the larger ones", float(plain[1]), low=lower(plain[1]), high=upper(plain[1]),
                 basis="certified: ball arithmetic"),
        Measured("smaller against 2 exp(-6 t)", closed, limit=1e-13, basis="rounding of numbers below one"),
        Measured("gaps of the two against 1 and 3 - sqrt(3)", exact_gap, limit=1e-13, basis="rounding"),
        Measured("chains whose dissipation or integral of chi-squared is not ordered", failing, limit=0,
                 basis="exact rationals; a theorem: none"),
        Measured("N(0, 1): damped chi-squared, volumes against Hermite polynomials, over the errors", apart, limit=1,
                 basis="halved cells; half as many modes"),
        Measured("N(0, 1): Langevin's by volumes against Mehler's formula, over the error", mehler, limit=1,
                 basis="halved cells"),
        Measured(f"N(0, 1): Langevin's chi-squared over the damped at t = {times[at]:.2f}", gain, low=gain - error,
                 high=gain + error, basis=f"lambda = {_DAMPING:g}, start N(0, 1) (1 + sin {_WAVE:g} x); both errors"),
        Measured("the same at t = 0.1 (control)", float(exact[2] / galerkin.value[2]),
                 basis="at first Langevin is ahead, as its dissipation says"),
    )  # fmt: skip
    overtaken = min(ahead) > 0 and gain - 1 > 10 * error and exact[2] < galerkin.value[2]
    return Finding(
        verdict=agreement(*figures) if overtaken else Verdict.OPEN,
        figures=figures,
        reading="corrected dynamics in the clock of lambda M against plain Langevin; reversible chains",
        methods=(
            "three states in ball arithmetic, and the eigenvectors in closed form",
            "N(0, 1): finite volumes in the density ratio, exact in time",
            "N(0, 1): Galerkin's method in Hermite polynomials; Mehler's formula for Langevin",
        ),
        remark="So C3 speaks of the gap, of the dissipation at one density and of what a time average costs, not of "
        "every start: a start that has little of the damped dynamics' slowest mode, and more of Langevin's, falls "
        "faster under the slower dynamics. Asymptotically, as t grows, that needs a start without that mode.",
        counterexample={"conductances": [list(DAMPED), list(PLAIN)], "start": "middle of three states"},
        data={"times": times, "damped": galerkin.value, "langevin": exact,
              "row times": np.linspace(0, 3, 61),
              "row damped": np.array([float(state_chi_squared(DAMPED, t)) for t in np.linspace(0, 3, 61)]),
              "row plain": np.array([float(state_chi_squared(PLAIN, t)) for t in np.linspace(0, 3, 61)])},
    )  # fmt: skip


def draw_order(finding: Finding) -> Figure:
    """Draw chi-squared over time for the three states and for the Gaussian."""
    figure, (left, right) = panels(2, width=3.5, height=2.9)
    data = finding.data
    left.semilogy(data["row times"], data["row damped"], color=COLOURS["corrected"], label="conductances 1, 1")
    left.semilogy(data["row times"], data["row plain"], color=COLOURS["target"], label="conductances 1, 2")
    left.set_title("three states, from the middle", loc="left")
    right.semilogy(data["times"], data["damped"], color=COLOURS["corrected"], label=r"damped, $\lambda M$")
    right.semilogy(data["times"], data["langevin"], color=COLOURS["target"], label="Langevin")
    right.set_title(r"$N(0,1)$, from $q\,(1+\sin 2.5\,x)$", loc="left")
    for axis in (left, right):
        axis.set(xlabel="time")
        axis.legend(loc="lower left")
    left.set_ylabel(r"$\chi^2(\rho_t|q)$")
    return figure
