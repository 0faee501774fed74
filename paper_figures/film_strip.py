"""What the sampler thinks the picture is, step by step: the exact flow, DDIM, LML and the tuned setting."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from matplotlib.figure import Figure

from image_exps.images.pixels import pixels
from image_exps.problems.endpoints import reference, rms
from image_exps.problems.seeds import starting_noise
from image_exps.problems.specification import sampling_problem
from image_exps.problems.targets import TAU
from image_exps.samplers.arms import arm
from image_exps.search.frozen import TUNED
from lml.samplers import Level, NoiseModel, trajectory
from paper_figures.figure import Data, PaperFigure
from paper_figures.layout import panels
from paper_figures.style import NOTE
from theory_checks.ledger.claim import Settings

_ROWS = {"DDIM": "ddim", "LML on DDIM": "ddim/lml", "tuned": TUNED}
_REFERENCE_STEPS = 50


def compute(settings: Settings, *, target: str = "emoji", evaluations: int = 6, count: int = 16) -> Data:
    """Return the denoised picture before each step and at the end, (rows, steps + 1, height, width, channels).

    Of ``count`` noises the one is shown at which LML changes DDIM's error most, for better or worse.
    """
    made = sampling_problem(target, "exact")
    noise = made.model(settings.seed, 0, count)
    x = starting_noise(settings.seed, 0, count, made.shape).to(made.dtype)
    strips, errors, log_snrs = [], [], []
    with torch.inference_mode():
        exact = reference(made.flow, x, _REFERENCE_STEPS)
        for name in _ROWS:
            plan = arm(_ROWS[name]).build(evaluations, made.dim, seed=settings.seed, count=count)
            states = [x, *(state.x for state, _ in trajectory(plan.sampler, noise, x, plan.levels, plan.correction))]
            strips.append(torch.stack([_mean(noise, y, level) for y, level in zip(states, plan.levels, strict=True)]))
            errors.append(rms((states[-1] - exact).flatten(1)))
            log_snrs.append([2 * level.half_log_snr for level in plan.levels])
        end = _mean(noise, exact, plan.levels[-1])
        chosen = int((errors[1] - errors[0]).abs().argmax())
    return {
        "strips": np.stack([_bytes(strip[:, chosen]) for strip in strips]),
        "flow": _bytes(end[chosen][None])[0],
        "errors": np.array([float(e[chosen]) for e in errors]),
        "log SNR": np.array(log_snrs),
        "rows": np.array(list(_ROWS)),
        "target": np.array(target),
        "dim": np.array(made.dim),
        "n": np.array(count),
        "steps": np.array(_REFERENCE_STEPS),
    }


def _mean(noise: NoiseModel, x: torch.Tensor, level: Level) -> torch.Tensor:
    """Return the picture that is expected of a sample at a level, without the noise ``tau`` of the smoothed data."""
    variance = level.sigma**2 + (level.alpha * TAU) ** 2
    return (x - variance / level.sigma * noise(x, level)) / level.alpha


def _bytes(x: torch.Tensor) -> np.ndarray:
    return np.asarray(pixels(x).movedim(-3, -1).numpy())


def draw(data: Data) -> Figure:
    """Draw a strip for each sampler, time running to the right, and the flow's picture behind its end."""
    rows, frames = data["strips"].shape[:2]
    side = 6.3 / (frames + 1)
    figure, axes = panels(rows, 1, height=rows * (side + 0.32))
    for axis, name, strip, error, snr in zip(
        axes[:, 0], data["rows"], data["strips"], data["errors"], data["log SNR"], strict=True
    ):
        height, width, channels = strip.shape[1:]
        gap = np.full((height, width // 2, channels), 255, np.uint8)
        image = np.concatenate([*strip, gap, data["flow"]], axis=1)
        axis.imshow(image if channels == 3 else np.repeat(image, 3, -1), interpolation="nearest")
        places = [*((np.arange(frames) + 0.5) * width), (frames + 1) * width]
        axis.set_xticks(places, [*(f"{value:.1f}" for value in snr), "flow"])
        axis.tick_params(length=0, pad=1)
        axis.set_yticks(())
        axis.spines[:].set_visible(False)
        axis.set_title(f"{name}: {error:.3f} from the flow's end", fontsize=NOTE + 1, pad=2)
    axes[-1, 0].set_xlabel("log-SNR of the level")
    return figure


def facts(data: Data) -> Mapping[str, str]:
    """Return what the texts say in numbers."""
    found = [f"{name} {error:.3f}" for name, error in zip(data["rows"], data["errors"], strict=True)]
    return {
        "target": str(data["target"]),
        "d": f"{int(data['dim'])}",
        "evaluations": f"{data['strips'].shape[1] - 1}",
        "errors": ", ".join(found),
        "n": f"{int(data['n'])}",
        "steps": f"{int(data['steps'])}",
        "tau": f"{TAU:g}",
    }


FIGURE = PaperFigure(
    name="film_strip",
    title="the denoised picture before each step, for DDIM, LML and the tuned setting",
    compute=compute,
    draw=draw,
    facts=facts,
    caption="""The denoised picture before each of {evaluations} steps and at the end, from one noise ({target}, d =
    {d}, exact score): the mean of the data given the sample. Behind the gap: where the exact flow ends. At first it
    is the mean of all pictures; the middle steps decide which it becomes. Distance of the end from the flow's:
    {errors}. Of {n} noises: where LML changes the distance most.""",
    methods="""The mean leaves out the noise of {tau} with which the data are smoothed. The flow is of {steps} steps
    of third order. Levels are those of each sampler; tuned levels are learned on other targets. Distances are root
    mean squares over pixels, which run from minus one to one. One noise, chosen by the change, says nothing of a
    mean: see figure quality.""",
    small={"target": "digits", "evaluations": 5, "count": 5},
)
