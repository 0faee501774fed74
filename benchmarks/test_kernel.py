"""The LML direction against the streaming floor ``torch.add(a, b, out=c)`` on tensors of the same size, in one run.

The floor of form K3 is 5/3 of it: two passes read ``noise`` and ``previous``, one writes: five streams against three.
Times in brackets are multiples of the fastest of a group, which is the floor.
"""

import pytest
import torch

from lml import lml_direction, lml_direction_textbook

# Up to 16 MiB an array (float32), and the size for which the issue of speed was raised.
SHAPES = [(1, 4, 64, 64), (16, 3, 32, 32), (4, 4, 128, 128), (64, 65536), (256, 65536)]
DAMPING, MIXING = 1e-3, 1e-7


def _inputs(shape):
    generator = torch.Generator().manual_seed(0)
    return torch.randn(shape, generator=generator), torch.randn(shape, generator=generator)


def _name(shape):
    return "x".join(map(str, shape))


@pytest.fixture(params=SHAPES, ids=_name)
def tensors(request, benchmark):
    benchmark.group = _name(request.param)
    return _inputs(request.param)


def test_floor_add(benchmark, tensors):
    noise, previous = tensors
    out = torch.empty_like(noise)
    benchmark(lambda: torch.add(noise, previous, out=out))


def test_lml_direction(benchmark, tensors):
    noise, previous = tensors
    benchmark(lambda: lml_direction(noise, previous, damping=DAMPING, mixing=MIXING))


def test_lml_direction_compiled(benchmark, tensors):
    noise, previous = tensors
    compiled = torch.compile(lml_direction, fullgraph=True, dynamic=False)
    try:
        compiled(noise, previous, damping=DAMPING, mixing=MIXING)
    except torch._dynamo.exc.BackendCompilerFailed as error:
        pytest.skip(f"no working compiler: {error}")
    benchmark(lambda: compiled(noise, previous, damping=DAMPING, mixing=MIXING))


def test_textbook(benchmark, tensors):
    noise, previous = tensors
    benchmark(lambda: lml_direction_textbook(noise, previous, damping=DAMPING, mixing=MIXING))
