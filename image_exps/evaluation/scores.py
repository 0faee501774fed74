"""Scores of single pictures as plug-ins, and their mean with an interval.

A score is any object with ``name``, ``higher_is_better`` and a call from pictures and prompts to one figure a picture.
A package publishes its own by an entry point that names such an object, or a function without arguments that makes it::

    [project.entry-points."lml.scores"]
    sharpness = "image_exps.evaluation.sharpness:SHARPNESS"

``python -m image_exps evaluate FOLDER --score sharpness`` finds it by its name; that example is complete, see
`image_exps.evaluation.sharpness`. Aesthetic and face scores, whose networks are not ours to ship, come in this way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib.metadata import EntryPoint, entry_points
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from image_exps.distances.colourfulness import colourfulness
from image_exps.evaluation.folder import Generated, Progress
from theory_checks.ledger.statistics import Interval

__all__ = ["GROUP", "Score", "chosen", "find_scores", "mean_interval_of", "mean_score", "values_of"]

#: The entry-point group in which packages publish their scores.
GROUP = "lml.scores"


@runtime_checkable
class Score(Protocol):
    """A figure for every single picture."""

    @property
    def name(self) -> str:
        """By which it is found, and called in tables."""
        ...

    @property
    def higher_is_better(self) -> bool:
        """Whether it grows with quality."""
        ...

    def __call__(self, pictures: Tensor, prompts: Sequence[str | None]) -> Tensor:
        """Return one finite figure a picture, shape (n,).

        Args:
            pictures: shape (n, 3, height, width), float32 in [-1, 1], on the CPU.
            prompts: n of them; ``None`` for a picture that was made without one.
        """
        ...


class _Colourfulness:
    name = "colourfulness"
    higher_is_better = True

    def __call__(self, pictures: Tensor, prompts: Sequence[str | None]) -> Tensor:
        return colourfulness(pictures)


def find_scores() -> dict[str, Score]:
    """Return the scores by name: ours, then those of every installed package in the order of their entry points.

    Raises:
        ValueError: if a plug-in cannot be loaded, is no score, or takes a name that is taken.
    """
    scores: dict[str, Score] = {"colourfulness": _Colourfulness()}
    points = {(point.name, point.value): point for point in entry_points(group=GROUP)}
    for point in sorted(points.values(), key=lambda p: p.name):
        score = _load(point)
        if score.name in scores:
            raise ValueError(f"score {score.name!r} is defined twice, the second time by the plug-in {point.name!r}")
        scores[score.name] = score
    return scores


def _load(point: EntryPoint) -> Score:
    try:
        loaded = point.load()
        if isinstance(loaded, type) or not hasattr(loaded, "higher_is_better"):
            loaded = loaded()
    except Exception as error:
        raise ValueError(f"the plug-in {point.name!r} ({point.value}) cannot be loaded: {error}") from error
    if not isinstance(loaded, Score) or not isinstance(loaded.name, str):
        raise ValueError(
            f"the plug-in {point.name!r} must give a score with name, higher_is_better and a call, "
            f"got {type(loaded).__name__}"
        )
    return loaded


def values_of(score: Score, generated: Generated, *, batch: int = 32, progress: Progress | None = None) -> np.ndarray:
    """Return the score of every picture of a folder, shape (n,), float64.

    Args:
        score: of single pictures.
        generated: the folder.
        batch: pictures at a time.
        progress: told after each batch.

    Raises:
        ValueError: if the score gives another number of figures, or one that is not finite.
    """
    found: list[np.ndarray] = []
    for pictures, prompts in generated.batches(batch, progress):
        with torch.inference_mode():
            values = torch.as_tensor(score(pictures, prompts)).detach().cpu().double()
        if values.shape != (len(pictures),):
            raise ValueError(f"score {score.name} must give shape ({len(pictures)},), got {tuple(values.shape)}")
        if not torch.isfinite(values).all():
            before = sum(len(each) for each in found)
            bad = generated.files[before + int((~torch.isfinite(values)).nonzero()[0])]
            raise ValueError(f"score {score.name} must be finite, it is not for {bad}")
        found.append(values.numpy())
    return np.concatenate(found)


def mean_interval_of(
    sums: np.ndarray, counts: np.ndarray | None = None, *, repeats: int = 2000, seed: int = 0, level: float = 0.95
) -> Interval:
    """Return ``sum_g s_g / sum_g n_g`` over independent groups of figures, with its bootstrap interval (percentiles).

    One group has no interval: its ends are NaN.

    Args:
        sums: of the figures of each group, shape (g,): the figures themselves where each is independent.
        counts: how many figures each group has, shape (g,); one each by default.
        repeats: resamples, of groups.
        seed: of them.
        level: of confidence.
    """
    counts = np.ones(len(sums)) if counts is None else counts
    n, mean = len(sums), float(sums.sum() / counts.sum())
    if n < 2:
        return Interval(mean, float("nan"), float("nan"))
    rng = np.random.default_rng(seed)
    drawn = (rng.integers(n, size=n) for _ in range(repeats))
    means = np.array([sums[rows].sum() / counts[rows].sum() for rows in drawn])
    low, high = np.quantile(means, ((1 - level) / 2, (1 + level) / 2))
    return Interval(mean, float(low), float(high))


def mean_score(
    score: Score,
    generated: Generated,
    *,
    batch: int = 32,
    repeats: int = 2000,
    seed: int = 0,
    progress: Progress | None = None,
) -> Interval:
    """Return the mean score of a folder with its 95 % bootstrap interval; the errors are those of `values_of`."""
    return mean_interval_of(values_of(score, generated, batch=batch, progress=progress), repeats=repeats, seed=seed)


def chosen(names: Sequence[str], scores: Mapping[str, Score]) -> list[Score]:
    """Return the scores of these names.

    Raises:
        ValueError: for a name that is not there.
    """
    for name in names:
        if name not in scores:
            raise ValueError(f"score must be one of {', '.join(scores)}, got {name!r}")
    return [scores[name] for name in names]
