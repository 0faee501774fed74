r"""DDIM on the learned levels, with the learned profile: the setting of `lml.tuned` in a pipeline.

With ``lambda = log(alpha/sigma)`` the levels lie at ``lambda_i = lambda_0 + f_i (lambda_n - lambda_0)``, with ``f`` the
learned fractions and ``lambda_0``, ``lambda_n`` the ends of the model's own table. Each goes to the nearest of the
training timesteps: the network is asked at times that it has learned, and pipelines find integers. The sample that
comes out is as near to the end of the flow as from the levels themselves, between two timesteps: their distances to it
differ by 6 % at most, in either direction (exact scores of four targets; both networks that ship, also with guidance).

The setting is not recommended: what was found of it holds on the targets that it was judged on, and not elsewhere. On a
pretrained network of its own range of noise, which was not trained here, plain UniPC beat it by a factor of seven in 5
evaluations.

A step is the one of `diffusers.DDIMScheduler` whose table holds the chosen levels alone (respacing: Nichol & Dhariwal
2021, Sec. 4), handed the output in which the noise is the profile's ``u_i`` (`lml.profile`).
"""

# mypy: disallow-subclassing-any=False
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from diffusers import DDIMScheduler
from torch import Tensor

from lml.arguments import check_choice
from lml.correction import Correction, Memory, NoCorrection
from lml.schedulers.coefficients import Evaluation, table
from lml.schedulers.families import check_betas
from lml.schedulers.generations import Generations
from lml.schedulers.mechanism import LMLSchedulerMixin, constructor, refusing_unknown
from lml.tuned import TUNED_EVALUATIONS, tuned_fractions, tuned_profile

__all__ = ["LEARNED_RANGE", "ROOM", "LMLTunedDDIMScheduler"]

#: Where ``log(alpha/sigma)`` began and ended when the setting was learned.
LEARNED_RANGE = (-5.025, 4.558)
#: How far either end may be from there. With one or both ends this far off, either way, the error stays below the best
#: baseline's wherever it is below it at the learned range: on four exact targets in 5, 6, 8 and 10 evaluations, but for
#: ring-2d in 5 (1.3 times there at most, 1.2 at the learned range). At 0.5 it does not (up to 1.7 times), at 1 it is up
#: to 2.1 times. Linear betas are 0.05 away. ``python -m image_exps.search.ranges --room`` measures it.
ROOM = 0.25

# What of a config decides its levels, and what the network is asked for.
_LEVELS = (
    "num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type",
    "rescale_betas_zero_snr",
)  # fmt: skip

_INSTEAD = (
    "use LMLDPMSolverMultistepScheduler with algorithm_type='dpmsolver', solver_order=3 and "
    "final_sigmas_type='sigma_min'"
)


class LMLTunedDDIMScheduler(LMLSchedulerMixin, DDIMScheduler):
    r"""DDIM in 5, 6, 8 or 10 evaluations, on learned levels, with learned weights of all past noises (`lml.tuned`).

    Measure before you use it: it can be far behind plain UniPC on a network that it was not judged on, also within its
    range of noise.

    ``pipe.scheduler = LMLTunedDDIMScheduler.from_config(pipe.scheduler.config, clip_sample=False)``. It has the options
    of `diffusers.DDIMScheduler`, but ``timestep_spacing`` and ``steps_offset`` mean nothing to it. Clipping acts on the
    turned output, and the setting was learned without it: on the network for Fashion-MNIST, in 5, 8 and 10 evaluations,
    it ends 0.088, 0.032 and 0.021 from the flow, and with ``clip_sample=True``, which configs of pixel models ask for,
    0.088, 0.045 and 0.033. Nor was it learned with guidance: at a scale of 4 on the emoji network (16 pictures) UniPC-2
    on equal steps of time ended nearer in 5 evaluations, 0.140 to 0.160.

    **Where it ends.** With ``set_alpha_to_one=False`` at the level of timestep 0, as the pure sampler does: the sample
    ``x`` that is compared with the end of the flow, with noise of standard deviation 0.01 left in it. With ``True``,
    the default of diffusers, at the picture ``(x - sigma u)/alpha`` that the last turned noise ``u`` makes of that very
    ``x``: the same trajectory, and no further evaluation.

    **In the middle.** A generation that begins at step b (image-to-image) takes the noise of step b for those that it
    does not have: ``e_j = e_b`` for ``j < b``. Step b is DDIM's then. Of 28 such beginnings on exact scores it ended
    nearer to the flow than UniPC-2 and DPM-Solver-3 on equal steps of log-SNR in all, and nearer than without those
    terms in 25.

    Args:
        profile: ``False`` leaves the noise as it is: DDIM on the learned levels, bit for bit.

    Raises:
        ValueError: at construction, for a table whose ``log(alpha/sigma)`` does not run from -5.03 to 4.56, either end
            to 0.25: the setting is of that range. On the exact scores of four targets with the betas of Stable
            Diffusion (-2.68 to 3.53) its error was 0.36 to 1.9 times the best baseline's, above one in 5 of 16 cases;
            with those of latent diffusion (-4.43 to 3.25) 0.31 to 1.6 times, with cosine betas up to 4.9 times
            (``python -m image_exps.search.ranges``). From ``set_timesteps``, for a number of steps that nothing was
            learned for. From ``step``, for a timestep that is not on the schedule, and for ``eta > 0`` with the
            profile, which was learned for a deterministic path.
    """

    # Where a saved pipeline looks for it, and where it finds the SchedulerMixin that diffusers asks for.
    __module__ = "lml.schedulers"

    config: Any
    alphas_cumprod: Tensor
    final_alpha_cumprod: Tensor

    _base = DDIMScheduler
    _noise = staticmethod(table)  # type: ignore[assignment]
    _respaced: Any = None
    _lml_past = Generations()

    __init__ = constructor(DDIMScheduler, {"profile": True})

    @classmethod
    def from_config(cls, config: Any = None, return_unused_kwargs: bool = False, **kwargs: Any) -> Any:
        """Return a scheduler of a config, as diffusers does; ``kwargs`` go before it.

        Raises:
            ValueError: for a config that does not state the betas of a diffusion model, or has other levels than they
                say, beside what the constructor refuses.
        """
        if isinstance(config, Mapping):
            check_betas(cls.__name__, {**config, **kwargs})
            # diffusers takes a value that is the default of the class it comes from for no value.
            kwargs = {**{name: config[name] for name in _LEVELS if name in config}, **kwargs}
        return super().from_config(config, return_unused_kwargs, **kwargs)

    def _check(self, options: Mapping[str, Any]) -> None:
        if not isinstance(options["profile"], bool):
            raise ValueError(f"profile must be True or False, got {options['profile']!r}")
        kinds = ("epsilon", "sample", "v_prediction")
        check_choice(self.config.prediction_type, "prediction_type", kinds)
        found = self._half_log_snr()
        ends = [float(found[-1]), float(found[0])]
        if not all(abs(end - learned) <= ROOM for end, learned in zip(ends, LEARNED_RANGE, strict=True)):
            raise ValueError(
                f"log(alpha/sigma) must run from {LEARNED_RANGE[0]:.2f} to {LEARNED_RANGE[1]:.2f} over the training "
                f"timesteps, either end to {ROOM}, as linear betas of 1e-4 to 0.02 in 1000 steps make it; got "
                f"{ends[0]:.2f} to {ends[1]:.2f} (beta_schedule={self.config.beta_schedule!r}). Elsewhere {_INSTEAD}"
            )

    def _half_log_snr(self) -> Tensor:
        """Return ``log(alpha/sigma)`` of the training timesteps, falling, float64, shape (T,)."""
        # On the host: `add_noise` moves the table to the device of pictures, which may have no float64.
        squared: Tensor = self.alphas_cumprod.cpu().double()
        return 0.5 * (squared.log() - torch.log1p(-squared))

    @refusing_unknown
    def set_timesteps(self, num_inference_steps: int, device: str | torch.device | None = None) -> None:
        """Set the learned levels.

        Args:
            num_inference_steps: one of `lml.tuned.TUNED_EVALUATIONS`.
            device: of ``timesteps``.

        Raises:
            ValueError: for another number, or where two levels would share a training timestep.
        """
        if isinstance(num_inference_steps, bool) or num_inference_steps not in TUNED_EVALUATIONS:
            numbers = ", ".join(map(str, TUNED_EVALUATIONS))
            raise ValueError(
                f"num_inference_steps must be one of {numbers}, for which the setting was learned, got "
                f"{num_inference_steps!r}; for others {_INSTEAD}"
            )
        steps = int(num_inference_steps)
        known = self._half_log_snr()
        wanted = known[-1] + (known[0] - known[-1]) * known.new_tensor(tuned_fractions(steps))
        nearest = (known - wanted[:, None]).abs().argmin(1)
        if not bool((nearest.diff() < 0).all()):
            raise ValueError(f"num_train_timesteps must be enough for {steps + 1} levels apart, got {len(known)}")
        self.num_inference_steps = steps
        self.timesteps = nearest[:-1].to(device)
        self._lml_schedule = tuple(nearest[:-1].tolist())
        self._respaced = self._on_levels(nearest[:-1].flip(0))
        self._begin()

    def _on_levels(self, rising: Tensor) -> Any:
        """Return DDIM whose table holds these training timesteps alone, shape (steps,), as timesteps 0, 1, ..."""
        names = (
            "prediction_type", "clip_sample", "clip_sample_range", "thresholding", "dynamic_thresholding_ratio",
            "sample_max_value",
        )  # fmt: skip
        stock: Any = DDIMScheduler
        respaced = stock(len(rising), **{name: self.config[name] for name in names})
        respaced.alphas_cumprod = self.alphas_cumprod[rising]
        respaced.final_alpha_cumprod = self.final_alpha_cumprod
        respaced.num_inference_steps = len(rising)
        return respaced

    @refusing_unknown
    def step(
        self,
        model_output: Tensor,
        timestep: int,
        sample: Tensor,
        eta: float = 0.0,
        use_clipped_model_output: bool = False,
        generator: torch.Generator | None = None,
        variance_noise: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Turn the noise in ``model_output``, and take the step of DDIM to the next level.

        Arguments and result are those of `diffusers.DDIMScheduler.step`.

        Raises:
            ValueError: before ``set_timesteps``; for a timestep that is not on the schedule; for ``eta > 0`` with the
                profile.
        """
        if self._lml_schedule is None:
            raise ValueError("timesteps must be set before a step, got none: call set_timesteps first")
        timestep = self._on_schedule(timestep)
        if eta and self.config.profile:
            raise ValueError(
                f"eta must be 0: the profile was learned for a deterministic path, got {eta}; use LMLDDIMScheduler"
            )
        place = self._lml_schedule.index(timestep)
        call = {"model_output": model_output, "sample": sample, "timestep": timestep}
        correction = self._correction()
        past, memory = self._past(call), Memory()
        if correction.depth:
            model_output, memory = self._turned(call, Evaluation(timestep, place), correction, past.memory)
        result = self._respaced.step(
            model_output,
            len(self._lml_schedule) - 1 - place,
            sample,
            eta,
            use_clipped_model_output,
            generator,
            variance_noise,
            return_dict,
        )
        if correction.depth:
            self._keep(past, call, result[0], memory)
        return result

    def _on_schedule(self, timestep: Any) -> int:
        schedule = self._lml_schedule or ()
        try:
            found = int(timestep)
        except (TypeError, ValueError, RuntimeError):
            found = None
        if found not in schedule:
            raise ValueError(f"timestep must be one of {', '.join(map(str, schedule))}, got {timestep}")
        return found

    def _correction(self) -> Correction:
        return tuned_profile(self.num_inference_steps) if self.config.profile else NoCorrection()

    def _fitting(self, memory: Memory, noise: Tensor, at: Evaluation) -> Memory:
        """Return a memory of every step before this one: where a generation begins here, of this noise alone."""
        memory = super()._fitting(memory, noise, at)
        return memory if len(memory.history) == at.place else Memory((noise,) * at.place)
