r"""An exact target as a diffusers model: pipelines sample real pictures with no trained network.

``DDPMPipeline(unet=ExactDenoiser(data="emoji"), scheduler=DDIMScheduler())`` draws from the mixture over the embedded
pictures. What the model returns is the conditional expectation that a perfect network would have learned::

    epsilon  E[z|x]        sample  E[y|x]        v_prediction  alpha E[z|x] - sigma E[y|x]
    flow_prediction  E[z|x] - E[y|x]

This module needs diffusers; nothing else in `toy` does.
"""

# mypy: disallow-subclassing-any=False, disallow-untyped-decorators=False, disallow-untyped-calls=False
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

try:
    from diffusers.configuration_utils import ConfigMixin, register_to_config
    from diffusers.models.modeling_utils import ModelMixin
    from diffusers.models.unets.unet_2d import UNet2DOutput
except ImportError as error:
    raise ImportError("toy.denoiser needs diffusers: pip install 'lml-toolkit[diffusers]'") from error

from lml.arguments import check_choice
from toy.data_mixture import DataMixture
from toy.datasets import dataset
from toy.exact_target import ExactTarget
from toy.schedule import FlowMatching, noise_schedule

__all__ = ["PREDICTION_TYPES", "ExactDenoiser", "ModelMixin", "scheduler_config"]

#: What the model can return, in the names of diffusers.
PREDICTION_TYPES: tuple[str, ...] = ("epsilon", "sample", "v_prediction", "flow_prediction")


class ExactDenoiser(ModelMixin, ConfigMixin):  # type: ignore[misc]
    r"""The exact denoiser of a target, in the place of a ``UNet2DModel``.

    A timestep ``t`` is a place in the discrete table of the schedule. Between two places ``sigma/alpha`` is
    interpolated, as the schedulers do that use fractional timesteps; for flow matching ``sigma = t/steps``.

    Args:
        data: name of embedded data, in the config, so that the model can be saved and loaded.
        tau: the standard deviation of each picture's component of the mixture.
        schedule: name of the noise schedule, one of `toy.schedule.SCHEDULES`.
        steps: number of training timesteps.
        prediction_type: one of `PREDICTION_TYPES`.
        in_channels, sample_size: the shape of a picture; taken from the data where it has one.
        target: any exact target instead of ``data``. It is no part of the config: such a model cannot be loaded.

    Raises:
        ValueError: for a name that is not known, for both or neither of ``data`` and ``target``, for a target of
            another size than ``in_channels * sample_size**2``.
    """

    ignore_for_config = ["target"]  # noqa: RUF012

    @register_to_config
    def __init__(
        self,
        data: str | None = None,
        tau: float = 0.0,
        schedule: str = "vp-linear",
        steps: int = 1000,
        prediction_type: str = "epsilon",
        in_channels: int | None = None,
        sample_size: int | tuple[int, int] | None = None,
        target: ExactTarget | None = None,
    ) -> None:
        super().__init__()
        if (data is None) == (target is None):
            raise ValueError(f"data or target must be given, and not both, got {data!r} and {type(target).__name__}")
        check_choice(prediction_type, "prediction_type", PREDICTION_TYPES)
        self._schedule = noise_schedule(schedule)
        table = self._schedule.discrete(steps)
        self._ratio = table.sigma / table.alpha
        self._variance_preserving = bool(torch.allclose(table.alpha**2 + table.sigma**2, torch.ones_like(table.alpha)))
        if target is None:
            assert data is not None
            target = DataMixture(dataset(data).images, tau)
        self._target = target
        found: tuple[int, ...] = getattr(target, "shape", ())
        if in_channels is None or sample_size is None:
            if len(found) != 3:
                raise ValueError(f"in_channels and sample_size must be given for a target of shape {tuple(found)}")
            in_channels, sample_size = found[0], found[1] if found[1] == found[2] else (found[1], found[2])
        height, width = (sample_size, sample_size) if isinstance(sample_size, int) else sample_size
        self._shape = (in_channels, height, width)
        if in_channels * height * width != target.dim:
            raise ValueError(f"sample_size must make pictures of {target.dim} numbers, got shape {self._shape}")
        self.register_to_config(in_channels=in_channels, sample_size=sample_size)
        # The dtype and the device of a model are those of its parameters. The target keeps its own dtype.
        self.anchor = nn.Parameter(torch.zeros(()), requires_grad=False)

    def level(self, timestep: float) -> tuple[float, float]:
        """Return ``alpha`` and ``sigma`` at a timestep.

        Raises:
            ValueError: for a timestep outside of the table.
        """
        steps = len(self._ratio)
        flow = isinstance(self._schedule, FlowMatching)
        if not 0 <= timestep <= (steps if flow else steps - 1):
            raise ValueError(f"timestep must lie in [0, {steps if flow else steps - 1}], got {timestep}")
        if flow:
            return 1 - timestep / steps, timestep / steps
        low = min(int(timestep), steps - 2)
        ratio = float(torch.lerp(self._ratio[low], self._ratio[low + 1], timestep - low))
        alpha = (1 + ratio**2) ** -0.5 if self._variance_preserving else 1.0
        return alpha, alpha * ratio

    @torch.no_grad()
    def predict(self, x: Tensor, timestep: float) -> Tensor:
        """Return the prediction at one noise level, shape (B, channels, height, width), in the target's dtype."""
        alpha, sigma = self.level(timestep)
        at = self._target.diffuse(alpha, sigma)
        flat = x.flatten(1).to(at.dtype)
        kind = self.config["prediction_type"]
        noise = at.noise(flat) if kind != "sample" else flat
        mean = at.posterior_mean(flat) if kind != "epsilon" else flat
        prediction = {
            "epsilon": lambda: noise,
            "sample": lambda: mean,
            "v_prediction": lambda: alpha * noise - sigma * mean,
            "flow_prediction": lambda: noise - mean,
        }[kind]()
        return prediction.view(x.shape)

    def forward(
        self,
        sample: Tensor,
        timestep: Tensor | float,
        class_labels: Tensor | None = None,
        return_dict: bool = True,
    ) -> Any:
        """Return the prediction for pictures (B, channels, height, width) at a timestep, or at one for each.

        Raises:
            ValueError: for pictures of another shape, for class labels, for a timestep outside of the table.
        """
        if class_labels is not None:
            raise ValueError("class_labels must be None: the target has no classes")
        if sample.ndim != 4 or tuple(sample.shape[1:]) != self._shape:
            raise ValueError(
                f"sample must have shape (B, {', '.join(map(str, self._shape))}), got {tuple(sample.shape)}"
            )
        if self._target.device != sample.device:
            self._target = self._target.to(device=sample.device)
        times = torch.as_tensor(timestep, dtype=torch.float64).flatten().tolist()
        if len(set(times)) == 1:
            out = self.predict(sample, times[0])
        else:
            if len(times) != len(sample):
                raise ValueError(f"timestep must be one number or {len(sample)}, got {len(times)}")
            out = torch.cat([self.predict(x[None], t) for x, t in zip(sample, times, strict=True)])
        out = out.to(sample.dtype)
        return UNet2DOutput(sample=out) if return_dict else (out,)


def scheduler_config(schedule: str, steps: int = 1000, prediction_type: str = "epsilon") -> Mapping[str, Any]:
    """Return the arguments with which a diffusers scheduler has the discrete table of a schedule.

    Raises:
        ValueError: for a schedule that the tables of diffusers do not know.
    """
    betas: dict[str, dict[str, Any]] = {
        "vp-linear": {"beta_schedule": "linear", "beta_start": 1e-4, "beta_end": 0.02},
        "vp-scaled-linear": {"beta_schedule": "scaled_linear", "beta_start": 0.00085, "beta_end": 0.012},
        "cosine": {"beta_schedule": "squaredcos_cap_v2"},
    }
    check_choice(schedule, "schedule", betas)
    return {"num_train_timesteps": steps, "prediction_type": prediction_type, **betas[schedule]}
