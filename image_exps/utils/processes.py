"""Which of several processes this one is, as ``accelerate launch``, ``torchrun`` and MPI tell it.

The processes share a folder and nothing else: no message passes between them, so that none waits for another, and a
process that dies takes none with it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Process"]

# Rank, number of processes, and rank on the node, as each launcher names them; the first that says anything counts.
_LAUNCHERS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),
    ("OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"),
    ("PMI_RANK", "PMI_SIZE", "MPI_LOCALRANKID"),
)


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
            ValueError: for variables that are not numbers, one of rank and number without the other, or a rank outside
                of the world.
        """
        for names in _LAUNCHERS:
            rank, world, local = (_number(environment, name) for name in names)
            if rank is None and world is None:
                continue
            if rank is None or world is None:
                there, absent = (names[1], names[0]) if rank is None else names[:2]
                raise ValueError(
                    f"{there} and {absent} must both be set, the environment has {there}={environment[there]} and no "
                    f"{absent}: set it, or unset {there}"
                )
            return cls(rank, world, rank if local is None else local)
        return cls()

    def device(self, asked: str) -> str:
        """Return the device of this process: ``cuda`` becomes the GPU of its local rank."""
        return f"cuda:{self.local}" if asked == "cuda" and self.world > 1 else asked


def _number(environment: Mapping[str, str], name: str) -> int | None:
    value = environment.get(name)
    if value is None:
        return None
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{name} must be an integer, got {value!r}") from None
