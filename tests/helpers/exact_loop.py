"""What the scheduler tests share: every class in a setting that suits it, and a loop around an exact denoiser."""

from __future__ import annotations

from functools import cache
from typing import Any

import torch
from diffusers_warnings import NUMPY_2 as NUMPY_2
from torch import Tensor

import lml.schedulers as schedulers
from toy.data_mixture import DataMixture
from toy.denoiser import ExactDenoiser

#: eta0 = mixing/damping = 0.2: strong enough that every fault shows.
LML_ON = {"damping": 0.5, "mixing": 0.1, "damping_mode": "relative"}
BATCH, SHAPE = 3, (3, 4, 4)

NAMES = list(schedulers.SCHEDULERS)
FLOW = [name for name in NAMES if name.startswith("Flow")]
DIFFUSION = [name for name in NAMES if name not in FLOW]
# Keep x = x0 + s eps; the network sees x/sqrt(1 + s^2).
EXPLODING = [name for name in DIFFUSION if any(k in name for k in ("Euler", "Heun", "LMS"))]
# Compute alpha and sigma from their sigmas.
SIGMAS = [name for name in DIFFUSION if any(k in name for k in ("DPM", "DEIS", "UniPC"))]
# Draw noise at every step.
STOCHASTIC = ["EulerAncestralDiscreteScheduler"]
#: The few-step solver: it has no base and none of the options of LML, and is not in SCHEDULERS.
SOLVER = "SolverScheduler"
# What the base knows; PNDM and ancestral Euler know no "sample".
PREDICTIONS = [
    (name, kind)
    for name in DIFFUSION
    for kind in ("epsilon", "v_prediction", "sample")
    if not (kind == "sample" and name in ("PNDMScheduler", "EulerAncestralDiscreteScheduler"))
]


def suited(name: str) -> dict[str, Any]:
    """The options of a base for the denoiser below, with which it logs nothing."""
    if name in FLOW:
        return {}
    options: dict[str, Any] = {"beta_start": 1e-4, "beta_end": 0.02, "beta_schedule": "linear"}
    if name == "DDIMScheduler":
        options["clip_sample"] = False
    if name == "DPMSolverSinglestepScheduler":
        options["lower_order_final"] = True
    return options


def make(name: str, **options: Any) -> Any:
    """The LML scheduler over a base, LML on by default; or the few-step solver, with weights of all past noises."""
    if name == SOLVER:
        return schedulers.LMLSolverScheduler(**{**suited(name), "solver": "ipndm-4@log-snr", **options})
    return schedulers.SCHEDULERS[name](**{**suited(name), **LML_ON, **options})


def make_off(name: str, **options: Any) -> Any:
    """The same scheduler, which corrects nothing."""
    return make(name, **{"mixing": 0.0, **options})


def make_base(name: str, **options: Any) -> Any:
    return schedulers.SCHEDULERS[name]._base(**{**suited(name), **options})


def draws(name: str) -> dict[str, torch.Generator]:
    """What ``step`` is given beside the sample: the same noise each time, where the scheduler draws any."""
    return {"generator": torch.Generator().manual_seed(1)} if name in STOCHASTIC else {}


@cache
def target() -> DataMixture:
    """Twenty pictures of 48 numbers: a curved flow."""
    g = torch.Generator().manual_seed(7)
    return DataMixture(torch.randn(20, *SHAPE, generator=g, dtype=torch.float64), 0.3)


@cache
def denoiser(name: str, kind: str = "epsilon") -> ExactDenoiser:
    if name in FLOW:
        return ExactDenoiser(target=target(), schedule="flow-matching", prediction_type="flow_prediction")
    return ExactDenoiser(target=target(), prediction_type=kind)


def start(scheduler: Any, *, batch: int = BATCH, seed: int = 0, dtype: torch.dtype = torch.float32) -> Tensor:
    x = torch.randn(batch, *SHAPE, generator=torch.Generator().manual_seed(seed))
    return (x * float(getattr(scheduler, "init_noise_sigma", 1.0))).to(dtype)


def run(scheduler: Any, model: Any, x: Tensor, steps: int = 7, *, begin: int = 0, **step_options: Any) -> list[Tensor]:
    """Every sample of a generation, in the way of a pipeline: the network sees the scaled input."""
    scheduler.set_timesteps(steps)
    if begin:
        scheduler.set_begin_index(begin)
    path = []
    for t in scheduler.timesteps[begin:]:
        seen = scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else x
        x = scheduler.step(model(seen, t).sample, t, x, **step_options).prev_sample
        path.append(x)
    return path


def generate(name: str, *, kind: str = "epsilon", steps: int = 7, **options: Any) -> Tensor:
    """The result of one generation of an LML scheduler with the exact denoiser."""
    if name in DIFFUSION:
        options = {"prediction_type": kind, **options}
    scheduler = make(name, **options)
    return run(scheduler, denoiser(name, kind), start(scheduler), steps, **draws(name))[-1]
