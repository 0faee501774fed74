"""A mixture of your own: its exact score, and what LML does to DDIM on it, noise by noise.

python examples/mixture_of_your_own.py
"""

import torch

import toy
from lml.correction import LML, NoCorrection
from lml.samplers import DDIM, sample

q = toy.GaussianMixture(
    weights=torch.tensor([0.5, 0.3, 0.2]),
    means=torch.tensor([[-2.0, 0.0], [2.0, 1.0], [0.5, -2.0]]),
    covariances=torch.tensor([0.1, 0.3, 0.05]),  # isotropic variances; diagonals and full matrices are taken too
)
generator = torch.Generator().manual_seed(0)
x = torch.randn((512, q.dim), dtype=torch.float64, generator=generator)
schedule = toy.noise_schedule("vp-linear")
start, *_, end = toy.noise_levels(schedule, 8, times=(1.0, 1e-3))
exact = toy.probability_flow(q, x, start, end, rtol=1e-8, atol=1e-9)

print("steps   DDIM   with LML   (mean distance to where the exact flow ends, 512 noises)")
for steps in (5, 8, 16):
    levels = toy.noise_levels(schedule, steps, times=(1.0, 1e-3))
    errors = [
        (sample(DDIM, toy.noise_model(q), x, levels, correction) - exact).norm(dim=1).mean()
        for correction in (NoCorrection(), LML())
    ]
    print(f"{steps:5d}  {errors[0]:.3f}   {errors[1]:.3f}")
