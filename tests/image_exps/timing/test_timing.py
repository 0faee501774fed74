"""Timing: clocks that are known, arms in turns, and the commands that print it."""

import re
import types

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler
from image_commands import call

from image_exps.timing import timing
from image_exps.timing.networks import predictor
from image_exps.timing.shapes import FullSize
from image_exps.timing.timing import (
    HostClock,
    clock_of,
    interleaved,
    machine,
    median_ratio,
    spread,
    time_samplers,
)


class Ticks:
    """A clock that moves only when an arm says so."""

    def __init__(self):
        self.now = 0.0

    def mark(self):
        return self.now

    def seconds(self, start, stop):
        return stop - start


def test_arms_take_turns_and_each_gets_its_own_time():
    clock, order = Ticks(), []

    def arm(name, seconds):
        def run():
            order.append(name)
            clock.now += seconds

        return run

    found = interleaved({"a": arm("a", 1.0), "b": arm("b", 2.0), "c": arm("c", 4.0)}, 3, clock)
    assert "".join(order) == "abc" + "abc" + "bca" + "cab"
    assert {name: list(x) for name, x in found.items()} == {"a": [1.0] * 3, "b": [2.0] * 3, "c": [4.0] * 3}


@pytest.mark.parametrize(("arms", "repetitions", "name"), [({}, 1, "arms"), ({"a": print}, 0, "repetitions")])
def test_nothing_to_time_is_refused(arms, repetitions, name):
    with pytest.raises(ValueError, match=f"{name} must be"):
        interleaved(arms, repetitions, HostClock())


def test_a_device_without_a_clock_is_refused():
    with pytest.raises(ValueError, match="device must be cpu or cuda to be timed, got 'meta'"):
        clock_of(torch.device("meta"))


def test_the_ratio_is_formed_within_repetitions():
    # A machine that slows down tenfold half-way: the ratio of medians is not what the arms differ by, this one is.
    below = np.array([1.0, 1.0, 1.0, 10.0, 10.0])
    found = median_ratio(1.02 * below, below)
    assert found.median == pytest.approx(1.02, rel=1e-12)
    assert found.lower == pytest.approx(1.02, rel=1e-12)
    with pytest.raises(ValueError, match=r"one shape \(n,\)"):
        median_ratio(below, below[:2])
    assert spread(np.arange(5.0)) == (2.0, 1.0, 3.0)


def test_a_base_and_lml_evaluate_the_network_equally_often_and_its_time_is_apart(monkeypatch):
    clock, calls = Ticks(), []
    monkeypatch.setattr(timing, "clock_of", lambda device: clock)

    def network(x, timestep):
        calls.append(int(timestep))
        clock.now += 0.25
        return torch.roll(x, 1, -1) * 0.9

    x = torch.randn((1, 2, 8, 8), generator=torch.Generator().manual_seed(0))
    found = time_samplers(network, x, DDIMScheduler(), evaluations=(3, 4), repetitions=2)
    assert [(t.arm, t.evaluations) for t in found] == [("ddim", 3), ("ddim/lml", 3), ("ddim", 4), ("ddim/lml", 4)]
    # One warm-up and two repetitions of two arms.
    assert len(calls) == 3 * 2 * (3 + 4)
    for t in found:
        assert list(t.network) == [0.25 * t.evaluations] * 2
        assert list(t.seconds) == list(t.network)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"base": "magic"}, "base must be one of ddim"),
        ({"evaluations": ()}, "evaluations must name at least one"),
        ({"base": "pndm", "evaluations": (2,)}, "evaluations must be 3 or more"),
        ({"evaluations": (2,), "repetitions": 0}, "repetitions must be a positive integer"),
    ],
)
def test_bad_requests_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        time_samplers(lambda x, t: x, torch.zeros(1, 1, 4, 4), DDIMScheduler(), **options)


SMALL = {
    "unet": FullSize(
        "small",
        "UNet2DConditionModel",
        {"sample_size": 8, "cross_attention_dim": 8, "block_out_channels": (8, 8), "norm_num_groups": 4,
         "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "attention_head_dim": 2,
         "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "layers_per_block": 1},
        0, (4, 8, 8), 3, "",
    ),
    "xl": FullSize(
        "small-xl",
        "UNet2DConditionModel",
        {"sample_size": 8, "cross_attention_dim": 8, "block_out_channels": (8, 8), "norm_num_groups": 4,
         "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"), "attention_head_dim": 2,
         "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"), "layers_per_block": 1,
         "addition_embed_type": "text_time", "addition_time_embed_dim": 4,
         "projection_class_embeddings_input_dim": 6 * 4 + 16},
        0, (4, 8, 8), 3, "",
    ),
    "pixart": FullSize(
        "small-pixart",
        "PixArtTransformer2DModel",
        {"sample_size": 8, "num_attention_heads": 2, "attention_head_dim": 8, "num_layers": 1,
         "cross_attention_dim": 16, "caption_channels": 8},
        0, (4, 8, 8), 3, "",
    ),
    "pixart-1024": FullSize(
        "small-pixart-1024",
        "PixArtTransformer2DModel",
        {"sample_size": 8, "num_attention_heads": 2, "attention_head_dim": 12, "num_layers": 1,
         "cross_attention_dim": 24, "caption_channels": 8, "use_additional_conditions": True},
        0, (4, 8, 8), 3, "",
    ),
}  # fmt: skip


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("name", SMALL)
def test_every_class_of_network_runs_with_random_weights(name, dtype):
    shape = SMALL[name]
    before = torch.get_rng_state()
    network = predictor(shape, torch.device("cpu"), dtype, batch=2)
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.get_default_dtype() is torch.float32
    x = torch.randn((2, *shape.latent), generator=torch.Generator().manual_seed(0)).to(dtype)
    with torch.inference_mode():
        out = network(x, torch.tensor(500))
    assert out.shape == x.shape
    assert out.dtype is dtype
    assert torch.isfinite(out).all()
    found = time_samplers(network, x, DDIMScheduler(clip_sample=False), evaluations=(2,), repetitions=1)
    assert all(0 < t.network[0] < t.seconds[0] for t in found)


def test_a_machine_is_named():
    facts = machine(torch.device("cpu"))
    assert facts["torch"] == torch.__version__
    assert facts["device"]


def test_the_command_prints_and_keeps_times_of_a_full_size_network(monkeypatch, tmp_path):
    from image_exps.evaluation import read_results
    from image_exps.timing import shapes as full_size

    monkeypatch.setattr(full_size, "FULL_SIZE", {"sd15": SMALL["unet"]})
    out = tmp_path / "results.parquet"
    result = call("time", "--full-size", "sd15", "-n", "2,3", "-r", "2", "--device", "cpu", "--out", str(out))
    assert result.exit_code == 0, result.output
    assert "ddim/lml" in result.output
    assert len(re.findall(r"LML adds +[-0-9.]+% of a generation", result.output)) == 2  # for 2 and 3 evaluations
    kept = read_results([out])
    seconds = {(r.sampler, r.evaluations): r for r in kept if r.metric == "seconds"}
    assert set(seconds) == {(s, n) for s in ("ddim", "ddim/lml") for n in (2, 3)}
    assert all(r.low <= r.value <= r.high and r.model == "sd15" for r in seconds.values())
    shares = [r.value for r in kept if r.metric == "network share"]
    assert len(shares) == 4
    assert all(0 < share < 1 for share in shares)


@pytest.mark.parametrize("name", ["small", *SMALL])
def test_the_network_of_a_loaded_model_is_timed_with_its_condition(name, monkeypatch):
    from diffusers import UNet2DModel

    from image_exps.commands import time as command
    from image_exps.pipelines import loading
    from image_exps.pipelines.models import model

    asked = {}

    def load(known, folder, *, dtype, device):
        asked.update(name=known.name, folder=folder, dtype=dtype, device=device)
        return loading.Loaded(types.SimpleNamespace(**{part: network}, scheduler=DDIMScheduler()), "")

    if name in SMALL:
        import diffusers

        network = getattr(diffusers, SMALL[name].cls)(**SMALL[name].config)
    else:
        blocks = {"block_out_channels": (8,), "down_block_types": ("DownBlock2D",), "up_block_types": ("UpBlock2D",)}
        network = UNet2DModel(8, 1, 1, norm_num_groups=4, num_class_embeds=3, layers_per_block=1, **blocks)
    part = "transformer" if name.startswith("pixart") else "unet"
    monkeypatch.setattr(loading, "load_pipeline", load)
    predict, shape, _ = command._loaded(model("sd15"), None, torch.device("cpu"), "float32", 2)
    assert asked == {"name": "sd15", "folder": None, "dtype": "float32", "device": "cpu"}
    assert shape == (network.config.in_channels, 8, 8)
    with torch.inference_mode():
        out = predict(torch.zeros(2, *shape), torch.tensor(5))
    assert out.shape == (2, *shape)
    assert torch.isfinite(out).all()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--full-size", "sd15", "-m", "emoji"), "full-size takes no --model"),
        (("-n", "5,x"), "evaluations must be numbers separated by commas"),
        (("-n", "0"), "evaluations must be numbers from 1 to 10000"),
        (("-m", "flux-dev"), "to be timed, got 'flux-dev'"),
        (("-m", "sd15"), "sd15 does not come with this package"),
    ],
)
def test_the_command_refuses_in_one_message(words, message):
    result = call("time", "--device", "cpu", *words)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())
