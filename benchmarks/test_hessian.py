"""Exact Hessians in closed form against automatic differentiation of the same mixture, in one run.

Times in brackets are multiples of the fastest of a group, which is the closed form.
"""

import pytest
import torch

import toy

TARGETS = ["cross-2d", "random-8d", "random-64d"]
BATCH = 64


@pytest.fixture(params=TARGETS)
def level(request, benchmark):
    benchmark.group = f"{request.param}, {BATCH} points"
    q = toy.target(request.param).diffuse(0.8, 0.6)
    return q, q.sample(BATCH, generator=torch.Generator().manual_seed(0))


def test_closed_form(benchmark, level):
    q, x = level
    benchmark(lambda: q.hessian(x))


def test_automatic_differentiation(benchmark, level):
    q, x = level
    mixture = torch.distributions.MixtureSameFamily(
        torch.distributions.Categorical(q.weights, validate_args=False),
        torch.distributions.MultivariateNormal(q.alpha * q.means, q.component_covariances.dense(), validate_args=False),
        validate_args=False,
    )
    hessian = torch.func.hessian(mixture.log_prob)
    expected = q.hessian(x[:1])[0]
    torch.testing.assert_close(hessian(x[0]), expected, rtol=1e-8, atol=1e-8 * float(expected.abs().max()))

    def all_points():
        return [hessian(point) for point in x]

    benchmark.pedantic(all_points, rounds=3, iterations=1)
