"""Lines of progress of a calibration, with the share of its cost that is spent and the time that is left."""

from __future__ import annotations

import time
from collections.abc import Callable

from lml.solver.trajectories import Checked

__all__ = ["Progress", "duration"]


def duration(seconds: float) -> str:
    """Return a time in words."""
    for size, unit in ((3600, "h"), (60, "min")):
        if seconds >= 1.5 * size:
            return f"{seconds / size:.1f} {unit}"
    return f"{max(seconds, 1):.0f} s"


class Progress:
    """Lines of progress.

    Args:
        model: that counts its evaluations.
        costs: of the stages, in evaluations of one sample, in their order.
        each: seconds for an evaluation, until it is measured.
        notify: is called with every line.
    """

    def __init__(self, model: Checked, costs: dict[str, int], each: float, notify: Callable[[str], None]) -> None:
        self.model, self.costs, self.each, self.notify = model, costs, each, notify
        self.began, self.asked = time.monotonic(), model.count
        self.done, self.stage, self.before = 0, "", model.count

    def enter(self, stage: str) -> None:
        """Begin a stage; those before it are done, whether they were made or read."""
        names = list(self.costs)
        self.done = sum(self.costs[name] for name in names[: names.index(stage)])
        self.stage, self.before = stage, self.model.count

    def __call__(self, line: str) -> None:
        total = sum(self.costs.values())
        done = self.done + min(self.model.count - self.before, self.costs[self.stage])
        asked = self.model.count - self.asked
        # A few evaluations say less than the one that was timed.
        each = (time.monotonic() - self.began) / asked if asked > total / 50 else self.each
        self.notify(f"{done / total:4.0%}  {line}, about {duration((total - done) * each)} left")
