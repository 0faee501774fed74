"""What LML does in a scheduler: it hands the base the output in which the noise is the one of Algorithm 1."""

from __future__ import annotations

import pytest
import torch
from exact_loop import (
    DIFFUSION,
    EXPLODING,
    FLOW,
    LML_ON,
    NUMPY_2,
    PREDICTIONS,
    SHAPE,
    SIGMAS,
    STOCHASTIC,
    denoiser,
    generate,
    make,
    make_base,
    run,
    start,
    target,
)

import lml.schedulers as schedulers
from lml.correction import LML, Memory
from lml.samplers import DDIM, Level, sample
from toy.flow import noise_model

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

# A scheduler's table is a product of up to 1000 factors rounded to float32: 1000 * 6e-8.
UNIT = 2.0**-24
ROUNDING = 1000 * UNIT * 2


def _handed(monkeypatch, name, model, steps=7, **options):
    """Every (timestep, sample, raw output, output that the base saw) of a generation."""
    scheduler = make(name, **options)
    base, seen, raw = type(scheduler)._base, [], []
    original = base.step

    def spy(self, model_output, timestep, sample, *args, **kwargs):
        seen.append((float(timestep), sample, model_output))
        return original(self, model_output, timestep, sample, *args, **kwargs)

    def network(x, t):
        raw.append(model(x, t))
        return raw[-1]

    monkeypatch.setattr(base, "step", spy)
    run(scheduler, network, start(scheduler), steps)
    return [(t, x, m.sample, handed) for (t, x, handed), m in zip(seen, raw, strict=True)]


def _in_the_kind(kind, x, noise, alpha, sigma):
    """The output of a network of this kind that means this noise."""
    clean = (x - sigma * noise) / alpha
    return {
        "epsilon": noise,
        "sample": clean,
        "v_prediction": alpha * noise - sigma * clean,
        "flow_prediction": noise - clean,
    }[kind]


@pytest.mark.parametrize("more", [{}, {"rank": 2}, {"norm": "extrapolated"}], ids=str)
@pytest.mark.parametrize(("name", "kind"), PREDICTIONS + [(name, "flow_prediction") for name in FLOW])
def test_the_base_is_handed_the_output_whose_noise_algorithm_1_turned(monkeypatch, name, kind, more):
    model = denoiser(name, kind)
    options = {} if name in FLOW else {"prediction_type": kind}
    lml, memory, moved = LML(**LML_ON, **more), Memory(), 0.0
    for t, x, raw, handed in _handed(monkeypatch, name, model, **more, **options):
        alpha, sigma = model.level(t)
        x = x.double() * (alpha if name in EXPLODING else 1.0)
        # The noise by the target itself, in float64, not out of the output of this kind.
        noise = target().diffuse(alpha, sigma).noise(x.flatten(1)).view(x.shape)
        # The table's sigma^2 = 1 - abar is good to u, so the noise in an output to (u/sigma) x: turn that as well.
        astray, _ = lml.correct(noise + UNIT / sigma * x, memory)
        turned, memory = lml.correct(noise, memory)
        if turned is noise:
            assert torch.equal(handed, raw)
            continue
        expected = _in_the_kind(kind, x, turned, alpha, sigma)
        undecided = ROUNDING * expected.abs().max() + 2 / alpha * (astray - turned).abs().max()
        assert (handed - expected).abs().max() < undecided
        moved = max(moved, float((handed - raw).abs().max() / raw.abs().max()))
    assert moved > 100 * ROUNDING


@pytest.mark.parametrize("name", SIGMAS)
def test_with_flow_sigmas_the_noise_is_read_in_the_flow_scale(monkeypatch, name):
    model = denoiser(FLOW[0])
    lml, memory = LML(**LML_ON), Memory()
    scheduler = make(name, use_flow_sigmas=True, prediction_type="flow_prediction")
    scheduler.set_timesteps(7)
    calls = _handed(monkeypatch, name, model, use_flow_sigmas=True, prediction_type="flow_prediction")
    for (_, x, raw, handed), sigma in zip(calls, scheduler.sigmas.double().tolist(), strict=False):
        noise = x.double() + (1 - sigma) * raw.double()
        turned, memory = lml.correct(noise, memory)
        expected = raw.double() if turned is noise else _in_the_kind("flow_prediction", x, turned, 1 - sigma, sigma)
        assert (handed - expected).abs().max() < ROUNDING * expected.abs().max()


def test_inverted_flow_sigmas_have_the_noise_at_the_other_end(monkeypatch):
    # Mochi: sigma runs from 0 to 1, x = (1 - sigma) eps + sigma x0 and v = x0 - eps.
    g = torch.Generator().manual_seed(3)
    noise, clean = torch.randn(2, 4, *SHAPE, generator=g)
    scheduler = make(FLOW[0], invert_sigmas=True)
    scheduler.set_timesteps(5)
    handed = []
    base, original = type(scheduler)._base, type(scheduler)._base.step
    monkeypatch.setattr(base, "step", lambda self, m, *a, **k: handed.append(m) or original(self, m, *a, **k))
    memory, lml = Memory(), LML(**LML_ON)
    for i, t in enumerate(scheduler.timesteps):
        sigma, e = float(scheduler.sigmas[i]), noise + 0.3 * i * clean.flip(0)
        x = (1 - sigma) * e + sigma * clean
        scheduler.step(clean - e, t, x)
        turned, memory = lml.correct(e.double(), memory)
        if sigma > 0 and i > 0:
            torch.testing.assert_close(handed[-1].double(), (x - turned) / sigma, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize("name", [n for n in DIFFUSION if n not in STOCHASTIC and n != "PNDMScheduler"])
def test_prediction_types_that_say_the_same_give_the_same_picture(name):
    pictures = [generate(name, kind=kind) for kind in ("epsilon", "v_prediction", "sample")]
    off = generate(name, mixing=0.0)
    assert (pictures[0] - off).abs().max() > 100 * ROUNDING
    for picture in pictures[1:]:
        torch.testing.assert_close(picture, pictures[0], rtol=0, atol=10 * ROUNDING)


@pytest.mark.parametrize("norm", ["kept", "extrapolated"])
@pytest.mark.parametrize("mode", ["absolute", "relative", "adaptive"])
def test_ddim_is_the_pure_sampler_to_rounding(mode, norm):
    options = {**LML_ON, "norm": norm, "damping_mode": mode, "damping": 24.0 if mode == "absolute" else 0.5}
    scheduler = make("DDIMScheduler", timestep_spacing="trailing", set_alpha_to_one=True, **options)
    x = start(scheduler)
    ours = run(scheduler, denoiser("DDIMScheduler"), x, 10)[-1]
    levels = [Level(*denoiser("DDIMScheduler").level(int(t))) for t in scheduler.timesteps] + [Level(1.0, 0.0)]
    pure = sample(DDIM, noise_model(target()), x.double(), levels, LML(**options))
    base = sample(DDIM, noise_model(target()), x.double(), levels)
    torch.testing.assert_close(ours.double(), pure, rtol=0, atol=10 * ROUNDING)
    assert (pure - base).abs().max() > 100 * ROUNDING


def test_a_stochastic_base_draws_what_it_would_have_drawn():
    # At the second step: the base with the corrected output, and ours with the raw one, from the same generator.
    scheduler = make("EulerAncestralDiscreteScheduler")
    scheduler.set_timesteps(5)
    g = torch.Generator().manual_seed(0)
    x, raw = start(scheduler), torch.randn(2, 3, *SHAPE, generator=g)
    base = schedulers.EulerAncestralDiscreteScheduler.from_config(scheduler.config)
    base.set_timesteps(5)
    turned, _ = LML(**LML_ON).correct(raw[1], Memory((raw[0],)))
    results = []
    for each, outputs in ((scheduler, raw), (base, (raw[0], turned))):
        g, y = torch.Generator().manual_seed(1), x
        for t, m in zip(each.timesteps, outputs, strict=False):
            each.scale_model_input(y, t)
            y = each.step(m, t, y, generator=g).prev_sample
        results.append(y)
    assert torch.equal(*results)


def test_the_variance_that_a_network_has_learned_is_left_out():
    scheduler = make("DPMSolverMultistepScheduler", variance_type="learned_range")
    plain = make("DPMSolverMultistepScheduler")
    model = denoiser("DPMSolverMultistepScheduler")

    class WithVariance:
        def __call__(self, x, t):
            out = model(x, t)
            out.sample = torch.cat([out.sample, torch.full_like(out.sample, 1e3)], 1)
            return out

    x = start(scheduler)
    assert torch.equal(run(scheduler, WithVariance(), x)[-1], run(plain, model, x)[-1])


def test_a_variance_type_of_another_scheduler_in_the_config_means_nothing():
    learned = make("DPMSolverMultistepScheduler", variance_type="learned_range")
    euler = schedulers.SCHEDULERS["EulerDiscreteScheduler"].from_config(learned.config)
    assert euler.config.variance_type == "learned_range"
    euler.set_timesteps(3)
    x = torch.ones(1, 4, 8, 8).cumsum(3)
    for t in euler.timesteps[:2]:
        euler.scale_model_input(x, t)
        y = euler.step(torch.sin(x) + float(t), t, x).prev_sample
    assert y.shape == x.shape


def test_tokens_with_timesteps_of_their_own_are_read_at_their_own_noise(monkeypatch):
    scheduler = make(FLOW[0])
    scheduler.set_timesteps(4)
    g = torch.Generator().manual_seed(3)
    x, v = torch.randn(2, 3, 2, 5, 4, generator=g)  # three evaluations, two samples, five tokens
    times = torch.rand(3, 2, 5, generator=g) * 900 + 50
    handed = []
    base, original = type(scheduler)._base, type(scheduler)._base.step
    monkeypatch.setattr(base, "step", lambda self, m, *a, **k: handed.append(m) or original(self, m, *a, **k))
    memory, lml = Memory(), LML(**LML_ON)
    for i in range(3):
        scheduler.step(v[i], scheduler.timesteps[i], x[i], per_token_timesteps=times[i])
        sigma = times[i][..., None].double() / 1000
        noise = x[i] + (1 - sigma) * v[i]
        turned, memory = lml.correct(noise, memory)
        expected = v[i].double() if turned is noise else turned - (x[i] - sigma * turned) / (1 - sigma)
        torch.testing.assert_close(handed[i].double(), expected, rtol=ROUNDING, atol=ROUNDING)


@pytest.mark.parametrize(
    ("name", "options", "step_options"),
    [
        ("DDIMScheduler", {}, {"eta": 0.5}),
        ("DPMSolverMultistepScheduler", {"algorithm_type": "sde-dpmsolver++"}, {}),
        ("DPMSolverSinglestepScheduler", {"algorithm_type": "sde-dpmsolver++"}, {}),
    ],
)
def test_a_stochastic_base_has_its_drift_corrected_and_its_draws_kept(name, options, step_options):
    draws = []

    def path(scheduler):
        generator = torch.Generator().manual_seed(1)
        steps = run(scheduler, denoiser(name), start(scheduler), **step_options, generator=generator)
        draws.append(torch.rand((), generator=generator))
        return steps

    ours, theirs = path(make(name, **options)), path(make_base(name, **options))
    assert torch.equal(ours[0], theirs[0])
    assert not torch.equal(ours[-1], theirs[-1])
    assert torch.isfinite(ours[-1]).all()
    assert torch.equal(*draws)  # both have drawn as much
