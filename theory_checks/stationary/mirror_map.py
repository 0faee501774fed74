r"""Claim S3: the mirror reading of Eq. 7, which the paper's proof of Prop. 3 uses, needs G to be a Hessian.

A matrix field is the Hessian of a function if and only if ``d_k G_ij`` is symmetric in all its indices. For
``G = lambda I + s s^T`` and ``H = grad s`` the defect is

    ``T_ijk = d_k G_ij - d_j G_ik = H_ik s_j - H_ij s_k,    |T|^2 = 2 (|H|^2 |s|^2 - |H s|^2)``,

zero where, and only where, ``H`` is a multiple of ``s s^T`` (or ``s = 0``). Then ``s/|s|`` is locally constant, since
its derivative is ``(I - s s^T/|s|^2) H/|s|``, and so is s itself along every direction across s: from a point where
``s`` is not zero one can go anywhere on the hyperplane across s without meeting a zero. So q is a function of one
direction on a slab of hyperplanes, and its integral over each of them is infinite. No probability density on R^d,
d >= 2, is so, and with ``s = 0`` everywhere it would be constant: the reading fails for every target whose density is
positive and twice differentiable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import toy
from lml.geometry import DampedOuterProduct
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.proofs import with_proofs
from theory_checks.numerics.levels import U, levels
from toy import ExactTarget

__all__ = ["check_mirror", "circulation", "defect", "draw_mirror"]


def defect(s: Tensor, H: Tensor) -> Tensor:
    r"""Return ``|T| = sqrt(2 (|H|^2 |s|^2 - |H s|^2))``, shape (B,), from ``s`` (B, d) and ``H`` (B, d, d)."""
    lengths = (H * H).sum((1, 2)) * (s * s).sum(1)
    turned = (H @ s[:, :, None])[:, :, 0]
    return torch.sqrt(2 * (lengths - (turned * turned).sum(1)).clamp_min(0))


def _by_differences(q: ExactTarget, x: Tensor, damping: float) -> tuple[Tensor, Tensor]:
    """Return ``|T|`` and its error, (B,), from central differences of fourth order of the dense G alone."""

    def jacobian(step: float) -> Tensor:
        columns = []
        for k in range(q.dim):
            shift = torch.zeros(q.dim, dtype=torch.float64)
            shift[k] = step
            at = [DampedOuterProduct(q.score(x + m * shift), damping).dense() for m in (-2, -1, 1, 2)]
            columns.append((at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * step))
        return torch.stack(columns, 3)  # d_k G_ij, (B, i, j, k)

    norms = []
    step = 3e-3
    for h in (2 * step, step):
        dG = jacobian(h)
        norms.append((dG - dG.transpose(2, 3)).flatten(1).norm(dim=1))
    largest = DampedOuterProduct(q.score(x), damping).dense().flatten(1).norm(dim=1)
    rounding = 2 * q.dim * 1e3 * U * largest / step  # 1e3: the score's own rounding, in units of u
    return norms[1], (norms[1] - norms[0]).abs() + rounding


def circulation(q: ExactTarget, damping: float, corner: Tensor, side: float, points: int) -> Tensor:
    r"""Return ``oint G dx``, shape (2,), around a square in the plane, by Gauss-Legendre on each side.

    If ``G = hess phi`` this is the change of ``grad phi`` around the loop, zero: ``phi`` could be built by integration.
    """
    nodes, weights = (torch.from_numpy(a) for a in np.polynomial.legendre.leggauss(points))
    t = 0.5 * (nodes + 1) * side
    axes = torch.eye(2, dtype=torch.float64)
    total = torch.zeros(2, dtype=torch.float64)
    start = corner.clone()
    for along in (axes[0], axes[1], -axes[0], -axes[1]):
        x = start + t[:, None] * along
        G = DampedOuterProduct(q.score(x), damping)
        total += (0.5 * side * weights[:, None] * G.matvec(along.expand_as(x))).sum(0)
        start = start + side * along
    return total


@with_proofs("S3")
def check_mirror(
    settings: Settings, names: Sequence[str] = ("gauss-2d", "ring-2d", "cross-2d", "random-8d")
) -> Finding:
    """S3: G is a Hessian in one dimension; in two and more it never is, for any positive density of class C^2."""
    generator = settings.generator()
    worst, margin = MaxError(), math.inf
    relative: dict[str, np.ndarray] = {}
    for name in track(names, "third derivatives"):
        q = toy.target(name)
        x = q.sample(settings.pick(16, 64), generator=generator)
        s, H = q.score(x), q.hessian(x)
        closed = defect(s, H)
        differences, error = _by_differences(q, x, damping=1.0)
        worst.update("defect", float(((closed - differences).abs() / error).max()))
        margin = min(margin, float((closed / error).median()))
        relative[name] = _relative(s, H)
    for name in ("digits",):
        (q,) = levels(toy.target(name), (0.0,))
        x = q.sample(64, generator=generator)
        relative[name] = _relative(q.score(x), q.hessian(x))
    line = toy.target("bimodal-1d")
    points = line.sample(64, generator=generator)
    # |H|^2 s^2 - (H s)^2 of numbers: equal up to the rounding of either product, 4 u.
    one = _relative(line.score(points), line.hessian(points))

    gauss = toy.target("gauss-2d")
    corner, side = torch.tensor([1.0, 0.0], dtype=torch.float64), 1.0
    loop = circulation(gauss, 1.0, corner, side, 16)
    loop_error = float((loop - circulation(gauss, 1.0, corner, side, 8)).norm()) + 100 * U
    # G = lambda I + x x^T: the sides contribute (xdx, ydx) and (xdy, ydy); by Stokes the loop gives
    # int (d_x G_i2 - d_y G_i1) dx dy = (int y, -int x) over the square.
    exact = torch.tensor([0.5, -1.5], dtype=torch.float64)
    stokes = float((loop - exact).norm())

    figures = (
        Measured("circulation of G around a unit square, N(0, I) in the plane", float(loop.norm()),
                 low=float(loop.norm()) - loop_error, high=float(loop.norm()) + loop_error,
                 basis="zero for a Hessian; Gauss-Legendre with 8 and 16 points"),
        Measured("the same against Stokes' theorem, (1/2, -3/2)", stokes, limit=loop_error, basis="the same"),
        Measured("defect: closed form against differences of G, over their error", worst["defect"], limit=1,
                 basis="two step sizes, 4th order"),
        Measured("defect over its error, the median of the least target", margin, basis="10 is asked of a failure"),
        Measured("relative defect |T| / (sqrt 2 |H||s|), digits, mean", float(relative["digits"].mean()),
                 low=float(relative["digits"].min()), high=float(relative["digits"].max()), basis="least and largest"),
        Measured("relative defect in one dimension (control)", float(one.max()), limit=math.sqrt(8 * U),
                 basis="a difference of equal squares, rounded to 4 u each"),
    )  # fmt: skip
    fails = (
        stokes <= loop_error
        and worst["defect"] <= 1
        and margin > 10
        and float(loop.norm()) > 10 * loop_error
        and figures[-1].within
    )
    return Finding(
        verdict=Verdict.FAILS if fails else Verdict.OPEN,
        figures=figures,
        reading="mirror: X is the dual variable of a map phi with hess phi = G = lambda I + s s^T (proof of Prop. 3, "
        "A.7; Remark 1)",
        methods=(
            "closed form of the defect; differences of the dense G",
            "a loop integral that vanishes for every Hessian",
            "proof for every density, in this file's first lines",
        ),
        assumption="It does hold in one dimension. Where hess phi = G, mirror Langevin in its primal variable is the "
        "corrected dynamics of S2.",
        remark="The proof of Prop. 3 sets hess phi = G and borrows the stationarity of mirror Langevin. For d >= 2 "
        "no such phi exists, whatever the target: the borrowed theorem does not apply. What the proof wanted is true "
        "for the corrected dynamics, which need no potential (S2).",
        counterexample={
            "target": toy.ZOO["gauss-2d"].description,
            "loop": "the unit square with corner (1, 0), lambda = 1",
            "circulation of G": [round(float(c), 12) for c in loop],
        },
        data={f"relative:{name}": values for name, values in relative.items()} | {"relative:bimodal-1d": one},
    )


def _relative(s: Tensor, H: Tensor) -> np.ndarray:
    """Return ``|T|/(sqrt 2 |H||s|)`` in [0, 1], (B,)."""
    values: np.ndarray = (defect(s, H) / (math.sqrt(2) * H.flatten(1).norm(dim=1) * s.norm(dim=1))).numpy()
    return values


def draw_mirror(finding: Finding) -> Figure:
    """Draw the relative defect at samples of each target."""
    figure, (axis,) = panels(1, width=5.6, height=2.8)
    names = [key for key in finding.data if key.startswith("relative:")]
    names = ["relative:bimodal-1d"] + [n for n in names if n != "relative:bimodal-1d"]
    for row, key in enumerate(reversed(names)):
        values = finding.data[key]
        colour = COLOURS["corrected"] if key.endswith("1d") else COLOURS["literal"]
        axis.plot(values, np.full(len(values), row), "|", color=colour, ms=10, alpha=0.7)
    axis.set_yticks(range(len(names)), [n.removeprefix("relative:") for n in reversed(names)])
    axis.set(xlabel=r"$|T|\,/\,(\sqrt{2}\,|H||s|)$: 0 for a Hessian, 1 at most", xlim=(-0.02, 1.02))
    axis.set_title("How far $G=\\lambda I+s\\,s^\\top$ is from being a Hessian", loc="left")
    return figure
