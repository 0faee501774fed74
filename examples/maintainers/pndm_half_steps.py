"""PNDMScheduler: where num_train_timesteps // steps is odd, its Runge-Kutta steps miss the timesteps that they list.

python examples/maintainers/pndm_half_steps.py

With all data at one point y the noise z is constant, and every step is exact: the sample shows its own timestep. The
half step is listed from below (750 + 62 = 812) and taken from above (875 - 62 = 813), so that in 8 steps each listed
midpoint is one off, and the end is not a noise level (alpha^2 + sigma^2 is not 1). In 10 steps both agree. Using the
next listed timestep in step_prk would agree always. Thank you for the scheduler.
"""

import torch
from diffusers import PNDMScheduler, __version__

for steps in (10, 8):
    scheduler = PNDMScheduler()
    scheduler.set_timesteps(steps)
    level = scheduler.alphas_cumprod.double()
    y, z = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double()
    x, missed = None, []
    for t in scheduler.timesteps.tolist():
        exact = level[t].sqrt() * y + (1 - level[t]).sqrt() * z
        x = exact if x is None else x
        missed += [t] if float((x - exact).abs().max()) > 1e-4 else []
        x = scheduler.step((x - level[t].sqrt() * y) / (1 - level[t]).sqrt(), t, x).prev_sample
    found = f"off its level from timestep {missed[0]} on" if missed else "at the listed level at every evaluation"
    print(f"diffusers {__version__}, {steps} steps: the sample is {found}, |end| = {x.norm():.5f}")
