"""The Frechet distances against closed forms, and what they say of too few samples."""

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from image_exps.distances import FrechetDistance, FrechetPCA, bootstrap, distances
from image_exps.distances.frechet import frechet_statistic
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

    found = frechet_statistic(x, torch.zeros(d, dtype=torch.float64), root, float(root.square().sum()))
    assert found(torch.ones(n, dtype=torch.float64)) == pytest.approx(by_hand(0), rel=1e-9)
    # Central differences: an error of t^2 and rounding of 1e-15/t.
    t = 1e-5
    slope = (by_hand(t) - by_hand(-t)) / (2 * t)
    assert found(1 + w) - found(torch.ones(n, dtype=torch.float64)) == pytest.approx(slope, rel=1e-6)


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
