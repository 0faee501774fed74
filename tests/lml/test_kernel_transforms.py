"""`lml_direction` under autograd, torch.func, traces and the compiler: derivatives are right, and nothing is read."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
import torch
from exact_direction import PRECISIONS
from noises import norm, pair
from torch import Tensor
from torch._subclasses.fake_tensor import DataDependentOutputException, FakeTensorMode
from torch.func import grad, hessian, jacfwd, jacrev, jvp, vjp, vmap
from torch.fx.experimental.proxy_tensor import make_fx

from lml.correction import LML, Memory
from lml.kernel import lml_direction, lml_direction_rank

pytestmark = pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # forward derivatives load it

_U = 2.0**-53
_LOW = [torch.float32, torch.bfloat16, torch.float16]


def _problem(m: int, d: int = 5, batch: int = 2) -> tuple[Tensor, Tensor, list[Tensor]]:
    noise, _ = pair((batch, d), torch.float64)
    history = [pair((batch, d), torch.float64, seed)[1] for seed in range(m)]
    return noise, torch.logspace(-0.3, 0.3, batch, dtype=torch.float64), history


def _direction(e: Tensor, lam: Tensor, *p: Tensor) -> Tensor:
    return lml_direction_rank(e, p, damping=lam, mixing=0.3)


@pytest.mark.parametrize("m", [1, 2, 3])
def test_derivatives_of_both_modes_and_twice_are_those_of_finite_differences(m: int) -> None:
    noise, damping, history = _problem(m)
    arguments = [t.requires_grad_() for t in (noise, damping, *history)]
    assert torch.autograd.gradcheck(_direction, arguments, check_forward_ad=True, check_batched_grad=True)
    assert torch.autograd.gradgradcheck(_direction, arguments)


@pytest.mark.parametrize("m", [1, 2])
@pytest.mark.parametrize("factor", [1.0, 2.7, -0.4, 0.0])
def test_derivatives_at_a_parallel_previous_noise_are_those_of_finite_differences(m: int, factor: float) -> None:
    # There p' is zero and its derivative is not: e = p, a network that answers twice alike, is the most common case.
    noise, damping, _ = _problem(1)
    history = [factor * noise] * m
    arguments = [t.clone().requires_grad_() for t in (noise, damping, *history)]
    assert torch.autograd.gradcheck(_direction, arguments, check_forward_ad=True)


@pytest.mark.parametrize("dtype", _LOW, ids=str)
@pytest.mark.parametrize("shape", [(3, 40), (1, 7), (4, 2, 300)])
@pytest.mark.parametrize("m", [1, 2])
def test_derivatives_in_low_precision_are_those_of_float64(dtype: torch.dtype, shape: tuple[int, ...], m: int) -> None:
    noise, tangent = pair(shape, dtype)
    history = [pair(shape, dtype, seed)[1] for seed in range(1, m + 1)]
    weight = pair(shape, dtype, 9)[1]

    def direction(e: Tensor, *p: Tensor) -> Tensor:
        return lml_direction_rank(e, p, damping=5.0, mixing=0.2)

    def both(kind: torch.dtype) -> tuple[Tensor, tuple[Tensor, ...]]:
        inputs = tuple(t.to(kind) for t in (noise, *history))
        _, forward = jvp(direction, inputs, tuple(t.to(kind) for t in (tangent, *reversed(history))))
        _, pull = vjp(direction, *inputs)
        return forward, pull(weight.to(kind))

    exact, low = both(torch.float64), both(dtype)
    # The input of the chain rule is rounded to the dtype, and so is its result; a gradient with respect to e is
    # gathered in at most 1 + 2 m parts, each rounded.
    limit = (2 + 2 * m) * torch.finfo(dtype).eps
    for one, other in zip((exact[0], *exact[1]), (low[0], *low[1]), strict=True):
        assert float(norm(one - other.double()).max()) <= limit * float(norm(one).max())


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("m", [1, 3])
def test_vmap_is_a_loop(dtype: torch.dtype, m: int) -> None:
    noises = [pair((4, 3, 40), dtype, seed)[1] for seed in range(m + 1)]
    damping = torch.logspace(-2, 2, 12, dtype=torch.float64).view(4, 3)

    def direction(lam: Tensor | float, e: Tensor, *p: Tensor) -> Tensor:
        return lml_direction_rank(e, p, damping=lam, mixing=0.1)

    loop = torch.stack([direction(damping[i], *(t[i] for t in noises)) for i in range(4)])
    assert torch.equal(vmap(direction)(damping, *noises), loop)
    # Along another dimension of the noise, and with one damping for all.
    moved = [t.movedim(0, 2) for t in noises]
    places = (0, *[2] * (m + 1))
    again = vmap(direction, in_dims=places)(damping, *moved)
    # Rows that lie apart in memory are added in another order: (d + 10) u, times zeta |p|/|e| < kappa 40/lambda = 400.
    limit = torch.finfo(dtype).eps + 2 * 50 * _U * 400
    assert float((norm(again.flatten(0, 1).double() - loop.flatten(0, 1)) / norm(loop.flatten(0, 1))).max()) <= limit
    shared = vmap(lambda *t: direction(0.5, *t))(*noises)
    assert torch.equal(shared, torch.stack([direction(0.5, *(t[i] for t in noises)) for i in range(4)]))


@pytest.mark.parametrize("m", [1, 2])
def test_jacobians_of_both_modes_agree_and_those_of_a_batch_are_those_of_its_samples(m: int) -> None:
    noise, damping, history = _problem(m)

    def row(e: Tensor, lam: Tensor, *p: Tensor) -> Tensor:
        return _direction(e[None], lam[None], *(t[None] for t in p))[0]

    jacobians = [vmap(mode(row))(noise, damping, *history) for mode in (jacfwd, jacrev)]
    torch.testing.assert_close(*jacobians, rtol=0, atol=1e3 * _U)  # of order one, some hundred operations
    whole = jacrev(lambda e: _direction(e, damping, *history))(noise)
    for i, j in itertools.product(range(2), repeat=2):
        expected = jacobians[0][i] if i == j else torch.zeros((5, 5), dtype=torch.float64)
        torch.testing.assert_close(whole[i, :, j], expected, rtol=0, atol=1e3 * _U)


def test_hessians_of_a_batch_are_symmetric_and_the_derivatives_of_gradients() -> None:
    noise, damping, history = _problem(1)

    def energy(e: Tensor, lam: Tensor, p: Tensor) -> Tensor:
        return _direction(e[None], lam[None], p[None])[0].pow(3).sum()

    H = vmap(hessian(energy))(noise, damping, *history)
    torch.testing.assert_close(H, H.mT, rtol=0, atol=1e4 * _U)
    torch.testing.assert_close(H, vmap(jacfwd(grad(energy)))(noise, damping, *history), rtol=0, atol=1e4 * _U)
    torch.testing.assert_close(H, vmap(jacrev(grad(energy)))(noise, damping, *history), rtol=0, atol=1e4 * _U)


@pytest.mark.parametrize("mode", [jacfwd, jacrev], ids=["forward", "reverse"])
@pytest.mark.parametrize("m", [1, 2, 3])
def test_derivative_at_zero_noise_is_the_limit_along_noises_orthogonal_to_the_previous_ones(
    mode: Callable[..., Callable[..., Tensor]], m: int
) -> None:
    _, _, history = _problem(m, batch=1)
    lam, kappa = 2.0, 0.3

    def direction(e: Tensor) -> Tensor:
        return lml_direction_rank(e[None], history, damping=lam, mixing=kappa)[0]

    found = mode(direction)(torch.zeros(5, dtype=torch.float64))
    P = torch.cat(history)
    expected = lam * torch.linalg.inv(lam * torch.eye(5, dtype=torch.float64) + kappa**2 * P.T @ P)
    torch.testing.assert_close(found, expected, rtol=0, atol=100 * _U)
    # The limit itself: at a small noise that is orthogonal to every previous one.
    orthogonal = torch.linalg.svd(P).Vh[m]
    near = mode(direction)(1e-9 * orthogonal)
    torch.testing.assert_close(found, near, rtol=0, atol=1e-8)  # the first order in |e| = 1e-9, with a factor of ten


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("m", [1, 2])
def test_samples_without_noise_have_finite_derivatives_and_spoil_no_other(dtype: torch.dtype, m: int) -> None:
    noise, other = pair((4, 6), dtype)
    noise[1], noise[3], other[3] = 0, 0, 0
    arguments = [t.clone().requires_grad_() for t in (noise, *[other] * m)]
    out = lml_direction_rank(arguments[0], arguments[1:], damping=0.7, mixing=0.2)
    gradients = torch.autograd.grad(out.double().square().sum() + out.double().sum(), arguments)
    assert all(bool(torch.isfinite(g).all()) for g in gradients)
    alone = [t.detach()[::2].clone().requires_grad_() for t in arguments]
    out = lml_direction_rank(alone[0], alone[1:], damping=0.7, mixing=0.2)
    expected = torch.autograd.grad(out.double().square().sum() + out.double().sum(), alone)
    for one, every in zip(expected, gradients, strict=True):
        assert torch.equal(one, every[::2])
    assert torch.equal(gradients[0][3], torch.ones_like(noise[3]))  # nothing there: the identity
    assert not any(bool(g[[1, 3]].any()) for g in gradients[1:])  # no noise, whatever the previous one


def test_one_number_a_sample_has_the_derivative_of_the_identity() -> None:
    noise, previous = torch.tensor([1e4, -3.0]), torch.tensor([2.7e4, 5.0])
    out, tangent = jvp(lambda e, p: lml_direction(e, p, damping=1e-8, mixing=0.5), (noise, previous), (noise, previous))
    assert torch.equal(out, noise)
    assert torch.equal(tangent, noise)


def test_guidance_through_a_step_of_every_damping_mode_is_differentiable() -> None:
    noise, _, history = _problem(2, d=12)
    for mode in ("absolute", "relative", "adaptive"):
        correction = LML(damping=0.1, mixing=0.05, damping_mode=mode, rank=2)
        arguments = [t.clone().requires_grad_() for t in (noise, *history)]

        def turned(e: Tensor, *p: Tensor, correction: LML = correction) -> Tensor:
            return correction.correct(e, Memory(p))[0]

        assert torch.autograd.gradcheck(turned, arguments, check_forward_ad=True)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("m", [1, 3])
def test_nothing_reads_data_on_the_host(dtype: torch.dtype, m: int) -> None:
    # Meta tensors hold no numbers: any branch on data, item() or nonzero() raises.
    with FakeTensorMode():
        noise = torch.empty((4, 8), dtype=dtype, device="meta")
        damping = torch.empty(4, device="meta")
        with pytest.raises((DataDependentOutputException, NotImplementedError, RuntimeError)):
            bool((noise > 0).all())  # the guard itself works
        out = lml_direction_rank(noise, [torch.empty_like(noise)] * m, damping=damping, mixing=0.1)
        assert (out.shape, out.dtype, out.device) == (noise.shape, noise.dtype, noise.device)
        cpu = torch.empty((4, 8), dtype=dtype)  # a fake one: only the check of a damping would read it
        assert lml_direction_rank(cpu, [cpu] * m, damping=torch.empty(4), mixing=0.1).shape == (4, 8)
    real = torch.empty((2, 3, 4), dtype=dtype, device="meta")
    assert lml_direction_rank(real, [real] * m, damping=1.0, mixing=0.1).device.type == "meta"


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
def test_symbolic_trace_replays_on_other_data_and_other_batches(dtype: torch.dtype) -> None:
    def direction(e: Tensor, p: Tensor, lam: Tensor) -> Tensor:
        return lml_direction(e, p, damping=lam, mixing=0.2)

    lam = torch.full((3,), 0.3, dtype=torch.float64)
    graph = make_fx(direction, tracing_mode="symbolic")(*pair((3, 5), dtype), lam)
    noise, previous = pair((4, 9), dtype, 1)
    noise[2] = 0  # a sample without noise takes no branch of its own
    previous[1] = noise[1]
    lam = torch.logspace(-2, 2, 4, dtype=torch.float64)
    assert torch.equal(graph(noise, previous, lam), direction(noise, previous, lam))


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")  # the compiler's own deprecations
@pytest.mark.outside("compiler")
@pytest.mark.parametrize(("dtype", "d"), [*((dtype, 500) for dtype in PRECISIONS), (torch.float32, 65536)], ids=str)
def test_compiled_kernel_agrees_with_eager_in_one_graph(dtype: torch.dtype, d: int) -> None:
    noise, previous = pair((4, d), dtype)
    previous[1] = noise[1]
    noise[2] = 0
    compiled = torch.compile(lml_direction, fullgraph=True)
    for damping, mixing in ((20.0, 0.1), (5.0, 0.2), (7.0, 0.3)):  # numbers that change are variables of the graph
        out = compiled(noise, previous, damping=damping, mixing=mixing)
        eager = lml_direction(noise, previous, damping=damping, mixing=mixing)
        # One rounding apart in the dtype; both round d products in their own order, and kappa E/lambda multiplies what
        # that does to p'.
        strength = max(1, mixing * float(norm(noise).max()) ** 2 / damping)
        limit = (0 if dtype is torch.float64 else torch.finfo(dtype).eps) + 10 * (d + 10) * _U * strength
        assert float((norm(out.double() - eager.double()) / norm(noise).clamp_min(1)).max()) <= limit
        assert not bool(out[2].any())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.outside("compiler")
def test_compiled_gradients_and_compiled_single_numbers_are_those_of_eager() -> None:
    noise, damping, history = _problem(2)
    noise[1] = history[0][1]

    def energy(e: Tensor, *p: Tensor) -> Tensor:
        return lml_direction_rank(e, p, damping=damping, mixing=0.3).pow(3).sum()

    eager = grad(energy, argnums=(0, 1, 2))(noise, *history)
    compiled = torch.compile(grad(energy, argnums=(0, 1, 2)), fullgraph=True)(noise, *history)
    for one, other in zip(eager, compiled, strict=True):
        torch.testing.assert_close(one, other, rtol=0, atol=1e3 * _U)
    single = torch.compile(lml_direction, fullgraph=True)
    e, p = torch.tensor([[1e4]]), torch.tensor([[2.7e4]])
    assert torch.equal(single(e, p, damping=1e-8, mixing=0.5), e)
    e, p = torch.cat([e, 0 * e], 1), torch.cat([p, 0 * p], 1)
    assert torch.equal(single(e, p, damping=1e-8, mixing=0.5), e)
