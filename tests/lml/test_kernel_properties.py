"""What holds of `lml_direction` whatever the numbers: norm, angle, identity, batches, layouts, derivatives, tracing."""

from __future__ import annotations

import pytest
import torch
from exact_direction import PRECISIONS
from hypothesis import given, settings
from hypothesis import strategies as st
from noises import bits, norm, pair
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.fx.experimental.proxy_tensor import make_fx

from lml import _rotation, lml_direction, lml_direction_rank


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


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("shape", [(6, 5), (5, 3, 16, 16), (40, 3072), (3, 40_001), (2, 530_000)])
@pytest.mark.parametrize("threads", [1, 2])
def test_result_of_a_sample_depends_on_no_other_sample(
    dtype: torch.dtype, shape: tuple[int, ...], threads: int
) -> None:
    noise, previous = pair(shape, dtype)
    damping = torch.logspace(-4, 2, shape[0], dtype=torch.float64)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        together = lml_direction(noise, previous, damping=damping, mixing=1e-3)
        alone = [
            lml_direction(noise[i : i + 1], previous[i : i + 1], damping=float(damping[i]), mixing=1e-3)
            for i in range(shape[0])
        ]
    finally:
        torch.set_num_threads(before)
    assert torch.equal(bits(together), bits(torch.cat(alone)))


@pytest.mark.parametrize("m", [1, 2, 3])
def test_sample_by_sample_results_hold_for_rank_m_and_for_a_changed_neighbour(m: int) -> None:
    noise, other = pair((6, 100), torch.float64)
    history = [pair((6, 100), torch.float64, seed)[1] for seed in range(m)]
    out = lml_direction_rank(noise, history, damping=0.1, mixing=0.2)
    changed = [torch.cat([p[:3], 1e100 * other[3:]]) for p in history]
    assert torch.equal(
        out[:3], lml_direction_rank(torch.cat([noise[:3], other[3:]]), changed, damping=0.1, mixing=0.2)[:3]
    )


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("shape", [(3, 64), (5, 700), (2, 9000)])
@pytest.mark.parametrize("m", [1, 2])
def test_internal_paths_agree(
    dtype: torch.dtype, shape: tuple[int, int], m: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    noise, _ = pair(shape, dtype)
    inputs = [noise, *(pair(shape, dtype, seed)[1] for seed in range(m))]
    d = shape[1]
    orthogonal = _rotation._rotate_orthogonal(inputs, 0.5, 1e-2, torch.float64).double()
    # Step of at most kappa E/lambda * |p'| ~ 1e-2 d/0.5 |e| with p' resolved to d u (float64) or u32 (two passes).
    strength = 1 + m * 1e-2 * float((noise.double() ** 2).sum(1).max()) / 0.5
    spacing = torch.finfo(dtype).eps
    monkeypatch.setattr(_rotation, "_BLOCK", 2048)  # several blocks of samples, and samples walked in pieces
    blocked = _rotation._rotate_blocked(inputs, 0.5, 1e-2).double()
    close = 4 * m * (d + 10) * 2.0**-53 * strength
    assert float((norm(blocked - orthogonal) / norm(noise)).max()) <= (spacing / 2 if spacing > 1e-10 else 0) + close
    if dtype is not torch.float64:
        gram = _rotation._rotate_gram(inputs, 0.5, 1e-2).double()
        single = torch.finfo(torch.float32).eps
        # cos of the angle is about 1/strength, so the error of beta D, eps strength |D|, enters as eps |D| ~ 2 eps |e|.
        limit = spacing + 8 * m * single
        assert float((norm(gram - orthogonal) / norm(noise)).max()) <= limit


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


@pytest.mark.parametrize("m", [1, 2])
def test_gradient_is_that_of_finite_differences(m: int) -> None:
    noise, _ = pair((2, 5), torch.float64)
    history = [pair((2, 5), torch.float64, seed)[1] for seed in range(m)]
    damping = torch.tensor([0.5, 2.0], dtype=torch.float64)
    arguments = [t.requires_grad_() for t in (noise, damping, *history)]

    def direction(e: Tensor, lam: Tensor, *p: Tensor) -> Tensor:
        return lml_direction_rank(e, p, damping=lam, mixing=0.3)

    assert torch.autograd.gradcheck(direction, arguments)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_gradient_in_low_precision_is_that_of_float64(dtype: torch.dtype) -> None:
    noise, previous = pair((3, 40), dtype)
    _, weight = pair((3, 40), dtype, 1)
    exact, low = ([t.to(kind).requires_grad_() for t in (noise, previous)] for kind in (torch.float64, dtype))
    for arguments in (exact, low):
        out = lml_direction(arguments[0], arguments[1], damping=5.0, mixing=0.2)
        (out.double() * weight.double()).sum().backward()
    for one, other in zip(exact, low, strict=True):
        # Each gradient is the sum of at most 8 rounded float32 terms of its own size (e and p twice, the combination,
        # its scale), which autograd gathers in up to three partial sums, rounded to the dtype.
        scale = float(norm(one.grad).max())
        limit = 3 * torch.finfo(dtype).eps + 8 * torch.finfo(torch.float32).eps
        assert float(norm(one.grad - other.grad.double()).max()) <= limit * scale


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("m", [1, 3])
def test_nothing_reads_data_on_the_host(dtype: torch.dtype, m: int) -> None:
    # Meta tensors hold no numbers: any branch on data, item() or nonzero() raises. They take the accelerators' path.
    with FakeTensorMode():
        noise = torch.empty((4, 8), dtype=dtype, device="meta")
        damping = torch.empty(4, device="meta")
        with pytest.raises((DataDependentOutputException, NotImplementedError, RuntimeError)):
            bool((noise > 0).all())  # the guard itself works
        out = lml_direction_rank(noise, [torch.empty_like(noise)] * m, damping=damping, mixing=0.1)
        assert (out.shape, out.dtype, out.device) == (noise.shape, noise.dtype, noise.device)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_symbolic_trace_replays_on_other_data_and_other_batches(dtype: torch.dtype) -> None:
    def direction(e: Tensor, p: Tensor) -> Tensor:
        return lml_direction(e, p, damping=0.3, mixing=0.2)

    graph = make_fx(direction, tracing_mode="symbolic")(*pair((3, 5), dtype))
    noise, previous = pair((4, 9), dtype, 1)
    assert torch.equal(graph(noise, previous), direction(noise, previous))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own deprecations
@pytest.mark.outside("compiler")
@pytest.mark.parametrize(("dtype", "d"), [*((dtype, 500) for dtype in PRECISIONS), (torch.float32, 65536)], ids=str)
def test_compiled_kernel_agrees_with_eager_in_one_graph(dtype: torch.dtype, d: int) -> None:
    noise, previous = pair((3, d), dtype)
    compiled = torch.compile(lml_direction, fullgraph=True)
    out = compiled(noise, previous, damping=20.0, mixing=0.1)
    eager = lml_direction(noise, previous, damping=20.0, mixing=0.1)
    # One rounding apart in the dtype. The compiled form combines in float32, four roundings of terms below 3 |e|; in
    # float64 both round d products in their own order, and kappa E/lambda = 2.5 multiplies what that does to p'.
    double = dtype is torch.float64
    limit = 10 * (d + 10) * 2.0**-53 if double else torch.finfo(dtype).eps + 12 * torch.finfo(torch.float32).eps
    assert float((norm(out.double() - eager.double()) / norm(noise)).max()) <= limit
