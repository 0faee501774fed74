"""Claim C1, HOLDS WITH A CORRECTION: chi-squared to q decays like exp(-2 gap t), once div M is in the drift.

    python examples/referee/C1.py

Reading: Prop. 4. The corrected dynamics as a Markov chain on a grid, weights q and conductances q M/h, which is exact
in time by its eigenvectors. As written the density tends to q (lambda + s^2): chi-squared to q stops at
Var(s^2)/(lambda + E[s^2])^2. Figure: the page of C1 in the ledger.
"""

import numpy as np

lam, x = 1.0, np.linspace(-9, 9, 901)
h = x[1] - x[0]


def density(y):
    return sum(np.exp(-((y - m) ** 2) / 1.2) for m in (-1.5, 1.5))


q, middle = density(x) / density(x).sum(), x[:-1] + h / 2
s = (np.log(density(middle + 1e-5)) - np.log(density(middle - 1e-5))) / 2e-5
c = density(middle) / density(x).sum() / (lam + s**2) / h**2
L = np.diag(np.append(c, 0) + np.append(0, c)) - np.diag(c, 1) - np.diag(c, -1)
mu, V = np.linalg.eigh(L / np.sqrt(np.outer(q, q)))
start = np.exp(-((x + 2.5) ** 2) / 0.32)
amplitude = (V.T @ (start / start.sum() / np.sqrt(q)))[1:] ** 2
for t in (0, 2 / mu[1], 4 / mu[1], 8 / mu[1]):
    chi, bound = (np.exp(-2 * mu[1:] * t) * amplitude).sum(), np.exp(-2 * mu[1] * t) * amplitude.sum()
    print(f"t = {t:6.1f}: chi-squared {chi:.3e}, bound {bound:.3e}")
    assert chi <= bound * (1 + 1e-9)
score2 = np.gradient(np.log(q), x) ** 2
mean = q @ score2
print(f"gap {mu[1]:.4f}; as written chi-squared stops at {q @ (score2 - mean) ** 2 / (lam + mean) ** 2:.3f}")
