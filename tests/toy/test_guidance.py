"""Classifier-free guidance: its field against autograd of a density written out, and what it is not the score of."""

import math

import pytest
import torch

from lml.samplers import Level
from toy import Pictures, dataset
from toy.classes import gaussian_classes, smoothed_classes
from toy.guidance import ClassifierFreeGuidance

GUIDANCES = [-0.5, 0.0, 0.3, 1.0, 2.5, 8.0]
U = 2.0**-53


def few_pictures():
    """Twelve points of three classes in four dimensions."""
    images = torch.randn((12, 1, 2, 2), generator=torch.Generator().manual_seed(0))
    return Pictures(images, tuple("abc" * 4), "few")


def log_densities(pictures, tau, alpha, sigma):
    """``x -> (log q, log pi_c q_c for each c)`` of the smoothed data, written out; ``sigma`` may be one a sample."""
    points, v = pictures.images.flatten(1).double(), torch.as_tensor(alpha**2 * tau**2 + sigma**2, dtype=torch.float64)
    names = sorted(set(pictures.labels))
    member = torch.tensor([[label == name for label in pictures.labels] for name in names])

    def at(x):
        normal = -((x[:, None] - alpha * points) ** 2).sum(2) / (2 * v)
        logs = normal - 0.5 * points.shape[1] * torch.log(2 * math.pi * v) - math.log(len(points))
        return logs.logsumexp(1), torch.stack([logs[:, rows].logsumexp(1) for rows in member], 1)

    return at


@pytest.mark.parametrize("guidance", GUIDANCES)
@pytest.mark.parametrize("level", [Level(0.6, 0.8), Level(0.999, 0.04)])
def test_guided_noise_is_the_gradient_of_density_and_posterior(guidance, level):
    pictures, tau = few_pictures(), 0.4
    model = ClassifierFreeGuidance(smoothed_classes(pictures, tau), torch.arange(9) % 3, guidance)
    x = torch.randn((9, 4), dtype=torch.float64, generator=torch.Generator().manual_seed(1)).requires_grad_()
    whole, joint = log_densities(pictures, tau, level.alpha, level.sigma)(x)
    own = joint.gather(1, model.labels[:, None])[:, 0]
    (gradient,) = torch.autograd.grad((whole + guidance * (own - whole)).sum(), x)
    found = model(x.detach(), level)
    # Scores are |x - alpha y|/v < 1e2, guidance multiplies them by 2 |w| + 1, and sums have a dozen terms.
    assert torch.allclose(found, -level.sigma * gradient, rtol=0, atol=100 * 12 * (2 * abs(guidance) + 1) * U)


@pytest.mark.parametrize("build", [smoothed_classes, gaussian_classes])
def test_guidance_zero_asks_for_no_class_and_one_for_the_class(build):
    mixture, level = build(dataset("digits"), 0.3), Level(0.6, 0.8)
    labels = torch.arange(10)
    x = torch.randn((10, 1, 8, 8), dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    at = mixture.diffuse(level.alpha, level.sigma)
    assert torch.equal(ClassifierFreeGuidance(mixture, labels, 0)(x, level).flatten(1), at.whole.noise(x.flatten(1)))
    told = ClassifierFreeGuidance(mixture, labels, 1)(x, level).flatten(1)
    for k in range(10):
        assert torch.allclose(told[k], at.classes[k].noise(x.flatten(1)[k : k + 1])[0], rtol=0, atol=1e-12)


def test_guided_field_misses_the_equation_of_every_diffusion_by_what_the_docstring_says():
    pictures = Pictures(torch.tensor([-1.0, -0.2, 0.9])[:, None, None, None], ("a", "a", "b"), "line")
    tau, w = 0.5, 3.0

    x = torch.linspace(-1.5, 1.5, 7, dtype=torch.float64).requires_grad_()
    v = torch.full_like(x, 0.3).requires_grad_()
    whole, joint = log_densities(pictures, tau, 1.0, v.sqrt()[:, None])(x[:, None])
    log_posterior = joint[:, 0] - whole
    guided = whole + w * log_posterior
    dx, dv = torch.autograd.grad(guided.sum(), (x, v), create_graph=True)
    (dxx,) = torch.autograd.grad(dx.sum(), x, retain_graph=True)
    (dp,) = torch.autograd.grad(log_posterior.sum(), x, retain_graph=True)
    missing = dv - 0.5 * (dxx + dx**2)
    expected = 0.5 * w * (1 - w) * dp**2
    # Second derivatives of order w/v^2 ~ 30 by autograd, a dozen terms each.
    assert torch.allclose(missing, expected.detach(), rtol=0, atol=1e4 * U)
    assert expected.max() - expected.min() > 0.1  # it does depend on x: no diffusion has this score


def test_result_does_not_depend_on_the_batch():
    mixture, level = smoothed_classes(dataset("digits"), 0.1), Level(0.9, 0.1)
    labels = torch.arange(20) % 10
    x = torch.randn((20, 64), dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    whole = ClassifierFreeGuidance(mixture, labels, 4)(x, level)
    parts = [ClassifierFreeGuidance(mixture, labels[i : i + 5], 4)(x[i : i + 5], level) for i in range(0, 20, 5)]
    assert torch.allclose(whole, torch.cat(parts), rtol=1e-10, atol=1e-10)


def test_bad_arguments_are_named():
    mixture = smoothed_classes(few_pictures(), 0.4)
    with pytest.raises(ValueError, match="guidance must be a finite number, got nan"):
        ClassifierFreeGuidance(mixture, torch.zeros(2, dtype=torch.long), math.nan)
    with pytest.raises(ValueError, match="labels must be one a sample"):
        ClassifierFreeGuidance(mixture, torch.zeros(2, dtype=torch.long), 2.0)(torch.zeros(3, 4), Level(0.6, 0.8))
