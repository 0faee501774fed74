"""The vocabulary of the ledger: a `Claim` is checked under `Settings` and yields a `Finding` with a `Verdict`.

Claims are plug-ins. Any installed package adds its own by naming an iterable of `Claim` in the entry-point group
``lml.claims``; the ledger imports nothing else of it.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib.metadata import EntryPoint, entry_points
from typing import TYPE_CHECKING, Literal, TypeVar

import numpy as np
import torch

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = [
    "GROUP",
    "Claim",
    "Finding",
    "Measured",
    "Profile",
    "Settings",
    "Verdict",
    "agreement",
    "find_claims",
    "select",
]

#: The entry-point group in which packages publish their claims.
GROUP = "lml.claims"

Profile = Literal["quick", "full"]
T = TypeVar("T")


class Verdict(StrEnum):
    """What was found about a claim, under the reading that was checked."""

    HOLDS = "HOLDS"
    CORRECTED = "HOLDS WITH A CORRECTION"
    FAILS = "FAILS"
    OPEN = "OPEN"


@dataclass(frozen=True)
class Settings:
    """How much is checked, and from which seed.

    Attributes:
        profile: ``quick`` for three minutes in all, ``full`` for more targets, samples and refinement.
        seed: of every generator of every check.
    """

    profile: Profile = "quick"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.profile not in ("quick", "full"):
            raise ValueError(f"profile must be 'quick' or 'full', got {self.profile!r}")

    def pick(self, quick: T, full: T) -> T:
        """Return the first value in the quick profile and the second in the full one."""
        return full if self.profile == "full" else quick

    def generator(self, stream: int = 0) -> torch.Generator:
        """Return a generator of its own for each ``stream`` of a check."""
        return torch.Generator().manual_seed((self.seed * 1_000_003 + stream) % 2**63)


@dataclass(frozen=True)
class Measured:
    """One figure of a finding, with what bounds or surrounds it.

    Attributes:
        name: what was measured.
        value: the figure.
        limit: a figure without chance agrees if ``|value| <= limit``; the limit comes from an error analysis or from
            refinement, as ``basis`` says.
        low, high: an interval: of confidence for a figure from samples, of error for one from refinement.
        unit: printed behind the value.
        basis: where the limit or the interval comes from, for the sample size and the seed look at the settings.
    """

    name: str
    value: float
    limit: float | None = None
    low: float | None = None
    high: float | None = None
    unit: str = ""
    basis: str = ""

    @property
    def within(self) -> bool:
        """Whether the value is finite and within its limit, if it has one."""
        return math.isfinite(self.value) and (self.limit is None or abs(self.value) <= self.limit)

    def __str__(self) -> str:
        unit = f" {self.unit}" if self.unit else ""
        if self.limit is not None:
            return f"{self.value:.3g}{unit} (limit {self.limit:.3g})"
        if self.low is not None and self.high is not None:
            return f"{self.value:.4g}{unit} [{self.low:.4g}, {self.high:.4g}]"
        return f"{self.value:.4g}{unit}"


@dataclass(frozen=True)
class Finding:
    """What a check found.

    Attributes:
        verdict: about the claim, under ``reading``.
        figures: what was measured; the first decides.
        reading: which reading of the claim was checked, and on what.
        methods: the independent ways in which it was decided.
        assumption: what the claim needs to be true.
        remark: what a referee would add: where it stops, what it does not say.
        counterexample: for a claim that fails, the smallest case that shows it.
        data: arrays behind the picture, kept with the ledger.
    """

    verdict: Verdict
    figures: tuple[Measured, ...]
    reading: str
    methods: tuple[str, ...] = ()
    assumption: str = ""
    remark: str = ""
    counterexample: Mapping[str, object] = field(default_factory=dict)
    data: Mapping[str, np.ndarray] = field(default_factory=dict)

    def figure(self, name: str) -> Measured:
        """Return the figure of this name.

        Raises:
            KeyError: if there is none.
        """
        for figure in self.figures:
            if figure.name == name:
                return figure
        raise KeyError(f"no figure {name!r}, there are: {', '.join(f.name for f in self.figures)}")


@dataclass(frozen=True)
class Claim:
    """A claim with the check that decides it.

    Attributes:
        id: a letter for the family and a number, as in ``shared`` theory and the paper's propositions.
        statement: one line of plain text.
        formula: the same in LaTeX, for the report.
        source: where it is claimed.
        expected: the verdict that this repository stands for; another one makes the ledger exit with an error.
        check: a plain function from settings to a finding, for tests and notebooks to call as well.
        draw: the picture of a finding.
        seconds: about how long the quick check takes on two cores, for the time that is left.
    """

    id: str
    statement: str
    source: str
    expected: Verdict
    check: Callable[[Settings], Finding]
    formula: str = ""
    draw: Callable[[Finding], Figure] | None = None
    seconds: float = 5.0

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Z][A-Za-z]*[0-9]+[a-z]?", self.id):
            raise ValueError(f"a claim's id must be letters and a number like 'K1', got {self.id!r}")
        if not inspect.isfunction(self.check):
            kind = type(self.check).__name__
            raise ValueError(f"check of claim {self.id} must be a plain function, whose code can be shown, got {kind}")


def agreement(*figures: Measured) -> Verdict:
    """Return HOLDS if every figure is within its limit; OPEN if not, since then the methods contradict each other."""
    return Verdict.HOLDS if all(f.within for f in figures) else Verdict.OPEN


def find_claims() -> list[Claim]:
    """Return the claims of every installed package, in the order of the paper's sections and of their numbers.

    Raises:
        ValueError: if a plug-in cannot be loaded, yields something else than claims, or two claims share an id.
    """
    claims: dict[str, Claim] = {}
    # A plug-in that is installed twice, say beside the metadata of its source folder, is one plug-in.
    points = {(point.name, point.value): point for point in entry_points(group=GROUP)}
    for point in sorted(points.values(), key=lambda p: p.name):
        for claim in _load(point):
            if claim.id in claims:
                raise ValueError(f"claim {claim.id} is defined twice, the second time by the plug-in {point.name!r}")
            claims[claim.id] = claim
    return sorted(claims.values(), key=lambda c: _order(c.id))


def select(claims: list[Claim], ids: tuple[str, ...]) -> list[Claim]:
    """Return the claims with these ids, in upper or lower case, or all of them if none is given.

    Raises:
        ValueError: for an id that no claim has.
    """
    known = {claim.id.casefold() for claim in claims}
    for wanted in ids:
        if wanted.casefold() not in known:
            raise ValueError(f"claim must be one of {', '.join(c.id for c in claims)}, got {wanted!r}")
    chosen = {wanted.casefold() for wanted in ids}
    return [claim for claim in claims if not chosen or claim.id.casefold() in chosen]


def _load(point: EntryPoint) -> list[Claim]:
    try:
        claims = list(point.load())
    except Exception as error:
        raise ValueError(f"the plug-in {point.name!r} ({point.value}) cannot be loaded: {error}") from error
    for claim in claims:
        if not isinstance(claim, Claim):
            raise ValueError(f"the plug-in {point.name!r} must yield claims, got {type(claim).__name__}")
    return claims


def _order(claim_id: str) -> tuple[int, str, int, str]:
    family, number, suffix = re.fullmatch(r"([A-Za-z]+)([0-9]+)([a-z]?)", claim_id).groups()  # type: ignore[union-attr]
    sections = list("KHSCAQT")
    return (sections.index(family) if family in sections else len(sections), family, int(number), suffix)
