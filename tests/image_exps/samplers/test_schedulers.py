"""Samplers by name: the budget is in evaluations of the network, counted, and what cannot be is refused."""

from __future__ import annotations

import diffusers
import pytest
import torch
from diffusers_warnings import NUMPY_2

import lml.schedulers
from image_exps.pipelines.models import model
from image_exps.samplers.schedulers import SAMPLERS, SCHEDULER_BASES, TUNED, Sampler, make_scheduler, paper_options
from lml.tuned import TUNED_EVALUATIONS

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

DDPM = diffusers.DDPMScheduler()
STABLE = diffusers.PNDMScheduler(
    beta_start=0.00085, beta_end=0.012, beta_schedule="scaled_linear", skip_prk_steps=True, steps_offset=1
)
FLOW = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
BUDGETS = (5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 50, 100)


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


@pytest.mark.parametrize("name", SAMPLERS)
def test_the_network_is_asked_exactly_as_often_as_was_said(name):
    for budget in BUDGETS:
        if "heun" in name and budget % 2 == 0:
            with pytest.raises(ValueError, match="odd numbers"):
                Sampler(name, budget)
            continue
        if name == "tuned" and budget not in TUNED_EVALUATIONS:
            with pytest.raises(ValueError, match=f"evaluations must be 5, 6, 8 or 10 with tuned, got {budget}"):
                Sampler(name, budget)
            continue
        sampler = Sampler(name, budget)
        assert evaluations_of(make_scheduler(sampler, DDPM, latent=False), sampler.steps) == budget


def first_timestep(name, own, spacing=None):
    sampler = Sampler(name, 5, {}, spacing)
    scheduler = make_scheduler(sampler, own, latent=False)
    scheduler.set_timesteps(sampler.steps)
    return round(float(scheduler.timesteps[0]))


def test_samplers_begin_where_the_help_of_spacing_says():
    own = diffusers.DDPMScheduler(timestep_spacing="leading")
    names = ("ddim", "pndm", "unipc", "dpm-solver-3", "tuned")
    assert [first_timestep(name, own) for name in names] == [800, 750, 830, 999, 999]
    assert {first_timestep(name, own, s) for name in names[:3] for s in ("linspace", "trailing")} == {999}


@pytest.mark.filterwarnings("ignore:.*algorithm_types.*is deprecated:FutureWarning")
@pytest.mark.parametrize("own", [STABLE, diffusers.PNDMScheduler(steps_offset=1, timestep_spacing="trailing")])
@pytest.mark.parametrize("name", [n for n in SCHEDULER_BASES if n != "dpm-solver-3"])
def test_timesteps_lie_where_from_config_of_diffusers_lays_them(own, name):
    base = SCHEDULER_BASES[name]
    stock = getattr(diffusers, base.scheduler).from_config(own.config, **base.config)
    for sampler in (Sampler(name, 5), Sampler(f"lml-{name}", 5)):
        ours = make_scheduler(sampler, own, latent=True)
        for scheduler in (stock, ours):
            scheduler.set_timesteps(sampler.steps)
        assert torch.equal(ours.timesteps, stock.timesteps)


def test_tuned_has_the_learned_numbers_of_evaluations_and_its_own_class():
    assert tuple(filter(TUNED.spends, range(1001))) == TUNED_EVALUATIONS
    scheduler = make_scheduler(Sampler("tuned", 8), DDPM, latent=False)
    assert type(scheduler) is lml.schedulers.LMLTunedDDIMScheduler
    assert DDPM.config.clip_sample is True
    assert scheduler.config.clip_sample is False


def test_tuned_refuses_a_model_of_another_range_and_says_what_to_use():
    said = "sampler tuned is not for this model, lml-dpm-solver-3m is: .* got -2.68 to 3.53 .*'scaled_linear'"
    with pytest.raises(ValueError, match=said):
        make_scheduler(Sampler("tuned", 8), STABLE, latent=True)


@pytest.mark.parametrize("name", [name for name in SAMPLERS if name != "tuned"])
def test_a_name_with_lml_is_the_class_of_its_base_with_lml(name):
    scheduler = make_scheduler(Sampler(name, 9), STABLE, latent=True)
    base = SCHEDULER_BASES[name.removeprefix("lml-")].scheduler
    expected = lml.schedulers.SCHEDULERS[base] if name.startswith("lml-") else getattr(diffusers, base)
    assert type(scheduler) is expected
    assert scheduler.config.beta_schedule == "scaled_linear"


def test_latents_are_not_clipped_where_the_config_of_the_model_says_nothing_of_it():
    assert make_scheduler(Sampler("ddim", 5), STABLE, latent=True).config.clip_sample is False
    assert make_scheduler(Sampler("ddim", 5), DDPM, latent=False).config.clip_sample is True


def test_options_of_lml_reach_the_scheduler():
    options = {"damping": 0.02, "mixing": 0.01, "damping_mode": "absolute", "rank": 2, "start": 0.1, "stop": 0.9}
    config = make_scheduler(Sampler("lml-unipc", 9, options), STABLE, latent=True).config
    assert {name: config[name] for name in options} == options


@pytest.mark.parametrize(
    ("name", "budget", "options", "spacing", "message"),
    [
        ("dimm", 5, {}, None, "sampler must be one of ddim, pndm"),
        ("pndm", 2, {}, None, "evaluations must be 3 or more with pndm, got 2"),
        ("dpm-solver-3", 2, {}, None, "evaluations must be 3 or more"),
        ("lml-heun", 10, {}, None, "evaluations must be odd numbers with lml-heun, got 10"),
        ("ddim", 0, {}, None, "evaluations must be any number"),
        ("ddim", 5, {"mixing": 0.1}, None, "mixing: only of LML; use lml-ddim"),
        ("lml-ddim", 5, {"kappa": 0.1}, None, "options must be among damping"),
        ("ddim", 5, {}, "even", "spacing must be one of leading"),
        ("dpm-solver-3", 5, {}, "leading", "spacing cannot be chosen with dpm-solver-3"),
        ("tuned", 5, {}, "leading", "spacing cannot be chosen with tuned"),
        ("tuned", 5, {"mixing": 0.1}, None, "mixing: only of LML; use lml-ddim"),
        ("lml-tuned", 5, {}, None, "sampler must be one of ddim, pndm"),
    ],
)
def test_a_setting_that_cannot_be_is_refused_in_words(name, budget, options, spacing, message):
    with pytest.raises(ValueError, match=message):
        Sampler(name, budget, options, spacing)


@pytest.mark.parametrize("name", ["ddim", "lml-unipc", "dpm-solver-3", "tuned"])
def test_a_model_that_predicts_a_flow_refuses_what_is_not_for_flows(name):
    with pytest.raises(ValueError, match="one of euler, heun, lml-euler, lml-heun for a model that predicts a flow"):
        make_scheduler(Sampler(name, 5), FLOW, latent=True)


def test_a_flow_gets_the_flow_class_of_the_name():
    assert (
        type(make_scheduler(Sampler("lml-heun", 5), FLOW, latent=True)).__name__ == "LMLFlowMatchHeunDiscreteScheduler"
    )
    with pytest.raises(ValueError, match="euler or lml-euler: FluxPipeline sets noise levels"):
        make_scheduler(Sampler("heun", 5), FLOW, latent=True, pipeline="FluxPipeline")


def test_what_lml_itself_refuses_is_told_in_its_words():
    with pytest.raises(ValueError, match="variant must be 'algorithm1' for LMLPNDMScheduler"):
        make_scheduler(Sampler("lml-pndm", 5, {"variant": "released"}), DDPM, latent=False)
    with pytest.raises(ValueError, match="damping must be a finite positive number"):
        make_scheduler(Sampler("lml-ddim", 5, {"damping": -1.0}), DDPM, latent=False)


def test_the_paper_s_lambda_is_absolute_and_needs_a_kappa():
    assert paper_options(model("sd15"), 10, 1e-6) == {"damping": 0.001, "damping_mode": "absolute", "mixing": 1e-6}
    with pytest.raises(ValueError, match="gives no lambda for sd15 at 20 evaluations"):
        paper_options(model("sd15"), 20, 1e-6)
    with pytest.raises(ValueError, match="needs mixing"):
        paper_options(model("sd15"), 10, None)
