"""`DampedOuterProduct` against dense linear algebra; its divergence against differentiation of the inverse field."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

import toy
from lml import DampedOuterProduct

_U = 2.0**-53
_CASES = [(d, lam) for d in (1, 2, 5, 40) for lam in (1e-4, 1e-2, 1.0, 1e3)]


def _geometry(d: int, lam: float) -> tuple[DampedOuterProduct, Tensor, float]:
    """Return G for 3 vectors, 3 right-hand sides and the largest condition number ``1 + |s|^2/lambda``."""
    generator = torch.Generator().manual_seed(d)
    s, x = (torch.randn((3, d), dtype=torch.float64, generator=generator) for _ in range(2))
    return DampedOuterProduct(s, lam), x, float(1 + (s * s).sum(1).max() / lam)


def relative(a: Tensor, b: Tensor) -> float:
    """Return the largest error of a batch of vectors or matrices, relative to its norm."""
    return float(((a - b).flatten(1).norm(dim=1) / b.flatten(1).norm(dim=1)).max())


@pytest.mark.parametrize(("d", "lam"), _CASES)
def test_solve_and_square_root_are_those_of_the_dense_matrix(d: int, lam: float) -> None:
    G, x, condition = _geometry(d, lam)
    dense = G.dense()
    # Both sides are backward stable to (d + 10) u; cond(G) carries it to the solution.
    limit = 4 * (d + 10) * _U * condition
    assert limit < 1e-9 or condition > 1e5
    assert relative(G.solve(x), torch.linalg.solve(dense, x)) <= limit
    assert relative(G.solve_vector(), torch.linalg.solve(dense, G.vector)) <= limit
    values, vectors = torch.linalg.eigh(dense)
    root = (vectors * values[:, None].rsqrt()) @ vectors.mT
    assert relative(G.sqrt_solve(x), (root @ x[..., None])[..., 0]) <= limit
    assert relative(G.sqrt_solve(G.sqrt_solve(x)), G.solve(x)) <= limit


@pytest.mark.parametrize(("d", "lam"), _CASES)
def test_products_and_log_determinant_are_those_of_the_dense_matrix(d: int, lam: float) -> None:
    G, x, condition = _geometry(d, lam)
    expected = lam * torch.eye(d, dtype=torch.float64) + torch.einsum("bi,bj->bij", G.vector, G.vector)
    assert torch.equal(G.dense(), expected)
    product_error = (G.matvec(x) - (expected @ x[..., None])[..., 0]).norm(dim=1)
    assert bool((product_error <= 2 * (d + 4) * _U * lam * condition * x.norm(dim=1)).all())
    assert relative(G.solve(G.matvec(x)), x) <= 4 * (d + 10) * _U * condition
    # Elimination rounds each pivot at (d + 1) u cond(G) at most; the sum of logarithms rounds at u of each.
    limit = d * (d + 1) * _U * condition + 4 * _U * d * (1 + float(G.logdet().abs().max()))
    assert float((G.logdet() - torch.linalg.slogdet(expected).logabsdet).abs().max()) <= limit


def test_solve_vector_keeps_digits_where_solve_cancels() -> None:
    s = torch.tensor([[3.0, 4.0]], dtype=torch.float64)
    G = DampedOuterProduct(s, 2.0**-40)
    exact = s / (25 + 2.0**-40)
    assert torch.equal(G.solve_vector(), exact)
    assert relative(G.solve(s), exact) <= 12 * _U * 25 * 2.0**40  # the documented loss of lambda/(lambda + |s|^2)


def test_zero_vector_is_plain_damping() -> None:
    x = torch.tensor([[1.0, -2.0]], dtype=torch.float64)
    G = DampedOuterProduct(torch.zeros_like(x), 4.0)
    assert torch.equal(G.solve(x), x / 4)
    assert torch.equal(G.sqrt_solve(x), x / 2)
    assert torch.equal(G.solve_vector(), torch.zeros_like(x))
    assert float(G.logdet()) == pytest.approx(2 * 1.3862943611198906, rel=4 * _U)


def test_damping_per_sample_is_one_geometry_per_sample() -> None:
    generator = torch.Generator().manual_seed(1)
    s, x, hv = (torch.randn((3, 4), dtype=torch.float64, generator=generator) for _ in range(3))
    damping, trace = torch.tensor([0.1, 1.0, 7.0]), torch.tensor([1.0, -2.0, 0.5], dtype=torch.float64)
    G = DampedOuterProduct(s, damping)
    for i in range(3):
        one = DampedOuterProduct(s[i : i + 1], damping[i : i + 1])
        row = slice(i, i + 1)
        assert torch.equal(G.solve(x)[row], one.solve(x[row]))
        assert torch.equal(G.matvec(x)[row], one.matvec(x[row]))
        assert torch.equal(G.sqrt_solve(x)[row], one.sqrt_solve(x[row]))
        assert torch.equal(G.logdet()[row], one.logdet())
        assert torch.equal(G.dense()[row], one.dense())
        assert torch.equal(G.divergence(hv, trace)[row], one.divergence(hv[row], trace[row]))


def _targets() -> list[tuple[str, float]]:
    return [("bimodal-1d", 0.5), ("cross-2d", 0.3), ("random-8d", 0.5), ("points-2d", 0.8)]


def _inverse_field(target: toy.ExactTarget, lam: float) -> Callable[[Tensor], Tensor]:
    """Return ``x -> M(x)`` for one point, by inverting the dense matrix: nothing of the closed form."""

    def field(x: Tensor) -> Tensor:
        s = target.score(x[None])[0]
        return torch.linalg.inv(lam * torch.eye(len(x), dtype=torch.float64) + torch.outer(s, s))

    return field


@pytest.mark.parametrize(("name", "sigma"), _targets())
@pytest.mark.parametrize("lam", [0.1, 1.0, 10.0])
def test_divergence_is_that_of_the_inverse_field(name: str, sigma: float, lam: float) -> None:
    target = toy.target(name).diffuse(0.9, sigma)
    x = target.sample(4, generator=torch.Generator().manual_seed(2))
    s = target.score(x)
    closed = DampedOuterProduct(s, lam).divergence(target.hessian_vector(x, s), target.laplacian(x))
    condition = 1 + float((s * s).sum(1).max()) / lam
    for row in range(len(x)):
        field = _inverse_field(target, lam)
        jacobian = torch.autograd.functional.jacobian(field, x[row])
        automatic = torch.einsum("ijj->i", jacobian)
        # dM = -M dG M: the inverse enters twice, each with cond(G) d u; the terms of the sum may cancel.
        size = float(jacobian.abs().sum())
        limit = 40 * target.dim * _U * condition * size
        assert limit < 1e-9 * size
        assert float((closed[row] - automatic).abs().max()) <= limit

        def central(h: float, row: int = row, field: Callable[[Tensor], Tensor] = field) -> Tensor:
            steps = h * torch.eye(target.dim, dtype=torch.float64)
            return sum(
                ((field(x[row] + step) - field(x[row] - step))[:, j] for j, step in enumerate(steps)),
                start=torch.zeros(target.dim, dtype=torch.float64),
            ) / (2 * h)

        # Differences of order h^2, extrapolated once; what the extrapolation moved between two steps bounds its error,
        # and rounding adds cond(G) u |M|/h, with |M| <= 1/lambda.
        coarse, middle, fine = central(4e-3), central(2e-3), central(1e-3)
        first, second = middle + (middle - coarse) / 3, fine + (fine - middle) / 3
        rounding = 16 * target.dim * condition * _U / lam / 1e-3
        error = float((second - first).abs().max()) + rounding
        assert float((second - closed[row]).abs().max()) <= error
        assert error < 1e-3 * max(size, 1e-3)  # the differences resolve what they check


def test_divergence_without_its_second_term_is_caught() -> None:
    target = toy.target("cross-2d").diffuse(0.9, 0.3)
    x = target.sample(4, generator=torch.Generator().manual_seed(2))
    s = target.score(x)
    G = DampedOuterProduct(s, 1.0)
    right = G.divergence(target.hessian_vector(x, s), target.laplacian(x))
    wrong = G.divergence(target.hessian_vector(x, s), torch.zeros(4, dtype=torch.float64))
    assert relative(wrong, right) > 1e-3


@pytest.mark.parametrize(("device", "dtype"), [("meta", torch.float64), ("cpu", torch.bfloat16)])
def test_every_result_has_the_device_and_the_dtype_of_the_vector(device: str, dtype: torch.dtype) -> None:
    # Meta tensors hold no numbers and refuse to meet those of another device, as an accelerator's do.
    s = torch.ones((3, 4), device=device, dtype=dtype)
    G = DampedOuterProduct(s, 0.5)
    for result in (G.damping, G.dense(), G.matvec(s), G.solve(s), G.solve_vector(), G.sqrt_solve(s), G.logdet()):
        assert (result.device.type, result.dtype) == (device, dtype)
