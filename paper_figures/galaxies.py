"""Galaxies of two networks that nobody here trained, with maps of the errors, from pictures that are kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from image_exps.results.outside_pictures import PICTURES
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import panels
from theory_checks.ledger.claim import Settings

# A picture holds log(flux + 1)/0.1 of the network's flux.
_LOG_SCALE = 0.1

# Of the brightness shown: the softening of asinh in units of the spread of the sky, and the quantile that is white.
_SOFTENING, _WHITE = 3.0, 0.999

# Of the errors shown: the quantile that is darkest.
_DARKEST = 0.99

_LABELS = {"ddim@log-snr": "DDIM", "ddim@log-snr/lml": "LML on DDIM"}


def missing() -> str:
    """Return what is missing."""
    return (
        "" if PICTURES.is_file() else "no pictures are kept: python -m image_exps.results.outside_pictures draws them"
    )


def _inputs() -> tuple[Path, ...]:
    return (PICTURES,) if PICTURES.is_file() else ()


def compute(settings: Settings, *, networks: Sequence[int] = (0, 1)) -> Data:
    """Return the kept pictures, which have a seed of their own.

    Args:
        settings: not used.
        networks: which of the kept networks.

    Raises:
        ValueError: if there are none.
    """
    if sentence := missing():
        raise ValueError(sentence)
    with np.load(PICTURES) as kept:
        data = dict(kept)
    chosen = {"evaluations": data["evaluations"], "n": data["n"], "seed": data["seed"]}
    for k, i in enumerate(networks):
        chosen |= {f"flow {k}": data[f"flow {i}"], f"off {k}": data[f"off {i}"].astype(np.float32)}
        chosen[f"rows {k}"] = data[f"rows {i}"]
    return {**chosen, "networks": data["networks"][list(networks)]}


def _stretched(pictures: np.ndarray) -> np.ndarray:
    """Return the brightness of pictures, the flow's first, in [0, 1].

    It is asinh of the flux, softened at a few times the spread of the sky, as astronomers show galaxies.

    Source: Lupton et al. 2004, PASP 116, 133.
    """
    flux = np.expm1(_LOG_SCALE * pictures)
    sky = np.median(flux[0])
    spread = np.median(np.abs(flux[0] - sky))
    bright = np.arcsinh((flux - sky) / (_SOFTENING * spread))
    low, high = np.quantile(bright[0], (1 - _WHITE, _WHITE))
    shown: np.ndarray = np.clip((bright - low) / (high - low), 0, 1)
    return shown


def _errors(off: np.ndarray) -> np.ndarray:
    """Return the distances to the flow's end, mean over samples of the root mean square over pixels, (rows,)."""
    found: np.ndarray = np.sqrt(np.square(off).mean((2, 3))).mean(1)
    return found


def _strip(pictures: np.ndarray) -> np.ndarray:
    return np.concatenate(list(pictures), axis=1)


def draw(data: Data) -> Figure:
    """Draw for each network a column of strips of the same noises, each above the map of its error."""
    networks = list(data["networks"])
    rows = len(data["evaluations"])
    strip = 3.3 / int(data["n"])
    figure, axes = panels(2 * rows + 1, len(networks), height=(2 * rows + 1) * strip + (rows + 1) * 0.2, by_column=True)
    for k, name in enumerate(networks):
        flow, off = np.asarray(data[f"flow {k}"]), np.asarray(data[f"off {k}"])
        bright = _stretched(np.concatenate((flow[None], flow + off)))
        darkest = float(np.quantile(np.abs(off[0]), _DARKEST))
        titles = [f"the flow of {str(name).removeprefix('galaxy-')}"]
        for label, n, error in zip(data[f"rows {k}"], data["evaluations"], _errors(off), strict=True):
            titles.append(f"{_LABELS.get(str(label), str(label))}, {n} evaluations: {error:.3f}")
        for i, title in enumerate(titles):
            axis = axes[2 * i - 1 if i else 0, k]
            axis.imshow(_strip(bright[i]), cmap="gray", vmin=0, vmax=1, interpolation="nearest")
            axis.set_title(title, fontsize=7, pad=2)
            if i:
                shown = _strip(np.abs(off[i - 1]))
                axes[2 * i, k].imshow(shown, cmap="Reds", vmin=0, vmax=darkest, interpolation="nearest")
    for axis in axes.ravel():
        axis.set_axis_off()
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    said = []
    for k, name in enumerate(data["networks"]):
        errors = _errors(np.asarray(data[f"off {k}"]))
        parts = [
            f"{_LABELS.get(str(label), str(label))} {error:.3f} in {n}"
            for label, n, error in zip(data[f"rows {k}"], data["evaluations"], errors, strict=True)
        ]
        said.append(f"{str(name).removeprefix('galaxy-')}: {', '.join(parts)}")
    return {"n": f"{int(data['n'])}", "seed": f"{int(data['seed'])}", "said": "; ".join(said)}


FIGURE = PaperFigure(
    name="galaxies",
    title="galaxies of networks that nobody here trained, with maps of the errors",
    compute=compute,
    draw=draw,
    facts=facts,
    missing=missing,
    inputs=_inputs,
    caption="""Galaxies of published networks (Sampson & Melchior) from the same n = {n} noises, none chosen. At the top
    the end of the network's own flow; then samplers in few evaluations, the last of each budget the baseline that ended
    nearest in the sweep. Below each strip its difference to the flow, palest for none; the number is the mean distance
    over these pictures. LML takes much of DDIM's error away (claim Q5), the best baseline as much or more.""",
    methods="""The first noises of a seed of the pictures' own, {seed}. Levels equal in log-SNR for DDIM and for LML on
    it. Brightness: asinh of the flux; differences in the network's own units; one scale of each for a network. {said}.
    Few pictures say nothing of a mean: the tables of the page on these networks have intervals.""",
    small={"networks": (0,)},
)
