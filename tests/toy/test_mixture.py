"""What is particular to `GaussianMixture`."""

from __future__ import annotations

import math

import pytest
import torch
from references import KINDS, U, gaussian_mixture, relative

import toy


def _points(count: int = 6, dim: int = 3) -> torch.Tensor:
    return 2 * torch.randn((count, dim), dtype=torch.float64, generator=torch.Generator().manual_seed(9))


def test_one_dimensional_mixture_is_its_textbook_formula() -> None:
    q = toy.target("bimodal-1d").diffuse(0.8, 0.6)
    variance, mean = 0.64 * 0.6 + 0.36, 0.8 * 1.5
    for x in (-2.0, 0.0, 0.3, 4.0):
        # Two equal components at +-m: s = (m tanh(m x/v) - x)/v, H = (m/v)^2 sech^2(m x/v) - 1/v.
        t = math.tanh(mean * x / variance)
        point = torch.tensor([[x]], dtype=torch.float64)
        scale = 50 * U * (1 + abs(x) * mean / variance) * (mean + abs(x)) / variance
        assert float(q.score(point)) == pytest.approx((mean * t - x) / variance, abs=scale)
        expected = (mean / variance) ** 2 * (1 - t * t) - 1 / variance
        assert float(q.hessian(point)) == pytest.approx(expected, abs=50 * U * (1 + (mean / variance) ** 2) / variance)


@pytest.mark.parametrize("kind", KINDS)
def test_single_component_is_a_gaussian(kind: str) -> None:
    target, law = gaussian_mixture(kind, components=1)
    q = target.diffuse(0.7, 0.5)
    C = law.diffused(0.7, 0.5).covariances[0]
    x = _points()
    centred = x - 0.7 * law.means[0]
    assert relative(q.score(x), -torch.linalg.solve(C, centred.mT).mT) <= 1e-13
    assert relative(q.hessian(x), -torch.linalg.inv(C).expand(6, 3, 3)) <= 1e-13


def test_component_of_weight_zero_is_absent() -> None:
    with_zero = toy.GaussianMixture(
        torch.tensor([0.4, 0.0, 0.6]), torch.tensor([[0.0], [1.0], [2.0]]), torch.tensor([1.0, 1e-3, 2.0])
    ).diffuse(0.9, 0.1)
    without = toy.GaussianMixture(
        torch.tensor([0.4, 0.6]), torch.tensor([[0.0], [2.0]]), torch.tensor([1.0, 2.0])
    ).diffuse(0.9, 0.1)
    x = torch.linspace(-3, 5, 9, dtype=torch.float64)[:, None]
    for method in ("log_density", "score", "hessian", "posterior_mean", "posterior_covariance"):
        assert relative(getattr(with_zero, method)(x), getattr(without, method)(x)) <= 100 * U
    draws = with_zero.sample(1000, generator=torch.Generator().manual_seed(0))
    assert draws.shape == (1000, 1)


def test_responsibilities_are_posterior_probabilities() -> None:
    target, law = gaussian_mixture("full")
    q, x = target.diffuse(0.8, 0.4), _points()
    diffused = law.diffused(0.8, 0.4)
    logs = torch.distributions.MultivariateNormal(diffused.means, diffused.covariances).log_prob(x[:, None])
    expected = torch.softmax(logs + law.weights.log(), 1)
    r = q.responsibilities(x)
    assert float((r - expected).abs().max()) <= 1e-12
    assert float((r.sum(1) - 1).abs().max()) <= 8 * U
    assert q.components == 3


def test_seeds_fix_the_sample_and_dtypes_share_it() -> None:
    target, _ = gaussian_mixture("full")
    first, again, other = (target.sample(5, generator=torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_constructor_keeps_no_reference_to_its_arguments() -> None:
    weights, means, variances = torch.tensor([1.0]).double(), torch.zeros((1, 2)).double(), torch.ones(1, 2).double()
    q = toy.GaussianMixture(weights, means, variances)
    x = torch.ones((1, 2), dtype=torch.float64)
    before = q.score(x)
    variances.fill_(7.0)
    assert torch.equal(q.score(x), before)


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_flow_through_the_target(kind: str) -> None:
    q = gaussian_mixture(kind)[0].diffuse(0.9, 0.3)
    x = _points(2).requires_grad_()
    score = torch.autograd.grad(q.log_density(x).sum(), x)[0]
    assert relative(score, q.score(x.detach())) <= 1e-12


def test_float32_covariances_are_inverted_in_float64() -> None:
    # Exact in float32, and of condition 4e6: an inverse in float32 is off in its second digit.
    C = torch.tensor([[[1.0, 1.0 - 2.0**-21], [1.0 - 2.0**-21, 1.0]]])
    narrow, wide = (toy.GaussianMixture(torch.ones(1), torch.zeros(1, 2), c) for c in (C, C.double()))
    x = torch.tensor([[1.0, 0.0]], dtype=torch.float64)
    assert torch.equal(narrow.score(x), wide.score(x))


@pytest.mark.parametrize("kind", KINDS[:3])
def test_a_mixture_is_moved_as_a_whole(kind: str) -> None:
    # Meta tensors refuse to meet those of another device, as an accelerator's do. A low rank is checked by its values,
    # and meta tensors hold none.
    q = gaussian_mixture(kind)[0].diffuse(0.9, 0.3).to(dtype=torch.float32, device="meta")
    for part in (q.weights, q.means, q.mean(), q.covariance()):  # of one device, or they would not meet
        assert (part.dtype, part.device.type) == (torch.float32, "meta")
    x = torch.zeros((2, 3), dtype=torch.float64)
    for method in ("responsibilities", "log_density", "score", "hessian", "posterior_mean", "posterior_covariance"):
        result = getattr(q, method)(x)
        assert (result.dtype, result.device.type) == (torch.float32, "meta")


@pytest.mark.parametrize(
    ("weights", "means", "message"),
    [
        ([0.5, 0.5], [[0.0], [1.0], [2.0]], "weights must be (K,) and means (K, d), got (2,) and (3, 1)"),
        ([0.5, 0.5], [0.0, 1.0], "weights must be (K,) and means (K, d), got (2,) and (2,)"),
        ([[0.5, 0.5]], [[0.0]], "weights must be (K,) and means (K, d), got (1, 2) and (1, 1)"),
        ([0.5, 0.75], [[0.0], [1.0]], "weights must sum to one, their sum is 1.25"),
        ([1.5, -0.5], [[0.0], [1.0]], "weights must not be negative, the smallest is -0.5"),
        ([0.5, math.nan], [[0.0], [1.0]], "weights must be finite"),
        ([0.5, 0.5], [[0.0], [math.inf]], "means must be finite"),
    ],
)
def test_bad_weights_and_means_are_refused(weights: list[float], means: list[list[float]], message: str) -> None:
    with pytest.raises(ValueError, match=r"weights|means") as caught:
        toy.GaussianMixture(torch.tensor(weights), torch.tensor(means), torch.ones(len(means)))
    assert message in str(caught.value)
