"""The distances by name, and which of them make sense for a target."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from image_exps.distances.base import Distance
from image_exps.distances.colourfulness import Colourfulness
from image_exps.distances.coverage import Coverage, Density, ModeCoverage
from image_exps.distances.endpoint import ENDPOINT_DISTANCES
from image_exps.distances.energy import MMD, EnergyDistance
from image_exps.distances.features import LOOKED_AT, FrechetFeatures, is_looked_at
from image_exps.distances.frechet import FrechetDistance, FrechetPCA
from image_exps.distances.likelihood import NegativeLogLikelihood
from image_exps.distances.reference import Comparable, Reference, reference_of
from image_exps.distances.wasserstein import W2, SlicedW2
from image_exps.problems.endpoints import Endpoints
from toy import DataMixture, ExactTarget, GaussianMixture, Pictures

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
    "FD-EffNetLite0": Entry(
        "Frechet distance of 1280 features of EfficientNet-Lite0; no FID",
        f"pictures of one or three channels, at least {LOOKED_AT} pixels a side",
        is_looked_at,
        FrechetFeatures,
    ),
    "sliced-w2": Entry("sliced Wasserstein-2 distance", "any samples", lambda r: True, SlicedW2),
    "w2": Entry("Wasserstein-2 distance", "any samples", lambda r: True, W2),
    "energy": Entry("energy distance", "any samples", lambda r: True, EnergyDistance),
    "mmd": Entry("squared maximum mean discrepancy", "any samples", lambda r: True, MMD),
    "nll": Entry(
        "negative log-likelihood under the exact density",
        "an exact distribution",
        lambda r: r.law is not None,
        NegativeLogLikelihood,
    ),
    "mode-coverage": Entry(
        "share of modes with half of their due",
        "a mixture as its exact distribution",
        lambda r: isinstance(r.law, DataMixture | GaussianMixture),
        ModeCoverage,
    ),
    "coverage": Entry("share of reference samples with samples nearby", "any samples", lambda r: True, Coverage),
    "density": Entry("mean number of reference samples nearby", "any samples", lambda r: True, Density),
    "colourfulness": Entry(
        "colourfulness by Hasler and Suesstrunk",
        "colour pictures",
        lambda r: r.is_picture and r.shape[0] == 3,
        Colourfulness,
    ),
}


def distances(
    target: Comparable | Pictures | ExactTarget | Reference,
    *,
    which: Sequence[str] | None = None,
    endpoints: Endpoints | None = None,
) -> dict[str, Distance]:
    """Return the distances that make sense for a target, by name.

    Args:
        target: `image_exps.problems.targets.Target`, any exact distribution, or the real pictures that a
            network was trained on.
        which: names; all that apply by default.
        endpoints: of the flow from the samples' noises, for "endpoint-rmse", "endpoint-pooled" and "endpoint-median".

    Raises:
        ValueError: for a name that is not known, or a distance that does not apply to the target.
    """
    reference = reference_of(target)
    known = [*DISTANCES, *ENDPOINT_DISTANCES]
    applying = [name for name, entry in DISTANCES.items() if entry.applies(reference)]
    if endpoints is not None:
        applying.extend(ENDPOINT_DISTANCES)
    for name in which or ():
        if name not in known:
            raise ValueError(f"which must be of {', '.join(known)}, got {name!r}")
        if name not in applying:
            needs = (
                "endpoints, of image_exps.problems.endpoints.flow_endpoints"
                if name in ENDPOINT_DISTANCES
                else DISTANCES[name].needs
            )
            raise ValueError(f"which must apply to {reference.name}, {name!r} does not: it needs {needs}")
    made: dict[str, Distance] = {}
    for name in applying if which is None else which:
        if name in ENDPOINT_DISTANCES and endpoints is not None:
            made[name] = ENDPOINT_DISTANCES[name](reference, endpoints)
        else:
            made[name] = DISTANCES[name].make(reference)
    return made
