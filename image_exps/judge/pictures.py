"""The pictures of the page: convergence, quality against evaluations, where it is and ends, stability."""

from __future__ import annotations

import math
from typing import Any

from matplotlib.figure import Figure

from image_exps.judge.verdict import Verdict
from theory_checks.ledger.plotting import COLOURS, panels, style

__all__ = ["pictures"]

_WIDTH, _HEIGHT = 4.3, 3.0


def pictures(verdict: Verdict) -> dict[str, Figure]:
    """Return the pictures that there is something to draw for, by name."""
    made = {
        "convergence": _convergence(verdict.part("right")),
        "law": _law(verdict.part("right")),
        "quality": _quality(verdict.part("good")),
        "seconds": _seconds(verdict),
        "numbers": _numbers(verdict.part("robust")),
        "guidance": _guidance(verdict.part("robust")),
    }
    return {name: figure for name, figure in made.items() if figure is not None}


def _convergence(found: dict[str, Any]) -> Figure | None:
    if not found.get("on"):
        return None
    figure, axes = panels(len(found["on"]), width=_WIDTH, height=_HEIGHT, sharey=True)
    with style():
        for axis, on in zip(axes, found["on"], strict=True):
            counts, errors = on["counts"], on["errors"]
            axis.loglog(counts, errors, "o-", color=COLOURS["lml"], ms=4, lw=1.5, label="distance to the flow")
            order = on["order"]
            if not order["reason"]:
                used = slice(order["first"], order["last"] + 1)
                anchor = counts[used][-1], errors[used][-1]
                for p in sorted({1, 2, 3, round(order["value"])}):
                    line = [anchor[1] * (anchor[0] / n) ** p for n in counts[used]]
                    chosen = p == round(order["value"])
                    axis.loglog(counts[used], line, ":", color=COLOURS["bound"] if chosen else COLOURS["limit"],
                                lw=1.3, label=f"order {p}")  # fmt: skip
            axis.axhline(on["floor"], color=COLOURS["limit"], lw=0.8)
            axis.set_title(on["target"], loc="left")
            axis.set_xlabel("steps")
            axis.set_xticks(counts, [str(n) for n in counts])
            axis.minorticks_off()
        axes[0].set_ylabel("median distance")
        axes[0].legend(loc="lower left")
    return figure


def _law(found: dict[str, Any]) -> Figure | None:
    if not found.get("law"):
        return None
    figure, axes = panels(len(found["law"]), width=_WIDTH, height=_HEIGHT, sharey=True)
    with style():
        for axis, on in zip(axes, found["law"], strict=True):
            axis.loglog(on["counts"], on["frechet"], "o-", color=COLOURS["lml"], ms=4, lw=1.5, label="Frechet")
            axis.axhline(on["frechet_limit"], color=COLOURS["lml"], lw=1, ls=":", label="exact samples, at most")
            axis.loglog(on["counts"], on["sliced"], "s-", color=COLOURS["control"], ms=4, lw=1.5, label="sliced W2")
            axis.axhline(on["sliced_limit"], color=COLOURS["control"], lw=1, ls=":")
            axis.set_title(on["target"], loc="left")
            axis.set_xlabel("steps")
            axis.set_xticks(on["counts"], [str(n) for n in on["counts"]])
            axis.minorticks_off()
        axes[0].set_ylabel("distance to the exact law")
        axes[0].legend(loc="lower left")
    return figure


def _quality(found: dict[str, Any]) -> Figure | None:
    cells = [cell for cell in found.get("cells", []) if cell["baselines"]]
    targets = list(dict.fromkeys(cell["target"] for cell in cells))
    if not targets:
        return None
    figure, axes = panels(len(targets), width=_WIDTH, height=_HEIGHT)
    with style():
        for axis, target in zip(axes, targets, strict=True):
            rows = [cell for cell in cells if cell["target"] == target]
            numbers = [cell["evaluations"] for cell in rows]
            for name in ("ddim", "ipndm-4", "dpm-solver++-2m", "unipc-3"):
                values = [_of_base(cell, name) for cell in rows]
                axis.loglog(numbers, values, "-", color=COLOURS["limit"], lw=1)
                if math.isfinite(values[-1]):
                    axis.annotate(name, (numbers[-1], values[-1]), fontsize=7, color=COLOURS["target"],
                                  xytext=(3, 0), textcoords="offset points", va="center")  # fmt: skip
            best = [cell["baselines"][0]["mean"] for cell in rows]
            axis.loglog(numbers, best, "--", color=COLOURS["target"], lw=1.3, label="best baseline")
            own = [(cell["evaluations"], cell["own"]["mean"]) for cell in rows if cell["own"]]
            if own:
                axis.loglog(*zip(*own, strict=True), "o-", color=COLOURS["lml"], ms=4, lw=1.7, label="judged")
            axis.set_title(target, loc="left")
            axis.set_xlabel("evaluations of the network")
            axis.set_xticks(numbers, [str(n) for n in numbers])
            axis.minorticks_off()
            axis.margins(x=0.25)
        axes[0].set_ylabel("mean distance to the flow's end")
        axes[0].legend(loc="lower left")
    return figure


def _seconds(verdict: Verdict) -> Figure | None:
    """Draw work and precision in seconds of a network whose cost was given; the steps of baselines cost DDIM's."""
    network, cost = verdict.content.get("network_ms"), verdict.part("cost")
    cells = [cell for cell in verdict.part("good").get("cells", []) if cell["baselines"] and cell["own"]]
    if network is None or not cost or not cells:
        return None
    targets = list(dict.fromkeys(cell["target"] for cell in cells))
    figure, axes = panels(len(targets), width=_WIDTH, height=_HEIGHT)
    with style():
        for axis, target in zip(axes, targets, strict=True):
            rows = [cell for cell in cells if cell["target"] == target]
            for own, step in ((False, cost["ddim"]), (True, cost["step"])):
                x = [cell["evaluations"] * (network + step) / 1000 for cell in rows]
                means = [(cell["own"] if own else cell["baselines"][0])["mean"] for cell in rows]
                colour, text = (COLOURS["lml"], "judged") if own else (COLOURS["target"], "best baseline")
                axis.loglog(x, means, "o-", color=colour, ms=4, label=text)
            axis.set_title(target, loc="left")
            axis.set_xlabel(f"seconds, {network:g} ms an evaluation")
        axes[0].set_ylabel("mean distance to the flow's end")
        axes[0].legend(loc="lower left")
    return figure


def _of_base(cell: dict[str, Any], name: str) -> float:
    return next((arm["mean"] for arm in cell["baselines"] if arm["name"].startswith(f"{name}@")), math.nan)


def _pair(found: list[dict[str, Any]], label: str, ylabel: str, *, logx: bool, broken: float | None = None) -> Figure:
    figure, (axis,) = panels(1, width=_WIDTH, height=_HEIGHT)
    with style():
        for key, colour, text in (("other", "target", "DDIM"), ("value", "lml", "judged")):
            points = [(float(f["at"]), f[key]) for f in found if f[key] is not None]
            if points:
                axis.plot(*zip(*points, strict=True), "o-", color=COLOURS[colour], ms=4, lw=1.5, label=text)
        axis.set_yscale("log")
        if logx:
            axis.set_xscale("log")
        if broken is not None:
            axis.axhline(broken, color=COLOURS["literal"], lw=1, ls=":", label="broken above")
        axis.set_xlabel(label)
        axis.set_ylabel(ylabel)
        ticks = [float(f["at"]) for f in found]
        axis.set_xticks(ticks, [f"{t:g}" for t in ticks])
        axis.tick_params(axis="x", labelsize=7)
        axis.minorticks_off()
        axis.legend(loc="best")
    return figure


def _numbers(found: dict[str, Any]) -> Figure | None:
    if not found.get("numbers"):
        return None
    return _pair(found["numbers"], "evaluations of the network", "mean distance to the flow's end", logx=True)


def _guidance(found: dict[str, Any]) -> Figure | None:
    if not found.get("guidance"):
        return None
    return _pair(found["guidance"], "guidance", "size of samples over the flow's", logx=True, broken=3.0)
