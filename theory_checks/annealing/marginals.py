r"""Claims A1 and A2: do Eqs. 9 and 10 share their marginals, and does either end at the data?

In the variables of `theory_checks.numerics.reverse_time`, with ``N = lambda M``, the densities obey in one dimension

    Eq. 9:   ``d rho/dv = -(N p rho)' + (N rho)''/2``,        Eq. 10:   ``d rho/dv = -(N p rho)'/2``.

Where both stand at ``q``, so that ``q' = p q``, the right sides differ by ``(N' q)'/2``: by nothing only if N is
constant. With the divergence in its drift Eq. 9 has the flux ``N (p rho - rho'/2)``, which is that of Eq. 10 where
``rho = q``; but neither stays there, since the heat equation that moves q has the flux ``p q/2`` and not ``N p q/2``.
Nor can any other N help Eq. 10: in one dimension the flux of a density that vanishes at infinity is determined by how
the density changes, so the ordinary flow, of velocity ``p/2``, is the only one with the marginals ``q_t``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import toy
from theory_checks.annealing.coefficients import coefficients_error
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict
from theory_checks.ledger.max_error import MaxError
from theory_checks.ledger.plotting import COLOURS, panels
from theory_checks.ledger.progress import track
from theory_checks.ledger.statistics import Interval, mean_interval
from theory_checks.numerics.reverse_plane import planar_ends
from theory_checks.numerics.reverse_time import FLOWS, ReverseFlow, cell_edges, particles, probabilities_of, transported
from toy import GaussianMixture

__all__ = ["DAMPINGS", "Ends", "check_data", "check_marginals", "draw_data", "draw_marginals", "ends"]

#: Dampings: the paper's, then up to the ordinary flows. At 1, ``lambda M = M``.
DAMPINGS = (1e-3, 0.1, 1.0, 10.0, math.inf)

# The noisiest level: exp(-2.5), a log-SNR of -5.
_START = 2.5

_TARGET = "bimodal-1d"


def _total_variation(p: np.ndarray, q: np.ndarray) -> float:
    return 0.5 * float(np.abs(p - q).sum())


@dataclass(frozen=True)
class Ends:
    """Where the flows end for one damping.

    Attributes:
        edges: of the cells, shape (n + 1,).
        fine: probabilities of the cells by flow, and of the data under ``data``, shape (n,) each.
        coarse: the same with half of the cells and of the steps, shape (n/2,) each.
    """

    edges: np.ndarray
    fine: dict[str, np.ndarray]
    coarse: dict[str, np.ndarray]

    def distance(self, a: str, b: str) -> tuple[float, float]:
        """Return the total variation of two ends, and its error: what halving cells and steps changed.

        The scheme has order two, so that a third of it is left once that order shows; the rest is margin.
        """
        value = _total_variation(self.fine[a], self.fine[b])
        return value, abs(value - _total_variation(self.coarse[a], self.coarse[b]))


def ends(data: GaussianMixture, damping: float, cells: int, names: Sequence[str] = FLOWS) -> Ends:
    """Return the ends of the flows ``names``, on ``cells`` cells, in a quarter as many steps."""

    def on(edges: np.ndarray) -> dict[str, np.ndarray]:
        steps = (len(edges) - 1) // 4
        found = {n: transported(ReverseFlow(data, n, damping, _START), edges, steps) for n in names}
        return {**found, "data": probabilities_of(ReverseFlow(data, "ode", damping, _START), edges, 0.0)}

    edges = cell_edges(data, _START, cells)
    return Ends(edges, on(edges), on(edges[::2]))


def _share_inside(
    flow: ReverseFlow, inside: np.ndarray, edges: np.ndarray, count: int, steps: int, settings: Settings
) -> tuple[Interval, float]:
    """Return the share of particles that end in the cells ``inside`` (n,), and how far halving the step moved it."""
    shares = []
    for stream, n in enumerate((steps, 2 * steps)):
        u = particles(flow, count, n, settings.generator(stream))[:, 0].numpy()
        cell = np.clip(np.searchsorted(edges, u) - 1, 0, len(inside) - 1)
        shares.append(mean_interval(inside[cell].astype(np.float64), level=0.99, comparisons=4))
    return shares[1], abs(shares[1].value - shares[0].value)


def _in_the_plane() -> list[Measured]:
    """Return the distances at the end in two dimensions, lambda = 1, with what a coarser mesh changes."""
    data = toy.target("bimodal-2d")
    assert isinstance(data, GaussianMixture)
    coarse, fine = (
        planar_ends(data, 1.0, start=_START, cells=cells, steps=steps, half_width=50.0)
        for cells, steps in ((28, 40), (40, 60))
    )
    figures = []
    for name, a, b in (("Eqs. 9 and 10", "sde", "ode"), ("Eq. 10 and the data", "ode", "data")):
        value, error = fine.distance(a, b), abs(fine.distance(a, b) - coarse.distance(a, b))
        figures.append(
            Measured(f"total variation of {name} at the end in the plane, lambda = 1", value, low=value - error,
                     high=value + error, basis="bimodal-2d; finite elements and characteristics; a coarser mesh")
        )  # fmt: skip
    return figures


_SECOND_WAY = "coefficients of every flow against the paper's own variables, over rounding"


def _second_way(settings: Settings) -> float:
    """Return how far the coefficients are from those of `paper_coefficients`, over rounding, on the line and in 2-d."""
    errors = []
    for name in (_TARGET, "cross-2d"):
        data = toy.target(name)
        assert isinstance(data, GaussianMixture)
        errors.append(coefficients_error(data, (0.3,), settings.generator(5)))
    return max(errors)


def check_marginals(settings: Settings, dampings: Sequence[float] = DAMPINGS) -> Finding:
    """A1: Eq. 9 and Eq. 10 share their marginals. They do not, unless the damping is infinite."""
    data = toy.target(_TARGET)
    assert isinstance(data, GaussianMixture)
    cells = settings.pick(600, 2400)
    count, steps = settings.pick((12_000, 60), (50_000, 120))
    figures: list[Measured] = []
    rows: list[tuple[float, ...]] = []
    kept: dict[str, np.ndarray] = {}
    worst, resolved = MaxError(), math.inf
    for damping in track(dampings, "Fokker-Planck against transport"):
        found = ends(data, damping, cells, ("literal", "divergence_added", "ode"))
        (value, error), (added, added_error) = (found.distance(name, "ode") for name in ("literal", "divergence_added"))
        rows.append((damping, value, error, added, added_error))
        if math.isinf(damping):
            worst.update("control", value / error)
            continue
        resolved = min(resolved, value / error)
        figures.append(
            Measured(f"total variation of Eqs. 9 and 10 at the end, lambda = {damping:g}", value, low=value - error,
                     high=value + error, basis="halved cells and steps")
        )  # fmt: skip
        if damping == 1:
            resolved = min(resolved, added / added_error)
            figures.append(
                Measured("the same with div N/2 in the drift of Eq. 9, lambda = 1", added,
                         low=added - added_error, high=added + added_error, basis="halved cells and steps")
            )  # fmt: skip
            kept = {name: p / np.diff(found.edges) for name, p in found.fine.items()}
            kept["edges"] = found.edges
        if damping in (0.1, 1.0):
            inside = found.fine["literal"] > found.fine["ode"]
            for name in ("literal", "ode"):
                flow = ReverseFlow(data, name, damping, _START)
                share, step = _share_inside(flow, inside, found.edges, count, steps, settings)
                grid = abs(float(found.fine[name][inside].sum()) - share.value)
                worst.update("particles", grid / ((share.high - share.low) / 2 + step + error))
    worst.update("coefficients", _second_way(settings))
    figures += [
        Measured(_SECOND_WAY, worst["coefficients"], limit=1, basis="dense matrices and autograd, in x and t"),
        Measured("share of particles where Eq. 9's density is above Eq. 10's, against the solvers', over the error",
                 worst["particles"], limit=1, basis="99 % simultaneous intervals, the halved step, the halved cells"),
        Measured("total variation of the two at lambda = infinity over its error (control)", worst["control"], limit=1,
                 basis="the ordinary reverse SDE and probability flow do share their marginals"),
    ]  # fmt: skip
    if settings.profile == "full":
        figures += _in_the_plane()
    fails = all(worst[key] <= 1 for key in ("particles", "control", "coefficients")) and resolved > 10
    shown = max(rows, key=lambda row: row[1])
    return Finding(
        verdict=Verdict.FAILS if fails else Verdict.OPEN,
        figures=tuple(figures),
        reading="Eqs. 9 and 10 (R) with lambda M for M, the constant absorbed in the step as the paper says; at "
        f"lambda = 1 it is M itself. Ito; both from q_t at log-SNR {-2 * _START:g}, {_TARGET}",
        methods=(
            "finite volumes for Eq. 9, characteristics and the exact distribution function for Eq. 10",
            "particles: Euler-Maruyama for Eq. 9, Heun for Eq. 10",
        ),
        assumption="The constant lambda is absorbed; without it the drift would be 1/lambda times as strong.",
        remark="The Fokker-Planck equation of Eq. 9, to which A.5 appeals, has (M rho)'' and not (M rho')', and rho is "
        "not q_t once the two have parted. At the first instant the right sides differ by (N' q)'/2; with the "
        "divergence added they agree there, and part as soon as rho has left q_t. An ODE with the marginals of Eq. 9 "
        "exists, with the velocity f x - g^2 [M s - (1/2) M grad log rho - (1/2) div M], rho being the law of Eq. 9 "
        "itself, of which no network knows the score.",
        counterexample={
            "target": toy.ZOO[_TARGET].description,
            "lambda": shown[0],
            "total variation": round(shown[1], 4),
            "error": float(f"{shown[2]:.1e}"),
        },
        data={"rows": np.array(rows), **kept},
    )


def _mean_square_at_the_end(settings: Settings, name: str, damping: float) -> dict[str, Interval]:
    """Return ``E|U|^2`` over that of the data at the end of Eqs. 9 and 10, and of the corrected SDE, by flow."""
    data = toy.target(name)
    assert isinstance(data, GaussianMixture)
    exact = float(data.covariance().trace() + (data.mean() ** 2).sum())
    found = {}
    for flow in ("literal", "ode", "corrected"):
        u = particles(
            ReverseFlow(data, flow, damping, _START),
            settings.pick(150, 500),
            settings.pick(50, 150),
            settings.generator(9),
        )
        found[flow] = mean_interval((u * u).sum(1).numpy() / exact, level=0.99, comparisons=3)
    return found


@dataclass
class _Results:
    """What A2's grid and particles gave.

    Attributes:
        rows: a damping, and the distance from the data with its error for each of `FLOWS`.
        kept: densities at damping 1, for the picture.
        distances: of Eqs. 9 and 10 from the data, a finite damping each.
        worst: errors over their bounds.
        resolved: the least of these distances over its error.
        large: ``E|x|^2`` over that of the data in many dimensions, by flow.
    """

    rows: list[tuple[float, ...]] = field(default_factory=list)
    kept: dict[str, np.ndarray] = field(default_factory=dict)
    distances: list[Measured] = field(default_factory=list)
    worst: MaxError = field(default_factory=MaxError)
    resolved: float = math.inf
    large: dict[str, Interval] = field(default_factory=dict)

    def shown(self) -> tuple[float, ...]:
        """Return the row of damping 1, or the first."""
        return next((row for row in self.rows if row[0] == 1), self.rows[0])


def check_data(settings: Settings, dampings: Sequence[float] = DAMPINGS, large_name: str = "random-64d") -> Finding:
    """A2: Eq. 9 or Eq. 10 carries noise to the data. Neither does; Algorithm 1, which restores the norm, does."""
    found = _Results()
    for damping in track(dampings, "ends against the data"):
        _against_data(found, damping, settings)
    found.large = _mean_square_at_the_end(settings, large_name, 1e-3)
    found.worst.update("coefficients", _second_way(settings))
    verdict, figures = _judge_data(found, large_name)
    return _describe_data(verdict, figures, found, large_name)


def _against_data(found: _Results, damping: float, settings: Settings) -> None:
    """The distance of every flow's end from the data on a grid, and at damping 1 of particles from the grid."""
    data = toy.target(_TARGET)
    assert isinstance(data, GaussianMixture)
    reached = ends(data, damping, settings.pick(600, 2400))
    distances = {name: reached.distance(name, "data") for name in FLOWS}
    found.rows.append((damping, *(x for name in FLOWS for x in distances[name])))
    found.worst.update("corrected", distances["corrected"][0] / distances["corrected"][1])
    if math.isinf(damping):
        found.worst.update("ordinary", distances["literal"][0] / distances["literal"][1])
        # 2400 edges at most, each followed back to within 1e-8 of its size: half of 2.4e-5 in total variation.
        found.worst.update("algorithm", distances["ode"][0] / 1e-5)
        return
    for name, label in (("literal", "Eq. 9"), ("ode", "Eq. 10")):
        value, error = distances[name]
        found.resolved = min(found.resolved, value / error)
        found.distances.append(
            Measured(f"total variation of the end of {label} from the data, lambda = {damping:g}", value,
                     low=value - error, high=value + error, basis="halved cells and steps")
        )  # fmt: skip
    if damping == 1:
        found.kept = {f"end:{name}": p / np.diff(reached.edges) for name, p in reached.fine.items()}
        found.kept["edges"] = reached.edges
        inside = reached.fine["data"] > reached.fine["literal"]
        for name in ("literal", "ode"):
            flow = ReverseFlow(data, name, damping, _START)
            count, steps = settings.pick((12_000, 60), (50_000, 120))
            share, step = _share_inside(flow, inside, reached.edges, count, steps, settings)
            grid = abs(float(reached.fine[name][inside].sum()) - share.value)
            error = (share.high - share.low) / 2 + step + distances[name][1]
            found.worst.update("particles", grid / error)


def _judge_data(found: _Results, large_name: str) -> tuple[Verdict, tuple[Measured, ...]]:
    """Return the verdict with its figures: both ends are ten times their error from the data, the controls are not."""
    large, worst = found.large, found.worst
    figures = (
        *found.distances,
        *(
            Measured(f"E|x|^2 at the end over that of the data, {label}, {large_name}, lambda = 0.001",
                     large[name].value, low=large[name].low, high=large[name].high,
                     basis="99 % simultaneous interval, particles")
            for name, label in (("literal", "Eq. 9"), ("ode", "Eq. 10"))
        ),
        Measured(_SECOND_WAY, worst["coefficients"], limit=1, basis="dense matrices and autograd, in x and t"),
        Measured("share of particles where the data's density is above Eq. 9's, against the solvers', over the error",
                 worst["particles"], limit=1, basis="99 % simultaneous intervals, the halved step, the halved cells"),
        Measured("total variation of the reverse SDE's end from the data, lambda = infinity, over its error (control)",
                 worst["ordinary"], limit=1, basis="halved cells and steps"),
        Measured("the same for the probability flow, to which Algorithm 1 tends (A3), over 1e-5 (control)",
                 worst["algorithm"], limit=1, basis="edges followed at a tolerance of 1e-8"),
        Measured("the same for the corrected SDE, every lambda, over its error", worst["corrected"], limit=1,
                 basis="halved cells and steps"),
    )  # fmt: skip
    agree = all(f.within for f in figures)
    far = min(large["literal"].low, large["ode"].low) > 2 > large["corrected"].high
    return (Verdict.FAILS if agree and found.resolved > 10 and far else Verdict.OPEN), figures


def _describe_data(verdict: Verdict, figures: tuple[Measured, ...], found: _Results, large_name: str) -> Finding:
    return Finding(
        verdict=verdict,
        figures=figures,
        reading="Eqs. 9 and 10 (R) with lambda M for M; at lambda = 1 it is M itself. Ito; from q_t at log-SNR "
        f"{-2 * _START:g} down to the data, {_TARGET} and {large_name}",
        methods=(
            "finite volumes, and characteristics, against the data's distribution function",
            f"particles in one dimension, and on {large_name}",
        ),
        assumption="The constant lambda is absorbed in the step, as the paper says.",
        remark="M s is s times 1/(lambda + |s|^2), in any dimension: Eq. 10 is the probability flow with its score "
        "shrunk by lambda/(lambda + |s|^2), and where |s|^2 is far above lambda the noise stays. Algorithm 1 is "
        "another thing: step 13 restores the norm, which undoes exactly this factor, so that its limit is the ordinary "
        "flow and ends at the data (A3). So it does not discretise Eq. 10, and Eq. 10 does not explain it. What does "
        "carry M to the data is dX = [f X - (g^2/2) (s + M s + div M)] dt + g M^{1/2} dB, the ordinary flow with "
        "corrected LML dynamics at each level beside it: its marginals are q_t for every lambda (A4).",
        counterexample={
            "target": toy.ZOO[_TARGET].description,
            "lambda": found.shown()[0],
            "total variation, Eq. 9": round(found.shown()[1], 4),
            "total variation, Eq. 10": round(found.shown()[1 + 2 * FLOWS.index("ode")], 4),
        },
        data={"rows": np.array(found.rows), **found.kept},
    )


_STYLES = {
    "literal": ("literal", "-", "Eq. 9"),
    "divergence_added": ("other", "--", r"Eq. 9 with $\mathrm{div}\,N/2$"),
    "ode": ("lml", "-", "Eq. 10"),
    "corrected": ("corrected", "--", "corrected SDE"),
}


def _draw_ends(axis: Axes, edges: np.ndarray, data: np.ndarray, densities: dict[str, np.ndarray]) -> None:
    middle = 0.5 * (edges[:-1] + edges[1:])
    shown = np.abs(middle) < 12
    axis.fill_between(middle[shown], data[shown], color=COLOURS["target"], alpha=0.18, lw=0, label="data")
    for name, density in densities.items():
        colour, dashes, label = _STYLES[name]
        axis.plot(middle[shown], density[shown], dashes, color=COLOURS[colour], lw=1.3, label=label)
    axis.set(xlabel="x at the end", ylabel="density", xlim=(-12, 12), ylim=(0, 1.45 * float(data.max())))
    axis.legend(loc="upper center", ncols=2)


def draw_marginals(finding: Finding) -> Figure:
    """Draw the two ends at lambda = 1, and their distance against the damping."""
    figure, (left, right) = panels(2, width=3.8, height=2.9)
    data = finding.data
    if "edges" in data:
        _draw_ends(
            left, data["edges"], data["data"], {name: data[name] for name in ("literal", "divergence_added", "ode")}
        )
    left.set_title(r"Not the same marginals ($\lambda=1$)", loc="left")
    rows = data["rows"][np.isfinite(data["rows"][:, 0])]
    right.plot(rows[:, 0], rows[:, 1], "o-", color=COLOURS["literal"], ms=4, label="Eqs. 9 and 10")
    right.plot(rows[:, 0], rows[:, 3], "s--", color=COLOURS["other"], ms=4, label=r"with $\mathrm{div}\,N/2$")
    right.set(xscale="log", xlabel=r"damping $\lambda$", ylabel="total variation", ylim=(0, None))
    right.set_title("Distance of the two ends", loc="left")
    right.legend(loc="lower right")
    return figure


def draw_data(finding: Finding) -> Figure:
    """Draw the ends at lambda = 1 over the data, and their distance from it against the damping."""
    figure, (left, right) = panels(2, width=3.8, height=2.9)
    data = finding.data
    if "edges" in data:
        shown = {name: data[f"end:{name}"] for name in ("literal", "ode", "corrected")}
        _draw_ends(left, data["edges"], data["end:data"], shown)
    left.set_title(r"Where the flows end ($\lambda=1$)", loc="left")
    rows = data["rows"][np.isfinite(data["rows"][:, 0])]
    for i, name in enumerate(FLOWS):
        colour, dashes, label = _STYLES[name]
        right.plot(rows[:, 0], rows[:, 1 + 2 * i], "o" + dashes, color=COLOURS[colour], ms=4, label=label)
    right.set(xscale="log", yscale="log", xlabel=r"damping $\lambda$", ylabel="total variation from the data")
    right.set_title("Corrected: the grid's error, no more", loc="left")
    return figure
