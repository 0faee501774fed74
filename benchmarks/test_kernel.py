"""The LML direction beside a real step: the arithmetic of DDIM, and the evaluation of a small network.

Times in brackets are multiples of the fastest of a group, which is the sum of two tensors, ``torch.add(a, b, out=c)``.

On a GPU the yardstick is ``copy_``: 2 streams, against 3 of the kernel of short rows and 5 of the two of long ones.
Printed is the share of the copy's bandwidth that each form reaches; the eager form moves more than the 5 that it is
given here.
"""

import pytest
import torch
from diffusers import DDIMScheduler, UNet2DModel

from lml import _rotation
from lml.kernel import lml_direction, lml_direction_textbook

# Latents of one and of several pictures, small pictures, and batches of several blocks.
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


def test_sum_of_two_tensors(benchmark, tensors):
    noise, previous = tensors
    out = torch.empty_like(noise)
    benchmark(lambda: torch.add(noise, previous, out=out))


def test_lml_direction(benchmark, tensors):
    noise, previous = tensors
    benchmark(lambda: lml_direction(noise, previous, damping=DAMPING, mixing=MIXING))


def test_step_of_ddim(benchmark, tensors):
    noise, previous = tensors
    scheduler = DDIMScheduler()
    scheduler.set_timesteps(10)
    benchmark(lambda: scheduler.step(noise, 501, previous, return_dict=False))


def test_small_network(benchmark, tensors):
    noise, _ = tensors
    if noise.ndim != 4:
        pytest.skip("not a batch of pictures")
    blocks = {"down_block_types": ("DownBlock2D", "AttnDownBlock2D"), "up_block_types": ("AttnUpBlock2D", "UpBlock2D")}
    channels = noise.shape[1]
    sizes = {"block_out_channels": (32, 64), "layers_per_block": 1, "norm_num_groups": 8}
    network = UNet2DModel(noise.shape[-1], channels, channels, **sizes, **blocks)
    with torch.inference_mode():
        benchmark.pedantic(lambda: network(noise, 501), rounds=5)


def test_lml_direction_without_blocks(benchmark, tensors):
    noise, previous = tensors
    if noise.numel() <= _rotation._BLOCK:
        pytest.skip("one block")
    inputs = [t.reshape(len(noise), -1) for t in (noise, previous)]
    benchmark(lambda: _rotation._rotate(inputs, DAMPING, MIXING))


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


GPU_SHAPES = [(1, 4, 64, 64), (4, 4, 128, 128), (4096, 4096), (256, 65536), (4, 16, 21, 60, 104)]


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
@pytest.mark.parametrize("dtype", [torch.float32, torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("shape", GPU_SHAPES, ids=_name)
def test_share_of_the_bandwidth_of_a_copy(benchmark, shape, dtype, capsys):
    testing = pytest.importorskip("triton.testing", reason="Triton is not installed")
    from lml import _rotation_triton

    noise, previous = (t.to("cuda", dtype) for t in _inputs(shape))
    out = torch.empty_like(noise)
    inputs = [t.reshape(len(noise), -1) for t in (noise, previous)]
    forms = {
        "copy_": lambda: out.copy_(noise),
        "lml_direction": lambda: lml_direction(noise, previous, damping=DAMPING, mixing=MIXING),
        "eager PyTorch": lambda: _rotation._rotate(inputs, DAMPING, MIXING),
    }
    # Medians of runs with the cache emptied between them, timed by events of the device.
    times = {name: testing.do_bench(form, return_mode="median") for name, form in forms.items()}
    streams = 3 if inputs[0].shape[1] <= _rotation_triton._TILE else 5
    with capsys.disabled():
        print(f"\n{_name(shape)} {dtype} on {torch.cuda.get_device_name()}")
        for name, time in times.items():
            share = 1 if name == "copy_" else streams / 2 * times["copy_"] / time
            print(f"  {name:28} {1e3 * time:9.1f} us  {share:6.1%} of the copy's bandwidth")
    # The row of the table: one call and its end, as the host sees them.
    benchmark.group = f"GPU {_name(shape)} {dtype}"
    benchmark(lambda: (forms["lml_direction"](), torch.cuda.synchronize()))
