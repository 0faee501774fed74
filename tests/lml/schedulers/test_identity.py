"""With ``mixing = 0`` every scheduler is its base bit for bit, whatever the options: what holds for the base holds."""

from __future__ import annotations

import pytest
import torch
from exact_loop import (
    DIFFUSION,
    EXPLODING,
    FLOW,
    NAMES,
    NUMPY_2,
    SIGMAS,
    STOCHASTIC,
    denoiser,
    make,
    make_base,
    run,
    start,
)

pytestmark = pytest.mark.filterwarnings(*NUMPY_2)

SPACINGS = [{"timestep_spacing": s} for s in ("linspace", "leading", "trailing")]
SIGMA_SPACINGS = [{f"use_{s}_sigmas": True} for s in ("karras", "exponential", "beta")]
CASES = (
    [(name, {}) for name in NAMES]
    + [(name, {"prediction_type": "v_prediction"}) for name in DIFFUSION]
    + [(name, o) for name in DIFFUSION if "Singlestep" not in name for o in SPACINGS]
    + [(name, o) for name in [*SIGMAS, *EXPLODING] if "Ancestral" not in name for o in SIGMA_SPACINGS]
    + [(name, {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}) for name in SIGMAS]
    + [(name, {"use_lu_lambdas": True}) for name in SIGMAS if name == "DPMSolverMultistepScheduler"]
    + [(name, {"solver_order": 3}) for name in SIGMAS]
    + [(name, {"thresholding": True}) for name in ["DDIMScheduler", *SIGMAS]]
    + [(name, {"clip_sample": True}) for name in ("DDIMScheduler", "HeunDiscreteScheduler")]
    + [("DDIMScheduler", {"rescale_betas_zero_snr": True, "prediction_type": "v_prediction"})]
    + [("PNDMScheduler", {"skip_prk_steps": True})]
    + [("UniPCMultistepScheduler", {"predict_x0": False, "final_sigmas_type": "sigma_min"})]
    + [(name, {"algorithm_type": "sde-dpmsolver++"}) for name in SIGMAS if name.startswith("DPM")]
    + [(name, {"shift": 3.0}) for name in FLOW]
    + [("FlowMatchEulerDiscreteScheduler", {"stochastic_sampling": True})]
)


@pytest.mark.parametrize(("name", "options"), CASES, ids=lambda v: v if isinstance(v, str) else "-".join(map(str, v)))
def test_no_mixing_is_the_base_bit_for_bit(name, options):
    paths = []
    for scheduler in (make(name, mixing=0.0, **options), make_base(name, **options)):
        g = torch.Generator().manual_seed(1)
        draws = name in STOCHASTIC or "algorithm_type" in options or "stochastic_sampling" in options
        # Any output will do: nothing is to touch it.
        model = denoiser(name, options.get("prediction_type", "epsilon"))
        if options.get("use_flow_sigmas"):
            model = denoiser("FlowMatchEulerDiscreteScheduler")
        paths.append(run(scheduler, model, start(scheduler), **({"generator": g} if draws else {})))
    for ours, theirs in zip(*paths, strict=True):
        assert torch.equal(ours, theirs)
        assert torch.isfinite(ours).all()


@pytest.mark.parametrize("name", NAMES)
def test_the_first_evaluation_is_the_base_s_and_the_second_is_not(name):
    scheduler, base = make(name), make_base(name)
    g = {"generator": torch.Generator().manual_seed(1)} if name in STOCHASTIC else {}
    ours = run(scheduler, denoiser(name), start(scheduler), **g)
    g = {"generator": torch.Generator().manual_seed(1)} if name in STOCHASTIC else {}
    theirs = run(base, denoiser(name), start(base), **g)
    assert torch.equal(ours[0], theirs[0])
    assert not torch.equal(ours[1], theirs[1])


@pytest.mark.parametrize("name", NAMES)
def test_outside_of_start_and_stop_the_base_is_untouched(name):
    def path(**options):
        scheduler = make(name, **options)
        g = {"generator": torch.Generator().manual_seed(1)} if name in STOCHASTIC else {}
        return run(scheduler, denoiser(name), start(scheduler), 8, **g)

    base, late, early = path(mixing=0.0), path(start=0.5), path(stop=0.5)
    count = len(base)
    for i in range(count // 2):
        assert torch.equal(late[i], base[i])
    assert not torch.equal(late[-1], base[-1])
    assert not torch.equal(early[count // 2], base[count // 2])
    assert torch.equal(path(start=0.5, stop=0.5)[-1], base[-1])
