r"""Features of pictures by EfficientNet-Lite0, and the Frechet distance between them: ``FD-EffNetLite0``, never FID.

Pictures in [-1, 1] are clamped, as a file would, grey ones get three equal channels, and all are resized bilinearly to
96 x 96: three times the side of 32 pixels. The network was trained at 224; at 96 it still names the two photographs of
scikit-learn (bell cote, monastery; a tight flower), and costs a sixth: 4 ms a picture on one idle core.
"""

from __future__ import annotations

import hashlib
import inspect
import math
import sys
from functools import cached_property, lru_cache

import torch
from torch import Tensor, nn

from image_exps.distances import efficientnet
from image_exps.distances.base import Distance, Statistic
from image_exps.distances.efficientnet import FEATURES, efficientnet_lite0, weights_file
from image_exps.distances.frechet import Moments, frechet_statistic, sample_moments
from image_exps.distances.reference import Comparable, Reference, reference_of
from toy import ExactTarget, Pictures
from toy.fit_cache import cached, checksum

__all__ = [
    "LOOKED_AT",
    "SIDE",
    "FeatureDistance",
    "FeatureSpace",
    "FrechetFeatures",
    "feature_space",
    "is_looked_at",
    "picture_features",
]

#: Side of the pictures that the network sees.
SIDE = 96

#: Side of the smallest pictures that it is asked about.
LOOKED_AT = 28

# Pictures that the network sees at once; the last block is filled up. A convolution may choose its algorithm, and with
# it its rounding, by the size of the batch: with one size the features of a picture are the same to the bit.
_BLOCK = 32

# Pictures behind the reference; the pool for floors grows by blocks.
_REFERENCE_PICTURES = 2048
_POOL_BLOCK = 1024

# Sets of samples whose features are kept, 10 MB for each thousand.
_KEPT = 4


def picture_features(pictures: Tensor, side: int = SIDE) -> Tensor:
    """Return the features of pictures (n, channels, height, width) in [-1, 1], shape (n, 1280), float64.

    They do not depend on the other pictures.

    Raises:
        ValueError: for no picture, another shape than that of one or three channels, or weights that are not there.
    """
    if pictures.ndim != 4 or pictures.shape[1] not in (1, 3) or len(pictures) == 0:
        raise ValueError(f"pictures must have shape (n, 1 or 3, height, width) with n > 0, got {tuple(pictures.shape)}")
    network = efficientnet_lite0()
    out = torch.empty((len(pictures), FEATURES), dtype=torch.float64)
    with torch.inference_mode():
        for start in range(0, len(pictures), _BLOCK):
            part = pictures[start : start + _BLOCK].to(torch.float32).clamp(-1, 1).expand(-1, 3, -1, -1)
            x = nn.functional.interpolate((part + 1) * 127.5, size=(side, side), mode="bilinear", align_corners=False)
            block = torch.zeros((_BLOCK, 3, side, side))
            block[: len(x)] = (x - 127) / 128
            out[start : start + len(x)] = network(block.to(memory_format=torch.channels_last))[: len(x)]
    return out


class FeatureSpace:
    """The features of a reference: those of its fixed set, and those of a pool of other exact samples for floors.

    Args:
        reference: of pictures.
        count: pictures in the fixed set; of real ones at most as many as there are in the half.
    """

    def __init__(self, reference: Reference, count: int = _REFERENCE_PICTURES) -> None:
        self._reference, self._count = reference, count
        self._blocks: dict[int, Tensor] = {}
        self._kept: dict[bytes, Tensor] = {}

    def of(self, x: Tensor) -> Tensor:
        """Return the features of samples (n, d), shape (n, 1280); the last few are kept, for several distances."""
        key = hashlib.blake2b(x.contiguous().numpy().tobytes(), digest_size=16).digest()
        if key not in self._kept:
            self._kept[key] = picture_features(x.view(-1, *self._reference.shape))
            while len(self._kept) > _KEPT:
                del self._kept[next(iter(self._kept))]
        return self._kept[key]

    def stored(self, x: Tensor) -> Tensor:
        """Return the features of exact samples (n, d), shape (n, 1280), from disk once they have been computed."""

        def compute() -> dict[str, Tensor]:
            # The network's own float32: nothing is rounded.
            return {"features": picture_features(x.view(-1, *self._reference.shape)).float()}

        code = tuple(inspect.getsource(module) for module in (efficientnet, sys.modules[__name__]))
        key = checksum(
            "features", code, torch.__version__, weights_file().stat().st_size, SIDE, self._reference.shape, x
        )
        return cached(f"features-{self._reference.name}", key, compute)["features"].double()

    @cached_property
    def fixed(self) -> Tensor:
        """Features of the reference set, shape (m, 1280)."""
        return self.stored(self._reference.fixed(self._count))

    def pool_size(self, count: int) -> int:
        """Return the size of the pool for sets of ``count``: whole blocks, at least twice as many, or all there are."""
        wanted = _POOL_BLOCK * max(2, -(-2 * count // _POOL_BLOCK))
        available = self._reference.held_out
        return wanted if available is None else min(wanted, available)

    def _pool_block(self, index: int) -> Tensor:
        if index not in self._blocks:
            self._blocks[index] = self.stored(self._reference.block(index, _POOL_BLOCK))
        return self._blocks[index]

    def draw(self, count: int, generator: torch.Generator) -> Tensor:
        """Return features of ``count`` exact samples of the pool, each at most once."""
        size = self.pool_size(count)
        rows = torch.randperm(size, generator=generator)[:count]
        blocks = [self._pool_block(i) for i in range(-(-size // _POOL_BLOCK))]
        return torch.cat(blocks)[rows]


@lru_cache(maxsize=8)
def feature_space(reference: Reference) -> FeatureSpace:
    """Return the feature space of a reference, one for all distances."""
    return FeatureSpace(reference)


def is_looked_at(reference: Reference) -> bool:
    """Whether samples are pictures that a network of photographs can look at: 28 pixels a side and more."""
    shape = reference.shape
    return reference.is_picture and shape[0] in (1, 3) and min(shape[1:]) >= LOOKED_AT


class FeatureDistance(Distance):
    """A distance in feature space; its floor is drawn from a pool of features, since these are costly."""

    def __init__(self, target: Comparable | Pictures | ExactTarget | Reference, space: FeatureSpace | None) -> None:
        super().__init__(reference_of(target))
        if not self.reference.is_picture:
            raise ValueError(f"target must have pictures, samples of {self.reference.name} are {self.reference.shape}")
        self.space = space or feature_space(self.reference)

    def _of_features(self, features: Tensor) -> Statistic:
        raise NotImplementedError

    def _prepare(self, x: Tensor) -> Statistic:
        return self._of_features(self.space.of(x))

    def pool_size(self, count: int) -> int | None:
        return self.space.pool_size(count)

    def _exact_distance(self, count: int, generator: torch.Generator) -> float:
        features = self.space.draw(count, generator)
        return self._of_features(features)(torch.ones(count, dtype=torch.float64))


class FrechetFeatures(FeatureDistance):
    r"""``FD-EffNetLite0``: the Frechet distance ``F`` of the 1280 features to those of the reference set.

    The reference's moments are those of at most 2048 exact samples, or real pictures: their own error is common to all
    that is compared, the floor included. With ``n`` samples the bias is large, at ``n < 1280`` their covariance is
    singular too: figures of different ``n`` do not compare, and none is an FID.

    Source: Heusel et al. 2017, with other features; Chong & Forsyth 2020 for the bias.
    """

    name = "FD-EffNetLite0"
    bounds = (0.0, math.inf)

    def __init__(
        self, target: Comparable | Pictures | ExactTarget | Reference, space: FeatureSpace | None = None
    ) -> None:
        super().__init__(target, space)

    @cached_property
    def _moments(self) -> Moments:
        return sample_moments(self.space.fixed)

    def _of_features(self, features: Tensor) -> Statistic:
        return frechet_statistic(features, self._moments)

    def remark(self, count: int) -> str:
        base = f"reference of {len(self.space.fixed)} pictures"
        if count > FEATURES:
            return f"{base}; biased: compare at equal n"
        return f"{base}; {count} samples give a singular covariance of {FEATURES} features, biased: compare at equal n"
