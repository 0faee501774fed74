"""Claim S2, HOLDS WITH A CORRECTION: with div M in the drift q is stationary, in any dimension.

    python examples/referee/S2.py

Reading: dX = (M s + div M) dt + sqrt(2) M^(1/2) dB. A density stays if the flux b q - sum_j d_j (M_ij q) has no
divergence. Here on a grid in the plane, for two crossed Gaussians: with div M the flux is zero up to the differences,
without it its divergence is not.
Figure: the page of S2 in the ledger.
"""

import numpy as np

lam, axis = 1.0, np.linspace(-5, 5, 401)
X, Y = np.meshgrid(axis, axis, indexing="ij")
q = np.exp(-(X**2) / 3 - Y**2 / 0.8) + np.exp(-(X**2) / 0.8 - (Y - 1) ** 2 / 3)
d = [lambda f: np.gradient(f, axis, axis=0), lambda f: np.gradient(f, axis, axis=1)]
s = [d[i](np.log(q)) for i in (0, 1)]
M = [[((i == j) - s[i] * s[j] / (lam + s[0] ** 2 + s[1] ** 2)) / lam for j in (0, 1)] for i in (0, 1)]
divergence = [d[0](M[i][0]) + d[1](M[i][1]) for i in (0, 1)]
inner = (abs(X) < 4) & (abs(Y) < 4)
change = {}
for name, extra in (("as written", 0), ("with div M", 1)):
    b = [M[i][0] * s[0] + M[i][1] * s[1] + extra * divergence[i] for i in (0, 1)]
    J = [b[i] * q - d[0](M[i][0] * q) - d[1](M[i][1] * q) for i in (0, 1)]
    change[name] = abs(d[0](J[0]) + d[1](J[1]))[inner].max() / q.max()
    print(f"{name}: at q the density changes by up to {change[name]:.1e} of its largest value a unit of time")
assert change["as written"] > 20 * change["with div M"]
