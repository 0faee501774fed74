"""The rotation on a GPU as a sampler calls it: oracle, launches, no wait of the host, and the bandwidth of a copy."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import pytest
import torch
from torch import Tensor
from torch.autograd import DeviceType

from lml import _rotation, lml_direction

pytestmark = pytest.mark.outside("gpu")
triton = pytest.importorskip("triton", reason="Triton is not installed (it exists for Linux; extra dev)")

_DTYPES = [torch.float32, torch.float16, torch.bfloat16]
_SINGLE = torch.finfo(torch.float32).eps


def _pair(shape: tuple[int, ...], dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    generator = torch.Generator("cuda").manual_seed(0)
    e, p = (torch.randn(shape, dtype=dtype, device="cuda", generator=generator) for _ in range(2))
    return e, p


@contextmanager
def no_waiting() -> Iterator[None]:
    torch.cuda.set_sync_debug_mode("error")
    try:
        yield
    finally:
        torch.cuda.set_sync_debug_mode("default")


@pytest.mark.parametrize("dtype", _DTYPES, ids=str)
@pytest.mark.parametrize("shape", [(4, 4, 64, 64), (3, 3, 32, 32), (256, 65536), (1, 3_000_001)])
def test_direction_is_that_of_float64(dtype: torch.dtype, shape: tuple[int, ...]) -> None:
    noise, previous = _pair(shape, dtype)
    damping = 1e-3 * noise.double().flatten(1).square().sum(1)
    out = lml_direction(noise, previous, damping=damping, mixing=5e-4)
    exact = lml_direction(noise.double(), previous.double(), damping=damping, mixing=5e-4)
    # One rounding to the dtype, and eight of float32: as in test_rows_of_any_length_are_rotated_as_in_float64.
    error = (out.double() - exact).flatten(1).norm(dim=1) / exact.flatten(1).norm(dim=1)
    assert float(error.max()) <= torch.finfo(dtype).eps / 2 + 8 * _SINGLE
    assert torch.equal(out, lml_direction(noise, previous, damping=damping, mixing=5e-4))
    assert torch.equal(out[-1:], lml_direction(noise[-1:], previous[-1:], damping=damping[-1:], mixing=5e-4))


@pytest.mark.parametrize(
    ("d", "kernels"), [(3072, ["_rotate_rows"]), (16384, ["_combine_parts", "_sum_parts"])], ids=str
)
@pytest.mark.parametrize("per_sample", [False, True])
def test_nothing_but_one_or_two_kernels_runs(d: int, kernels: list[str], per_sample: bool) -> None:
    noise, previous = _pair((4, d), torch.float16)
    damping = torch.full((4,), 3.0, device="cuda") if per_sample else 3.0
    lml_direction(noise, previous, damping=damping, mixing=1e-3)  # built
    torch.cuda.synchronize()
    activities = [torch.profiler.ProfilerActivity.CPU, torch.profiler.ProfilerActivity.CUDA]
    with torch.profiler.profile(activities=activities) as profile:
        lml_direction(noise, previous, damping=damping, mixing=1e-3)
        torch.cuda.synchronize()
    assert sorted(event.name for event in profile.events() if event.device_type == DeviceType.CUDA) == kernels


@pytest.mark.parametrize("d", [3072, 16384])
def test_host_waits_for_the_first_rows_of_a_length_and_never_again(d: int) -> None:
    noise, previous = _pair((4, d), torch.float32)
    dampings = (3.0, torch.full((4,), 3.0, device="cuda"))
    for damping in dampings:
        lml_direction(noise, previous, damping=damping, mixing=1e-3)  # builds the kernels, and compares them
    with no_waiting():
        for damping in dampings:
            lml_direction(noise, previous, damping=damping, mixing=1e-3)
        with pytest.raises(RuntimeError, match="synchroniz"):
            noise.sum().item()  # the guard itself works


def test_a_captured_graph_replays_on_other_data() -> None:
    noise, previous = _pair((4, 16384), torch.float32)
    damping = torch.full((4,), 3.0, device="cuda")
    lml_direction(noise, previous, damping=damping, mixing=1e-3)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = lml_direction(noise, previous, damping=damping, mixing=1e-3)
    noise.neg_()
    graph.replay()
    assert torch.equal(out, lml_direction(noise, previous, damping=damping, mixing=1e-3))


def test_a_graph_that_is_captured_before_anything_was_compared_is_right() -> None:
    noise, previous = _pair((4, 1234), torch.float32)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = lml_direction(noise, previous, damping=3.0, mixing=1e-3)
    graph.replay()
    again = lml_direction(noise, previous, damping=3.0, mixing=1e-3)
    assert float((out - again).abs().max() / again.abs().max()) < 20 * _SINGLE  # the eager form, then the kernels


def test_rows_beyond_65535_and_elements_beyond_32_bits_are_served() -> None:
    rows, d = 250_000, 8704  # 2.2e9 elements
    if torch.cuda.mem_get_info()[0] < 4 * rows * d * 2:
        pytest.skip("less than 17 GB of free memory on the GPU")
    noise = torch.empty((rows, d), dtype=torch.float16, device="cuda").normal_()
    previous = torch.empty_like(noise).normal_()
    out = lml_direction(noise, previous, damping=3.0, mixing=1e-3)
    for row in (0, 65_535, rows // 2, rows - 1):
        alone = lml_direction(noise[row : row + 1], previous[row : row + 1], damping=3.0, mixing=1e-3)
        assert torch.equal(out[row : row + 1], alone)


def test_gradient_is_that_of_the_eager_form() -> None:
    noise, previous = _pair((4, 500), torch.float32)
    noise.requires_grad_()
    lml_direction(noise, previous, damping=3.0, mixing=1e-2).sum().backward()
    got, noise.grad = noise.grad, None
    _rotation._rotate([noise, previous], 3.0, 1e-2).sum().backward()
    assert torch.equal(got, noise.grad)


@pytest.mark.parametrize(("d", "streams"), [(4096, 3), (65536, 5)])
def test_bandwidth_is_80_per_cent_of_a_copy(d: int, streams: int) -> None:
    noise, previous = _pair((256 * 65536 // d, d), torch.float32)
    out = torch.empty_like(noise)
    copy = triton.testing.do_bench(lambda: out.copy_(noise), return_mode="median")
    ours = triton.testing.do_bench(
        lambda: lml_direction(noise, previous, damping=3.0, mixing=1e-3), return_mode="median"
    )
    assert streams / ours >= 0.8 * 2 / copy, f"{ours:.4f} ms for {streams} streams, the copy takes {copy:.4f} ms for 2"
