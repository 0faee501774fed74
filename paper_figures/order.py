"""Order of convergence to the exact flow of every base, with and without LML (claim A3)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from lml.samplers import SAMPLERS, Sampler
from paper_figures.figure import Data, PaperFigure, of_finding, read
from paper_figures.layout import label_panels, panels_by_name
from paper_figures.style import LIMIT, NOTE, QUIET, ROLES
from theory_checks.annealing.order import BASES, ETA0, check_order
from theory_checks.ledger.claim import Settings

_TARGET = "random-8d"

# Of panel (a).
_EXAMPLE = "dpm-solver++-2m"

# A base without LML, whichever it is.
_PLAIN = ROLES["ddim"]

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
    """Draw the errors of one base of higher order, and the observed order of every base with and without LML."""
    twins = _twins(data)
    names = [name for name in map(str, data["bases"]) if name not in twins]
    orders = dict(zip(map(str, data["bases"]), data["orders"], strict=True))
    names.sort(key=lambda name: -_slope(data[f"{name}:base"]))
    figure, axes = panels_by_name([["a", "b", "b"]], height=1.0 + 0.155 * max(len(names), 10))
    _draw_example(axes["a"], data, max(names, key=lambda name: (orders[name] == 2, name == _EXAMPLE)))
    dots, places = axes["b"], np.arange(len(names))
    for key, look, label in (("base", _PLAIN, "base"), ("lml", ROLES["LML"], "with LML")):
        found = np.array([_slope(data[f"{name}:{key}"]) for name in names])
        changed = found - np.array([_slope(data[f"{name}:{key}"][:-1]) for name in names])
        bars = np.stack((changed.clip(min=0), (-changed).clip(min=0)))
        dots.errorbar(found, places, xerr=bars, elinewidth=0.7, **look.line(ls="none", label=label, ms=4.5))
    for order in range(1, 4):
        dots.axvline(order, color=LIMIT, lw=0.6, ls=":", zorder=0)
    dots.set(xlabel="observed order", ylim=(len(names) - 0.5, -0.5), xlim=(0.4, 3.3), xticks=(1, 2, 3))
    dots.set_yticks(places, names)
    dots.tick_params(axis="y", length=0)
    dots.grid(axis="y", color=LIMIT, alpha=0.25, lw=0.5)
    dots.set_title("all bases")
    dots.legend(loc="lower right", frameon=True, facecolor="white", edgecolor="none", framealpha=1)
    label_panels([axes["a"], dots])
    return figure


def _draw_example(axis: Axes, data: Data, name: str) -> None:
    """Draw the errors of a base against its steps, with the slopes of first and second order."""
    steps = data["steps"]
    for key, look, label in (("base", _PLAIN, name), ("lml", ROLES["LML"], "with LML")):
        axis.loglog(steps, data[f"{name}:{key}"], **look.line(label=label))
        last, order = float(data[f"{name}:{key}"][-1]), round(_slope(data[f"{name}:{key}"]))
        guide = 0.55 * last * (steps[-1] / steps) ** order
        axis.loglog(steps, guide, color=LIMIT, lw=0.8, ls=":")
        axis.annotate(f"slope {order}", (steps[-2], guide[-2]), (-4, -4), textcoords="offset points", ha="right",
                      va="top", fontsize=NOTE, color=QUIET)  # fmt: skip
    axis.set_xticks(steps, [str(n) for n in steps])
    axis.xaxis.set_minor_locator(NullLocator())
    axis.set(xlabel="steps", ylabel="error")
    axis.set_title("one base of second order")
    axis.legend(loc="upper right", borderaxespad=0)


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
        "shown": f"{len(names) - len(twins)}",
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
    caption="""Order of convergence to the exact probability flow, with and without LML (claim A3; target {target}).
    (a) Error of one base of second order against its steps. (b) Observed order of {shown} bases. With LML the order
    is {mean} (mean and range): first order, whatever the base's. So LML can only gain in few steps: at {last} steps
    it is worse on {worse} bases of higher order. Bars: what the last halving of the step changed.""",
    methods="""Norm of the error over n = {n} samples, float64, from {first} to {last} steps equal in log-SNR; LML
    with strength {eta0} at every step. {count} bases, under the names of the package{twins}. Orders are those of
    the last halving of the step. Extrapolated to a vanishing step the bases' orders differ from their stated ones
    by at most {off}, those with LML from one by at most {of_lml}, in units of their refinement error. The error is
    without chance, but for the choice of the samples.""",
    small={"bases": ("ddim", "dpm-solver++-2m")},
)
