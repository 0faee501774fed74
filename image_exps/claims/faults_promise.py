"""Faults of claim L2: a ratio the wrong way round, and an interval that holds everything."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from image_exps.claims.solver_promise import check_promise
from lml.solver import Calibration
from theory_checks.ledger.faults import fault

#: Not reduced: on fewer calibrations the claim is open.
REDUCED = {"L2": check_promise}


@fault("lml.solver.selection:bootstrap", "L2")
def announced_ratio_the_wrong_way_round(original: Any) -> Any:
    """The baseline's distance over the solver's."""
    return lambda a, b: original(b, a)


@fault("image_exps.claims.solver_promise:calibrate", "L2")
def interval_that_holds_everything(original: Any) -> Any:
    """An interval from zero to a hundred: of course it holds the ratio."""

    def made(*args: Any, **options: Any) -> Calibration:
        found: Calibration = original(*args, **options)
        assert found.solver.validation is not None
        wide = replace(found.solver.validation, low=0.0, high=100.0)
        return replace(found, solver=replace(found.solver, validation=wide))

    return made
