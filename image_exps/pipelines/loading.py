"""A model from a local folder: safetensors only, no pickle, no code from the folder, no network unless asked.

Everything that can be refused is refused from the folder's file names and JSON files, before a weight is read.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from image_exps.pipelines.hub import PICKLES, UNUSED, fetch, in_half_precision
from image_exps.pipelines.models import Model

__all__ = ["DTYPES", "Loaded", "Source", "find_source", "inspect_component", "inspect_folder", "load_pipeline"]

#: What the network may compute in.
DTYPES: tuple[str, ...] = ("float32", "float16", "bfloat16")

# Where the classes of a component may come from: installed packages, none of which is the folder itself.
_LIBRARIES = frozenset({"diffusers", "transformers", "lml.schedulers"})


class Source(NamedTuple):
    """Where a model comes from.

    Attributes:
        folder: of the pipeline.
        controlnet: of the ControlNet, where the pipeline's folder holds none.
        revision: commits of what was fetched from the hub; empty for local folders.
    """

    folder: Path
    controlnet: Path | None = None
    revision: str = ""


class Loaded(NamedTuple):
    """A pipeline on its device, with its own scheduler, and the commits of what of it came from the hub."""

    pipe: Any
    revision: str


def find_source(
    known: Model,
    model_dir: Path | None = None,
    *,
    controlnet_dir: Path | None = None,
    hub: bool = False,
    revision: str | None = None,
) -> Source:
    """Return where a model is loaded from, fetched from the hub if that was asked for, and found safe to load.

    Args:
        known: which model.
        model_dir: local folder in the layout of diffusers; a shipped model needs none.
        controlnet_dir: local folder of its ControlNet, unless the pipeline's folder holds one.
        hub: whether what is not given may be fetched from the hub.
        revision: commit, branch or tag of the pipeline's repository there.

    Raises:
        ValueError: if it is nowhere to be had, saying what to fetch and where to put it, or must not be loaded.
    """
    if revision is not None and (not hub or model_dir is not None or known.hub is None):
        raise ValueError(f"revision belongs to a model that is fetched with --hub, got {revision!r}")
    if controlnet_dir is not None and known.controlnet is None:
        raise ValueError(f"controlnet_dir is for the ControlNet models, got it with {known.name}")
    commits = []
    if model_dir is not None:
        if not model_dir.is_dir():
            raise ValueError(f"{model_dir} is {'a file' if model_dir.exists() else 'not there'}. {_advice(known)}")
        folder = model_dir
    elif known.shipped:
        from image_exps.networks import network_folder

        folder = network_folder(known.name)
    elif hub and known.hub is not None:
        folder, commit = fetch(known.hub, revision)
        commits.append(commit)
    else:
        raise ValueError(f"{known.name} does not come with this package. {_advice(known)}")
    held = inspect_folder(folder, known)
    if known.controlnet is None or held == known.pipeline:
        return Source(folder, None, " ".join(commits))
    if controlnet_dir is None and hub:
        controlnet_dir, commit = fetch(known.controlnet, pipeline=False)
        commits.append(commit)
    if controlnet_dir is None:
        raise ValueError(f"{folder} holds no ControlNet: give its folder with --controlnet-dir. {_advice(known)}")
    inspect_component(controlnet_dir)
    return Source(folder, controlnet_dir, " ".join(commits))


def _advice(known: Model) -> str:
    if known.shipped:
        return f"{known.name} is shipped: leave --model-dir out."
    folder, converted = f"models/{known.name}", ""
    if known.pickled:
        converted = f", convert its weights, which are pickles there: python -m image_exps convert {folder}"
    note = f"licence: {known.licence}" + (f"; {known.fetch}" if known.fetch else "")
    if known.hub is None:
        how = f"Put it into {folder} ({note})"
    elif known.pickled:
        how = f"Fetch it ({note}): hf download {known.hub} --local-dir {folder}"
    else:
        how = (
            f"Let this command fetch what it needs of it: --hub ({note}). Or fetch all: hf download {known.hub} "
            f"--local-dir {folder}"
        )
    steps = f"{how}{converted}, then give --model-dir {folder}."
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
    if not isinstance(pipeline, str) or pipeline not in wanted:
        raise ValueError(f"{folder} holds {pipeline!r}, but {known.name} is {known.pipeline}")
    for name, source in index.items():
        if name.startswith("_") or not isinstance(source, list) or source[:1] == [None] or name in UNUSED:
            continue
        if source[0] not in _LIBRARIES:
            raise ValueError(f"{folder} takes {name} from {source[0]!r}: only {', '.join(sorted(_LIBRARIES))} may be")
        if "/" in name or "\\" in name or name in ("", ".", ".."):
            raise ValueError(f"{folder} names a component {name!r}, which is no name of a folder")
        inspect_component(folder / name)
    return str(pipeline)


def inspect_component(folder: Path) -> None:
    """Refuse the folder of a component that brings code, or whose weights are pickles.

    Raises:
        ValueError: naming the folder and what is wrong with it.
    """
    if not folder.is_dir():
        raise ValueError(f"{folder} is {'a file' if folder.exists() else 'missing'}, not the folder of a component")
    # A script at the top, as some publishers leave one, is named by nothing; here it could be found by a loader.
    code = sorted(path.name for path in folder.glob("*.py"))
    if code:
        raise ValueError(f"{folder} brings code ({', '.join(code[:3])}), which is never run: remove it to go on")
    config = folder / "config.json"
    if not config.exists():
        return  # a tokenizer or a scheduler: no weights
    if "auto_map" in _json(config, ""):
        raise ValueError(f"{config} asks for code of its own (auto_map), which is never run")
    names = [path.name for path in folder.iterdir()]
    if not any(name.endswith(".safetensors") for name in names):
        pickles = sorted(name for name in names if Path(name).suffix in PICKLES)
        if not pickles:
            raise ValueError(f"{folder} has no weights: they must be .safetensors")
        raise ValueError(
            f"{folder} has only {', '.join(pickles)}: pickles can run code and are refused, weights must be "
            f".safetensors. Convert them: python -m image_exps convert {folder.parent}"
        )


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
    return "fp16" if weights and all(map(in_half_precision, weights)) else None


def load_pipeline(
    known: Model,
    model_dir: Path | None = None,
    *,
    controlnet_dir: Path | None = None,
    hub: bool = False,
    revision: str | None = None,
    dtype: str = "float32",
    device: str = "cpu",
) -> Loaded:
    """Return the pipeline of a model, from where `find_source` finds it and found safe to load.

    Args:
        known: which model.
        model_dir: where it is, as for `find_source`.
        controlnet_dir: likewise.
        hub: likewise.
        revision: likewise.
        dtype: one of `DTYPES`.
        device: as torch names it.

    Raises:
        ValueError: if there is nothing to load or it must not be loaded, in one message.
    """
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}, got {dtype!r}")
    source = find_source(known, model_dir, controlnet_dir=controlnet_dir, hub=hub, revision=revision)
    # Whatever had to be fetched is there by now.
    options: dict[str, Any] = {"use_safetensors": True, "local_files_only": True}

    import diffusers
    import torch

    with _quiet():
        options["torch_dtype"] = getattr(torch, dtype)
        if source.controlnet is not None:
            controlnet: Any = diffusers.ControlNetModel
            options["controlnet"] = controlnet.from_pretrained(str(source.controlnet), **options)
        named = _json(source.folder / "model_index.json", "")
        options |= {name: None for name in UNUSED if name in named}
        if "safety_checker" in named:
            options["requires_safety_checker"] = False
        if known.pipeline == "StableDiffusionXLPipeline":
            options["add_watermarker"] = False
        options["variant"] = _variant(source.folder)
        pipe = _class(known).from_pretrained(str(source.folder), **options)
        pipe.set_progress_bar_config(disable=True)
        return Loaded(pipe.to(device), source.revision)


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
