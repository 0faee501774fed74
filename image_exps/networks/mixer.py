r"""The score network of Sampson & Melchior 2024: an MLP-mixer on patches of one-channel pictures, in PyTorch.

The input ``x`` gets a second channel that holds ``t/t_1`` everywhere. Patches of 4x4 pixels become 64 channels; each of
four blocks mixes along the P = (H/4)^2 patches, then along the channels, both by a residual perceptron behind a layer
norm over the whole map::

    y = y + W_2 relu(W_1 norm(y) + b_1) + b_2

A last norm and a transposed convolution give the score ``s(x, t) = grad log q_t(x)``.

Source: arXiv 2401.07313, whose networks are in Equinox; Tolstikhin et al. 2021 for the mixer.
"""

from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

__all__ = ["MixerScore"]

_PATCH, _HIDDEN, _WIDTH, _BLOCKS = 4, 64, 512, 4


def _perceptron(size: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(size, _WIDTH), nn.ReLU(), nn.Linear(_WIDTH, size))


class _Block(nn.Module):
    """Mix along the patches, then along the channels: (B, 64, P) to (B, 64, P)."""

    def __init__(self, patches: int) -> None:
        super().__init__()
        self.patch_mixer = _perceptron(patches)
        self.hidden_mixer = _perceptron(_HIDDEN)
        self.patch_norm = nn.LayerNorm((_HIDDEN, patches))
        self.hidden_norm = nn.LayerNorm((patches, _HIDDEN))

    def forward(self, y: Tensor) -> Tensor:
        y = y + self.patch_mixer(self.patch_norm(y))
        y = y.transpose(1, 2)
        y = y + self.hidden_mixer(self.hidden_norm(y))
        return y.transpose(1, 2)


class MixerScore(nn.Module):
    """The score of a picture at a time.

    Args:
        size: H, the side of a picture; a multiple of four.
        end_time: ``t_1``, the last time of the diffusion.

    Raises:
        ValueError: for a size that is no multiple of four.
    """

    def __init__(self, size: int, end_time: float = 10.0) -> None:
        super().__init__()
        if size < _PATCH or size % _PATCH:
            raise ValueError(f"size must be a positive multiple of {_PATCH}, got {size}")
        self.size, self.end_time = size, end_time
        patches = (size // _PATCH) ** 2
        self.embed = nn.Conv2d(2, _HIDDEN, _PATCH, _PATCH)
        self.blocks = nn.ModuleList(_Block(patches) for _ in range(_BLOCKS))
        self.norm = nn.LayerNorm((_HIDDEN, patches))
        self.expand = nn.ConvTranspose2d(_HIDDEN, 1, _PATCH, _PATCH)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        """Return the score, (B, 1, H, H), at times ``t`` in [0, t_1], a number for all or one a sample, (B,)."""
        time = (t / self.end_time).to(x).expand(len(x))[:, None, None, None].expand(-1, 1, *x.shape[2:])
        y = self.embed(torch.cat((x, time), 1))
        grid = y.shape[2:]
        y = y.flatten(2)
        for block in self.blocks:
            y = block(y)
        score: Tensor = self.expand(self.norm(y).unflatten(2, grid))
        return score

    def stored_order(self) -> Iterator[tuple[str, Tensor]]:
        """Yield the parameters by name, in the order in which the published files hold them."""
        yield from _pair("embed", self.embed)
        yield from _pair("expand", self.expand)
        for i, block in enumerate(self.blocks):
            for name in (
                "patch_mixer.0",
                "patch_mixer.2",
                "hidden_mixer.0",
                "hidden_mixer.2",
                "patch_norm",
                "hidden_norm",
            ):
                yield from _pair(f"blocks.{i}.{name}", block.get_submodule(name))
        yield from _pair("norm", self.norm)


def _pair(name: str, layer: nn.Module) -> Iterator[tuple[str, Tensor]]:
    for kind in ("weight", "bias"):
        yield f"{name}.{kind}", layer.get_parameter(kind)
