"""What the small networks have learned, beside the best affine denoiser; and the tables of their page."""

import math
import re
from pathlib import Path

import pytest
import torch

from image_exps.training import small_table
from image_exps.training.small_table import TABLE_LAMBDAS, facts, gaussian
from lml.samplers import Level
from lml.solver.networks import SMALL_NETWORKS, SmallModel, build

PAGE = (Path(__file__).parents[3] / "docs/reference/small-networks.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def errors():
    return {name: dict(zip(TABLE_LAMBDAS, small_table.errors(name), strict=True)) for name in SMALL_NETWORKS}


def test_the_denoiser_of_a_gaussian_is_the_one_in_closed_form():
    g = torch.Generator().manual_seed(0)
    B = torch.tensor([[2.0, 0.0, 0.0], [1.0, 0.5, 0.0], [0.3, 0.2, 0.0]], dtype=torch.float64)  # of rank two
    y = torch.randn(1000, 3, generator=g, dtype=torch.float64) @ B.mT + 1
    x = torch.randn(4, 3, generator=g, dtype=torch.float64)
    a, s = 0.8, 0.6
    C = torch.cov(y.mT)
    wanted = s * torch.linalg.solve(a**2 * C + s**2 * torch.eye(3, dtype=torch.float64), (x - a * y.mean(0)).mT).mT
    torch.testing.assert_close(gaussian(y)(x, Level(a, s)), wanted, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("name", SMALL_NETWORKS)
def test_a_network_knows_more_of_its_pictures_than_the_best_affine_denoiser(errors, name):
    # On the same pictures and noises. At low noise an affine one sees their covariance alone.
    found = errors[name][2.0]
    assert found.network < found.gaussian < 1
    assert all(errors[name][lam].network < 1.01 for lam in TABLE_LAMBDAS)


def test_a_network_with_fresh_weights_does_not(errors, monkeypatch):
    network = SMALL_NETWORKS["points-perceptron"]
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        fresh = SmallModel(network, build(network))
    monkeypatch.setattr(small_table, "small_model", lambda name: fresh)
    (found,) = small_table.errors("points-perceptron", (2.0,))
    assert found.gaussian == errors["points-perceptron"][2.0].gaussian
    assert found.network > found.gaussian


def test_most_networks_know_far_more(errors):
    ratio = {name: found[2.0].network / found[2.0].gaussian for name, found in errors.items()}
    assert sum(value < 2 / 3 for value in ratio.values()) >= len(ratio) / 2


def test_no_denoiser_beats_the_exact_one(errors):
    # On the average over pictures. On 500, a difference that is a tenth of the error is far outside of the chance, and
    # at the ends all three are alike: there within a hundredth.
    for lam, (network, affine, exact) in errors["points-perceptron"].items():
        assert exact < 1.01 * min(network, affine)
        if abs(lam) <= 2:
            assert exact < network < affine
        if lam == 0:
            assert exact < 0.9 * network


def test_the_facts_of_the_page_are_those_of_the_networks():
    assert facts() in PAGE


def test_the_errors_of_the_page_are_what_is_measured(errors):
    for name, found in errors.items():
        (line,) = re.findall(rf"^\| `{name}` \| (.* / .*) \|$", PAGE, re.MULTILINE)
        for cell, row in zip(line.split(" | "), found.values(), strict=True):
            measured = [value for value in row if not math.isnan(value)]
            for shown, value in zip(cell.split(" / "), measured, strict=True):
                # Half a unit of the second digit, and what float32 does on another machine.
                unit = 10.0 ** (math.floor(math.log10(float(shown))) - 1)
                assert abs(float(shown) - value) < 0.5 * unit + 0.01 * value, (name, cell)
