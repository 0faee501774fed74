"""The strength of LML on one network: chosen on some samples by the distance to its flow, reported on others.

The strength is ``eta = mixing/damping`` at the default damping: zero is the base alone, one half the two-step
extrapolation at equal steps (`lml.correction.LML`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from image_exps.compare.flow import FIRST
from image_exps.compare.measure import compare, duration, first_evaluation, ratio
from image_exps.pipelines.network import Network
from image_exps.pipelines.prompted import PromptedModel
from image_exps.samplers.arms import arm
from image_exps.samplers.table import algorithm
from lml.arguments import check_integer
from lml.strength import DEFAULT_DAMPING
from theory_checks.ledger.statistics import Interval

__all__ = ["STRENGTHS", "Tuned", "arm_of", "tune"]

#: The strengths that are tried.
STRENGTHS: tuple[float, ...] = tuple(i / 20 for i in range(21))


@dataclass(frozen=True)
class Tuned:
    """What was found.

    Attributes:
        arm: the base with LML at the strength that was chosen; the base alone if that is zero.
        strength: ``eta``.
        tried: mean distance on the tuning samples by strength.
        base, default: mean distance of the choice over that of the base alone, and of LML's default strength, on the
            held-out samples, with 95 % intervals for both together.
        distance: mean distance of the choice on the held-out samples.
        converged: whether both reference flows are.
    """

    arm: str
    strength: float
    tried: dict[float, float]
    base: Interval
    default: Interval
    distance: float
    converged: bool


def arm_of(base: str, strength: float) -> str:
    """Return the name of a base, with its spacing, under LML of a strength."""
    return f"{base}/lml(mixing={strength * DEFAULT_DAMPING:.4g})" if strength else base


def tune(
    made: Network,
    name: str,
    evaluations: int,
    *,
    count: int = 32,
    held_out: int = 32,
    seed: int = 0,
    folder: Path | None = None,
    announce: Callable[[str], None] = lambda _: None,
    progress: Callable[[int, int], None] = lambda _done, _total: None,
) -> Tuned:
    """Return the strength of LML with the least mean distance to a network's flow.

    Args:
        made: the network.
        name: of the arm that is tuned, ``base@spacing/lml``.
        evaluations: of the network.
        count: samples that choose.
        held_out: samples after those, that report.
        seed: of the first sample.
        folder: as for `image_exps.compare.measure.compare`.
        announce: likewise.
        progress: likewise.

    Raises:
        ValueError: for an arm without LML, and what `compare` refuses.
    """
    chosen = arm(name)
    if chosen.correction != "lml" or chosen.parameters:
        raise ValueError(f"arm must be base@spacing/lml without parameters, whose strength is tuned, got {name!r}")
    check_integer(held_out, "held_out", least=4)
    base = f"{chosen.base}@{chosen.spacing}"
    arms = [arm_of(base, strength) for strength in STRENGTHS]
    _, seconds = first_evaluation(made, made.start(seed, count))
    work = (len(STRENGTHS) + 1) * evaluations + 3 * FIRST, 4 * evaluations + 3 * FIRST
    announce(
        f"{count} samples choose, in {work[0]} evaluations, and {held_out} others report, in {work[1]}: "
        f"{duration(seconds * (work[0] + work[1] * held_out / count))}, and more if a reference needs more than "
        f"{2 * FIRST}"
    )
    before = work[0]

    def choosing(done: int, total: int) -> None:
        nonlocal before
        before = total
        progress(done, total + work[1])

    tuning = compare(made, arms, [evaluations], count=count, seed=seed, folder=folder, progress=choosing)
    means = {s: tuning.row(each, evaluations).mean for s, each in zip(STRENGTHS, arms, strict=True)}
    tried = {s: mean for s, mean in means.items() if np.isfinite(mean)}
    if not tried:
        raise ValueError(f"{name} ends at numbers that are not finite in {evaluations} evaluations, at any strength")
    best = min(tried, key=lambda s: tried[s])
    usual = algorithm(chosen.base).mixing / DEFAULT_DAMPING
    names = [arm_of(base, best), base, arm_of(base, usual)]
    others = compare(
        _from(made, count), names, [evaluations], count=held_out, seed=seed + count, folder=folder,
        progress=lambda done, total: progress(before + done, before + total),
    )  # fmt: skip
    distances = [others.row(each, evaluations).distances for each in names]
    if any(found is None for found in distances):
        raise ValueError(f"{name} ends at numbers that are not finite in {evaluations} evaluations")
    picked, plain, default = (np.asarray(found) for found in distances)
    return Tuned(
        names[0], best, tried, _over(picked, plain), _over(picked, default),
        float(picked.mean()), tuning.flow.converged and others.flow.converged,
    )  # fmt: skip


def _from(made: Network, first: int) -> Network:
    """Return a network for samples from place ``first`` on, whose prompts go on where those before ended."""
    model = made.noise_model
    return replace(made, noise_model=replace(model, first=first)) if isinstance(model, PromptedModel) else made


def _over(one: np.ndarray, other: np.ndarray) -> Interval:
    return Interval(1.0, 1.0, 1.0) if np.array_equal(one, other) else ratio(one, other, comparisons=2)
