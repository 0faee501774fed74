"""Exact targets as diffusers models: what they return, and the pictures that pipelines draw from them."""

from __future__ import annotations

import pytest
import torch
from diffusers import DDIMPipeline, DDIMScheduler, DDPMPipeline, DPMSolverMultistepScheduler, EulerDiscreteScheduler

from lml.schedulers import LMLDPMSolverMultistepScheduler
from toy.data_mixture import DataMixture
from toy.datasets import digits
from toy.denoiser import PREDICTION_TYPES, ExactDenoiser, scheduler_config
from toy.schedule import SCHEDULES

pytestmark = pytest.mark.filterwarnings(
    r"ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:diffusers\.schedulers"
)

TAU = 0.05


@pytest.fixture(scope="module")
def few():
    g = torch.Generator().manual_seed(0)
    return DataMixture(torch.rand(12, 2, 4, 4, generator=g, dtype=torch.float64) * 2 - 1, 0.2)


@pytest.mark.parametrize("schedule", SCHEDULES)
@pytest.mark.parametrize("kind", PREDICTION_TYPES)
def test_the_prediction_is_the_conditional_expectation_at_the_level_of_the_timestep(few, schedule, kind):
    model = ExactDenoiser(target=few, schedule=schedule, prediction_type=kind)
    x = torch.randn(3, 2, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for t in (3, 500, 996):
        alpha, sigma = model.level(t)
        at = few.diffuse(alpha, sigma)
        noise, mean = at.noise(x.flatten(1)), at.posterior_mean(x.flatten(1))
        # By the other way round each time: x = alpha E[y|x] + sigma E[z|x].
        expected = {
            "epsilon": (x.flatten(1) - alpha * mean) / sigma,
            "sample": (x.flatten(1) - sigma * noise) / alpha,
            "v_prediction": alpha * noise - sigma * mean,
            "flow_prediction": noise - mean,
        }[kind]
        size = float(x.abs().max())
        lost = 2.0**-52 * 100 * size / min(alpha, sigma)
        torch.testing.assert_close(model(x, t).sample.flatten(1), expected, rtol=0, atol=lost)


@pytest.mark.parametrize("schedule", ["vp-linear", "vp-scaled-linear", "cosine"])
def test_the_level_is_the_one_of_the_scheduler(few, schedule):
    model = ExactDenoiser(target=few, schedule=schedule)
    ddim = DDIMScheduler(**scheduler_config(schedule))
    for t in (0, 1, 250, 998):
        alpha, sigma = model.level(t)
        # The scheduler's table is a product of up to 1000 factors in float32.
        assert alpha**2 == pytest.approx(float(ddim.alphas_cumprod[t]), rel=1000 * 2.0**-24)
    euler = EulerDiscreteScheduler(**scheduler_config(schedule))
    euler.set_timesteps(7)
    for t, s in zip(euler.timesteps.tolist(), euler.sigmas.tolist(), strict=False):
        alpha, sigma = model.level(t)
        # sigma^2 = 1 - abar cancels in float32.
        assert sigma / alpha == pytest.approx(s, rel=1000 * 2.0**-24 + 2.0**-24 / sigma**2)


def test_flow_matching_has_sigma_equal_to_its_time(few):
    model = ExactDenoiser(target=few, schedule="flow-matching", prediction_type="flow_prediction")
    assert model.level(1000) == (0.0, 1.0)
    assert model.level(250.5) == pytest.approx((0.7495, 0.2505))


def test_timesteps_of_each_picture(few):
    model = ExactDenoiser(target=few)
    x = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(1))
    both = model(x, torch.tensor([900, 100])).sample
    for i, t in enumerate((900, 100)):
        torch.testing.assert_close(both[i : i + 1], model(x[i : i + 1], t, return_dict=False)[0])


def test_it_is_a_model_of_diffusers_that_can_be_saved(tmp_path):
    pipe = DDPMPipeline(ExactDenoiser(data="digits", tau=TAU), DDIMScheduler(**scheduler_config("vp-linear")))
    pipe.set_progress_bar_config(disable=True)
    assert (pipe.unet.config.in_channels, pipe.unet.config.sample_size) == (1, 8)
    pipe.save_pretrained(tmp_path)
    loaded = DDPMPipeline.from_pretrained(tmp_path)
    loaded.set_progress_bar_config(disable=True)
    pictures = [
        p(batch_size=2, generator=torch.Generator().manual_seed(0), num_inference_steps=4, output_type="pt").images
        for p in (pipe, loaded)
    ]
    assert torch.equal(*pictures)


@pytest.mark.parametrize(
    ("pipeline", "scheduler"),
    [
        (DDPMPipeline, DPMSolverMultistepScheduler),
        (DDPMPipeline, LMLDPMSolverMultistepScheduler),
        (DDIMPipeline, DDIMScheduler),
    ],
)
def test_pipelines_draw_digits_from_it(pipeline, scheduler):
    unet = ExactDenoiser(data="digits", tau=TAU)
    pipe = pipeline(unet, scheduler(**scheduler_config("vp-linear")))
    pipe.set_progress_bar_config(disable=True)
    drawn = pipe(batch_size=16, generator=torch.Generator().manual_seed(0), num_inference_steps=40, output_type="np")
    pictures = torch.from_numpy(drawn.images).permute(0, 3, 1, 2).flatten(1) * 2 - 1
    nearest = torch.cdist(pictures, digits().images.flatten(1)).amin(1)
    # A draw is tau * sqrt(64 +- some) from its digit; two digits are at least twice as far apart on average.
    assert float(nearest.median()) < 1.5 * TAU * 8
    # The clipping of the pipeline takes most of the noise of the many black and white pixels.
    assert float(nearest.max()) < 3 * TAU * 8


def test_half_precision_pictures_come_back_in_half_precision(few):
    model = ExactDenoiser(target=few).to(torch.float16)
    assert model.dtype == torch.float16
    x = torch.randn(2, 2, 4, 4, generator=torch.Generator().manual_seed(1)).half()
    out = model(x, 10).sample
    assert out.dtype == torch.float16
    # The noise level is not rounded to half precision: only the result is.
    torch.testing.assert_close(out.float(), model(x.float(), 10).sample, rtol=2.0**-10, atol=2.0**-14)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "data or target must be given, and not both"),
        ({"data": "cats"}, "data must be one of digits, mnist, emoji, .*, got 'cats'"),
        ({"data": "digits", "schedule": "vp"}, "schedule must be one of .*, got 'vp'"),
        ({"data": "digits", "prediction_type": "noise"}, "prediction_type must be one of .*, got 'noise'"),
        ({"data": "digits", "in_channels": 3, "sample_size": 8}, "sample_size must make pictures of 64 numbers"),
        ({"data": "digits", "tau": -1.0}, "tau must be a finite positive number, got -1.0"),
        ({"data": "digits", "steps": 0}, "steps must be a positive integer, got 0"),
    ],
)
def test_bad_arguments_are_refused(arguments, said):
    with pytest.raises(ValueError, match=said):
        ExactDenoiser(**arguments)


def test_bad_inputs_are_refused(few):
    model = ExactDenoiser(target=few)
    x = torch.zeros(2, 2, 4, 4)
    with pytest.raises(ValueError, match=r"timestep must lie in \[0, 999\], got 1000.0"):
        model(x, 1000)
    with pytest.raises(ValueError, match=r"sample must have shape \(B, 2, 4, 4\), got \(2, 1, 4, 4\)"):
        model(x[:, :1], 1)
    with pytest.raises(ValueError, match="timestep must be one number or 2, got 3"):
        model(x, torch.tensor([1, 2, 3]))
    with pytest.raises(ValueError, match="class_labels must be None"):
        model(x, 1, torch.zeros(2))
    with pytest.raises(ValueError, match=r"schedule must be one of vp-linear, .*, got 've'"):
        scheduler_config("ve")
