r"""Claim T1: what LML costs beside the network and beside its base, in one run.

Three answers to one question, the share ``LML/network`` of a step at batch 1 on a latent of SD 1.5 (4 x 64 x 64):

- by difference: a step of the LML scheduler minus a step of its base, both on given network outputs;
- alone: `LML.correct`, without any scheduler around it;
- by memory: the bytes that LML's operations read and write over those of SD 1.5's weights, each of which the network
  reads at least once. It is counted, so it is the same on every machine.

Times are against a network of SD 1.5's class with less than a hundredth of its operations, which bounds the share of
the whole from above and takes less than a second. The difference of two generations with the network would not do: what
its time varies by on a shared machine is a hundred times what is looked for.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from image_exps.samplers.pipeline_sampler import pipeline_sampler
from image_exps.samplers.schedulers import make_scheduler
from image_exps.timing.networks import on_meta, predictor
from image_exps.timing.shapes import FullSize, full_size
from image_exps.timing.timing import Clock, HostClock, interleaved, spread
from lml.correction import LML, Correction, Memory
from lml.samplers import Evaluation
from theory_checks.ledger.claim import Finding, Measured, Settings, Verdict, agreement
from toy.threads import single_thread

__all__ = ["SHARE", "bytes_moved", "check_cost"]

#: The share of a network's evaluation that LML may add.
SHARE = 0.005

_CORRECTION: Correction = LML()

# A tenth of SD 1.5's width, one attention head, half the layers: the same kinds of block, fewer and narrower.
_TENTH = FullSize(
    "sd15-tenth",
    "UNet2DConditionModel",
    {
        "sample_size": 64,
        "cross_attention_dim": 64,
        "block_out_channels": (32, 64, 128, 128),
        "layers_per_block": 1,
        "norm_num_groups": 8,
        "attention_head_dim": 1,
    },
    0,
    (4, 64, 64),
    77,
    "SD 1.5's blocks at a tenth of the width",
)

# Reads of two vectors for the inner products, reads of both and one write for the result: the least that LML moves.
_STREAMS = 5

# Whole step against its parts, timed apart: within a factor of two. A busy machine lengthens single ones, so the least
# of each is compared; a network that is evaluated more or less often than in a step is out.
_PARTS = 1.0

_NETWORK_REPETITIONS = 3


class _Traffic(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Counts the bytes of the tensors that operations read and write; a view moves none."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.bytes = 0

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        returns = func._schema.returns
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in returns)
        if not view:
            tensors = [t for t in tree_leaves((args, kwargs, result)) if isinstance(t, Tensor)]
            self.bytes += sum(t.numel() * t.element_size() for t in tensors)
        return result


def bytes_moved(correction: Correction, noise: Tensor, previous: Tensor) -> int:
    """Return the bytes that the operations of one correction read and write, each operand counted as it is used."""
    with torch.no_grad(), _Traffic() as traffic:
        correction.correct(noise, Memory((previous,)))
    moved: int = traffic.bytes
    return moved


@cache
def _weight_bytes() -> int:
    """Return the size of SD 1.5's network in float32: no evaluation at batch 1 reads less."""
    total: int = sum(p.numel() * p.element_size() for p in on_meta(full_size("sd15")).parameters())
    return total


def _network() -> Any:
    return predictor(_TENTH, torch.device("cpu"), torch.float32)


def _evaluate(network: Any, x: Tensor) -> None:
    network(x, 500)


def _noises(settings: Settings, count: int) -> list[Tensor]:
    """Return ``count`` network outputs (1, 4, 64, 64) that change slowly, as those of neighbouring steps do."""
    g = settings.generator()
    e = torch.randn((1, *_TENTH.latent), generator=g)
    found = []
    for _ in range(count):
        e = 0.98 * e + math.sqrt(1 - 0.98**2) * torch.randn(e.shape, generator=g)
        found.append(e)
    return found


class _Steps:
    """A scheduler's steps one after the other, the network's outputs given."""

    def __init__(self, name: str, outputs: Sequence[Tensor]) -> None:
        from diffusers import DDIMScheduler

        self._outputs = outputs
        own: Any = DDIMScheduler
        self._scheduler = make_scheduler(pipeline_sampler(name, len(outputs)), own(), latent=True)
        self._start()

    def _start(self) -> None:
        self._scheduler.set_timesteps(len(self._outputs))
        self._x, self._place = self._outputs[0], 0

    def __call__(self) -> None:
        if self._place == len(self._outputs):
            self._start()
        timestep = self._scheduler.timesteps[self._place]
        self._x = self._scheduler.step(self._outputs[self._place], timestep, self._x, return_dict=False)[0]
        self._place += 1


def check_cost(settings: Settings, *, repetitions: int | None = None, clock: Clock | None = None) -> Finding:
    """T1: LML adds at most `SHARE` of a network's evaluation to a step, by time and by memory.

    Args:
        settings: seed and profile.
        repetitions: of a step.
        clock: by default the host's.
    """
    repetitions = repetitions or settings.pick(200, 1000)
    noises = _noises(settings, 50)
    p, e = noises[:2]
    network, clock = _network(), clock or HostClock()
    turned, _ = _CORRECTION.correct(e, Memory((p,)))
    angle = float(Evaluation(e, turned).angle)
    base, lml = _Steps("ddim", noises), _Steps("ddim/lml", noises)
    with single_thread(), torch.inference_mode():
        small = interleaved(
            {"base": base, "lml": lml, "alone": lambda: _CORRECTION.correct(e, Memory((p,)))},
            repetitions,
            clock,
            warm_up=1,
        )

        def whole() -> None:
            network(e, 500)
            lml()

        large = interleaved(
            {"network": lambda: _evaluate(network, e), "whole": whole}, _NETWORK_REPETITIONS, clock, warm_up=0
        )
    evaluation = float(large["network"].min())  # the least disturbed one, and the largest share
    added = float(np.median(small["lml"] - small["base"]))
    alone, own = float(np.median(small["alone"])), float(np.median(small["base"]))
    moved = bytes_moved(_CORRECTION, e, p)
    floor = _STREAMS * e.numel() * e.element_size()
    parts = math.log2(float(large["whole"].min()) / (evaluation + float(np.median(small["lml"]))))
    basis = f"medians of {repetitions} over the least of {_NETWORK_REPETITIONS}, one thread, one run"
    decisive = (
        Measured("LML's share of a network's evaluation, step minus base step", added / evaluation, limit=SHARE,
                 basis=basis),
        Measured("the same, the correction alone", alone / evaluation, limit=SHARE, basis=basis),
        Measured("bytes moved by LML over SD 1.5's weights", moved / _weight_bytes(), limit=SHARE,
                 basis="counted; float32; a network reads each weight at least once"),
        Measured("whole step over its parts, log2", parts, limit=_PARTS, basis="network, base and LML timed apart"),
    )  # fmt: skip
    base_spread = spread(small["lml"] / small["base"])
    figures = (
        *decisive,
        Measured("a step with LML over a step of DDIM, both without the network", base_spread.median,
                 low=base_spread.lower, high=base_spread.upper, basis="median and quartiles"),
        Measured("LML alone over a step of DDIM without the network", alone / own, basis="medians"),
        Measured("LML alone", 1e6 * alone, unit="us", basis="this machine, 4 x 64 x 64, float32"),
        Measured("an evaluation of the network that was timed", 1e3 * evaluation, unit="ms", basis="this machine"),
        Measured("bytes moved by LML over the least of five streams", moved / floor, basis="counted"),
        Measured("angle of the turn that was timed", angle, unit="rad", basis="LML is on"),
    )  # fmt: skip
    verdict = agreement(*decisive)
    if not (angle > 0 and moved >= floor and added > 0):
        verdict = Verdict.OPEN  # what was timed or counted is not LML
    return Finding(
        verdict=verdict,
        figures=figures,
        reading="LML-DDIM at batch 1 on 4 x 64 x 64 in float32; times on one thread against a network of SD 1.5's "
        "blocks at a tenth of its width, bytes against SD 1.5's own weights",
        methods=("time of a step less its base's, and of the correction alone", "bytes counted operation by operation"),
        assumption="an evaluation of the whole network takes no less than one of a tenth of its width",
        remark="Negligible beside the network, not beside the base: DDIM's own arithmetic is a fraction of LML's. And "
        "it is a statement about large networks: where an evaluation takes milliseconds, as on small pictures or on a "
        "fast GPU whose time is that of starting kernels, LML's share is percents; python -m image_exps time measures "
        "it on the network at hand, and with --full-size on SD 1.5's, SDXL's and PixArt's whole networks.",
    )
