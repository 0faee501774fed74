"""Who takes part in the league: schedulers of diffusers, samplers of k-diffusion, and ours without and with LML.

What of diffusers does not take part is listed too, with the reason; a test compares both lists with the package.
"""

from __future__ import annotations

from typing import NamedTuple

from image_exps.samplers.table import ALGORITHMS

__all__ = ["ENTRIES", "LEFT_OUT", "SPACINGS", "Entry"]

#: Spacings of levels at which an entry is measured, by library, as far as it can take them; "own" is its default.
SPACINGS = {
    "diffusers": ("own", "karras", "log-snr"),
    "k-diffusion": ("time", "karras", "log-snr"),
    "lml": ("time", "karras", "log-snr"),
}


class Entry(NamedTuple):
    """A sampler of the league.

    Attributes:
        what: as of `image_exps.judge.what`.
        library: "diffusers", "k-diffusion" or "lml".
        label: short, for tables: the class or function with its options.
        interface: what the web interfaces call it, or what the table of diffusers says that they do; empty if neither.
        same_as: the sampler that this name means there; empty if there is none to compare with.
        spaced: whether its options say how its levels are spaced already.
    """

    what: str
    library: str
    label: str
    interface: str = ""
    same_as: str = ""
    spaced: bool = False

    @property
    def spacings(self) -> tuple[str, ...]:
        """The spacings at which it is measured."""
        return ("own",) if self.spaced else SPACINGS[self.library]


def _diffusers(name: str, options: str = "", interface: str = "", same_as: str = "") -> Entry:
    of = f"k_diffusion.sampling:sample_{same_as}" if same_as else ""
    spaced = "use_karras_sigmas" in options or "timestep_spacing" in options
    label = f"{name} {options}".strip()
    for sign in '{}"':
        label = label.replace(sign, "")
    return Entry(f"diffusers:{name}Scheduler{options}", "diffusers", label.replace(": ", "="), interface, of, spaced)


def _k_diffusion(name: str, interface: str) -> Entry:
    return Entry(f"k_diffusion.sampling:sample_{name}", "k-diffusion", f"sample_{name}", interface)


_KARRAS = '{"use_karras_sigmas": true}'
_SDE = '"algorithm_type": "sde-dpmsolver++"'

# What the web interfaces call the functions of k-diffusion; "Karras" behind a name is the spacing.
_K = {
    "euler": "Euler",
    "euler_ancestral": "Euler a",
    "heun": "Heun",
    "dpm_2": "DPM2",
    "dpm_2_ancestral": "DPM2 a",
    "lms": "LMS",
    "dpm_fast": "DPM fast",
    "dpmpp_2s_ancestral": "DPM++ 2S a",
    "dpmpp_sde": "DPM++ SDE",
    "dpmpp_2m": "DPM++ 2M",
    "dpmpp_2m_sde": "DPM++ 2M SDE",
    "dpmpp_3m_sde": "DPM++ 3M SDE",
}

# Ours that run on any levels; LML is on the baselines among them.
_OURS = tuple(name for name, each in ALGORITHMS.items() if not each.flow)
_WITH_LML = tuple(name for name in _OURS if ALGORITHMS[name].baseline)

#: Every entry.
ENTRIES: tuple[Entry, ...] = (
    _diffusers("DDIM", "", "DDIM"),
    _diffusers("DDIM", '{"timestep_spacing": "linspace"}'),
    _diffusers("DDIM", '{"timestep_spacing": "trailing"}'),
    _diffusers(
        "DDIM", '{"rescale_betas_zero_snr": true, "timestep_spacing": "trailing", "prediction_type": "v_prediction"}'
    ),
    _diffusers("DDPM"),
    _diffusers("PNDM"),
    _diffusers("PNDM", '{"skip_prk_steps": true}', "PLMS"),
    _diffusers("LMSDiscrete", "", "LMS", "lms"),
    _diffusers("LMSDiscrete", _KARRAS, "LMS Karras", "lms"),
    _diffusers("EulerDiscrete", "", "Euler", "euler"),
    _diffusers("EulerAncestralDiscrete", "", "Euler a", "euler_ancestral"),
    _diffusers("HeunDiscrete", "", "Heun", "heun"),
    _diffusers("KDPM2Discrete", "", "DPM2", "dpm_2"),
    _diffusers("KDPM2Discrete", _KARRAS, "DPM2 Karras", "dpm_2"),
    _diffusers("KDPM2AncestralDiscrete", "", "DPM2 a", "dpm_2_ancestral"),
    _diffusers("KDPM2AncestralDiscrete", _KARRAS, "DPM2 a Karras", "dpm_2_ancestral"),
    _diffusers("DPMSolverMultistep", "", "DPM++ 2M", "dpmpp_2m"),
    _diffusers("DPMSolverMultistep", _KARRAS, "DPM++ 2M Karras", "dpmpp_2m"),
    _diffusers("DPMSolverMultistep", '{"solver_order": 3}'),
    _diffusers("DPMSolverMultistep", '{"solver_type": "heun"}'),
    _diffusers("DPMSolverMultistep", '{"euler_at_final": true}'),
    _diffusers("DPMSolverMultistep", '{"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}'),
    _diffusers(
        "DPMSolverMultistep", '{"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min", "solver_order": 3}'
    ),
    _diffusers("DPMSolverMultistep", f"{{{_SDE}}}", "DPM++ 2M SDE", "dpmpp_2m_sde"),
    _diffusers("DPMSolverMultistep", f'{{{_SDE}, "use_karras_sigmas": true}}', "DPM++ 2M SDE Karras", "dpmpp_2m_sde"),
    _diffusers("DPMSolverMultistep", f'{{{_SDE}, "solver_order": 3}}', "DPM++ 3M SDE", "dpmpp_3m_sde"),
    _diffusers("DPMSolverSinglestep", "", "DPM++ SDE", "dpmpp_sde"),
    _diffusers("DPMSolverSinglestep", _KARRAS, "DPM++ SDE Karras", "dpmpp_sde"),
    _diffusers("DPMSolverSinglestep", '{"solver_order": 3}'),
    _diffusers("DPMSolverSinglestep", '{"algorithm_type": "dpmsolver", "final_sigmas_type": "sigma_min"}'),
    _diffusers("DPMSolverSDE", "", "DPM++ SDE", "dpmpp_sde"),
    _diffusers("DPMSolverSDE", _KARRAS, "DPM++ SDE Karras", "dpmpp_sde"),
    _diffusers("DEISMultistep", "", "DEIS"),
    _diffusers("DEISMultistep", '{"solver_order": 3}'),
    _diffusers("UniPCMultistep", "", "UniPC"),
    _diffusers("UniPCMultistep", '{"solver_type": "bh1"}'),
    _diffusers("UniPCMultistep", '{"solver_order": 3}'),
    _diffusers("UniPCMultistep", '{"solver_order": 3, "final_sigmas_type": "sigma_min"}'),
    _diffusers("UniPCMultistep", '{"predict_x0": false, "final_sigmas_type": "sigma_min"}'),
    _diffusers("SASolver"),
    _diffusers("IPNDM"),
    _diffusers("LCM", "", "LCM"),
    _diffusers("TCD", "", "TCD"),
    _diffusers("UnCLIP"),
    _diffusers("CogVideoXDDIM"),
    _diffusers("CogVideoXDPM"),
    _diffusers("EDMEuler"),
    _diffusers("EDMDPMSolverMultistep"),
    _diffusers("CosineDPMSolverMultistep"),
    _diffusers("FlowMatchEulerDiscrete"),
    _diffusers("FlowMatchHeunDiscrete"),
    _diffusers("FlowMatchLCM"),
    _diffusers("LTXEulerAncestralRF"),
    *(_k_diffusion(name, interface) for name, interface in _K.items()),
    *(Entry(name, "lml", name) for name in _OURS),
    *(Entry(f"{name}/lml", "lml", f"{name}/lml") for name in _WITH_LML),
)

#: Schedulers of the pinned diffusers that do not take part, by the name of the class, and why.
LEFT_OUT: dict[str, str] = {
    **{
        f"{name}Scheduler": "of tokens, not of continuous data"
        for name in ("Amused", "BlockRefinement", "DiscreteDDIM", "EntropyBound", "VQDiffusion")
    },
    **{
        f"{name}Scheduler": "runs from data to noise: an inversion"
        for name in ("DDIMInverse", "DPMSolverMultistepInverse")
    },
    **{
        f"{name}Scheduler": "maps a sample to the end of a flow that it was trained on: an exact score is no such map"
        for name in (
            "CMStochasticIterative",
            "ConsistencyDecoder",
            "FlowMapEulerDiscrete",
            "HeliosDMD",
            "Piflow",
            "SCM",
        )
    },
    **{
        f"{name}Scheduler": "the steps of another entry, for several devices or samples at a time"
        for name in ("DDIMParallel", "DDPMParallel")
    },
    **{
        f"{name}Scheduler": "another interface than step and set_timesteps"
        for name in ("KarrasVe", "ScoreSdeVe", "ScoreSdeVp", "RePaint")
    },
    **{
        f"{name}Scheduler": "made for one model, whose stages or levels it needs"
        for name in ("DDPMWuerstchen", "Helios", "MiniMaxH3", "RFD4Proteina")
    },
}
