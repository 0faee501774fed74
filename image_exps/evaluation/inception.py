r"""The Inception network of FID: its 2048 features, from the weights that torch-fidelity and pytorch-fid publish.

It is Inception-v3 as TensorFlow's graph of 2015-12-05 has it, which differs from the published architecture: average
pooling leaves the padding out of its mean, and the last block pools by the maximum. Pictures are resized to 299x299 as
TensorFlow 1 did, bilinearly, without antialiasing, with corners at ``i h/299``, and scaled to ``(x - 128)/128``.

torch-fidelity has the same network. It is written again here because that package needs torchvision, and unpickles the
weights as they are; a test compares the two, number by number, on random weights.

Source: Szegedy et al. 2016, Rethinking the Inception architecture; Heusel et al. 2017, for its use.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional

from image_exps.pipelines.pickled_weights import read_tensors

__all__ = ["SHA256", "SIZE", "URL", "Inception", "load_inception", "resize"]

#: Height and width that the network reads.
SIZE = 299

#: Where its weights are published (95,628,359 bytes); pytorch-fid publishes the same file under another name.
URL = "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/weights-inception-2015-12-05-6726825d.pth"

#: Of that file. Of other weights the distance is not called FID.
SHA256 = "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2"

# A convolution: its name in the file of weights, channels out, kernel, stride.
_Conv = tuple[str, int, int | tuple[int, int], int]
# Convolutions one after the other; those of a tuple side by side.
_Chain = tuple[_Conv | tuple[_Conv, ...], ...]


class _Unit(nn.Module):
    """Convolution, normalisation, ReLU."""

    def __init__(self, read: int, out: int, kernel: int | tuple[int, int], stride: int, padding: int | str) -> None:
        super().__init__()
        self.conv = nn.Conv2d(read, out, kernel, stride, padding, bias=False)
        self.bn = nn.BatchNorm2d(out, eps=0.001)

    def forward(self, x: Tensor) -> Tensor:
        return functional.relu(self.bn(self.conv(x)))


def _average(x: Tensor) -> Tensor:
    return functional.avg_pool2d(x, 3, stride=1, padding=1, count_include_pad=False)


def _maximum(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 3, stride=1, padding=1)


def _halved(x: Tensor) -> Tensor:
    return functional.max_pool2d(x, 3, stride=2)


class _Mixed(nn.Module):
    """Chains of convolutions beside each other, and what is pooled; their channels one after the other.

    Args:
        read: channels in.
        chains: the convolutions; with stride 1 they keep the size, with stride 2 they have no padding.
        pool: what else is done to the input.
        pooled: channels of the 1x1 convolution after that; 0 for none.
    """

    def __init__(
        self, read: int, chains: tuple[_Chain, ...], pool: Callable[[Tensor], Tensor], pooled: int = 0
    ) -> None:
        super().__init__()
        self._pool = pool
        self._chains: list[list[list[str]]] = []
        for chain in chains:
            width, names = read, []
            for step in chain:
                side_by_side = step if isinstance(step[0], tuple) else (step,)
                for name, out, kernel, stride in side_by_side:
                    setattr(self, name, _Unit(width, out, kernel, stride, "same" if stride == 1 else 0))
                width = sum(conv[1] for conv in side_by_side)
                names.append([conv[0] for conv in side_by_side])
            self._chains.append(names)
        self.branch_pool = _Unit(read, pooled, 1, 1, 0) if pooled else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        found = []
        for chain in self._chains:
            y = x
            for names in chain:
                y = torch.cat([getattr(self, name)(y) for name in names], 1)
            found.append(y)
        return torch.cat([*found, self.branch_pool(self._pool(x))], 1)


def _a(read: int, pooled: int) -> _Mixed:
    return _Mixed(read, (
        (("branch1x1", 64, 1, 1),),
        (("branch5x5_1", 48, 1, 1), ("branch5x5_2", 64, 5, 1)),
        (("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 1), ("branch3x3dbl_3", 96, 3, 1)),
    ), _average, pooled)  # fmt: skip


def _b(read: int) -> _Mixed:
    return _Mixed(read, (
        (("branch3x3", 384, 3, 2),),
        (("branch3x3dbl_1", 64, 1, 1), ("branch3x3dbl_2", 96, 3, 1), ("branch3x3dbl_3", 96, 3, 2)),
    ), _halved)  # fmt: skip


def _c(read: int, k: int) -> _Mixed:
    across, down = (1, 7), (7, 1)
    return _Mixed(read, (
        (("branch1x1", 192, 1, 1),),
        (("branch7x7_1", k, 1, 1), ("branch7x7_2", k, across, 1), ("branch7x7_3", 192, down, 1)),
        (("branch7x7dbl_1", k, 1, 1), ("branch7x7dbl_2", k, down, 1), ("branch7x7dbl_3", k, across, 1),
         ("branch7x7dbl_4", k, down, 1), ("branch7x7dbl_5", 192, across, 1)),
    ), _average, 192)  # fmt: skip


def _d(read: int) -> _Mixed:
    return _Mixed(read, (
        (("branch3x3_1", 192, 1, 1), ("branch3x3_2", 320, 3, 2)),
        (("branch7x7x3_1", 192, 1, 1), ("branch7x7x3_2", 192, (1, 7), 1), ("branch7x7x3_3", 192, (7, 1), 1),
         ("branch7x7x3_4", 192, 3, 2)),
    ), _halved)  # fmt: skip


def _e(read: int, pool: Callable[[Tensor], Tensor]) -> _Mixed:
    across, down = (1, 3), (3, 1)
    return _Mixed(read, (
        (("branch1x1", 320, 1, 1),),
        (("branch3x3_1", 384, 1, 1), (("branch3x3_2a", 384, across, 1), ("branch3x3_2b", 384, down, 1))),
        (("branch3x3dbl_1", 448, 1, 1), ("branch3x3dbl_2", 384, 3, 1),
         (("branch3x3dbl_3a", 384, across, 1), ("branch3x3dbl_3b", 384, down, 1))),
    ), pool, 192)  # fmt: skip


class Inception(nn.Module):
    """From pictures (n, 3, height, width) in bytes to features (n, 2048), in the dtype of the weights."""

    def __init__(self) -> None:
        super().__init__()
        self.Conv2d_1a_3x3 = _Unit(3, 32, 3, 2, 0)
        self.Conv2d_2a_3x3 = _Unit(32, 32, 3, 1, 0)
        self.Conv2d_2b_3x3 = _Unit(32, 64, 3, 1, 1)
        self.Conv2d_3b_1x1 = _Unit(64, 80, 1, 1, 0)
        self.Conv2d_4a_3x3 = _Unit(80, 192, 3, 1, 0)
        self.Mixed_5b = _a(192, 32)
        self.Mixed_5c = _a(256, 64)
        self.Mixed_5d = _a(288, 64)
        self.Mixed_6a = _b(288)
        self.Mixed_6b = _c(768, 128)
        self.Mixed_6c = _c(768, 160)
        self.Mixed_6d = _c(768, 160)
        self.Mixed_6e = _c(768, 192)
        self.Mixed_7a = _d(768)
        self.Mixed_7b = _e(1280, _average)
        self.Mixed_7c = _e(2048, _maximum)

    def forward(self, pictures: Tensor) -> Tensor:
        x = (resize(pictures.to(self.Conv2d_1a_3x3.conv.weight.dtype)) - 128) / 128
        for name, part in self.named_children():
            x = part(x)
            if name in ("Conv2d_2b_3x3", "Conv2d_4a_3x3"):
                x = _halved(x)
        return x.mean((2, 3))


def resize(x: Tensor, size: int = SIZE) -> Tensor:
    """Return pictures (n, c, height, width) at (n, c, size, size), interpolated as TensorFlow 1 did.

    Row ``i`` lies at ``y = i height/size``, between rows ``floor(y)`` and ``floor(y) + 1``, the last one repeated.
    """

    def between(length: int) -> tuple[Tensor, Tensor, Tensor]:
        step = torch.tensor(length / size, dtype=torch.float32).to(x.dtype)  # TensorFlow's is a float32
        place = torch.arange(size, dtype=x.dtype) * step
        low = place.long()
        return low.to(x.device), (low + 1).clamp_max(length - 1).to(x.device), (place - low).to(x.device)

    low, high, share = between(x.shape[3])
    x = torch.lerp(x[..., low], x[..., high], share)
    low, high, share = between(x.shape[2])
    return torch.lerp(x[:, :, low], x[:, :, high], share[:, None])


def load_inception(path: Path) -> tuple[Inception, str]:
    """Return the network with the weights of a file, and the file's SHA-256 in hexadecimal digits.

    The file is a pickle, as it is published, of which nothing is run.

    Raises:
        ValueError: for a file that is not there, is no such pickle, or holds other weights.
    """
    where = f"fetch {URL} (SHA-256 {SHA256})"
    if not path.is_file():
        raise ValueError(f"inception: {path} is not there: {where}")
    try:
        held = read_tensors(path)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
    except (OSError, ValueError) as error:
        raise ValueError(f"inception: {error}: {where}") from error
    network = Inception()
    # The classifier is not used, and the counters of training have no meaning here.
    weights, wanted = (
        {k: v for k, v in state.items() if not k.startswith("fc.") and not k.endswith("num_batches_tracked")}
        for state in (held, network.state_dict())
    )
    shapes, others = ({(k, v.shape) for k, v in state.items()} for state in (weights, wanted))
    other = sorted({name for name, _ in shapes ^ others})
    if other:
        raise ValueError(
            f"inception: {path} holds weights of another network ({len(other)} differ, first {other[0]}): {where}"
        )
    network.load_state_dict(weights, strict=False)
    return network.eval().requires_grad_(False), digest
