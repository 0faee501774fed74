import json
import re

import pytest
import torch

from image_exps.judge.judged import SMOOTH, CannotRunError, Grid
from image_exps.judge.levels import end_level, level_symptoms, own_levels, timestep_gap
from image_exps.judge.predictors import Budget, Limited, PointPredictor
from image_exps.judge.what import find

DIFFUSERS = [
    "CogVideoXDDIMScheduler",
    "DDIMParallelScheduler",
    "DDIMScheduler",
    "DEISMultistepScheduler",
    "DPMSolverMultistepScheduler",
    "DPMSolverSinglestepScheduler",
    "EDMDPMSolverMultistepScheduler",
    "EDMEulerScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "FlowMatchHeunDiscreteScheduler",
    "HeunDiscreteScheduler",
    "IPNDMScheduler",
    "KDPM2DiscreteScheduler",
    "LMSDiscreteScheduler",
    "PNDMScheduler",
    "UniPCMultistepScheduler",
]


def budget():
    return Budget(10_000)


@pytest.mark.parametrize("name", DIFFUSERS)
def test_a_deterministic_scheduler_of_diffusers_is_where_it_asks_its_network_in_float64(name):
    levels = own_levels(find(f"diffusers:{name}"), 12)
    assert levels.exact
    # A dozen steps of a dozen roundings each, in units of a step.
    assert levels.gaps.max() < 1e-11
    assert level_symptoms(levels) == []
    end_level(levels)


@pytest.mark.parametrize("kind", ["epsilon", "sample", "v_prediction"])
def test_every_prediction_type_is_the_same_trajectory(kind):
    made = own_levels(find("diffusers:DDIMScheduler", prediction_type=kind), 12)
    plain = own_levels(find("diffusers:DDIMScheduler"), 12)
    assert made.asked == plain.asked
    assert abs(made.own - plain.own).max() < 1e-13


def test_ddim_with_linspace_steps_to_other_levels_than_it_asks_at():
    # It steps by 1000 // N timesteps, and asks at N equal steps of 999/(N - 1).
    levels = own_levels(find('diffusers:DDIMScheduler{"timestep_spacing": "linspace"}'), 12)
    assert "levels drift apart" in level_symptoms(levels)[0]


def test_timesteps_are_rounded_where_sigmas_are_not():
    karras = find("diffusers:DPMSolverMultistepScheduler", use_karras_sigmas=True)
    gap = timestep_gap(karras, 12, Grid("model"))
    assert gap is not None
    assert 1e-3 < gap < 1
    assert timestep_gap(karras, 12, SMOOTH) is None


def test_a_scheduler_is_found_by_object_class_file_and_folder(tmp_path):
    import diffusers

    made = diffusers.UniPCMultistepScheduler(solver_order=3)
    made.save_pretrained(tmp_path / "scheduler")
    file = tmp_path / "scheduler" / "scheduler_config.json"
    ends = [
        own_levels(find(what), 7).own
        for what in (made, str(tmp_path), str(tmp_path / "scheduler"), file,
                     'diffusers:UniPCMultistepScheduler{"solver_order": 3}')
    ]  # fmt: skip
    assert all((each == ends[0]).all() for each in ends)
    assert find(str(tmp_path)).claimed_order == 3


def test_noise_of_a_pipeline_is_scaled_as_the_scheduler_says():
    noise = torch.ones((1, 2), dtype=torch.float64)
    predictor = Limited(PointPredictor(), noise.shape, budget())
    run = find("diffusers:EulerDiscreteScheduler").run(predictor, noise, 5, grid=Grid("model"))
    level = run.calls[0].level
    # The largest sigma of the linear betas is 157: the network is given x/(1 + sigma^2)^(1/2).
    assert float(run.calls[0].x[0, 0]) == pytest.approx(level.sigma if level.sigma < 1 else 1, rel=1e-3)


def test_clipping_is_switched_off_and_said():
    assert any("clip_sample" in note for note in find("diffusers:DDIMScheduler").notes)


@pytest.mark.parametrize(
    ("what", "said"),
    [
        ("", "empty text"),
        ("no-such-sampler", "base must be one of"),
        ("diffusers:NoSuchScheduler", "diffusers has no NoSuchScheduler"),
        ("no_such_package:Thing", "cannot be imported"),
        ("judged_ports:NoScheduler", "no scheduler of diffusers: it has no set_timesteps and no step"),
        ("judged_ports:needs_more", '"strength": ...'),
        ("judged_ports:another_convention", "must have the signature"),
        ("diffusers:VQDiffusionScheduler", '"num_vec_classes": ...'),
        ("diffusers:DDIMScheduler{solver}", "are no JSON"),
        ("diffusers:DDIMScheduler[1]", "WHAT must be"),
        ('diffusers:DDIMScheduler{"nonsense": 1}', "cannot be made"),
        ("diffusers:CMStochasticIterativeScheduler", "consistency model"),
        ('judged_ports:dpmpp_2m{"nonsense": 1}', "has no argument nonsense"),
        ("judged_ports:DIFFUSERS", "has no DIFFUSERS"),
    ],
)
def test_what_cannot_be_judged_is_refused_with_a_sentence(what, said):
    with pytest.raises(CannotRunError, match=re.escape(said)):
        find(what)


def test_a_folder_or_a_file_without_a_class_is_refused(tmp_path):
    with pytest.raises(CannotRunError, match=r"holds no scheduler_config\.json"):
        find(str(tmp_path))
    file = tmp_path / "options.json"
    file.write_text(json.dumps({"solver_order": 2}))
    with pytest.raises(CannotRunError, match="_class_name"):
        find(str(file))


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("another_shape", "returns shape"),
        ("not_finite_midway", "not finite at evaluation 2"),
        ("asks_forever", "does not end"),
        ("returns_nothing", "returns NoneType"),
        ("raises", "raises KeyError"),
    ],
)
def test_what_goes_wrong_in_a_run_is_a_sentence(name, said):
    with pytest.raises(CannotRunError, match=re.escape(said)):
        own_levels(find(f"judged_ports:{name}"), 6)


def test_an_inversion_is_no_sampler():
    with pytest.raises(CannotRunError, match="from data to noise"):
        own_levels(find("diffusers:DDIMInverseScheduler"), 6)
