"""``variant="released"``: what the paper's published code does (claim K5), on each base that it has."""

from __future__ import annotations

import pytest
import torch
from exact_loop import FLOW, NAMES, NUMPY_2, SHAPE, denoiser, make, make_base, run, start, suited, target
from published_formulas import ddim, dpm_solver, flow_euler

from lml.correction import Memory, ReleasedLML
from lml.kernel import lml_direction_textbook
from lml.samplers import SAMPLERS, Level, sample
from lml.schedulers import SCHEDULERS
from toy.flow import noise_model

pytestmark = pytest.mark.filterwarnings(
    *NUMPY_2, "ignore:`algorithm_types dpmsolver and sde-dpmsolver` is deprecated:FutureWarning:diffusers"
)

# |e|^2 is about 48 here: the expression loses no more than a factor of three.
STRENGTH = {"damping": 30.0, "mixing": 0.05}
RELEASED = {"variant": "released", "damping_mode": "absolute", **STRENGTH}
DDIM, DPM, EULER = "DDIMScheduler", "DPMSolverMultistepScheduler", "FlowMatchEulerDiscreteScheduler"
TO_TIMESTEP_0 = {"final_sigmas_type": "sigma_min"}


def network(x, t):
    """A smooth function of the sample and the timestep, in the dtype of the sample."""
    return torch.sin(1.3 * x + 0.7 * x.roll(1, -1) + float(t) / 400) + 0.2 * x


def path_of(scheduler, x, steps=8, model=network, **options):
    scheduler.set_timesteps(steps)
    path = []
    for t in scheduler.timesteps:
        x = scheduler.step(model(x, t), t, x, **options).prev_sample
        path.append(x)
    return path


def apart(ours, oracle):
    """The largest difference of two paths, relative to the oracle's largest element at that step."""
    pairs = zip(ours, oracle, strict=True)
    return max(float((a.double() - b.double()).abs().max() / b.double().abs().max()) for a, b in pairs)


def ddim_oracle(scheduler, x, **options):
    table = scheduler.alphas_cumprod
    return ddim(network, x, scheduler.timesteps.tolist(), table, scheduler.final_alpha_cumprod, **STRENGTH, **options)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize(
    ("config", "step", "formula"),
    [
        ({}, {}, {}),
        ({"prediction_type": "v_prediction"}, {}, {"kind": "v_prediction"}),
        ({"prediction_type": "sample"}, {}, {"kind": "sample"}),
        ({"set_alpha_to_one": False}, {}, {}),
        ({"clip_sample": True}, {}, {"clip": 1.0}),
        ({"clip_sample": True}, {"use_clipped_model_output": True}, {"clip": 1.0, "noise_of_clipped": True}),
        ({"start": 0.25}, {}, {"freeze": 0.25}),
        ({"start": 0.5, "clip_sample": True}, {}, {"freeze": 0.5, "clip": 1.0}),
    ],
)
def test_ddim_is_the_published_formula_in_float64(config, step, formula, spacing):
    scheduler = make(DDIM, timestep_spacing=spacing, **RELEASED, **config)
    x = start(scheduler, dtype=torch.float64)
    ours = path_of(scheduler, x, **step)
    # The table is float32: the formula takes the square roots of it in float32, as the scheduler does.
    assert apart(ours, ddim_oracle(scheduler, x, **formula)) < 1e-13
    base = path_of(make_base(DDIM, timestep_spacing=spacing, **{k: v for k, v in config.items() if k != "start"}), x)
    assert apart(ours, base) > 1e-2


@pytest.mark.parametrize("how", ["generator", "variance_noise"])
def test_ddim_with_noise_is_the_published_formula_and_draws_what_its_base_draws(how):
    scheduler, base = make(DDIM, **RELEASED), make_base(DDIM)
    x = start(scheduler, dtype=torch.float64)
    g = torch.Generator().manual_seed(4)
    z = [torch.randn(x.shape, generator=g, dtype=x.dtype) for _ in range(8)]
    g = torch.Generator().manual_seed(4)
    for each in (scheduler, base):
        each.set_timesteps(8)
    y, ours = x, []
    for t, draw in zip(scheduler.timesteps, z, strict=True):
        options = {"generator": g} if how == "generator" else {"variance_noise": draw}
        y = scheduler.step(network(y, t), t, y, eta=0.6, **options).prev_sample
        ours.append(y)
    assert apart(ours, ddim_oracle(scheduler, x, eta=0.6, draws=z)) < 1e-13
    # With the first step's noise as it is, the base would have come to the same: what it draws is what is added.
    first = base.step(network(x, 875), 875, x, eta=0.6, generator=torch.Generator().manual_seed(4)).prev_sample
    assert apart(ours[:1], [first]) < 1e-13


def test_the_first_step_evaluates_the_expression_at_the_noise_itself():
    # v = e, not kappa e + (1 - kappa) e, which is rounded: in float32 the two differ in what the expression loses.
    e = torch.randn(2, 3072, generator=torch.Generator().manual_seed(0))
    as_published = lml_direction_textbook(e, None, damping=1e-3, mixing=0.0)
    turned, _ = ReleasedLML(1e-3, 0.3).correct(e, Memory())
    assert torch.equal(turned, as_published)
    assert not torch.equal(turned, lml_direction_textbook(e, None, damping=1e-3, mixing=0.3))
    scheduler = make(DDIM, **{**RELEASED, "damping": 1e-3, "mixing": 0.3})
    zero = make(DDIM, **{**RELEASED, "damping": 1e-3, "mixing": 0.0})
    x = start(scheduler)
    assert torch.equal(path_of(scheduler, x)[0], path_of(zero, x)[0])


def test_until_start_the_noise_is_remembered_and_not_turned():
    # Timesteps 900, 800, ..., 0: at 700 = 1000 (1 - 0.3) itself nothing is turned, at 600 against the noise of 700.
    scheduler, base = make(DDIM, start=0.3, **RELEASED), make_base(DDIM)
    x = start(scheduler, dtype=torch.float64)
    ours, plain = path_of(scheduler, x, 10), path_of(base, x, 10)
    assert scheduler.timesteps[2] == 700
    assert apart(ours[:3], plain[:3]) < 1e-15
    e, p = network(ours[2], 600), network(ours[1], 700)
    expected = base.step(e, 600, ours[2]).prev_sample
    turn = lml_direction_textbook(e, p, **STRENGTH) - e
    expected = expected + (1 - base.alphas_cumprod[500]) ** 0.5 * turn
    assert apart(ours[3:4], [expected]) < 1e-14
    assert turn.abs().max() > 1e-2


@pytest.mark.parametrize("start_", [k / 100 for k in range(0, 100, 7)])
def test_start_is_the_published_freeze_at_every_timestep(start_):
    scheduler, base = (
        make(DDIM, start=start_, set_alpha_to_one=False, **RELEASED),
        make_base(DDIM, set_alpha_to_one=False),
    )
    for each in (scheduler, base):
        each.set_timesteps(100)
    x = start(scheduler, batch=1, dtype=torch.float64)
    scheduler.step(network(x, 990), 990, x)
    for t in scheduler.timesteps[1:].tolist():
        y = x + t / 1000  # a sample of another place: it continues the one generation
        moved = scheduler.step(network(y, t), t, y).prev_sample - base.step(network(y, t), t, y).prev_sample
        assert (float(moved.abs().max()) > 1e-9) == (t < 1000 - 1000 * start_)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize(("algorithm", "data"), [("dpmsolver", False), ("dpmsolver++", True)])
@pytest.mark.parametrize(("order", "heun"), [(1, False), (2, False), (2, True), (3, False)])
def test_dpm_solver_is_the_published_formula(order, heun, algorithm, data, kind):
    # Mild betas, alpha from 0.28 on: x0 = (x - sigma e)/alpha multiplies the rounding of float32 levels by 1/alpha.
    options = {"algorithm_type": algorithm, "solver_order": order, "solver_type": "heun" if heun else "midpoint",
               "prediction_type": kind, "beta_end": 0.005, **TO_TIMESTEP_0}  # fmt: skip
    scheduler = make(DPM, **options, **RELEASED)
    x = start(scheduler, dtype=torch.float64)
    ours, base = path_of(scheduler, x), path_of(make_base(DPM, **options), x)
    formula = {"order": order, "data": data, "heun": heun, "kind": kind, **STRENGTH}

    def oracle():
        return dpm_solver(network, x, scheduler.timesteps.tolist(), scheduler.alphas_cumprod.double(), **formula)

    assert apart(ours, oracle()) < 1e-6
    assert apart(ours, base) > 5e-4
    # With levels in float64 nothing is left but the rounding of float64.
    for steps in (8, 16):
        assert apart(_levels_in_float64(scheduler, x, steps), oracle()) < 1e-13


def _levels_in_float64(scheduler, x, steps):
    scheduler.set_timesteps(steps)
    abar = scheduler.alphas_cumprod.double()
    sigmas = ((1 - abar) / abar).sqrt()
    scheduler.sigmas = torch.cat([sigmas[scheduler.timesteps], sigmas[:1]])
    path = []
    for t in scheduler.timesteps:
        x = scheduler.step(network(x, t), t, x).prev_sample
        path.append(x)
    return path


def same_as_rounded(scheduler, x, model):
    """Whether every step is the base's with the velocity rounded to float32 and turned, and the sample is cast back."""
    base = SCHEDULERS[EULER]._base.from_config(scheduler.config)
    for each in (scheduler, base):
        each.set_timesteps(8)
    for t in scheduler.timesteps:
        v = model(x, t)
        turned = lml_direction_textbook(v.float(), None, damping=scheduler.config.damping, mixing=0.0)
        after, expected = scheduler.step(v, t, x).prev_sample, base.step(turned, t, x).prev_sample.to(x.dtype)
        if not torch.equal(after, expected):
            return False
        x = after
    return True


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_flow_matching_euler_is_the_published_formula(dtype):
    scheduler = make(EULER, shift=3.0, **{**RELEASED, "damping": 0.01, "mixing": 0.0})
    mixed = make(EULER, shift=3.0, **RELEASED)
    x = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0)).to(dtype)

    def velocity(y, t):  # known to float32, and the same for a timestep and its sigma
        return network(y.float(), round(float(t) * (1 if float(t) > 1 else 1000), 3)).to(dtype)

    for each, strength in ((scheduler, {"damping": 0.01, "mixing": 0.0}), (mixed, STRENGTH)):
        ours = path_of(each, x, model=velocity)
        assert all(y.dtype == dtype for y in ours)
        if dtype == torch.bfloat16:
            assert same_as_rounded(each, x, velocity) or strength["mixing"]
            continue
        oracle = flow_euler(velocity, x.float(), each.sigmas, **strength)
        # Float32, of which the expression loses |v|^2/damping = 4800 at most.
        assert apart(ours, oracle) < 8 * 2.0**-24 * (1 + 48 / strength["damping"])
    plain = path_of(make_base(EULER, shift=3.0), x, model=velocity)
    assert apart(path_of(mixed, x, model=velocity), plain) > 1e-3


def test_flow_matching_with_noise_turns_the_velocity_in_x0():
    options = {"shift": 3.0, "stochastic_sampling": True}
    scheduler, base = make(EULER, **options, **RELEASED), make_base(EULER, **options)
    x = torch.randn(2, 6, 8, generator=torch.Generator().manual_seed(0))
    for each in (scheduler, base):
        each.set_timesteps(6)
    memory = None
    g, h = (torch.Generator().manual_seed(5) for _ in range(2))
    for t in scheduler.timesteps:
        v = network(x, t)
        handed = lml_direction_textbook(v, memory, damping=30.0, mixing=0.05 if memory is not None else 0.0)
        expected = base.step(handed, t, x, generator=g).prev_sample
        x, memory = scheduler.step(v, t, x, generator=h).prev_sample, v
        assert torch.equal(x, expected)


def test_tokens_with_timesteps_of_their_own_are_turned_too():
    scheduler, base = make(EULER, **RELEASED), make_base(EULER)
    for each in (scheduler, base):
        each.set_timesteps(4)
    g = torch.Generator().manual_seed(3)
    x, v = torch.randn(2, 2, 5, 4, generator=g)
    times = torch.rand(2, 5, generator=g) * 900 + 50
    ours = scheduler.step(v, scheduler.timesteps[0], x, per_token_timesteps=times).prev_sample
    turned = lml_direction_textbook(v, None, damping=30.0, mixing=0.0)
    assert torch.equal(ours, base.step(turned, base.timesteps[0], x, per_token_timesteps=times).prev_sample)


def test_the_pure_samplers_are_the_published_formulas():
    model = noise_model(target())
    scheduler = make(DDIM, timestep_spacing="trailing")
    scheduler.set_timesteps(8)
    x, steps = start(scheduler, dtype=torch.float64), scheduler.timesteps.tolist()
    abar = scheduler.alphas_cumprod.double()

    def level(t):
        return Level(float(abar[t]) ** 0.5, (1 - float(abar[t])) ** 0.5)

    def noise(y, t):
        return model(y, level(t))

    def pure(name, levels):
        return [sample(SAMPLERS[name], model, x, levels, ReleasedLML(**STRENGTH))]

    # Pure levels reach from one timestep to the next; the published DDIM steps back by 125 each time, which is that.
    oracle = ddim(noise, x, steps, abar, abar[0], **STRENGTH)
    assert apart(pure("ddim", [*map(level, steps)]), oracle[-2:-1]) < 1e-13
    for name, order, data in (("dpm-solver-1", 1, False), ("dpm-solver-2m", 2, False), ("dpm-solver-3m", 3, False),
                              ("dpm-solver++-2m", 2, True), ("dpm-solver++-3m", 3, True)):  # fmt: skip
        oracle = dpm_solver(noise, x, steps, abar, order=order, data=data, **STRENGTH)
        # The oracle takes h from a difference of logarithms: 1e-15 of steps of 0.5, times weights, in eight steps.
        assert apart(pure(name, [*map(level, steps), level(0)]), oracle[-1:]) < 1e-12

    sigmas = torch.linspace(0.98, 0.02, 9, dtype=torch.float64)

    def velocity(y, s):
        e = model(y, Level(1 - float(s), float(s)))
        return (e - y) / (1 - s)  # e - x0

    flow = [Level(1 - float(s), float(s)) for s in sigmas]
    assert apart(pure("euler-flow", flow), flow_euler(velocity, x, sigmas, **STRENGTH)[-1:]) < 1e-13


def test_without_mixing_it_is_rounding_noise_and_not_the_base():
    # Claims K2, K4: the identity in exact arithmetic; evaluated as published, float32 adds what it loses.
    d = 3 * 64 * 64
    x = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    m = torch.randn(1, 3, 64, 64, generator=torch.Generator().manual_seed(1))
    results = {}
    for variant in ("released", "algorithm1"):
        s = make(DDIM, **{**RELEASED, "variant": variant, "damping": 1e-3, "mixing": 0.0})
        s.set_timesteps(10)
        results[variant] = s.step(m, s.timesteps[5], x).prev_sample
    base = make_base(DDIM)
    base.set_timesteps(10)
    plain = base.step(m, base.timesteps[5], x).prev_sample
    assert torch.equal(results["algorithm1"], plain)
    # Of the order of the unit of float32 over damping/|e|^2: 6e-8 * 12288/1e-3 = 0.7.
    off = (results["released"] - plain).norm() / m.norm()
    assert 0.01 < off < 10 * 2.0**-24 * d / 1e-3


@pytest.mark.parametrize(("name", "options"), [(DDIM, {}), (DPM, TO_TIMESTEP_0), (EULER, {})])
def test_each_generation_begins_afresh(name, options):
    scheduler = make(name, **options, **RELEASED)
    x = start(scheduler)
    first, again = (run(scheduler, denoiser(name), x) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert not torch.equal(first[-1], run(make(name, mixing=0.0, **options), denoiser(name), x)[-1])


@pytest.mark.parametrize(("name", "options"), [(DDIM, {}), (DPM, TO_TIMESTEP_0), (EULER, {})])
def test_tuples_are_turned_too(name, options):
    a, b = (make(name, **options, **RELEASED) for _ in range(2))
    x = start(a)
    for each in (a, b):
        each.set_timesteps(5)
    for t in a.timesteps[:3]:
        m = torch.sin(3 * x)
        x, y = a.step(m, t, x, return_dict=False)[0], b.step(m, t, x).prev_sample
        assert torch.equal(x, y)


@pytest.mark.parametrize(("name", "options"), [(DDIM, {}), (DPM, TO_TIMESTEP_0), (EULER, {})])
def test_a_network_may_reuse_the_memory_of_its_output(name, options):
    a, b = (make(name, **options, **RELEASED) for _ in range(2))
    x = start(a)
    buffer = torch.empty_like(x)
    paths = [path_of(a, x), path_of(b, x, model=lambda y, t: buffer.copy_(network(y, t)))]
    assert all(torch.equal(p, q) for p, q in zip(*paths, strict=True))


def test_a_step_that_fails_leaves_the_solver_as_it_was():
    scheduler = make(DPM, **TO_TIMESTEP_0, **RELEASED)
    scheduler.set_timesteps(4)
    x = start(scheduler)
    with pytest.raises(RuntimeError):
        scheduler.step(torch.ones(5, 7), scheduler.timesteps[0], x)
    assert scheduler._lml_turn is None


@pytest.mark.parametrize("name", [n for n in NAMES if n not in (DDIM, DPM, EULER)])
def test_other_bases_refuse_it(name):
    assert name != FLOW[0]
    with pytest.raises(ValueError, match="variant must be 'algorithm1' for LML"):
        make(name, **RELEASED)


@pytest.mark.parametrize(
    ("option", "value"), [("damping_mode", "relative"), ("rank", 2), ("stop", 0.5), ("norm", "extrapolated")]
)
def test_what_the_published_code_has_no_choice_of_is_refused(option, value):
    with pytest.raises(ValueError, match=f"{option} must be .* with variant='released'"):
        SCHEDULERS[DDIM](**suited(DDIM), **{**RELEASED, option: value})


@pytest.mark.parametrize(("name", "options"), [(DPM, TO_TIMESTEP_0), (EULER, {})])
def test_only_the_published_ddim_has_a_start(name, options):
    with pytest.raises(ValueError, match=r"start must be 0 with variant='released' but for DDIM, got 0\.5"):
        make(name, start=0.5, **options, **RELEASED)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({}, "final_sigmas_type must be 'sigma_min' with variant='released', got 'zero'"),
        ({**TO_TIMESTEP_0, "euler_at_final": True}, "euler_at_final must be False with variant='released', got True"),
        *(
            ({**TO_TIMESTEP_0, f"use_{kind}": True}, f"use_{kind} must be False with variant='released', got True")
            for kind in ("karras_sigmas", "exponential_sigmas", "beta_sigmas", "lu_lambdas", "flow_sigmas")
        ),
        (
            {**TO_TIMESTEP_0, "algorithm_type": "sde-dpmsolver++"},
            r"algorithm_type must be 'dpmsolver' or 'dpmsolver\+\+' with variant='released'",
        ),
    ],
)
def test_dpm_solver_refuses_levels_and_draws_that_the_published_code_does_not_have(options, said):
    with pytest.raises(ValueError, match=said):
        make(DPM, **options, **RELEASED)
    with pytest.raises(ValueError, match=said):
        SCHEDULERS[DPM].from_config(make_base(DPM, **options).config, **RELEASED)


def test_thresholding_acts_before_the_turn():
    scheduler = make(DDIM, thresholding=True, **RELEASED)
    base = make_base(DDIM, thresholding=True)
    x = 3 * torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for each in (scheduler, base):
        each.set_timesteps(5)
    t = scheduler.timesteps[2]
    ours, theirs = (each.step(network(x, t), t, x) for each in (scheduler, base))
    assert torch.equal(ours.pred_original_sample, theirs.pred_original_sample)
