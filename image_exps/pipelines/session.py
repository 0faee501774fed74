"""A loaded model, ready to draw: from a request for pictures to the pictures of some indices, and what decides them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from image_exps.pipelines.devices import check_device
from image_exps.pipelines.loading import load_pipeline
from image_exps.pipelines.models import Model
from image_exps.pipelines.rendering import Renderer
from image_exps.samplers.pipeline_sampler import PipelineSampler
from image_exps.samplers.schedulers import make_scheduler
from lml.arguments import check_integer, check_number
from toy.picture_files import read_picture

__all__ = ["Request", "Session", "open_session"]

_LIBRARIES = ("lml-toolkit", "torch", "diffusers", "transformers", "numpy")
_PIXELS = ("DDPMPipeline", "DDIMPipeline")


@dataclass(frozen=True)
class Request:
    """What is asked for.

    Args:
        model: which.
        sampler: with its budget and options.
        count: how many pictures.
        seed: of picture 0; picture i has seed ``seed + i``.
        prompts: picture i has prompt ``i % len(prompts)``; none for an unconditional model.
        guidance: scale of classifier-free guidance; ``None`` is the model's default.
        negative_prompt: for pipelines that take one.
        size: height and width in pixels; ``None`` is the model's own.
        batch: pictures at a time.
        dtype: of the network.
        device: as torch names it.
        threads: of torch on a CPU, which round sums in their own order; ``None`` leaves them as they are.
        model_dir, controlnet_dir: local folders.
        hub: whether weights may be fetched.
        revision: commit, branch or tag there.
        controls: files of the pictures for a ControlNet; picture i has ``i % len(controls)``.

    Raises:
        ValueError: for a number out of range.
    """

    model: Model
    sampler: PipelineSampler
    count: int = 1
    seed: int = 0
    prompts: tuple[str, ...] = ()
    guidance: float | None = None
    negative_prompt: str | None = None
    size: int | None = None
    batch: int = 1
    dtype: str = "float32"
    device: str = "cpu"
    threads: int | None = None
    model_dir: Path | None = None
    controlnet_dir: Path | None = None
    hub: bool = False
    revision: str | None = None
    controls: tuple[Path, ...] = ()

    def __post_init__(self) -> None:
        for name, least in (("count", 1), ("seed", 0), ("batch", 1)):
            value = getattr(self, name)
            check_integer(value, name, least=least)
        for prompt in (*self.prompts, self.negative_prompt or ""):
            if any("\ud800" <= character <= "\udfff" for character in prompt):
                raise ValueError(f"prompts must be Unicode text, got half of a character in {prompt!r}")
        if self.threads is not None:
            check_integer(self.threads, "threads")
        if self.size is not None and (self.size < 8 or self.size % 8):
            raise ValueError(f"size must be a positive multiple of 8, got {self.size}")
        if self.guidance is not None:
            check_number(self.guidance, "guidance", least=0, below=1000)
        if self.guidance is not None and self.model.guidance is None:
            raise ValueError(f"guidance: {self.model.name} takes no prompts, got {self.guidance}")
        if self.model.controlnet is not None and not self.controls:
            raise ValueError(
                f"controls: {self.model.name} needs a picture of edges, depth or pose, got none (--control)"
            )
        if self.model.controlnet is None and self.controls:
            raise ValueError(f"controls: {self.model.name} takes none, got {self.controls[0]}")

    def prompt(self, index: int) -> str | None:
        """Return the prompt of a picture, ``None`` for an unconditional model."""
        return self.prompts[index % len(self.prompts)] if self.prompts else None


@dataclass(frozen=True)
class Session:
    """A loaded model, ready to draw.

    Attributes:
        request: what it was loaded for.
        pipe: with the scheduler of the last `renderer`.
        own: the scheduler that the model came with.
        controls: pictures for a ControlNet.
        weights: digest of the weights.
        revision: commits of what came from the hub; empty for local folders.
        classes: of a class-conditional network, in their order.
    """

    request: Request
    pipe: Any
    own: Any
    controls: tuple[Image.Image, ...] = ()
    weights: str = ""
    classes: tuple[str, ...] = ()
    revision: str = ""

    def renderer(self, sampler: PipelineSampler) -> Renderer:
        """Put a sampler into the pipeline and return what draws with it.

        Raises:
            ValueError: for a sampler that this model cannot use.
        """
        asked = self.request
        kind = asked.model.pipeline
        self.pipe.scheduler = make_scheduler(sampler, self.own, latent=kind not in _PIXELS, pipeline=kind)
        guidance = asked.model.guidance if asked.guidance is None else asked.guidance
        return Renderer(
            self.pipe, kind, sampler.steps, guidance, asked.size, asked.negative_prompt, classes=self.classes
        )

    def draw(self, renderer: Renderer, indices: Sequence[int]) -> np.ndarray[Any, Any]:
        """Return the pictures of these indices, float32 in [0, 1], shape (B, height, width, channels)."""
        asked = self.request
        prompts = [prompt for i in indices if (prompt := asked.prompt(i)) is not None]
        controls = [self.controls[i % len(self.controls)] for i in indices] if self.controls else []
        return renderer.render([asked.seed + i for i in indices], prompts, controls)

    def settings(self, sampler: PipelineSampler) -> dict[str, Any]:
        """Return everything that decides the pictures, as plain JSON: names and digests, no paths."""
        asked = self.request
        plain = ("count", "seed", "batch", "negative_prompt", "size", "dtype")
        return {
            **{name: getattr(asked, name) for name in plain},
            "guidance": asked.model.guidance if asked.guidance is None else asked.guidance,
            "device": torch.device(asked.device).type,
            "threads": torch.get_num_threads() if torch.device(asked.device).type == "cpu" else None,
            "model": {
                "name": asked.model.name,
                "pipeline": asked.model.pipeline,
                "weights": self.weights,
                **({"revision": self.revision} if self.revision else {}),
            },
            "sampler": {
                "name": sampler.name,
                "evaluations": sampler.evaluations,
                "options": dict(sampler.options),
                "spacing": sampler.spacing,
            },
            "scheduler": _plain(self.pipe.scheduler),
            "prompts": {"number": len(asked.prompts), "sha256": _digest(json.dumps(asked.prompts).encode())},
            "controls": [_digest(control.tobytes()) for control in self.controls],
            "versions": _versions(),
        }


def open_session(request: Request) -> Session:
    """Load the model of a request.

    Raises:
        ValueError: if it cannot be loaded, or a picture for a ControlNet cannot be read.
    """
    check_device(request.device)
    if request.threads is not None:
        torch.set_num_threads(request.threads)
    # TF32 keeps ten bits of a float32 number; and the fastest algorithm of one run is not that of the next.
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.benchmark = False
    torch.backends.cudnn.deterministic = True
    controls = tuple(read_picture(path) for path in request.controls)
    pipe, revision = load_pipeline(
        request.model,
        request.model_dir,
        controlnet_dir=request.controlnet_dir,
        hub=request.hub,
        revision=request.revision,
        dtype=request.dtype,
        device=request.device,
    )
    return Session(request, pipe, pipe.scheduler, controls, _weights_digest(pipe), _classes(request.model), revision)


def _classes(known: Model) -> tuple[str, ...]:
    if not known.shipped:
        return ()
    from image_exps.networks import class_names

    return class_names(known.name)


def _weights_digest(pipe: Any) -> str:
    """Return a digest of the name, shape and first 64 numbers of every tensor: it tells models apart, and is quick."""
    hasher = hashlib.sha256()
    for name, part in sorted(pipe.components.items()):
        if isinstance(part, torch.nn.Module):
            for key, tensor in sorted(part.state_dict().items()):
                ends = tensor.flatten()[:64].cpu().double().numpy().tobytes()  # mps has no float64
                hasher.update(f"{name}.{key}{tuple(tensor.shape)}".encode() + ends)
    return hasher.hexdigest()


def _plain(scheduler: Any) -> dict[str, Any]:
    config = {key: value for key, value in scheduler.config.items() if not key.startswith("_")}
    return {"class": type(scheduler).__name__, **json.loads(json.dumps(config, default=str))}


def _digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


def _versions() -> dict[str, str]:
    found = {}
    for name in _LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "not installed"
    return {**found, "torch": torch.__version__}  # its metadata may not say for which device it was built
