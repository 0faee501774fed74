"""Checkpoints of a training run that survive a kill at any moment."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from image_exps.networks.files import UNet
from toy.atomic import atomic

__all__ = ["Origin", "Run", "begin", "load", "save"]


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
    version: int = 2


def save(run: Run, origin: Origin, path: Path) -> None:
    """Write a checkpoint: to a new file first, that replaces the old one in one operation once it is on disk."""
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
    with atomic(path) as new:
        torch.save(state, new)


def load(run: Run, origin: Origin, path: Path) -> None:
    """Bring a run to where a checkpoint left it.

    Raises:
        ValueError: if the file is no checkpoint, or one of another recipe, seed or version.
    """
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
    except Exception as error:  # torch.load documents no exceptions, and raises many
        raise ValueError(f"{str(path)!r} is not a checkpoint of a training run: {error}") from error
    return state
