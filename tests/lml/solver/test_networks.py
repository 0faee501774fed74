"""The small networks that ship: files, what a prediction is turned into, and on which schedules they can be asked."""

from __future__ import annotations

import hashlib
import math
from pathlib import Path

import pytest
import torch
from torch import nn

import lml.solver
from lml.samplers import Level
from lml.solver.networks import LAMBDAS, SMALL_NETWORKS, noise_of, small_model

WEIGHTS = Path(lml.solver.__file__).parent / "weights"
NAMES = tuple(SMALL_NETWORKS)


def level_of(lam):
    return Level(math.sqrt(1 / (1 + math.exp(-2 * lam))), math.sqrt(1 / (1 + math.exp(2 * lam))))


def noise(name, count=3, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, *SMALL_NETWORKS[name].shape), generator=generator, dtype=torch.float64)


def test_every_network_ships_and_every_file_is_the_one_whose_digest_is_listed():
    listed = dict(reversed(line.split()) for line in (WEIGHTS / "SHA256SUMS").read_text().splitlines())
    assert set(listed) == {f"{name}.safetensors" for name in NAMES} == {p.name for p in WEIGHTS.glob("*.safetensors")}
    for file, digest in listed.items():
        assert hashlib.sha256((WEIGHTS / file).read_bytes()).hexdigest() == digest
    assert sum((WEIGHTS / file).stat().st_size for file in listed) < 5e6


@pytest.mark.parametrize("name", NAMES)
def test_a_network_loads_and_predicts_in_the_type_of_its_samples(name):
    x, level = noise(name), level_of(0.0)
    made = small_model(name)(x, level)
    assert made.shape == x.shape
    assert made.dtype == torch.float64
    assert made.isfinite().all()
    # It computes in float32 whatever it is given. Of size one: nothing is divided in another type before.
    u, level = x.float(), Level(0.6, 0.8)
    assert torch.equal(small_model(name)(u, level).double(), small_model(name)(u.double(), level))


class _Fixed(nn.Module):
    def __init__(self, output):
        super().__init__()
        self.output = output

    def forward(self, x, lam):
        return self.output


@pytest.mark.parametrize("prediction", ["epsilon", "sample", "velocity"])
def test_the_noise_is_that_of_the_definition(prediction):
    generator = torch.Generator().manual_seed(0)
    y, z = torch.randn((2, 5, 3, 4), generator=generator, dtype=torch.float64)
    lam = torch.linspace(*LAMBDAS, 5, dtype=torch.float64)
    a, s = (1 / (1 + torch.exp(-2 * t)).sqrt()[:, None, None] for t in (lam, -lam))
    output = {"epsilon": z, "sample": y, "velocity": a * z - s * y}[prediction]
    # A rounding of x, of size at most max|x| < 8, divided by s > 9e-4.
    bound = 8 * torch.finfo(torch.float64).eps / 9e-4
    assert (noise_of(prediction, _Fixed(output), a * y + s * z, lam) - z).abs().max() < bound


@pytest.mark.parametrize("name", NAMES)
def test_the_noise_does_not_depend_on_the_scale_of_sample_and_level(name):
    x, (alpha, sigma, _) = noise(name), level_of(0.7)
    plain = small_model(name)(x, Level(alpha, sigma))
    # Powers of two change no bit; other scales round the input.
    assert torch.equal(small_model(name)(64 * x, Level(64 * alpha, 64 * sigma)), plain)
    torch.testing.assert_close(small_model(name)(x / alpha, Level(1.0, sigma / alpha)), plain, rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", NAMES)
def test_beyond_its_range_a_network_is_asked_at_the_end(name):
    x, model = noise(name), small_model(name)
    for beyond, end in ((level_of(9.0), 7.0), (Level(1.0, 0.0), 7.0), (level_of(-8.0), -6.0), (Level(0.0, 1.0), -6.0)):
        u = (x / math.hypot(beyond.alpha, beyond.sigma)).float()
        wanted = noise_of(model.network.prediction, model.module, u, torch.full((len(x),), end))
        assert torch.equal(model(x, beyond), wanted.double())
    assert not torch.equal(model(x, level_of(7.0)), model(x, level_of(6.0)))


@pytest.mark.parametrize("name", NAMES)
def test_a_sample_has_the_same_noise_in_any_batch(name):
    x, model, level = noise(name, 5), small_model(name), level_of(0.0)
    # Sums of at most 768 terms in another order, in some twenty layers: sqrt(768) 20 2^-24 = 3e-5, here three of them.
    alone = torch.cat([model(row[None], level) for row in x])
    torch.testing.assert_close(model(x, level), alone, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_at_high_noise_the_noise_is_nearly_all_of_the_sample(name):
    level = level_of(LAMBDAS[0])
    x = noise(name, 64)
    # The prediction of zero would be one away, and what is left of pictures of size one is exp(-12).
    assert (small_model(name)(x, level) - x / level.sigma).square().mean() < 0.01


def test_another_name_or_shape_is_refused():
    with pytest.raises(ValueError, match=r"name must be one of sky-mixer, .* got 'sky'"):
        small_model("sky")
    with pytest.raises(ValueError, match=r"x must have the shape \(B, 1, 16, 16\), got \(2, 1, 8, 8\)"):
        small_model("sky-mixer")(torch.zeros(2, 1, 8, 8), Level(1.0, 1.0))
