r"""Claims S1 and S2: the stationary measure of Eq. 7, literal and with the drift that it lacks (Prop. 3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

import toy
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.proofs import with_proofs
from theory_checks.ledger.statistics import Interval, mean_interval
from theory_checks.numerics.dynamics import diffusion_matrix, drift, fields, generator_of_square, generator_of_wave
from theory_checks.numerics.euler_chain import Coefficients, EulerChain, EulerLimit, euler_limit
from theory_checks.numerics.levels import levels
from theory_checks.numerics.quadrature import grid
from toy import ExactTarget, GaussianMixture

__all__ = ["TestFunction", "WeakForm", "chain_limit", "check_corrected", "check_literal", "draw_corrected",
           "draw_literal", "literal_bias", "literal_density", "total_variation"]  # fmt: skip


def literal_density(q: ExactTarget, x: Tensor, damping: float) -> Tensor:
    r"""Return ``q (lambda + s^2)``, not normalised, at points (B, 1): stationary for the literal reading in 1-d.

    There the flux ``M s rho - (M rho)'`` vanishes if ``(M rho)'/(M rho) = s``, that is ``M rho`` proportional to q.
    """
    if q.dim != 1:
        raise ValueError(f"q must have one dimension, got {q.dim}")
    return q.log_density(x).exp() * (damping + q.score(x)[:, 0] ** 2)


def total_variation(p: np.ndarray, q: np.ndarray, spacing: float) -> float:
    """Return ``(1/2) int |p - q|`` of densities on a uniform grid."""
    return 0.5 * float(np.abs(p - q).sum()) * spacing


def literal_bias(q: GaussianMixture, damping: float, spacing: float) -> float:
    """Return the total variation between q and the literal reading's stationary density, from the closed form."""
    x, cell = grid(q, spacing)
    p = literal_density(q, x, damping)
    return 0.5 * float((p / (p.sum() * cell) - q.log_density(x).exp()).abs().sum()) * cell


def chain_limit(q: ExactTarget, damping: float, dynamics: str) -> EulerLimit:
    """Return where the Euler chain of a reading ends as its step shrinks, for targets within [-3, 3]."""
    # A step in proportion to the time scale of the dynamics, 1/M = lambda + s^2 with s^2 of order one.
    h = 0.006 * (damping + 0.2)
    return euler_limit(Coefficients(q, damping, dynamics), EulerChain.stationary, h, -6.0, 6.0)


@with_proofs("S1")
def check_literal(settings: Settings, dampings: Sequence[float] = (0.1, 1.0, 10.0)) -> Finding:
    """S1: literal Eq. 7 (Ito) does not leave q stationary; in 1-d it ends at ``q (lambda + s^2)``, normalised."""
    figures: list[Measured] = []
    biases: dict[tuple[str, float], float] = {}
    limits: dict[tuple[str, float], EulerLimit] = {}
    ten_errors = True
    cases = [("bimodal-1d", damping) for damping in dampings] + [("skewed-1d", 3.0)]
    for name, damping in track(cases, "closed form and Euler chains"):
        q = toy.target(name)
        assert isinstance(q, GaussianMixture)
        bias, coarse = (literal_bias(q, damping, spacing) for spacing in (0.002, 0.004))
        limit = limits[name, damping] = chain_limit(q, damping, "literal")
        x = torch.from_numpy(limit.x)[:, None]
        closed = literal_density(q, x, damping).numpy()
        closed /= closed.sum() * limit.spacing
        chain_bias = total_variation(limit.density, q.log_density(x).exp().numpy(), limit.spacing)
        biases[name, damping] = bias
        ten_errors &= bias > 10 * (abs(bias - coarse) + limit.error)
        what = f"{name}, lambda = {damping:g}"
        figures.append(
            Measured(
                f"total variation from q, {what}",
                bias,
                low=chain_bias - limit.error,
                high=chain_bias + limit.error,
                basis="closed form by quadrature; the interval is the chain's",
            )
        )
        figures.append(
            Measured(
                f"total variation of the two methods, {what}",
                total_variation(limit.density, closed, limit.spacing),
                limit=limit.error + abs(bias - coarse),
                basis="the last halving of h, and of the spacing",
            )
        )
    q = toy.target("bimodal-1d")
    middle = dampings[len(dampings) // 2]
    control = chain_limit(q, middle, "corrected")
    density = q.log_density(torch.from_numpy(control.x)[:, None]).exp().numpy()
    figures.append(
        Measured(
            f"total variation from q with div M in the drift, lambda = {middle:g} (control)",
            total_variation(control.density, density, control.spacing),
            limit=control.error,
            basis="the last halving of h",
        )
    )
    agree = all(figure.within for figure in figures) and ten_errors
    (name, damping), bias = next(iter(biases.items()))
    return Finding(
        verdict=Verdict.FAILS if agree else Verdict.OPEN,
        figures=tuple(figures),
        reading="literal (R): dX = M s dt + sqrt(2) M^{1/2} dB in the Ito sense; one dimension",
        methods=(
            "stationary density in closed form, by quadrature",
            "Euler-Maruyama's transition matrix on a grid, its stationary vector extrapolated to h = 0",
        ),
        remark="M varies with x, and without div M the noise collects mass where M is small: on the slopes of log q. "
        "Adding div M to the drift corrects it (S2). The bias falls like 1/lambda: for lambda far above s^2 the "
        "geometry is nearly flat. In more dimensions it can be worse: for a Gaussian there may be no stationary law "
        "at all (S5), and for bounded data at the paper's damping there is none (S6). Other conventions: S1b.",
        counterexample={
            "target": toy.ZOO[name].description,
            "lambda": damping,
            "stationary density": "q (lambda + s^2) / (lambda + E_q[s^2])",
            "total variation from q": round(bias, 4),
        },
        data=_densities(q, dampings)
        | {"chain_damping": np.array(middle)}
        | {"chain_x": limits["bimodal-1d", middle].x, "chain": limits["bimodal-1d", middle].density},
    )


def _densities(q: ExactTarget, dampings: Sequence[float]) -> dict[str, np.ndarray]:
    """Return q and the literal stationary densities: the picture of S1."""
    x = torch.linspace(-5, 5, 801, dtype=torch.float64)[:, None]
    data = {"x": x[:, 0].numpy(), "q": q.log_density(x).exp().numpy(), "damping": np.array(dampings)}
    wide = torch.linspace(-9, 9, 4001, dtype=torch.float64)[:, None]
    for i, damping in enumerate(dampings):
        total = float(literal_density(q, wide, damping).sum() * (wide[1, 0] - wide[0, 0]))
        data[f"literal{i}"] = literal_density(q, x, damping).numpy() / total
    return data


def draw_literal(finding: Finding) -> Figure:
    """Draw the target and where the literal dynamics end."""
    figure, (axis,) = panels(1, width=6.4, height=3.0)
    data = finding.data
    axis.fill_between(data["x"], data["q"], color=COLOURS["target"], alpha=0.18, lw=0, label="target $q$")
    for i, (damping, dashes) in enumerate(zip(data["damping"], ("-", "--", ":"), strict=False)):
        axis.plot(data["x"], data[f"literal{i}"], dashes, color=COLOURS["literal"], label=rf"$\lambda={damping:g}$")
    every = max(1, len(data["chain_x"]) // 60)
    axis.plot(data["chain_x"][::every], data["chain"][::every], "o", ms=3, mfc="none", color=COLOURS["lml"],
              label=rf"Euler chain, $\lambda={float(data['chain_damping']):g}$")  # fmt: skip
    axis.set(xlabel="x", ylabel="stationary density", ylim=(0, None), xlim=(-5, 5))
    axis.set_title("Literal Eq. 7 ends at $q\\,(\\lambda+s^2)$, not at $q$", loc="left")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure


TestFunction = Callable[[Tensor], tuple[Tensor, Tensor]]


def _test_functions(d: int) -> dict[str, TestFunction]:
    """Return functions by name, each giving gradient (B, d) and Hessian (B, d, d) at points (B, d)."""

    def of(f: Callable[[Tensor], Tensor]) -> TestFunction:
        def derivatives(x: Tensor) -> tuple[Tensor, Tensor]:
            gradient = torch.func.jacrev(f)
            hessian = torch.func.jacrev(gradient)
            return torch.vmap(gradient)(x), torch.vmap(hessian)(x)

        return derivatives

    functions = {
        "x_1^2": of(lambda x: x[0] ** 2),
        "sin(x_1 + 0.3)": of(lambda x: torch.sin(x[0] + 0.3)),
        "|x|^4": of(lambda x: (x * x).sum() ** 2),
    }
    if d > 1:
        functions["x_1 x_2"] = of(lambda x: x[0] * x[1])
        functions["sin(x_1) cos(2 x_2)"] = of(lambda x: torch.sin(x[0]) * torch.cos(2 * x[1]))
    return functions


class WeakForm:
    """``E_q[L f]`` by quadrature for the test functions, with all that does not depend on the damping evaluated once.

    Args:
        q: a mixture in one or two dimensions.
        spacing: of the grid, in units of the least standard deviation.
    """

    def __init__(self, q: GaussianMixture, spacing: float) -> None:
        x, cell = grid(q, spacing)
        density = q.log_density(x).exp() * cell
        inside = density > 1e-25  # 10^6 points of less than this are below the rounding of the sum
        self._density = density[inside]
        self._at = fields(q, x[inside])
        self._functions = {name: f(x[inside]) for name, f in _test_functions(q.dim).items()}

    def residuals(self, *, damping: float, dynamics: str) -> dict[str, tuple[float, float]]:
        """Return ``E_q[L f]`` and ``E_q[|<b, grad f>| + |tr(D hess f)|]``, the size of what cancels, by function."""
        b = drift(self._at, damping=damping, dynamics=dynamics)
        D = diffusion_matrix(self._at.s, damping=damping, dynamics=dynamics)
        found = {}
        for name, (gradient, hessian) in self._functions.items():
            transport, diffusion = (b * gradient).sum(1), (D * hessian).sum((1, 2))
            size = float(self._density @ (transport.abs() + diffusion.abs()))
            found[name] = (float(self._density @ (transport + diffusion)), size)
        return found


# E_q[L f] is zero if it is within 5 % of the diffusion's part of it, tr(D hess f): a tenth of the literal bias.
_MARGIN = 0.05

#: Targets in many dimensions, with the log-SNR of the level; the full profile adds a mixture in 64 dimensions.
_LARGE = (("random-8d", 0.0), ("digits", 0.0), ("emoji", 0.0))


@with_proofs("S2")
def check_corrected(
    settings: Settings,
    names: Sequence[str] = ("bimodal-1d", "skewed-1d", "ring-2d", "cross-2d"),
    large: Sequence[tuple[str, float]] | None = None,
) -> Finding:
    r"""S2: with ``div M`` in the drift q is stationary: ``E_q[L f] = 0`` for all f, in any dimension.

    The flux is ``b q - div(D q) = (M s + div M) q - (div M) q - M grad q = 0`` at every point.
    """
    generator = settings.generator()
    large = settings.pick(_LARGE, (*_LARGE, ("random-64d", 0.0))) if large is None else large
    worst, literal = MaxError(), math.inf
    for name in track(names, "weak form by quadrature"):
        q = toy.target(name)
        assert isinstance(q, GaussianMixture)
        coarse, fine = (WeakForm(q, h) for h in ((0.04, 0.025) if q.dim == 1 else (0.25, 0.17)))
        for damping in (0.1, 1.0, 10.0) if q.dim == 1 else (0.3, 3.0):
            found = fine.residuals(damping=damping, dynamics="corrected")
            before = coarse.residuals(damping=damping, dynamics="corrected")
            for f, (value, size) in found.items():
                # Rounding of a sum of n terms of one size, each with the errors of the score.
                worst.update("weak", abs(value) / (abs(value - before[f][0]) + 1e-13 * size))
            biased = coarse.residuals(damping=damping, dynamics="literal")
            literal = min(literal, max(abs(value) / size for value, size in biased.values()))

    for name in track(names, "flux by automatic differentiation"):
        q = toy.target(name)
        x = q.sample(4, generator=generator)
        for damping in (0.1, 10.0):
            worst.update("flux", _flux_error(q, x, damping))

    labels: list[str] = []
    gaps: dict[str, list[Interval]] = {"corrected": [], "literal": []}
    for name, log_snr in track(large, "equivalence in many dimensions"):
        (level,) = levels(toy.target(name), (log_snr,))
        tests = _equivalence_tests(level, settings, generator)
        for label, samples in tests.items():
            labels.append(f"{name}, {label}")
            for dynamics, values in samples.items():
                gaps[dynamics].append(mean_interval(values, level=0.90, comparisons=2 * len(large)))
    equal = all(interval.inside(_MARGIN) for interval in gaps["corrected"])
    furthest = max(gaps["corrected"], key=lambda i: max(abs(i.low), abs(i.high)), default=Interval(0.0, 0.0, 0.0))
    nearest = min(gaps["literal"], key=lambda i: abs(i.value), default=Interval(math.nan, math.nan, math.nan))
    figures = (
        Measured("E_q[L f] over its error, corrected, the largest", worst["weak"], limit=1,
                 basis="two grid spacings, and rounding; 3 to 5 test functions, 4 targets"),
        Measured("flux of the corrected dynamics over its rounding bound", worst["flux"], limit=1,
                 basis="automatic differentiation of M; see _flux_error"),
        Measured("E_q[L f] in 8 to 3072 dimensions over tr D, the furthest from 0", furthest.value, low=furthest.low,
                 high=furthest.high, basis=f"90 % simultaneous intervals; zero if inside +-{_MARGIN}"),
        Measured("literal E_q[L f] over the size of its terms, the least of the targets (control)", literal,
                 basis="the test function that shows it best"),
        Measured("literal E_q[L f] in many dimensions over tr D, the nearest to 0 (control)", nearest.value,
                 low=nearest.low, high=nearest.high, basis="90 % simultaneous intervals"),
    )  # fmt: skip
    separate = literal > 1e-3 and all(i.low > 0 or i.high < 0 for i in gaps["literal"])
    holds = all(f.within for f in figures[:2]) and equal and separate
    return Finding(
        verdict=Verdict.CORRECTED if holds else Verdict.OPEN,
        figures=figures,
        reading="corrected: drift M s + div M, the Ito form of the Riemannian Langevin dynamics with metric G",
        methods=(
            "E_q[L f] = 0 for test functions, by quadrature in 1-d and 2-d",
            "the flux at points, with M differentiated automatically",
            "equivalence tests on samples in 8, 64 and 3072 dimensions",
        ),
        assumption="s and its derivatives grow at most polynomially, as after any Gaussian noise they do.",
        remark="The correction to Prop. 3 is one term, div M. It needs H s and tr H, that is second derivatives of "
        "log q, which a network's noise prediction does not give for free: the correction costs what LML set out to "
        "avoid.",
        data={
            "label": np.array(labels),
            "corrected": np.array(gaps["corrected"]).reshape(-1, 3),
            "literal": np.array(gaps["literal"]).reshape(-1, 3),
            "margin": np.array(_MARGIN),
        },
    )


def _equivalence_tests(
    q: ExactTarget, settings: Settings, generator: torch.Generator
) -> dict[str, dict[str, np.ndarray]]:
    """Return samples of ``L f`` over the size of its diffusion part, by test function and by reading.

    The damping is a tenth of ``E|s|^2``: the geometry is far from flat. A wave of random direction, as long as q is
    wide, is added where samples are cheap, as it needs many.
    """
    # A wave's L f has a standard deviation of 1 to 1.4: these make the half-width 0.02, so that a true zero is inside
    # the margin with a probability of 0.999. A mixture's samples are cheap.
    many = settings.pick(40_000, 200_000) if isinstance(q, GaussianMixture) else settings.pick(15_000, 100_000)
    x = q.sample(settings.pick(600, 4000) if q.dim > 1000 else many, generator=generator)
    at = fields(q, x)
    damping = 0.1 * float((at.s**2).sum(1).mean())
    k = torch.randn(q.dim, generator=generator, dtype=torch.float64)
    k = k / (x[:1000] @ k).std()
    readings = ("corrected", "literal")
    tests = {
        "|x|^2": {
            reading: (generator_of_square(at, damping=damping, dynamics=reading) * damping / q.dim).numpy()
            for reading in readings
        }
    }
    if q.dim <= 1000:
        size = float(k @ k) / damping
        tests["wave"] = {
            reading: (generator_of_wave(at, k, damping=damping, dynamics=reading) / size).numpy()
            for reading in readings
        }
    return tests


def _flux_error(q: ExactTarget, x: Tensor, damping: float) -> float:
    """Return ``|b - div D - D s|`` over its rounding bound, with ``div D`` by automatic differentiation of M(x).

    The Jacobian of s comes from the closed form of H; the bound is ``100 (d + K) u`` of the sizes of the three terms.
    """
    s, H = q.score(x), q.hessian(x)
    identity = torch.eye(q.dim, dtype=torch.float64)
    divergence = []
    for i in range(len(x)):

        def inverse(y: Tensor, i: int = i) -> Tensor:
            score = s[i] + H[i] @ (y - x[i])  # to first order, which is all that a derivative at x[i] sees
            return (identity - torch.outer(score, score) / (damping + score @ score)) / damping

        divergence.append(torch.einsum("ijj->i", torch.func.jacrev(inverse)(x[i])))
    D = diffusion_matrix(s, damping=damping, dynamics="corrected")
    carried = (D @ s[:, :, None])[:, :, 0]
    flux = drift(fields(q, x), damping=damping, dynamics="corrected") - torch.stack(divergence) - carried
    size = s.norm(dim=1) / damping + H.norm(dim=(1, 2)) * math.sqrt(q.dim) / damping
    components = getattr(q, "components", 1)
    bound = 100 * (q.dim + components) * torch.finfo(torch.float64).eps / 2 * size
    return float((flux.norm(dim=1) / bound).max())


def draw_corrected(finding: Finding) -> Figure:
    """Draw the residuals in many dimensions with their intervals, with and without div M."""
    figure, (axis,) = panels(1, width=6.0, height=3.0)
    data = finding.data
    rows = np.arange(len(data["label"]))[::-1]
    margin = float(data["margin"])
    axis.axvspan(-margin, margin, color=COLOURS["limit"], alpha=0.2, lw=0, label="margin")
    for key, shift in (("corrected", 0.12), ("literal", -0.12)):
        value, low, high = data[key].T
        axis.hlines(rows + shift, low, high, color=COLOURS[key], lw=2)
        axis.plot(value, rows + shift, "o", color=COLOURS[key], ms=4, label=key)
    axis.axvline(0, color=COLOURS["target"], lw=0.6)
    axis.set_yticks(rows, [label.replace("|x|^2", "$|x|^2/2$") for label in data["label"]])
    axis.set(xlabel=r"$E_q[L f]$ over $\mathrm{tr}\,D$ (90 % simultaneous)")
    axis.set_title("Zero where $q$ is stationary", loc="left")
    axis.legend(loc="center left", bbox_to_anchor=(1.0, 0.5))
    return figure
