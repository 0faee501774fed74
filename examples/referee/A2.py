"""Claim A2, FAILS: neither Eq. 9 nor Eq. 10 ends at the data.

    python examples/referee/A2.py

Reading: as for A1. M s = s/(lambda + |s|^2) shrinks the score where |s|^2 is far above lambda, so that the noise stays.
With the norm of step 13 the factor is undone: Algorithm 1 follows the probability flow, which ends at the data.
Figure: the page of A2 in the ledger.
"""

import numpy as np

lam, v0, steps, count = 1.0, np.exp(5.0), 600, 20_000
rng = np.random.default_rng(0)
levels = np.append(np.geomspace(v0, 1e-3, steps), 0.0)
first = rng.choice([-1.5, 1.5], count) + rng.normal(size=count) * np.sqrt(0.6 + v0)
data = rng.choice([-1.5, 1.5], count) + rng.normal(size=count) * np.sqrt(0.6)
print(f"data: E x^2 = {(data**2).mean():.2f}")
ends = {}
for name in ("Eq. 9", "Eq. 10", "Eq. 10 with step 13's norm"):
    u = first.copy()
    for v, dv in zip(levels[:-1], -np.diff(levels), strict=True):
        p = (1.5 * np.tanh(1.5 * u / (0.6 + v)) - u) / (0.6 + v)
        N = 1.0 if "norm" in name else lam / (lam + (1 + v) * p**2)  # the norm of M s becomes that of s
        u += N * p * dv if name == "Eq. 9" else 0.5 * N * p * dv
        if name == "Eq. 9":
            u += np.sqrt(N * dv) * rng.normal(size=count)
    ends[name] = (u**2).mean()
    print(f"{name}: E x^2 = {ends[name]:.2f} at the end")
assert min(ends["Eq. 9"], ends["Eq. 10"]) > 1.2 * (data**2).mean() > 1.1 * ends["Eq. 10 with step 13's norm"]
