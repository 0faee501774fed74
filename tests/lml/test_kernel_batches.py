"""A sample's direction has the same bits in any batch, with any number of threads and any vector width."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import batch_independence
import pytest
import torch
from exact_direction import PRECISIONS
from noises import bits, pair
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from lml import _rotation, _rows
from lml.controls import Extrapolation, NormOnly
from lml.correction import LML, Correction, Memory
from lml.geometry import DampedOuterProduct
from lml.kernel import lml_direction, lml_direction_rank
from lml.profile import Profile


@pytest.fixture
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.usefixtures("two_threads")
def test_result_of_a_sample_depends_on_no_other_sample() -> None:
    assert list(batch_independence.failures()) == []


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="vector widths are chosen by PyTorch's builds for x86")
@pytest.mark.parametrize("capability", ["default", "avx2", "avx512"])
def test_result_of_a_sample_depends_on_no_other_sample_at_any_vector_width(capability: str) -> None:
    root = Path(__file__).parents[2]
    environment = {**os.environ, "ATEN_CPU_CAPABILITY": capability, "PYTHONPATH": str(root)}
    script = root / "tests" / "helpers" / "batch_independence.py"
    run = subprocess.run([sys.executable, script], env=environment, capture_output=True, text=True, check=True)
    *failures, used = run.stdout.splitlines()
    if used.lower() != capability:
        pytest.skip(f"this machine computes with {used}")
    assert failures == []


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(
    ("name", "faulty"),
    [
        ("row_sum", lambda x: x.sum(1, keepdim=True)),  # one long sum is split among threads
        ("row_sum", lambda x: torch.bmm(x[:, None], torch.ones_like(x)[:, :, None])[:, :, 0]),  # the order of BLAS
    ],
    ids=["a sum of all threads", "a sum of BLAS"],
)
def test_sums_whose_order_depends_on_the_batch_are_found(
    name: str, faulty: Callable[[Tensor], Tensor], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(_rotation, name, faulty)
    noises = batch_independence.draw((3, 40001), 2, 0)
    lam = torch.logspace(-4, 2, 3, dtype=torch.float64)
    assert batch_independence.float64_depends_on_its_batch(noises, lam, 1e-3)


# Operations that round once, or not at all. `sum` adds along one row; what it adds was rounded by itself.
_ROUND_ONCE = {
    *("add", "sub", "rsub", "mul", "div", "sqrt", "rsqrt", "reciprocal", "sum", "abs", "neg"),
    *("clamp", "clamp_min", "clamp_max", "maximum", "minimum", "amax", "where", "gt", "le", "frexp", "scalar_tensor"),
    *("_to_copy", "clone", "detach", "alias", "cat", "stack", "select", "slice", "unsqueeze", "diagonal"),
    *("view", "_unsafe_view", "expand", "permute"),
    *("eq", "ne", "bitwise_and", "bitwise_not", "any", "_local_scalar_dense"),  # of the check of a damping
}


class _Operations(TorchDispatchMode):
    """Notes the operations that are made, and refuses sums along another dimension than the last."""

    def __init__(self) -> None:
        super().__init__()
        self.fused: set[str] = set()

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        name = func._schema.name.removeprefix("aten::")
        scaled = name in ("add", "sub", "rsub") and kwargs.get("alpha", 1) != 1
        across = name == "sum" and list(args[1]) != [args[0].ndim - 1]
        if name not in _ROUND_ONCE or scaled or across:
            self.fused.add(f"{name} {'with alpha' if scaled else ''}")
        return func(*args, **kwargs)


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("d", [5, 9000, _rotation._BLOCK])
def test_every_operation_rounds_once_so_that_no_machine_can_tell_where_a_row_lies(dtype: torch.dtype, d: int) -> None:
    # The two tests above find a fault where this machine's vectors show it. This one rests on nothing but what a
    # correctly rounded operation is.
    noise, previous = pair((2, d), dtype)
    others = (previous, noise.flip(0), noise.flip(1))
    with _Operations() as seen:
        for history in (others[:1], others[:2], others):
            lml_direction_rank(noise, history, damping=0.1, mixing=1e-2)
            for mode in ("relative", "adaptive"):
                LML(damping_mode=mode, rank=len(history)).correct(noise, Memory(history))
    assert seen.fused == set()


def test_fused_operations_are_seen() -> None:
    x = torch.ones(2, 3)
    for fused in (
        lambda: torch.addcmul(x, x, x, value=-1),
        lambda: x.sub(x, alpha=2),
        lambda: torch.add(x, x, alpha=0.5),
        lambda: x @ x.T,
        lambda: torch.dot(x[0], x[1]),
        lambda: torch.lerp(x, x, 0.5),
        lambda: torch.linalg.vector_norm(x, dim=1),
        lambda: x**0.3,
        lambda: x.sum(0),
        lambda: x.sum([0, 1]),
    ):
        with _Operations() as seen:
            fused()
        assert seen.fused, fused


@pytest.mark.usefixtures("two_threads")
@pytest.mark.parametrize(("batch", "d"), [(11, 5), (2, 40001)])
@pytest.mark.parametrize(
    "correction",
    [
        LML(),
        LML(damping_mode="adaptive", rank=2),
        Extrapolation(),
        NormOnly(),
        Profile(((), (0.5,), (0.6, -0.1)), restored=0.37),
    ],
    ids=lambda each: type(each).__name__,
)
def test_corrections_of_a_sample_depend_on_no_other_sample(correction: Correction, batch: int, d: int) -> None:
    noises = batch_independence.draw((batch, d), 3, d)
    for dtype in (torch.float64, torch.float32):
        inputs = [t.to(dtype) for t in noises]
        together, _ = correction.correct(inputs[0], Memory(tuple(inputs[1:])), 2 / 3)
        rows = (
            correction.correct(t[0], Memory(t[1:]), 2 / 3)[0] for t in zip(*(x.split(1) for x in inputs), strict=True)
        )
        assert torch.equal(bits(together), bits(torch.cat(list(rows))))


@pytest.mark.parametrize("exponent", [0.37, 1.0, 1 / 3])
def test_power_of_a_row_depends_on_no_other_row(exponent: float) -> None:
    for rows in range(1, 70):
        x = torch.rand((rows, 1), dtype=torch.float64, generator=torch.Generator().manual_seed(rows))
        alone = torch.cat([_rows.row_power(each.clone(), exponent) for each in x.split(1)])
        assert torch.equal(bits(_rows.row_power(x, exponent)), bits(alone))
        assert torch.allclose(alone, x**exponent, rtol=4 * 2.0**-52, atol=0)


@pytest.mark.usefixtures("two_threads")
def test_products_of_a_geometry_depend_on_no_other_sample() -> None:
    s, x = batch_independence.draw((3, 40001), 2, 1)
    together = DampedOuterProduct(s, 0.5)
    for method in ("matvec", "solve", "sqrt_solve"):
        rows = [getattr(DampedOuterProduct(a, 0.5), method)(b) for a, b in zip(s.split(1), x.split(1), strict=True)]
        assert torch.equal(bits(getattr(together, method)(x)), bits(torch.cat(rows)))


@pytest.mark.parametrize("m", [1, 2, 3])
def test_sample_by_sample_results_hold_for_a_changed_neighbour(m: int) -> None:
    noise, other = pair((6, 100), torch.float64)
    history = [pair((6, 100), torch.float64, seed)[1] for seed in range(m)]
    out = lml_direction_rank(noise, history, damping=0.1, mixing=0.2)
    changed = [torch.cat([p[:3], 1e100 * other[3:]]) for p in history]
    again = lml_direction_rank(torch.cat([noise[:3], other[3:]]), changed, damping=0.1, mixing=0.2)
    assert torch.equal(out[:3], again[:3])


@pytest.mark.parametrize("dtype", PRECISIONS, ids=str)
@pytest.mark.parametrize("m", [1, 2])
def test_size_of_the_blocks_changes_no_bit(dtype: torch.dtype, m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    noise, _ = pair((5, 700), dtype)
    history = [pair((5, 700), dtype, seed)[1] for seed in range(m)]
    damping = torch.logspace(-2, 2, 5, dtype=torch.float64)
    whole = lml_direction_rank(noise, history, damping=damping, mixing=1e-2)
    for block in (1, 700, 1400, 2048):
        monkeypatch.setattr(_rotation, "_BLOCK", block)
        assert torch.equal(bits(whole), bits(lml_direction_rank(noise, history, damping=damping, mixing=1e-2)))


def test_a_damping_for_each_sample_is_that_of_its_block(monkeypatch: pytest.MonkeyPatch) -> None:
    noise, previous = pair((5, 40), torch.float64)
    monkeypatch.setattr(_rotation, "_BLOCK", 80)
    damping = torch.logspace(-2, 2, 5, dtype=torch.float64)
    out = lml_direction(noise, previous, damping=damping, mixing=0.1)
    for i in range(5):
        alone = lml_direction(noise[i, None], previous[i, None], damping=float(damping[i]), mixing=0.1)
        assert torch.equal(out[i, None], alone)
