import numpy as np
import pytest
import torch

from image_exps.judge.what import find
from image_exps.league.second import GRID, Gaussians, second_order
from lml.samplers import Level
from toy import GaussianMixture


@pytest.mark.parametrize(
    ("what", "order"), [("ddim", 1), ("dpm-solver++-2m", 2), ("diffusers:HeunDiscreteScheduler", 2)]
)
def test_known_orders_are_found(what, order):
    found = second_order(find(what))
    assert abs(found.value - order) <= found.error < 0.5


def test_its_predictions_are_those_of_the_exact_mixture():
    means = np.array([[1.0, 0.0], [-1.0, 0.5]])
    ours = Gaussians(np.array([0.3, 0.7]), means, np.array([0.4, 0.2]))
    covariances = torch.stack([0.16 * torch.eye(2), 0.04 * torch.eye(2)]).double()
    exact = GaussianMixture(torch.tensor([0.3, 0.7]).double(), torch.from_numpy(means), covariances)
    x, level = torch.randn((5, 2), generator=torch.Generator().manual_seed(0), dtype=torch.float64), Level(0.8, 0.6)
    assert torch.allclose(ours.noise(x, level), exact.diffuse(0.8, 0.6).noise(x), atol=1e-12)


def test_its_levels_are_other_ones_and_their_steps_shrink():
    values = GRID.log_snrs(torch.linspace(0, 1, 9, dtype=torch.float64))
    assert (float(values[0]), float(values[-1])) == GRID.log_snr
    assert float(values.diff()[-1]) == pytest.approx(0.5 * float(values.diff()[0]), rel=0.15)
