r"""One table of the samplers: for each published algorithm its name, order, levels, default strength and scheduler.

The names are those of `lml.samplers`, and say the order where an algorithm has several: ``2m`` and ``3m`` are multistep
methods, ``3s`` is a singlestep method. `image_exps.samplers.arms` runs the algorithms as pure samplers,
`image_exps.samplers.schedulers` as schedulers of diffusers where these have them.

Nothing here imports torch or diffusers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from image_exps.samplers.names import check_known

__all__ = ["ALGORITHMS", "TABLE_BASES", "Algorithm", "SchedulerOf", "algorithm"]


@dataclass(frozen=True)
class SchedulerOf:
    """How diffusers runs an algorithm.

    Attributes:
        name: the class.
        options: what is set besides the model's own configuration.
        steps: diffusers' inference steps for a number of evaluations of the network.
        spends: whether it can spend a number of evaluations.
        budget: which ones it can, in words.
        spaced: whether one can choose where its timesteps lie.
    """

    name: str
    options: Mapping[str, Any] = field(default_factory=lambda: MappingProxyType({}))
    steps: Callable[[int], int] = lambda evaluations: evaluations
    spends: Callable[[int], bool] = lambda evaluations: evaluations >= 1
    budget: str = "any number"
    spaced: bool = True


@dataclass(frozen=True)
class Algorithm:
    """A published algorithm.

    Attributes:
        name: of `lml.samplers.SAMPLERS`; of the singlestep DPM-Solver, `lml.samplers.dpm_solver_singlestep` makes it.
        order: of convergence, as it was published and measured (`lml.samplers.Sampler`); of a singlestep method the one
            that its steps have while the budget lasts.
        spacing: of its levels as published, one of `toy.levels.SPACINGS`.
        about: what it is, in a line.
        scheduler: how diffusers runs it; ``None`` if it has no scheduler of it for any model's noise levels.
        flow: whether it steps along the velocity of a flow, for models that predict one.
        baseline: whether it is compared with: it can spend any number of evaluations from two on, and is no other one
            in other variables.
    """

    name: str
    order: int
    spacing: str
    about: str
    scheduler: SchedulerOf | None = None
    flow: bool = False
    baseline: bool = True

    @property
    def mixing(self) -> float:
        """The default ``kappa`` of LML on it, at the default damping."""
        from lml.strength import default_mixing

        return default_mixing(self.order)


def _dpm_solver(order: int, kind: str = "dpmsolver") -> SchedulerOf:
    # In the noise prediction diffusers cannot step into sigma = 0.
    last = {} if kind == "dpmsolver++" else {"final_sigmas_type": "sigma_min"}
    return SchedulerOf("DPMSolverMultistepScheduler", {"algorithm_type": kind, "solver_order": order, **last})


def _unipc(order: int, *, predict_x0: bool = True) -> SchedulerOf:
    last = {} if predict_x0 else {"final_sigmas_type": "sigma_min"}
    return SchedulerOf("UniPCMultistepScheduler", {"solver_order": order, "predict_x0": predict_x0, **last})


def _heun(name: str) -> SchedulerOf:
    # Its last step goes into sigma = 0.
    return SchedulerOf(
        name,
        steps=lambda evaluations: (evaluations + 1) // 2,
        spends=lambda evaluations: evaluations >= 1 and evaluations % 2 == 1,
        budget="odd numbers",
    )


_PNDM = SchedulerOf(
    "PNDMScheduler",
    {"skip_prk_steps": True},
    steps=lambda evaluations: evaluations - 1,
    spends=lambda evaluations: evaluations >= 3,
    budget="3 or more",
)

_SINGLESTEP = SchedulerOf(
    "DPMSolverSinglestepScheduler",
    {"algorithm_type": "dpmsolver", "solver_order": 3, "lower_order_final": True, "final_sigmas_type": "sigma_min"},
    spends=lambda evaluations: evaluations >= 3,
    budget="3 or more",
    spaced=False,
)

_EULER, _EULER_FLOW = SchedulerOf("EulerDiscreteScheduler"), SchedulerOf("FlowMatchEulerDiscreteScheduler")
_HEUN, _HEUN_FLOW = _heun("HeunDiscreteScheduler"), _heun("FlowMatchHeunDiscreteScheduler")

_TABLE = (
    Algorithm("ddim", 1, "time", "DDIM, deterministic", SchedulerOf("DDIMScheduler")),
    Algorithm("pndm", 2, "time", "PNDM as in Stable Diffusion, one evaluation more than steps", _PNDM),
    Algorithm("pndm-prk", 2, "time", "PNDM as published, four evaluations in its first steps", baseline=False),
    Algorithm("ipndm-2", 2, "time", "iPNDM, two noise predictions"),
    Algorithm("ipndm-3", 2, "time", "iPNDM, three noise predictions"),
    Algorithm("ipndm-4", 2, "time", "iPNDM, four noise predictions"),
    Algorithm("dpm-solver-3s", 3, "log-snr", "DPM-Solver-3, singlestep: 3 + 3 + ... + the rest", _SINGLESTEP),
    Algorithm("dpm-solver-2m", 2, "log-snr", "DPM-Solver-2, multistep", _dpm_solver(2)),
    Algorithm("dpm-solver-3m", 2, "log-snr", "DPM-Solver-3, multistep: the paper's published code", _dpm_solver(3)),
    Algorithm("dpm-solver++-2m", 2, "log-snr", "DPM-Solver++ 2M", _dpm_solver(2, "dpmsolver++")),
    Algorithm("dpm-solver++-3m", 2, "log-snr", "DPM-Solver++ 3M", _dpm_solver(3, "dpmsolver++")),
    Algorithm("unipc-2", 2, "log-snr", "UniPC-2, the default of diffusers", _unipc(2)),
    Algorithm("unipc-3", 2, "log-snr", "UniPC-3", _unipc(3)),
    Algorithm("unipc-2-noise", 2, "log-snr", "UniPC-2 in the noise prediction", _unipc(2, predict_x0=False)),
    Algorithm("unipc-3-noise", 2, "log-snr", "UniPC-3 in the noise prediction", _unipc(3, predict_x0=False)),
    Algorithm("euler", 1, "karras", "Euler in sigma/alpha: the steps of DDIM", _EULER, baseline=False),
    Algorithm("heun", 2, "karras", "Heun, two evaluations a step, one in the last", _HEUN, baseline=False),
    Algorithm("euler-flow", 1, "time", "Euler, for models that predict a flow", _EULER_FLOW, flow=True, baseline=False),
    Algorithm("heun-flow", 2, "time", "Heun, for models that predict a flow", _HEUN_FLOW, flow=True, baseline=False),
)

#: The algorithms by name. (The multistep DPM-Solver of first order is DDIM; Euler is too, in other variables.)
ALGORITHMS: Mapping[str, Algorithm] = MappingProxyType({each.name: each for each in _TABLE})

#: The five baselines of the paper's Table 1, by six names: DPM-Solver-3 was published as a singlestep and as a
#: multistep solver, and the better one at a budget is the one to beat. (The paper keeps the order of all three solvers
#: at 3, Supp. B.1.)
TABLE_BASES = ("ddim", "pndm", "dpm-solver-3s", "dpm-solver-3m", "dpm-solver++-3m", "unipc-3")


def algorithm(name: str) -> Algorithm:
    """Return the algorithm of this name.

    Raises:
        ValueError: for a name that is not in `ALGORITHMS`.
    """
    check_known("base", name, ALGORITHMS)
    return ALGORITHMS[name]
