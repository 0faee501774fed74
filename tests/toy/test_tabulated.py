"""A schedule from a table: its levels are those of the table, and of the analytic schedule that the table samples."""

import diffusers
import pytest
import torch

from toy.levels import noise_levels
from toy.schedule import VPConstant, VPLinear
from toy.tabulated import Tabulated

U = 2.0**-53
BETAS = torch.linspace(1e-4, 0.02, 1000, dtype=torch.float64)


def test_at_its_timesteps_it_has_the_coefficients_of_the_table() -> None:
    schedule, table = Tabulated(BETAS), VPLinear().discrete()
    t = torch.arange(1000, dtype=torch.float64) / 999
    # A cumulated sum of 1000 logarithms against a cumulated product, each rounded 1000 times.
    assert float((schedule.alpha(t) / table.alpha - 1).abs().max()) <= 2000 * U
    assert float((schedule.sigma(t) / table.sigma - 1).abs().max()) <= 1e4 * U  # 1 - abar at abar = 1 - 1e-4
    assert torch.allclose(schedule.discrete().alpha, table.alpha, rtol=2000 * U, atol=0)


def test_time_inverts_log_snr_between_timesteps_too() -> None:
    schedule = Tabulated(BETAS)
    t = torch.linspace(0, 1, 4567, dtype=torch.float64)
    assert float((schedule.time(schedule.log_snr(t)) - t).abs().max()) <= 1e-12
    assert float(schedule.timestep(1e9)) == 0
    assert float(schedule.timestep(-1e9)) == 999


def test_variance_is_preserved_and_drift_and_diffusion_are_derivatives() -> None:
    schedule = Tabulated(BETAS)
    t = (torch.arange(1, 999, dtype=torch.float64) + 0.5) / 999  # inside the linear pieces
    h = 1e-6
    assert float((schedule.alpha(t) ** 2 + schedule.sigma(t) ** 2 - 1).abs().max()) <= 8 * U
    slope = (schedule.alpha(t + h).log() - schedule.alpha(t - h).log()) / (2 * h)
    # Central differences: h^2 times the third derivative, below 1e3, and rounding u/h.
    assert float((schedule.drift(t) / slope - 1).abs().max()) <= 1e-6
    assert torch.equal(schedule.squared_diffusion(t), -2 * schedule.drift(t))


def test_a_constant_rate_is_the_analytic_schedule_shifted_by_one_step() -> None:
    exact = VPConstant(10.0)
    schedule = Tabulated(exact._betas(1000))
    after = (torch.arange(1000, dtype=torch.float64) + 1) / 1000
    t = torch.arange(1000, dtype=torch.float64) / 999
    assert float((schedule.alpha(t) / exact.alpha(after) - 1).abs().max()) <= 2000 * U


def test_trained_betas_of_diffusers_are_this_table() -> None:
    theirs = diffusers.DDIMScheduler(trained_betas=VPConstant(10.0)._betas(1000).numpy()).alphas_cumprod.double()
    ours = VPConstant(10.0).discrete().alpha ** 2
    assert float((ours / theirs - 1).abs().max()) <= 1000 * 2.0**-24


def test_levels_of_every_spacing_stay_on_the_table() -> None:
    for spacing in ("time", "log-snr", "karras"):
        levels = noise_levels(Tabulated(BETAS), 8, spacing=spacing, times=(1.0, 0.0))
        assert len(levels) == 9
        assert levels[0].time == 1
        assert levels[-1].time == 0


@pytest.mark.parametrize(
    ("betas", "message"),
    [([0.1], "at least two"), ([0.1, 1.0], r"lie in \(0, 1\), got 1"), ([0.1, float("nan")], "got nan")],
)
def test_bad_tables_are_refused(betas: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tabulated(betas)


def test_a_time_outside_is_refused() -> None:
    with pytest.raises(ValueError, match=r"time must lie in \[0, 1\]"):
        Tabulated(BETAS).log_snr(1.5)
    with pytest.raises(ValueError, match="steps must be 1000"):
        Tabulated(BETAS).discrete(10)
