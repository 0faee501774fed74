"""Schedulers that are not what they say: what was found, a figure, and the script that shows it to their maintainers.

Figures are measured by the judge, and kept in ``verdicts.json`` beside the rows; the scripts in `examples/maintainers`
show the same with diffusers alone.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

import toy
from image_exps.judge.judged import Grid
from image_exps.judge.levels import own_levels
from image_exps.judge.predictors import ExactPredictor
from image_exps.judge.right import exact_start, problem
from image_exps.judge.what import find
from image_exps.league.rows import FOLDER
from lml.samplers import Level
from theory_checks.ledger.plotting import COLOURS, panels, style

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["SCRIPTS", "VERDICTS", "Found", "Judgement", "measure_verdicts", "read_verdicts"]

#: The folder of the scripts for maintainers, in the repository.
SCRIPTS = "examples/maintainers"

#: What was measured for one judgement: series by name.
Found = dict[str, Any]

_MODEL = Grid("model")
_FILE = "verdicts.json"


@dataclass(frozen=True)
class Judgement:
    """What is not as it says.

    Attributes:
        name: of the script in `SCRIPTS`, without its ending.
        scheduler: the class, with its options.
        measure: returns what the sentence and the figure say.
        sentence: of what was measured.
        draw: the figure; ``None`` where a number says all.
    """

    name: str
    scheduler: str
    measure: Callable[[], Found]
    sentence: Callable[[Found], str]
    draw: Callable[[Found], Figure] | None = None


def _linspace() -> Found:
    made: Found = {}
    for spacing in ("linspace", "leading", "trailing"):
        levels = own_levels(find("diffusers:DDIMScheduler", timestep_spacing=spacing), 10, _MODEL)
        made[spacing] = [float(gap) for gap in levels.gaps]
    return made


def _linspace_sentence(found: Found) -> str:
    worst = max(found["linspace"][:-1])
    return (
        'With timestep_spacing="linspace" a step ends at another noise level than the next timestep that is listed: in '
        f"10 steps by up to {worst:.2f} of a step, and by {found['linspace'][-1]:.1f} at the last evaluation. With "
        f'"leading" and "trailing" it is {max(found["leading"]):.0e} and {max(found["trailing"]):.0e}.'
    )


def _linspace_figure(found: Found) -> Figure:
    return _lines({name: (range(1, 11), gaps) for name, gaps in found.items()}, "evaluation", "off its level, steps")


_STEPS = tuple(range(4, 31))


def _ipndm() -> Found:
    return {"steps": _STEPS, "ends": [own_levels(find("diffusers:IPNDMScheduler"), n, _MODEL).end[0] for n in _STEPS]}


def _ipndm_sentence(found: Found) -> str:
    ends = dict(zip(found["steps"], found["ends"], strict=True))
    return (
        "It starts at alpha = 0, where its first step loses the data prediction, and of data at one point y it ends "
        f"at {ends[5]:.2f} y in 5 steps, {ends[10]:.2f} y in 10 and {ends[20]:.3f} y in 20."
    )


def _ipndm_figure(found: Found) -> Figure:
    return _lines({"where it ends": (found["steps"], found["ends"])}, "steps", "data at the end, 1 is right", level=1.0)


def _pndm() -> Found:
    gaps = []
    for n in _STEPS:
        levels = own_levels(find("diffusers:PNDMScheduler"), n, _MODEL)
        gaps.append(abs(math.hypot(*levels.end) - 1))
    return {"steps": _STEPS, "away": gaps}


def _pndm_sentence(found: Found) -> str:
    away = dict(zip(found["steps"], found["away"], strict=True))
    odd = [n for n in found["steps"] if (1000 // n) % 2 == 1]
    return (
        "Where 1000 // steps is odd, its Runge-Kutta half steps end one timestep beside those that they list, and the "
        f"sample ends at no noise level: alpha^2 + sigma^2 is off one by {2 * away[8]:.1e} in 8 steps, and by at most "
        f"{2 * max(away[n] for n in found['steps'] if n not in odd):.0e} where 1000 // steps is even."
    )


def _pndm_figure(found: Found) -> Figure:
    return _lines({"end": (found["steps"], [max(a, 1e-16) for a in found["away"]])}, "steps",
                  "off the levels of noise, at the end", log=True)  # fmt: skip


def _generator() -> Found:
    judged, target = find("diffusers:DPMSolverSDEScheduler"), problem("random-8d")
    x = torch.randn((16, 8), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a, b = (judged.run(ExactPredictor(target), x, 5, grid=_MODEL, seed=0).end for _ in range(2))
    return {"apart": float((a - b).abs().max() / a.abs().max())}


def _generator_sentence(found: Found) -> str:
    return (
        "It draws from the global generator, which the generator of a pipeline does not reach: its step takes none. "
        f"Two generations with one generator differ by {found['apart']:.2g} of their size; with noise_sampler_seed "
        "they are the same."
    )


_H = (0.4, 0.2, 0.1, 0.05)


def _third() -> Found:
    """Measure one step from an exact history: the data predictions of the exact flow at three levels."""
    import diffusers

    target = problem("cross-2d")
    made: Found = {"h": _H, "as it is": [], "with D2 twice": []}
    x = exact_start(target, 24, 0)(_level(-1.5))
    for h in _H:
        halves = [-2 * h - 0.3, -h - 0.3, -0.3, h - 0.3]
        levels = [_level(half) for half in halves]
        states = [toy.probability_flow(target, x, _level(-1.5), level) for level in levels]
        data = [target.diffuse(level.alpha, level.sigma).posterior_mean(state)
                for level, state in zip(levels[:3], states, strict=False)]  # fmt: skip
        cls: Any = diffusers.DPMSolverMultistepScheduler
        scheduler = cls(solver_order=3)
        scheduler.sigmas, scheduler._step_index = torch.exp(-torch.tensor(halves, dtype=torch.float64)), 2
        step = scheduler.multistep_dpm_solver_third_order_update(data, sample=states[2])
        # D2, the divided difference that the step weighs, and its weight.
        D2 = ((data[2] - data[1]) - (data[1] - data[0])) / 2
        more = -levels[3].alpha * ((math.expm1(-h) + h) / h**2 - 0.5) * D2
        for name, error in (("as it is", step - states[3]), ("with D2 twice", step + more - states[3])):
            made[name].append(float(error.norm(dim=1).median()))
    return made


def _level(half_log_snr: float) -> Level:
    root = math.hypot(1.0, math.exp(-half_log_snr))
    return Level(1 / root, math.exp(-half_log_snr) / root)


def _third_sentence(found: Found) -> str:
    one, two = (math.log2(found[name][-2] / found[name][-1]) for name in ("as it is", "with D2 twice"))
    return (
        f"One step of solver_order=3 from an exact history has an error of order {one:.2f} in the step, where a method "
        "of third order has 4: the weight of the second difference is half of what the expansion asks for, as in the "
        f"published code. With twice the weight it is {two:.2f}. So the solver is of second order."
    )


def _third_figure(found: Found) -> Figure:
    lines = {name: (found["h"], found[name]) for name in ("as it is", "with D2 twice")}
    return _lines(lines, "step in half-log-SNR", "error of one step", log=True, logx=True)


def _lines(
    lines: dict[str, tuple[Any, Any]], xlabel: str, ylabel: str, *, log: bool = False, logx: bool = False,
    level: float | None = None,
) -> Figure:  # fmt: skip
    figure, (axis,) = panels(1, width=4.3, height=2.6)
    with style():
        for (name, (x, y)), colour in zip(lines.items(), ("literal", "lml", "corrected"), strict=False):
            axis.plot(list(x), y, "o-", color=COLOURS[colour], ms=3.5, lw=1.5, label=name)
        if level is not None:
            axis.axhline(level, color=COLOURS["limit"], lw=0.8)
        if log:
            axis.set_yscale("log")
        if logx:
            axis.set_xscale("log")
            ticks = list(next(iter(lines.values()))[0])
            axis.set_xticks(ticks, [f"{n:g}" for n in ticks])
            axis.minorticks_off()
        axis.set_xlabel(xlabel)
        axis.set_ylabel(ylabel)
        if len(lines) > 1:
            axis.legend(loc="best")
    return figure


#: What is not as it says in the pinned diffusers.
VERDICTS: tuple[Judgement, ...] = (
    Judgement("ddim_linspace", 'DDIMScheduler(timestep_spacing="linspace")', _linspace, _linspace_sentence,
              _linspace_figure),
    Judgement("ipndm_ends", "IPNDMScheduler", _ipndm, _ipndm_sentence, _ipndm_figure),
    Judgement("pndm_half_steps", "PNDMScheduler", _pndm, _pndm_sentence, _pndm_figure),
    Judgement("dpm_solver_sde_generator", "DPMSolverSDEScheduler", _generator, _generator_sentence),
    Judgement("dpm_solver_third_order", "DPMSolverMultistepScheduler(solver_order=3)", _third, _third_sentence,
              _third_figure),
)  # fmt: skip


def measure_verdicts(folder: Path) -> dict[str, Found]:
    """Measure what every judgement says, and keep it beside the rows."""
    from toy.atomic import atomic
    from toy.threads import single_thread

    with single_thread():
        found = {each.name: each.measure() for each in VERDICTS}
    folder.mkdir(parents=True, exist_ok=True)
    with atomic(folder / _FILE) as path:
        path.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")
    return found


def read_verdicts(folder: Path = FOLDER) -> dict[str, Found]:
    """Return what was measured for each judgement, by name.

    Raises:
        ValueError: if it is not in the folder.
    """
    file = folder / _FILE
    if not file.is_file():
        raise ValueError(f"what was measured for the verdicts must be in {folder}, which has no {_FILE}")
    found: dict[str, Found] = json.loads(file.read_text(encoding="utf-8"))
    return found
