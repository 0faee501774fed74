"""Claim S1, FAILS: q is not stationary for Eq. 7 read literally (Ito).

    python examples/referee/S1.py

Reading: dX = M s dt + sqrt(2) M^(1/2) dB, M = 1/(lambda + s^2), one dimension. The flux of a density rho is M s rho -
(M rho)'. At rho = q it is -M' q, not zero; at rho = q (lambda + s^2) it is zero, so that the chain ends there. Figure:
the page of S1 in the ledger.
"""

import numpy as np

lam, x = 0.1, np.linspace(-9, 9, 18001)
dx = x[1] - x[0]
q = sum(np.exp(-((x - m) ** 2) / 1.2) for m in (-1.5, 1.5))
q /= q.sum() * dx
s = np.gradient(np.log(q), x)
M = 1 / (lam + s**2)


def flux(rho):
    return M * s * rho - np.gradient(M * rho, x)


rho = q * (lam + s**2)
rho /= rho.sum() * dx
inner = abs(x) < 6
print(f"largest flux at q: {abs(flux(q))[inner].max():.3f}, at q (lambda + s^2): {abs(flux(rho))[inner].max():.1e}")
print(f"total variation between the two: {0.5 * abs(rho - q).sum() * dx:.3f}")
assert abs(flux(q))[inner].max() > 1e3 * abs(flux(rho))[inner].max()
