"""`lml_direction` against Algorithm 1 in exact rational arithmetic (claim K3)."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
import torch
from direction_problems import problems
from exact_direction import PRECISIONS, Conditioning, damped_direction, distance, dot, fractions
from hypothesis import given, settings
from torch import Tensor

from lml.kernel import lml_direction, lml_direction_rank, lml_direction_textbook


def _error(out: Tensor, noise: Tensor, history: list[Tensor], damping: float, mixing: float) -> float:
    """Return the error of ``out`` relative to ``|e|``."""
    e = fractions(noise)
    r = damped_direction(e, [fractions(p) for p in history], Fraction(damping), Fraction(mixing))
    return distance(out, e, r) / math.sqrt(dot(e, e))


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@settings(max_examples=40, deadline=None)
@given(problem=problems())
def test_direction_equals_algorithm_1_in_rational_arithmetic(
    dtype: torch.dtype, problem: tuple[Tensor, Tensor, float, float]
) -> None:
    noise, previous, damping, mixing = problem
    noise, previous = noise.to(dtype), previous.to(dtype)
    at = Conditioning.of(noise, previous, damping, mixing, c=noise.numel() + 10)
    # Scalars and p' in float64 (`moved`, doubled by the normalisation), then a rounding in float64 for each of the four
    # operations of the combination and one to the dtype.
    limit = 2 * at.cos * at.moved + (noise.numel() + 10) * 2.0**-53 + torch.finfo(dtype).eps / 2
    limit += math.sqrt(noise.numel()) * torch.finfo(dtype).smallest_normal  # bits lost below the normal range
    out = lml_direction(noise, previous, damping=damping, mixing=mixing)
    assert _error(out, noise, [previous], damping, mixing) <= limit


@pytest.mark.parametrize("m", [2, 3])
@settings(max_examples=25, deadline=None)
@given(problem=problems())
def test_rank_m_direction_equals_the_dense_rational_solve(m: int, problem: tuple[Tensor, Tensor, float, float]) -> None:
    noise, previous, damping, mixing = problem
    generator = torch.Generator().manual_seed(int(1e6 * mixing))
    history = [previous, *(torch.randn(noise.shape, dtype=torch.float64, generator=generator) for _ in range(m - 1))]
    d = noise.numel()
    G_norm = damping + sum(float(((1 - mixing) * noise + mixing * p).square().sum()) for p in history)
    # The small system is formed from inner products with (d + 10) roundings each, m of them in a row; the solution
    # moves by their relative error times cond(G) <= |G|/lambda, and normalising doubles that.
    limit = 2 * m * (d + 10) * 2.0**-53 * G_norm / damping
    out = lml_direction_rank(noise, history, damping=damping, mixing=mixing)
    error = _error(out, noise, history, damping, mixing)
    assert error <= limit
    one = lml_direction_rank(noise, history[:1], damping=damping, mixing=mixing)
    assert torch.equal(one, lml_direction(noise, previous, damping=damping, mixing=mixing))


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("copies", [2, 3])
def test_repeated_previous_noise_only_divides_the_damping(dtype: torch.dtype, copies: int) -> None:
    # lambda I + m v v^T = m ((lambda/m) I + v v^T), and a scale drops out. The two sides round apart in float64, where
    # the normalised direction moves by at most twice the relative error of zeta, (d + 10) u, and once in the dtype.
    generator = torch.Generator().manual_seed(3)
    noise, previous = (torch.randn((5, 32), dtype=torch.float64, generator=generator).to(dtype) for _ in range(2))
    for damping in (1e-3, 1.0, 50.0):
        repeated = lml_direction_rank(noise, (previous,) * copies, damping=damping, mixing=0.3)
        once = lml_direction(noise, previous, damping=damping / copies, mixing=0.3)
        limit = (torch.finfo(dtype).eps if dtype is not torch.float64 else 2 * 42 * 2.0**-53) * noise.double().norm(
            dim=1
        )
        assert bool(((repeated.double() - once.double()).norm(dim=1) <= limit).all())


def test_textbook_expression_is_algorithm_1_up_to_its_cancellation() -> None:
    generator = torch.Generator().manual_seed(4)
    for damping in (1e-3, 1.0, 1e3):
        for mixing in (0.0, 1e-3, 0.5):
            noise, previous = (torch.randn((1, 6), dtype=torch.float64, generator=generator) for _ in range(2))
            out = lml_direction_textbook(noise, previous, damping=damping, mixing=mixing)
            v = mixing * previous + (1 - mixing) * noise
            # e - v <v,e>/(lambda + <v,v>) keeps at least lambda/(lambda + <v,v>) of e, and rounds at (d + 10) u |e|.
            limit = 2 * 16 * 2.0**-53 * (damping + float((v * v).sum())) / damping
            assert _error(out, noise, [previous], damping, mixing) <= limit


def test_seeded_faults_exceed_the_tolerance_of_the_oracle() -> None:
    # The oracle must be able to turn red: an altered Algorithm 1 is far outside of the bounds above.
    generator = torch.Generator().manual_seed(5)
    noise, previous = (torch.randn((1, 8), dtype=torch.float64, generator=generator) for _ in range(2))
    damping, mixing = 0.5, 0.2
    faulty = {
        "damping squared": lml_direction(noise, previous, damping=damping**2, mixing=mixing),
        "stale previous noise": lml_direction(noise, noise, damping=damping, mixing=mixing),
        "sign of the previous noise": lml_direction(noise, -previous, damping=damping, mixing=mixing),
        "mixing the other way round": lml_direction(noise, previous, damping=damping, mixing=1 - mixing),
        "norm dropped": 1.0001 * lml_direction(noise, previous, damping=damping, mixing=mixing),
    }
    for out in faulty.values():
        assert _error(out, noise, [previous], damping, mixing) > 1e-5
