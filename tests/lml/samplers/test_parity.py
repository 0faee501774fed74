"""Every base against the diffusers scheduler of the same algorithm, step by step.

diffusers makes its tables in float32, and derives the coefficients of a step from them in float32 too, where the
differences of half-log-SNRs lose digits. Parity means: from the same float32 table, held in float64, theirs and ours
stay within the float32 rounding of their samples: a step of theirs rounds some ten products and sums of the size of x
or of the noise, and the exact flow passes an error on without amplifying it much. A step in the noise prediction is the
difference of terms ``alpha'/alpha`` as large. The allowance is 16 roundings of such terms a step.
"""

import itertools
import math
import warnings

import diffusers
import pytest
import torch
from diffusers_levels import of_cumulative, run, sigma_levels, variance_preserving

import toy
from lml.samplers import DDIM, SAMPLERS, Level, dpm_solver, dpm_solver_pp, ipndm, pndm, trajectory, unipc
from lml.samplers.edm import EULER, HEUN
from lml.samplers.flow_matching import EULER_FLOW, HEUN_FLOW

# diffusers hands torch tensors to numpy in the way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

TARGET = toy.target("random-8d")
MODEL = toy.noise_model(TARGET)
SINGLE = torch.finfo(torch.float32).eps
SIGMAS = {
    "table": {},
    "karras": {"use_karras_sigmas": True},
    "exponential": {"use_exponential_sigmas": True},
    "beta": {"use_beta_sigmas": True},
    "lu": {"use_lu_lambdas": True},
}


def start(levels: list[Level], count: int = 3) -> torch.Tensor:
    x = TARGET.diffuse(levels[0].alpha, levels[0].sigma).sample(count, generator=torch.Generator().manual_seed(3))
    return x.float()


def quiet(make):
    """Build a scheduler: the noise-prediction form of DPM-Solver is deprecated there, and says so."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)
        return make()


def gaps(ours, theirs, levels):
    """Return the differences after each step, over what rounding allows."""
    size, allowed, made = 1.0, 0.0, []
    for (now, after), a, b in zip(itertools.pairwise(levels), ours, theirs, strict=True):
        size = max(size, float(a.abs().max()))
        allowed += 16 * SINGLE * size * max(1.0, after.alpha / now.alpha)
        made.append(float((a - b.double()).abs().max()) / allowed)
    return made


def assert_same(ours, theirs, levels):
    for i, gap in enumerate(gaps(ours, theirs, levels)):
        assert gap < 1, f"after step {i}"


def in_double(scheduler):
    scheduler.sigmas = scheduler.sigmas.double()
    return scheduler


def ours(sampler, x, levels):
    return [state.x for state, _ in trajectory(sampler, MODEL, x.double(), levels)]


def multistep(algorithm, order, spacing, sigmas, final, steps):
    scheduler = quiet(
        lambda: diffusers.DPMSolverMultistepScheduler(
            solver_order=order,
            algorithm_type=algorithm,
            timestep_spacing=spacing,
            final_sigmas_type=final,
            steps_offset=1,
            **SIGMAS[sigmas],
        )
    )
    scheduler.set_timesteps(steps)
    in_double(scheduler)
    return scheduler


def usable(levels: list[Level]) -> list[Level]:
    """Drop a last level that repeats the one before: karras and its like end at sigma_min already (h = 0)."""
    return levels if levels[-1].half_log_snr > levels[-2].half_log_snr + 1e-4 else levels[:-1]


@pytest.mark.parametrize("steps", [8, 20])  # below 15 the order falls at the end
@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize(
    ("algorithm", "order", "final"),
    [
        ("dpmsolver", 1, "sigma_min"),
        ("dpmsolver", 2, "sigma_min"),
        ("dpmsolver", 3, "sigma_min"),
        ("dpmsolver++", 2, "zero"),
        ("dpmsolver++", 2, "sigma_min"),
        ("dpmsolver++", 3, "zero"),
        ("dpmsolver++", 3, "sigma_min"),
    ],
)
def test_multistep_dpm_solvers_agree_on_every_spacing(algorithm, order, final, spacing, steps):
    scheduler = multistep(algorithm, order, spacing, "table", final, steps)
    levels = sigma_levels(scheduler)
    x = start(levels)
    base = dpm_solver(order) if algorithm == "dpmsolver" else dpm_solver_pp(order)
    assert_same(ours(base, x, levels), run(scheduler, MODEL, x, lambda i: levels[i]), levels)


@pytest.mark.parametrize("sigmas", ["karras", "exponential", "beta", "lu"])
@pytest.mark.parametrize(("algorithm", "order", "final"), [("dpmsolver", 3, "sigma_min"), ("dpmsolver++", 3, "zero"),
                                                            ("dpmsolver++", 2, "zero")])  # fmt: skip
def test_multistep_dpm_solvers_agree_on_every_choice_of_sigmas(algorithm, order, final, sigmas):
    scheduler = multistep(algorithm, order, "linspace", sigmas, final, 20)
    levels = usable(sigma_levels(scheduler))
    x = start(levels)
    base = dpm_solver(order) if algorithm == "dpmsolver" else dpm_solver_pp(order)
    theirs = run(scheduler, MODEL, x, lambda i: sigma_levels(scheduler)[i])[: len(levels) - 1]
    assert_same(ours(base, x, levels), theirs, levels)


# Into sigma = 0 diffusers has infinity times zero for the noise prediction and for bh1.
UNIPC = [(x0, v, "sigma_min") for x0 in (True, False) for v in ("bh1", "bh2")] + [(True, "bh2", "zero")]


@pytest.mark.parametrize("steps", [6, 20])
@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize(("predict_x0", "variant", "final"), UNIPC)
def test_unipc_agrees(order, predict_x0, variant, final, spacing, steps):
    scheduler = diffusers.UniPCMultistepScheduler(
        solver_order=order, predict_x0=predict_x0, solver_type=variant, timestep_spacing=spacing,
        final_sigmas_type=final, steps_offset=1,
    )  # fmt: skip
    scheduler.set_timesteps(steps)
    in_double(scheduler)
    levels = sigma_levels(scheduler)
    x = start(levels)
    base = unipc(order, variant=variant, predict_x0=predict_x0)
    assert_same(ours(base, x, levels), run(scheduler, MODEL, x, lambda i: levels[i]), levels)


@pytest.mark.parametrize("sigmas", ["karras", "exponential", "beta"])
def test_unipc_agrees_on_every_choice_of_sigmas(sigmas):
    scheduler = diffusers.UniPCMultistepScheduler(solver_order=3, **SIGMAS[sigmas])
    scheduler.set_timesteps(15)
    in_double(scheduler)
    levels = sigma_levels(scheduler)
    x = start(levels)
    assert_same(ours(unipc(3), x, levels), run(scheduler, MODEL, x, lambda i: levels[i]), levels)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("to_one", [True, False])
def test_ddim_agrees(spacing, to_one):
    # With linspace, diffusers' DDIM and PNDM step to t - 1000/N while their next timestep is t - 999/(N - 1): their
    # sample and their network disagree on the level, and there is no algorithm to compare with.
    scheduler = diffusers.DDIMScheduler(
        clip_sample=False, set_alpha_to_one=to_one, timestep_spacing=spacing, steps_offset=1
    )
    scheduler.set_timesteps(10)
    last = scheduler.final_alpha_cumprod
    levels = [of_cumulative(scheduler.alphas_cumprod[t]) for t in scheduler.timesteps] + [of_cumulative(last)]
    x = start(levels)
    assert_same(ours(DDIM, x, levels), run(scheduler, MODEL, x, lambda i: levels[i]), levels)


@pytest.mark.parametrize("spacing", ["leading", "trailing"])
@pytest.mark.parametrize("to_one", [True, False])
def test_pndm_agrees_with_either_start(spacing, to_one):
    for skip in (True, False):
        scheduler = diffusers.PNDMScheduler(
            skip_prk_steps=skip, set_alpha_to_one=to_one, timestep_spacing=spacing, steps_offset=1
        )
        scheduler.set_timesteps(10)
        table, last = scheduler.alphas_cumprod, scheduler.final_alpha_cumprod

        def at(t, table=table):
            return of_cumulative(table[int(t)], float(t))

        times = sorted({int(t) for t in scheduler._timesteps}, reverse=True)
        levels = [at(t) for t in times] + [of_cumulative(last)]
        x = start(levels)
        base = pndm(None if skip else lambda now, after, at=at: at((now.time + after.time) / 2))
        states, infos = zip(*trajectory(base, MODEL, x.double(), levels), strict=True)
        theirs = run(scheduler, MODEL, x, lambda i, s=scheduler, at=at: at(s.timesteps[i]))
        ends = torch.tensor([len(info.evaluations) for info in infos]).cumsum(0) - 1  # their samples that end a step
        assert len(theirs) == int(ends[-1]) + 1 == base.evaluations(10)
        assert_same([s.x for s in states], [theirs[i] for i in ends], levels)


def ipndm_of_diffusers(x, steps):
    """Return their samples and levels from the second level on: their network answers with the velocity there."""
    scheduler = diffusers.IPNDMScheduler()
    scheduler.set_timesteps(steps)
    scheduler.alphas, scheduler.betas = (t.double() for t in (scheduler.alphas, scheduler.betas))
    levels = [Level(float(a), float(s)) for a, s in zip(scheduler.alphas, scheduler.betas, strict=True)][1:]
    scheduler.set_begin_index(1)
    made = []
    for t, level in zip(scheduler.timesteps[1:], levels, strict=False):
        velocity = (MODEL(x.double(), level) - level.sigma * x.double()) / level.alpha
        x = scheduler.step(velocity.float(), t, x).prev_sample
        made.append(x)
    return made, levels


def test_ipndm_agrees_below_sigma_one_and_with_no_other_order():
    # At their first level alpha = 0.
    first = start([Level((1 - math.sin(math.pi * 0.45) ** 4) ** 0.5, math.sin(math.pi * 0.45) ** 2)])
    theirs, levels = ipndm_of_diffusers(first, 10)
    assert_same(ours(ipndm(4), first, levels), theirs, levels)
    for order in (2, 3):
        assert max(gaps(ours(ipndm(order), first, levels), theirs, levels)) > 10


@pytest.mark.parametrize("sigmas", ["table", "karras", "exponential", "beta"])
@pytest.mark.parametrize("spacing", ["linspace", "leading", "trailing"])
def test_euler_and_heun_agree(spacing, sigmas):
    for kind, base in ((diffusers.EulerDiscreteScheduler, EULER), (diffusers.HeunDiscreteScheduler, HEUN)):
        scheduler = kind(timestep_spacing=spacing, steps_offset=1, **SIGMAS[sigmas])
        scheduler.set_timesteps(10)
        in_double(scheduler)
        # Theirs moves z = x/alpha, and Heun's table has every inner level twice.
        table = scheduler.sigmas if base is EULER else torch.cat((scheduler.sigmas[:1], scheduler.sigmas[1:-1:2],
                                                                  scheduler.sigmas[-1:]))  # fmt: skip
        levels = [variance_preserving(s) for s in table]
        x = start(levels)
        z, theirs = (x.double() / levels[0].alpha).float(), []
        scheduler.is_scale_input_called = True
        for i, t in enumerate(scheduler.timesteps):
            level = variance_preserving(scheduler.sigmas[i])
            z = scheduler.step(MODEL(z.double() * level.alpha, level).float(), t, z).prev_sample
            theirs.append(z)
        theirs = theirs if base is EULER else [*theirs[1::2], theirs[-1]]
        scaled = [s / level.alpha for s, level in zip(ours(base, x, levels), levels[1:], strict=True)]
        assert_same(scaled, theirs, levels)


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_flow_matching_agrees_below_sigma_one(shift):
    # At sigma = 1 the noise says nothing of the velocity: the first level is below.
    for kind, base in (
        (diffusers.FlowMatchEulerDiscreteScheduler, EULER_FLOW),
        (diffusers.FlowMatchHeunDiscreteScheduler, HEUN_FLOW),
    ):
        scheduler = kind(shift=shift)
        scheduler.set_timesteps(12)
        in_double(scheduler)
        table = scheduler.sigmas if base is EULER_FLOW else torch.cat((scheduler.sigmas[:1], scheduler.sigmas[1:-1:2],
                                                                       scheduler.sigmas[-1:]))  # fmt: skip
        levels = [Level(1 - float(s), float(s)) for s in table][1:]
        x = start(levels)
        evaluations = 1 if base is EULER_FLOW else 2
        scheduler.set_begin_index(evaluations)
        y, theirs = x.float(), []
        for i, t in enumerate(scheduler.timesteps[evaluations:], evaluations):
            s = float(scheduler.sigmas[i])
            e = MODEL(y.double(), Level(1 - s, s))
            y = scheduler.step(((e - y.double()) / (1 - s)).float(), t, y).prev_sample
            theirs.append(y)
        theirs = theirs if base is EULER_FLOW else [*theirs[1::2], theirs[-1]]
        assert_same(ours(base, x, levels), theirs, levels)


def test_the_first_order_bases_are_one_algorithm():
    levels = toy.noise_levels(toy.noise_schedule("cosine"), 12, times=(0.95, 0.01))
    x = start(levels).double()
    reference = ours(DDIM, x, levels)
    for name in ("dpm-solver-1", "euler", "euler-flow"):
        for a, b in zip(ours(SAMPLERS[name], x, levels), reference, strict=True):
            # Rearrangements of a dozen operations a step on numbers of one size.
            torch.testing.assert_close(a, b, rtol=12 * 12 * 2.2e-16, atol=12 * 12 * 2.2e-16 * float(b.abs().max()))


@pytest.mark.parametrize(
    ("algorithm", "final", "other"),
    [
        ("dpmsolver", "sigma_min", dpm_solver(3, exact_curvature=True)),
        ("dpmsolver", "sigma_min", dpm_solver(2)),
        ("dpmsolver++", "zero", dpm_solver_pp(3, exact_curvature=True)),
        ("dpmsolver++", "zero", dpm_solver_pp(3, lower_order_final=False)),
    ],
)
def test_parity_tells_neighbouring_algorithms_apart(algorithm, final, other):
    scheduler = multistep(algorithm, 3, "linspace", "table", final, 10)
    levels = sigma_levels(scheduler)
    x = start(levels)
    assert max(gaps(ours(other, x, levels), run(scheduler, MODEL, x, lambda i: levels[i]), levels)) > 10


def test_their_float32_coefficients_agree_to_the_digits_that_they_keep():
    # As shipped: half-log-SNRs up to 5 with steps h lose 5/h roundings, their second differences the square of that.
    scheduler = multistep("dpmsolver++", 3, "linspace", "table", "zero", 10)
    scheduler.sigmas = scheduler.sigmas.float()
    levels = sigma_levels(scheduler)
    x = start(levels)
    h = min(b.half_log_snr - a.half_log_snr for a, b in itertools.pairwise(levels))
    made = gaps(ours(dpm_solver_pp(3), x, levels), run(scheduler, MODEL, x, lambda i: levels[i]), levels)
    assert max(made) < (5 / h) ** 2


def test_on_equal_steps_of_log_snr_ipndm_of_two_is_the_multistep_dpm_solver_of_two():
    levels = toy.noise_levels(toy.noise_schedule("cosine"), 20, times=(0.95, 0.01))
    x = start(levels).double()
    for a, b in zip(ours(ipndm(2), x, levels), ours(dpm_solver(2), x, levels), strict=True):
        # The steps are equal up to rounding of their levels, some ten units of a log-SNR of ten, over a step of a half.
        torch.testing.assert_close(a, b, rtol=1e-11, atol=1e-11)
    uneven = toy.noise_levels(toy.noise_schedule("cosine"), 20, times=(0.95, 0.01), spacing="karras")
    assert float((ours(ipndm(2), x, uneven)[-1] - ours(dpm_solver(2), x, uneven)[-1]).abs().max()) > 1e-4
