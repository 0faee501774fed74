"""Faults of claim L1: fits to the ends of other noises, and a control that is none."""

from __future__ import annotations

from functools import partial
from typing import Any

from image_exps.claims.solver_gain import check_gain
from lml.solver.trajectories import Reference
from theory_checks.ledger.faults import fault

_NEAREST = ("dpm-solver++-3m@log-snr", "dpm-solver-3m@log-snr", "unipc-2@log-snr", "unipc-3@log-snr")

#: One network, and the nearest baselines.
REDUCED = {"L1": partial(check_gain, count=32, networks=("galaxy-hsc-32",), arms=_NEAREST)}


@fault("lml.solver.calibration:reference", "L1")
def calibrated_on_the_ends_of_other_noises(original: Any) -> Any:
    """The calibration takes the flow's end of the next noise for that of this one."""

    def made(*args: Any, **options: Any) -> Reference:
        found: Reference = original(*args, **options)
        return found._replace(ends=found.ends.roll(1, 0))

    return made


@fault("image_exps.claims.solver_gain:_shuffled", "L1")
def control_that_is_not_shuffled(original: Any) -> Any:
    """The control is fitted to the ends of its own noises."""
    return lambda ends: ends
