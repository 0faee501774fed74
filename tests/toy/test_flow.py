import pytest
import torch

import toy
from lml.samplers import Level
from toy import GaussianMixture, noise_model, probability_flow
from toy.flow import _logistic
from toy.levels import level_at

HIGH, LOW = Level(0.05, (1 - 0.05**2) ** 0.5), Level(0.995, (1 - 0.995**2) ** 0.5)


def test_the_flow_of_a_gaussian_is_its_closed_form():
    variances, mean = torch.tensor([[0.01, 1.0, 30.0]]).double(), torch.tensor([[1.0, -2.0, 0.5]]).double()
    target = GaussianMixture(torch.ones(1), mean, variances)
    x = 2 * torch.randn((4, 3), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    for start, end in (
        (HIGH, LOW),
        (LOW, HIGH),
        (Level(1.0, 50.0), Level(1.0, 1e-3)),
        (Level(0.1, 0.9), Level(0.9, 0.1)),
    ):
        v = [level.alpha**2 * variances + level.sigma**2 for level in (start, end)]
        exact = end.alpha * mean + (v[1] / v[0]).sqrt() * (x - start.alpha * mean)
        found = probability_flow(target, x, start, end)
        # DOP853 holds each of some hundred steps to 1e-12, and the flow stretches an error as it does x.
        stretch = max(1.0, float((v[1] / v[0]).sqrt().max()))
        assert float((found - exact).abs().max()) < 100 * 1e-12 * stretch * float(x.abs().max() + mean.abs().max())


@pytest.mark.parametrize("name", ["skewed-1d", "cross-2d", "random-8d", "points-2d"])
def test_the_flow_goes_back_where_it_came_from(name):
    target = toy.target(name)
    end = Level(0.8, 0.6)
    x = target.diffuse(HIGH.alpha, HIGH.sigma).sample(3, generator=torch.Generator().manual_seed(0))
    there = probability_flow(target, x, HIGH, end)
    back = probability_flow(target, there, end, HIGH)
    # The way back stretches an error by the ratio of the scales, at most 10 on these levels.
    assert float((back - x).abs().max()) < 10 * 100 * 1e-12 * float(x.abs().max())


def test_the_flow_carries_samples_to_samples():
    target = toy.target("bimodal-1d")
    x = target.diffuse(HIGH.alpha, HIGH.sigma).sample(2000, generator=torch.Generator().manual_seed(0))
    moved = probability_flow(target, x, HIGH, LOW, rtol=1e-8, atol=1e-9)[:, 0].sort().values
    means, spread = torch.tensor([-1.5, 1.5]).double() * LOW.alpha, (LOW.alpha**2 * 0.6 + LOW.sigma**2) ** 0.5
    cdf = torch.special.ndtr((moved[:, None] - means) / spread).mean(1)
    ranks = (torch.arange(2000, dtype=torch.float64) + 0.5) / 2000
    assert float((cdf - ranks).abs().max()) < 2.2 / 2000**0.5  # Kolmogorov: exceeded with probability 1e-4


def test_the_noise_model_is_the_target_at_the_level_for_any_shape():
    target = toy.target("digits")
    model, level = noise_model(target), level_at(toy.noise_schedule("cosine"), 0.5)
    x = torch.randn((3, 64), generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    expected = target.diffuse(level.alpha, level.sigma).noise(x)
    assert torch.equal(model(x, level), expected)
    assert torch.equal(model(x.view(3, 1, 8, 8), level), expected.view(3, 1, 8, 8))
    assert model(x.float(), level).dtype == torch.float32


def test_a_level_without_signal_or_noise_is_refused():
    target, x = toy.target("gauss-1d"), torch.zeros(1, 1)
    with pytest.raises(ValueError, match=r"end must have alpha > 0 and sigma > 0, got 1.0 and 0.0"):
        probability_flow(target, x, HIGH, Level(1.0, 0.0))
    with pytest.raises(ValueError, match=r"start must have alpha > 0 and sigma > 0, got 0.0 and 1.0"):
        probability_flow(target, x, Level(0.0, 1.0), LOW)
    with pytest.raises(ValueError, match=r"x must have shape \(B, 1\), got \(1, 2\)"):
        probability_flow(target, torch.zeros(1, 2), HIGH, LOW)


def test_the_logistic_function_is_accurate_at_both_ends():
    assert _logistic(-700.0) == pytest.approx(9.8596765437597708e-305, rel=1e-15)
    assert _logistic(0.0) == 0.5
    assert _logistic(700.0) == 1.0
