"""Samplers of pipelines: the budget is in evaluations of the network, counted, and what cannot be is refused."""

from __future__ import annotations

import re

import diffusers
import pytest
import torch
from diffusers_warnings import NUMPY_2

import lml.schedulers
from image_exps.pipelines.models import model
from image_exps.samplers.pipeline_sampler import PIPELINE_BASES, PipelineSampler, paper_options, pipeline_sampler
from image_exps.samplers.schedulers import make_scheduler
from image_exps.samplers.table import ALGORITHMS

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

DDPM = diffusers.DDPMScheduler()
STABLE = diffusers.PNDMScheduler(
    beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
)
FLOW = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
BUDGETS = (5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 50, 100)
BASES = [name for name in PIPELINE_BASES if not ALGORITHMS[name].flow]
FLOWS = [name for name in PIPELINE_BASES if ALGORITHMS[name].flow]


def evaluations_of(scheduler, steps):
    """Run the loop of a pipeline and count how often the network is asked."""
    scheduler.set_timesteps(steps)
    x = torch.ones(1, 1, 2, 2) * scheduler.init_noise_sigma
    count = 0
    for t in scheduler.timesteps:
        noise = 0.1 * scheduler.scale_model_input(x, t)
        count += 1
        x = scheduler.step(noise, t, x).prev_sample
    assert torch.isfinite(x).all()
    return count


@pytest.mark.parametrize("name", [*BASES, *(f"{name}/lml" for name in BASES)])
def test_the_network_is_asked_exactly_as_often_as_was_said(name):
    for budget in BUDGETS:
        if "heun" in name and budget % 2 == 0:
            with pytest.raises(ValueError, match="odd numbers"):
                pipeline_sampler(name, budget)
            continue
        sampler = pipeline_sampler(name, budget)
        assert evaluations_of(make_scheduler(sampler, DDPM, latent=False), sampler.steps) == budget


def first_timestep(name, own, spacing=None):
    sampler = pipeline_sampler(name, 5, {}, spacing)
    scheduler = make_scheduler(sampler, own, latent=False)
    scheduler.set_timesteps(sampler.steps)
    return round(float(scheduler.timesteps[0]))


def test_samplers_begin_where_the_help_of_spacing_says():
    own = diffusers.DDPMScheduler(timestep_spacing="leading")
    names = ("ddim", "pndm", "unipc-2", "dpm-solver-3s")
    assert [first_timestep(name, own) for name in names] == [800, 750, 830, 999]
    assert {first_timestep(name, own, s) for name in names[:3] for s in ("linspace", "trailing")} == {999}


@pytest.mark.filterwarnings("ignore:.*algorithm_types.*is deprecated:FutureWarning")
@pytest.mark.parametrize("own", [STABLE, diffusers.PNDMScheduler(steps_offset=1, timestep_spacing="trailing")])
@pytest.mark.parametrize("name", [name for name in BASES if name != "dpm-solver-3s"])
def test_timesteps_lie_where_from_config_of_diffusers_lays_them(own, name):
    form = PIPELINE_BASES[name]
    stock = getattr(diffusers, form.name).from_config(own.config, **form.options)
    for sampler in (pipeline_sampler(name, 5), pipeline_sampler(f"{name}/lml", 5)):
        ours = make_scheduler(sampler, own, latent=True)
        for scheduler in (stock, ours):
            scheduler.set_timesteps(sampler.steps)
        assert torch.equal(ours.timesteps, stock.timesteps)


@pytest.mark.parametrize("name", ["ddim@tuned/tuned", "ddim@tuned", "ddim/tuned", "euler@tuned/tuned(restored=1.0)"])
def test_the_learned_setting_does_not_run_in_pipelines_and_who_asks_is_given_another_name(name):
    said = f"sampler must be one that pipelines run, such as dpm-solver-3m/lml, got '{name}': the learned setting"
    with pytest.raises(ValueError, match=re.escape(said)):
        pipeline_sampler(name, 5)
    assert pipeline_sampler("dpm-solver-3m/lml", 5).name == "dpm-solver-3m/lml"


@pytest.mark.parametrize("own", [
    lml.schedulers.LMLSolverScheduler.from_config(FLOW.config),
    diffusers.UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"),
])  # fmt: skip
def test_a_flow_is_one_whatever_the_class_of_the_model_s_own_scheduler(own):
    assert type(make_scheduler(pipeline_sampler("euler-flow", 5), own, latent=True)).__name__.startswith("FlowMatch")
    with pytest.raises(ValueError, match="base must be one of euler-flow, heun-flow for a model that predicts a flow"):
        make_scheduler(pipeline_sampler("ddim", 5), own, latent=True)


@pytest.mark.parametrize("name", PIPELINE_BASES)
def test_a_name_with_lml_is_the_class_of_its_base_with_lml(name):
    own = FLOW if name in FLOWS else STABLE
    cls = PIPELINE_BASES[name].name
    plain, with_lml = (make_scheduler(pipeline_sampler(each, 9), own, latent=True) for each in (name, f"{name}/lml"))
    assert type(plain) is getattr(diffusers, cls)
    assert type(with_lml) is lml.schedulers.SCHEDULERS[cls]
    for scheduler in (plain, with_lml):
        assert scheduler.config.get("shift" if name in FLOWS else "beta_schedule") == (
            3.0 if name in FLOWS else "scaled_linear"
        )


@pytest.mark.filterwarnings("ignore:.*algorithm_types.*is deprecated:FutureWarning")
@pytest.mark.parametrize("name", ["dpm-solver-2m", "dpm-solver-3m", "dpm-solver++-2m", "dpm-solver++-3m", "unipc-2",
                                  "unipc-3", "unipc-2-noise", "unipc-3-noise"])  # fmt: skip
def test_a_name_says_order_and_prediction_whatever_the_model_s_own_scheduler_has(name):
    own = diffusers.UniPCMultistepScheduler(solver_order=1, predict_x0="noise" not in name)
    made = make_scheduler(pipeline_sampler(name, 9), own, latent=True)
    assert f"-{made.config.solver_order}" in name
    if name.startswith("unipc"):
        assert made.config.predict_x0 is not name.endswith("-noise")
    else:
        assert made.config.algorithm_type == ("dpmsolver++" if "++" in name else "dpmsolver")


def test_spacing_and_options_in_a_name_are_those_beside_it():
    options = {"damping": 0.02, "rank": 2}
    inside = pipeline_sampler("unipc-2@trailing/lml(damping=0.02, rank=2)", 9)
    assert inside == pipeline_sampler("unipc-2/lml", 9, options, "trailing")
    assert inside == pipeline_sampler("unipc-2@trailing/lml(rank=2)", 9, {"damping": 0.02})
    assert inside == PipelineSampler("unipc-2", 9, "lml", options, "trailing")
    assert inside.name == "unipc-2/lml"


def test_latents_are_not_clipped_where_the_config_of_the_model_says_nothing_of_it():
    assert make_scheduler(pipeline_sampler("ddim", 5), STABLE, latent=True).config.clip_sample is False
    assert make_scheduler(pipeline_sampler("ddim", 5), DDPM, latent=False).config.clip_sample is True


def test_options_of_lml_reach_the_scheduler():
    options = {"damping": 0.02, "mixing": 0.01, "damping_mode": "absolute", "rank": 2, "start": 0.1, "stop": 0.9}
    config = make_scheduler(pipeline_sampler("unipc-2/lml", 9, options), STABLE, latent=True).config
    assert {name: config[name] for name in options} == options
    inside = pipeline_sampler("ddim/lml(norm=extrapolated)", 9)
    assert make_scheduler(inside, STABLE, latent=True).config.norm == "extrapolated"


@pytest.mark.parametrize(
    ("name", "budget", "options", "spacing", "message"),
    [
        ("dimm", 5, {}, None, "base must be one of ddim, pndm"),
        ("ipndm-2", 5, {}, None, "base must be one of ddim, pndm"),
        ("pndm", 2, {}, None, "evaluations must be 3 or more with pndm, got 2"),
        ("dpm-solver-3s", 2, {}, None, "evaluations must be 3 or more"),
        ("heun/lml", 10, {}, None, "evaluations must be odd numbers with heun/lml, got 10"),
        ("ddim", 0, {}, None, "evaluations must be any number"),
        ("ddim", 1001, {}, None, "evaluations must be at most 1000, got 1001"),
        ("ddim", 5, {"mixing": 0.1}, None, "mixing: only of LML; use ddim/lml"),
        ("ddim/lml", 5, {"kappa": 0.1}, None, "option of lml must be one of damping"),
        ("ddim/lml(kappa=1)", 5, {}, None, "option of lml must be one of damping"),
        ("ddim/lml(mixing=1)", 5, {"mixing": 0.1}, None, "mixing must be given once, got one beside that of"),
        ("ddim@trailing", 5, {}, "leading", "spacing must be given once, got one beside that of 'ddim@trailing'"),
        ("ddim/noise", 5, {}, None, "correction must be one of none, lml, got 'noise'"),
        ("ddim", 5, {}, "even", "spacing must be one of leading"),
        ("ddim@karras", 5, {}, None, "spacing must be one of leading"),
        ("dpm-solver-3s", 5, {}, "leading", "spacing cannot be chosen with dpm-solver-3s"),
        ("ddim/lml(", 5, {}, None, "a name must have the form"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_words(name, budget, options, spacing, message):
    with pytest.raises(ValueError, match=message):
        pipeline_sampler(name, budget, options, spacing)


@pytest.mark.parametrize("name", ["ddim", "unipc-2/lml", "dpm-solver-3s", "heun"])
def test_a_model_that_predicts_a_flow_refuses_what_is_not_for_flows(name):
    with pytest.raises(ValueError, match="base must be one of euler-flow, heun-flow for a model that predicts a flow"):
        make_scheduler(pipeline_sampler(name, 5), FLOW, latent=True)


def test_flow_matching_is_for_models_that_predict_a_flow():
    with pytest.raises(ValueError, match=r"base must be one of ddim, .* heun for a model that predicts no flow"):
        make_scheduler(pipeline_sampler("heun-flow/lml", 5), STABLE, latent=True)
    with pytest.raises(ValueError, match="base must be euler-flow: FluxPipeline sets noise levels"):
        make_scheduler(pipeline_sampler("heun-flow", 5), FLOW, latent=True, pipeline="FluxPipeline")
    with pytest.raises(ValueError, match="spacing cannot be chosen for a model that predicts a flow"):
        make_scheduler(pipeline_sampler("euler-flow@leading", 5), FLOW, latent=True)


def test_what_lml_itself_refuses_is_told_in_its_words():
    with pytest.raises(ValueError, match="variant must be 'algorithm1' for LMLPNDMScheduler"):
        make_scheduler(pipeline_sampler("pndm/lml", 5, {"variant": "released"}), DDPM, latent=False)
    with pytest.raises(ValueError, match="damping must be a finite positive number"):
        make_scheduler(pipeline_sampler("ddim/lml", 5, {"damping": -1.0}), DDPM, latent=False)


def test_the_paper_s_lambda_is_absolute_and_needs_a_kappa():
    assert paper_options(model("sd15"), 10, 1e-6) == {"damping": 0.001, "damping_mode": "absolute", "mixing": 1e-6}
    with pytest.raises(ValueError, match="gives no lambda for sd15 at 20 evaluations"):
        paper_options(model("sd15"), 20, 1e-6)
    with pytest.raises(ValueError, match="needs mixing"):
        paper_options(model("sd15"), 10, None)
