"""DDIMScheduler, timestep_spacing="linspace": a step ends at another noise level than the next timestep it lists.

python examples/maintainers/ddim_linspace.py

With all data at one point y the noise z is known exactly, and one step of DDIM from x = alpha y + sigma z has no error:
the sample (signal, noise) shows at which timestep it is. step() goes back by num_train_timesteps // steps, which is the
distance of the timesteps for "leading" and not for "linspace". Looking up the next entry of scheduler.timesteps instead
would agree for every spacing. Thank you for the scheduler: it is where most of us have learned DDIM.
"""

import itertools

import torch
from diffusers import DDIMScheduler, __version__

scheduler = DDIMScheduler(timestep_spacing="linspace", clip_sample=False)
scheduler.set_timesteps(10)
level = scheduler.alphas_cumprod.double()
y, z = torch.tensor([1.0, 0.0]).double(), torch.tensor([0.0, 1.0]).double()
print(f"diffusers {__version__}: from, listed next, reached")
for t, listed in itertools.pairwise(scheduler.timesteps.tolist()):
    x = level[t].sqrt() * y + (1 - level[t]).sqrt() * z
    signal = scheduler.step(z, t, x).prev_sample[0]
    print(f"{t:4} {listed:4} {int((level - signal**2).abs().argmin()):4}")
