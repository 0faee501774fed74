"""A scheduler takes no config of models that it was not made for; what else the base would take stays the base's."""

from __future__ import annotations

import diffusers
import pytest
from exact_loop import DIFFUSION, FLOW, NAMES, NUMPY_2, SIGMAS

from lml.schedulers import SCHEDULERS
from lml.schedulers.families import check_betas

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


BETAS = [
    "DDIMScheduler", "DDPMScheduler", "PNDMScheduler", "DPMSolverMultistepScheduler", "DEISMultistepScheduler",
    "UniPCMultistepScheduler", "EulerDiscreteScheduler", "LMSDiscreteScheduler", "HeunDiscreteScheduler",
]  # fmt: skip
NO_BETAS = [
    *MATCHING, "CMStochasticIterativeScheduler", "DDPMWuerstchenScheduler", "EDMEulerScheduler",
    "EDMDPMSolverMultistepScheduler", "IPNDMScheduler", "KarrasVeScheduler", "ScoreSdeVeScheduler", "UnCLIPScheduler",
]  # fmt: skip


@pytest.mark.parametrize("source", BETAS)
def test_a_config_that_states_its_betas_has_them(source):
    check_betas("this", getattr(diffusers, source)().config)


@pytest.mark.parametrize("source", NO_BETAS)
def test_a_config_without_betas_is_refused_where_they_are_needed(source):
    with pytest.raises(ValueError, match=r"config must state the betas of a diffusion model .* for this, got "):
        check_betas("this", getattr(diffusers, source)().config)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (lambda: diffusers.CogVideoXDDIMScheduler(), "snr_shift_scale must be 1 for this, got 3.0"),
        (
            lambda: diffusers.UniPCMultistepScheduler(use_flow_sigmas=True, prediction_type="flow_prediction"),
            "use_flow_sigmas must be False for this, got True",
        ),
        (
            lambda: diffusers.EulerDiscreteScheduler(timestep_type="continuous", prediction_type="v_prediction"),
            "timestep_type must be 'discrete' for this, got 'continuous'",
        ),
    ],
)
def test_a_config_of_levels_that_are_not_those_of_its_betas_is_refused(made, said):
    with pytest.raises(ValueError, match=said):
        check_betas("this", made().config)
