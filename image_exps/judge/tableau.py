r"""The coefficients of a sampler, read off a black box.

Between two levels every linear solver is ``x_{k+1} = l_k x_k + sum_j w_kj m_j``, with ``m_j`` its j-th evaluation (in
noise or in data). Evaluations that are unit vectors, whatever the sample is, leave all ``l_k`` and ``w_kj`` in one run:
component ``1 + j`` of a sample is how much of ``m_j`` is in it. No target, no step size and no tolerance is involved.

What is read off: which form is integrated (the one in which a step needs the fewest evaluations of before), how many
old evaluations a step uses, whether they move on with the steps, and where two samplers differ.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from image_exps.judge.judged import SMOOTH, CannotRunError, Grid, Judged
from image_exps.judge.predictors import Budget, Limited, ScriptPredictor
from lml.samplers import Level

__all__ = ["Tableau", "history_symptoms", "read_tableau"]

# Weights below this share of a step's largest are rounding.
_ZERO = 1e-9
# What is linear in exact arithmetic differs by less; LML of ordinary strength by 1e-2.
_LINEAR = 1e-8


class Tableau(NamedTuple):
    """The coefficients of a run.

    Attributes:
        form: "data" or "noise", in which the steps are simplest.
        linear: ``l_k``, shape (evaluations,): to the next evaluation's sample, the last to the end.
        weights: ``w_kj``, shape (evaluations, evaluations), zero for ``j > k``.
        levels: that were asked at.
    """

    form: str
    linear: np.ndarray
    weights: np.ndarray
    levels: tuple[Level, ...]

    def used(self, k: int) -> tuple[int, ...]:
        """Return the evaluations that step ``k`` uses."""
        row = np.abs(self.weights[k])
        return tuple(np.flatnonzero(row > _ZERO * max(row.max(), 1e-300)).tolist())

    @property
    def history(self) -> int:
        """How many evaluations before its own the middle step reaches back."""
        k = len(self.linear) - 2
        return k - min(self.used(k), default=k)


def read_tableau(
    judged: Judged, steps: int = 8, grid: Grid = SMOOTH, levels: tuple[Level, ...] | None = None
) -> Tableau | None:
    """Return the coefficients of a deterministic sampler, ``None`` if it is not linear in its evaluations."""
    found = []
    for of_data in (True, False):
        try:
            made = _read(judged, steps, grid, levels, of_data=of_data)
        except CannotRunError:  # where there is no signal a unit of noise is no finite answer
            continue
        found += [made] if made is not None else []
    if not found:
        return None
    return min(found, key=lambda each: sum(len(each.used(k)) for k in range(len(each.linear))))


def _read(judged: Judged, steps: int, grid: Grid, levels: tuple[Level, ...] | None, *, of_data: bool) -> Tableau | None:
    width = 8 * steps + 32

    def run(size: Callable[[int], float]) -> tuple[np.ndarray, tuple[Level, ...]]:
        def start(level: Level) -> Tensor:
            x = torch.zeros((1, width), dtype=torch.float64)
            x[0, 0] = 1
            return x

        script = Limited(ScriptPredictor(of_data=of_data, size=size), torch.Size((1, width)), Budget(width - 1))
        made = judged.run(script, start, steps, grid=grid, levels=levels)
        xs = [*(call.x for call in made.calls), made.end]
        return np.array([x[0].double().numpy() for x in xs]), tuple(call.level for call in made.calls)

    rows, asked = run(lambda j: 1.0)
    # What is linear answers a script of other sizes with the same weights.
    scaled, _ = run(_uneven)
    if rows.shape != scaled.shape or not np.isfinite(rows).all():
        return None
    sizes = np.ones(width)
    sizes[1:] = [_uneven(j) for j in range(width - 1)]
    if np.abs(scaled - rows * sizes).max() > _LINEAR * np.abs(rows).max():
        return None
    count = len(rows) - 1
    linear, weights = np.empty(count), np.zeros((count, count))
    for k in range(count):
        now, after = rows[k], rows[k + 1]
        if abs(now[0]) < 1e-300:
            return None
        linear[k] = after[0] / now[0]
        weights[k] = (after - linear[k] * now)[1 : count + 1]
    return Tableau("data" if of_data else "noise", linear, weights, asked)


def history_symptoms(tableau: Tableau, claimed: float | None) -> list[str]:
    """Return what is wrong with the use of old evaluations, by name.

    A one-evaluation multistep solver of claimed order two or more must use the evaluation before; which one it uses
    must move on with the steps.
    """
    count = len(tableau.linear)
    middle = list(range(3, count - 1))
    if len(middle) < 3:
        return []
    oldest = [min(tableau.used(k), default=k) for k in middle]
    used = [tableau.used(k) for k in middle]
    fixed = set.intersection(*(set(u) for u in used)) if used else set()
    stuck = sorted(j for j in fixed if j < middle[0])
    between = any(set(u) - set(stuck) - {k} for u, k in zip(used, middle, strict=True))
    if stuck and not between:
        return [f"history not shifted: every step combines its own evaluation with the one of step {stuck[0] + 1}"]
    distinct = len({level.half_log_snr for level in tableau.levels})
    if (
        claimed is not None
        and claimed >= 2
        and distinct == count
        and all(o == k for o, k in zip(oldest, middle, strict=True))
    ):
        return ["history not used: every step uses its own evaluation alone, as a method of first order does"]
    return []


def _uneven(j: int) -> float:
    return 1 + 0.5 * math.sin(2.0 * j + 1)
