"""Gradients through a step: what is remembered is a constant of it, and no graph outlives it."""

from __future__ import annotations

import itertools
import weakref
from typing import ClassVar

import pytest
import torch
from exact_loop import (
    DIFFUSION,
    LML_ON,
    NAMES,
    NUMPY_2,
    SHAPE,
    SOLVER,
    denoiser,
    draws,
    make,
    make_base,
    make_off,
    start,
    target,
)

from lml.correction import LML, Memory
from lml.samplers import DDIM, Level, sample
from lml.schedulers import SCHEDULERS
from toy.flow import noise_model

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

# The other bases keep outputs of earlier steps with their graphs.
WORKING = [
    "DDIMScheduler",
    "EulerDiscreteScheduler",
    "EulerAncestralDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
]
RELEASED = {"variant": "released", "damping_mode": "absolute", "damping": 30.0, "mixing": 0.05}
CASES = [(name, {}) for name in NAMES] + [
    (name, RELEASED) for name in ("DDIMScheduler", "FlowMatchEulerDiscreteScheduler")
]


class _Activation:
    """Something that a backward pass would need."""


class _Network(torch.autograd.Function):
    """``sin(1.1 x)``, with a note of every activation that it keeps for its backward pass."""

    kept: ClassVar[list] = []

    @staticmethod
    def forward(ctx, x):
        ctx.save_for_backward(x)
        ctx.activation = _Activation()
        _Network.kept.append(weakref.ref(ctx.activation))
        return torch.sin(1.1 * x)

    @staticmethod
    def backward(ctx, grad):
        (x,) = ctx.saved_tensors
        return 1.1 * torch.cos(1.1 * x) * grad


def alive():
    return sum(each() is not None for each in _Network.kept)


def evaluate(scheduler, name, x, t, draw):
    seen = scheduler.scale_model_input(x, t) if name in DIFFUSION else x
    return scheduler.step(_Network.apply(seen), t, x, **draw).prev_sample


def guided(scheduler, name):
    """A loop that follows a gradient: ``backward`` in every step, and never through another one."""
    scheduler.set_timesteps(6)
    x, draw = start(scheduler), draws(name)
    for t in scheduler.timesteps:
        x = x.detach().requires_grad_()
        after = evaluate(scheduler, name, x, t, draw)
        after.square().sum().backward()
        x = after.detach() - 0.1 * x.grad / x.grad.norm()
    return x


def outcome(scheduler, name):
    try:
        return guided(scheduler, name)
    except RuntimeError as error:
        return str(error)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_a_loop_guided_by_gradients_works_where_the_base_s_does(name, options):
    ours, off = outcome(make(name, **options), name), outcome(make_off(name), name)
    base = outcome(make_base(name), name)
    if isinstance(base, str):
        assert name not in WORKING
        assert ours == off == base
        assert "second time" in base
    else:
        assert name in WORKING
        assert torch.isfinite(ours).all()
        assert not torch.equal(ours, off)


@pytest.mark.parametrize(("name", "options"), CASES)
def test_no_activation_is_kept_beyond_what_the_base_keeps(name, options):
    counts = []
    for scheduler in (make(name, **options), make_base(name)):
        _Network.kept.clear()
        scheduler.set_timesteps(6)
        x, draw, count = start(scheduler).requires_grad_(), draws(name), []
        for t in scheduler.timesteps:
            x = evaluate(scheduler, name, x, t, draw).detach().requires_grad_()
            count.append(alive())
        counts.append(count)
    assert all(ours <= theirs for ours, theirs in zip(*counts, strict=True))
    if name in WORKING:
        assert not any(counts[0])


def test_activations_are_seen_while_a_graph_is_held():
    _Network.kept.clear()
    y = _Network.apply(torch.ones(2, requires_grad=True))
    assert alive() == 1
    del y
    assert alive() == 0


@pytest.mark.parametrize("options", [{}, {"damping_mode": "adaptive", "rank": 2}, {"start": 0.5}, RELEASED, None])
def test_the_gradient_of_a_step_holds_the_past_noises_fixed(options):
    # In float64 by DDIM, at the fourth step; None: the few-step solver.
    def before_the_fourth():
        made = make(SOLVER) if options is None else make("DDIMScheduler", **options)
        made.set_timesteps(6)
        x = start(made, dtype=torch.float64)
        model = denoiser("DDIMScheduler")
        for t in made.timesteps[:3]:
            x = made.step(model(x, t).sample, t, x).prev_sample
        return made, x, made.timesteps[3]

    g = torch.Generator().manual_seed(3)
    weight, direction = torch.randn(2, 3, *SHAPE, generator=g, dtype=torch.float64)
    made, x, t = before_the_fourth()
    z = x.detach().requires_grad_()
    (made.step(torch.sin(1.1 * z), t, z).prev_sample * weight).sum().backward()
    slope = float((z.grad * direction).sum())

    def difference(h):
        ends = []
        for sign in (1, -1):
            made_again, x_again, _ = before_the_fourth()
            y = x_again + sign * h * direction
            ends.append((made_again.step(torch.sin(1.1 * y), t, y).prev_sample * weight).sum())
        return float(ends[0] - ends[1]) / (2 * h)

    # Two differences of order h^2 at h and h/2: their difference is three times the error of the second.
    coarse, fine = difference(1e-3), difference(5e-4)
    assert abs(slope - fine) < abs(coarse - fine) + 1e-8 * abs(slope)


def test_a_derivative_through_two_steps_lacks_what_flows_through_the_memory_and_the_pure_sampler_has_it():
    # Two steps of DDIM: x'' depends on x through x' and, by LML, through the noise of the first step.
    scheduler = make("DDIMScheduler", timestep_spacing="trailing", set_alpha_to_one=True)
    scheduler.set_timesteps(5)
    scheduler.alphas_cumprod = scheduler.alphas_cumprod.double()
    level = [Level(float(a) ** 0.5, (1 - float(a)) ** 0.5) for a in scheduler.alphas_cumprod[scheduler.timesteps[:3]]]
    model = noise_model(target())
    x = start(scheduler, dtype=torch.float64)

    def by_scheduler(y):
        for t, now in zip(scheduler.timesteps[:2], level, strict=False):
            y = scheduler.step(model(y, now), t, y).prev_sample
        return y

    def by_hand(y, *, constant):
        lml, memory = LML(**LML_ON), Memory()
        for now, after in itertools.pairwise(level):
            e = model(y, now)
            turned, _ = lml.correct(e, memory)
            memory = Memory((e.detach() if constant else e,))
            y = after.alpha * (y - now.sigma * turned) / now.alpha + after.sigma * turned
        return y

    def gradient(of, **options):
        z = x.clone().requires_grad_()
        return torch.autograd.grad(of(z, **options).square().sum(), z)[0]

    ours = gradient(by_scheduler)
    whole = gradient(lambda z: sample(DDIM, model, z, level, LML(**LML_ON)))
    size = float(whole.abs().max())
    # Alphas are floats of a float64 table, and alpha'/alpha is up to 1e2 at these levels.
    assert (ours - gradient(by_hand, constant=True)).abs().max() < 1e-11 * size
    assert (whole - gradient(by_hand, constant=False)).abs().max() < 1e-11 * size
    assert (ours - whole).abs().max() > 1e-3 * size


def test_a_generation_may_begin_without_gradients_and_go_on_with_them():
    scheduler = SCHEDULERS["DDIMScheduler"](clip_sample=False)
    scheduler.set_timesteps(4)
    x = start(scheduler)
    with torch.no_grad():
        t = scheduler.timesteps[0]
        x = scheduler.step(torch.sin(x), t, x).prev_sample
    x.requires_grad_()
    t = scheduler.timesteps[1]
    scheduler.step(torch.sin(x), t, x).prev_sample.sum().backward()
    assert torch.isfinite(x.grad).all()
