"""Claim K4: the rounding noise of the textbook expression at ``kappa = 0``, where the truth is the identity."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor

from lml.kernel import lml_direction, lml_direction_textbook


def _noise(d: int, count: int = 64) -> Tensor:
    return torch.randn((count, d), generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def _deviation(direction: Tensor, noise: Tensor) -> Tensor:
    return (direction.double() - noise.double()).norm(dim=1) / noise.double().norm(dim=1)


# THEORY.md, K4 (M): one measurement each, to two digits: it must lie among 64 draws, half a digit more on each side.
@pytest.mark.parametrize(
    ("d", "damping", "measured"), [(3072, 1e-3, 0.11), (3072, 8e-4, 0.15), (16384, 1e-3, 0.54), (65536, 1e-3, 1.41)]
)
def test_textbook_in_float32_deviates_as_the_theory_page_measured(d: int, damping: float, measured: float) -> None:
    noise = _noise(d).float()
    deviation = _deviation(lml_direction_textbook(noise, noise, damping=damping, mixing=0.0), noise)
    assert float(deviation.min()) - 0.005 <= measured <= float(deviation.max()) + 0.005
    ours = lml_direction(noise, noise.clone(), damping=damping, mixing=1e-7)
    assert torch.equal(ours, noise)


@pytest.mark.parametrize("d", [64, 256, 1024])
def test_textbook_deviation_is_predicted_by_the_spacing_of_float32(d: int) -> None:
    # e (1 - E/(lambda + E)): product and difference round within half a spacing, uniformly, of variance spacing^2/12
    # each, on a remainder of lambda/(lambda + E). The coefficient rounds too: t moves by at most u E/lambda of itself,
    # which is 6 % at d = 1024; the mean of 64 samples of d elements adds 4/sqrt(2 * 64 * d) < 5 %.
    lam = 1e-3
    noise = _noise(d).float()
    e = noise.double()
    spacing = torch.ldexp(torch.ones_like(e), torch.frexp(e).exponent.double() - 24)
    E = (e * e).sum(1)
    t = torch.sqrt((spacing**2).sum(1) / 6 / E) * (lam + E) / lam
    predicted = torch.sqrt(2 - 2 / torch.sqrt(1 + t * t)).mean()
    measured = _deviation(lml_direction_textbook(noise, noise, damping=lam, mixing=0.0), noise).mean()
    limit = float(E.mean()) * 2.0**-24 / lam + 4 / math.sqrt(2 * 64 * d)
    assert abs(float(measured / predicted) - 1) <= limit


def test_textbook_in_float16_is_not_a_number_or_a_random_direction() -> None:
    # At d = 65536, <e,e> leaves the range of float16. At d = 3072 it does not, but lambda/E = 3e-7 is far below the
    # spacing 1e-3: what is left of e is rounding noise.
    large = _noise(65536, 8).half()
    assert bool(lml_direction_textbook(large, None, damping=1e-3, mixing=0.0).isnan().any(1).all())
    small = _noise(3072, 8).half()
    assert float(_deviation(lml_direction_textbook(small, None, damping=1e-3, mixing=0.0), small).min()) > 0.5
    for noise in (large, small):
        assert torch.equal(lml_direction(noise, noise.clone(), damping=1e-3, mixing=1e-7), noise)


def test_textbook_takes_a_damping_for_each_sample_a_batch_of_numbers_and_keeps_the_dtype() -> None:
    noise, previous = _noise(5, 3), _noise(5, 6)[3:]
    damping = torch.tensor([0.1, 2.0, 30.0], dtype=torch.float64)
    together = lml_direction_textbook(noise, previous, damping=damping, mixing=0.3)
    for i, lam in enumerate(damping):
        alone = lml_direction_textbook(noise[i, None], previous[i, None], damping=float(lam), mixing=0.3)
        # Sums of five terms; lambda/(lambda + v^2) > 0.1/40 is what is left after the subtraction.
        torch.testing.assert_close(together[i, None], alone, rtol=1e-12, atol=1e-12)
    numbers = lml_direction_textbook(noise[:, 0], previous[:, 0], damping=damping, mixing=0.3)
    assert torch.equal(
        numbers, lml_direction_textbook(noise[:, :1], previous[:, :1], damping=damping, mixing=0.3)[:, 0]
    )
    assert lml_direction_textbook(noise.half(), None, damping=damping, mixing=0.3).dtype is torch.float16
