"""What the league answers: which scheduler for how many steps, in five lines, and what is to be said of each entry.

A line names the sampler that is nearest on all targets. Its figure is held out: on each target that of the sampler
which the other targets choose. UniPC in the noise prediction is never chosen: it is near on these targets, and far on
networks that nobody here trained (docs/explanation/solver.md).
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, NamedTuple

from image_exps.league.rows import CHOICE, Rows, single_targets

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["FAMILIAR", "Choice", "best_spacings", "choose", "five_lines", "name_of", "remark_of", "reproduced", "truth"]

#: What many use whatever the number of steps, for comparison: the text of the entry and its spacing.
FAMILIAR = {
    "DDIM": ("diffusers:DDIMScheduler", "own"),
    "DPM++ 2M Karras": ('diffusers:DPMSolverMultistepScheduler{"use_karras_sigmas": true}', "own"),
}

# UniPC in the noise prediction, of diffusers and of ours.
_NEAR_ON_TARGETS_ONLY = r'"predict_x0": false|-noise$|-noise/'

_SPACINGS = {
    "own": "",
    "time": " at equal times",
    "karras": " at Karras levels",
    "log-snr": " at equal log-SNR",
}
# The option of diffusers that makes a spacing.
_OPTION = {"karras": "use_karras_sigmas", "log-snr": "use_exponential_sigmas"}


def name_of(entry: Series, spacing: str) -> str:
    """Return a sampler with its spacing in Markdown, as one would write it in code."""
    if entry["library"] != "diffusers":
        return f"`{entry['label']}`{_SPACINGS[spacing]}"
    name, brace, options = str(entry["what"]).removeprefix("diffusers:").partition("{")
    given = json.loads(brace + options) if brace else {}
    given |= {_OPTION[spacing]: True} if spacing in _OPTION else {}
    return f"`{name}({', '.join(f'{key}={value!r}' for key, value in given.items())})`"


def truth(value: object) -> bool | None:
    """Return a cell of a column of yes and no, ``None`` where there is neither."""
    return None if value is None or value != value else bool(value)  # NaN differs from itself


def _deterministic(rows: Rows, *, library: str | None = None, lml: bool = False) -> DataFrame:
    entries = rows.entries
    steady = [truth(draws) is False and truth(found) is not False
              for draws, found in zip(entries["draws"], entries["consistent"], strict=True)]  # fmt: skip
    chosen = entries[steady]
    chosen = chosen[~chosen["what"].str.contains(_NEAR_ON_TARGETS_ONLY)]
    if library:
        chosen = chosen[chosen["library"] == library]
    return chosen if lml else chosen[~chosen["what"].str.endswith("/lml")]


class Choice(NamedTuple):
    """A sampler, and what it is worth to choose it so.

    Attributes:
        entry: its row of the league.
        spacing: of the levels.
        ratio: geometric mean over targets, each with the sampler that the others chose; with its 95 % interval over
            noises, ``low`` and ``high``.
    """

    entry: Series
    spacing: str
    ratio: float
    low: float
    high: float


def choose(rows: Rows, evaluations: int, *, library: str | None = None, lml: bool = False) -> Choice:
    """Return the sampler that is nearest in the geometric mean over targets.

    Its ratio is held out: on each target that of the sampler which is nearest on the other targets.

    Args:
        rows: of the league.
        evaluations: of the network.
        library: of that library alone.
        lml: LML may be chosen too.
    """
    import numpy as np

    among = _deterministic(rows, library=library, lml=lml)
    cells = rows.distances
    cells = cells[(cells["evaluations"] == evaluations) & cells["what"].isin(among["what"])]
    cells = single_targets(cells)
    values, lows, highs = (
        np.log(cells.pivot(index=["what", "spacing"], columns="target", values=name)).dropna().sort_index()
        for name in ("ratio", "low", "high")
    )
    held_out = []
    for target in values.columns:
        picked = values.drop(columns=target).mean(axis=1).idxmin()
        held_out.append([table.at[picked, target] for table in (values, lows, highs)])
    value, low, high = np.transpose(held_out)
    # Noises of one target are not those of another: widths add up in squares.
    spread = float(np.sqrt(((high - low) ** 2).sum()) / 2 / len(value))
    what, spacing = values.mean(axis=1).idxmin()
    center = float(value.mean())
    ratio, least, most = (float(np.exp(x)) for x in (center, center - spread, center + spread))
    return Choice(among.set_index("what", drop=False).loc[what], spacing, ratio, least, most)


def five_lines(rows: Rows) -> list[str]:
    """Return which scheduler of diffusers to take, a sentence in Markdown for each number of evaluations."""
    lines = []
    for n in sorted(rows.distances["evaluations"].unique()):
        best = choose(rows, n, library="diffusers")
        text = f"**{n} evaluations**: {name_of(best.entry, best.spacing)}, {_ratio(best)}"
        other = choose(rows, n, lml=True)
        if other.entry["what"] != best.entry["what"]:
            text += f"; of the pure samplers {name_of(other.entry, other.spacing)}, {_ratio(other)}"
        familiar = [f"{name} {_at(rows, what, spacing, n)}" for name, (what, spacing) in FAMILIAR.items()]
        lines.append(f"{text}. ({', '.join(familiar)}.)")
    return lines


def _ratio(chosen: Choice) -> str:
    return f"{chosen.ratio:.2f} [{chosen.low:.2f}, {chosen.high:.2f}]"


def _at(rows: Rows, what: str, spacing: str, evaluations: int) -> str:
    import numpy as np

    d = rows.distances
    found = d[(d["what"] == what) & (d["spacing"] == spacing) & (d["evaluations"] == evaluations)]
    found = single_targets(found)
    return f"{np.exp(np.log(found['ratio']).mean()):.2f}" if len(found) else "not measured"


def best_spacings(rows: Rows) -> dict[str, str]:
    """Return the spacing at which each entry is nearest on the targets for choices, over all numbers of evaluations.

    Samplers that draw are compared by Frechet distance.
    """
    import numpy as np

    draws = dict(zip(rows.entries["what"], rows.entries["draws"], strict=True))
    cells = rows.distances[rows.distances["target"] == CHOICE]
    best: dict[str, str] = {}
    for what, group in cells.groupby("what", sort=False):
        column = "frechet_ratio" if truth(draws.get(what)) else "ratio"
        scores = np.log(group[column]).groupby(group["spacing"]).mean()
        best[str(what)] = str(scores.idxmin())
    return best


def reproduced(entry: Series) -> bool | None:
    """Return whether the second method's order agrees with the first's interval; ``None`` where either has none."""
    values = [entry[key] for key in ("order", "order_low", "order_high", "second", "second_spread")]
    if any(value is None or value != value for value in values):  # NaN differs from itself
        return None
    _, low, high, second, spread = map(float, values)
    return low - spread <= second <= high + spread


def remark_of(entry: Series) -> str:
    """Return what is to be said of an entry, in sentences; empty if there is nothing."""
    made: list[Any] = []
    if truth(entry["consistent"]) is False:
        made.append("does not tend to the exact " + ("law" if truth(entry["draws"]) else "flow"))
    claimed, high = entry["claimed"], entry["order_high"]
    if claimed is not None and claimed == claimed and high is not None and high < claimed:
        made.append(f"its order is {entry['order']:.1f}, not {claimed:g}")
    made += [text for text in str(entry["symptoms"]).split("; ") if text and not text.startswith("order lower")]
    if truth(entry["same"]) is False:
        made.append(str(entry["same_text"]))
    made += [text for text in str(entry["error"]).split("; ") if text]
    return " ".join(f"{text[0].upper()}{text[1:]}".rstrip(".") + "." for text in dict.fromkeys(made))
