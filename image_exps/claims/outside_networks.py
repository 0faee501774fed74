"""Networks that nobody here trained, with noises and the ends of their flows: what Q5 and Q6 are asked of.

The networks are those of `image_exps.networks.galaxies`. Cells, spacings and sizes of both claims are frozen here; they
were chosen after a look at 128 noises of one network and 384 of two, of other seeds than those of the verdicts.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from image_exps.pipelines.network import Network, network
from image_exps.problems.endpoints import rms
from image_exps.problems.seeds import starting_noise
from lml.correction import LML, Correction, NoCorrection
from lml.samplers import SAMPLERS, sample
from lml.strength import default_mixing
from toy.levels import Spacing

__all__ = ["BASES", "EVALUATIONS", "NETWORKS", "SPACINGS", "Flow", "flow_of", "lml_on"]

#: The networks of the quick profile, and those of the full one.
NETWORKS = (("galaxy-hsc-32", "galaxy-ztf-32"), ("galaxy-hsc-32", "galaxy-ztf-32", "galaxy-hsc-64", "galaxy-ztf-64"))

#: The bases; LML has the mixing of its schedulers on them.
BASES = ("ddim", "dpm-solver-3m")
SPACINGS: tuple[Spacing, ...] = ("log-snr", "karras")
EVALUATIONS = (5, 8, 10)

# DPM-Solver++ of second order, equal in log-SNR; half as many steps bound its error.
_REFERENCE, _REFERENCE_STEPS = "dpm-solver++-2m", 80


def lml_on(base: str) -> LML:
    """Return LML with its schedulers' defaults on a base."""
    return LML(mixing=default_mixing(SAMPLERS[base].order))


@dataclass(frozen=True)
class Flow:
    """A network with noises and the ends of its flow.

    Attributes:
        made: the network.
        x: noises, shape (N, 1, H, H).
        end: where the flow ends from them, shape (N, d).
        refinement: mean distance of that to the end of half as many steps; zero where it was not asked for.
    """

    made: Network
    x: Tensor
    end: Tensor
    refinement: float

    def drawn(self, base: str, spacing: Spacing, evaluations: int, correction: Correction) -> Tensor:
        """Return where a sampler ends from the noises, shape (N, d)."""
        levels = self.made.levels(evaluations, spacing)
        return sample(SAMPLERS[base], self.made.noise_model, self.x, levels, correction).flatten(1)


def flow_of(name: str, seed: int, count: int, *, check: bool = True) -> Flow:
    """Return a network with ``count`` noises of a seed; ``check`` measures the error of the flow's ends as well."""
    made = network(name)
    x = starting_noise(seed, 0, count, made.shape).float()
    flow = Flow(made, x, x.flatten(1), 0.0)
    end = flow.drawn(_REFERENCE, "log-snr", _REFERENCE_STEPS, NoCorrection())
    if not check:
        return Flow(made, x, end, 0.0)
    half = flow.drawn(_REFERENCE, "log-snr", _REFERENCE_STEPS // 2, NoCorrection())
    return Flow(made, x, end, float(rms(end - half).mean()))
