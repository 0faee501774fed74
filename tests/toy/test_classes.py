"""Exact targets with classes: the mixture is that of its classes, and Bayes' rule is the classifier."""

import pytest
import torch

from toy import DataMixture, Pictures, dataset
from toy.classes import ClassMixture, gaussian_classes, smoothed_classes

BUILDERS = [smoothed_classes, gaussian_classes]
U = 2.0**-53


@pytest.fixture(scope="module", params=BUILDERS, ids=lambda f: f.__name__)
def digits(request):
    return request.param(dataset("digits"), 0.5)


def draws(mixture, count):
    """Labels and samples of their classes."""
    labels = mixture.draw_labels([torch.Generator().manual_seed(i) for i in range(count)])
    g = torch.Generator().manual_seed(0)
    return labels, torch.cat([mixture.classes[k].sample(1, generator=g) for k in labels.tolist()])


@pytest.mark.parametrize("level", [(1.0, 0.0), (0.8, 0.6), (0.01, 1.0)])
def test_whole_is_the_mixture_of_the_classes(digits, level):
    labels, x = draws(digits, 20)
    at = digits.diffuse(*level)
    y = level[0] * x + level[1] * torch.randn(x.shape, dtype=x.dtype, generator=torch.Generator().manual_seed(1))
    joint = torch.stack([q.log_density(y) for q in at.classes], 1) + digits.weights.log()
    # Squared distances of a few thousand over 2 v, summed in 64 dimensions: some 1e4 units in the last place.
    assert torch.allclose(at.whole.log_density(y), joint.logsumexp(1), rtol=0, atol=1e5 * U * 64)
    posterior = at.log_posterior(y).exp()
    mixed = sum(posterior[:, k, None] * at.class_noise(y, torch.full_like(labels, k)) for k in range(10))
    assert torch.allclose(at.whole.noise(y), mixed, rtol=0, atol=1e6 * U)


def test_log_odds_are_those_of_the_posterior_and_do_not_saturate(digits):
    labels, x = draws(digits, 200)
    odds, p = digits.log_odds(x, labels), digits.log_posterior(x).exp()[torch.arange(200), labels]
    plain = (p > 1e-3) & (p < 0.999)
    assert plain.sum() >= 1
    # 1 - p loses three digits here.
    assert torch.allclose(odds[plain], torch.logit(p[plain]), rtol=1e-9)
    assert torch.isfinite(odds).all()
    assert (odds[p == 1] > 30).all()


def test_both_mixtures_of_a_data_set_have_its_mean_and_covariance():
    pictures = dataset("digits")
    data = DataMixture(pictures.images, 0.3)
    for build in BUILDERS:
        whole = build(pictures, 0.3).whole
        assert torch.allclose(whole.mean(), data.mean(), rtol=0, atol=1e-13)
        assert torch.allclose(whole.covariance(), data.covariance(), rtol=0, atol=1e-12)


def test_pictures_of_one_pixel_have_classes_too():
    pictures = Pictures(torch.tensor([-1.0, -0.2, 0.9])[:, None, None, None], ("a", "a", "b"), "line")
    whole, data = gaussian_classes(pictures, 0.5).whole, DataMixture(pictures.images, 0.5)
    assert torch.allclose(whole.covariance(), data.covariance(), rtol=0, atol=1e-13)


def test_normal_classes_overlap_and_smoothed_ones_do_not():
    pictures = dataset("digits")
    error = {}
    for build in BUILDERS:
        mixture = build(pictures, 0.1)
        labels, x = draws(mixture, 400)
        error[build] = -torch.expm1(mixture.log_posterior(x)[torch.arange(400), labels]).mean()
    assert error[smoothed_classes] < 1e-12
    assert error[gaussian_classes] > 5e-3


def test_labels_have_the_weights_and_one_generator_each():
    mixture = gaussian_classes(dataset("digits"), 0.5)
    labels = mixture.draw_labels([torch.Generator().manual_seed(i) for i in range(2000)])
    shares = torch.bincount(labels, minlength=10) / 2000
    assert torch.allclose(shares.double(), mixture.weights, rtol=0, atol=5 * (0.1 * 0.9 / 2000) ** 0.5)
    assert torch.equal(labels[7:9], mixture.draw_labels([torch.Generator().manual_seed(i) for i in (7, 8)]))


def test_bad_arguments_are_named():
    a, b = (DataMixture(torch.full((1, 2), value), 1.0) for value in (0.0, 1.0))
    half = torch.tensor([0.5, 0.5])
    with pytest.raises(ValueError, match="classes must be at least two, got 1"):
        ClassMixture(a, [a], torch.ones(1))
    with pytest.raises(ValueError, match="weights must be 2 positive numbers"):
        ClassMixture(a, [a, b], torch.tensor([1.0, 0.0]))
    with pytest.raises(ValueError, match="weights must sum to one"):
        ClassMixture(a, [a, b], torch.tensor([0.5, 0.6]))
    with pytest.raises(ValueError, match=r"classes must have the whole's .* at 1"):
        ClassMixture(a, [a, b.diffuse(1.0, 1.0)], half)
    mixture = ClassMixture(DataMixture(torch.tensor([[0.0, 0.0], [1.0, 1.0]]), 1.0), [a, b], half)
    with pytest.raises(ValueError, match="labels must be one a sample"):
        mixture.log_odds(torch.zeros(2, 2), torch.zeros(3, dtype=torch.long))
    with pytest.raises(ValueError, match=r"labels must lie in 0 \.\. 1, got 0 \.\. 2"):
        mixture.class_noise(torch.zeros(2, 2), torch.tensor([0, 2]))
    for build in BUILDERS:
        with pytest.raises(ValueError, match="tau must be a finite positive number, got 0"):
            build(dataset("digits"), 0.0)
