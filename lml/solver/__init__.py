"""Few-step solvers: levels and rows of weights; published ones by name, one for a schedule, one for a network."""

from lml.solver.calibration import Calibration, calibrate, cost
from lml.solver.choice import for_schedule
from lml.solver.methods import METHODS, Method, method, published_rows
from lml.solver.schedule import SPACINGS, Schedule
from lml.solver.solver import Solver, Validation, of_levels, of_method
from lml.solver.storage import load, save

__all__ = [
    "METHODS",
    "SPACINGS",
    "Calibration",
    "Method",
    "Schedule",
    "Solver",
    "Validation",
    "calibrate",
    "cost",
    "for_schedule",
    "load",
    "method",
    "of_levels",
    "of_method",
    "published_rows",
    "save",
]
