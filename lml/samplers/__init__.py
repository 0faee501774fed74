"""Pure samplers, one published algorithm a file; any of them takes any correction."""

from lml.arguments import check_choice
from lml.samplers.base import Evaluation, Info, Level, Network, NoiseModel, Sampler, State, sample, trajectory
from lml.samplers.ddim import DDIM
from lml.samplers.dpm_solver import DPM_SOLVER_1, DPM_SOLVER_2M, DPM_SOLVER_3M, dpm_solver
from lml.samplers.dpm_solver_pp import DPM_SOLVER_PP_2M, DPM_SOLVER_PP_3M, dpm_solver_pp
from lml.samplers.edm import EULER, HEUN
from lml.samplers.flow_matching import EULER_FLOW, HEUN_FLOW
from lml.samplers.ipndm import IPNDM_2, IPNDM_3, IPNDM_4, ipndm
from lml.samplers.pndm import PNDM, PNDM_PRK, pndm
from lml.samplers.unipc import UNIPC_2, UNIPC_2_NOISE, UNIPC_3, UNIPC_3_NOISE, unipc

__all__ = [
    "DDIM",
    "SAMPLERS",
    "Evaluation",
    "Info",
    "Level",
    "Network",
    "NoiseModel",
    "Sampler",
    "State",
    "dpm_solver",
    "dpm_solver_pp",
    "ipndm",
    "pndm",
    "sample",
    "sampler",
    "trajectory",
    "unipc",
]

#: The samplers by name.
SAMPLERS: dict[str, Sampler] = {
    each.name: each
    for each in (
        DDIM,
        DPM_SOLVER_1,
        DPM_SOLVER_2M,
        DPM_SOLVER_3M,
        DPM_SOLVER_PP_2M,
        DPM_SOLVER_PP_3M,
        PNDM,
        PNDM_PRK,
        IPNDM_2,
        IPNDM_3,
        IPNDM_4,
        UNIPC_2,
        UNIPC_3,
        UNIPC_2_NOISE,
        UNIPC_3_NOISE,
        EULER,
        HEUN,
        EULER_FLOW,
        HEUN_FLOW,
    )
}


def sampler(name: str) -> Sampler:
    """Return the sampler of this name.

    Raises:
        ValueError: for a name that is not in `SAMPLERS`.
    """
    check_choice(name, "sampler", SAMPLERS)
    return SAMPLERS[name]
