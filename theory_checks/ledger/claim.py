"""The vocabulary of the ledger: a `Claim` is checked under `Settings` and yields a `Finding` with a `Verdict`.

This module imports nothing heavy: claims are declared and listed without the libraries that their checks need.
"""

from __future__ import annotations

import inspect
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from importlib import import_module
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, TypeVar

if TYPE_CHECKING:
    import numpy as np
    import torch
    from matplotlib.figure import Figure

__all__ = ["Claim", "Finding", "Measured", "Profile", "Settings", "Verdict", "agreement"]

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
        import torch

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


Check: TypeAlias = Callable[[Settings], Finding]
Draw: TypeAlias = "Callable[[Finding], Figure]"


@dataclass(frozen=True)
class Claim:
    """A claim with the check that decides it.

    Attributes:
        id: a letter for the family and a number, as in the paper's propositions.
        statement: one line of plain text.
        formula: the same in LaTeX, for the report.
        source: where it is claimed.
        expected: the verdict that the claim's package stands for; another one makes the ledger exit with an error.
        check: from settings to a finding: a plain function, or its name ``"module:function"``, which is imported when
            the check is run.
        draw: the picture of a finding, given likewise.
        seconds: about how long the quick check takes on two cores, for the time that is left.
        needs: what of `toy.outside.OUTSIDE` the check needs, if anything; where it is absent nothing is checked.
        in_words: what the first figure of a finding says, in a sentence for a reader who has not seen the code: a
            template of `str.format` with the figure's ``value``, ``limit``, ``low`` and ``high``.
    """

    id: str
    statement: str
    source: str
    expected: Verdict
    check: Check | str
    formula: str = ""
    draw: Draw | str | None = None
    seconds: float = 5.0
    needs: str = ""
    in_words: str = ""

    def __post_init__(self) -> None:
        if not re.fullmatch(r"[A-Z][A-Za-z]*[0-9]+[a-z]?", self.id):
            raise ValueError(f"a claim's id must be letters and a number like 'K1', got {self.id!r}")
        for name in ("check", "draw"):
            value = getattr(self, name)
            if isinstance(value, str) and not re.fullmatch(r"\w+(\.\w+)*:\w+", value):
                raise ValueError(f"{name} of claim {self.id} must be named as 'module:function', got {value!r}")
        if not isinstance(self.check, str) and not inspect.isfunction(self.check):
            kind = type(self.check).__name__
            raise ValueError(f"check of claim {self.id} must be a plain function, whose code can be shown, got {kind}")

    def decisive(self, finding: Finding) -> str:
        """Return what decided a finding, in a sentence if the claim has one, else the first figure and its name."""
        if not finding.figures:
            return ""
        first = finding.figures[0]
        if self.in_words:
            try:
                return self.in_words.format(value=first.value, limit=first.limit, low=first.low, high=first.high)
            except (ValueError, TypeError, KeyError, IndexError):  # a limit that is none: the figure says it all
                pass
        return f"{first.name}: {first}"

    @property
    def check_name(self) -> str:
        """The check as ``module:function``; nothing is imported."""
        return self.check if isinstance(self.check, str) else f"{self.check.__module__}:{self.check.__qualname__}"

    def load_check(self) -> Check:
        """Return the function that checks the claim.

        Raises:
            ValueError: if it is named and does not exist.
        """
        return self._load("check")  # type: ignore[no-any-return]

    def load_draw(self) -> Draw | None:
        """Return the function that draws a finding, if the claim has a picture.

        Raises:
            ValueError: if it is named and does not exist.
        """
        return self._load("draw")  # type: ignore[no-any-return]

    def _load(self, name: str) -> Any:
        value = getattr(self, name)
        if not isinstance(value, str):
            return value
        module, _, function = value.partition(":")
        try:
            found = getattr(import_module(module), function)
        except (ImportError, AttributeError) as error:
            raise ValueError(f"{name} of claim {self.id} cannot be loaded from {value}: {error}") from error
        if not inspect.isfunction(found):
            kind = type(found).__name__
            raise ValueError(f"{name} of claim {self.id} must be a plain function, {value} is of type {kind}")
        return found


def agreement(*figures: Measured) -> Verdict:
    """Return HOLDS if every figure is within its limit; OPEN if not, since then the methods contradict each other."""
    return Verdict.HOLDS if all(f.within for f in figures) else Verdict.OPEN
