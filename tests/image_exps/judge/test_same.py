"""Are two implementations one algorithm: what the threads about k-diffusion and diffusers ask."""

import importlib.util

import pytest

from image_exps.judge.same import judge_same
from image_exps.judge.what import find

needs_k_diffusion = pytest.mark.skipif(
    not all(importlib.util.find_spec(name) for name in ("k_diffusion", "torchsde", "torchdiffeq")),
    reason="k-diffusion is not installed: pip install --no-deps k-diffusion==0.1.1.post1, and the extra k-diffusion",
)
KARRAS = '{"use_karras_sigmas": true}'


def same(what, other):
    return judge_same(find(what), find(other), (6, 20))


@needs_k_diffusion
@pytest.mark.parametrize(
    ("what", "other"),
    [
        (f"diffusers:DPMSolverMultistepScheduler{KARRAS}", "sample_dpmpp_2m"),  # "DPM++ 2M Karras"
        (f"diffusers:DPMSolverSDEScheduler{KARRAS}", "sample_dpmpp_sde"),  # "DPM++ SDE Karras"
        ("diffusers:EulerDiscreteScheduler", "sample_euler"),
        ("diffusers:EulerAncestralDiscreteScheduler", "sample_euler_ancestral"),
        (f"diffusers:HeunDiscreteScheduler{KARRAS}", "sample_heun"),
        ("diffusers:LMSDiscreteScheduler", "sample_lms"),
    ],
)
def test_these_schedulers_are_the_samplers_of_k_diffusion(what, other):
    found = same(what, f"k_diffusion.sampling:{other}")
    assert found.same, found.sentence
    assert max(found.differences) < 1e-12


@needs_k_diffusion
def test_dpmpp_sde_is_not_the_singlestep_scheduler():
    found = same(f"diffusers:DPMSolverSinglestepScheduler{KARRAS}", "k_diffusion.sampling:sample_dpmpp_sde")
    assert not found.same
    assert "evaluations" in found.sentence


@needs_k_diffusion
def test_the_sampling_of_k_diffusion_leaves_no_stand_in_behind():
    import sys

    from image_exps.judge.k_diffusion import sampling

    assert sampling().sample_dpmpp_2m.__module__ == "k_diffusion.sampling"
    assert not any(name.startswith("torchvision") for name in sys.modules) or importlib.util.find_spec("torchvision")


@pytest.mark.parametrize(
    ("what", "other", "where"),
    [
        ("ddim", "dpm-solver++-2m", "history: from step 2 on"),
        ("judged_ports:k_euler", "judged_ports:k_euler_off_by_one", "levels: evaluation 2"),
        ("judged_ports:history_overwritten", "ddim", ""),
        ("diffusers:EulerDiscreteScheduler", "diffusers:DDIMScheduler", "levels: their half-log-SNRs"),
        ("judged_ports:k_ancestral", "judged_ports:k_ancestral_too_noisy", "the noise that is added: first step"),
        ("diffusers:UniPCMultistepScheduler", "unipc-3", "history: from step 3 on"),
    ],
)
def test_where_they_part_is_named(what, other, where):
    found = same(what, other)
    assert found.same is (where == ""), found.sentence
    assert where in found.sentence


def test_the_same_in_either_direction():
    assert same("diffusers:UniPCMultistepScheduler", "unipc-2").same
    assert same("unipc-2", "diffusers:UniPCMultistepScheduler").same
