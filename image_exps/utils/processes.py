"""Which of several processes this one is, as ``accelerate launch``, ``torchrun`` and MPI tell it.

The processes share a folder and nothing else: no message passes between them, so that none waits for another, and a
process that dies takes none with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Process"]

_RANK = ("RANK", "OMPI_COMM_WORLD_RANK", "PMI_RANK")
_WORLD = ("WORLD_SIZE", "OMPI_COMM_WORLD_SIZE", "PMI_SIZE")
_LOCAL = ("LOCAL_RANK", "OMPI_COMM_WORLD_LOCAL_RANK", "MPI_LOCALRANKID")


@dataclass(frozen=True)
class Process:
    """This process among ``world``.

    Attributes:
        rank: 0 to ``world - 1``.
        world: how many there are, over all nodes.
        local: rank on this node, which chooses the GPU.
    """

    rank: int = 0
    world: int = 1
    local: int = 0

    def __post_init__(self) -> None:
        if not 0 <= self.rank < self.world:
            raise ValueError(f"rank must lie in [0, {self.world}), got {self.rank}")

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Process:
        """Return what the launcher's variables say; one process alone if there is no launcher.

        Raises:
            ValueError: for variables that are not numbers, or a rank outside of the world.
        """
        rank, world, local = (_number(environment, names) for names in (_RANK, _WORLD, _LOCAL))
        if world is None:
            return cls()
        return cls(rank or 0, world, (rank or 0) if local is None else local)

    def device(self, asked: str) -> str:
        """Return the device of this process: ``cuda`` becomes the GPU of its local rank."""
        return f"cuda:{self.local}" if asked == "cuda" and self.world > 1 else asked


def _number(environment: Mapping[str, str], names: tuple[str, ...]) -> int | None:
    for name in names:
        value = environment.get(name)
        if value is not None:
            try:
                return int(value)
            except ValueError:
                raise ValueError(f"{name} must be an integer, got {value!r}") from None
    return None
