"""Claim Q4, HOLDS WITH A CORRECTION: the gain on DDIM outlives small errors of the score.

    python examples/referee/Q4.py

Reading: ten equal steps of log-SNR; the score is exact up to a smooth error of zero mean over x, of the stated share of
its size, the same at every level. How much of the gain is left is a matter of the error: a bias that does not change
sign is not cancelled by a turn, and what it leaves is on the claim's page. Here the end is compared with that of the
flow of the exact score. Figure: the page of Q4 in the ledger.
"""

from itertools import pairwise

import numpy as np

rng = np.random.default_rng(0)
means, d, n = 1.5 * rng.normal(size=(5, 8)), 8, 400


def noise(u, r):  # the exact noise prediction at sigma/alpha = r, in u = x/alpha
    w = -((u[:, None] - means) ** 2).sum(2) / (2 * (0.1 + r * r))
    w = np.exp(w - w.max(1, keepdims=True))
    return r * (u - w @ means / w.sum(1, keepdims=True)) / (0.1 + r * r)


def run(steps, turn, share):
    u, p, levels = start.copy(), None, np.exp(-np.linspace(-2.5, 2.5, steps + 1))
    for r, after in pairwise(levels):
        e = noise(u, r)
        e = e + share * size(e) * unit(np.sin(u @ waves / np.sqrt(1 + r * r) + phases))
        f = size(e) * unit(1.5 * e - 0.5 * p) if turn and p is not None else e
        u, p = u + (after - r) * f, e
    return u


def size(v):
    return np.linalg.norm(v, axis=1, keepdims=True)


def unit(v):
    return v / size(v)


start = means[rng.integers(5, size=n)] + np.sqrt(0.1 + np.exp(5)) * rng.normal(size=(n, d))
waves, phases = rng.normal(size=(d, d)), rng.uniform(0, 6.28, d)
exact = 2 * run(4000, False, 0.0) - run(2000, False, 0.0)
for share in (0.0, 0.05, 0.1, 0.3):
    plain, turned = (size(run(10, turn, share) - exact).mean() for turn in (False, True))
    print(f"error of {100 * share:.0f} %: DDIM {plain:.3f}, with LML {turned:.3f} from the end of the exact flow")
    assert share > 0.1 or turned < plain
