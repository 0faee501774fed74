"""The plan of the measurement of `lml.solver`: its cells in their order, its seeds, its arms, and where its rows are.

All of it was fixed before the run, and nothing was chosen on these seeds. A cell is a problem with a schedule, a number
of evaluations, and how many samples its figures are of. The networks have the schedule that they were trained on; the
exact targets, of which the solvers have seen none, have each of `SCHEDULES`.

The rows of a cell are in a file a part: the published methods, which depend on nothing in `lml.solver`; `for_schedule`;
`calibrate` on few and on more trajectories; and the controls of the former.
"""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple, get_args

import pandas as pd

from image_exps.samplers.arms import arm
from image_exps.samplers.baselines import BASELINE_ARMS, BASELINE_SPACINGS

__all__ = [
    "BASELINE", "BESIDE", "CALIBRATED", "CHOSEN", "CONTROLLED", "CONTROLS", "EVALUATIONS", "EXACT", "FOR_SCHEDULE",
    "FRECHET", "LML_ARMS", "NETWORKS", "OURS", "PARTS", "PLAN", "RESULTS", "SCHEDULES", "SEEDS", "TARGETS",
    "TRAJECTORIES", "Cell", "Part", "arms_of", "file_of", "read", "read_frechet",
]  # fmt: skip

#: Where the rows are.
RESULTS = Path(__file__).parent.parent / "results" / "solver"

#: Seeds of the noises that calibrations, their controls, all distances to the flow, the samples of the Frechet
#: distances, and the draws that these are compared with are from. Calibrations on
#: seed 41 were looked at before the rule of choice was changed, and were made again.
SEEDS = {"calibration": 46, "controls": 42, "figures": 43, "frechet": 44, "draws": 45}

#: Numbers of evaluations, in the order in which they are measured.
EVALUATIONS = (8, 5, 10, 4, 6, 7, 12, 15, 20)

#: Those of the controls, of calibrations on more trajectories, and of the Frechet distances.
CONTROLLED = (8, 5, 10)

#: The schedules of the exact targets by name; see `image_exps.search.few_steps_problems`.
SCHEDULES = ("linear", "scaled-linear", "cosine", "constant", "flow")

#: The networks, each with its own schedule: four that others trained, and those that ship.
NETWORKS = {
    "galaxy-hsc-32": "constant",
    "galaxy-ztf-32": "constant",
    "galaxy-hsc-64": "constant",
    "galaxy-ztf-64": "constant",
    "fashion-mnist": "linear",
    "emoji": "linear",
}

#: The exact targets.
TARGETS = ("digits", "random-16d", "ring-2d")

#: The networks on which Frechet distances are measured.
FRECHET = ("galaxy-hsc-32", "galaxy-ztf-32")

#: The arms of Frechet distances beside the calibrated solver.
EXACT, BASELINE = "exact flow", "best baseline"

Part = Literal["published", "for_schedule", "calibrate", "calibrate_more", "controls"]

#: The parts of a cell, in the order in which they are measured: the controls need the calibration.
PARTS: tuple[Part, ...] = get_args(Part)

#: DDIM with LML at its default strength, by the paper and with the norm extrapolated: they are not in the oracle.
LML_ARMS: tuple[str, ...] = tuple(
    arm(f"ddim@{spacing}/lml{options}").name for options in ("", "(norm=extrapolated)") for spacing in BASELINE_SPACINGS
)

#: The solver that is made without a look at the network.
FOR_SCHEDULE = "for_schedule"

#: Trajectories of the calibrations by arm, and of the baseline that each found best: the same, spent on choosing alone.
CALIBRATED = {"calibrate": 16, "calibrate, 48 trajectories": 48}
CHOSEN = {name: f"baseline chosen on {count} trajectories" for name, count in CALIBRATED.items()}

#: The solvers.
OURS = (FOR_SCHEDULE, *CALIBRATED)

#: The calibration that the controls stand beside, and their trajectories.
BESIDE = "calibrate"
TRAJECTORIES = CALIBRATED[BESIDE]

#: Fits that lack something; the last is no fit, but its published rows, changed at random by as much.
CONTROLS = ("levels alone", "rows alone", "rows from shuffled trajectories", "noise of the size of rows alone")

# A calibration is a part of its own: that on more trajectories costs three times as much, and is made in fewer cells.
_CALIBRATIONS: tuple[Part, ...] = ("calibrate", "calibrate_more")
_SMALL, _LARGE = 128, 64
_SLOW = ("galaxy-hsc-64", "fashion-mnist", "galaxy-ztf-64", "emoji")


class Cell(NamedTuple):
    """A problem and its schedule by name, a number of evaluations, and how many samples its figures are of."""

    problem: str
    schedule: str
    evaluations: int
    samples: int

    @property
    def key(self) -> tuple[str, str, int]:
        """What tells a cell from another."""
        return self.problem, self.schedule, self.evaluations


def _plan() -> tuple[Cell, ...]:
    fast = [(name, schedule, _SMALL) for name, schedule in NETWORKS.items() if name not in _SLOW]
    slow = [(name, NETWORKS[name], _LARGE) for name in _SLOW]
    targets = [(name, schedule, _SMALL) for name in TARGETS for schedule in SCHEDULES]
    order = [(problem, n) for n in CONTROLLED for problem in (*fast, *targets, *slow)]
    order += [(problem, n) for n in EVALUATIONS for problem in fast]
    order += [(problem, n) for n in EVALUATIONS for problem in (*targets, *slow)]
    return tuple(dict.fromkeys(Cell(name, schedule, n, count) for (name, schedule, count), n in order))


#: Cells in the order in which they are measured: those that say most first.
PLAN: tuple[Cell, ...] = _plan()


def arms_of(cell: Cell, part: Part) -> tuple[str, ...]:
    """Return the arms of a part of a cell; in most there are no controls, nor a calibration on more trajectories."""
    beside = cell.evaluations in CONTROLLED and cell.problem not in _SLOW
    calibrations = {part: (name, CHOSEN[name]) for part, name in zip(_CALIBRATIONS, CALIBRATED, strict=True)}
    return {
        "published": (*BASELINE_ARMS, *LML_ARMS),
        "for_schedule": (FOR_SCHEDULE,),
        "calibrate": calibrations["calibrate"],
        "calibrate_more": calibrations["calibrate_more"] if beside else (),
        "controls": CONTROLS if beside else (),
    }[part]


def file_of(folder: Path, cell: Cell, part: Part | Literal["frechet"]) -> Path:
    """Return the file of a part of a cell, or of its Frechet distances."""
    return folder / part / f"{cell.problem}-{cell.schedule}-{cell.evaluations}.parquet"


def read(folder: Path = RESULTS) -> pd.DataFrame:
    """Return the rows of all cells that were measured, in the order of the plan; without a row if none was.

    A row is an arm. Columns: problem, schedule, evaluations, kind (``baseline``, ``lml``, ``ours``, ``chosen`` or
    ``control``), arm, errors (the root mean square distance of each sample to the end of its flow), detail (JSON: of a
    solver itself, of a calibration all that it found).
    """
    return _read(folder, PARTS, [*_KEY, "kind", "arm", "errors", "detail"])


def read_frechet(folder: Path = RESULTS) -> pd.DataFrame:
    """Return the rows of the Frechet distances that were measured; see `image_exps.search.few_steps_frechet`."""
    return _read(folder, ("frechet",), [*_KEY, "arm", "method", "frechet", "influence"])


_KEY = ["problem", "schedule", "evaluations"]


def _read(folder: Path, parts: tuple[Part | Literal["frechet"], ...], columns: list[str]) -> pd.DataFrame:
    files = [file_of(folder, cell, part) for cell in PLAN for part in parts]
    frames = [pd.read_parquet(file) for file in files if file.exists()]
    return pd.concat(frames, ignore_index=True)[columns] if frames else pd.DataFrame(columns=columns)
