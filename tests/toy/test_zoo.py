"""The zoo of named targets, and bad input to targets."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch
from torch import full, ones, tensor, zeros

import toy
from toy import ZOO, DataMixture, GaussianMixture, target


@pytest.mark.parametrize("name", list(ZOO))
def test_every_target_is_what_its_entry_says_and_works(name: str) -> None:
    q = target(name)
    assert q.dim == ZOO[name].dim
    assert (q.alpha, q.sigma, q.dtype) == (1.0, 0.0, torch.float64)
    assert isinstance(q, DataMixture if name.startswith(("points", "digits", "emoji")) else GaussianMixture)
    level = q.diffuse(0.8, 0.6)
    x = level.sample(2, generator=torch.Generator().manual_seed(0))
    assert x.shape == (2, q.dim)
    assert bool(torch.isfinite(level.score(x)).all())
    assert bool(torch.isfinite(level.laplacian(x)).all())
    again = target(name).diffuse(0.8, 0.6)
    assert torch.equal(again.score(x), level.score(x))  # nothing random that is not seeded


def test_zoo_has_the_dimensions_that_claims_need() -> None:
    assert {entry.dim for entry in ZOO.values()} == {1, 2, 8, 16, 64, 3072}
    assert all(entry.description for entry in ZOO.values())


def test_data_targets_are_over_the_embedded_pictures() -> None:
    for name, count in (("digits", 1797), ("emoji", 3786)):
        q = target(name)
        assert isinstance(q, DataMixture)
        assert (q.count, q.tau) == (count, 0.0)
        expected = toy.dataset(name).images.flatten(1).double()
        assert float((q.points - expected).abs().max()) <= 4 * 2.0**-53


@pytest.mark.parametrize("sigma", [0.05, 0.6, 20.0])
def test_hessian_norm_of_the_digits_is_that_of_its_columns(sigma: float) -> None:
    q = target("digits").diffuse(0.9, sigma)
    x = q.sample(1, generator=torch.Generator().manual_seed(1))
    columns = q.hessian_vector(x.expand(64, -1), torch.eye(64, dtype=torch.float64))
    assert float(q.hessian_squared_norm(x)) == pytest.approx(float((columns**2).sum()), rel=1e-9)


@pytest.mark.parametrize("sigma", [0.05, 0.6])
def test_hessian_norm_of_the_pictures_is_the_mean_square_of_its_products(sigma: float) -> None:
    # |H|^2 = E |H v|^2 over v = N(0, I), which knows no Gram matrix; five standard errors over 100 draws.
    q = target("emoji").diffuse(0.9, sigma)
    x = q.sample(1, generator=torch.Generator().manual_seed(1))
    v = torch.randn((100, q.dim), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    squares = (q.hessian_vector(x.expand(100, -1), v) ** 2).sum(1)
    assert abs(float(q.hessian_squared_norm(x)) - float(squares.mean())) <= 0.5 * float(squares.std())


_Q = target("cross-2d")
_POINTS = target("points-2d").diffuse(1.0, 1.0)
_ONES, _MEANS = ones(1), zeros(1, 2)


_BAD = [
    (lambda: target("gauss"), "target must be one of gauss-1d, bimodal-1d"),
    (lambda: target("gauss"), "got 'gauss'"),
    (lambda: GaussianMixture(tensor([0.5, 0.4]), zeros(2, 2), ones(2)), "weights must sum to one"),
    (
        lambda: GaussianMixture(tensor([1.5, -0.5]), zeros(2, 2), ones(2)),
        "weights must not be negative, the smallest is -0.5",
    ),
    (lambda: GaussianMixture(tensor([math.nan]), _MEANS, _ONES), "weights must be finite, 1 of 1 entries are not"),
    (lambda: GaussianMixture(ones(0), zeros(0, 2), ones(0)), "weights must not be empty, got shape (0,)"),
    (lambda: GaussianMixture(_ONES, zeros(1, 0), _ONES), "means must not be empty, got shape (1, 0)"),
    (lambda: GaussianMixture(_ONES, full((1, 2), math.inf), _ONES), "means must be finite, 2 of 2 entries are not"),
    (lambda: GaussianMixture(_ONES, zeros(2, 2), _ONES), "weights must be (K,) and means (K, d), got (1,) and (2, 2)"),
    (lambda: GaussianMixture(_ONES, zeros(1), _ONES), "weights must be (K,) and means (K, d), got (1,) and (1,)"),
    (lambda: GaussianMixture(_ONES, _MEANS, zeros(1)), "covariances must be positive definite"),
    (lambda: GaussianMixture(_ONES, _MEANS, ones(1, 3)), "covariances must have shape (1,), (1, 2) or (1, 2, 2)"),
    (lambda: DataMixture([[1.0]]), "data must be a tensor of shape (N, ...)"),
    (lambda: DataMixture(ones(3)), "data must be a tensor of shape (N, ...)"),
    (lambda: DataMixture(ones(0, 3)), "data must not be empty, got shape (0, 3)"),
    (lambda: DataMixture(tensor([[math.nan, 1.0]])), "data must be finite, 1 of 2 entries are not"),
    (lambda: DataMixture(ones(2, 3), -0.1), "tau must be a finite positive number, got -0.1"),
    (lambda: DataMixture(ones(2, 3), math.inf), "tau must be a finite positive number, got inf"),
    *(
        (call, message)
        for q in (_Q, _POINTS)
        for call, message in (
            (lambda q=q: q.diffuse(-1.0, 1.0), "alpha must be zero or lie in [1e-150, 1e150], got -1.0"),
            (lambda q=q: q.diffuse(1.0, -1e-9), "sigma must be zero or lie in [1e-150, 1e150], got -1e-09"),
            (lambda q=q: q.diffuse(1.0, math.nan), "sigma must be zero or lie in [1e-150, 1e150], got nan"),
            (lambda q=q: q.diffuse(math.inf, 1.0), "alpha must be zero or lie in [1e-150, 1e150], got inf"),
            (lambda q=q: q.diffuse(1e-200, 0.0), "alpha must be zero or lie in [1e-150, 1e150], got 1e-200"),
            (lambda q=q: q.diffuse(1e200, 0.0), "alpha must be zero or lie in [1e-150, 1e150], got 1e+200"),
            (lambda q=q: q.diffuse(0.0, 0.0), "alpha and sigma must not both be zero"),
            (lambda q=q: q.score(zeros(2)), "x must be a tensor of shape (B, 2), got (2,)"),
            (lambda q=q: q.hessian(zeros(1, 3)), "x must be a tensor of shape (B, 2), got (1, 3)"),
            (lambda q=q: q.log_density([0.0, 0.0]), "x must be a tensor of shape (B, 2), got list"),
            (lambda q=q: q.laplacian(zeros(1, 2, 1)), "x must be a tensor of shape (B, 2), got (1, 2, 1)"),
            (lambda q=q: q.posterior_mean(zeros(3)), "x must be a tensor of shape (B, 2), got (3,)"),
            (lambda q=q: q.posterior_covariance(zeros(3)), "x must be a tensor of shape (B, 2), got (3,)"),
            (lambda q=q: q.noise(zeros(3)), "x must be a tensor of shape (B, 2), got (3,)"),
            (lambda q=q: q.hessian_vector(zeros(1, 2), zeros(1, 3)), "v must be a tensor of shape (B, 2), got (1, 3)"),
            (lambda q=q: q.hessian_vector(zeros(2, 2), zeros(3, 2)), "v must have the batch size of x, 2, got 3"),
            (lambda q=q: q.hessian_vector(zeros(3, 2), zeros(1, 2)), "v must have the batch size of x, 3, got 1"),
            (lambda q=q: q.sample(0, generator=torch.Generator()), "count must be a positive integer, got 0"),
            (lambda q=q: q.sample(-1, generator=torch.Generator()), "count must be a positive integer, got -1"),
            (lambda q=q: q.sample(1.5, generator=torch.Generator()), "count must be a positive integer, got 1.5"),
        )
    ),
]


@pytest.mark.parametrize(("call", "message"), _BAD)
def test_bad_input_is_refused(call: Callable[[], object], message: str) -> None:
    with pytest.raises(ValueError, match="must") as caught:
        call()
    assert message in str(caught.value)
