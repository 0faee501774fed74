"""Checkpoints of a training run that survive a kill at any moment, and damage to one of them.

A checkpoint holds a digest of all that it says. The one before it is kept beside it: a run whose last checkpoint is
damaged goes on from that, to the same weights.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from image_exps.networks.files import UNet
from toy.atomic import atomic
from toy.fit_cache import checksum

__all__ = ["Origin", "Run", "before", "begin", "load", "save"]


@dataclass
class Run:
    """Everything that the next step depends on, and what is kept of the past.

    The randomness of a step is a function of the seed and its number (`loop.draw`), so that no generator is carried.

    Attributes:
        net: the weights being trained.
        average: their moving average, in the order of ``net.parameters()``.
        optimizer: with its moments.
        step: steps made.
        seconds: of training so far.
        losses: (step, mean loss since the last entry).
        pending: losses since the last entry.
        earlier: prediction, steps and seconds of the run whose averaged weights this one began with.
    """

    net: UNet
    average: list[Tensor]
    optimizer: torch.optim.Optimizer
    step: int = 0
    seconds: float = 0.0
    losses: list[tuple[int, float]] = field(default_factory=list)
    pending: list[float] = field(default_factory=list)
    earlier: tuple[str, int, int] | None = None


@dataclass(frozen=True)
class Origin:
    """What a checkpoint belongs to; another one cannot be resumed from it."""

    recipe: str
    seed: int
    prediction: str
    version: int = 3


def before(path: Path) -> Path:
    """Return where the checkpoint before the last one is."""
    return path.with_name(f"{path.stem}-before{path.suffix}")


def save(run: Run, origin: Origin, path: Path) -> None:
    """Write a checkpoint: to a new file first, which replaces the old one, kept as `before`, once it is on disk."""
    state = {
        "origin": asdict(origin),
        "net": run.net.state_dict(),
        "average": run.average,
        "optimizer": run.optimizer.state_dict(),
        "step": run.step,
        "seconds": run.seconds,
        "losses": run.losses,
        "pending": run.pending,
        "earlier": run.earlier,
    }
    content = io.BytesIO()  # torch reports a full disk as a fault of its own
    torch.save({"digest": _digest(state), **state}, content)
    with atomic(path) as new:
        new.write_bytes(content.getvalue())
        if path.exists():
            os.replace(path, before(path))


def load(run: Run, origin: Origin, path: Path, report: Callable[[str], None] = lambda line: None) -> None:
    """Bring a run to where a checkpoint left it; to where the one before did, if the last one is damaged or not there.

    Args:
        run: just begun.
        origin: what the checkpoint must belong to.
        path: of the last one.
        report: called with what is damaged.

    Raises:
        ValueError: if neither is a whole checkpoint, or it is one of another recipe, seed or version.
    """
    try:
        state = _read(path)
    except ValueError as error:
        if not before(path).exists():
            raise
        report(f"{error}; it goes on from {before(path).name}, the one before")
        path = before(path)
        state = _read(path)
    if state["origin"] != asdict(origin):
        raise ValueError(f"{str(path)!r} is a checkpoint of {state['origin']}, it cannot go on as {asdict(origin)}")
    run.net.load_state_dict(state["net"])
    run.average = state["average"]
    run.optimizer.load_state_dict(state["optimizer"])
    run.step, run.seconds = state["step"], state["seconds"]
    run.losses = [tuple(entry) for entry in state["losses"]]
    run.pending, run.earlier = state["pending"], state["earlier"]


def begin(run: Run, origin: Origin, path: Path) -> None:
    """Give a new run the averaged weights of another one.

    Raises:
        ValueError: if the file is no checkpoint, or one of another recipe.
    """
    state = _read(path)
    if state["origin"]["recipe"] != origin.recipe:
        raise ValueError(f"{str(path)!r} is a checkpoint of {state['origin']}, its weights do not fit {origin.recipe}")
    with torch.no_grad():
        for weight, mean, earlier in zip(run.net.parameters(), run.average, state["average"], strict=True):
            weight.copy_(earlier)
            mean.copy_(earlier)
    run.earlier = (state["origin"].get("prediction", "epsilon"), state["step"], round(state["seconds"]))


def _read(path: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        state["origin"]["recipe"]
        written = state.pop("digest", None)
        whole = written is None or written == _digest(state)  # an older version wrote none: the origin tells it
    except Exception as error:  # torch.load documents no exceptions, and raises many
        reason = str(error).partition("\n")[0]
        raise ValueError(f"{str(path)!r} is not a checkpoint of a training run: {reason}") from error
    if not whole:
        raise ValueError(f"{str(path)!r} is not a checkpoint of a training run as it was written, it is damaged")
    return state


def _digest(state: object) -> str:
    return checksum(*_leaves(state))


def _leaves(value: object) -> list[object]:
    """Return the keys, tensors and numbers that nested mappings and sequences hold, in their order."""
    if isinstance(value, dict):
        return [leaf for key, held in value.items() for leaf in (key, *_leaves(held))]
    if isinstance(value, (list, tuple)):
        return [len(value), *(leaf for held in value for leaf in _leaves(held))]
    return [value]
