"""Finite input gives finite directions, at every scale that a dtype holds and on every internal path."""

from __future__ import annotations

import itertools
import sys

import pytest
import torch
from exact_direction import PRECISIONS
from hypothesis import given, settings
from hypothesis import strategies as st
from noises import pairs_of_every_scale

from lml import _rotation, lml_direction, lml_direction_rank

_DAMPINGS = (5e-324, 1e-300, 1e-30, 1e-3, 1.0, 1e30, sys.float_info.max)
_MIXINGS = (5e-324, 1e-300, 1e-20, 1e-7, 0.5, 1 - 2.0**-53)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("path", ["orthogonal", "blocked", "two passes"])
@pytest.mark.parametrize("m", [1, 2, 3])
def test_finite_input_gives_finite_directions_of_the_length_of_the_noise(dtype: torch.dtype, path: str, m: int) -> None:
    if path == "two passes" and dtype is torch.float64:
        pytest.skip("float64 is never rotated in two passes")
    noise, previous = pairs_of_every_scale(dtype, 9)
    history = [previous, previous.flip(0), previous][:m]
    info = torch.finfo(dtype)
    # In units of each sample, so that no square leaves the range; an element may lose its last bit below the normal.
    unit = noise.double().abs().amax(1, keepdim=True).clamp_min(info.smallest_normal * info.eps)
    length = (noise.double() / unit).norm(dim=1)
    room = 3 * info.smallest_normal * info.eps / unit[:, 0]
    # An element is rounded once. In two passes the terms of the sum are rounded in float32, and the floor of W keeps
    # them below 1/(2 eps) of |e|: there the norm is preserved to parts of it only in such extremes.
    within = length * unit[:, 0] <= info.max  # an element beyond the range is clamped
    slack = 1.0 if path == "two passes" else info.eps + 40 * 2.0**-53
    for damping, mixing in itertools.product(_DAMPINGS, _MIXINGS):
        if path == "orthogonal":
            out = _rotation._rotate_orthogonal([noise, *history], damping, mixing, torch.float64)
        elif path == "blocked":
            out = _rotation._rotate_blocked([noise, *history], damping, mixing)
        else:
            out = _rotation._rotate_gram([noise, *history], damping, mixing)
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
    for damping in (1e-3, 1.0, 1e3):
        out = lml_direction(noise, factor * noise, damping=damping, mixing=0.5)
        assert bool(((out - noise).abs() <= 2 * torch.finfo(dtype).eps * noise.abs()).all())


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_damping_tensor_on_a_trace_or_device_is_held_above_zero(dtype: torch.dtype) -> None:
    # Where values cannot be read a damping of zero reaches the kernel: the floor, 1e-123 |e|^2, keeps it finite.
    noise, previous = (torch.randn((2, 6), generator=torch.Generator().manual_seed(s)).to(dtype) for s in (0, 1))
    zero = torch.zeros((2, 1), dtype=torch.float64)
    assert bool(torch.isfinite(_rotation._rotate_orthogonal([noise, previous], zero, 0.5, torch.float64)).all())


@pytest.mark.parametrize("m", [1, 2])
def test_two_passes_scale_every_bit_whatever_the_scale_of_their_neighbours(m: int) -> None:
    inputs = [torch.randn((1, 60), generator=torch.Generator().manual_seed(seed)) for seed in range(m + 1)]
    plain = _rotation._rotate_gram(inputs, 0.5, 1e-2)
    # In float32 both are near an end of the range: squares of one vanish, those of the other overflow.
    units = torch.tensor([[2.0**-110], [2.0**110]])
    turned = _rotation._rotate_gram([units * t for t in inputs], 0.5 * units.double() ** 2, 1e-2)
    assert torch.equal(turned / units, plain.expand(2, -1))
