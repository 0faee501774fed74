"""What holds of `lml_direction` whatever the numbers: norm, angle, identity, scale, layouts."""

from __future__ import annotations

import pytest
import torch
from exact_direction import PRECISIONS
from hypothesis import given, settings
from hypothesis import strategies as st
from noises import bits, norm, pair

from lml.kernel import lml_direction, lml_direction_rank


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    shape=st.sampled_from([(1, 1), (4, 3), (2, 3, 4, 5), (3, 700)]),
    damping=st.floats(-6, 6),
    mixing=st.floats(0, 0.999),
)
def test_norm_is_preserved(
    dtype: torch.dtype, seed: int, shape: tuple[int, ...], damping: float, mixing: float
) -> None:
    noise, previous = pair(shape, dtype, seed)
    out = lml_direction(noise, previous, damping=10.0**damping, mixing=mixing)
    # One rounding an element; before it the float64 sums of d squares, the root and the scale.
    limit = torch.finfo(dtype).eps / 2 + (noise[0].numel() + 10) * 2.0**-53
    assert float((norm(out) / norm(noise) - 1).abs().max()) <= limit
    assert (out.shape, out.dtype, out.device) == (noise.shape, noise.dtype, noise.device)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), strength=st.floats(0, 6), mixing=st.floats(1e-6, 0.999), d=st.integers(1, 300))
def test_angle_is_below_90_degrees(dtype: torch.dtype, seed: int, strength: float, mixing: float, d: int) -> None:
    noise, previous = pair((3, d), dtype, seed)
    # tan = kappa a sqrt(w) |e|/(lambda + kappa^2 w) <= a |e|/(2 sqrt(lambda)): the damping keeps the cosine above four
    # roundings of the dtype, so that a sign is still one of arithmetic.
    e, p = noise.double(), previous.double()
    a = float((1 + mixing * ((p * e).sum(1) / (e * e).sum(1) - 1)).abs().max())
    least_cosine = max(4 * torch.finfo(dtype).eps, 10.0**-strength)
    damping = (0.5 * max(a, 1e-3) / least_cosine) ** 2 * (e * e).sum(1)
    cosine = (e * lml_direction(noise, previous, damping=damping, mixing=mixing).double()).sum(1) / (e * e).sum(1)
    assert float(cosine.min()) > 0


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), scale=st.integers(-20, 20), damping=st.floats(-300, 300))
def test_no_previous_noise_and_no_mixing_return_the_noise_bit_for_bit(
    dtype: torch.dtype, seed: int, scale: int, damping: float
) -> None:
    noise, previous = pair((2, 3, 5), dtype, seed)
    noise = noise * 2.0**scale
    copy = noise.clone()
    for out in (
        lml_direction(noise, None, damping=10.0**damping, mixing=0.7),
        lml_direction(noise, previous, damping=10.0**damping, mixing=0),
        lml_direction_rank(noise, (), damping=10.0**damping, mixing=0.7),
        lml_direction_rank(noise, (previous, noise), damping=10.0**damping, mixing=0.0),
    ):
        assert torch.equal(bits(out), bits(copy))


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_previous_noise_equal_to_the_noise_changes_no_bit_below_64(dtype: torch.dtype) -> None:
    # v = e is an eigenvector of lambda I + v v^T: the direction is e. p' is then the float64 rounding of p - <e,p>/E e,
    # at most (d + 2) u |e|, and zeta = kappa E/lambda carries it into the result; with a normalisation of (d + 10) u.
    noise, _ = pair((4, 3072), dtype)
    out = lml_direction(noise, noise.clone(), damping=1e-3, mixing=1e-7)
    if dtype is torch.float64:
        strength = 1e-7 * norm(noise) ** 2 / 1e-3
        assert bool((norm(out - noise) <= (1 + strength) * 3082 * 2.0**-53 * norm(noise)).all())
    else:
        assert torch.equal(bits(out), bits(noise))


@pytest.mark.parametrize("dtype", [torch.float64, torch.float32], ids=str)
@pytest.mark.parametrize("exponent", [-60, -7, 3, 60])
def test_scaling_noise_by_a_power_of_two_and_damping_by_its_square_scales_every_bit(
    dtype: torch.dtype, exponent: int
) -> None:
    noise, previous = pair((3, 50), dtype)
    out = lml_direction(noise, previous, damping=0.125, mixing=0.3)
    factor = 2.0**exponent
    scaled = lml_direction(noise * factor, previous * factor, damping=0.125 * factor**2, mixing=0.3)
    assert torch.equal(scaled, out * factor)


def test_damping_of_a_zero_dimensional_tensor_is_the_number() -> None:
    noise, previous = pair((3, 20), torch.float32)
    number = lml_direction(noise, previous, damping=0.25, mixing=0.1)
    for dtype in (torch.float16, torch.float32, torch.float64):
        tensor = torch.tensor(0.25, dtype=dtype)
        assert torch.equal(number, lml_direction(noise, previous, damping=tensor, mixing=0.1))
        assert torch.equal(number, lml_direction(noise, previous, damping=tensor.expand(3), mixing=0.1))


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("size", [4, 96])
def test_memory_layout_of_the_input_changes_no_bit_and_inputs_are_not_written(dtype: torch.dtype, size: int) -> None:
    noise, previous = pair((2, 3, size, size), dtype)
    out = lml_direction(noise, previous, damping=1.0, mixing=0.1)
    strided = noise.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    copies = strided.clone(), previous.clone()
    assert not strided.is_contiguous()
    assert torch.equal(bits(out), bits(lml_direction(strided, previous, damping=1.0, mixing=0.1).contiguous()))
    expanded = previous[:1].expand(2, -1, -1, -1)
    assert torch.equal(
        lml_direction(noise, expanded, damping=1.0, mixing=0.1),
        lml_direction(noise, expanded.contiguous(), damping=1.0, mixing=0.1),
    )
    assert torch.equal(strided, copies[0])
    assert torch.equal(previous, copies[1])


def test_a_batch_of_numbers_and_empty_batches_are_served() -> None:
    noise = torch.tensor([1.0, -2.0, 0.0])  # d = 1: the only direction is the noise
    assert torch.equal(lml_direction(noise, torch.tensor([3.0, 0.5, 1.0]), damping=0.1, mixing=0.5), noise)
    for shape in ((0, 4), (3, 0), (0,)):
        assert lml_direction(torch.zeros(shape), torch.zeros(shape), damping=0.1, mixing=0.5).shape == shape
