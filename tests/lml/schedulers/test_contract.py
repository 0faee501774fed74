"""The contract of a diffusers scheduler, by every LML scheduler with LML on, and by the few-step solver."""

from __future__ import annotations

import copy
import inspect
import json
import logging
import pickle

import diffusers
import pytest
import torch
from exact_loop import (
    DIFFUSION,
    FLOW,
    NAMES,
    NUMPY_2,
    SHAPE,
    SIGMAS,
    SOLVER,
    STOCHASTIC,
    denoiser,
    draws,
    make,
    make_base,
    make_off,
    run,
    start,
    suited,
)

from lml.schedulers import SCHEDULERS, SchedulerMixin
from lml.schedulers.options import DEFAULTS

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

SET = {"damping": 0.5, "mixing": 0.1, "damping_mode": "adaptive", "rank": 2, "start": 0.1, "stop": 0.9}
DETERMINISTIC = [name for name in NAMES if name not in STOCHASTIC]
# They take everything about a step from its arguments.
WITHOUT_COUNT = ["DDIMScheduler", SOLVER]


def _options(scheduler):
    return {name: scheduler.config.get(name) for name in SET}


@pytest.mark.parametrize("name", NAMES)
def test_options_survive_the_base_and_come_back(name):
    ours = SCHEDULERS[name](**suited(name), **SET)
    base = SCHEDULERS[name]._base.from_config(ours.config)
    back = SCHEDULERS[name].from_config(base.config)
    assert type(base) is getattr(diffusers, name)
    assert _options(back) == SET
    assert {k: v for k, v in back.config.items() if k in make_base(name).config and not k.startswith("_")} == {
        k: v for k, v in ours.config.items() if k in make_base(name).config and not k.startswith("_")
    }


@pytest.mark.parametrize("other", DIFFUSION)
@pytest.mark.parametrize("name", ["DPMSolverMultistepScheduler", "EulerDiscreteScheduler"])
def test_options_survive_another_class(name, other):
    ours = make(name, **SET, beta_end=0.015)
    via_base = getattr(diffusers, other).from_config(ours.config)
    for across in (SCHEDULERS[other].from_config(ours.config), SCHEDULERS[other].from_config(via_base.config)):
        assert _options(across) == SET
        assert across.config.beta_end == 0.015
    # And what the other class does not know of the first comes back with the first.
    karras = SCHEDULERS[other].from_config(make(name, use_karras_sigmas=True).config)
    assert SCHEDULERS[name].from_config(karras.config).config.use_karras_sigmas is True


def test_from_config_takes_the_options_of_the_user():
    base = diffusers.PNDMScheduler(beta_schedule="scaled_linear", skip_prk_steps=True)
    ours = SCHEDULERS["DPMSolverMultistepScheduler"].from_config(
        base.config, damping=1e-3, mixing=1e-7, damping_mode="absolute"
    )
    assert (ours.config.damping, ours.config.mixing, ours.config.damping_mode) == (1e-3, 1e-7, "absolute")
    assert ours.config.beta_schedule == "scaled_linear"


@pytest.mark.parametrize("name", NAMES)
def test_saved_and_loaded_it_makes_the_same_picture(name, tmp_path):
    ours = make(name, **SET)
    ours.save_pretrained(tmp_path)
    loaded = SCHEDULERS[name].from_pretrained(tmp_path)
    assert json.loads((tmp_path / "scheduler_config.json").read_text())["_class_name"] == type(ours).__name__
    assert _options(loaded) == SET
    pictures = [run(s, denoiser(name), start(s), **draws(name))[-1] for s in (ours, loaded)]
    assert torch.equal(*pictures)


@pytest.mark.parametrize("name", [*NAMES, SOLVER])
def test_nothing_is_logged_where_ours_meets_ours(name, caplog):
    for logger in ("diffusers.configuration_utils", f"diffusers.schedulers.{name}"):
        logging.getLogger(logger).propagate = True
    logging.getLogger("diffusers").propagate = True
    try:
        with caplog.at_level(logging.WARNING, logger="diffusers"):
            type(make(name)).from_config(make(name).config)
        assert not caplog.records
    finally:
        logging.getLogger("diffusers").propagate = False


@pytest.mark.parametrize("name", NAMES)
def test_it_looks_like_its_base(name):
    ours, base = make(name), make_base(name)
    assert isinstance(ours, SchedulerMixin)
    assert isinstance(ours, type(base))
    assert type(ours).__module__ == "lml.schedulers"
    assert type(ours).__name__ == f"LML{name}"
    assert ours.order == base.order
    for method in ("step", "set_timesteps"):
        assert inspect.signature(getattr(type(ours), method)) == inspect.signature(getattr(type(base), method))
    init = inspect.signature(type(ours).__init__).parameters
    assert list(init) == [*inspect.signature(type(base).__init__).parameters, *DEFAULTS]
    assert set(ours.compatibles) == {type(ours), *base.compatibles}
    assert len(ours) == len(base)


@pytest.mark.parametrize("name", NAMES)
def test_what_is_not_a_step_is_the_base_s(name):
    ours, base = make(name), make_base(name)
    g = torch.Generator().manual_seed(2)
    clean, noise = torch.randn(2, 2, *SHAPE, generator=g)
    for each in (ours, base):
        each.set_timesteps(6)
    assert torch.equal(ours.timesteps, base.timesteps)
    t = ours.timesteps[2:3]
    if name in FLOW:
        noised = [each.scale_noise(clean, t[0] if "Heun" in name else t, noise) for each in (ours, base)]
    else:
        noised = [each.add_noise(clean, noise, t.repeat(2)) for each in (ours, base)]
        assert torch.equal(ours.scale_model_input(clean, t[0]), base.scale_model_input(clean, t[0]))
    assert torch.equal(*noised)
    assert torch.as_tensor(getattr(ours, "init_noise_sigma", 1)) == torch.as_tensor(
        getattr(base, "init_noise_sigma", 1)
    )


@pytest.mark.parametrize(
    ("name", "options"),
    [
        (name, {"damping_mode": mode, "rank": rank})
        for name in NAMES
        for mode, rank in (("absolute", 1), ("relative", 3), ("adaptive", 1))
    ]
    + [(SOLVER, {})],
    ids=lambda value: value if isinstance(value, str) else "-".join(map(str, value.values())),
)
def test_a_second_generation_is_like_the_first_whatever_came_between(name, options):
    scheduler = make(name, **options)
    first = run(scheduler, denoiser(name), start(scheduler), 8, **draws(name))
    run(scheduler, denoiser(name), start(scheduler, batch=2, seed=9), 5, **draws(name))
    # Of the shape of the first: what this one leaves would go unnoticed by a check of shapes.
    run(scheduler, denoiser(name), start(scheduler, seed=9), 10, **draws(name))
    again = run(scheduler, denoiser(name), start(scheduler), 8, **draws(name))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


@pytest.mark.parametrize("name", [*DETERMINISTIC, SOLVER])
def test_a_picture_does_not_depend_on_its_batch(name):
    scheduler = make(name)
    together = run(scheduler, denoiser(name), start(scheduler), 8)[-1]
    alone = run(scheduler, denoiser(name), start(scheduler)[1:2], 8)[-1]
    # The target's matrix products round by batch, in float64; the rest is the same.
    torch.testing.assert_close(alone, together[1:2], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("name", WITHOUT_COUNT)
def test_those_that_do_not_count_start_afresh_without_set_timesteps(name):
    scheduler = make(name)
    first = run(scheduler, denoiser(name), start(scheduler), 8)[-1]
    x = start(scheduler)
    for t in scheduler.timesteps:
        x = scheduler.step(denoiser(name)(x, t).sample, t, x).prev_sample
    assert torch.equal(x, first)


def test_a_batch_that_shrinks_within_a_generation_begins_a_new_history():
    name = "DDIMScheduler"
    scheduler, off = make(name), make_off(name)
    x = start(scheduler)
    for each in (scheduler, off):
        each.set_timesteps(5)
    t0, t1 = scheduler.timesteps[:2]
    m = denoiser(name)(x, t0).sample
    scheduler.step(m, t0, x)
    assert torch.equal(scheduler.step(m[:2], t1, x[:2]).prev_sample, off.step(m[:2], t1, x[:2]).prev_sample)


@pytest.mark.parametrize("name", [n for n in DETERMINISTIC if "PNDM" not in n])
def test_image_to_image_begins_in_the_middle(name):
    scheduler, base = make(name), make_base(name)
    x = start(scheduler) / float(getattr(scheduler, "init_noise_sigma", 1.0))
    begin = 4  # a whole step of Heun's evaluations
    if hasattr(scheduler, "set_begin_index"):
        ours = run(scheduler, denoiser(name), x, begin=begin)
        theirs = run(base, denoiser(name), x, begin=begin)
    else:
        paths = []
        for each in (scheduler, base):
            each.set_timesteps(7)
            y, path = x, []
            for t in each.timesteps[begin:]:
                y = each.step(denoiser(name)(y, t).sample, t, y).prev_sample
                path.append(y)
            paths.append(path)
        ours, theirs = paths
    assert torch.equal(ours[0], theirs[0])
    assert len(ours) == 1 or not torch.equal(ours[1], theirs[1])
    assert torch.isfinite(ours[-1]).all()


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
@pytest.mark.parametrize("name", DETERMINISTIC)
def test_latents_of_every_precision_stay_in_it_and_near_float32(name, dtype):
    scheduler = make(name)
    exact = run(scheduler, denoiser(name), start(scheduler), 8)[-1]
    path = run(scheduler, denoiser(name), start(scheduler, dtype=dtype), 8)
    base = run(make_base(name), denoiser(name), start(scheduler, dtype=dtype), 8)
    assert [p.dtype for p in path] == [p.dtype for p in base]
    assert all(p.dtype == dtype and torch.isfinite(p).all() for p in path)
    # Each evaluation rounds the sample, of size up to s = 160 at the start in the scale of Euler, once or twice.
    eps = max(torch.finfo(dtype).eps, torch.finfo(torch.float32).eps)
    size = max(float(getattr(scheduler, "init_noise_sigma", 1.0)), 4.0)
    assert (path[-1] - exact).abs().max() < 4 * len(path) * eps * size


@pytest.mark.parametrize(
    ("name", "how"),
    [(n, {"timesteps": [900, 600, 300, 100]}) for n in ("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler")]
    + [(n, {"timesteps": [900, 600, 300, 100]}) for n in ("EulerDiscreteScheduler", "HeunDiscreteScheduler")]
    + [("EulerDiscreteScheduler", {"sigmas": [20.0, 5.0, 1.0, 0.2, 0.0]})]
    + [("FlowMatchEulerDiscreteScheduler", {"sigmas": [1.0, 0.7, 0.4, 0.1]})],
)
def test_timesteps_and_sigmas_of_the_user(name, how):
    paths = []
    for each in (make(name), make_base(name)):
        each.set_timesteps(**how)
        x, path = start(each), []
        for t in each.timesteps:
            seen = each.scale_model_input(x, t) if name in DIFFUSION else x
            x = each.step(denoiser(name)(seen, t).sample, t, x).prev_sample
            path.append(x)
        paths.append(path)
    assert torch.equal(paths[0][0], paths[1][0])
    assert not torch.equal(paths[0][-1], paths[1][-1])
    assert torch.isfinite(paths[0][-1]).all()


@pytest.mark.parametrize(
    ("name", "spacing"),
    [(n, s) for n in SIGMAS for s in ("karras", "exponential", "beta", "flow")]
    + [("DPMSolverMultistepScheduler", "lu")],
)
def test_every_spacing_of_the_sigmas(name, spacing):
    key = "use_lu_lambdas" if spacing == "lu" else f"use_{spacing}_sigmas"
    kind = "flow_prediction" if spacing == "flow" else "epsilon"
    model = denoiser(FLOW[0] if spacing == "flow" else name)
    paths = [
        run(each, model, start(each))
        for each in (
            make(name, prediction_type=kind, **{key: True}),
            make_base(name, prediction_type=kind, **{key: True}),
        )
    ]
    assert torch.isfinite(paths[0][-1]).all()
    assert torch.equal(paths[0][0], paths[1][0])
    assert not torch.equal(paths[0][-1], paths[1][-1])


@pytest.mark.parametrize("options", [{"thresholding": True}, {"clip_sample": True}])
def test_clipping_acts_on_the_corrected_output(options):
    last, plain = (
        run(scheduler, denoiser("DDIMScheduler"), start(scheduler), 8)[-1]
        for scheduler in (each("DDIMScheduler", **options, set_alpha_to_one=True) for each in (make, make_off))
    )
    assert last.abs().max() <= 1.0
    assert not torch.equal(last, plain)


@pytest.mark.parametrize("name", [*NAMES, SOLVER])
def test_tuples_and_copies(name):
    scheduler = make(name)
    scheduler.set_timesteps(6)
    x = start(scheduler)
    t0, t1 = scheduler.timesteps[:2]
    draw = draws(name)
    scheduler.scale_model_input(x, t0) if name in DIFFUSION else None
    scheduler.step(x, t0, x, **draw)
    twins = [copy.deepcopy(scheduler), pickle.loads(pickle.dumps(scheduler)), scheduler]
    noise = torch.ones_like(x).cumsum(3) * 0.1
    a, b, c = (each.step(noise, t1, x, return_dict=False, **draws(name)) for each in twins)
    assert isinstance(c, tuple)
    assert torch.equal(a[0], c[0])
    assert torch.equal(b[0], c[0])


@pytest.mark.parametrize("name", WITHOUT_COUNT)
def test_a_network_may_reuse_the_memory_of_its_output(name):
    scheduler = make(name)
    buffer = torch.empty(3, *SHAPE)

    class Reusing:
        def __call__(self, x, t):
            out = denoiser(name)(x, t)
            out.sample = buffer.copy_(out.sample)
            return out

    x = start(scheduler)
    assert torch.equal(run(scheduler, Reusing(), x, 8)[-1], run(scheduler, denoiser(name), x, 8)[-1])
