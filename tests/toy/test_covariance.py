"""Every form of a covariance against its dense matrix, diffused from sigma = 1e-4 to 1e3."""

from __future__ import annotations

import pytest
import torch
from references import KINDS, U, gaussian_mixture, relative

import toy
from toy.covariance import EigenCovariance, as_covariance

_LEVELS = [(1.0, 0.0), (1.0, 1e-4), (0.7, 0.7), (0.01, 1.0), (1.0, 1e3)]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("alpha", "sigma"), _LEVELS)
def test_operations_are_those_of_the_dense_matrix(kind: str, alpha: float, sigma: float) -> None:
    target, law = gaussian_mixture(kind, dim=5)
    C = target.diffuse(alpha, sigma).component_covariances if sigma else target.component_covariances
    dense = law.diffused(alpha, sigma).covariances
    u = torch.randn((4, 3, 5), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    condition = float(torch.linalg.cond(dense).max())
    limit = 40 * U * condition  # both sides are backward stable to a few d u
    assert limit < 1e-9
    inverse = torch.linalg.inv(dense)
    assert relative(C.dense(), dense) <= limit
    assert relative(C.precision(), inverse) <= limit
    assert relative(C.matvec(u), torch.einsum("kij,bkj->bki", dense, u)) <= limit
    assert relative(C.solve(u), torch.einsum("kij,bkj->bki", inverse, u)) <= limit
    assert float((C.logdet() - torch.logdet(dense)).abs().max()) <= limit * (1 + float(C.logdet().abs().max()))
    assert relative(C.precision_trace()[:, None], inverse.diagonal(dim1=1, dim2=2).sum(1)[:, None]) <= limit


def test_woodbury_keeps_digits_up_to_the_condition_of_the_matrix() -> None:
    g = torch.Generator().manual_seed(1)
    factor = torch.randn((1, 4, 2), dtype=torch.float64, generator=g)
    for smallest in (1e-2, 1e-5, 1e-8):
        C = toy.LowRankPlusDiagonal(factor, torch.full((1, 4), smallest, dtype=torch.float64))
        # Eigenvalues by hand: those of L^T L, plus the diagonal, and the diagonal itself.
        values = torch.linalg.eigvalsh(factor[0].mT @ factor[0]) + smallest
        trace = float((1 / values).sum()) + 2 / smallest
        assert float(C.precision_trace()) == pytest.approx(trace, rel=100 * U * float(values.max()) / smallest)
        logdet = float(values.log().sum()) + 2 * torch.log(torch.tensor(smallest, dtype=torch.float64)).item()
        assert float(C.logdet()) == pytest.approx(logdet, rel=100 * U * float(values.max()) / smallest)
        u = torch.randn((3, 1, 4), dtype=torch.float64, generator=g)
        assert relative(C.solve(C.matvec(u)), u) <= 100 * U * float(values.max()) / smallest


def test_axes_need_no_eigenvectors() -> None:
    variances = torch.tensor([[1.0, 4.0], [2.0, 0.5]], dtype=torch.float64)
    identity = torch.eye(2, dtype=torch.float64).expand(2, 2, 2)
    plain, rotated = EigenCovariance(variances), EigenCovariance(variances, identity)
    u = torch.randn((3, 2, 2), dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    assert torch.equal(plain.solve(u), rotated.solve(u))
    assert torch.equal(plain.precision(), rotated.precision())


@pytest.mark.parametrize("kind", KINDS)
def test_sample_has_the_covariance_of_its_component(kind: str) -> None:
    target, law = gaussian_mixture(kind)
    count = 20_000
    component = torch.arange(2 * count) % 2 * 2  # components 0 and 2, interleaved
    x = target.component_covariances.sample(component, torch.Generator().manual_seed(3))
    for k in (0, 2):
        rows = x[component == k]
        products = rows[:, :, None] * rows[:, None]
        error = (products.mean(0) - law.covariances[k]).abs()
        assert bool((error <= 5 * products.std(0) / count**0.5).all())  # five standard errors


@pytest.mark.parametrize(
    ("covariances", "message"),
    [
        (torch.ones(3), "covariances must have shape (2,), (2, 3) or (2, 3, 3) for means of shape (2, 3), got (3,)"),
        (torch.ones(2, 2, 2), "got (2, 2, 2)"),
        (torch.tensor([1.0, 0.0]), "covariances must be positive definite, component 1 has the eigenvalue 0"),
        (torch.tensor([1.0, -2.0]), "covariances must be positive definite, component 1 has the eigenvalue -2"),
        (torch.tensor([[1.0, 1.0, 1.0], [1.0, -0.5, 1.0]]), "component 1 has the eigenvalue -0.5"),
        (torch.ones(2, 3, 3), "covariances must be positive definite, component 0"),
        # Positive, but below what eigenvalues are resolved to.
        (torch.diag(torch.tensor([1.0, 1.0, 1e-9])).expand(2, 3, 3), "component 0 has the eigenvalue 1e-09"),
        (torch.eye(3).expand(2, 3, 3) + torch.ones(3, 3).triu(1), "covariances must be symmetric"),
        (torch.tensor([1.0, torch.nan]), "covariances must be finite"),
        (torch.tensor([1.0, torch.inf]), "covariances must be finite"),
        (EigenCovariance(torch.ones(2, 4)), "covariances must be 2 matrices of size 3, got 2 of size 4"),
        (EigenCovariance(torch.ones(1, 3)), "covariances must be 2 matrices of size 3, got 1 of size 3"),
    ],
)
def test_bad_covariances_are_refused(covariances: object, message: str) -> None:
    with pytest.raises(ValueError, match="covariances") as caught:
        as_covariance(covariances, 2, 3)
    assert message in str(caught.value)


@pytest.mark.parametrize(
    ("factor", "diagonal", "message"),
    [
        (torch.ones(2, 3), torch.ones(2, 3), "factor must have shape (K, d, r) and diagonal (K, d), got (2, 3)"),
        (torch.ones(2, 3, 1), torch.ones(3), "factor must have shape (K, d, r) and diagonal (K, d)"),
        (
            torch.ones(1, 2, 1),
            torch.tensor([[1.0, 0.0]]),
            "diagonal must be finite and positive, its smallest entry",
        ),
        (torch.ones(1, 2, 1), torch.tensor([[1.0, -1.0]]), "diagonal must be finite and positive"),
        (torch.ones(1, 2, 1), torch.tensor([[1.0, torch.inf]]), "diagonal must be finite and positive"),
        (torch.full((1, 2, 1), torch.nan), torch.ones(1, 2), "factor must be finite"),
    ],
)
def test_bad_low_rank_factors_are_refused(factor: torch.Tensor, diagonal: torch.Tensor, message: str) -> None:
    with pytest.raises(ValueError, match=r"factor|diagonal") as caught:
        toy.LowRankPlusDiagonal(factor, diagonal)
    assert message in str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_a_sample_has_the_digits_of_float64(kind: str) -> None:
    covariance = gaussian_mixture(kind)[0].component_covariances
    if isinstance(covariance, EigenCovariance):
        unit: toy.Covariance = EigenCovariance(torch.ones((1, 3), dtype=torch.float64))
    else:
        unit = toy.LowRankPlusDiagonal(torch.zeros((1, 3, 1), dtype=torch.float64), torch.ones((1, 3)).double())
    z = unit.sample(torch.zeros(50, dtype=torch.int64), torch.Generator().manual_seed(0))
    assert bool((z != z.float()).all())  # a draw of 53 bits is one of 24 with probability 2^-29


@pytest.mark.parametrize("vectors", [None, torch.eye(3).expand(2, 3, 3)], ids=["axes", "full"])
def test_a_covariance_is_moved_as_a_whole(vectors: torch.Tensor | None) -> None:
    moved = EigenCovariance(torch.ones(2, 3), vectors).to(dtype=torch.float64, device=torch.device("meta"))
    for part in (moved.eigenvalues, *(() if moved.eigenvectors is None else (moved.eigenvectors,))):
        assert (part.dtype, part.device.type) == (torch.float64, "meta")
