"""The lines that put an arm into a pipeline: with the schedulers of diffusers and LML where these have the arm.

At equal steps of time, and at any timesteps that a pipeline takes, multistep DPM-Solver++ of order 1 is DDIM and of
order 2 is DPM-Solver++ 2M, on the levels that were measured, rounded to whole timesteps; UniPC is itself at equal steps
of time. What has no scheduler is written with `lml.samplers` and the network of the folder.
"""

from __future__ import annotations

import inspect

from image_exps.compare.measure import OWN
from image_exps.networks.model import NetworkModel
from image_exps.pipelines.network import Network
from image_exps.pipelines.prompted import PromptedModel
from image_exps.samplers.arms import Arm, arm
from image_exps.samplers.table import algorithm
from lml.samplers import SAMPLERS

__all__ = ["lines", "solver_lines"]

# The arms that these schedulers are, with their order.
_DPM, _UNIPC = "DPMSolverMultistepScheduler", "UniPCMultistepScheduler"
_SCHEDULERS = {
    "ddim": (_DPM, 1),
    "dpm-solver++-2m": (_DPM, 2),
    "dpm-solver++-3m": (_DPM, 3),
    "unipc-2": (_UNIPC, 2),
    "unipc-3": (_UNIPC, 3),
}

# What a pipeline's own configuration could change: levels, order of the last steps, clipping.
_AS_MEASURED = {
    **dict.fromkeys(("use_karras_sigmas", "use_exponential_sigmas", "use_beta_sigmas", "use_lu_lambdas"), False),
    "euler_at_final": False,
    "lower_order_final": True,
    "thresholding": False,
}
_OF_ITS_OWN: dict[str, dict[str, object]] = {
    _DPM: {"algorithm_type": "dpmsolver++", "solver_type": "midpoint"},
    _UNIPC: {"predict_x0": True, "solver_type": "bh2"},
}


def lines(made: Network, name: str, evaluations: int) -> list[str]:
    """Return the lines of Python that draw with an arm in so many evaluations.

    There are none for the pipeline's own scheduler, controls, and samplers whose steps are not evaluations. The lines
    expect the pipeline as ``pipe``, and its prompt as ``prompt`` where it takes one.
    """
    if name == OWN:
        return []
    chosen = arm(name)
    plain = chosen.correction in ("none", "lml")
    if plain and made.renderer is not None and chosen.base == "euler-flow" and chosen.spacing == "time":
        return _flow(chosen, evaluations)
    if plain and made.renderer is not None and chosen.base in _SCHEDULERS and not made.flow:
        prompted = isinstance(made.noise_model, PromptedModel)
        called = inspect.signature(made.renderer.pipe.__call__).parameters
        # DDPMPipeline hands its generator to every scheduler, which UniPC does not take.
        takes = prompted or _SCHEDULERS[chosen.base][0] == _DPM
        anywhere = prompted and "timesteps" in called and _SCHEDULERS[chosen.base][0] == _DPM
        if (chosen.spacing == "time" and takes) or anywhere:
            return _multistep(made, chosen, evaluations, prompted)
    runs = chosen.base in SAMPLERS and SAMPLERS[chosen.base].evaluations(evaluations) == evaluations
    return _pure(made, chosen, evaluations) if plain and runs else []


def solver_lines(made: Network, path: str, evaluations: int) -> list[str]:
    """Return the lines of Python that draw with a calibrated solver, saved to a file.

    The call has the guidance and the size that the network has. There is no pipeline to call for galaxies, and none of
    diffusers that takes a class: their lines use the network itself.
    """
    renderer, model = made.renderer, made.noise_model
    if renderer is None or (isinstance(model, NetworkModel) and model.classes):
        given = [repr(made.name)]
        if isinstance(model, NetworkModel) and model.labels is not None:
            given += [f"prompts=[{model.labels!r}]", f"guidance={model.guidance!r}"]
        return [
            "from image_exps import network",
            "from lml.solver import load",
            f"made, solver = network({', '.join(given)}), load({path!r})",
            "images = made.pictures(solver.sample(made.noise_model, made.start(seed=0, count=1)))",
        ]
    call: dict[str, object] = {}
    if isinstance(model, PromptedModel):
        call = {key: value for key, value in renderer.arguments([]).items() if key != "prompt"}
        if renderer.negative_prompt is not None:
            call["negative_prompt"] = renderer.negative_prompt
    call["num_inference_steps"] = evaluations
    arguments = (["prompt"] if renderer.prompted else []) + [f"{key}={value!r}" for key, value in call.items()]
    return [
        "from lml.schedulers import LMLSolverScheduler",
        "from lml.solver import load",
        f"pipe.scheduler = LMLSolverScheduler.from_config(pipe.scheduler.config, solver=load({path!r}))",
        f"images = pipe({', '.join(arguments)}).images",
    ]


def _lml(chosen: Arm) -> tuple[str, list[str]]:
    """Return the prefix of the scheduler's class, and the options of LML."""
    if chosen.correction == "none":
        return "", []
    given = dict(chosen.parameters)
    given.setdefault("mixing", algorithm(chosen.base).mixing)
    return "LML", [f"{key}={value!r}" for key, value in given.items()]


def _multistep(made: Network, chosen: Arm, n: int, prompted: bool) -> list[str]:
    assert made.renderer is not None
    (cls, order), (prefix, options) = _SCHEDULERS[chosen.base], _lml(chosen)
    config = made.renderer.pipe.scheduler.config
    settings: dict[str, object] = {"solver_order": order, "final_sigmas_type": "sigma_min"}
    wanted = {**_AS_MEASURED, **_OF_ITS_OWN[cls]}
    settings |= {key: value for key, value in wanted.items() if config.get(key, value) != value}
    call = [f"num_inference_steps={n}"]
    if chosen.spacing == "time":
        settings["timestep_spacing"] = "linspace"
    else:
        levels = made.levels(n, chosen.spacing)[:-1]
        model = made.noise_model
        assert isinstance(model, PromptedModel)
        call = [f"timesteps={[round(model.timestep(level)) for level in levels]}"]
    name = f"{prefix}{cls}"
    return _scheduled(name, [f"{key}={value!r}" for key, value in settings.items()] + options, call, prompted)


def _flow(chosen: Arm, n: int) -> list[str]:
    prefix, options = _lml(chosen)
    call = [f"sigmas=[1 - i / {n} for i in range({n})]"]
    return _scheduled(f"{prefix}FlowMatchEulerDiscreteScheduler", options, call, True)


def _scheduled(name: str, options: list[str], call: list[str], prompted: bool) -> list[str]:
    arguments = ", ".join(["pipe.scheduler.config", *options])
    return [
        f"from {'lml.schedulers' if name.startswith('LML') else 'diffusers'} import {name}",
        f"pipe.scheduler = {name}.from_config({arguments})",
        f"images = pipe({', '.join((['prompt'] if prompted else []) + call)}).images",
    ]


def _pure(made: Network, chosen: Arm, n: int) -> list[str]:
    """Return the lines with the pure samplers: for a base without a scheduler, levels that none takes, or galaxies."""
    prompted = isinstance(made.noise_model, PromptedModel)
    correction, imported = "", "sample, sampler"
    if chosen.correction == "lml":
        parameters = {"mixing": algorithm(chosen.base).mixing, **dict(chosen.parameters)}
        correction = f", LML({', '.join(f'{key}={value!r}' for key, value in parameters.items())})"
        imported = "LML, sample, sampler"
    opened = f"network({made.name!r}{', prompts=[prompt]' if prompted else ''})"
    levels = f"made.levels({n}, {chosen.spacing!r})"
    return [
        "from image_exps import network",
        f"from lml import {imported}",
        f"made = {opened}",
        f"ends = sample(sampler({chosen.base!r}), made.noise_model, made.start(seed=0, count=1), {levels}{correction})",
        "images = made.pictures(ends)",
    ]
