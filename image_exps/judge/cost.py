"""Is it cheap? What a step costs beside the network, and beside a step of DDIM of the same kind."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from image_exps.judge.functions import judged_sampler
from image_exps.judge.judged import Grid, Judged, Predictor
from image_exps.judge.what import find
from lml.samplers import SAMPLERS, Level
from toy.threads import single_thread

__all__ = ["Cost", "judge_cost"]

#: Four latents of Stable Diffusion, one after another in a row a sample.
_SHAPE = (4, 4 * 64 * 64)
_STEPS, _ROUNDS = 20, 7


@dataclass(frozen=True)
class Cost:
    """Seconds of one step, the network's left out.

    Attributes:
        step: of the judged sampler, median of the rounds, in milliseconds.
        low, high: the fastest and the slowest round.
        ddim: of DDIM of the same kind, in the same rounds.
        ratio: of the two, the median over rounds.
        shape: of the samples, float32.
    """

    step: float
    low: float
    high: float
    ddim: float
    ratio: float
    shape: tuple[int, ...] = _SHAPE


class _Nothing:
    """A network that costs as little as possible: its answers are made once."""

    def __init__(self) -> None:
        self._answer = torch.randn(_SHAPE, generator=torch.Generator().manual_seed(0))

    def noise(self, x: Tensor, level: Level) -> Tensor:
        return self._answer

    def data(self, x: Tensor, level: Level) -> Tensor:
        return self._answer


def judge_cost(judged: Judged, *, progress: Callable[[float], None] = lambda share: None) -> Cost:
    """Return what a step costs, on one thread; the two take turns, so that a busy machine is busy for both.

    Raises:
        CannotRunError: as `Judged.run`.
    """
    is_scheduler = judged.kind == "diffusers scheduler"
    ddim = find("diffusers:DDIMScheduler") if is_scheduler else judged_sampler(SAMPLERS["ddim"])
    noise = torch.randn(_SHAPE, generator=torch.Generator().manual_seed(1))
    own, other = [], []
    with single_thread():
        for i in range(_ROUNDS + 1):
            progress(i / (_ROUNDS + 1))
            a, b = _seconds(judged, _Nothing(), noise), _seconds(ddim, _Nothing(), noise)
            if i:  # the first round warms up
                own.append(a)
                other.append(b)
    ratio = float(np.median(np.array(own) / np.array(other)))
    ms = 1000 * np.array(own)
    return Cost(float(np.median(ms)), float(ms.min()), float(ms.max()), float(1000 * np.median(other)), ratio)


def _seconds(judged: Judged, predictor: Predictor, noise: Tensor) -> float:
    start = time.perf_counter()
    judged.run(predictor, noise, _STEPS, grid=Grid("model"), dtype=torch.float32)
    return (time.perf_counter() - start) / _STEPS
