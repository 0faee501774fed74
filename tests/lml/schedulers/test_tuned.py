"""The learned setting as a diffusers scheduler: the pure sampler's trajectory, and what it refuses.

What it shares with the other schedulers is in `test_schedulers_contract` and `test_schedulers_no_wait`.
"""

from __future__ import annotations

import inspect
import json

import diffusers
import exact_loop
import pytest
import torch
from diffusers_levels import of_cumulative
from exact_loop import NUMPY_2, SHAPE, TUNED, denoiser, run, start, target
from small_pipelines import pixel_pipeline

import toy
from image_exps.problems.endpoints import reference
from lml.profile import Profile
from lml.samplers import DDIM, sample
from lml.schedulers import SCHEDULERS, LMLTunedDDIMScheduler, SchedulerMixin
from lml.tuned import TUNED_EVALUATIONS, tuned_fractions, tuned_profile
from toy.denoiser import ExactDenoiser
from toy.flow import noise_model

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

# A table of diffusers is a product of up to 1000 factors rounded to float32.
ROUNDING = 1000 * 2.0**-24 * 2
STABLE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}
ELSEWHERE = "LMLDPMSolverMultistepScheduler with algorithm_type='dpmsolver', solver_order=3"


def make(**options):
    return exact_loop.make(TUNED, **options)


def in_float64(**options):
    """A scheduler that ends where the pure sampler does, with its table in float64."""
    scheduler = make(set_alpha_to_one=False, **options)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    scheduler.final_alpha_cumprod = scheduler.final_alpha_cumprod.double()
    return scheduler


def levels_of(scheduler):
    table = scheduler.alphas_cumprod
    return [of_cumulative(table[t]) for t in [*scheduler.timesteps.tolist(), 0]]


def generate(scheduler, x, begin=0):
    """Every sample of a generation whose noise is the exact one at the scheduler's own levels, in float64."""
    model, path = noise_model(target()), []
    for t, level in list(zip(scheduler.timesteps, levels_of(scheduler), strict=False))[begin:]:
        x = scheduler.step(model(x, level), t, x).prev_sample
        path.append(x)
    return path


@pytest.mark.parametrize("profile", [True, False])
@pytest.mark.parametrize("steps", TUNED_EVALUATIONS)
def test_in_float64_it_is_the_pure_sampler_to_rounding(steps, profile):
    scheduler = in_float64(profile=profile)
    scheduler.set_timesteps(steps)
    x = start(scheduler, dtype=torch.float64)
    correction = tuned_profile(steps) if profile else None
    pure = sample(DDIM, noise_model(target()), x, levels_of(scheduler), correction)
    # Numbers of order 10, divided by alpha = 0.006 at the first level: 2e3 units of 1e-16, in each of ten steps.
    torch.testing.assert_close(generate(scheduler, x)[-1], pure, rtol=0, atol=5e-12)
    other = sample(DDIM, noise_model(target()), x, levels_of(scheduler), None if profile else tuned_profile(steps))
    assert (pure - other).abs().max() > 0.01


@pytest.mark.parametrize("steps", TUNED_EVALUATIONS)
def test_timesteps_are_the_nearest_to_the_learned_levels(steps):
    scheduler = make()
    scheduler.set_timesteps(steps)
    table = toy.noise_schedule("vp-linear").discrete(1000).log_snr / 2
    assert scheduler.timesteps.dtype == torch.int64
    assert scheduler.timesteps[0] == 999
    for t, fraction in zip(scheduler.timesteps.tolist(), tuned_fractions(steps), strict=False):
        wanted = float(table[-1] + fraction * (table[0] - table[-1]))
        # Half a step of the table, and 1e-3 for its rounding to float32: sigma^2 = 1 - abar is good to 6e-8/1e-4.
        gap = float((table[max(t - 1, 0)] - table[min(t + 1, 999)]) / 2)
        assert abs(float(table[t]) - wanted) <= gap / 2 + 1e-3


def test_both_ends_are_one_trajectory_s():
    ends, model = {}, denoiser("DDIMScheduler")
    for one in (False, True):
        scheduler = make(set_alpha_to_one=one)
        scheduler.set_timesteps(8)
        x = start(scheduler)
        for t in scheduler.timesteps:
            before, x = x, scheduler.step(model(x, t).sample, t, x).prev_sample
        ends[one] = x
    # The last noise u joins the sample before it with both: x = alpha x0 + sigma u at its level and at timestep 0.
    now, last = levels_of(scheduler)[-2:]
    u = (before.double() - now.alpha * ends[True].double()) / now.sigma
    expected = last.alpha * ends[True].double() + last.sigma * u
    torch.testing.assert_close(ends[False].double(), expected, rtol=0, atol=ROUNDING)
    assert (ends[False] - ends[True]).abs().max() > 10 * ROUNDING


def test_it_reproduces_the_advantage_of_the_pure_sampler():
    found = toy.target("random-16d")
    model = ExactDenoiser(target=found, in_channels=1, sample_size=4)
    x = torch.randn(256, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    flow = reference(noise_model(found), x.double().flatten(1), 80)
    config = {"timestep_spacing": "trailing", "final_sigmas_type": "sigma_min"}
    others = [
        diffusers.DDIMScheduler(clip_sample=False, set_alpha_to_one=False, timestep_spacing="trailing"),
        SCHEDULERS["DDIMScheduler"](clip_sample=False, set_alpha_to_one=False, timestep_spacing="trailing"),
        diffusers.UniPCMultistepScheduler(**config),
        SCHEDULERS["DPMSolverMultistepScheduler"](algorithm_type="dpmsolver++", solver_order=3, **config),
    ]
    for steps in TUNED_EVALUATIONS:
        errors = []
        for scheduler in (make(set_alpha_to_one=False), *others):
            end = run(scheduler, model, x, steps)[-1].double().flatten(1)
            errors.append(float((end - flow).square().mean(1).sqrt().mean()))
        assert errors[0] < 0.7 * min(errors[1:])


def test_prediction_types_that_say_the_same_give_the_same_picture():
    paths = [
        run(scheduler, denoiser("DDIMScheduler", kind), start(scheduler), 8)[-1]
        for kind in ("epsilon", "v_prediction", "sample")
        for scheduler in [make(prediction_type=kind)]
    ]
    for other in paths[1:]:
        torch.testing.assert_close(other, paths[0], rtol=0, atol=10 * ROUNDING)


@pytest.mark.parametrize("begin", [1, 4, 9])
def test_image_to_image_takes_its_first_noise_for_those_before_it(begin):
    scheduler = in_float64()
    scheduler.set_timesteps(10)
    x = start(scheduler, dtype=torch.float64)
    rows = tuned_profile(10).weights[begin:]
    merged = tuple((*row[: i - 1], sum(row[i - 1 :])) if i else () for i, row in enumerate(rows))
    pure = sample(DDIM, noise_model(target()), x, levels_of(scheduler)[begin:], Profile(merged, 0.0))
    made = generate(scheduler, x, begin)
    torch.testing.assert_close(made[-1], pure, rtol=0, atol=5e-12)  # as above
    off = in_float64(profile=False)
    off.set_timesteps(10)
    plain = generate(off, x, begin)
    torch.testing.assert_close(made[0], plain[0], rtol=0, atol=1e-13)  # DDIM's, to rounding of a sum with zeros
    assert len(made) == 1 or (made[-1] - plain[-1]).abs().max() > 1e-3


def test_not_a_number_from_the_network_stays_with_its_picture():
    scheduler = make()
    scheduler.set_timesteps(6)
    clean = run(make(), denoiser("DDIMScheduler"), start(scheduler), 6)[-1]
    x = start(scheduler)
    for i, t in enumerate(scheduler.timesteps):
        m = denoiser("DDIMScheduler")(x.nan_to_num(), t).sample
        if i == 1:
            m[0, 0, 1, 2] = torch.nan
        x = scheduler.step(m, t, x).prev_sample
    assert x[0, 0, 1, 2].isnan()
    assert torch.isfinite(x).sum() == x.numel() - 1
    torch.testing.assert_close(x[1:], clean[1:], rtol=1e-5, atol=1e-5)


def test_options_survive_the_base_and_other_lml_classes():
    ours = make(profile=False, beta_end=0.0201, thresholding=True)
    base = diffusers.DDIMScheduler.from_config(ours.config)
    multistep = SCHEDULERS["DPMSolverMultistepScheduler"].from_config(ours.config, mixing=0.2)
    for config in (base.config, multistep.config):
        back = LMLTunedDDIMScheduler.from_config(config)
        assert (back.config.profile, back.config.beta_end, back.config.thresholding) == (False, 0.0201, True)
    assert LMLTunedDDIMScheduler.from_config(multistep.config).config.mixing == 0.2
    assert LMLTunedDDIMScheduler.from_config(diffusers.DDPMScheduler().config).config.profile is True


def test_saved_and_loaded_it_makes_the_same_picture(tmp_path):
    ours = make(prediction_type="v_prediction")
    ours.save_pretrained(tmp_path)
    assert json.loads((tmp_path / "scheduler_config.json").read_text())["_class_name"] == "LMLTunedDDIMScheduler"
    loaded = LMLTunedDDIMScheduler.from_pretrained(tmp_path)
    model = denoiser("DDIMScheduler", "v_prediction")
    assert torch.equal(*(run(each, model, start(each), 5)[-1] for each in (ours, loaded)))


def test_it_looks_like_its_base():
    ours, base = make(), diffusers.DDIMScheduler(clip_sample=False)
    assert isinstance(ours, SchedulerMixin)
    assert isinstance(ours, diffusers.DDIMScheduler)
    assert type(ours).__module__ == "lml.schedulers"
    for method in ("step", "set_timesteps"):
        theirs = inspect.signature(getattr(diffusers.DDIMScheduler, method)).parameters
        assert list(inspect.signature(getattr(LMLTunedDDIMScheduler, method)).parameters) == list(theirs)
    names = inspect.signature(LMLTunedDDIMScheduler.__init__).parameters
    assert list(names) == [*inspect.signature(diffusers.DDIMScheduler.__init__).parameters, "profile"]
    assert set(ours.compatibles) == {LMLTunedDDIMScheduler, *base.compatibles}
    assert (len(ours), ours.order, ours.init_noise_sigma) == (1000, 1, 1.0)
    ours.set_timesteps(5)
    clean, noise = torch.randn(2, 2, *SHAPE, generator=torch.Generator().manual_seed(2))
    t = ours.timesteps[2:3].repeat(2)
    assert torch.equal(ours.add_noise(clean, noise, t), base.add_noise(clean, noise, t))
    assert torch.equal(ours.scale_model_input(clean, t[0]), clean)


class Elsewhere(torch.Tensor):
    """A table on a device that has no float64."""

    def double(self):
        raise TypeError("Cannot convert a MPS Tensor to float64 dtype")

    def cpu(self):
        return self.as_subclass(torch.Tensor)


def test_a_table_that_image_to_image_left_on_a_device_without_float64_gives_the_same_timesteps():
    scheduler = make()
    scheduler.set_timesteps(6)
    before = scheduler.timesteps
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.as_subclass(Elsewhere)  # as `add_noise` leaves it
    scheduler.set_timesteps(6)
    assert type(scheduler.timesteps) is torch.Tensor
    assert torch.equal(scheduler.timesteps, before)


def test_a_pipeline_generates_and_after_loading_the_same_picture(tmp_path):
    torch.manual_seed(0)
    pipe = pixel_pipeline()
    pipe.set_progress_bar_config(disable=True)
    pipe.scheduler = LMLTunedDDIMScheduler.from_config(pipe.scheduler.config)
    call = {"num_inference_steps": 5, "output_type": "np", "batch_size": 2}
    picture = pipe(generator=torch.Generator().manual_seed(0), **call).images
    pipe.save_pretrained(tmp_path / "pipe")
    index = json.loads((tmp_path / "pipe" / "model_index.json").read_text())
    assert index["scheduler"] == ["lml.schedulers", "LMLTunedDDIMScheduler"]
    loaded = diffusers.DDPMPipeline.from_pretrained(tmp_path / "pipe")
    assert type(loaded.scheduler) is LMLTunedDDIMScheduler
    loaded.set_progress_bar_config(disable=True)
    again = loaded(generator=torch.Generator().manual_seed(0), **call).images
    # Loaded weights lie elsewhere in memory, and kernels sum in an order that depends on it.
    assert abs(again - picture).max() < 10 * 2.0**-23


@pytest.mark.parametrize("steps", [1, 4, 7, 9, 12, 50, 1001, True, 5.5])
def test_other_numbers_of_steps_are_refused_and_told_what_to_use(steps):
    with pytest.raises(ValueError, match=f"num_inference_steps must be one of 5, 6, 8, 10.* got {steps}.*{ELSEWHERE}"):
        make().set_timesteps(steps)


@pytest.mark.parametrize(
    ("config", "ends"),
    [
        (STABLE, "-2.68 to 3.53"),
        ({"beta_start": 0.0015, "beta_end": 0.0195, "beta_schedule": "scaled_linear"}, "-4.43 to 3.25"),
        ({"beta_schedule": "squaredcos_cap_v2"}, "-9.92 to 5.05"),
        ({"rescale_betas_zero_snr": True}, "-inf to 4.61"),
        ({"num_train_timesteps": 100}, "-0.28 to 4.61"),
    ],
)
def test_models_of_another_range_are_refused_at_construction_and_told_what_to_use(config, ends):
    said = f"from -5.03 to 4.56.* got {ends}.*{ELSEWHERE}"
    with pytest.raises(ValueError, match=said):
        make(**config)
    with pytest.raises(ValueError, match=said):
        LMLTunedDDIMScheduler.from_config(diffusers.DDIMScheduler(**config).config)


def test_a_table_too_coarse_for_the_levels_is_refused():
    betas = diffusers.DDIMScheduler().alphas_cumprod[[0, 100, 300, 500, 700, 999]].double()
    scheduler = make(trained_betas=(1 - betas / torch.cat([betas.new_ones(1), betas[:-1]])).tolist())
    with pytest.raises(ValueError, match="num_train_timesteps must be enough for 11 levels apart, got 6"):
        scheduler.set_timesteps(10)


def test_a_step_that_cannot_be_is_refused():
    scheduler, x = make(), torch.ones(1, *SHAPE)
    with pytest.raises(ValueError, match="timesteps must be set before a step"):
        scheduler.step(x, 999, x)
    scheduler.set_timesteps(5)
    with pytest.raises(ValueError, match="timestep must be one of 999, 670, 436, 206, 34, got 998"):
        scheduler.step(x, 998, x)
    with pytest.raises(ValueError, match=r"eta must be 0: .* got 0\.5; use LMLDDIMScheduler"):
        scheduler.step(x, 999, x, eta=0.5)
    with pytest.raises(ValueError, match="profile must be True or False, got 'no'"):
        make(profile="no")


def test_without_the_profile_noise_is_drawn_as_ddim_draws_it():
    scheduler = make(profile=False)
    draws = [
        run(scheduler, denoiser("DDIMScheduler"), start(scheduler), 5, eta=1.0, generator=generator)[-1]
        for generator in (torch.Generator().manual_seed(s) for s in (1, 1, 2))
    ]
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
