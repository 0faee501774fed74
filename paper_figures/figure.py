"""What a figure is: data from claims or sweeps, a drawing of them, and texts filled from the same data."""

from __future__ import annotations

import re
import string
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from paper_figures.names import NAMES, check_name
from theory_checks.ledger.claim import Finding, Settings

__all__ = ["MOST_WORDS", "NAMES", "Data", "PaperFigure", "find", "of_finding", "read"]

#: Of a caption.
MOST_WORDS = 80

#: Arrays by name: all that a drawing and its caption see.
Data = Mapping[str, np.ndarray]

# Figures of the paper, equations and claims may be named in a caption; every other number comes from the data.
_NAMED = re.compile(r"(Figures?|Eqs?\.|Props?\.|Algorithm|Table|Remark|Supp\.) [A-Z]?\.?\d+((, | to | and |-)\d+)*")


@dataclass(frozen=True)
class PaperFigure:
    """A figure.

    Attributes:
        name: of its module, its files and the command.
        title: one line for the list.
        compute: from settings and parameters to the data; what is kept in the cache.
        draw: from the data to the picture.
        facts: from the data to the texts that fill caption and methods.
        caption: what is seen, in `MOST_WORDS` words at most once it is filled: a template of `str.format`, which holds
            no number of its own but those that name something.
        methods: what else a referee would ask, such as settings and intervals: another template.
        small: parameters that make ``compute`` a matter of seconds, for tests.
        missing: says what the figure needs and is not there; empty if it can be drawn.
        inputs: files that ``compute`` reads, such as tables of a sweep; their content decides over the cache too.

    Raises:
        ValueError: for a caption with a number that was typed.
    """

    name: str
    title: str
    compute: Callable[..., Data]
    draw: Callable[[Data], Figure]
    facts: Callable[[Data], Mapping[str, str]]
    caption: str
    methods: str = ""
    small: Mapping[str, object] = field(default_factory=dict)
    inputs: Callable[[], tuple[Path, ...]] = tuple
    missing: Callable[[], str] = str

    def __post_init__(self) -> None:
        for part, text in (("caption", self.caption), ("methods", self.methods)):
            if typed := typed_numbers(text):
                raise ValueError(f"{part} of {self.name} must take its numbers from the data, got {', '.join(typed)}")

    def filled(self, data: Data) -> str:
        """Return the caption with its numbers."""
        return f"{' '.join(self.caption.split()).format(**self.facts(data))}\n"

    def described(self, data: Data, settings: Settings) -> str:
        """Return the methods with their numbers, the seed and the command."""
        text = " ".join(self.methods.split()).format(**self.facts(data))
        command = f"python -m paper_figures {self.name} --profile {settings.profile} --seed {settings.seed}"
        return f"{text} Seed {settings.seed}, {settings.profile} profile. Command: {command}\n".lstrip()


def typed_numbers(caption: str) -> list[str]:
    """Return the numbers of a caption's fixed text, but for those that name a figure, an equation or a claim."""
    fixed = "".join(text for text, *_ in string.Formatter().parse(" ".join(caption.split())))
    fixed = _NAMED.sub("", fixed)
    # Claims such as K3 and samplers such as DPM-Solver-3, Wasserstein's W2, dtypes such as float32.
    fixed = re.sub(r"[A-Za-z+-]+\d+[a-zA-Z]*", "", fixed)
    return re.findall(r"\d+(?:\.\d+)?", fixed)


def find(name: str) -> PaperFigure:
    """Return the figure of this name.

    Raises:
        ValueError: for another name; the message lists the figures.
    """
    check_name(name)
    figure = import_module(f"paper_figures.{name}").FIGURE
    assert isinstance(figure, PaperFigure)
    return figure


def of_finding(finding: Finding) -> dict[str, np.ndarray]:
    """Return a finding's arrays and its figures, each as value, low, high and limit under ``figure: name``."""
    none = float("nan")
    figures = {
        f"figure: {f.name}": np.array([none if x is None else float(x) for x in (f.value, f.low, f.high, f.limit)])
        for f in finding.figures
    }
    return {**{key: np.asarray(value) for key, value in finding.data.items()}, **figures}


def read(data: Data, prefix: str) -> tuple[float, float, float, float]:
    """Return value, low, high and limit of the figure of a finding whose name is ``prefix``, or alone begins with it.

    Raises:
        KeyError: if there is none, or more than one.
    """
    exact = f"figure: {prefix}"
    keys = [exact] if exact in data else [key for key in data if key.startswith(exact)]
    if len(keys) != 1:
        raise KeyError(f"prefix must belong to one figure, {prefix!r} belongs to {keys}")
    value, low, high, limit = (float(x) for x in data[keys[0]])
    return value, low, high, limit
