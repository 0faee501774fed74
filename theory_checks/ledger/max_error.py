"""The largest error that a check has met."""

from __future__ import annotations

import math

from theory_checks.ledger.claim import Measured

__all__ = ["MaxError"]


class MaxError:
    """Keeps the largest value seen under each key. Unlike ``max`` it never loses a NaN: a check must not."""

    def __init__(self) -> None:
        self._values: dict[str, float] = {}

    def update(self, key: str, value: float) -> None:
        """Take note of a value."""
        known = self._values.get(key, -math.inf)
        if not math.isnan(known) and not value <= known:
            self._values[key] = value

    def __getitem__(self, key: str) -> float:
        return self._values[key]

    def figures(self, *rows: tuple[str, str, str]) -> tuple[Measured, ...]:
        """Return figures with limit 1 for rows ``(key, name, basis)``, without the keys that this run did not look at.

        The values are errors over their bounds.
        """
        return tuple(
            Measured(name, self._values[key], limit=1, basis=basis) for key, name, basis in rows if key in self._values
        )
