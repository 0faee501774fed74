"""``variant="released"``: what the paper's published code does (claim K5), after the base's own step."""

from __future__ import annotations

import pytest
import torch
from exact_loop import NAMES, NUMPY_2, SHAPE, denoiser, make, make_base, run, start, suited, target

from lml.correction import Memory, ReleasedLML
from lml.samplers import DDIM, Level, sample
from lml.schedulers import SCHEDULERS
from toy.flow import noise_model

pytestmark = pytest.mark.filterwarnings(
    *NUMPY_2, "ignore:`algorithm_types dpmsolver and sde-dpmsolver` is deprecated:FutureWarning:diffusers"
)

RELEASED = {"variant": "released", "damping": 30.0, "mixing": 0.05, "damping_mode": "absolute"}
BASES = ("DDIMScheduler", "DPMSolverMultistepScheduler")


def test_ddim_turns_the_direction_term_alone_and_keeps_the_raw_x0():
    scheduler = make("DDIMScheduler", timestep_spacing="trailing", set_alpha_to_one=True, **RELEASED)
    x, model = start(scheduler), denoiser("DDIMScheduler")
    ours = run(scheduler, model, x, 10)[-1]
    levels = [Level(*model.level(int(t))) for t in scheduler.timesteps] + [Level(1.0, 0.0)]
    released = ReleasedLML(RELEASED["damping"], RELEASED["mixing"])
    pure = sample(DDIM, noise_model(target()), x.double(), levels, released)
    base = sample(DDIM, noise_model(target()), x.double(), levels)
    # Float32 and its table, 1000 * 6e-8, in ten steps, of which the textbook's expression loses |e|^2/damping more.
    torch.testing.assert_close(ours.double(), pure, rtol=0, atol=2e-3)
    assert (pure - base).abs().max() > 2e-2


@pytest.mark.parametrize("algorithm", ["dpmsolver", "dpmsolver++"])
@pytest.mark.parametrize("order", [1, 2, 3])
def test_dpm_solver_turns_the_whole_increment(algorithm, order):
    options = {"algorithm_type": algorithm, "solver_order": order, "final_sigmas_type": "sigma_min"}
    scheduler = make("DPMSolverMultistepScheduler", **options, **RELEASED)
    base = make_base("DPMSolverMultistepScheduler", **options)
    for each in (scheduler, base):
        each.set_timesteps(6)
    x, memory, released = start(scheduler), Memory(), ReleasedLML(RELEASED["damping"], RELEASED["mixing"])
    moved = 0.0
    for i, t in enumerate(scheduler.timesteps):
        m = denoiser("DDIMScheduler")(x, t).sample
        plain = base.step(m, t, x).prev_sample.double()
        alpha, sigma = (v.double() for v in base._sigma_to_alpha_sigma_t(base.sigmas[i]))
        alpha_next, sigma_next = (v.double() for v in base._sigma_to_alpha_sigma_t(base.sigmas[i + 1]))
        linear = sigma_next / sigma if algorithm == "dpmsolver++" else alpha_next / alpha
        u = plain - linear * x.double()
        turned, memory = released.correct(u, memory)
        x = scheduler.step(m, t, x).prev_sample
        expected = plain + turned - u
        # The increment is a difference of samples rounded to 6e-8 |x|, of which the expression loses |u|^2/damping.
        loss = 1 + float((u.flatten(1) ** 2).sum(1).max()) / RELEASED["damping"]
        assert (x - expected).abs().max() < 100 * 2.0**-24 * loss * float(x.abs().max() + plain.abs().max())
        moved = max(moved, float((turned - u).abs().max()))
    assert moved > 1e-3


def test_without_mixing_it_is_rounding_noise_and_not_the_base():
    # Claims K2, K4: the identity in exact arithmetic; evaluated as published, float32 adds what it loses.
    d = 3 * 64 * 64
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    m = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    results = {}
    for variant in ("released", "algorithm1"):
        s = make("DDIMScheduler", **{**RELEASED, "variant": variant, "damping": 1e-3, "mixing": 0.0})
        s.set_timesteps(10)
        results[variant] = s.step(m, s.timesteps[5], x).prev_sample
    base = make_base("DDIMScheduler")
    base.set_timesteps(10)
    plain = base.step(m, base.timesteps[5], x).prev_sample
    assert torch.equal(results["algorithm1"], plain)
    # Of the order of the unit of float32 over damping/|e|^2: 6e-8 * 12288/1e-3 = 0.7.
    off = (results["released"] - plain).norm() / m.norm()
    assert 0.01 < off < 10 * 2.0**-24 * d / 1e-3


def test_each_generation_begins_afresh():
    for name in BASES:
        scheduler = make(name, **RELEASED)
        x = start(scheduler)
        first, again = (run(scheduler, denoiser(name), x) for _ in range(2))
        assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
        assert not torch.equal(first[-1], run(make(name, mixing=0.0), denoiser(name), x)[-1])


def test_tuples_are_turned_too():
    a, b = (make("DDIMScheduler", **RELEASED) for _ in range(2))
    x = start(a)
    for each in (a, b):
        each.set_timesteps(5)
    for t in a.timesteps[:3]:
        m = torch.sin(3 * x)
        x, y = a.step(m, t, x, return_dict=False)[0], b.step(m, t, x).prev_sample
        assert torch.equal(x, y)


@pytest.mark.parametrize("name", [n for n in NAMES if n not in BASES])
def test_other_bases_refuse_it(name):
    with pytest.raises(ValueError, match="variant must be 'algorithm1' for LML"):
        make(name, **RELEASED)


@pytest.mark.parametrize(
    ("option", "value"), [("damping_mode", "relative"), ("rank", 2), ("start", 0.5), ("stop", 0.5)]
)
def test_what_the_published_code_has_no_choice_of_is_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} must be .* with variant='released'"):
        SCHEDULERS["DDIMScheduler"](**suited("DDIMScheduler"), **{**RELEASED, option: value})


def test_where_noise_is_drawn_it_is_refused():
    x = torch.ones(1, *SHAPE)
    ddim = make("DDIMScheduler", **RELEASED)
    ddim.set_timesteps(5)
    with pytest.raises(ValueError, match="variant must be 'algorithm1' where the base draws noise"):
        ddim.step(x, ddim.timesteps[0], x, eta=0.5)
    sde = make("DPMSolverMultistepScheduler", algorithm_type="sde-dpmsolver++", **RELEASED)
    sde.set_timesteps(5)
    with pytest.raises(ValueError, match="variant must be 'algorithm1' where the base draws noise"):
        sde.step(x, sde.timesteps[0], x)
