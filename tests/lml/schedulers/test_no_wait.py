"""LML does not make the host wait for the device: on tensors without data nothing can be read."""

from __future__ import annotations

import collections

import pytest
import torch
from exact_loop import NAMES, NUMPY_2, PREDICTIONS, SHAPE, make, make_base
from torch.utils._python_dispatch import TorchDispatchMode

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

WAITS = ("_local_scalar_dense", "nonzero", "is_nonzero", "equal")


class _Counting(TorchDispatchMode):
    """Counts what reads a tensor back to the host."""

    def __init__(self):
        super().__init__()
        self.count = collections.Counter()

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        name = func.name().split("::")[1].split(".")[0]
        self.count[name] += name in WAITS
        return func(*args, **(kwargs or {}))


def _waits(scheduler, device):
    """The reads of a generation of six steps: samples and outputs on ``device``, the schedule on the host."""
    scheduler.set_timesteps(6)
    x = torch.ones(2, *SHAPE, device=device)
    with _Counting() as counting:
        for t in scheduler.timesteps:
            scheduler.scale_model_input(x, t) if hasattr(scheduler, "scale_model_input") else None
            x = scheduler.step(torch.ones_like(x), t, x).prev_sample
            assert x.device.type == device
    return sum(counting.count.values())


@pytest.mark.parametrize(
    "options",
    [{}, {"rank": 3}, {"damping_mode": "adaptive"}, {"start": 0.2, "stop": 0.8}, {"norm": "extrapolated"}],
    ids=str,
)
@pytest.mark.parametrize("name", NAMES)
def test_no_number_is_read_from_the_device(name, options):
    # A read of a meta tensor raises. Those of the schedule are counted: no more than the base's.
    assert _waits(make(name, **options), "meta") <= _waits(make_base(name), "meta")


@pytest.mark.parametrize(("name", "kind"), PREDICTIONS)
def test_no_number_is_read_for_any_prediction_type(name, kind):
    ours, base = make(name, prediction_type=kind), make_base(name, prediction_type=kind)
    assert _waits(ours, "meta") <= _waits(base, "meta")


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("DDIMScheduler", {}),
        ("DPMSolverMultistepScheduler", {"final_sigmas_type": "sigma_min", "solver_order": 3}),
        ("FlowMatchEulerDiscreteScheduler", {}),
    ],
)
def test_no_number_is_read_by_the_published_code(name, options):
    released = make(name, variant="released", damping_mode="absolute", **options)
    assert _waits(released, "meta") <= _waits(make_base(name, **options), "meta")


def test_no_number_is_read_to_tell_generations_apart():
    counts = []
    for scheduler in (make("DDIMScheduler"), make_base("DDIMScheduler")):
        scheduler.set_timesteps(6)
        xs = [torch.ones(2, *SHAPE, device="meta") for _ in range(3)]
        with _Counting() as counting:
            for t in scheduler.timesteps:
                # Copies: which generation each continues is found by what it holds.
                xs = [scheduler.step(torch.ones_like(x), t, x.clone()).prev_sample for x in xs]
        counts.append(sum(counting.count.values()))
    assert counts[0] <= counts[1]


def test_the_count_sees_a_read():
    with _Counting() as counting:
        torch.ones(()).item()
    assert sum(counting.count.values()) == 1
    with pytest.raises(RuntimeError, match="meta"):
        torch.ones((), device="meta").item()
