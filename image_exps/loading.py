"""A model from a local folder: safetensors only, no pickle, no code from the folder, no network unless asked.

Everything that can be refused is refused from the folder's file names and JSON files, before a weight is read.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from image_exps.models import Model

__all__ = ["DTYPES", "folder_of", "inspect_folder", "load_pipeline"]

#: What the network may compute in.
DTYPES: tuple[str, ...] = ("float32", "float16", "bfloat16")

_PICKLES = frozenset({".bin", ".ckpt", ".pkl", ".pickle", ".pt", ".pth"})
# Where the classes of a component may come from: installed packages, none of which is the folder itself.
_LIBRARIES = frozenset({"diffusers", "transformers", "lml.schedulers"})
# Pictures are judged as the network makes them, and as the paper's code makes them: not replaced by black ones.
_WITHOUT = ("safety_checker", "feature_extractor", "image_encoder")


def folder_of(known: Model, model_dir: Path | None, *, hub: bool) -> Path | str:
    """Return where a model is loaded from: a folder, or its id on the hub.

    Raises:
        ValueError: if it is nowhere to be had, saying what to fetch and where to put it.
    """
    if model_dir is not None:
        if not model_dir.is_dir():
            raise ValueError(f"{model_dir} is {'a file' if model_dir.exists() else 'not there'}. {_advice(known)}")
        return model_dir
    if known.shipped:
        from image_exps.networks import network_folder

        return network_folder(known.name)
    if hub and known.hub is not None:
        return known.hub
    raise ValueError(f"{known.name} does not come with this package. {_advice(known)}")


def _advice(known: Model) -> str:
    if known.shipped:
        return f"{known.name} is shipped: leave --model-dir out."
    if known.hub is None:
        steps = f"Fetch it ({known.licence}) and give its folder with --model-dir: {known.fetch}."
    else:
        note = f" ({known.fetch})" if known.fetch else ""
        steps = (
            f"Fetch it ({known.licence}){note} and give its folder: "
            f"hf download {known.hub} --local-dir models/{known.name}, then --model-dir models/{known.name}; "
            "or let this command fetch it: --hub."
        )
    if known.controlnet is not None:
        where = f"models/{known.controlnet.split('/')[-1]}"
        steps += (
            f" Its ControlNet beside it: hf download {known.controlnet} --local-dir {where}, then "
            f"--controlnet-dir {where}."
        )
    return steps


def inspect_folder(folder: Path, known: Model) -> str:
    """Return the class of pipeline that a folder holds, if it is safe to load and is what it should be.

    Raises:
        ValueError: if it is not a diffusers folder of this model, brings code, or has weights only as pickles.
    """
    index = _json(folder / "model_index.json", f"{folder} is no diffusers folder: model_index.json is missing")
    pipeline = index.get("_class_name")
    wanted = {known.pipeline}
    if known.controlnet is not None:
        wanted.add("StableDiffusionPipeline")  # the ControlNet comes from a folder of its own
    if pipeline not in wanted:
        raise ValueError(f"{folder} holds {pipeline!r}, but {known.name} is {known.pipeline}")
    code = sorted(str(path.relative_to(folder)) for path in folder.rglob("*.py"))
    if code:
        raise ValueError(f"{folder} brings code ({', '.join(code[:3])}), which is never run: remove it to go on")
    for name, source in index.items():
        if name.startswith("_") or not isinstance(source, list) or source[0] is None or name in _WITHOUT:
            continue
        if source[0] not in _LIBRARIES:
            raise ValueError(f"{folder} takes {name} from {source[0]!r}: only {', '.join(sorted(_LIBRARIES))} may be")
        _inspect_component(folder / name)
    return str(pipeline)


def _inspect_component(folder: Path) -> None:
    if not folder.is_dir():
        raise ValueError(f"{folder} is missing, though model_index.json names it")
    config = folder / "config.json"
    if not config.exists():
        return  # a tokenizer or a scheduler: no weights
    if "auto_map" in _json(config, ""):
        raise ValueError(f"{config} asks for code of its own (auto_map), which is never run")
    names = [path.name for path in folder.iterdir()]
    if not any(name.endswith(".safetensors") for name in names):
        pickles = sorted(name for name in names if Path(name).suffix in _PICKLES)
        found = f"only {', '.join(pickles)}" if pickles else "no weights at all"
        raise ValueError(f"{folder} has {found}: pickles can run code and are refused, weights must be .safetensors")


def _json(path: Path, absent: str) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ValueError(absent) from None
    except (OSError, ValueError) as error:
        raise ValueError(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise ValueError(f"{path} must hold a JSON object, got {type(found).__name__}")
    return found


def _variant(folder: Path) -> str | None:
    """Return ``fp16`` where the weights are there under that name alone."""
    weights = [path.name for path in folder.glob("*/*.safetensors")]
    return "fp16" if weights and all(".fp16." in name for name in weights) else None


def load_pipeline(
    known: Model,
    model_dir: Path | None = None,
    *,
    controlnet_dir: Path | None = None,
    hub: bool = False,
    dtype: str = "float32",
    device: str = "cpu",
) -> Any:
    """Return the pipeline of a model, on a device, with its own scheduler.

    Args:
        known: which model.
        model_dir: local folder in the layout of diffusers; a shipped model needs none.
        controlnet_dir: local folder of its ControlNet, unless the pipeline's folder holds one.
        hub: whether weights may be fetched from the hub.
        dtype: one of `DTYPES`.
        device: as torch names it.

    Raises:
        ValueError: if there is nothing to load or it must not be loaded, in one message.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    source = folder_of(known, model_dir, hub=hub)
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": not hub}
    held = inspect_folder(source, known) if isinstance(source, Path) else known.pipeline
    beside = known.controlnet is not None and (held != known.pipeline or isinstance(source, str))
    if beside and controlnet_dir is not None:
        _inspect_component(controlnet_dir)
    elif beside and not hub:
        raise ValueError(f"{source} holds no ControlNet: give its folder with --controlnet-dir. {_advice(known)}")
    if controlnet_dir is not None and known.controlnet is None:
        raise ValueError(f"controlnet_dir is for the ControlNet models, got it with {known.name}")

    import diffusers
    import torch

    with _quiet():
        options["torch_dtype"] = getattr(torch, dtype)
        if beside:
            weights = controlnet_dir or known.controlnet
            controlnet: Any = diffusers.ControlNetModel
            options["controlnet"] = controlnet.from_pretrained(str(weights), **options)
        if known.pipeline.startswith("StableDiffusion") and "XL" not in known.pipeline and "3" not in known.pipeline:
            options |= {"safety_checker": None, "requires_safety_checker": False}
        if known.pipeline == "StableDiffusionXLPipeline":
            options["add_watermarker"] = False
        if isinstance(source, Path):
            options["variant"] = _variant(source)
        pipe = _class(known).from_pretrained(str(source), **options)
        pipe.set_progress_bar_config(disable=True)
        return pipe.to(device)


def _class(known: Model) -> Any:
    if known.shipped:
        from image_exps.networks import pipeline_class

        return pipeline_class(known.name)
    import diffusers

    return getattr(diffusers, known.pipeline)


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep what the libraries say while loading, which is addressed to their developers, from the user."""
    from diffusers.utils import logging as of_diffusers
    from transformers.utils import logging as of_transformers

    loggers: tuple[Any, ...] = (of_diffusers, of_transformers)
    levels = [logger.get_verbosity() for logger in loggers]
    shown = [logger.is_progress_bar_enabled() for logger in loggers]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        warnings.simplefilter("ignore", FutureWarning)
        for logger in loggers:
            logger.set_verbosity_error()
            logger.disable_progress_bar()
        try:
            yield
        finally:
            for logger, level, bar in zip(loggers, levels, shown, strict=True):
                logger.set_verbosity(level)
                if bar:
                    logger.enable_progress_bar()
