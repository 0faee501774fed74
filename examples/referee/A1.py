"""Claim A1, FAILS: Eq. 9 and Eq. 10 do not share their marginals.

    python examples/referee/A1.py

Reading: in u = x/alpha and v = (sigma/alpha)^2, with p the score in u and N = lambda M, Eq. 9 is dU = N p dv + N^(1/2)
dB and Eq. 10 is dU = N p/2 dv, v falling. Both start from the same law; with N = 1 they do share their marginals
(control). Figure: the page of A1 in the ledger.
"""

import numpy as np

lam, v0, steps, count = 1.0, np.exp(5.0), 400, 20_000
rng = np.random.default_rng(0)


def score(u, v):
    return (1.5 * np.tanh(1.5 * u / (0.6 + v)) - u) / (0.6 + v)


levels = np.append(np.geomspace(v0, 1e-3, steps), 0.0)
first = rng.choice([-1.5, 1.5], count) + rng.normal(size=count) * np.sqrt(0.6 + v0)
for name, damped in (("N = lambda M", True), ("N = 1 (control)", False)):
    ends = []
    for noise in (1.0, 0.0):
        u = first.copy()
        for v, dv in zip(levels[:-1], -np.diff(levels), strict=True):
            p = score(u, v)
            N = lam / (lam + (1 + v) * p**2) if damped else 1.0  # s = p/alpha, 1/alpha^2 = 1 + v
            u += N * p * dv * (1 if noise else 0.5) + noise * np.sqrt(N * dv) * rng.normal(size=count)
        ends.append(abs(u) < 3)
    a, b = (e.mean() for e in ends)
    error = np.sqrt((a * (1 - a) + b * (1 - b)) / count)
    print(f"{name}: P(|x| < 3) = {a:.3f} by Eq. 9 and {b:.3f} by Eq. 10, {abs(a - b) / error:.0f} standard errors")
    assert (abs(a - b) > 10 * error) == damped
