"""Scores of single pictures as plug-ins, and their mean with an interval.

A score is any object with ``name``, ``higher_is_better`` and a call from pictures and prompts to one figure a picture.
A package publishes its own by an entry point of the score's name, for such an object or a function without arguments
that makes it::

    [project.entry-points."lml.scores"]
    sharpness = "image_exps.evaluation.sharpness:SHARPNESS"

``python -m image_exps evaluate FOLDER --score sharpness`` finds it by its name; that example is complete, see
`image_exps.evaluation.sharpness`. Aesthetic and face scores, whose networks are not ours to ship, come in this way.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor

from image_exps.distances.colourfulness import colourfulness
from image_exps.evaluation.folder import Generated, Progress
from image_exps.evaluation.score_names import COLOURFULNESS, GROUP, check_score_names, score_names
from image_exps.utils.plugins import load_plugin, plugins
from theory_checks.ledger.statistics import Interval

__all__ = ["Score", "find_scores", "load_score", "mean_interval_of", "mean_score", "values_of"]


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
    name = COLOURFULNESS
    higher_is_better = True

    def __call__(self, pictures: Tensor, prompts: Sequence[str | None]) -> Tensor:
        return colourfulness(pictures)


def find_scores() -> dict[str, Score]:
    """Return the scores by name: ours, then those of every installed package in the order of their names.

    Raises:
        ValueError: as `load_score`, or if a name is taken twice.
    """
    return {name: load_score(name) for name in score_names()}


def load_score(name: str) -> Score:
    """Return the score of a name.

    Raises:
        ValueError: if there is none, or its plug-in cannot be loaded or is no score of that name.
    """
    check_score_names([name])
    if name == COLOURFULNESS:
        return _Colourfulness()
    point = plugins(GROUP)[name]
    loaded = load_plugin(point)
    if isinstance(loaded, type) or not hasattr(loaded, "higher_is_better"):
        try:
            loaded = loaded()
        except Exception as error:  # code of another package may raise anything
            raise ValueError(f"{GROUP}: {name!r} ({point.value}) cannot be made: {error}") from error
    if not isinstance(loaded, Score):
        raise ValueError(
            f"{GROUP}: {name!r} must give a score with name, higher_is_better and a call, got {type(loaded).__name__}"
        )
    if loaded.name != name:
        raise ValueError(f"{GROUP}: {name!r} gives a score that is called {loaded.name!r}: the two must be one name")
    return loaded


def values_of(score: Score, generated: Generated, *, batch: int = 32, progress: Progress | None = None) -> np.ndarray:
    """Return the score of every picture of a folder, shape (n,), float64.

    Args:
        score: of single pictures.
        generated: the folder.
        batch: pictures at a time.
        progress: called after each batch.

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
