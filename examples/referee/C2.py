"""Claim C2, HOLDS WITH A CORRECTION: total variation, Hellinger and KL decay with chi-squared, with constants.

    python examples/referee/C2.py

Reading: Remark 2, with the corrected drift. TV <= sqrt(chi2)/2, H^2 <= chi2/2, KL <= log(1 + chi2), and chi2 decays
like exp(-2 gap t). As written none of them vanishes: the limit is another density. Figure: the page of C2 in the
ledger.
"""

import numpy as np

lam, x = 1.0, np.linspace(-7, 7, 701)
h = x[1] - x[0]
q = sum(np.exp(-((x - m) ** 2) / 1.2) for m in (-1.5, 1.5))
q /= q.sum()
s = np.diff(np.log(q)) / h
c = np.sqrt(q[1:] * q[:-1]) / (lam + s**2) / h**2
L = np.diag(np.append(c, 0) + np.append(0, c)) - np.diag(c, 1) - np.diag(c, -1)
mu, V = np.linalg.eigh(L / np.sqrt(np.outer(q, q)))
start = np.exp(-((x - 2) ** 2) / 0.32)
a = V.T @ (start / start.sum() / np.sqrt(q))
chi0 = (a[1:] ** 2).sum()
for t in (1 / mu[1], 3 / mu[1], 5 / mu[1]):
    p = np.clip((V * np.exp(-mu * t)) @ a * np.sqrt(q), 1e-300, None)
    left = np.exp(-2 * mu[1] * t) * chi0
    found = (abs(p - q).sum() / 2, ((np.sqrt(p) - np.sqrt(q)) ** 2).sum() / 2, (p * np.log(p / q)).sum())
    bounds = (np.sqrt(left) / 2, left / 2, np.log1p(left))
    print(f"t = {t:5.1f}:", *(f"{f:.2e} <= {b:.2e}" for f, b in zip(found, bounds, strict=True)))
    assert all(f <= b for f, b in zip(found, bounds, strict=True))
score2 = np.gradient(np.log(q), x) ** 2
limit = q * (lam + score2) / (q @ (lam + score2))
print(f"as written: total variation stops at {abs(limit - q).sum() / 2:.3f}")
