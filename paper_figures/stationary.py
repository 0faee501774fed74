"""Three stationary measures: of Eq. 7 as written, of Eq. 7 with the drift that it lacks, and the target (S1, S2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from matplotlib.figure import Figure

import toy
from paper_figures.figure import Data, PaperFigure, of_finding, read
from paper_figures.layout import label_panels, panels_by_name
from paper_figures.style import READINGS
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.progress import track
from theory_checks.numerics.particles import Proposal, euler
from theory_checks.stationary.stationary_measure import chain_limit, check_literal

_LINE, _PLANE = "bimodal-1d", "bimodal-2d"

# In the plane the damping is above the one below which the literal dynamics of these components have no law (S5).
_PLANE_DAMPING = 3.0
_BINS, _REACH = 48, 4.8
_SNAPSHOTS = 60


def compute(settings: Settings, *, dampings: Sequence[float] = (0.1, 1.0, 10.0), count: int | None = None) -> Data:
    """Return densities on the line by closed form and Euler chains, and histograms of particles in the plane."""
    data = of_finding(check_literal(settings, dampings))
    middle = float(data["chain_damping"])
    corrected = chain_limit(toy.target(_LINE), middle, "corrected")
    found: dict[str, np.ndarray] = {"corrected_x": corrected.x, "corrected": corrected.density}

    q = toy.target(_PLANE)
    edges = np.linspace(-_REACH, _REACH, _BINS + 1)
    n = count or settings.pick(4000, 40_000)
    generator = settings.generator(1)
    h = 0.01 * _PLANE_DAMPING
    # All start from q: an exact start for the corrected reading; the literal one has 20 times its own time scale.
    for reading in ("literal", "corrected"):
        x = euler(Proposal(q, _PLANE_DAMPING, reading, h), q.sample(n, generator=generator), 1000, generator)
        counts = np.zeros((_BINS, _BINS))
        for _ in track(range(_SNAPSHOTS), f"particles, {reading}"):
            x = euler(Proposal(q, _PLANE_DAMPING, reading, h), x, 20, generator)
            counts += np.histogram2d(x[:, 0].numpy(), x[:, 1].numpy(), bins=[edges, edges])[0]
        found[f"plane: {reading}"] = counts / (n * _SNAPSHOTS) / (edges[1] - edges[0]) ** 2
    fine = np.linspace(-_REACH, _REACH, 4 * _BINS + 1)
    centres = torch.from_numpy((fine[:-1] + fine[1:]) / 2)
    density = q.log_density(torch.cartesian_prod(centres, centres)).exp().view(4 * _BINS, 4 * _BINS).numpy()
    found["plane: target"] = density.reshape(_BINS, 4, _BINS, 4).mean((1, 3))
    return {
        **data,
        **found,
        "edges": edges,
        "n": np.array(n),
        "snapshots": np.array(_SNAPSHOTS),
        "plane damping": np.array(_PLANE_DAMPING),
        "step": np.array(h),
    }


def draw(data: Data) -> Figure:
    """Draw the line above and the plane below."""
    figure, axes = panels_by_name([["a", "a", "a", "b", "b", "b"], ["c", "c", "d", "d", "e", "e"]], height=4.3)
    for name, title in (("a", "line, Eq. 7 as written"), ("b", r"line, with $\nabla\cdot M$ in the drift")):
        axes[name].fill_between(data["x"], data["q"], color=READINGS["target"], alpha=0.2, lw=0, label="target $q$")
        axes[name].set(xlim=(-4.6, 4.6), ylim=(0, None), xlabel="$x$", ylabel="density")
        axes[name].set_title(title)
    for i, (damping, dashes) in enumerate(zip(data["damping"], ("-", "--", ":"), strict=False)):
        axes["a"].plot(
            data["x"], data[f"literal{i}"], dashes, color=READINGS["literal"], label=rf"$\lambda={damping:g}$"
        )
    for name, key in (("a", "chain"), ("b", "corrected")):
        every = max(1, len(data[f"{key}_x"]) // 60) if key == "corrected" else max(1, len(data["chain_x"]) // 60)
        label = rf"Euler chain, $\lambda={float(data['chain_damping']):g}$"
        colour = READINGS["literal" if key == "chain" else "corrected"]
        axes[name].plot(data[f"{key}_x"][::every], data[key][::every], "o", ms=3, mfc="none", color=colour, label=label)
    top = max(axes["a"].get_ylim()[1], axes["b"].get_ylim()[1])
    for name in "ab":
        axes[name].set_ylim(0, 1.4 * top)
        axes[name].legend(loc="upper center", ncols=2, columnspacing=1.0)
    ceiling = max(float(data[f"plane: {key}"].max()) for key in ("target", "literal", "corrected"))
    for name, key in zip("cde", ("target", "literal", "corrected"), strict=True):
        image = axes[name].pcolormesh(
            data["edges"], data["edges"], data[f"plane: {key}"].T, cmap="cividis", vmin=0, vmax=ceiling, rasterized=True
        )
        axes[name].set(
            aspect="equal", xlim=(-4, 4), ylim=(-3, 3), xlabel="$x_1$", ylabel="$x_2$" if name == "c" else None
        )
        axes[name].set_title(
            {"target": "plane, target", "literal": "as written", "corrected": r"with $\nabla\cdot M$"}[key]
        )
    figure.colorbar(image, ax=[axes[name] for name in "cde"], label="density", shrink=0.9, pad=0.02)
    label_panels([axes[name] for name in "abcde"])
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    cell = float(data["edges"][1] - data["edges"][0])
    target = data["plane: target"]
    tv = {k: 0.5 * np.abs(data[f"plane: {k}"] - target).sum() * cell**2 for k in ("literal", "corrected")}
    biases = [read(data, f"total variation from q, bimodal-1d, lambda = {lam:g}") for lam in data["damping"]]
    return {
        "tv": ", ".join(f"{b[0]:.3f}" for b in biases),
        "lams": ", ".join(f"{lam:g}" for lam in data["damping"]),
        "chain": f"{float(data['chain_damping']):g}",
        "n": f"{int(data['n'])}",
        "snapshots": f"{int(data['snapshots'])}",
        "lam": f"{float(data['plane damping']):g}",
        "h": f"{float(data['step']):g}",
        "cell": f"{cell:g}",
        "literal": f"{tv['literal']:.3f}",
        "corrected": f"{tv['corrected']:.3f}",
    }


FIGURE = PaperFigure(
    name="stationary",
    title="the stationary measures of Eq. 7 as written, of Eq. 7 corrected, and the target",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""Where the dynamics of Eq. 7 end. (a) As written, on two Gaussians of the line: closed form (lines;
    claim S1) and Euler chain (circles). Total variation from the target: {tv} at damping {lams}. (b) With the
    divergence of M in the drift (claim S2) the chain ends at the target. (c) to (e) Two Gaussians in the plane,
    damping {lam}: target and particles; total variation as written {literal}, corrected {corrected}.""",
    methods="""(a, b) Circles: stationary vector of the Euler chain, extrapolated to a vanishing step, damping
    {chain}; total variations by quadrature; the two methods agree within their refinement errors. (c) to (e) The
    target averaged over the cells, and histograms of n = {n} particles at {snapshots} times, Euler-Maruyama with
    step {h}; total variation over cells of side {cell}. What is left of the corrected one is the particles' chance
    and the step's bias.""",
    small={"dampings": (3.0,), "count": 50},
)
