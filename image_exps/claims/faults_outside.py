"""Faults of Q5 and Q6: a correction that is none, ends of other noises, a reference that is the sampler's own."""

from __future__ import annotations

from functools import partial
from typing import Any

from image_exps.claims.outside_distribution import check_distribution
from image_exps.claims.outside_endpoint import check_outside
from image_exps.claims.outside_networks import Flow
from lml.correction import LML
from theory_checks.ledger.faults import fault

#: One network and few noises.
REDUCED = {
    "Q5": partial(check_outside, count=32, networks=("galaxy-hsc-32",), evaluations=(5,)),
    "Q6": partial(check_distribution, count=96, networks=("galaxy-hsc-32",)),
}


@fault("image_exps.claims.outside_endpoint:lml_on", "Q5")
def correction_that_is_off(original: Any) -> Any:
    """LML before its first step for ever: the base as it is."""
    return lambda base: LML(start=1.0, stop=1.0)


@fault("image_exps.claims.outside_endpoint:flow_of", "Q5")
def ends_of_other_noises(original: Any) -> Any:
    """The flow's end of the next noise is taken for that of this one."""

    def flow(name: str, seed: int, count: int, **options: Any) -> Flow:
        made = original(name, seed, count, **options)
        return Flow(made.made, made.x, made.end.roll(1, 0), made.refinement)

    return flow


@fault("image_exps.claims.outside_distribution:lml_on", "Q6")
def correction_of_the_distribution_that_is_off(original: Any) -> Any:
    """LML before its first step for ever: the base as it is."""
    return lambda base: LML(start=1.0, stop=1.0)


@fault("image_exps.claims.outside_distribution:fall", "Q6")
def gain_and_loss_exchanged(original: Any) -> Any:
    """The distance without LML is taken for that with it."""
    return lambda before, after, *rest: original(after, before, *rest)
