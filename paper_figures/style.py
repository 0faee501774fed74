"""The look of every figure: STIX letters, as in print, and a fixed colour and marker for each role.

The first seven colours are those of Okabe & Ito, the others the furthest from them: under normal vision and simulated
protanopia, deuteranopia and tritanopia any two of the thirteen are as far apart as Okabe and Ito's closest two. A test
repeats the simulation, and another sees that in no panel two lines differ by colour alone.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import matplotlib as mpl
import numpy as np
from cycler import cycler
from matplotlib.colors import to_hex, to_rgb

__all__ = [
    "COLOURS",
    "LIMIT",
    "NOTE",
    "QUIET",
    "READINGS",
    "ROLES",
    "Role",
    "log_bars",
    "role",
    "style",
    "tint",
]

#: The colours by their own names.
COLOURS: dict[str, str] = {
    "black": "#333333",
    "blue": "#0072b2",
    "vermilion": "#d55e00",
    "orange": "#e69f00",
    "green": "#009e73",
    "pink": "#cc79a7",
    "sky": "#56b4e9",
    "violet": "#962dff",
    "sand": "#c3b469",
    "purple": "#4b005a",
    "brown": "#692d00",
    "indigo": "#3c2da5",
    "red": "#e1003c",
}

#: Lines that nothing crosses, and what is only there to guide the eye.
LIMIT = "#8c8c8c"

#: Of words beside such lines.
QUIET = "#555555"

#: Points of words inside a panel, which are as large as those of its ticks and legend.
NOTE = 8.0


@dataclass(frozen=True)
class Role:
    """How one sampler, correction or control looks, in every figure: a colour, a marker, and its name in a legend.

    A variant has the colour and the marker of what it is a variant of, hollow and with a dashed line.
    """

    colour: str
    marker: str
    label: str
    variant: bool = False

    def line(self, **options: Any) -> dict[str, Any]:
        """Return the arguments of a line with markers."""
        look = {"mfc": "white", "ls": "--"} if self.variant else {}
        return {"color": self.colour, "marker": self.marker, "label": self.label, **look, **options}


#: Samplers, corrections and controls by name; families of samplers, of whatever order, by what their names begin with.
ROLES: dict[str, Role] = {
    "exact": Role(COLOURS["black"], "x", "exact flow"),
    "LML": Role(COLOURS["blue"], "o", "LML"),
    "ddim": Role(COLOURS["vermilion"], "s", "DDIM"),
    "pndm": Role(COLOURS["orange"], "D", "PNDM"),
    "dpm-solver-3s": Role(COLOURS["green"], "^", "DPM-Solver-3"),
    "dpm-solver++": Role(COLOURS["pink"], "v", "DPM-Solver++"),
    "unipc": Role(COLOURS["sky"], "P", "UniPC"),
    "extrapolation": Role(COLOURS["violet"], "<", "extrapolation only"),
    "norm only": Role(COLOURS["sand"], "h", "norm only"),
    "random turn": Role(COLOURS["purple"], ">", "random turn"),
    "element noise": Role(COLOURS["brown"], "*", "element noise"),
    "released": Role(COLOURS["indigo"], "X", "released code, float32"),
    "tuned": Role(COLOURS["red"], "p", "tuned"),
}
ROLES |= {
    "ipndm": replace(ROLES["pndm"], label="iPNDM", variant=True),
    "dpm-solver-3m": replace(ROLES["dpm-solver-3s"], label="DPM-Solver-3 multistep", variant=True),
    "tuned noise": replace(ROLES["tuned"], label="noise of the tuned size", variant=True),
}

#: The readings of the paper's dynamics, and yardsticks; two of them never share a panel with a sampler of their colour.
READINGS: dict[str, str] = {
    "target": COLOURS["black"],
    "literal": COLOURS["vermilion"],
    "corrected": COLOURS["green"],
    "langevin": COLOURS["sky"],
    "outer": COLOURS["blue"],
    "zero": COLOURS["orange"],
    "best multiple": COLOURS["purple"],
    "best with identity": COLOURS["green"],
    "bound": COLOURS["black"],
}

# STIX comes with Matplotlib: a figure looks the same on every machine. Its letters are narrow, and 8 points of them are
# as high as 7 of a sans serif. Type 42 embeds the letters used of the TrueType font itself.
_STYLE: Any = {
    "font.family": "serif",
    "font.serif": ["STIXGeneral"],
    "mathtext.fontset": "stix",
    "pdf.fonttype": 42,
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    "axes.titlepad": 5,
    "axes.labelsize": 9,
    "axes.labelpad": 3,
    "xtick.labelsize": NOTE,
    "ytick.labelsize": NOTE,
    "legend.fontsize": NOTE,
    "legend.frameon": False,
    "legend.handlelength": 1.8,
    "legend.labelspacing": 0.3,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.edgecolor": "#444444",
    "axes.linewidth": 0.6,
    "xtick.color": "#444444",
    "ytick.color": "#444444",
    "xtick.labelcolor": "#222222",
    "ytick.labelcolor": "#222222",
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
    "xtick.minor.width": 0.4,
    "ytick.minor.width": 0.4,
    "xtick.minor.size": 1.6,
    "ytick.minor.size": 1.6,
    "text.color": "#222222",
    "axes.labelcolor": "#222222",
    "lines.linewidth": 1.3,
    "lines.markersize": 4,
    "lines.markeredgewidth": 0.7,
    "errorbar.capsize": 1.5,
    "figure.constrained_layout.h_pad": 0.04,
    "figure.constrained_layout.w_pad": 0.04,
    "savefig.bbox": None,
    "savefig.dpi": 300,
    "axes.prop_cycle": cycler(color=[r.colour for r in ROLES.values() if not r.variant]),
}


def role(name: str) -> Role:
    """Return the look of an arm: of its correction if it has one, else of its base; variants look like their family.

    Raises:
        ValueError: for a name that belongs to no role.
    """
    lowered = name.casefold()
    for key, found in ROLES.items():
        if key.casefold() == lowered:
            return found
    # "dpm-solver++-2m", "element noise 20%", "unipc-2": the longest role that the name begins with.
    families = sorted((key for key in ROLES if lowered.startswith(key.casefold())), key=len)
    if not families:
        raise ValueError(f"name must begin with one of {', '.join(ROLES)}, got {name!r}")
    return ROLES[families[-1]]


@contextmanager
def style() -> Iterator[None]:
    """Apply the look inside a block, and leave the reader's own settings alone."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def tint(colour: str, share: float) -> str:
    """Return a colour mixed with white, of which it keeps this share."""
    red, green, blue = (1 - share * (1 - part) for part in to_rgb(colour))
    return to_hex((red, green, blue))


def log_bars(value: np.ndarray, bars: np.ndarray) -> np.ndarray:
    """Return bars below and above values (n,), shape (2, n), as a logarithmic axis can show them: none ends below zero.

    A bar ends at three tenths of its value at the lowest.
    """
    below, above = bars
    return np.stack((np.minimum(below, 0.7 * value), above))
