"""The rotation's kernels against Algorithm 1: interpreted on CPU tensors, and on a GPU where one is at hand."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator
from fractions import Fraction

import pytest
import torch
from direction_problems import problems
from exact_direction import Conditioning, damped_direction, distance, dot, fractions
from hypothesis import HealthCheck, given, settings
from noises import bits, norm, pair, pairs_of_every_scale
from torch import Tensor
from triton_interpreter import Interpreter

from lml import _rotation

pytest.importorskip("triton", reason="Triton is not installed (it exists for Linux; extra dev)")
_GPU = pytest.mark.outside("gpu")

Rotate = Callable[[Tensor, Tensor, float | Tensor, float], Tensor]
_NARROW = (torch.float32, torch.float16, torch.bfloat16)
_SINGLE = torch.finfo(torch.float32).eps


@pytest.fixture(scope="module")
def interpreter() -> Iterator[Interpreter]:
    with Interpreter() as process:
        yield process


@pytest.fixture(scope="module", params=["interpreted", pytest.param("GPU", marks=_GPU)])
def where(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module", params=[True, False], ids=["float64", "pairs of float32"])
def wide(request: pytest.FixtureRequest) -> bool:
    return bool(request.param)


@pytest.fixture(scope="module")
def rotate(where: str, wide: bool, request: pytest.FixtureRequest) -> Rotate:
    if where == "interpreted":
        process = request.getfixturevalue("interpreter")
        return lambda e, p, damping, kappa: process(e, p, damping, kappa, wide=wide)

    def on_gpu(e: Tensor, p: Tensor, damping: float | Tensor, kappa: float) -> Tensor:
        from lml import _rotation_triton

        lam = damping.cuda() if isinstance(damping, Tensor) else damping
        return _rotation_triton.rotate(e.cuda(), p.cuda(), lam, kappa, wide).cpu()

    return on_gpu


def _limit(noise: Tensor, previous: Tensor, damping: float, kappa: float, wide: bool) -> float:
    """Bound the error relative to ``|e|``: by how much the two numbers of a row move, then roundings of float32."""
    d = noise.numel()
    at = Conditioning.of(noise, previous, damping, kappa, c=d + 10)
    D = float((previous.double() - noise.double()).norm() / noise.double().norm())
    u = _SINGLE / 2
    # Inner products relative to |a||b|. In pairs: level k of a tree of K levels adds 2 (k + 1) u^2. On a GPU a thread
    # adds its 32 elements one after the other.
    levels = 3 if d <= 8 else 40
    inner = (d + 10) * 2.0**-53 if wide else levels * (levels + 3) * u**2
    # E, X and Q enter W = Q - X^2/E, whose terms are at most |D|^2; a D that is rounded moves p' by u |D|.
    moved = 4 * inner * D**2 + (0 if wide else 2 * at.w * u * D + (u * D) ** 2)
    floor = 4 * _SINGLE**2 * D**2  # what W carries on purpose

    def zeta(W: float) -> float:
        a = abs(1 + kappa * at.slope) + (0 if wide else kappa * (u + 2 * inner) * D)
        return kappa * a / (at.lam + kappa**2 * W)

    highest, lowest = at.w**2 + moved + floor, max(at.w**2 - moved, 0) + floor
    least, most = kappa * abs(1 + kappa * at.slope) / (at.lam + kappa**2 * highest), zeta(lowest)
    if at.w**2 - moved <= floor:  # such a p' can count as none
        least = 0.0
    # The angle, and the predicted norm by what the floor and the rounding add to |r|.
    limit = max(
        math.atan(at.zeta() * at.w) - math.atan(least * at.w), math.atan(most * at.w) - math.atan(at.zeta() * at.w)
    )
    limit += 1 - math.hypot(1, most * at.w) / math.hypot(1, most * at.w, most * math.sqrt(floor + 2 * moved))
    # alpha e - beta D in float32: roundings of alpha, beta, D, the products and the sum; then the dtype.
    cos = 1 / math.hypot(1, least * at.w)
    limit += 5 * u * cos * (1 + most * abs(at.slope) + most * D)
    return limit + 2 * at.cos * at.moved + torch.finfo(noise.dtype).eps / 2


@pytest.mark.parametrize("dtype", _NARROW, ids=str)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(problem=problems())
def test_kernel_equals_algorithm_1_in_rational_arithmetic(
    rotate: Rotate, wide: bool, dtype: torch.dtype, problem: tuple[Tensor, Tensor, float, float]
) -> None:
    noise, previous, damping, kappa = problem
    noise, previous = noise.to(dtype), previous.to(dtype)
    e = fractions(noise)
    r = damped_direction(e, [fractions(previous)], Fraction(damping), Fraction(kappa))
    out = rotate(noise, previous, damping, kappa)
    assert distance(out, e, r) / math.sqrt(dot(e, e)) <= _limit(noise, previous, damping, kappa, wide)


def test_small_orthogonal_part_of_a_nearly_opposite_noise_is_resolved(rotate: Rotate, wide: bool) -> None:
    # |p'| = 2e-5 |e|, so that W is 2^-33 of Q: rounded products would leave little of it, and of the predicted norm.
    noise, other = pair((1, 4096), torch.float32)
    previous = (2e-5 * other.double() - noise.double()).float()
    kappa, E = 2.0**-10, float(norm(noise)) ** 2
    damping = kappa * E * 2e-5  # zeta |p'| = |e|: 45 degrees
    out = rotate(noise, previous, damping, kappa)
    exact = _rotation._rotate([noise.double(), previous.double()], damping, kappa)
    error = float(norm(out.double() - exact) / norm(noise))
    assert error <= _limit(noise, previous, damping, kappa, wide)


@pytest.mark.parametrize("dtype", _NARROW, ids=str)
@pytest.mark.parametrize(
    "shape", [(3, 1), (9, 2), (5, 7), (3, 4, 5, 5), (4, 700), (3, 4096), (2, 8192), (2, 8193), (2, 16400), (1, 40_001)]
)
def test_rows_of_any_length_are_rotated_as_in_float64(
    rotate: Rotate, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    noise, previous = pair(shape, dtype)
    damping = torch.logspace(-2, 2, shape[0], dtype=torch.float64)
    exact = [t.double().flatten(1) for t in (noise, previous)]
    direction = _rotation._rotate(exact, damping[:, None], 1e-2)
    out = rotate(noise, previous, damping, 1e-2)
    assert (out.shape, out.dtype) == (noise.shape, dtype)
    # Independent noises, |D| < 2 |e|: W far above its floor. One rounding to the dtype, and eight of float32 of at most
    # |e|, of alpha, beta, their products and the sum; at d = 1 and 2 the lengths vary, and D can be larger.
    size = torch.maximum(norm(noise), norm(previous.double() - noise.double()) / 2)
    limit = torch.finfo(dtype).eps / 2 + 8 * _SINGLE
    assert bool((norm(out.double().flatten(1) - direction) <= limit * size).all())


@pytest.mark.parametrize("dtype", _NARROW, ids=str)
def test_finite_input_of_any_scale_gives_finite_directions_of_the_length_of_the_noise(
    rotate: Rotate, dtype: torch.dtype
) -> None:
    info = torch.finfo(dtype)
    dampings = torch.tensor([5e-324, 1e-300, 1e-30, 1e-3, 1.0, 1e30, 1.7e308], dtype=torch.float64)
    noise, previous = (x.repeat(len(dampings), 1) for x in pairs_of_every_scale(dtype, 9))
    damping = dampings.repeat_interleave(len(noise) // len(dampings))
    # As in test_kernel_scale: in units of the sample; below the normal range an element may lose its last bit. Where
    # the floor of W bounds zeta, terms of up to 1/(2 eps) of |e| are rounded: the norm is preserved to parts of it.
    unit = noise.double().abs().amax(1, keepdim=True).clamp_min(info.smallest_normal * info.eps)
    length = norm(noise.double() / unit)
    room = 3 * info.smallest_normal * info.eps / unit[:, 0]
    within = length * unit[:, 0] <= info.max
    for kappa in (5e-324, 1e-20, 1e-7, 0.5, 1 - 2.0**-53):
        out = rotate(noise, previous, damping, kappa)
        assert bool(torch.isfinite(out).all()), f"kappa = {kappa}"
        produced = norm(out.double() / unit)
        assert bool(((produced - length).abs() <= length + room)[within].all())
        assert not bool(out[noise.double().abs().amax(1) == 0].any())


@pytest.mark.parametrize("dtype", _NARROW, ids=str)
@pytest.mark.parametrize("factor", [1.0, -1.0, 0.5, -4.0, 0.0, 3.0])
@pytest.mark.parametrize("shape", [(3, 1), (2, 60), (2, 9000)])
def test_parallel_previous_noise_leaves_every_bit_of_the_noise(
    rotate: Rotate, dtype: torch.dtype, factor: float, shape: tuple[int, int]
) -> None:
    # Small integers, so that D = slope e, E, X and Q are exact and p' is zero.
    noise = torch.randint(-8, 8, shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    for damping in (1e-300, 1e-8, 1.0, 1e3):
        assert torch.equal(rotate(noise, factor * noise, damping, 0.5), noise)


def test_previous_noise_that_is_parallel_up_to_a_rounding_of_float32_leaves_the_noise(rotate: Rotate) -> None:
    noise, _ = pair((4, 300), torch.float32)
    for factor in (2.7, -0.4):  # D is as long as e, so that p' is below two units of its rounding
        assert torch.equal(rotate(noise, factor * noise, 1e-8, 0.5), noise)


def test_scaling_by_a_power_of_two_scales_every_bit(rotate: Rotate) -> None:
    noise, previous = pair((1, 60), torch.float32)
    plain = rotate(noise, previous, 0.5, 1e-2)
    units = torch.tensor([[2.0**-110], [1.0], [2.0**110]])  # squares vanish, and overflow, in float32
    turned = rotate(units * noise, units * previous, 0.5 * units[:, 0].double() ** 2, 1e-2)
    assert torch.equal(turned / units, plain.expand(3, -1))


def test_noises_of_different_scale_are_measured_apart(rotate: Rotate) -> None:
    # In one unit for both, the squares of the smaller would vanish in float32.
    noise, previous = pair((1, 60), torch.float32)
    for small, large in ((2.0**-100 * noise, previous), (noise, 2.0**-100 * previous)):
        damping = float((small.double() ** 2).sum())
        out = rotate(small, large, damping, 2.0**-7)
        exact = _rotation._rotate([small.double(), large.double()], damping, 2.0**-7)
        # alpha e - beta D, where D may be 2^100 e, and beta D is then |e|/(kappa |D|) of it: below |e|/kappa = 2^7 |e|.
        assert float((norm(out.double() - exact) / norm(small)).max()) <= 5 * _SINGLE * 2.0**7


@pytest.mark.parametrize("dtype", _NARROW, ids=str)
@pytest.mark.parametrize("shape", [(6, 5), (5, 3, 16, 16), (3, 9000)])
def test_result_of_a_sample_depends_on_no_other_sample(
    rotate: Rotate, dtype: torch.dtype, shape: tuple[int, ...]
) -> None:
    noise, previous = pair(shape, dtype)
    damping = torch.logspace(-4, 2, shape[0], dtype=torch.float64)
    together = rotate(noise, previous, damping, 1e-3)
    alone = [rotate(noise[i : i + 1], previous[i : i + 1], float(damping[i]), 1e-3) for i in range(shape[0])]
    assert torch.equal(bits(together), bits(torch.cat(alone)))
    assert torch.equal(bits(together), bits(rotate(noise, previous, damping, 1e-3)))


def test_damping_of_any_dtype_and_stride_is_the_number(rotate: Rotate) -> None:
    noise, previous = pair((3, 20), torch.float32)
    number = rotate(noise, previous, 0.25, 0.1)
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        tensor = torch.tensor(0.25, dtype=dtype)
        apart = torch.tensor([0.25, -1.0] * 3, dtype=dtype)[::2]
        for damping in (tensor, tensor.expand(3), apart):
            assert torch.equal(number, rotate(noise, previous, damping, 0.1))


def test_damping_and_mixing_beyond_the_range_of_float32_are_the_numbers(rotate: Rotate) -> None:
    noise, previous = pair((3, 20), torch.float32)
    # Both times 2^-200: zeta = kappa E/lambda stays, but for kappa^2 w and kappa slope, which are below 2^-100 here.
    for factor in (2.0**-200, torch.full((3,), 2.0**-200, dtype=torch.float64)):
        small = rotate(noise, previous, factor, 2.0**-204)
        exact = _rotation._rotate([noise.double(), previous.double()], 2.0**-200, 2.0**-204)
        assert bool((norm(small.double() - exact) <= 8 * _SINGLE * norm(noise)).all())
        assert not torch.equal(small, noise)


def test_layout_of_the_input_changes_no_bit(rotate: Rotate) -> None:
    noise, previous = pair((2, 3, 8, 8), torch.float32)
    out = rotate(noise, previous, 1.0, 0.1)
    strided = noise.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)
    assert torch.equal(out, rotate(strided, previous, 1.0, 0.1))
    expanded = previous[:1].expand(2, -1, -1, -1)
    assert torch.equal(rotate(noise, expanded, 1.0, 0.1), rotate(noise, expanded.contiguous(), 1.0, 0.1))
    shifted = torch.cat([torch.zeros(1), noise.flatten()])[1:].view(noise.shape)  # not at a multiple of 16 bytes
    assert torch.equal(out, rotate(shifted, previous, 1.0, 0.1))


def test_correct_kernels_pass_the_comparison_that_decides_whether_they_serve(
    interpreter: Interpreter, wide: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    from lml import _rotation_triton

    def rotate(e: Tensor, p: Tensor, damping: float | Tensor, kappa: float) -> Tensor:
        return interpreter(e, p, damping, kappa, wide=wide)

    monkeypatch.setattr(_rotation_triton, "rotate_on_device", rotate)
    for dtype, d in itertools.product(_NARROW, (*range(1, 18), 40, 784, 3072, 8192, 8193, 16_384)):
        assert _rotation_triton._agrees(torch.device("cpu"), dtype, d, _rotation._rotate)


def test_batches_beyond_the_limit_of_a_grid_in_two_dimensions_are_served(rotate: Rotate) -> None:
    noise, previous = pair((70_000, 1), torch.float32)
    out = rotate(noise, previous, 0.5, 0.1)
    assert torch.equal(out[-2:], rotate(noise[-2:], previous[-2:], 0.5, 0.1))


@pytest.mark.parametrize("shape", [(4, 5), (3, 9000)])
def test_a_number_that_is_none_stays_in_its_sample_and_is_seen(rotate: Rotate, shape: tuple[int, int]) -> None:
    noise, previous = pair(shape, torch.float16)
    clean = rotate(noise, previous, 0.5, 0.1)
    for value in (math.nan, math.inf):
        for spoiled in (noise, previous):
            before = spoiled[1, 2].clone()
            spoiled[1, 2] = value
            out = rotate(noise, previous, 0.5, 0.1)
            spoiled[1, 2] = before
            assert not bool(torch.isfinite(out[1]).all())
            assert torch.equal(out[[0, 2]], clean[[0, 2]])


@pytest.mark.parametrize("d", [1, 3, 20, 4096, 5000, 8192, 8193, 16384, 40_001])
def test_kernels_write_every_element_once_and_nothing_beside(interpreter: Interpreter, wide: bool, d: int) -> None:
    noise, previous = pair((3, d), torch.float16)
    run = interpreter.run(noise, previous, 0.5, 0.1, wide=wide)
    assert bool(torch.isfinite(run.out).all())
    assert run.untouched
    size, parts = noise.numel() * noise.element_size(), -(-d // 8192)
    # The traffic of the module's docstring: 3 streams, or 5 and three numbers a part, which every part reads.
    if parts == 1:
        assert (run.launches, run.loaded, run.stored) == (1, 2 * size, size)
    else:
        scratch = 3 * 3 * parts * 8
        assert (run.launches, run.loaded, run.stored) == (2, 4 * size + scratch * parts, size + scratch)


@pytest.mark.parametrize("shape", [(7, 3000), (3, 20_000)])
def test_order_in_which_programs_run_changes_no_bit(
    interpreter: Interpreter, wide: bool, shape: tuple[int, int]
) -> None:
    noise, previous = pair(shape, torch.float32)
    runs = [interpreter.run(noise, previous, 0.5, 0.1, wide=wide, backwards=back).out for back in (False, True)]
    assert torch.equal(*runs)


@pytest.mark.parametrize("dtype", _NARROW, ids=str)
def test_rows_of_more_parts_than_a_program_may_read_have_parts_of_several_tiles(
    interpreter: Interpreter, wide: bool, dtype: torch.dtype
) -> None:
    noise, previous = pair((2, 8192 * 4 + 5), dtype)
    whole = interpreter.run(noise, previous, 1.0, 1e-4, wide=wide)
    fewer = interpreter.run(noise, previous, 1.0, 1e-4, wide=wide, parts=4)
    assert fewer.untouched
    assert fewer.stored == noise.numel() * noise.element_size() + 2 * 3 * 3 * 8  # three parts a row, of two tiles
    # The sums differ in order alone: by 2^-50 in float64, below a rounding in float32 of alpha and beta.
    difference = norm(fewer.out.double() - whole.out.double())
    assert bool((difference <= torch.finfo(dtype).eps * norm(noise)).all())
