"""What is particular to `DataMixture`: moments about the nearest point, norms without a d x d matrix, shared data."""

from __future__ import annotations

import sys

import pytest
import torch
from references import U, data_mixture, relative

import toy


def _clusters(spread: float, count: int = 500) -> torch.Tensor:
    """Return two tight clusters far apart: many points carry weight although the noise is low."""
    g = torch.Generator().manual_seed(0)
    offsets = spread * torch.randn((2 * count, 3), generator=g, dtype=torch.float64)
    return offsets + 5 * torch.tensor([1.0, -1.0], dtype=torch.float64).repeat_interleave(count)[:, None]


@pytest.mark.parametrize("log_snr", [-6.0, 0.0, 6.0])
def test_spread_points_are_a_mixture_of_isotropic_gaussians(log_snr: float) -> None:
    data, law = data_mixture(0.4)
    gaussians = toy.GaussianMixture(law.weights, law.means, torch.full((7,), 0.16, dtype=torch.float64))
    sigma = float(torch.sigmoid(torch.tensor(-log_snr)).sqrt())
    one, other = data.diffuse(0.8, sigma), gaussians.diffuse(0.8, sigma)
    x = other.sample(6, generator=torch.Generator().manual_seed(1))
    for method in ("log_density", "score", "hessian", "laplacian", "posterior_mean", "posterior_covariance"):
        assert relative(getattr(one, method)(x), getattr(other, method)(x)) <= 1e-11
    assert relative(one.covariance()[None], other.covariance()[None]) <= 1e-13


@pytest.mark.parametrize("tau", [0.0, 0.3])
@pytest.mark.parametrize("sigma", [1e-3, 0.05, 0.5, 5.0, 1e3])
@pytest.mark.parametrize("direct", [768, 0])
def test_norm_without_a_matrix_is_that_of_the_matrix(
    tau: float, sigma: float, direct: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys.modules["toy.data_mixture"], "_DIRECT", direct)
    q = data_mixture(tau)[0].diffuse(0.9, sigma)
    x = q.sample(4, generator=torch.Generator().manual_seed(2))
    H = q.hessian(x)
    # From the data's Gram matrix |V|^2 comes as a difference at the size of (alpha R)^4, as far as it is used: up to
    # 1e4 v; relative to |H|^2 >= 1/v^2 or so that is u times its square. Elsewhere it keeps its digits.
    radius = 0.9**2 * float((q.points - q.points.mean(0)).square().sum(1).max()) / q.variance
    cancelled = min(radius, 1e4) ** 2
    squared = (H * H).sum((1, 2))
    error = (q.hessian_squared_norm(x) - squared).abs()
    assert bool((error <= 100 * U * (squared + (1 + cancelled) / q.variance**2)).all())


@pytest.mark.parametrize("sigma", [1e-1, 1e-2, 1e-3, 1e-4])
def test_norm_keeps_its_digits_where_a_tight_cluster_carries_the_weight(sigma: float) -> None:
    # More points than are multiplied directly, all close to x and far from the mean of the data.
    q = toy.DataMixture(_clusters(sigma / 10, 800)).diffuse(1.0, sigma)
    x = q.sample(3, generator=torch.Generator().manual_seed(3))
    squared = (q.hessian(x) ** 2).sum((1, 2))
    # |z|^2 is a difference of squares of the radius, 75: relative to v it is off by u 75/v. About the mean of the data
    # |V|^2 is a difference of fourth powers, off by the square of that.
    lost = (75 / sigma**2) ** (2 if q._about_mean else 1)
    assert 100 * U * lost < 1e-4
    assert relative(q.hessian_squared_norm(x)[:, None], squared[:, None]) <= 100 * U * (1 + lost)


def test_norm_of_many_points_needs_no_matrix_of_all_pairs(monkeypatch: pytest.MonkeyPatch) -> None:
    q = toy.DataMixture(_clusters(1.0, 400)).diffuse(1.0, 3.0)
    x = q.sample(3, generator=torch.Generator().manual_seed(3))
    by_pairs = q.hessian_squared_norm(x)
    assert q._outer is not None
    monkeypatch.setattr(sys.modules["toy.data_mixture"], "CHUNK_BYTES", 1 << 20)  # below 8 N^2
    again = q.diffuse(1.0, 0.0)
    again._outer = None
    assert relative(again.hessian_squared_norm(x)[:, None], by_pairs[:, None]) <= 1e-11
    assert again._outer is None


def test_moments_about_the_nearest_point_and_about_the_mean_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    q = data_mixture(0.0)[0].diffuse(1.0, 0.4)
    x = q.sample(5, generator=torch.Generator().manual_seed(4))
    methods = ("log_density", "score", "hessian", "laplacian", "posterior_mean", "hessian_squared_norm")
    about_mean = {method: getattr(q, method)(x) for method in methods}
    assert q._about_mean
    monkeypatch.setattr(sys.modules["toy.data_mixture"], "_CONDITION", 0.0)
    assert not q._about_mean
    for method, result in about_mean.items():
        assert relative(getattr(q, method)(x), result) <= 1e-11  # u times squares of R^2/v ~ 100


def test_posterior_at_vanishing_noise_is_the_nearest_point() -> None:
    data, law = data_mixture(0.0)
    q = data.diffuse(1.0, 1e-4)
    x = q.sample(20, generator=torch.Generator().manual_seed(5))
    nearest = law.means[torch.cdist(x, law.means).argmin(1)]
    assert float((q.posterior_mean(x) - nearest).abs().max()) <= 8 * U * float(law.means.abs().max())
    assert float(q.posterior_covariance(x).abs().max()) == 0.0


def test_curvature_at_vanishing_noise_is_that_of_one_point_to_the_last_digits() -> None:
    # The other points weigh nothing here, so that H = -I/v; only the division and v itself round.
    data, _ = data_mixture(0.0, dim=65)
    q = data.diffuse(1.0, 1e-4)
    x = q.sample(20, generator=torch.Generator().manual_seed(5))
    v = x.flip(0)
    assert relative(q.hessian_vector(x, v), -v / q.variance) <= 4 * U
    assert relative(q.laplacian(x)[:, None], torch.full((20, 1), -65 / q.variance, dtype=torch.float64)) <= 4 * U


def test_duplicates_count_twice() -> None:
    points = torch.tensor([[0.0], [0.0], [3.0]], dtype=torch.float64)
    for sigma in (1e-3, 0.5, 10.0):
        q = toy.DataMixture(points).diffuse(1.0, sigma)
        weights = torch.tensor([2 / 3, 1 / 3], dtype=torch.float64)
        law = toy.GaussianMixture(weights, points[1:], torch.full((2,), 1e-30))
        x = torch.tensor([[0.1], [1.5], [2.9]], dtype=torch.float64)
        other = law.diffuse(1.0, sigma)
        assert relative(q.score(x), other.score(x)) <= 100 * U * (1 + 9 / sigma**2)
        assert float(q.log_density(x[:1])) == pytest.approx(float(other.log_density(x[:1])), rel=1e-9)


def test_pictures_are_points_and_remember_their_shape() -> None:
    pictures = torch.rand((5, 3, 2, 2), generator=torch.Generator().manual_seed(0))
    q = toy.DataMixture(pictures)
    assert (q.shape, q.dim, q.count) == ((3, 2, 2), 12, 5)
    assert float((q.points - pictures.flatten(1).double()).abs().max()) <= 2 * U
    expected = torch.pdist(pictures.flatten(1).double()).max()
    assert q.diameter() == pytest.approx(float(expected), rel=1e-12)


def test_diffusing_shares_the_data() -> None:
    q = data_mixture(0.0)[0]
    assert q.diffuse(1.0, 0.1)._points is q._points


def test_points_without_noise_have_no_density_but_can_be_drawn() -> None:
    q, law = data_mixture(0.0)
    x = q.sample(50, generator=torch.Generator().manual_seed(0))
    assert float(torch.cdist(x, law.means).amin(1).max()) <= 1e-6
    for method in (
        "log_density",
        "score",
        "hessian",
        "laplacian",
        "posterior_mean",
        "posterior_covariance",
    ):
        with pytest.raises(ValueError, match="no density at tau = 0 and sigma = 0: call diffuse first"):
            getattr(q, method)(x)
