"""A scheduler takes no config of models that it was not made for; what else the base would take stays the base's."""

from __future__ import annotations

import diffusers
import pytest
from exact_loop import DIFFUSION, FLOW, NAMES, NUMPY_2, SIGMAS

from lml.schedulers import SCHEDULERS, LMLTunedDDIMScheduler

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

MATCHING = ["FlowMatchEulerDiscreteScheduler", "FlowMatchHeunDiscreteScheduler", "FlowMatchLCMScheduler"]
OF_FLOW = "config must be of a diffusion model for LML.*, got one of flow matching"
OF_DIFFUSION = "config must be of a flow-matching model for LML.*, got one of diffusion"


@pytest.mark.parametrize("source", MATCHING)
@pytest.mark.parametrize("name", DIFFUSION)
def test_a_config_of_flow_matching_is_refused_by_schedulers_of_diffusion(name, source, tmp_path):
    flow = getattr(diffusers, source)()
    with pytest.raises(ValueError, match=OF_FLOW):
        SCHEDULERS[name].from_config(flow.config)
    flow.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=OF_FLOW):
        SCHEDULERS[name].from_pretrained(tmp_path)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("name", FLOW)
def test_a_config_of_diffusion_is_refused_by_schedulers_of_flow_matching(name, kind):
    for source in ("DDIMScheduler", "DPMSolverMultistepScheduler", "EulerDiscreteScheduler"):
        with pytest.raises(ValueError, match=OF_DIFFUSION):
            SCHEDULERS[name].from_config(getattr(diffusers, source)(prediction_type=kind).config)


@pytest.mark.parametrize("name", SIGMAS)
def test_what_pipelines_of_flow_matching_do_with_diffusion_solvers_is_taken(name):
    # Sana, Wan: a solver with flow sigmas, made of a config of flow matching, and back.
    flow = diffusers.FlowMatchEulerDiscreteScheduler(shift=3.0)
    options = {"use_flow_sigmas": True, "prediction_type": "flow_prediction", "flow_shift": 3.0}
    ours = SCHEDULERS[name].from_config(flow.config, **options)
    assert (ours.config.use_flow_sigmas, ours.config.prediction_type) == (True, "flow_prediction")
    assert SCHEDULERS[name].from_config(ours.config).config.flow_shift == 3.0
    for each in (ours, SCHEDULERS[name]._base(**options)):
        assert SCHEDULERS["FlowMatchEulerDiscreteScheduler"].from_config(each.config, shift=5.0).config.shift == 5.0
        assert SCHEDULERS["FlowMatchEulerDiscreteScheduler"].from_config(each.config) is not None


@pytest.mark.parametrize("name", NAMES)
def test_a_config_that_says_nothing_of_its_family_is_the_base_s_own_affair(name):
    for config in ({}, {"num_train_timesteps": 500}):
        assert SCHEDULERS[name].from_config(config).config.num_train_timesteps == config.get(
            "num_train_timesteps", 1000
        )


@pytest.mark.parametrize("name", NAMES)
def test_set_timesteps_names_an_argument_that_it_does_not_have(name):
    with pytest.raises(ValueError, match=f"set_timesteps of LML{name} takes num_inference_steps, .*'nonsense'"):
        SCHEDULERS[name]().set_timesteps(5, nonsense=1)


# Betas that are linear, of 1000 steps: what the learned setting is for.
LINEAR = [
    "DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler", "DEISMultistepScheduler",
    "UniPCMultistepScheduler", "EulerDiscreteScheduler", "LMSDiscreteScheduler",
]  # fmt: skip
NO_BETAS = [
    *MATCHING, "CMStochasticIterativeScheduler", "DDPMWuerstchenScheduler", "EDMEulerScheduler",
    "EDMDPMSolverMultistepScheduler", "IPNDMScheduler", "KarrasVeScheduler", "ScoreSdeVeScheduler", "UnCLIPScheduler",
]  # fmt: skip
# Their default betas are those of latent diffusion, and a default is not handed on by diffusers.
OTHER_BETAS = ["LCMScheduler", "TCDScheduler", "HeunDiscreteScheduler"]


@pytest.mark.parametrize("source", LINEAR)
def test_the_learned_scheduler_takes_linear_betas(source):
    config = getattr(diffusers, source)(beta_start=1e-4, beta_end=0.02, beta_schedule="linear").config
    assert LMLTunedDDIMScheduler.from_config(config).config.beta_end == 0.02


@pytest.mark.parametrize("source", NO_BETAS)
def test_the_learned_scheduler_refuses_a_config_without_betas(source, tmp_path):
    said = "config must state the betas of a diffusion model .* for LMLTunedDDIMScheduler, got "
    made = getattr(diffusers, source)()
    with pytest.raises(ValueError, match=said):
        LMLTunedDDIMScheduler.from_config(made.config, clip_sample=False)
    made.save_pretrained(tmp_path)
    with pytest.raises(ValueError, match=said):
        LMLTunedDDIMScheduler.from_pretrained(tmp_path)


@pytest.mark.parametrize("source", OTHER_BETAS)
def test_the_learned_scheduler_refuses_betas_that_are_a_default_of_another_class(source):
    with pytest.raises(ValueError, match=r"log\(alpha/sigma\) must run from"):
        LMLTunedDDIMScheduler.from_config(getattr(diffusers, source)().config)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: diffusers.CogVideoXDDIMScheduler(), "snr_shift_scale must be 1 for LMLTunedDDIMScheduler, got 3.0"),
        (
            lambda: diffusers.UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"),
            "use_flow_sigmas must be False for LMLTunedDDIMScheduler, got True",
        ),
        (
            lambda: diffusers.EulerDiscreteScheduler(timestep_type="continuous", prediction_type="v_prediction"),
            "timestep_type must be 'discrete' for LMLTunedDDIMScheduler, got 'continuous'",
        ),
        (
            lambda: diffusers.DPMSolverMultistepScheduler(prediction_type="flow_prediction"),
            "prediction_type must be one of epsilon, sample, v_prediction, got 'flow_prediction'",
        ),
    ],
)
def test_the_learned_scheduler_refuses_levels_that_are_not_those_of_the_betas(made, said):
    with pytest.raises(ValueError, match=said):
        LMLTunedDDIMScheduler.from_config(made().config)


def test_the_learned_scheduler_refuses_a_prediction_type_at_construction():
    with pytest.raises(
        ValueError, match="prediction_type must be one of epsilon, sample, v_prediction, got 'velocity'"
    ):
        LMLTunedDDIMScheduler(prediction_type="velocity")


@pytest.mark.parametrize(
    "arguments", [{"sigmas": [1.0, 0.5]}, {"timesteps": [900, 500]}, {"num_inference_steps": 5, "mu": 1.0}]
)
def test_the_learned_scheduler_names_arguments_of_set_timesteps_that_it_does_not_have(arguments):
    wrong = next(name for name in arguments if name != "num_inference_steps")
    with pytest.raises(
        ValueError, match=f"set_timesteps of LMLTunedDDIMScheduler takes num_inference_steps, device: .*'{wrong}'"
    ):
        LMLTunedDDIMScheduler().set_timesteps(**{"num_inference_steps": 5, **arguments})


def test_the_learned_scheduler_asks_for_a_number_of_steps():
    with pytest.raises(ValueError, match="set_timesteps of LMLTunedDDIMScheduler takes num_inference_steps, device"):
        LMLTunedDDIMScheduler().set_timesteps()
