"""A pipeline of one's own: the model that a folder of diffusers holds, named by its path alone."""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any

from image_exps.pipelines.component_files import read_object
from image_exps.pipelines.models import UNCONDITIONAL, Model, find_models

__all__ = ["INDEX", "find_model", "flow_matching", "model_of_folder"]

#: The file that makes a folder a pipeline.
INDEX = "model_index.json"

# What a pipeline must take to be driven from here; one that needs a picture beside the prompt does not fit.
_NEEDED = ("prompt", "num_inference_steps", "latents", "generator", "output_type")
_UNKNOWN = ("image", "video", "num_frames", "audio_length_in_s")


def find_model(name: str | Path) -> Model:
    """Return the model of a name, or of the folder of a pipeline.

    Args:
        name: of `image_exps.pipelines.models.find_models`, or a folder that ``save_pretrained`` wrote.

    Raises:
        ValueError: for what is neither, saying what is missing, or a pipeline of a kind that cannot be driven.
    """
    known = find_models()
    if str(name) in known:  # a folder of the same name is given as ./name
        return known[str(name)]
    folder = Path(name)
    if not folder.is_dir():
        raise ValueError(
            f"model must be one of {', '.join(known)}, or the folder of a diffusers pipeline, got {str(name)!r}"
            + (", a file" if folder.exists() else "")
        )
    return model_of_folder(folder)


def model_of_folder(folder: Path) -> Model:
    """Return the model that the folder of a pipeline holds; only its JSON files are read.

    Raises:
        ValueError: if it is no folder of a pipeline, or of a kind that cannot be driven.
    """
    if not (folder / INDEX).is_file():
        raise ValueError(f"{folder} is no folder of a diffusers pipeline: it has no {INDEX}")
    kind = read_object(folder / INDEX).get("_class_name")
    parameters = _parameters(folder, kind)
    guidance = None
    if kind not in UNCONDITIONAL:
        lacking = [name for name in _NEEDED if name not in parameters]
        other = [name for name in _UNKNOWN if name in parameters]
        if lacking or other:
            raise ValueError(
                f"{folder} holds a {kind}, which "
                + (f"takes {other[0]} beside the prompt" if other else f"takes no {lacking[0]}")
                + f": a pipeline must be one of {', '.join(UNCONDITIONAL)}, or from a prompt to a picture"
            )
        if "guidance_scale" in parameters:
            guidance = float(parameters["guidance_scale"].default)
    return Model(
        name=folder.resolve().name,
        pipeline=str(kind),
        resolution=0,
        licence="that of its publisher",
        guidance=guidance,
        guidance_source="default of its diffusers pipeline",
        flow=flow_matching(read_object(folder / "scheduler" / "scheduler_config.json")),
        folder=folder,
    )


def flow_matching(config: dict[str, Any]) -> bool:
    """Return whether the configuration of a scheduler is one of flow matching."""
    return (
        "FlowMatch" in str(config.get("_class_name"))
        or config.get("prediction_type") == "flow_prediction"
        or bool(config.get("use_flow_sigmas"))
    )


def _parameters(folder: Path, kind: object) -> Any:
    import diffusers

    cls = getattr(diffusers, kind, None) if isinstance(kind, str) and kind.isidentifier() else None
    if not isinstance(cls, type) or not issubclass(cls, diffusers.DiffusionPipeline):
        raise ValueError(f"{folder / INDEX} names {kind!r}, which is no pipeline of diffusers {diffusers.__version__}")
    return inspect.signature(cls.__call__).parameters
