"""What was found about a sampler, as plain data: what `judge.json` holds, and what card, page and requirements read."""

from __future__ import annotations

import math
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields, is_dataclass
from typing import Any

import numpy as np

__all__ = ["PARTS", "Verdict", "plain"]

#: The questions, in the order in which they are asked.
PARTS = ("right", "behaviour", "same", "good", "robust", "cost")

_REQUIREMENT = re.compile(r"(?P<name>[a-z-]+)\s*(?:(?P<how>>=|<=|==|>|<)\s*(?P<number>[0-9.]+))?")
_COMPARE: dict[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_WORDS = ("consistent", "without-symptoms", "well-behaved", "same", "deterministic")
_NUMBERS = ("order", "ratio", "cost", "breaks")


def plain(value: Any) -> Any:
    """Return a value as JSON knows it: dataclasses and named tuples as objects, ``None`` for what is not finite."""
    if is_dataclass(value) and not isinstance(value, type):
        return {each.name: plain(getattr(value, each.name)) for each in fields(value)}
    if hasattr(value, "_asdict"):
        return {key: plain(each) for key, each in value._asdict().items()}
    if isinstance(value, Mapping):
        return {str(key): plain(each) for key, each in value.items()}
    if isinstance(value, np.ndarray):
        return plain(value.tolist())
    if isinstance(value, (list, tuple)):
        return [plain(each) for each in value]
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    return value if value is None or isinstance(value, (bool, int, str)) else str(value)


class Verdict:
    """What was found.

    Args:
        content: as JSON: the head (``what``, ``kind``, ``claimed_order`` ..) and under ``parts`` what each question
            found, or under ``error`` why it could not be answered.
    """

    def __init__(self, content: dict[str, Any]) -> None:
        self.content = content

    def part(self, name: str) -> dict[str, Any]:
        """Return what a question found; empty if it was not asked, or could not be answered."""
        found = self.content["parts"].get(name, {})
        return {} if "error" in found else found

    def error(self, name: str) -> str:
        """Return why a question could not be answered; empty if it could, or was not asked."""
        return str(self.content["parts"].get(name, {}).get("error", ""))

    @property
    def consistent(self) -> bool | None:
        """Whether it tends to the exact flow, or in law to the exact one; ``None`` if that is not known."""
        found: bool | None = self.part("right").get("consistent")
        return found

    @property
    def order(self) -> float | None:
        """The observed order: the one integer in its interval, else the slope; ``None`` if there is none."""
        order = self.part("right").get("order")
        if not order or order.get("reason"):
            return None
        whole = order.get("integer")
        return float(whole) if whole is not None else float(order["value"])

    @property
    def draws(self) -> bool | None:
        """Whether it draws; ``None`` if that is not known."""
        found: bool | None = self.part("right").get("draws")
        return found

    @property
    def ratio(self) -> float | None:
        """The largest ratio of its mean distance to that of the best baseline, over targets and evaluations."""
        ratios = [cell["best_ratio"] for cell in self.part("good").get("cells", []) if cell.get("best_ratio")]
        return max(ratios, default=None)

    def meets(self, requirement: str) -> tuple[bool, str]:
        """Return whether a requirement is met, and what was found.

        Raises:
            ValueError: for a requirement of another form.
        """
        name, how, number = _parsed(requirement)
        if how is None:
            known = {
                "consistent": self.consistent,
                "without-symptoms": None if not self.part("right") else not self.part("right")["symptoms"],
                "well-behaved": None if not self.part("behaviour") else not self.part("behaviour")["failures"],
                "same": self.part("same").get("same"),
                "deterministic": None if self.draws is None else not self.draws,
            }[name]
            return known is True, {True: "it is", False: "it is not", None: "not found out"}[known]
        value = {
            "order": self.order,
            "ratio": self.ratio,
            "cost": self.part("cost").get("ratio"),
            "breaks": self.part("robust").get("breaks", math.inf) or math.inf,
        }[name]
        if value is None:
            return False, "not found out"
        return _COMPARE[how](value, number), f"it is {value:.3g}"

    @staticmethod
    def parts_of(requirements: Sequence[str]) -> set[str]:
        """Return the questions that requirements ask for.

        Raises:
            ValueError: for a requirement of another form.
        """
        of = {
            "consistent": "right", "without-symptoms": "right", "order": "right", "deterministic": "right",
            "well-behaved": "behaviour", "same": "same", "ratio": "good", "breaks": "robust", "cost": "cost",
        }  # fmt: skip
        return {of[_parsed(each)[0]] for each in requirements}


def _parsed(requirement: str) -> tuple[str, str | None, float]:
    found = _REQUIREMENT.fullmatch(requirement.strip())
    name = found["name"] if found else ""
    form = "a word" if name in _WORDS else "a comparison" if name in _NUMBERS else ""
    if found is None or not form or (form == "a word") == (found["how"] is not None):
        raise ValueError(
            f"require must be one of {', '.join(_WORDS)}, or one of {', '.join(_NUMBERS)} compared with a number "
            f"('order >= 2'), got {requirement!r}"
        )
    return name, found["how"], float(found["number"] or 0)
