"""The distances by name, and which of them make sense for a target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from image_exps.distances.base import Distance
from image_exps.distances.frechet import FrechetDistance, FrechetPCA
from image_exps.distances.reference import Comparable, Reference, reference_of
from toy import ExactTarget, Pictures

__all__ = ["DISTANCES", "Entry", "distances"]

# Up to this dimension all moments are compared: 0.2 s for a resample.
_ALL_MOMENTS = 1024


@dataclass(frozen=True)
class Entry:
    """A distance by name: what it is, where it applies and how it is made.

    Attributes:
        description: one line.
        needs: what a target must have, in words that complete "it needs".
        applies: whether a reference has it.
        make: of a reference; cheap, what is costly waits for the first samples.
    """

    description: str
    needs: str
    applies: Callable[[Reference], bool]
    make: Callable[[Reference], Distance]


#: The distances by name.
DISTANCES: dict[str, Entry] = {
    "frechet": Entry(
        "Frechet distance of all moments",
        f"at most {_ALL_MOMENTS} dimensions",
        lambda r: r.dim <= _ALL_MOMENTS,
        FrechetDistance,
    ),
    "frechet-pca": Entry(
        "Frechet distance within 64 leading components",
        "at least 64 dimensions",
        lambda r: r.dim >= 64,
        FrechetPCA,
    ),
}


def distances(
    target: Comparable | Pictures | ExactTarget | Reference, *, which: Sequence[str] | None = None
) -> dict[str, Distance]:
    """Return the distances that make sense for a target, by name.

    Args:
        target: `image_exps.targets.Target`, any exact distribution, or the real pictures a network was trained on.
        which: names; all that apply by default.

    Raises:
        ValueError: for a name that is not in `DISTANCES`, or a distance that does not apply to the target.
    """
    reference = reference_of(target)
    unknown = [name for name in which or () if name not in DISTANCES]
    if unknown:
        raise ValueError(f"which must be of {', '.join(DISTANCES)}, got {', '.join(map(repr, unknown))}")
    for name in which or ():
        if not DISTANCES[name].applies(reference):
            raise ValueError(
                f"which must apply to {reference.name}, {name!r} does not: it needs {DISTANCES[name].needs}"
            )
    chosen = which if which is not None else [name for name, e in DISTANCES.items() if e.applies(reference)]
    return {name: DISTANCES[name].make(reference) for name in chosen}
