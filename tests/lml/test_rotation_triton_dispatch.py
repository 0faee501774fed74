"""Who is rotated by the kernels of `lml._rotation_triton`: numbers on a GPU, and nobody else."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.autograd import forward_ad
from torch.fx.experimental.proxy_tensor import make_fx

from lml import _rotation, lml_direction

pytest.importorskip("triton", reason="Triton is not installed (it exists for Linux; extra dev)")

from lml import _rotation_triton


@pytest.fixture(autouse=True)
def forgotten() -> Iterator[None]:
    """What was decided at the first rotation is decided again."""
    _rotation._fused.cache_clear()
    _rotation_triton._agreed.clear()
    yield
    _rotation._fused.cache_clear()
    _rotation_triton._agreed.clear()


def _seen(call: object, *arguments: object) -> list[bool]:
    """Return what `are_numbers` says of the tensor that ``call(function, *arguments)`` hands to ``function``."""
    answers: list[bool] = []

    def ask(x: Tensor) -> Tensor:
        answers.append(_rotation_triton.are_numbers((x,)))
        return 2 * x

    call(ask, *arguments)  # type: ignore[operator]
    return answers


@pytest.mark.filterwarnings("ignore:.torch.jit:DeprecationWarning")  # forward derivatives load it; so does the tracer
def test_numbers_are_numbers_without_a_trace_a_derivative_or_a_transform() -> None:
    x = torch.ones(3, 4)
    assert _seen(lambda f: f(x)) == [True]
    with torch.device("cpu"), torch.profiler.record_function("outside"):
        assert _seen(lambda f: f(x)) == [True]
    parameter = torch.ones(3, 4, requires_grad=True)
    with torch.no_grad():
        assert _seen(lambda f: f(parameter)) == [True]
    assert _seen(lambda f: f(parameter)) == [False]
    assert _seen(lambda f: f(torch.nn.Parameter(x, requires_grad=False))) == [False]
    assert _seen(lambda f: torch.vmap(f)(x)) == [False]
    assert set(_seen(lambda f: torch.func.jvp(f, (x,), (x,)))) == {False}
    assert set(_seen(lambda f: torch.func.vjp(f, x))) == {False}
    with forward_ad.dual_level():
        assert _seen(lambda f: f(forward_ad.make_dual(x, x))) == [False]
    for mode in ("real", "fake", "symbolic"):
        assert set(_seen(lambda f, mode=mode: make_fx(f, tracing_mode=mode)(x))) == {False}
    with FakeTensorMode():
        assert _seen(lambda f: f(torch.ones(3, 4))) == [False]
    assert False in _seen(lambda f: torch.jit.trace(f, (torch.ones(3, 4),), check_trace=False))


def test_one_previous_noise_of_at_most_32_bits_is_served(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_rotation_triton, "_agrees", lambda *_: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: False)
    served = _rotation_triton.serves
    with FakeTensorMode():
        single, double = (torch.empty((4, 8), dtype=dtype, device="cuda") for dtype in (torch.float32, torch.float64))
        assert not served(single, (single,), 0.5, _rotation._rotate)  # a fake tensor has no numbers
        monkeypatch.setattr(_rotation_triton, "are_numbers", lambda _: True)
        assert served(single, (single,), 0.5, _rotation._rotate)
        assert served(single.half(), (single.half(),), torch.empty(4, device="cuda"), _rotation._rotate)
        assert not served(single, (single, single), 0.5, _rotation._rotate)
        assert not served(double, (double,), 0.5, _rotation._rotate)
        cpu = torch.empty(4, 8)
        assert not served(cpu, (cpu,), 0.5, _rotation._rotate)


def test_what_a_kernel_reads_are_the_numbers_in_a_row_at_a_multiple_of_16_bytes() -> None:
    x = torch.arange(24.0).view(2, 3, 4)
    memory = torch.cat([torch.zeros(1), x.flatten()])
    for given in (
        x,
        x.transpose(0, 2).contiguous().transpose(0, 2),
        memory[1:].view(2, 3, 4),
        torch._neg_view(-x),  # contiguous, and its memory holds the negatives
        torch._neg_view(-memory)[1:].view(2, 3, 4),
    ):
        read = _rotation_triton._aligned(given)
        assert torch.equal(torch.empty(0).set_(read.untyped_storage(), read.storage_offset(), (24,)), x.flatten())
        assert (read.is_contiguous(), read.is_neg(), read.data_ptr() % 16) == (True, False, 0)


def test_a_gpu_is_asked_first_and_its_answer_is_the_direction(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, ...]] = []

    def rotate_on_device(*arguments: object) -> object:
        asked.append(arguments)
        return arguments[0]

    kernels = SimpleNamespace(serves=lambda *_: True, rotate_on_device=rotate_on_device)
    monkeypatch.setattr(_rotation, "_fused", lambda: kernels)
    with FakeTensorMode():
        noise, previous = (torch.empty((4, 8), device="cuda") for _ in range(2))
        assert lml_direction(noise, previous, damping=0.5, mixing=0.1) is noise
        assert asked == [(noise, previous, 0.5, 0.1)]
        empty = torch.empty((0, 8), device="cuda")  # is served before
        assert lml_direction(empty, empty, damping=0.5, mixing=0.1) is empty
    lml_direction(torch.ones(4, 8), torch.ones(4, 8), damping=0.5, mixing=0.1)
    assert len(asked) == 1


def test_environment_chooses_the_eager_form_and_other_words_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    for choice, kernels in (("eager", None), ("auto", _rotation_triton)):
        monkeypatch.setenv("LML_KERNEL", choice)
        _rotation._fused.cache_clear()
        assert _rotation._fused() is kernels
    monkeypatch.setenv("LML_KERNEL", "fast")
    _rotation._fused.cache_clear()
    with pytest.raises(ValueError, match="LML_KERNEL must be 'auto' or 'eager', got 'fast'"):
        _rotation._fused()


def test_eager_form_is_taken_without_triton(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "lml._rotation_triton")
    monkeypatch.delattr("lml._rotation_triton")
    monkeypatch.setitem(sys.modules, "triton", None)
    assert _rotation._fused() is None


def test_every_length_of_rows_is_compared_once_and_never_while_a_graph_is_captured(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    capturing, compared = [True], []

    def agrees(device: torch.device, dtype: torch.dtype, d: int, eager: object) -> bool:
        compared.append((dtype, d))
        return d != 9

    monkeypatch.setattr(_rotation_triton, "_agrees", agrees)
    monkeypatch.setattr(_rotation_triton, "are_numbers", lambda _: True)
    monkeypatch.setattr(torch.cuda, "is_current_stream_capturing", lambda: capturing[0])
    with FakeTensorMode():
        four, nine, alone = (torch.empty(shape, device="cuda") for shape in ((2, 4), (2, 9), (1, 2, 2)))

        def served(noise: Tensor) -> bool:
            return _rotation_triton.serves(noise, (noise,), 0.5, _rotation._rotate)

        assert not served(four)
        assert compared == []  # and nothing was concluded from it
        capturing[0] = False
        assert [served(four), served(alone), served(nine), served(nine), served(four.half())] == [1, 1, 0, 0, 1]
        assert compared == [(torch.float32, 4), (torch.float32, 9), (torch.float16, 4)]
        capturing[0] = True
        assert served(four)
        assert not served(nine)


_LENGTHS = [1, 3, 40, 4096, 8232]


@pytest.mark.parametrize("d", [40, 8232])
def test_a_device_for_which_no_kernel_can_be_built_is_named(d: int) -> None:
    with pytest.warns(RuntimeWarning, match=f"rows of {d} elements cannot be built for cpu: .*LML_KERNEL=eager"):
        assert not _rotation_triton._agrees(torch.device("cpu"), torch.float32, d, _rotation._rotate)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("d", _LENGTHS)
def test_kernels_serve_where_they_agree_with_the_eager_form(
    dtype: torch.dtype, d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rotate(e: Tensor, p: Tensor, damping: float | Tensor, kappa: float) -> Tensor:
        return lml_direction(e.double(), p.double(), damping=damping, mixing=kappa).to(dtype)

    monkeypatch.setattr(_rotation_triton, "rotate_on_device", rotate)
    assert _rotation_triton._agrees(torch.device("cpu"), dtype, d, _rotation._rotate)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("d", [3, 40, 8232])
@pytest.mark.parametrize(
    "fault", ["half the turn", "another row's damping", "one element", "not a number", "a damping that is a number"]
)
def test_kernels_that_are_wrong_do_not_serve(
    fault: str, dtype: torch.dtype, d: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    def rotate(e: Tensor, p: Tensor, damping: float | Tensor, kappa: float) -> Tensor:
        if isinstance(damping, float):
            damping = 2 * damping if fault == "a damping that is a number" else damping
            return lml_direction(e.double(), p.double(), damping=damping, mixing=kappa).to(dtype)
        kappa = kappa / 2 if fault == "half the turn" else kappa
        damping = damping.roll(1) if fault == "another row's damping" else damping
        out = lml_direction(e.double(), p.double(), damping=damping, mixing=kappa)
        out[1, -1] = {"one element": 0.0, "not a number": torch.nan}.get(fault, out[1, -1])
        return out.to(dtype)

    monkeypatch.setattr(_rotation_triton, "rotate_on_device", rotate)
    with pytest.warns(RuntimeWarning, match="please report this"):
        assert not _rotation_triton._agrees(torch.device("cpu"), dtype, d, _rotation._rotate)
