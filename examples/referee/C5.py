"""Claim C5, HOLDS WITH A CORRECTION: the log-Sobolev inequality of Remark 2 never holds in the geometry M.

    python examples/referee/C5.py

Reading: it would say 2 KL(rho|q) <= C E_rho[|grad log(rho/q)|^2_M] for one C. For q = N(0, 1) and rho ~ q^(1 - a), a
Gaussian of variance 1/(1 - a), log(rho/q) has the gradient -a s: the right side is below C a^2, as s^2/(lambda + s^2) <
1, while KL grows without bound as a -> 1. (Other inequalities give the Wasserstein distance its rate.) Figure: the page
of C5 in the ledger.
"""

import numpy as np

lam = 0.001
x = np.linspace(-400, 400, 2_000_001)
constants = []
for a in (0.5, 0.9, 0.99, 0.999):
    v = 1 / (1 - a)
    rho = np.exp(-(x**2) / (2 * v)) / np.sqrt(2 * np.pi * v)
    energy = (rho * a**2 * x**2 / (lam + x**2)).sum() * (x[1] - x[0])
    kl = 0.5 * (v - 1 - np.log(v))
    constants.append(2 * kl / energy)
    print(f"a = {a}: C must be at least {constants[-1]:.1f}")
assert constants[-1] > 100 * constants[0]
