"""DPMSolverSDEScheduler: its noise comes from the global generator, which a pipeline's generator does not reach.

python examples/maintainers/dpm_solver_sde_generator.py

step() takes no generator, and pipelines leave out what step() does not take, so that two calls with one generator end
at different pictures. noise_sampler_seed fixes the noise, once for all generations. A parameter generator of step(), of
which the Brownian tree takes its seed, would make it as the other schedulers that draw. Thank you for the scheduler.
"""

import inspect
import warnings

import torch
from diffusers import DPMSolverSDEScheduler, __version__

warnings.simplefilter("ignore")  # NumPy 2 on the table of levels, torchsde on its rounding


def generate(**options: int) -> torch.Tensor:
    """Return what a pipeline makes with torch.Generator().manual_seed(0), of a network that predicts no noise."""
    scheduler = DPMSolverSDEScheduler(**options)
    scheduler.set_timesteps(4)
    x = torch.randn((1, 8), generator=torch.Generator().manual_seed(0)) * scheduler.init_noise_sigma
    for t in scheduler.timesteps:
        x = scheduler.step(torch.zeros_like(x), t, x).prev_sample
    return x


before = torch.random.get_rng_state()
apart = float((generate() - generate()).abs().max())
print(f"diffusers {__version__}, parameters of step: {list(inspect.signature(DPMSolverSDEScheduler.step).parameters)}")
print(f"two generations from one generator differ by {apart:.2g}")
print(f"the global generator has moved: {not torch.equal(before, torch.random.get_rng_state())}")
fixed = [generate(noise_sampler_seed=0) for _ in range(2)]
print(f"with noise_sampler_seed=0 they differ by {float((fixed[0] - fixed[1]).abs().max()):.2g}")
