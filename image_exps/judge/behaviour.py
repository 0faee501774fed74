"""Is it well-behaved? What a sampler really spends, where it ends, and whether a result depends on anything else."""

from __future__ import annotations

import inspect
import math
import tempfile
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from image_exps.judge.judged import CannotRunError, Grid, Judged
from image_exps.judge.levels import own_levels, timestep_gap
from image_exps.judge.predictors import Budget, ExactPredictor, Limited
from image_exps.judge.quiet import quiet
from image_exps.judge.right import exact_start, problem
from lml.samplers import Level

__all__ = ["Check", "judge_behaviour", "spacing_name"]

_MODEL = Grid("model")
_STEPS, _SAMPLES, _TARGET = 10, 6, "random-8d"
# Roundings of a run of ten steps, of another order of sums.
_ROUNDING = {torch.float64: 1e-11, torch.float32: 1e-4}


class Check(NamedTuple):
    """One thing that was looked at.

    Attributes:
        name: of it.
        ok: whether it is as a user expects; ``None`` for a fact that is neither, or what could not be found out.
        text: what was found.
    """

    name: str
    ok: bool | None
    text: str


def judge_behaviour(
    judged: Judged, *, draws: bool, progress: Callable[[float], None] = lambda share: None
) -> tuple[Check, ...]:
    """Return what was looked at; what cannot run is a check that says so.

    Args:
        judged: what is judged.
        draws: whether it draws.
        progress: told the share that is done.
    """
    checks: tuple[tuple[str, Callable[[Judged, bool], Check | None]], ...] = (
        ("evaluations", _evaluations),
        ("levels", _levels),
        ("end", _end),
        ("timesteps", _timesteps),
        ("same result twice", _twice),
        ("any batch", _batch),
        ("after another generation", _reused),
        ("two threads", _threads),
        ("explicit generators", _generators),
        ("configuration", _configuration),
        ("no waiting for the device", _waiting),
        ("gradients", _gradients),
    )
    found = []
    for i, (name, check) in enumerate(checks):
        progress(i / len(checks))
        try:
            made = check(judged, draws)
        except CannotRunError as error:
            made = Check(name, None, f"not found out: {error}")
        if made is not None:
            found.append(made)
    return tuple(found)


def _run(
    judged: Judged, *, steps: int = _STEPS, rows: slice = slice(None), seed: int = 0, reused: bool = False,
    dtype: torch.dtype = torch.float64,
) -> Tensor:  # fmt: skip
    target = problem(_TARGET)
    whole = exact_start(target, _SAMPLES, 0)
    count = len(range(_SAMPLES)[rows])
    predictor = Limited(ExactPredictor(target), torch.Size((count, target.dim)), Budget(40 * steps + 400))
    settings: dict[str, Any] = {"grid": _MODEL, "seed": seed, "dtype": dtype, "keep": reused}
    return judged.run(predictor, lambda level: whole(level)[rows], steps, **settings).end


def _apart(a: Tensor, b: Tensor) -> float:
    return float((a - b).abs().max() / a.abs().max().clamp_min(1e-300))


def _evaluations(judged: Judged, draws: bool) -> Check:
    spent = {n: len(own_levels(judged, n, _MODEL).asked) for n in (5, 10, 20)}
    text = ", ".join(f"{k} in {n} steps" for n, k in spent.items())
    if judged.evaluations is not None:
        said = {n: judged.evaluations(n) for n in spent}
        # Its last step costs less where it goes to sigma = 0.
        ok = all(k <= said[n] for n, k in spent.items())
        return Check("evaluations", ok, f"{text}; it says {', '.join(map(str, said.values()))}")
    return Check("evaluations", None, text)


def spacing_name(levels: tuple[Level, ...]) -> str:
    """Return how the levels of a run are spaced, if it is one of the ways that have a name."""
    ratios = np.array([level.sigma / level.alpha for level in levels if level.alpha > 0 and level.sigma > 0])
    ratios = ratios[np.r_[True, np.diff(ratios) < -1e-9 * ratios[:-1]]]
    if len(ratios) < 4:
        return "too few to say"
    known = {"Karras (rho = 7)": ratios ** (1 / 7), "equal in log-SNR": np.log(ratios)}
    times = np.array([level.time for level in levels])
    if np.isfinite(times).all():
        known["equal in timesteps"] = times[np.r_[True, np.diff(times) != 0]]
    known["equal in sigma"] = ratios
    for name, values in known.items():
        steps = np.diff(values)
        if len(steps) > 1 and np.ptp(steps) <= 0.03 * abs(steps.mean()):
            return name
    return "none of the usual spacings"


def _levels(judged: Judged, draws: bool) -> Check:
    asked = own_levels(judged, _STEPS, _MODEL).asked
    first, last = asked[0], asked[-1]
    start = "no signal" if first.alpha == 0 else f"sigma/alpha {first.sigma / first.alpha:.4g}"
    text = f"{spacing_name(asked)}, from {start} to {last.sigma / last.alpha:.4g}"
    return Check("levels", None, f"{text} in {_STEPS} steps, left to itself")


def _end(judged: Judged, draws: bool) -> Check:
    levels = own_levels(judged, _STEPS, _MODEL)
    a, b = levels.end
    if draws:
        away = abs(a - 1) if levels.jump else math.nan
        return Check(
            "end", None, "ends without noise" if away < 1e-6 else f"ends at about {a:.4g} of the data, with noise"
        )
    if levels.jump and abs(a - 1) < 1e-6:
        return Check("end", True, "ends at sigma = 0")
    ok = (a > 0 and b > 0 and abs(math.hypot(a, b) - 1) < 1e-3) or abs(a - 1) < 1e-6
    what = f"ends at x = {a:.6g} y + {b:.4g} z of data y and noise z"
    return Check("end", ok, what + ("" if ok else ": no level of noise"))


def _timesteps(judged: Judged, draws: bool) -> Check | None:
    gap = timestep_gap(judged, _STEPS, _MODEL)
    if gap is None:
        return None
    if gap < 1e-3:
        return Check("timesteps", True, "its network is asked at the timestep of the sample's noise level")
    text = f"its network is asked at a timestep that is up to {gap:.2g} steps off the sample's noise level"
    return Check("timesteps", gap < 0.1, text + (": it is rounded" if gap < 0.1 else ""))


def _twice(judged: Judged, draws: bool) -> Check:
    same = torch.equal(_run(judged), _run(judged))
    return Check("same result twice", same, "bit for bit" if same else "two runs from one seed differ")


def _batch(judged: Judged, draws: bool) -> Check:
    if draws:
        return Check("any batch", None, "it draws for a whole batch: a sample depends on those beside it")
    whole = _run(judged)
    alone = torch.cat([_run(judged, rows=slice(i, i + 1)) for i in range(3)])
    apart = _apart(whole[:3], alone)
    ok = apart <= _ROUNDING[whole.dtype if whole.dtype in _ROUNDING else torch.float32]
    text = "a sample is the same alone and in a batch" if ok else f"alone a sample differs by {apart:.2g} of its size"
    return Check("any batch", ok, text)


def _reused(judged: Judged, draws: bool) -> Check:
    fresh = _run(judged)
    _run(judged, steps=7, seed=3, reused=True)
    again = _run(judged, reused=True)
    same = torch.equal(fresh, again)
    text = (
        "nothing is left of the one before" if same else f"it differs by {_apart(fresh, again):.2g} after another run"
    )
    return Check("after another generation", same, text)


def _threads(judged: Judged, draws: bool) -> Check:
    if draws and judged.kind != "diffusers scheduler":
        return Check("two threads", None, "it draws from the global generator, which threads share")
    # In float32: the dtype of numbers without one belongs to the process.
    alone = [_run(judged, steps=n, dtype=torch.float32) for n in (8, 13)]
    with ThreadPoolExecutor(2) as pool:
        for _ in range(3):
            beside = list(pool.map(lambda n: _run(judged, steps=n, dtype=torch.float32), (8, 13)))
            if not all(torch.equal(a, b) for a, b in zip(alone, beside, strict=True)):
                return Check("two threads", False, "two generations at a time change each other")
    return Check("two threads", True, "two generations at a time are as alone")


def _generators(judged: Judged, draws: bool) -> Check | None:
    if not draws:
        return Check("explicit generators", True, "it draws nothing")
    if judged.kind != "diffusers scheduler":
        return Check("explicit generators", False, "it draws from the global generator of PyTorch")
    state = torch.random.get_rng_state()
    _run(judged, seed=0)
    touched = not torch.equal(state, torch.random.get_rng_state())
    torch.random.set_rng_state(state)
    if touched:
        return Check("explicit generators", False, "it draws from the global generator beside the one that it is given")
    return Check("explicit generators", True, "it draws from the generator that it is given")


def _configuration(judged: Judged, draws: bool) -> Check | None:
    scheduler: Any = judged.origin
    cls = type(scheduler)
    if judged.kind != "diffusers scheduler" or not hasattr(cls, "from_config") or judged.rebuild is None:
        return None
    try:
        with quiet(), tempfile.TemporaryDirectory() as folder:
            scheduler.save_pretrained(folder)
            read = cls.from_pretrained(folder)
            copied = cls.from_config(scheduler.config)
    except Exception as error:
        return Check("configuration", False, f"it cannot be saved and loaded: {type(error).__name__}: {error}"[:160])
    before = {k: v for k, v in dict(scheduler.config).items() if not k.startswith("_")}
    for each, how in ((read, "saved and loaded"), (copied, "made from its config")):
        after = {k: v for k, v in dict(each.config).items() if not k.startswith("_")}
        lost = sorted(k for k in before if repr(before[k]) != repr(after.get(k)))
        if lost:
            return Check("configuration", False, f"{how} it has other values of {', '.join(lost)}")
    return Check("configuration", True, "saved, loaded and copied it is the same")


def _waiting(judged: Judged, draws: bool) -> Check | None:
    """Run the steps on tensors without values: whoever looks at one fails."""
    scheduler: Any = judged.origin
    if judged.kind != "diffusers scheduler":
        return None
    import copy

    scheduler = copy.deepcopy(scheduler)
    x = torch.zeros((2, 8), device="meta")
    parameters = inspect.signature(scheduler.step).parameters
    if "timestep_back" in parameters:
        return None
    try:
        with quiet(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            scheduler.set_timesteps(_STEPS)
            for t in scheduler.timesteps:
                if hasattr(scheduler, "scale_model_input"):
                    scheduler.scale_model_input(x, t)
                made = scheduler.step(torch.zeros_like(x), t, x)
                x = made.prev_sample if hasattr(made, "prev_sample") else made[0]
    except (NotImplementedError, RuntimeError) as error:
        line = str(error).strip().splitlines()[0][:90]
        return Check(
            "no waiting for the device", None, f"it looks at its samples' values, or cannot run without: {line}"
        )
    except Exception as error:
        return Check("no waiting for the device", None, f"not found out: {type(error).__name__}")
    return Check("no waiting for the device", True, "it never looks at a sample's values")


def _gradients(judged: Judged, draws: bool) -> Check:
    leaf = torch.zeros((), dtype=torch.float64, requires_grad=True)
    target = problem(_TARGET)
    whole = exact_start(target, 2, 0)
    exact = ExactPredictor(target)

    class Leafy:
        """An exact network with a parameter."""

        def noise(self, x: Tensor, level: Level) -> Tensor:
            return exact.noise(x.detach(), level) + leaf.to(x.dtype)

        def data(self, x: Tensor, level: Level) -> Tensor:
            return exact.data(x.detach(), level) + leaf.to(x.dtype)

    with torch.enable_grad():
        end = judged.run(Leafy(), whole, 4, grid=_MODEL).end
    text = "its steps can be differentiated; a pipeline must switch gradients off" if end.requires_grad else (
        "no graph is kept"
    )  # fmt: skip
    return Check("gradients", None, text)


def failures(checks: tuple[Check, ...]) -> Iterator[Check]:
    """Yield what is not as a user expects."""
    return (check for check in checks if check.ok is False)
