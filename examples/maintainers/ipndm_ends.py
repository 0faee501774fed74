"""IPNDMScheduler: its first step loses the data prediction, and in 10 steps it ends at 1.29 times the data.

python examples/maintainers/ipndm_ends.py

With all data at one point y, and the exact velocity v = alpha z - sigma y at every level that the scheduler lists, the
sample should end at y in any number of steps. The first level has alpha = 0: there the prediction of the data is
0/1e-8 = 0, where v alone still knows it (y = alpha x - sigma v). The next steps combine that noise with later ones.
Forming the data prediction from v, or starting just below alpha = 0, would mend the end. Thank you for the scheduler.
"""

import torch
from diffusers import IPNDMScheduler, __version__

for steps in (5, 10, 20, 50):
    scheduler = IPNDMScheduler()
    scheduler.set_timesteps(steps)
    y, z = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double()
    x = z  # alpha = 0, sigma = 1: the first level
    for i, t in enumerate(scheduler.timesteps):
        alpha, sigma = float(scheduler.alphas[i]), float(scheduler.betas[i])
        z_here = (x - alpha * y) / sigma  # the exact prediction of the noise, given where the sample is
        x = scheduler.step(alpha * z_here - sigma * y, t, x).prev_sample
    print(f"diffusers {__version__}, {steps:2} steps: ends at {x[0]:.3f} y + {abs(x[1]):.3f} z")
