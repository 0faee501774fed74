"""The Frechet distances against closed forms, and what they say of too few samples."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from image_exps.distances import FrechetDistance, FrechetPCA, bootstrap, distances, estimate
from image_exps.distances.frechet import Moments, frechet_statistic, normal_moments, sample_moments
from toy import GaussianMixture, LowRankPlusDiagonal, Pictures


def normal(mean, covariance):
    return GaussianMixture(torch.ones(1), *(torch.tensor([t], dtype=torch.float64) for t in (mean, covariance)))


def draws(*shape, seed=0):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


PLANE = normal([0.0, 0.0], [[1.0, 0.0], [0.0, 1.0]])


def test_the_distance_of_two_normal_laws_is_the_closed_form():
    # Four points on the axes about (2, 0): their covariance is diag(2 a^2/3, 2 b^2/3).
    a, b = 6**0.5, 13.5**0.5
    samples = torch.tensor([[2 + a, 0], [2 - a, 0], [2, b], [2, -b]], dtype=torch.float64)
    assert FrechetDistance(PLANE)(samples) == pytest.approx(2**2 + (2 - 1) ** 2 + (3 - 1) ** 2, rel=1e-13)


@pytest.mark.parametrize("n", [8, 40])
def test_the_distance_is_the_textbook_formula_with_matrix_roots_also_for_fewer_samples_than_components(n):
    d = 12
    A = draws(d, d, seed=1)
    S = A @ A.mT / d + 0.1 * torch.eye(d, dtype=torch.float64)
    x = draws(n, d) * 1.3 + 0.2
    C, m = np.cov(x.T.numpy()), x.mean(0).numpy()
    textbook = m @ m + np.trace(C) + np.trace(S.numpy()) - 2 * np.trace(np.real(sqrtm(C @ S.numpy())))
    if n > d:
        assert FrechetDistance(normal([0.0] * d, S.tolist()))(x) == pytest.approx(textbook, rel=1e-10)
    # All components, no rotation of any consequence. A root of a rank-deficient product is known to 1e-8.
    pca = FrechetPCA(normal([0.0] * d, S.tolist()), components=d)
    if n >= 2 * d:
        assert pca(x) == pytest.approx(textbook, rel=1e-7)
    else:
        assert pca.used(n) == n // 2 < d


def test_the_distance_does_not_depend_on_rotation():
    turn = torch.linalg.qr(draws(3, 3))[0]
    S = torch.tensor([[2.0, 0.5, 0.0], [0.5, 1.0, 0.2], [0.0, 0.2, 0.5]], dtype=torch.float64)
    x = draws(50, 3, seed=1)
    plain = FrechetDistance(normal([0.0, 0.0, 0.0], S.tolist()))
    turned = FrechetDistance(normal([0.0, 0.0, 0.0], (turn @ S @ turn.mT).tolist()))
    assert plain(x) == pytest.approx(turned(x @ turn.mT), rel=1e-10)


def test_a_shift_adds_the_square_of_its_length():
    x = draws(60, 2)
    distance, shift = FrechetDistance(PLANE), torch.tensor([3.0, -1.0], dtype=torch.float64)
    centred = x - x.mean(0)
    assert distance(centred + shift) - distance(centred) == pytest.approx(10, rel=1e-12)


def test_the_floor_is_that_of_an_isotropic_normal_law_and_falls_as_one_over_n():
    d = 8
    distance = FrechetDistance(normal([0.0] * d, torch.eye(d).tolist()))
    for n in (200, 800):
        floor = distance.floor(n)
        # |m|^2 gives d/n; a sample covariance has (1/4) E|C - I|^2 = d (d + 1)/(4 n) to first order. The next order is
        # (d/n)^2 d: 5 % here; the mean of 20 sets is known to its own standard error.
        expected = d / n + d * (d + 1) / (4 * n)
        error = floor.std(ddof=1) / len(floor) ** 0.5
        assert abs(floor.mean() - expected) < 4 * error + d**3 / n**2


@pytest.mark.parametrize(("n", "d"), [(40, 6), (12, 20)])
def test_the_influence_of_a_sample_is_the_derivative_of_the_distance(n, d):
    # The distance of samples that are counted 1 + t w_i times, from moments formed by hand, differentiated in t.
    g = draws(d, d, seed=4)
    root = (g @ g.mT) / d + 0.2 * torch.eye(d, dtype=torch.float64)
    x, w = 1.2 * draws(n, d) + 0.3, draws(n, seed=5)
    w = w - w.mean()

    def by_hand(t):
        p = (1 + t * w) / n
        m = p @ x
        z = (x - m) * (p * n / (n - 1)).sqrt()[:, None]
        cross = torch.linalg.svdvals(z @ root).sum()
        return float(m @ m + z.square().sum() + root.square().sum() - 2 * cross)

    zero = torch.zeros(d, dtype=torch.float64)
    found = frechet_statistic(x, Moments(zero, root, float(root.square().sum())))
    assert found(torch.ones(n, dtype=torch.float64)) == pytest.approx(by_hand(0), rel=1e-9)
    # Central differences: an error of t^2 and rounding of 1e-15/t.
    t = 1e-5
    slope = (by_hand(t) - by_hand(-t)) / (2 * t)
    assert found(1 + w) - found(torch.ones(n, dtype=torch.float64)) == pytest.approx(slope, rel=1e-6)


@pytest.mark.parametrize(("n", "m", "d"), [(8, 5, 40), (5, 30, 40), (30, 5, 40), (40, 40, 40), (60, 12, 40),
                                           (12, 60, 40), (3, 2, 200), (2, 2, 200), (60, 41, 40)])  # fmt: skip
def test_few_samples_on_either_side_are_those_of_the_dense_form(n, m, d):
    x, y = draws(n, d), 1.3 * draws(m, d, seed=1) + 0.2
    C, S = torch.cov(x.T), torch.cov(y.T)
    shift = (x.mean(0) - y.mean(0)).square().sum()
    found = frechet_statistic(x, sample_moments(y))(torch.ones(n, dtype=torch.float64))
    # Without matrices (d, d): the trace of the root is the sum of the singular values of the centred samples' product,
    # each to a few units of 2.2e-16 of the largest.
    X, Y = (x - x.mean(0)) / (n - 1) ** 0.5, (y - y.mean(0)) / (m - 1) ** 0.5
    nuclear = torch.linalg.svdvals(X @ Y.mT)
    assert found == pytest.approx(float(shift + C.trace() + S.trace() - 2 * nuclear.sum()), rel=1e-13)
    # The dense form takes the root of d eigenvalues, of which the zeros are rounding, up to d units of the largest.
    values, vectors = torch.linalg.eigh(S)
    root = (vectors * values.clamp_min(0).sqrt()) @ vectors.mT
    dense = shift + C.trace() + S.trace() - 2 * torch.linalg.eigvalsh(root @ C @ root).clamp_min(0).sqrt().sum()
    rounding = 2 * d * float(nuclear[0]) * (d * torch.finfo(torch.float64).eps) ** 0.5
    assert abs(found - float(dense)) < rounding
    assert rounding < 1e-3 * found
    other = frechet_statistic(x, normal_moments(y.mean(0), S))(torch.ones(n, dtype=torch.float64))
    assert abs(found - other) < rounding


def test_few_samples_have_the_influence_of_the_dense_form_too():
    x, y, w = draws(9, 30), draws(6, 30, seed=1), draws(9, seed=2)
    few, dense = (frechet_statistic(x, m) for m in (sample_moments(y), normal_moments(y.mean(0), torch.cov(y.T))))
    assert few(w) == pytest.approx(dense(w), rel=1e-6)  # roots of 30 eigenvalues that are rounding, 1e-8 each


@pytest.mark.parametrize("n", [2, 5])
def test_samples_that_are_all_alike_have_a_distance(n):
    x, y = torch.ones(n, 50, dtype=torch.float64), torch.zeros(3, 50, dtype=torch.float64)
    assert frechet_statistic(x, sample_moments(y))(torch.ones(n, dtype=torch.float64)) == 50
    assert frechet_statistic(y, sample_moments(y))(torch.ones(3, dtype=torch.float64)) == 0


def test_where_the_usual_routine_does_not_converge_another_one_does(monkeypatch):
    x, y = draws(40, 12), draws(50, 12, seed=1)
    expected = frechet_statistic(x, sample_moments(y))(torch.ones(40, dtype=torch.float64))

    def fails(S):
        raise torch.linalg.LinAlgError("linalg.eigh: The algorithm failed to converge")

    monkeypatch.setattr(torch.linalg, "eigh", fails)
    found = frechet_statistic(x, sample_moments(y))(torch.ones(40, dtype=torch.float64))
    assert found == pytest.approx(expected, rel=1e-12)


def test_a_floor_that_fails_costs_no_result(monkeypatch):
    x = draws(40, 2)
    value = FrechetDistance(PLANE)(x)

    def fails(self, count, sets=20):
        raise torch.linalg.LinAlgError("failed to converge")

    monkeypatch.setattr(FrechetDistance, "floor", fails)
    found = estimate(FrechetDistance(PLANE), x, generator=torch.Generator().manual_seed(0), repeats=5)
    assert found.value == value
    assert found.low < value < found.high
    assert np.isnan([found.floor, found.floor_low, found.floor_high]).all()
    assert found.remark == "no floor: failed to converge"


def test_the_same_rows_of_every_set_are_drawn():
    distance, x = FrechetDistance(PLANE), draws(30, 2)
    values, drawn = bootstrap(distance, [x, x.clone()], repeats=5, generator=torch.Generator().manual_seed(1))
    assert values.tolist() == [distance(x)] * 2
    assert (drawn[:, 0] == drawn[:, 1]).all()
    assert len(set(drawn[:, 0])) == 5


def test_too_few_samples_are_refused_with_the_distance_that_takes_them():
    with pytest.raises(ValueError, match=r"samples must have shape \(n, d\) with n > d, got \(2, 2\); frechet-pca"):
        FrechetDistance(PLANE)(torch.zeros(2, 2))


def test_the_principal_components_are_those_of_the_law_by_either_algorithm():
    d, k = 300, 20
    factor = draws(1, d, 30, seed=2) * torch.linspace(3, 1, 30, dtype=torch.float64)
    law = GaussianMixture(torch.ones(1), torch.zeros(1, d), LowRankPlusDiagonal(factor, torch.full((1, d), 0.1)))
    x = law.sample(100, generator=torch.Generator().manual_seed(0)) + 0.1
    lanczos = FrechetPCA(law, k)  # 4 k < d
    dense = FrechetPCA(law, 75)
    assert dense(x[:40]) == pytest.approx(lanczos(x[:40]), rel=1e-9)  # both shrink to 20
    assert "shrunk from 75 for 40 samples" in dense.remark(40)
    assert "shrunk" not in lanczos.remark(40)
    assert f"{k} leading of {d} components" in lanczos.remark(40)


def test_the_components_of_real_pictures_are_those_of_the_reference_half():
    images = draws(80, 1, 8, 8, seed=3).float()
    found = distances(Pictures(images, ("",) * 80, "noise"), which=["frechet-pca"])["frechet-pca"]
    half = found.reference.fixed(1000)
    assert len(half) == found.reference.held_out == 40
    rest = found.reference.draw(40, torch.Generator().manual_seed(0))
    together = torch.cat([half, rest]).float()
    assert len(torch.unique(together, dim=0)) == 80
    # The reference half has its own moments: no distance within the components (rounding: 64 roots of 1e-16).
    assert abs(found(half)) < 1e-6 < 1 < found(rest)
