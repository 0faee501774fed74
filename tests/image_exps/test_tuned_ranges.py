"""Where the learned setting stops: what its scheduler refuses is what loses on exact scores."""

import diffusers
import pytest
import torch
from diffusers_warnings import NUMPY_2

from image_exps.search.ranges import TABLES, measure
from lml.schedulers import LMLTunedDDIMScheduler
from toy.denoiser import scheduler_config

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)


def ratios(table):
    return [row["ratio"] for row in measure(table, "random-16d", count=128)]


def test_it_beats_every_baseline_on_linear_betas_and_not_on_those_of_stable_diffusion_or_on_cosine():
    assert max(ratios("linear")) < 0.6
    assert min(ratios("stable-diffusion")) > 1
    assert min(ratios("cosine")) > 1


@pytest.mark.parametrize("name", TABLES)
def test_the_scheduler_takes_the_linear_table_alone(name):
    betas = {"latent-diffusion": {"beta_schedule": "scaled_linear", "beta_start": 0.0015, "beta_end": 0.0195}}
    known = {"linear": "vp-linear", "stable-diffusion": "vp-scaled-linear", "cosine": "cosine"}
    config = betas.get(name) or scheduler_config(known[name])
    squared = diffusers.DDIMScheduler(**config).alphas_cumprod.double()
    # A product of a thousand float32 factors.
    torch.testing.assert_close(squared, TABLES[name].discrete(1000).alpha ** 2, rtol=1000 * 2.0**-24 * 2, atol=1e-7)
    if name == "linear":
        LMLTunedDDIMScheduler(**config)
    else:
        with pytest.raises(ValueError, match=r"log\(alpha/sigma\) must run from -5\.03 to 4\.56"):
            LMLTunedDDIMScheduler(**config)
