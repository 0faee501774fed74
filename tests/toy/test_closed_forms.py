"""Closed forms of every target against autograd, finite differences and 90-digit arithmetic, over all noise levels."""

from __future__ import annotations

import itertools
import sys
from collections.abc import Callable

import pytest
import torch
from references import (
    KINDS,
    Law,
    U,
    automatic,
    data_mixture,
    gaussian_mixture,
    level_of_log_snr,
    precise,
    relative,
)
from torch import Tensor

import toy

_TARGETS = [*KINDS, "data", "data, tau"]
_LOG_SNRS = (-9.0, -4.0, 0.0, 4.0, 9.0)


def make(name: str, dim: int = 3) -> tuple[toy.ExactTarget, Law]:
    if name in KINDS:
        return gaussian_mixture(name, dim)
    return data_mixture(0.3 if name == "data, tau" else 0.0, dim)


def draws(target: toy.ExactTarget, count: int = 5) -> Tensor:
    return target.sample(count, generator=torch.Generator().manual_seed(5))


@pytest.mark.parametrize("name", _TARGETS)
@pytest.mark.parametrize("log_snr", _LOG_SNRS)
def test_density_score_and_hessian_are_those_of_autograd(name: str, log_snr: float) -> None:
    target, law = make(name)
    alpha, sigma = level_of_log_snr(log_snr)
    q = target.diffuse(alpha, sigma)
    x = draws(q)
    log_density, score, hessian = automatic(law.diffused(alpha, sigma), x)
    # u times quadratic forms below 100, times the condition of C_t, below 1e4, on both sides: 1e-9 has room.
    assert float((q.log_density(x) - log_density).abs().max()) <= 1e-9
    assert relative(q.score(x), score) <= 1e-9
    assert relative(q.hessian(x), hessian) <= 1e-9


@pytest.mark.parametrize("name", _TARGETS)
@pytest.mark.parametrize("log_snr", _LOG_SNRS)
def test_products_traces_and_posterior_follow_from_score_and_hessian(name: str, log_snr: float) -> None:
    target, _ = make(name)
    alpha, sigma = level_of_log_snr(log_snr)
    q = target.diffuse(alpha, sigma)
    x = draws(q)
    v = torch.randn(x.shape, dtype=torch.float64, generator=torch.Generator().manual_seed(6))
    H, s = q.hessian(x), q.score(x)
    # Products round at |H||v|, the trace at the sum of its terms: relative to the matrix, not to what is left of it.
    size = H.flatten(1).norm(dim=1)
    product_error = (q.hessian_vector(x, v) - (H @ v[..., None])[..., 0]).norm(dim=1)
    assert bool((product_error <= 1e-12 * size * v.norm(dim=1)).all())
    assert bool(((q.laplacian(x) - H.diagonal(dim1=1, dim2=2).sum(1)).abs() <= 1e-12 * size).all())
    assert torch.equal(q.noise(x), -q.sigma * s)
    # Tweedie of both orders. (x + sigma^2 s)/alpha cancels at low SNR: it loses |x|/alpha over the result.
    mean = (x + sigma**2 * s) / alpha
    assert bool(((q.posterior_mean(x) - mean).norm(dim=1) <= 1e-12 * x.norm(dim=1) / alpha).all())
    identity = torch.eye(q.dim, dtype=torch.float64)
    covariance = (sigma / alpha) ** 2 * (identity + sigma**2 * H)
    error = (q.posterior_covariance(x) - covariance).flatten(1).norm(dim=1)
    assert bool((error <= 1e-12 * (sigma / alpha) ** 2 * (1 + sigma**2 * size)).all())


@pytest.mark.parametrize("name", _TARGETS)
@pytest.mark.parametrize("log_snr", [-6.0, 0.0, 5.0])
def test_score_and_hessian_are_those_of_finite_differences(name: str, log_snr: float) -> None:
    target, _ = make(name)
    q = target.diffuse(*level_of_log_snr(log_snr))
    x = draws(q, 3)
    scale = min(0.3, q.sigma)

    def central(f: Callable[[Tensor], Tensor], h: float) -> Tensor:
        steps = h * torch.eye(q.dim, dtype=torch.float64)
        return torch.stack([(f(x + step) - f(x - step)) / (2 * h) for step in steps], -1)

    for f, closed, size in (
        (q.log_density, q.score(x), float(q.log_density(x).abs().max()) + 10),
        (q.score, q.hessian(x), float(q.score(x).abs().max()) + 1 / q.sigma),
    ):
        tables = [central(f, scale * 2.0**-k) for k in range(3, 9)]
        while len(tables) > 2:  # Richardson: each column removes one even power of h
            order = 4 ** (7 - len(tables))
            tables = [fine + (fine - coarse) / (order - 1) for coarse, fine in itertools.pairwise(tables)]
        # Two last columns agree to the error of the extrapolation; a difference rounds at u |f|/h, amplified fourfold.
        estimate = float((tables[1] - tables[0]).abs().max())
        limit = estimate + 200 * U * size / (scale * 2.0**-8)
        assert float((tables[1] - closed).abs().max()) <= limit
        assert limit <= 1e-6 * float(closed.abs().max())


@pytest.mark.parametrize("name", _TARGETS)
@pytest.mark.parametrize("alpha", [1.0, 0.03])
@pytest.mark.parametrize("sigma", [1e-4, 1e-2, 1.0, 1e3])
def test_closed_forms_keep_their_digits_from_1e_4_to_1e3(name: str, alpha: float, sigma: float) -> None:
    target, law = make(name, dim=2)
    q = target.diffuse(alpha, sigma)
    points = draws(q, 2)
    if name == "data":  # midway between two points, where the weights of both count
        points = torch.cat([points, alpha * 0.5 * (law.means[:1] + law.means[1:2])])
    covariance = law.diffused(alpha, sigma).covariances
    least = float(torch.linalg.eigvalsh(covariance).min())
    for x in points:
        log_density, score, hessian = precise(law, alpha, sigma, x)
        # x - alpha m rounds at u (|x| + alpha |m|), which the precision turns into errors of the score at 1/least, of
        # the quadratic forms at |x - alpha m|/least; products of a few such terms: 100 of them at most.
        radius = float(x.norm() + alpha * law.means.norm(dim=1).max())
        rounding = 100 * U * radius
        logits = rounding * radius / least + 100 * U
        across = float((hessian.norm() + score.norm() ** 2).sqrt())  # the spread of the component scores
        limit_score = rounding / least + logits * (across + least**-0.5)
        assert abs(float(q.log_density(x[None])) - float(log_density)) <= logits + 100 * U * abs(float(log_density))
        assert float((q.score(x[None])[0] - score).norm()) <= limit_score
        limit_hessian = 100 * U / least + logits * (across + least**-0.5) ** 2
        assert float((q.hessian(x[None])[0] - hessian).norm()) <= limit_hessian
        assert abs(float(q.laplacian(x[None])) - float(hessian.trace())) <= 2 * limit_hessian
        for result in (q.posterior_mean(x[None]), q.posterior_covariance(x[None]), q.noise(x[None])):
            assert bool(torch.isfinite(result).all())
        trace = float(q.posterior_covariance(x[None])[0].trace())
        expected = (sigma / alpha) ** 2 * (2 + sigma**2 * float(hessian.trace()))
        limit_trace = sigma**2 * 2 * limit_hessian + 100 * U * (1 + sigma**2 * across**2)
        assert abs(trace - expected) <= (sigma / alpha) ** 2 * limit_trace


@pytest.mark.parametrize("name", _TARGETS)
@pytest.mark.parametrize("sigma", [1e-4, 1e-2, 1.0, 1e3])
def test_far_points_give_finite_results(name: str, sigma: float) -> None:
    q = make(name)[0].diffuse(1.0, sigma)
    x = torch.tensor([[1e6, -1e6, 1e6], [0.0, 0.0, 0.0], [1e-8, 3.0, -1e3]], dtype=torch.float64)
    for result in (
        q.log_density(x), q.score(x), q.hessian(x), q.hessian_vector(x, x), q.laplacian(x), q.noise(x),
        q.posterior_mean(x), q.posterior_covariance(x),
    ):  # fmt: skip
        assert bool(torch.isfinite(result).all())


@pytest.mark.parametrize("name", _TARGETS)
def test_diffusing_twice_is_diffusing_once(name: str) -> None:
    target, _ = make(name)
    twice = target.diffuse(0.8, 0.3).diffuse(0.5, 0.7)
    once = target.diffuse(0.8 * 0.5, ((0.5 * 0.3) ** 2 + 0.7**2) ** 0.5)
    assert (twice.alpha, twice.sigma) == pytest.approx((once.alpha, once.sigma), rel=4 * U)
    x = draws(once)
    # alpha and sigma differ by two roundings; the results move by the condition of C_t, below 1e2, times those.
    assert relative(twice.score(x), once.score(x)) <= 1e-12
    assert relative(twice.hessian(x), once.hessian(x)) <= 1e-12


@pytest.mark.parametrize("name", _TARGETS)
def test_no_signal_is_white_noise_and_the_prior(name: str) -> None:
    target, law = make(name)
    q = target.diffuse(0.0, 2.0)
    x = draws(q)
    assert relative(q.score(x), -x / 4) <= 100 * U
    expected = -0.125 * (x * x).sum(1) - 1.5 * torch.log(torch.tensor(8 * torch.pi, dtype=torch.float64))
    assert relative(q.log_density(x), expected) <= 100 * U
    prior = law.weights @ law.means
    assert relative(q.posterior_mean(x), prior.expand_as(x)) <= 1e-13
    centred = law.means - prior
    covariance = (law.weights[:, None, None] * (law.covariances + centred[:, :, None] * centred[:, None])).sum(0)
    assert relative(q.posterior_covariance(x), covariance.expand(len(x), -1, -1)) <= 1e-13


@pytest.mark.parametrize("name", _TARGETS)
def test_moments_are_those_of_the_law_and_of_its_samples(name: str) -> None:
    target, law = make(name)
    q, diffused = target.diffuse(0.7, 0.4), law.diffused(0.7, 0.4)
    mean = diffused.weights @ diffused.means
    centred = diffused.means - mean
    spread = centred[:, :, None] * centred[:, None]
    covariance = (diffused.weights[:, None, None] * (diffused.covariances + spread)).sum(0)
    assert relative(q.mean()[None], mean[None]) <= 1e-13
    assert relative(q.covariance()[None], covariance[None]) <= 1e-13
    count = 40_000
    x = q.sample(count, generator=torch.Generator().manual_seed(8)) - mean
    products = x[:, :, None] * x[:, None]
    # Five standard errors: 12 comparisons of Gaussian means are all inside but once in 1e5 seeds.
    assert bool((x.mean(0).abs() <= 5 * (covariance.diagonal() / count).sqrt()).all())
    assert bool(((products.mean(0) - covariance).abs() <= 5 * products.std(0) / count**0.5).all())


@pytest.mark.parametrize("name", _TARGETS)
def test_chunks_give_what_one_chunk_gives(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    q = make(name)[0].diffuse(0.9, 0.3)
    x = draws(q, 23)
    v = x.flip(0)
    methods = ("log_density", "score", "hessian", "laplacian", "posterior_mean", "posterior_covariance")
    whole = {method: getattr(q, method)(x) for method in methods} | {"hv": q.hessian_vector(x, v)}
    monkeypatch.setattr(sys.modules["toy.exact_target"], "CHUNK_BYTES", 2048)
    assert len(list(q._rows(23, 64))) == 6
    small = {method: getattr(q, method)(x) for method in methods} | {"hv": q.hessian_vector(x, v)}
    for method, result in whole.items():
        # The same sums over the components; only the order inside a matrix product may change.
        assert float((small[method] - result).abs().max()) <= 1e-13 * float(result.abs().max())


def test_chunks_bound_their_temporaries_whatever_the_size_of_the_data() -> None:
    # 60,000 x 3072: a chunk holds 6 N + 6 d numbers a row in 256 MiB, so 88 rows, never the batch.
    target, _ = data_mixture(0.0)
    numbers = 6 * 60_000 + 6 * 3072
    rows = list(target._rows(60_000, numbers))
    assert rows[0] == slice(0, (256 << 20) // (8 * numbers))
    assert rows[-1].stop == 60_000
    assert all(a.stop == b.start for a, b in itertools.pairwise(rows))
    assert list(target._rows(3, 1 << 40)) == [slice(0, 1), slice(1, 2), slice(2, 3)]  # at least a row at a time
    assert list(target._rows(0, 10)) == []
    assert target.diffuse(1.0, 1.0).score(torch.zeros((0, 3))).shape == (0, 3)


@pytest.mark.parametrize("name", _TARGETS)
def test_float32_follows_float64_and_comes_back(name: str) -> None:
    q = make(name)[0].diffuse(0.9, 0.3)
    single = q.to(dtype=torch.float32)
    x = draws(q)
    # Quadratic forms of up to 50 in float32, 50 u32 on the logits, times the few terms of each result.
    limit = 500 * torch.finfo(torch.float32).eps
    for method in ("log_density", "score", "hessian", "laplacian", "posterior_mean", "noise"):
        result = getattr(single, method)(x)
        assert result.dtype is torch.float32
        assert relative(result, getattr(q, method)(x)) <= limit
    # What is left of the data's spread, relative to the spread itself.
    error = single.posterior_covariance(x) - q.posterior_covariance(x)
    assert float(error.abs().max()) <= limit * float(q.covariance().norm())
    assert relative(single.hessian_vector(x, x), q.hessian_vector(x, x)) <= limit
    g = torch.Generator()
    drawn = single.sample(4, generator=g.manual_seed(1))
    assert drawn.dtype is torch.float32
    assert relative(drawn, q.sample(4, generator=g.manual_seed(1))) <= limit
    back = single.to(dtype=torch.float64)
    assert back.dtype is torch.float64
    assert relative(back.score(x), q.score(x)) <= limit
    assert q.dtype is torch.float64
    if name in KINDS:  # kept in float64 inside
        assert torch.equal(back.score(x), q.score(x))
    assert q.to(device="cpu").device == torch.device("cpu")
