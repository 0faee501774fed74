r"""Small networks that were trained for choosing solvers: what networks look like, where exact targets do not show it.

All see the same input, the sample scaled to variance preserving, ``x/sqrt(alpha^2 + sigma^2)``, and
``lambda = log(alpha/sigma)`` in [-6, 7]; beyond, the end. So each can be asked on any schedule. They differ in data, in
architecture and in what they predict, with ``a^2 + s^2 = 1`` and ``a/s = e^lambda``::

    epsilon   e = F                 sample   e = (x - a F)/s                 velocity   e = a F + s x

Training: ``python -m image_exps.training.small``. They were trained for this alone, on pictures that are drawn by
formulas (docs/reference/small-networks.md), and no figure is reported on them but those that say so.
"""

from __future__ import annotations

import math
from functools import cache
from pathlib import Path
from typing import Literal, NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.nn import functional

from lml.arguments import check_choice
from lml.samplers import Level

__all__ = ["LAMBDAS", "SMALL_NETWORKS", "SmallModel", "SmallNetwork", "build", "small_model"]

Prediction = Literal["epsilon", "sample", "velocity"]
Architecture = Literal["mixer", "convolutions", "transformer", "perceptron"]

#: The range of ``lambda`` on which they are trained.
LAMBDAS = (-6.0, 7.0)

_FOLDER = Path(__file__).parent / "weights"
_FEATURES = 16


class SmallNetwork(NamedTuple):
    """A network by what it is.

    Attributes:
        data: the pictures it was trained on, by the name of `image_exps.training.small_data`.
        architecture: of it.
        prediction: what it returns.
        shape: of a sample.
        width: of its layers.
    """

    data: str
    architecture: Architecture
    prediction: Prediction
    shape: tuple[int, ...]
    width: int


#: The networks by name.
SMALL_NETWORKS: dict[str, SmallNetwork] = {
    "sky-mixer": SmallNetwork("sky", "mixer", "epsilon", (1, 16, 16), 64),
    "faint-convolutions": SmallNetwork("faint sky", "convolutions", "epsilon", (1, 16, 16), 24),
    "strokes-convolutions": SmallNetwork("strokes", "convolutions", "velocity", (1, 16, 16), 24),
    "shapes-transformer": SmallNetwork("shapes", "transformer", "velocity", (3, 16, 16), 96),
    "texture-transformer": SmallNetwork("texture", "transformer", "epsilon", (1, 16, 16), 96),
    "binary-convolutions": SmallNetwork("binary", "convolutions", "sample", (1, 16, 16), 24),
    "points-perceptron": SmallNetwork("points", "perceptron", "epsilon", (24,), 192),
    "bright-mixer": SmallNetwork("bright sky", "mixer", "epsilon", (1, 16, 16), 64),
}


def _features(lam: Tensor) -> Tensor:
    """Return sines and cosines of ``lambda``, (B, 2 _FEATURES)."""
    waves = torch.exp(torch.linspace(math.log(0.1), math.log(4.0), _FEATURES, dtype=lam.dtype))
    angle = lam[:, None] * waves
    return torch.cat((angle.sin(), angle.cos()), 1)


class _Condition(nn.Module):
    """``lambda`` to the vector by which blocks are scaled and shifted."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(2 * _FEATURES, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU())

    def forward(self, lam: Tensor) -> Tensor:
        made: Tensor = self.layers(_features(lam))
        return made


class _Mixer(nn.Module):
    """Patches of four pixels, mixed among each other and along their channels; ``lambda`` is a channel of the input."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        channels, side, _ = shape
        patches = (side // 4) ** 2
        self.embed = nn.Conv2d(channels + 1, width, 4, 4)
        self.across = nn.ModuleList(self._perceptron(patches) for _ in range(4))
        self.along = nn.ModuleList(self._perceptron(width) for _ in range(4))
        self.across_norm = nn.ModuleList(nn.LayerNorm((width, patches)) for _ in range(4))
        self.along_norm = nn.ModuleList(nn.LayerNorm((patches, width)) for _ in range(4))
        self.norm = nn.LayerNorm((width, patches))
        self.expand = nn.ConvTranspose2d(width, channels, 4, 4)

    @staticmethod
    def _perceptron(size: int) -> nn.Module:
        return nn.Sequential(nn.Linear(size, 256), nn.ReLU(), nn.Linear(256, size))

    def forward(self, x: Tensor, lam: Tensor) -> Tensor:
        level = (lam / LAMBDAS[1])[:, None, None, None].expand(-1, 1, *x.shape[2:])
        y = self.embed(torch.cat((x, level), 1))
        grid = y.shape[2:]
        y = y.flatten(2)
        layers = zip(self.across, self.across_norm, self.along, self.along_norm, strict=True)
        for across, across_norm, along, along_norm in layers:
            y = y + across(across_norm(y))
            y = y.transpose(1, 2)
            y = y + along(along_norm(y))
            y = y.transpose(1, 2)
        made: Tensor = self.expand(self.norm(y).unflatten(2, grid))
        return made


class _Residual(nn.Module):
    """Two convolutions of 3x3, scaled and shifted by the condition."""

    def __init__(self, width: int, condition: int) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.norm = nn.GroupNorm(4, width)
        self.scale = nn.Linear(condition, 2 * width)
        nn.init.zeros_(self.second.weight)

    def forward(self, y: Tensor, c: Tensor) -> Tensor:
        scale, shift = self.scale(c)[:, :, None, None].chunk(2, 1)
        made: Tensor = self.second(functional.silu(self.first(self.norm(y)) * (1 + scale) + shift))
        return y + made


class _Convolutions(nn.Module):
    """A UNet of three resolutions."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        channels, wide = shape[0], 2 * width
        self.condition = _Condition(wide)
        self.enter = nn.Conv2d(channels, width, 3, padding=1)
        self.high = nn.ModuleList(_Residual(width, wide) for _ in range(2))
        self.down, self.middle_down = nn.Conv2d(width, wide, 2, 2), nn.Conv2d(wide, wide, 2, 2)
        self.low = nn.ModuleList(_Residual(wide, wide) for _ in range(2))
        self.lowest = nn.ModuleList(_Residual(wide, wide) for _ in range(2))
        self.up, self.middle_up = nn.ConvTranspose2d(wide, width, 2, 2), nn.ConvTranspose2d(wide, wide, 2, 2)
        self.leave = nn.Conv2d(width, channels, 3, padding=1)

    def forward(self, x: Tensor, lam: Tensor) -> Tensor:
        c = self.condition(lam)
        high = self.high[0](self.enter(x), c)
        low = self.low[0](self.down(high), c)
        lowest = self.middle_down(low)
        for block in self.lowest:
            lowest = block(lowest, c)
        low = self.low[1](low + self.middle_up(lowest), c)
        made: Tensor = self.leave(self.high[1](high + self.up(low), c))
        return made


class _Attention(nn.Module):
    """Attention and a perceptron, scaled and shifted by the condition (Peebles & Xie 2023)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.heads = 4
        self.mix, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.layers = nn.Sequential(nn.Linear(width, 3 * width), nn.GELU(), nn.Linear(3 * width, width))
        self.scale = nn.Linear(width, 6 * width)
        nn.init.zeros_(self.scale.weight)
        nn.init.zeros_(self.scale.bias)

    def forward(self, y: Tensor, c: Tensor) -> Tensor:
        a, b, gate, a2, b2, gate2 = self.scale(c)[:, None].chunk(6, 2)
        normed = functional.layer_norm(y, y.shape[-1:]) * (1 + a) + b
        q, k, v = (z.unflatten(2, (self.heads, -1)).transpose(1, 2) for z in self.mix(normed).chunk(3, 2))
        seen = functional.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)
        y = y + gate * self.out(seen)
        normed = functional.layer_norm(y, y.shape[-1:]) * (1 + a2) + b2
        made: Tensor = y + gate2 * self.layers(normed)
        return made


class _Transformer(nn.Module):
    """A transformer over patches of four pixels."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        channels, side, _ = shape
        self.condition = _Condition(width)
        self.embed = nn.Conv2d(channels, width, 4, 4)
        self.place = nn.Parameter(0.02 * torch.randn((side // 4) ** 2, width))
        self.blocks = nn.ModuleList(_Attention(width) for _ in range(3))
        self.expand = nn.ConvTranspose2d(width, channels, 4, 4)

    def forward(self, x: Tensor, lam: Tensor) -> Tensor:
        c = self.condition(lam)
        y = self.embed(x)
        grid = y.shape[2:]
        y = y.flatten(2).transpose(1, 2) + self.place
        for block in self.blocks:
            y = block(y, c)
        normed = functional.layer_norm(y, y.shape[-1:])
        made: Tensor = self.expand(normed.transpose(1, 2).reshape(len(y), -1, *grid))
        return made


class _Perceptron(nn.Module):
    """A residual perceptron."""

    def __init__(self, shape: tuple[int, ...], width: int) -> None:
        super().__init__()
        self.condition = _Condition(width)
        self.enter, self.leave = nn.Linear(shape[0], width), nn.Linear(width, shape[0])
        self.layers = nn.ModuleList(nn.Linear(width, width) for _ in range(4))

    def forward(self, x: Tensor, lam: Tensor) -> Tensor:
        c, y = self.condition(lam), self.enter(x)
        for layer in self.layers:
            y = y + functional.silu(layer(y + c))
        made: Tensor = self.leave(y)
        return made


_MADE = {"mixer": _Mixer, "convolutions": _Convolutions, "transformer": _Transformer, "perceptron": _Perceptron}


def build(network: SmallNetwork) -> nn.Module:
    """Return a network with fresh weights, a map of ``x`` (B, ...) and ``lambda`` (B,) to ``F`` (B, ...)."""
    return _MADE[network.architecture](network.shape, network.width)


class SmallModel:
    """A small network as a noise model.

    Args:
        network: what it is.
        module: with its weights.
    """

    def __init__(self, network: SmallNetwork, module: nn.Module) -> None:
        self.network, self.module = network, module.eval().requires_grad_(requires_grad=False)

    @torch.no_grad()
    def __call__(self, x: Tensor, level: Level) -> Tensor:
        """Return the noise prediction, shape (B, ...), of the type and on the device of ``x``; it is made in float32.

        Raises:
            ValueError: for samples of another shape than the network's.
        """
        if x.shape[1:] != self.network.shape:
            raise ValueError(
                f"x must have the shape (B, {', '.join(map(str, self.network.shape))}), got {tuple(x.shape)}"
            )
        size = math.hypot(level.alpha, level.sigma)
        lam = min(max(level.half_log_snr, LAMBDAS[0]), LAMBDAS[1])
        u = (x / size).to("cpu", torch.float32)
        return noise_of(self.network.prediction, self.module, u, torch.full((len(u),), lam)).to(x)


def noise_of(prediction: Prediction, module: nn.Module, x: Tensor, lam: Tensor) -> Tensor:
    """Return ``e``, (B, ...), from what a network says of ``x = a y + s z`` with ``a^2 + s^2 = 1``.

    With ``F`` the output: ``e = F``; of the picture, ``e = (x - a F)/s``; of the velocity ``a z - s y``,
    ``e = a F + s x``.

    Args:
        prediction: what the output is.
        module: the network, a map of ``x`` and ``lambda`` to ``F``.
        x: samples, (B, ...).
        lam: ``lambda = log(a/s)``, (B,).
    """
    F: Tensor = module(x, lam)
    if prediction == "epsilon":
        return F
    each = (-1, *[1] * (x.ndim - 1))
    a, s = torch.sigmoid(2 * lam).sqrt().view(each), torch.sigmoid(-2 * lam).sqrt().view(each)
    return (x - a * F) / s if prediction == "sample" else a * F + s * x


@cache
def small_model(name: str) -> SmallModel:
    """Return a network of `SMALL_NETWORKS` with its trained weights.

    Raises:
        ValueError: for another name.
    """
    check_choice(name, "name", SMALL_NETWORKS)
    network = SMALL_NETWORKS[name]
    module = build(network)
    module.load_state_dict({key: value.float() for key, value in load_file(_FOLDER / f"{name}.safetensors").items()})
    return SmallModel(network, module)
