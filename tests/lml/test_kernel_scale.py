"""Finite input gives finite directions, at every scale that a dtype holds."""

from __future__ import annotations

import itertools
import sys

import pytest
import torch
from exact_direction import PRECISIONS
from hypothesis import given, settings
from hypothesis import strategies as st
from noises import pairs_of_every_scale

from lml import _rotation
from lml.kernel import lml_direction, lml_direction_rank

_DAMPINGS = (5e-324, 1e-300, 1e-30, 1e-3, 1.0, 1e30, sys.float_info.max)
_MIXINGS = (5e-324, 1e-300, 1e-20, 1e-7, 0.5, 1 - 2.0**-53)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("m", [1, 2, 3])
def test_finite_input_gives_finite_directions_of_the_length_of_the_noise(dtype: torch.dtype, m: int) -> None:
    noise, previous = pairs_of_every_scale(dtype, 9)
    history = [previous, previous.flip(0), previous][:m]
    info = torch.finfo(dtype)
    # In units of each sample, so that no square leaves the range; an element may lose its last bit below the normal.
    unit = noise.double().abs().amax(1, keepdim=True).clamp_min(info.smallest_normal * info.eps)
    length = (noise.double() / unit).norm(dim=1)
    room = 3 * info.smallest_normal * info.eps / unit[:, 0]
    within = length * unit[:, 0] <= info.max  # an element beyond the range is clamped
    slack = info.eps + 40 * 2.0**-53  # an element is rounded once
    for damping, mixing in itertools.product(_DAMPINGS, _MIXINGS):
        out = lml_direction_rank(noise, history, damping=damping, mixing=mixing)
        assert bool(torch.isfinite(out).all()), f"lambda = {damping}, kappa = {mixing}"
        produced = (out.double() / unit).norm(dim=1)
        assert bool(((produced - length).abs() <= slack * length + room)[within].all())


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_any_finite_numbers_give_finite_directions(dtype: torch.dtype, data: st.DataObject) -> None:
    width = {torch.float64: 64, torch.float32: 32, torch.bfloat16: 32, torch.float16: 16}[dtype]
    limit = torch.finfo(dtype).max
    numbers = st.floats(-limit, limit, width=width)
    vectors = st.lists(numbers, min_size=3, max_size=3)
    noise, *history = (
        torch.tensor([row], dtype=torch.float64).clamp(-limit, limit).to(dtype)
        for row in data.draw(st.lists(vectors, min_size=2, max_size=4))
    )
    damping = data.draw(st.floats(5e-324, sys.float_info.max))
    mixing = data.draw(st.floats(0, 1, exclude_max=True))
    out = lml_direction_rank(noise, history, damping=damping, mixing=mixing)
    assert bool(torch.isfinite(out).all())


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_zero_noise_stays_zero(dtype: torch.dtype) -> None:
    noise = torch.zeros((2, 5), dtype=dtype)
    for previous in (torch.zeros_like(noise), torch.ones_like(noise), torch.full_like(noise, torch.finfo(dtype).max)):
        for damping in _DAMPINGS:
            out = lml_direction(noise, previous, damping=damping, mixing=0.5)
            assert not bool(out.any())


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("factor", [1.0, -1.0, 0.5, -4.0, 0.0])
def test_parallel_previous_noise_leaves_the_direction(dtype: torch.dtype, factor: float) -> None:
    # v is a multiple of e, hence an eigenvector: the direction is e for every lambda. The factors are powers of two
    # and the entries small integers, so that p' is exactly zero.
    noise = torch.tensor([[3.0, -4.0]], dtype=dtype)
    for damping in _DAMPINGS:
        assert torch.equal(lml_direction(noise, factor * noise, damping=damping, mixing=0.5), noise)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("embedded", [False, True])
@settings(max_examples=60, deadline=None)
@given(e=st.floats(1e-4, 3e4), p=st.floats(-3e4, 3e4), damping=st.floats(-307, 307), mixing=st.floats(1e-6, 0.999))
def test_one_number_a_sample_has_one_direction(
    dtype: torch.dtype, embedded: bool, e: float, p: float, damping: float, mixing: float
) -> None:
    # At d = 1 p' = 0. In arithmetic p - (p/e) e is rounding noise along e, which 1/lambda must not bring to life; nor
    # where the other elements of both are zeros.
    noise, previous = torch.tensor([[e]]).to(dtype), torch.tensor([[p]]).to(dtype)
    if embedded:
        noise, previous = (torch.cat([torch.zeros((1, 3), dtype=dtype), x], 1) for x in (noise, previous))
    assert torch.equal(lml_direction(noise, previous, damping=10.0**damping, mixing=mixing), noise)
    inner = _rotation._rotate([noise, previous], 10.0**damping, mixing)
    assert torch.equal(inner, noise)
    assert torch.equal(_rotation._rotate([noise, previous, previous], 10.0**damping, mixing), noise)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("m", [1, 2])
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 2**31), factor=st.floats(-10, 10), damping=st.floats(-307, 300))
def test_nearly_parallel_noises_keep_norm_and_angle_at_any_damping(
    dtype: torch.dtype, m: int, seed: int, factor: float, damping: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn((5, 4), dtype=torch.float64, generator=generator).to(dtype)
    previous = (factor * noise.double()).to(dtype)  # parallel up to a rounding of the dtype, or exactly
    out = lml_direction_rank(noise, [previous] * m, damping=10.0**damping, mixing=0.5)
    e, r = noise.double(), out.double()
    info = torch.finfo(dtype)
    room = 4 * info.smallest_normal * info.eps
    assert bool(((r.norm(dim=1) - e.norm(dim=1)).abs() <= (info.eps + 14 * 2.0**-53) * e.norm(dim=1) + room).all())
    # The cosine is not negative; its sum and every element of the direction are rounded once.
    cosine = (e * r).sum(1) / (e * e).sum(1)
    assert bool((cosine >= -2 * info.eps).all())


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_damping_tensor_on_a_trace_or_device_is_held_above_zero(dtype: torch.dtype) -> None:
    # Where values cannot be read a damping of zero reaches the kernel: the floor, 1e-123 |e|^2, keeps it finite.
    noise, previous = (torch.randn((2, 6), generator=torch.Generator().manual_seed(s)).to(dtype) for s in (0, 1))
    zero = torch.zeros((2, 1), dtype=torch.float64)
    assert bool(torch.isfinite(_rotation._rotate([noise, previous], zero, 0.5)).all())
