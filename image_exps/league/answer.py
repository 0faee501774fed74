"""What the league answers: which scheduler for how many steps, in five lines, and what is to be said of each entry.

Samplers and spacings are chosen on targets of their own, and the figures of a line are of the others.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from image_exps.league.rows import CHOICE, REPORTED, Rows

if TYPE_CHECKING:
    from pandas import DataFrame, Series

__all__ = ["FAMILIAR", "best_spacings", "choose", "five_lines", "name_of", "remark_of", "reproduced", "truth"]

#: What many use whatever the number of steps, for comparison: the text of the entry and its spacing.
FAMILIAR = {
    "DDIM": ("diffusers:DDIMScheduler", "own"),
    "DPM++ 2M Karras": ('diffusers:DPMSolverMultistepScheduler{"use_karras_sigmas": true}', "own"),
}

_SPACINGS = {
    "own": "",
    "time": " at equal times",
    "karras": " at Karras levels",
    "log-snr": " at equal log-SNR",
}
_OPTION = {"karras": "use_karras_sigmas=True", "log-snr": "use_lu_lambdas=True or use_exponential_sigmas=True"}


def name_of(entry: Series, spacing: str) -> str:
    """Return a sampler with its spacing in Markdown, as one would write it in code."""
    label = str(entry["label"])
    if entry["library"] != "diffusers":
        return f"`{label}`{_SPACINGS[spacing]}"
    name, _, options = label.partition(" ")
    return f"`{name}Scheduler({options})`{_SPACINGS[spacing]}"


def truth(value: object) -> bool | None:
    """Return a cell of a column of yes and no, ``None`` where there is neither."""
    return None if value is None or value != value else bool(value)  # NaN differs from itself


def _deterministic(rows: Rows, *, library: str | None = None, lml: bool = False) -> DataFrame:
    entries = rows.entries
    steady = [truth(draws) is False and truth(found) is not False
              for draws, found in zip(entries["draws"], entries["consistent"], strict=True)]  # fmt: skip
    chosen = entries[steady]
    if library:
        chosen = chosen[chosen["library"] == library]
    return chosen if lml else chosen[~chosen["what"].str.endswith("/lml")]


def choose(rows: Rows, evaluations: int, *, library: str | None = None, lml: bool = False) -> tuple[Series, Series]:
    """Return the entry that is nearest on the targets for choices, and its row on those that are reported.

    Args:
        rows: of the league.
        evaluations: of the network.
        library: of that library alone.
        lml: LML may be chosen too.
    """
    among = _deterministic(rows, library=library, lml=lml)
    cells = rows.distances[(rows.distances["evaluations"] == evaluations) & rows.distances["what"].isin(among["what"])]
    picked = cells[cells["target"] == CHOICE].sort_values(["ratio", "what", "spacing"]).iloc[0]
    same = (cells["what"] == picked["what"]) & (cells["spacing"] == picked["spacing"])
    return among.set_index("what", drop=False).loc[picked["what"]], cells[same & (cells["target"] == REPORTED)].iloc[0]


def five_lines(rows: Rows) -> list[str]:
    """Return which scheduler of diffusers to take, a sentence in Markdown for each number of evaluations."""
    lines = []
    for n in sorted(rows.distances["evaluations"].unique()):
        entry, cell = choose(rows, n, library="diffusers")
        text = f"**{n} evaluations**: {name_of(entry, cell['spacing'])}, {_ratio(cell)} the nearest of all"
        other, theirs = choose(rows, n, lml=True)
        if other["what"] != entry["what"]:
            text += f"; outside of diffusers {name_of(other, theirs['spacing'])}, {_ratio(theirs)}"
        familiar = [f"{name} {_at(rows, what, spacing, n)}" for name, (what, spacing) in FAMILIAR.items()]
        lines.append(f"{text}. ({', '.join(familiar)}.)")
    return lines


def _ratio(cell: Series) -> str:
    return f"{cell['ratio']:.2f} [{cell['low']:.2f}, {cell['high']:.2f}] times"


def _at(rows: Rows, what: str, spacing: str, evaluations: int) -> str:
    d = rows.distances
    found = d[(d["what"] == what) & (d["spacing"] == spacing) & (d["evaluations"] == evaluations)]
    found = found[found["target"] == REPORTED]
    return f"{found['ratio'].iloc[0]:.2f}" if len(found) else "not measured"


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
