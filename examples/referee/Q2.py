"""Claim Q2, HOLDS WITH A CORRECTION: the gain on DDIM is the extrapolation's, not its norm's and not that of noise.

    python examples/referee/Q2.py

Reading: ten equal steps of log-SNR, an exact score. LML at eta0 = 1/2 is e + (e - p)/2, rescaled to |e| (step 13).
Beside it: the same without the rescaling, the rescaling without the turn, and random noise of the size of LML's own
change. Figure: the page of Q2 in the ledger.
"""

from itertools import pairwise

import numpy as np

rng = np.random.default_rng(0)
means, d, n = 1.5 * rng.normal(size=(5, 8)), 8, 400


def noise(u, r):  # the exact noise prediction at sigma/alpha = r, in u = x/alpha
    w = -((u[:, None] - means) ** 2).sum(2) / (2 * (0.1 + r * r))
    w = np.exp(w - w.max(1, keepdims=True))
    return r * (u - w @ means / w.sum(1, keepdims=True)) / (0.1 + r * r)


def run(steps, change=lambda e, p: e):
    u, p, levels = start.copy(), None, np.exp(-np.linspace(-2.5, 2.5, steps + 1))
    for r, after in pairwise(levels):
        e = noise(u, r)
        u, p = u + (after - r) * (e if p is None else change(e, p)), e
    return u


def unit(v):
    return v / np.linalg.norm(v, axis=1, keepdims=True)


def size(v):
    return np.linalg.norm(v, axis=1, keepdims=True)


start = means[rng.integers(5, size=n)] + np.sqrt(0.1 + np.exp(5)) * rng.normal(size=(n, d))


def lml(e, p):
    return size(e) * unit(1.5 * e - 0.5 * p)


arms = {
    "DDIM": lambda e, p: e,
    "LML": lml,
    "extrapolation, norm left free": lambda e, p: 1.5 * e - 0.5 * p,
    "its norm without its turn": lambda e, p: size(1.5 * e - 0.5 * p) * unit(e),
    "noise of LML's size": lambda e, p: size(e) * unit(e + size(lml(e, p) - e) * unit(rng.normal(size=e.shape))),
}
exact = 2 * run(4000) - run(2000)
found = {name: size(run(10, change) - exact).mean() for name, change in arms.items()}
for name, distance in found.items():
    print(f"{name}: {distance:.3f} from the end of the flow")
assert found["LML"] < 0.9 * found["DDIM"] < 0.9 * found["noise of LML's size"]
