"""What to use: chosen on one half of the samples, and how much it gains on the other half.

Whoever picks the best of twenty arms on some samples picks some of their luck, too. So the arm with the least mean
distance on the samples with an even index is held, on those with an odd index, against what the pipeline does now.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from image_exps.compare.measure import OWN, Comparison, Row, plain_base, ratio
from theory_checks.ledger.statistics import Interval

__all__ = ["Advice", "advise", "sentence"]


# Fewer samples than these often name another arm the next time: errors are heavy-tailed.
_FEW = 8


class Advice(NamedTuple):
    """The choice at a number of evaluations.

    Attributes:
        evaluations: of the network.
        arm: with the least mean distance on the samples that choose.
        against: what it is held against: the pipeline's own scheduler, or else `plain_base`.
        gain: its mean distance over that of ``against``, on the other samples; the interval is of 95 % for all numbers
            of evaluations together.
        plain: the best arm without LML, on the samples that choose, or the best with it if ``arm`` has none.
        beside: the mean distance of ``arm`` over that of ``plain``, likewise.
        samples: how many chose.
    """

    evaluations: int
    arm: str
    against: str
    gain: Interval
    plain: str
    beside: Interval
    samples: int

    @property
    def differs(self) -> bool:
        """Whether the choice is nearer to the flow than ``against`` beyond the interval."""
        return self.gain.high < 1


def advise(found: Comparison) -> list[Advice]:
    """Return the choice at every number of evaluations where something could be measured."""
    return [made for n in found.evaluations if (made := _at(found, n)) is not None]


def _at(found: Comparison, n: int) -> Advice | None:
    rows = {row.arm: row for row in found.rows if row.evaluations == n and row.distances is not None}
    if not rows:
        return None
    order = sorted(rows.values(), key=lambda row: float(_choosing(row).mean()))
    best = order[0]
    now = next((rows[name] for name in (OWN, plain_base(found.made)) if name in rows), best)
    other = next((row for row in order if _has_lml(row) != _has_lml(best)), best)
    numbers = len(found.evaluations)
    return Advice(n, best.arm, now.arm, _over(best, now, numbers), other.arm, _over(best, other, numbers),
                  len(_choosing(best)))  # fmt: skip


def _has_lml(row: Row) -> bool:
    return "/lml" in row.arm


def _choosing(row: Row) -> np.ndarray:
    assert row.distances is not None
    return row.distances[::2]


def _over(one: Row, other: Row, comparisons: int) -> Interval:
    if one.arm == other.arm:
        return Interval(1.0, 1.0, 1.0)
    assert one.distances is not None
    assert other.distances is not None
    return ratio(one.distances[1::2], other.distances[1::2], comparisons)


def sentence(made: Advice, own: str) -> str:
    """Return the advice in one sentence, or two; ``own`` is the class of the pipeline's own scheduler."""
    caution = f" Only {made.samples} samples chose: settle on more, with --count." if made.samples < _FEW else ""
    return f"{_sentence(made, own)}{caution}"


def _sentence(made: Advice, own: str) -> str:
    against = f"your {own}" if made.against == OWN else made.against
    at = f"{made.evaluations} evaluations"
    if made.arm == made.against:
        return f"{at}: stay with {against}, nothing here is nearer to the flow."
    size = _of(made.gain)
    if not made.differs:
        return f"{at}: no difference beyond the interval; {made.arm} has {size} of the distance of {against}."
    kind = "without LML" if "/lml" in made.arm else "with LML"
    beside = ""
    if made.plain not in (made.arm, made.against):
        beside = f", and {_of(made.beside)} of the best {kind}, {made.plain}"
    return f"{at}: use {made.arm}; it has {size} of the distance of {against}{beside}."


def _of(interval: Interval) -> str:
    return "{:.2f} [{:.2f}, {:.2f}]".format(*interval)
