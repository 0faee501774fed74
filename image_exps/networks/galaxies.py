r"""Score networks of galaxies that nobody here trained: those of the package ``galaxygrad``, read and not imported.

They are variance preserving with ``beta = 1`` on t in [0, 10]: ``alpha = e^{-t/2}``, ``sigma^2 = 1 - e^{-t}``. On the
unit interval of `toy.schedule` that is a constant rate of 10. Pictures are stretched fluxes, not in [-1, 1]: nothing
may be clipped. The package names no licence for its weights: they are read where the user installed them.

Source: Sampson & Melchior 2024, arXiv 2401.07313; ``pip install --no-deps galaxygrad==0.2.1``.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from image_exps.networks.mixer import MixerScore
from lml.arguments import check_choice
from lml.samplers import Level
from toy.outside import required
from toy.schedule import VPConstant

__all__ = [
    "END_TIME",
    "GALAXIES",
    "SCHEDULE",
    "TIMES",
    "Galaxy",
    "GalaxyModel",
    "galaxy_file",
    "galaxy_model",
    "galaxy_score",
]

#: The last time of the diffusion, and of the published sampling.
END_TIME = 10.0

# Samples that are evaluated at once. Inside of a block a sample of 32 pixels is 128 kB: on a CPU eight of them stay in
# a core's cache, and take a third of the time that each takes among 256; a GPU wants many.
_ON_CPU, _ON_GPU = 8, 256

#: The diffusion on the unit interval, and the first and last time of a trajectory there: t = 10 and 1e-3.
SCHEDULE = VPConstant(END_TIME)
TIMES = (1.0, 1e-4)


class Galaxy(NamedTuple):
    """A published network: its file in the package, the SHA-256 of that file, and the side of its pictures."""

    file: str
    sha256: str
    size: int


#: The networks by name. Those of other surveys than HSC and ZTF are kept for a test at the end: nothing is tuned on
#: them, and no table shows them.
GALAXIES: dict[str, Galaxy] = {
    name: Galaxy(**row)
    for name, row in json.loads((files("image_exps.networks") / "galaxies.json").read_text(encoding="utf-8")).items()
}


def galaxy_file(name: str) -> Path:
    """Return the file of a network in the installed package, checked by its digest.

    Raises:
        ValueError: for a name that is not in `GALAXIES`, an absent package, or a file that is not the published one.
    """
    check_choice(name, "name", GALAXIES)
    galaxy = GALAXIES[name]
    path = required("galaxygrad") / galaxy.file
    if not path.is_file():
        raise ValueError(f"{path} is not there, and is part of the package galaxygrad: install it again")
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    if digest != galaxy.sha256:
        raise ValueError(f"{path} must be that of galaxygrad 0.2.1, whose SHA-256 is {galaxy.sha256}, got {digest}")
    return path


def galaxy_score(name: str) -> MixerScore:
    """Return a network with its published weights, in float32.

    Raises:
        ValueError: as `galaxy_file`, or if the file does not hold the arrays of this network.
    """
    path = galaxy_file(name)
    net = MixerScore(GALAXIES[name].size, END_TIME)
    arrays = list(_arrays(path))
    targets = list(net.stored_order())
    if len(arrays) != len(targets) + 1:  # the last entry is the end time
        raise ValueError(f"{path} must hold {len(targets) + 1} arrays, got {len(arrays)}")
    with torch.no_grad():
        for (parameter, target), array in zip(targets, arrays, strict=False):
            stored = torch.from_numpy(array)
            if parameter == "expand.weight":
                # Stored as (out, in, 4, 4), for a correlation over the dilated input: torch wants its transpose.
                stored = stored.flip(2, 3).transpose(0, 1)
            target.copy_(stored.reshape(target.shape))
    return net.eval().requires_grad_(False)


def _arrays(path: Path) -> Iterator[np.ndarray]:
    """Yield the arrays of a file, which are NumPy's written one after the other."""
    size = path.stat().st_size
    with path.open("rb") as file:
        while file.tell() < size:
            yield np.load(file, allow_pickle=False)


class GalaxyModel:
    """A network as a noise model of the samplers: ``eps = -sigma s(x, t)`` at any level, by its log-SNR.

    Levels of another scale than ``alpha^2 + sigma^2 = 1`` are scaled to it, which leaves the noise as it is. Beyond the
    ends of the diffusion the time is that of the end.

    Args:
        net: the score.
        batch: samples that are evaluated at once; it changes the speed and rounding alone. By default what suits the
            device of the network.
    """

    def __init__(self, net: MixerScore, batch: int | None = None) -> None:
        self.net = net
        self.batch = batch or (_ON_CPU if net.embed.weight.device.type == "cpu" else _ON_GPU)

    @torch.no_grad()
    def __call__(self, x: Tensor, level: Level) -> Tensor:
        """Return the noise prediction, of the shape (B, 1, H, H) and dtype of ``x``; (B, H*H) is taken too."""
        scale = float(np.hypot(level.alpha, level.sigma))
        weight = self.net.embed.weight
        pictures = (x.reshape(len(x), 1, self.net.size, self.net.size) / scale).to(weight)
        t = SCHEDULE.time(2 * level.half_log_snr).clamp(0, 1) * END_TIME
        parts = [self.net(part, t.to(weight)) for part in torch.split(pictures, self.batch)] if len(x) else [pictures]
        return (-(level.sigma / scale) * torch.cat(parts)).to(x).view(x.shape)


@cache
def galaxy_model(name: str) -> GalaxyModel:
    """Return a network as a noise model, for `lml.samplers.sample`.

    Raises:
        ValueError: as `galaxy_score`.
    """
    return GalaxyModel(galaxy_score(name))
