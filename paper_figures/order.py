"""Order of convergence to the exact flow of every base, with and without LML (claim A3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure

from lml.samplers import SAMPLERS, Sampler
from paper_figures.figure import Data, PaperFigure, of_finding, read
from paper_figures.layout import label_panels, lowest, panels
from paper_figures.style import LIMIT, ROLES
from theory_checks.annealing.order import BASES, ETA0, check_order
from theory_checks.ledger.claim import Settings

_TARGET = "random-8d"
_COLUMNS = 4

# Two samplers whose errors differ by less than this are one algorithm; rounding is far below, another order far above.
_TWINS = 1e-6

#: All samplers, and those that the claim configures otherwise.
_BASES: dict[str, Sampler] = {**SAMPLERS, **BASES}


def compute(settings: Settings, *, bases: Sequence[str] = tuple(_BASES), target: str = _TARGET) -> Data:
    """Return the errors of claim A3 on one target, and its figures."""
    chosen = {name: _BASES[name] for name in bases}
    data = of_finding(check_order(settings, chosen, (target,)))
    orders = np.array([chosen[name].order for name in bases])
    return {**data, "bases": np.array(bases), "orders": orders, "target": np.array(target), "eta0": np.array(ETA0)}


def _slope(errors: np.ndarray) -> float:
    return math.log2(errors[-2] / errors[-1])


def _twins(data: Data) -> dict[str, tuple[str, float]]:
    """Return the bases that are another before them in other words: which, and how far their errors are apart."""
    found: dict[str, tuple[str, float]] = {}
    names = [str(name) for name in data["bases"]]
    for i, name in enumerate(names):
        for other in names[:i]:
            apart = max(float(np.abs(data[f"{name}:{k}"] / data[f"{other}:{k}"] - 1).max()) for k in ("base", "lml"))
            if apart < _TWINS and other not in found:
                found[name] = (other, apart)
    return found


def draw(data: Data) -> Figure:
    """Draw errors against steps, a panel for each base, with the observed orders in it."""
    twins = _twins(data)
    names = [name for name in map(str, data["bases"]) if name not in twins]
    rows, count = math.ceil(len(names) / _COLUMNS), len(names)
    columns = min(count, _COLUMNS)
    figure, axes = panels(rows, columns, height=1.55 * rows + 0.2, sharex=True, sharey=True, count=count)
    steps = data["steps"]
    for axis, name in zip(axes.ravel(), names, strict=False):
        plain, turned = data[f"{name}:base"], data[f"{name}:lml"]
        for key, look in (("exact", ROLES["exact"]), ("LML", ROLES["LML"])):
            errors, label = (plain, "base") if key == "exact" else (turned, "with LML")
            marker = "s" if key == "exact" else "o"
            axis.loglog(steps, errors, marker=marker, color=look.colour, ms=3, lw=1, label=label)
        axis.loglog(steps, 1.6 * turned[-1] * steps[-1] / steps, ":", color=LIMIT, lw=1, label="first order")
        axis.text(0.05, 0.05, f"order {_slope(plain):.2f}\nwith LML {_slope(turned):.2f}", transform=axis.transAxes,
                  fontsize=7)  # fmt: skip
        axis.set_title(name.replace(", order kept", " (kept)"))
        axis.set_xticks(steps, [str(n) for n in steps])
        axis.minorticks_off()
    for axis in lowest(axes):
        axis.set_xlabel("steps")
    for axis in axes[:, 0]:
        axis.set_ylabel("error")
    label_panels(axes.ravel()[:count])
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    names = [str(name) for name in data["bases"]]
    value, low, high, _ = read(data, "observed order with LML")
    off = read(data, "distance of a base's order from its stated one")[0]
    of_lml = read(data, "its distance from 1")[0]
    higher = [str(n) for n, order in zip(names, data["orders"], strict=True) if order > 1]
    worse = sum(data[f"{n}:lml"][-1] > data[f"{n}:base"][-1] for n in higher)
    twins = _twins(data)
    same, apart = {other for other, _ in twins.values()}, max((apart for _, apart in twins.values()), default=0.0)
    return {
        "twins": f"; {', '.join(twins)} agree with {' and '.join(same)} to {apart:.0e}" if twins else "",
        "n": f"{int(data['samples'])}",
        "count": f"{len(names)}",
        "target": str(data["target"]),
        "first": f"{data['steps'][0]}",
        "last": f"{data['steps'][-1]}",
        "eta0": f"{float(data['eta0']):g}",
        "mean": f"{value:.2f} [{low:.2f}, {high:.2f}]",
        "off": f"{off:.2f}",
        "of_lml": f"{of_lml:.2f}",
        "worse": f"{worse} of {len(higher)}",
    }


FIGURE = PaperFigure(
    name="order",
    title="order of convergence of every base, with and without LML",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""Error against the exact probability flow (norm over n = {n} samples, float64) for {count} bases, under
    the names of the package{twins}; target {target}, {first} to {last} steps equal in log-SNR; LML with strength {eta0}
    at every step. The numbers in the panels are the orders that the last halving of the step shows. With LML the order
    is {mean} (mean and range over bases): first order whatever the base's. Extrapolated to a vanishing step the bases'
    orders differ from their stated ones by at most {off}, those with LML from one by at most {of_lml}, in units of
    their refinement error. At {last} steps LML is worse on {worse} bases of higher order (claim A3: a tool for few
    steps). No interval: the error is without chance, but for the choice of the samples.""",
    small={"bases": ("ddim", "dpm-solver++-2m")},
)
