"""Claim S6, HOLDS (ours): read literally, Eq. 7 has no stationary law on bounded data if lambda sigma^2 < d - 1.

    python examples/referee/S6.py

Reading: Ito; q is the density of y + sigma z for twenty points y in six dimensions, sigma = 1. Far out the generator
has L |x|^2 -> 2 ((d - 1)/lambda - sigma^2), whatever the points are: above the threshold the particles settle, below it
E|x|^2 grows at this rate for ever. At lambda = 0.001 every level of a variance-preserving schedule is below it. Figure:
the page of S6 in the ledger.
"""

import numpy as np

rng = np.random.default_rng(0)
d, points = 6, 0.3 * rng.normal(size=(20, 6))


def step(x, lam, h):
    w = -((x[:, None] - points) ** 2).sum(2) / 2
    w = np.exp(w - w.max(1, keepdims=True))
    s = w @ points / w.sum(1, keepdims=True) - x
    total, z = lam + (s * s).sum(1, keepdims=True), rng.normal(size=x.shape)
    root = np.sqrt(lam / total)  # M^(1/2) z = (z - s <s,z>/(total (1 + root)))/sqrt(lam)
    return x + h * s / total + np.sqrt(2 * h / lam) * (z - s * (s * z).sum(1, keepdims=True) / (total * (1 + root)))


for lam in (0.4 * (d - 1), 3.0 * (d - 1)):
    x, h, squares = rng.normal(size=(200, d)), 0.1, []
    for _ in range(2000):
        x = step(x, lam, h)
        squares.append((x * x).sum(1).mean())
    rate, predicted = (squares[-1] - squares[999]) / (1000 * h), 2 * ((d - 1) / lam - 1)
    print(f"lambda = {lam:g}: E|x|^2 = {squares[-1]:.0f}, growing at {rate:.2f} a unit of time", end="")
    print(f"; predicted {predicted:.2f}" if predicted > 0 else "; a law exists")
    assert abs(rate - predicted) < 0.3 if predicted > 0 else abs(rate) < 0.3
