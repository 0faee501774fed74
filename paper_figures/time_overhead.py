"""What LML costs: CPU time of a step with and without it by dimension, and its share of a network's evaluation (T1)."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import torch
from matplotlib.figure import Figure
from torch import Tensor

from image_exps.claims.cost import SHARE, check_cost
from image_exps.problems.targets import levels
from image_exps.timing.timing import interleaved, machine
from lml.correction import LML, Memory
from lml.samplers import DDIM, Level, sample
from paper_figures.figure import Data, PaperFigure, of_finding, read
from paper_figures.layout import label_panels, panels
from paper_figures.style import LIMIT, NOTE, QUIET, ROLES
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.progress import track
from toy.threads import single_thread

# From a digit to a latent of 128 x 128 and beyond.
_DIMS = (64, 3072, 16384, 65536, 262144)
_STEPS = 10
_UPPER = 0.75

_SHARES = {
    "LML's share of a network's evaluation": "step minus base",
    "the same, the correction alone": "LML alone",
    "bytes moved by LML over SD 1.5's weights": "bytes moved",
}


class ThreadClock:
    """CPU seconds of the calling thread: a busy machine makes it wait, and waiting is not counted."""

    def mark(self) -> float:
        return time.thread_time()

    def seconds(self, start: float, stop: float) -> float:
        return stop - start


def compute(settings: Settings, *, dims: Sequence[int] = _DIMS, repetitions: int | None = None) -> Data:
    """Return CPU microseconds a step by dimension, least and upper quartile, and the figures of claim T1."""
    n = repetitions or settings.pick(100, 1000)
    correction = LML()
    rows = []
    with single_thread(), torch.inference_mode():  # one thread as claim T1
        for stream, d in enumerate(track(dims, "steps without a network")):
            outputs = torch.randn((_STEPS, 1, d), generator=settings.generator(stream))

            def model(x: Tensor, level: Level, outputs: Tensor = outputs) -> Tensor:
                return outputs[min(int((1 - level.time) * _STEPS), _STEPS - 1)]

            x = outputs[0]
            arms: dict[str, Callable[[], object]] = {
                "base": partial(sample, DDIM, model, x, levels(_STEPS)),
                "lml": partial(sample, DDIM, model, x, levels(_STEPS), correction),
                "alone": partial(correction.correct, outputs[1], Memory((outputs[0],))),
            }
            seconds = interleaved(arms, n, ThreadClock())
            steps = {"base": _STEPS, "lml": _STEPS, "alone": 1}
            rows.append([[1e6 * f(seconds[name]) / k for f in (np.min, _upper)] for name, k in steps.items()])
    return {
        **of_finding(check_cost(settings, repetitions=repetitions, clock=ThreadClock())),
        "dims": np.array(dims),
        "microseconds": np.array(rows),
        "repetitions": np.array(n),
        "share": np.array(SHARE),
        "device": np.array(machine(torch.device("cpu"))["device"]),
    }


def _upper(seconds: np.ndarray) -> float:
    return float(np.quantile(seconds, _UPPER))


def draw(data: Data) -> Figure:
    """Draw the time of a step, and the shares of an evaluation below their limit."""
    figure, (axes,) = panels(1, 2, height=2.7)
    left, right = axes
    alone = replace(ROLES["LML"], variant=True)
    looks = (("DDIM's step", ROLES["ddim"]), ("the step with LML", ROLES["LML"]), ("LML alone", alone))
    for k, (label, look) in enumerate(looks):
        least, high = data["microseconds"][:, k].T
        left.errorbar(data["dims"], least, yerr=(0 * least, high - least), **look.line(label=label))
    left.set(xscale="log", yscale="log", xlabel="dimension $d$", ylabel="CPU microseconds, without a network")
    left.set_title("a step at batch 1")
    left.legend(loc="upper left")
    values = [100 * read(data, name)[0] for name in _SHARES]
    places = np.arange(len(values))[::-1]
    right.barh(places, values, height=0.5, color=ROLES["LML"].colour)
    for place, value in zip(places, values, strict=True):
        right.text(value, place, f" {value:.2g} %", va="center", fontsize=NOTE)
    limit = 100 * float(data["share"])
    right.axvline(limit, color=LIMIT, lw=1, ls="--")
    right.text(limit, len(values) - 0.55, "limit of T1 ", color=QUIET, fontsize=NOTE, ha="right", va="bottom")
    right.set_yticks(places, list(_SHARES.values()))
    right.set(xlabel="percent of a network's evaluation", xlim=(0, 1.1 * max(limit, *values)), ylim=(-0.6, len(values)))
    right.set_title("share of an evaluation")
    label_panels(axes)
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the caption says in numbers."""
    base = read(data, "a step with LML over a step of DDIM")
    return {
        "n": f"{int(data['repetitions'])}",
        "device": str(data["device"]),
        "limit": f"{float(data['share']):.1%}",
        "difference": f"{read(data, next(iter(_SHARES)))[0]:.2%}",
        "evaluation": f"{read(data, 'an evaluation of the network that was timed')[0]:.0f}",
        "ratio": f"{base[0]:.1f} [{base[1]:.1f}, {base[2]:.1f}]",
    }


FIGURE = PaperFigure(
    name="time_overhead",
    title="time of a step with and without LML, and its share of a network's evaluation",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""What LML costs, on one thread of {device}. (a) A step of DDIM, the same with LML, and LML alone, at
    batch one, without a network. (b) LML's share of one evaluation of a network of Stable Diffusion's blocks at a
    tenth of its width: by difference, alone, and by the bytes that it moves over the weights of Stable Diffusion
    itself. Dashed: {limit}, the limit of claim T1. By difference LML adds {difference}.""",
    methods="""CPU seconds of the thread, not those of the clock on the wall: what else the machine does adds little
    to them. float32, in one process, the arms taking turns, n = {n} repetitions. (a) The least of all repetitions,
    which other work disturbs least; bars: up to the upper quartile. (b) Medians over one evaluation ({evaluation}
    ms). A step with LML takes {ratio} times that of DDIM (median, quartiles) where there is no network.""",
    small={"dims": (64, 3072), "repetitions": 3},
)
