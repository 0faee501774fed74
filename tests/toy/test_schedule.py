"""Noise schedules: identities, inverses and derivatives on continuous time, and the tables of diffusers."""

from __future__ import annotations

import math
from collections.abc import Callable

import diffusers
import mpmath
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from references import U

from toy.schedule import SCHEDULES, VE, Cosine, FlowMatching, NoiseSchedule, VPLinear, VPScaledLinear, noise_schedule

_PRESERVING = ["vp-linear", "vp-scaled-linear", "cosine"]
_TIMES = torch.cat(
    [
        torch.logspace(-12, -2, 11, dtype=torch.float64),
        torch.linspace(0.02, 0.98, 25, dtype=torch.float64),
        1 - torch.logspace(-2, -8, 4, dtype=torch.float64),
    ]
)


@pytest.mark.parametrize("name", _PRESERVING)
def test_variance_is_preserved(name: str) -> None:
    schedule = SCHEDULES[name]
    t = torch.cat([torch.tensor([0.0, 1.0], dtype=torch.float64), _TIMES])
    # Logarithm, exponential and square of each coefficient round a few times.
    assert float((schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2 - 1).abs().max()) <= 16 * U


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_ends_are_those_of_the_schedule(name: str) -> None:
    schedule = SCHEDULES[name]
    ends = {
        "vp-linear": (math.exp(-0.5 * 10.05), None),  # the integral of beta is its mean, (0.1 + 20)/2
        "vp-scaled-linear": (math.exp(-0.5 * (0.85 + math.sqrt(0.85 * 12) + 12) / 3), None),  # of a squared line
        "vp-constant": (math.exp(-5.0), None),
        "cosine": (0.0, 1.0),
        "ve": (1.0, 50.0),
        "flow-matching": (0.0, 1.0),
    }[name]
    assert float(schedule.alpha(0.0)) == 1
    assert float(schedule.sigma(0.0)) == pytest.approx(0.01 if name == "ve" else 0.0, rel=8 * U)
    assert float(schedule.alpha(1.0)) == pytest.approx(ends[0], rel=16 * U)
    last = ends[1] if ends[1] is not None else math.sqrt(1 - ends[0] ** 2)
    assert float(schedule.sigma(1.0)) == pytest.approx(last, rel=16 * U)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_log_snr_decreases_and_is_that_of_the_coefficients(name: str) -> None:
    schedule = SCHEDULES[name]
    values = schedule.log_snr(_TIMES)
    assert bool((values.diff() < 0).all())
    ratio = 2 * torch.log(schedule.alpha(_TIMES) / schedule.sigma(_TIMES))
    assert float((values - ratio).abs().max()) <= 32 * U * float(values.abs().max())


@pytest.mark.parametrize("name", list(SCHEDULES))
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_time_inverts_log_snr_near_both_ends_as_well(name: str, data: st.DataObject) -> None:
    schedule = SCHEDULES[name]
    exponent = data.draw(st.floats(-9, -0.35))
    t = 10.0**exponent if data.draw(st.booleans()) else 1 - 10.0**exponent
    log_snr = schedule.log_snr(t)
    back = schedule.time(log_snr)
    # log-SNR is rounded at u max(1, |log-SNR|), and so are its terms; d t = d log-SNR over its slope.
    slope = float(
        2 * schedule.drift(t) - schedule.squared_diffusion(t) / schedule.sigma(t) ** 2 - 2 * schedule.drift(t)
    )
    limit = 16 * U * (1 + abs(float(log_snr))) / abs(slope) + 8 * U * t
    assert abs(float(back) - t) <= limit
    assert limit <= 1e-9 * max(t, 1 - t)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_ends_come_back_as_times(name: str) -> None:
    schedule = SCHEDULES[name]
    ends = torch.tensor([0.0, 1.0], dtype=torch.float64)
    back = schedule.time(schedule.log_snr(ends))
    assert float((back - ends).abs().max()) <= 4 * U
    schedule.alpha(back)  # within [0, 1], so that it is accepted


def _mp_alpha_sigma(name: str) -> Callable[[mpmath.mpf], tuple[mpmath.mpf, mpmath.mpf]]:
    """Return the schedule from its definition, in high precision."""
    one = mpmath.mpf(1)

    def beta_integral(t: mpmath.mpf) -> mpmath.mpf:
        if name == "vp-linear":
            return mpmath.mpf(0.1) * t + (20 - mpmath.mpf(0.1)) * t**2 / 2
        if name == "vp-constant":
            return 10 * t
        low, high = mpmath.sqrt(mpmath.mpf(0.85)), mpmath.sqrt(mpmath.mpf(12))
        return ((low + (high - low) * t) ** 3 - low**3) / (3 * (high - low))

    def level(t: mpmath.mpf) -> tuple[mpmath.mpf, mpmath.mpf]:
        if name == "ve":
            return one, mpmath.mpf(0.01) * (50 / mpmath.mpf(0.01)) ** t
        if name == "flow-matching":
            return 1 - t, t
        if name == "cosine":
            offset = mpmath.mpf(0.008)
            angle = lambda s: mpmath.cos((s + offset) / (1 + offset) * mpmath.pi / 2)
            alpha = angle(t) / angle(mpmath.mpf(0))
        else:
            alpha = mpmath.exp(-beta_integral(t) / 2)
        return alpha, mpmath.sqrt(1 - alpha**2)

    return level


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_coefficients_keep_their_digits_near_both_ends(name: str) -> None:
    schedule, exact = SCHEDULES[name], _mp_alpha_sigma(name)
    with mpmath.workdps(60):
        for t in _TIMES.tolist():
            alpha, sigma = exact(mpmath.mpf(t))
            # exp(log x) rounds at u |log x|, and |log| is below 20 on these times.
            assert float(schedule.alpha(t)) == pytest.approx(float(alpha), rel=32 * U)
            assert float(schedule.sigma(t)) == pytest.approx(float(sigma), rel=32 * U)


@pytest.mark.parametrize("name", list(SCHEDULES))
def test_drift_and_diffusion_are_derivatives_of_the_coefficients(name: str) -> None:
    schedule, exact = SCHEDULES[name], _mp_alpha_sigma(name)
    with mpmath.workdps(60):
        for t in (1e-6, 0.01, 0.3, 0.7, 0.99):
            point = mpmath.mpf(t)
            drift = mpmath.diff(lambda s: mpmath.log(exact(s)[0]), point)
            growth = mpmath.diff(lambda s: exact(s)[1] ** 2, point)
            squared_diffusion = growth - 2 * drift * exact(point)[1] ** 2
            assert float(schedule.drift(t)) == pytest.approx(float(drift), rel=1e-13, abs=1e-300)
            assert float(schedule.squared_diffusion(t)) == pytest.approx(float(squared_diffusion), rel=1e-13)


# Their tables are float32: cumulated products of 1000 rounded factors, (steps + 8) u32 at most, but rounding errors add
# like a random walk, 4 sqrt(steps) u32. sigma^2 = 1 - alpha^2 then carries that error on alpha^2.
_ROUNDING = 4 * math.sqrt(1000) * 2.0**-24


@pytest.mark.parametrize("scheduler", [diffusers.DDPMScheduler, diffusers.DDIMScheduler])
@pytest.mark.parametrize(
    ("schedule", "beta_schedule", "start", "end"),
    [
        (VPLinear(), "linear", 1e-4, 0.02),
        (VPScaledLinear(), "scaled_linear", 0.00085, 0.012),
        (VPLinear(0.5, 15.0), "linear", 5e-4, 0.015),
        (Cosine(), "squaredcos_cap_v2", 1e-4, 0.02),
    ],
)
def test_tables_are_those_of_diffusers(
    scheduler: type, schedule: NoiseSchedule, beta_schedule: str, start: float, end: float
) -> None:
    theirs = scheduler(beta_schedule=beta_schedule, beta_start=start, beta_end=end).alphas_cumprod.double()
    ours = schedule.discrete()
    assert ours.alpha.dtype is torch.float64
    assert ours.alpha.shape == ours.sigma.shape == (1000,)
    # The last cosine factor is 1 - 0.999 in float32: its rounding is that of 0.999, 1000 times as large.
    limit = torch.full((1000,), _ROUNDING, dtype=torch.float64)
    if beta_schedule == "squaredcos_cap_v2":
        betas = 1 - ours.alpha**2 / torch.cat([torch.ones(1, dtype=torch.float64), ours.alpha[:-1] ** 2])
        limit = limit + torch.cumsum(2.0**-24 * betas / (1 - betas), 0)
    assert bool(((ours.alpha**2 / theirs - 1).abs() <= limit).all())
    assert float((ours.sigma**2 - (1 - theirs)).abs().max()) <= _ROUNDING
    assert bool((ours.log_snr.diff() < 0).all())


def test_short_tables_are_those_of_diffusers() -> None:
    theirs = diffusers.DDPMScheduler(50, beta_schedule="scaled_linear", beta_start=0.00085, beta_end=0.012)
    ours = VPScaledLinear().discrete(50)
    assert float((ours.alpha**2 / theirs.alphas_cumprod.double() - 1).abs().max()) <= _ROUNDING


@pytest.mark.parametrize("steps", [1000, 40])
def test_flow_matching_table_is_that_of_diffusers(steps: int) -> None:
    theirs = diffusers.FlowMatchEulerDiscreteScheduler(num_train_timesteps=steps, shift=1.0).sigmas.double()
    ours = FlowMatching().discrete(steps)
    assert float((ours.sigma.flip(0) - theirs[:steps]).abs().max()) <= 2.0**-23  # sigma <= 1 in float32, two roundings
    assert torch.equal(ours.alpha, 1 - ours.sigma)


def test_flow_matching_is_exact_in_float64_and_has_1000_levels_by_default() -> None:
    table = FlowMatching().discrete()
    assert torch.equal(table.sigma, torch.arange(1, 1001, dtype=torch.float64) / 1000)
    # sigma/(1 - sigma) = 10 at log-SNR -2 log 10; a few roundings in float64, none in float32.
    assert float(FlowMatching().time(-2 * math.log(10))) == pytest.approx(10 / 11, rel=8 * U)


def test_exploding_table_is_that_of_diffusers() -> None:
    theirs = diffusers.ScoreSdeVeScheduler(sigma_min=0.01, sigma_max=50.0)
    theirs.set_sigmas(1000)
    ours = VE().discrete()
    # The logarithm, up to 4.7, is rounded to float32 before it is exponentiated; a few roundings of the grid.
    assert float((ours.sigma / theirs.discrete_sigmas.double() - 1).abs().max()) <= 8 * 4.7 * 2.0**-24
    assert torch.equal(ours.alpha, torch.ones(1000, dtype=torch.float64))


@pytest.mark.parametrize("name", ["vp-linear", "vp-scaled-linear"])
def test_table_tends_to_continuous_time(name: str) -> None:
    table, schedule = SCHEDULES[name].discrete(), SCHEDULES[name]
    t = torch.arange(1, 1001, dtype=torch.float64) / 1000
    # log(1 - b) = -b - b^2/2 ..., summed: at most the sum of b^2; and a left against a middle sum, half a step of beta.
    beta = schedule.beta(t) / 1000
    limit = torch.cumsum(beta**2, 0) + beta
    assert bool(((2 * table.alpha.log() - 2 * schedule.alpha(t).log()).abs() <= limit).all())


def test_times_may_have_any_shape_and_dtype() -> None:
    for schedule in SCHEDULES.values():
        t = torch.full((2, 3), 0.5, dtype=torch.float32)
        for method in (schedule.alpha, schedule.sigma, schedule.log_snr, schedule.drift, schedule.squared_diffusion):
            assert method(t).shape == (2, 3)
            assert method(t).dtype is torch.float64
            assert torch.equal(method(t)[0, 0], method(0.5))


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (
            lambda: noise_schedule("linear"),
            "schedule must be one of vp-linear, vp-scaled-linear, vp-constant, cosine, ve",
        ),
        (lambda: noise_schedule("cosine").alpha(1.1), "time must lie in [0, 1], got 1.1"),
        (lambda: noise_schedule("ve").sigma(-0.1), "time must lie in [0, 1], got -0.1"),
        (lambda: noise_schedule("cosine").log_snr(math.nan), "time must lie in [0, 1], got nan"),
        (lambda: noise_schedule("vp-linear").drift(2), "time must lie in [0, 1], got 2"),
        (
            lambda: FlowMatching().squared_diffusion(torch.tensor([0.5, 3.0])),
            "time must lie in [0, 1]",
        ),
        (lambda: noise_schedule("vp-linear").discrete(0), "steps must be a positive integer, got 0"),
        (lambda: noise_schedule("ve").discrete(10.0), "steps must be a positive integer, got 10.0"),
        (lambda: noise_schedule("flow-matching").discrete(-1), "steps must be a positive integer, got -1"),
        (lambda: VPLinear(-1.0), "beta_start must be a finite positive number, got -1.0"),
        (lambda: VPLinear(2.0, 1.0), "beta_start must be below beta_end, got 2.0 and 1.0"),
        (lambda: VPScaledLinear(1.0, math.inf), "beta_end must be a finite positive number, got inf"),
        (lambda: VE(0.0), "sigma_min must be a finite positive number, got 0.0"),
        (lambda: VE(1.0, 1.0), "sigma_min must be below sigma_max, got 1.0 and 1.0"),
        (lambda: Cosine(0.0), "offset must be a finite positive number, got 0.0"),
    ],
)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        call()
    assert message in str(caught.value)
