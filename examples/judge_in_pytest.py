"""Tests of a sampler of your own: does it tend to the exact flow, and at the order that it claims?

pytest examples/judge_in_pytest.py

Or as a script: python examples/judge_in_pytest.py
"""

import itertools

from image_exps import judge


def my_heun(model, x, sigmas, extra_args=None, callback=None, disable=None):
    """Heun, in the convention of k-diffusion and the web interfaces."""
    for sigma, after in itertools.pairwise(sigmas):
        slope = (x - model(x, sigma * x.new_ones(len(x)))) / sigma
        there = x + (after - sigma) * slope
        if after > 0:
            slope = (slope + (there - model(there, after * x.new_ones(len(x)))) / after) / 2
        x = x + (after - sigma) * slope
    return x


def test_it_is_of_second_order():
    judge.assert_order(my_heun, 2)


def test_it_is_the_heun_of_diffusers():
    judge.assert_same("diffusers:HeunDiscreteScheduler", my_heun)


if __name__ == "__main__":
    test_it_is_of_second_order()
    test_it_is_the_heun_of_diffusers()
    print(f"observed order: {judge.observed_order(my_heun).value:.2f}")
