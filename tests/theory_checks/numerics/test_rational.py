import math
from fractions import Fraction as Q

import pytest
import torch

from theory_checks.numerics import rational


def test_a_tensor_becomes_the_fractions_that_it_holds():
    assert rational.from_tensor(torch.tensor([0.5, 0.1], dtype=torch.float64)) == [Q(1, 2), Q(0.1)]
    assert rational.from_tensor(torch.tensor([[0.1]], dtype=torch.float16)) == [Q(1638, 16384)]


def test_elimination_solves_the_dense_system_exactly():
    s, lam, x = [Q(1), Q(-2), Q(3)], Q(1, 7), [Q(4), Q(0), Q(-1)]
    y = rational.solve(s, lam, x)
    along = rational.dot(s, y)
    assert [lam * y[i] + s[i] * along for i in range(3)] == x


def test_the_determinant_is_that_of_the_matrix_lemma():
    s, lam = [Q(1), Q(-2), Q(3)], Q(1, 7)
    assert rational.determinant(s, lam) == lam**2 * (lam + 14)


def test_the_direction_solves_the_damped_system():
    e, p, lam, kappa = [Q(1), Q(2)], [Q(3), Q(-1)], Q(1, 3), Q(1, 4)
    v = [Q(3, 2), Q(5, 4)]
    assert [x / lam for x in rational.textbook_direction(e, p, lam, kappa)] == rational.solve(v, lam, e)


def test_the_logarithm_is_rounded_once():
    assert rational.log(Q(2)) == math.log(2)
    assert rational.log(Q(10**400 + 1, 10**400)) == pytest.approx(0.0, abs=1e-58)
    assert rational.log(Q(1, 3**2000)) == pytest.approx(-2000 * math.log(3), rel=1e-15)


def test_the_error_is_relative_to_the_length_and_needs_no_scale():
    e, direction = [Q(3), Q(4)], [Q(0), Q(7)]
    assert rational.relative_error([Q(0), Q(5)], direction, e) == 0
    assert rational.relative_error([Q(0), Q(-5)], direction, e) == 2
    assert rational.relative_error([Q(1, 10**9), Q(5)], direction, e) == pytest.approx(2e-10, rel=1e-12)


def test_vectors_of_different_length_are_refused():
    with pytest.raises(ValueError, match=r"zip\(\)"):
        rational.dot([Q(1)], [Q(1), Q(2)])
