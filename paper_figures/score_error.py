"""What is left of LML's gain when the score is wrong: exact, white, smooth and biased errors (recorded rows; Q4)."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from paper_figures import sweeps
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import label_panels, panels
from paper_figures.style import LIMIT, ROLES, Role, role
from paper_figures.wins import quotient
from theory_checks.ledger.claim import Settings

_TARGET, _BASE = "digits", "ddim"
_EVALUATIONS = (5, 10, 20)
_DISTANCES = {"endpoint-rmse": "distance to the flow's end", "frechet": "Frechet distance"}

# Models by name, from none to the most harmful error, and what they are.
_MODELS = {
    "exact": "exact score",
    "smooth(size=0.1)": "smooth, 10 %",
    "white(size=0.1)": "white, 10 %",
    "bias(size=0.05)": "bias, 5 %",
}

_ARMS: dict[str, Role] = {"lml": ROLES["LML"], "extrapolation": ROLES["extrapolation"], "noise": ROLES["element noise"]}


def _rows() -> pd.DataFrame | None:
    """Return the recorded rows; none where a model or arm is missing."""
    rows = sweeps.read_shipped()
    if rows is None:
        return None
    arms = {_BASE, *(f"{_BASE}/{name}" for name in _ARMS)}
    rows = rows[(rows["target"] == _TARGET) & rows["model"].isin(_MODELS) & rows["arm"].isin(arms)]
    rows = sweeps.unique(rows[rows["distance"].isin(_DISTANCES) & rows["evaluations"].isin(_EVALUATIONS)])
    whole = set(rows["model"]) == set(_MODELS) and set(rows["arm"]) == arms
    return rows if whole else None


def missing() -> str:
    """Return what is missing."""
    return "" if _rows() is not None else "no sweep with errors of the score is shipped below image_exps/results"


def compute(settings: Settings) -> Data:
    """Return each arm's distance over the base's, by distance, arm, model and evaluations: value, low, high.

    Raises:
        ValueError: if no rows are shipped.
    """
    rows = _rows()
    if rows is None:
        raise ValueError(missing())
    found = np.full((len(_DISTANCES), len(_ARMS), len(_MODELS), len(_EVALUATIONS), 3), np.nan)
    for i, distance in enumerate(_DISTANCES):
        for k, model in enumerate(_MODELS):
            own = rows[(rows["distance"] == distance) & (rows["model"] == model)]
            plain = sweeps.curve(own[own["arm"] == _BASE])
            for j, arm in enumerate(_ARMS):
                turned = sweeps.curve(own[own["arm"] == f"{_BASE}/{arm}"])
                for m, n in enumerate(_EVALUATIONS):
                    if n in plain.x and n in turned.x:
                        found[i, j, k, m] = quotient(turned, plain, n)
    return {
        "ratio": found,
        "models": np.array(list(_MODELS.values())),
        "evaluations": np.array(_EVALUATIONS),
        "counts": np.unique(rows["count"]),
    }


def draw(data: Data) -> Figure:
    """Draw a panel for each distance: an arm's distance over DDIM's for each error and number of evaluations."""
    figure, (axes,) = panels(1, len(_DISTANCES), height=3.3, sharey=True)
    few = len(data["evaluations"])
    places = np.array([[k * (few + 1) + m for m in range(few)] for k in range(len(data["models"]))])
    for axis, label, ratios in zip(axes, _DISTANCES.values(), data["ratio"], strict=True):
        for j, (look, ratio) in enumerate(zip(_ARMS.values(), ratios, strict=True)):
            value, low, high = np.moveaxis(ratio, -1, 0)
            axis.errorbar(value.ravel(), places.ravel() + 0.22 * (j - 1), elinewidth=0.7,
                          xerr=np.stack((value - low, high - value)).reshape(2, -1),
                          **look.line(ls="none", ms=4))  # fmt: skip
        axis.axvline(1, color=LIMIT, lw=0.8)
        names = [
            f"{name}, {n}" if m == 0 else f"{n}" for name in data["models"] for m, n in enumerate(data["evaluations"])
        ]
        axis.set_yticks(places.ravel(), names)
        axis.set(xscale="log", ylim=(places.max() + 0.7, -0.7), xlabel="over DDIM's")
        axis.tick_params(axis="y", length=0)
        axis.grid(axis="y", color=LIMIT, alpha=0.25, lw=0.5)
        axis.set_title(label)
    axes[0].set_ylabel("error of the score, evaluations")
    label_panels(axes)
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside upper center", ncols=3)
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the texts say in numbers."""
    at = list(data["evaluations"]).index(10) if 10 in data["evaluations"] else 0
    ends = [f"{model} {data['ratio'][0, 0, k, at, 0]:.2f}" for k, model in enumerate(data["models"])]
    lml = data["ratio"][0, 0]
    return {
        "target": _TARGET,
        "base": role(_BASE).label,
        "n": ", ".join(f"{n:.0f}" for n in data["counts"]),
        "level": f"{sweeps.LEVEL:.0%}",
        "at": f"{data['evaluations'][at]}",
        "ends": ", ".join(ends),
        "nearer": f"{(lml[..., 2] < 1).sum()} of {np.isfinite(lml[..., 0]).sum()}",
        "worse": f"{(lml[..., 1] > 1).sum()}",
    }


FIGURE = PaperFigure(
    name="score_error",
    title="what is left of LML's gain when the score is wrong",
    compute=compute,
    draw=draw,
    facts=facts,
    missing=missing,
    inputs=sweeps.shipped,
    caption="""What is left of LML's gain on {base} when the score is wrong ({target}; claim Q4): each arm's
    distance over the base's, with the error and the number of evaluations at the left; below one is better.
    Distance to the exact flow's end with LML, in {at} evaluations: {ends}. LML is nearer in {nearer} cells and
    further in {worse}. Bars: {level} intervals.""",
    methods="""The error is relative to the noise prediction: white belongs to a sample, smooth and bias are one
    function for all, like a network's. The flow is that of the exact score. n = {n} samples, from the shipped
    sweeps; intervals of quotients as if both were independent; they share their noises. Extrapolation and noise of
    LML's size are controls.""",
)
