"""Claim S3, FAILS: G = lambda I + s s^T is not the Hessian of a mirror map for d >= 2.

    python examples/referee/S3.py

Reading: A.7 sets hess phi = G. Third derivatives do not depend on their order, so that d_k G_ij = d_j G_ik would hold.
For N(0, I), s = -x, in the plane: d_2 G_11 = 0, but d_1 G_12 = x_2. The line integral of the rows of G around a square
is then not zero, and no phi exists.
Figure: the page of S3 in the ledger.
"""

from itertools import pairwise

import numpy as np


def geometry(x, lam=0.001):
    return lam * np.eye(2) + np.outer(x, x)


h, x = 1e-5, np.array([0.7, -1.3])
first, second = np.eye(2) * h
left = (geometry(x + second) - geometry(x - second))[0, 0] / (2 * h)
right = (geometry(x + first) - geometry(x - first))[0, 1] / (2 * h)
t = (np.arange(4000) + 0.5) / 4000
corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], dtype=float)
loop = 0.0
for a, b in pairwise(corners):
    loop += np.mean([geometry(a + u * (b - a))[0] @ (b - a) for u in t])
print(f"d_2 G_11 = {left:.4f}, d_1 G_12 = {right:.4f}: a Hessian would have the same")
print(f"integral of the first row of G around the unit square: {loop:.4f}: a gradient would have 0")
assert abs(left - right) > 1
assert abs(loop) > 0.4
