"""A model from a local folder: safetensors only, no pickle, no code from the folder, no network unless asked.

Everything that can be refused is refused from the folder's file names and JSON files, before a weight is read. Each
component is then loaded by its own class, and must have all of its weights.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from image_exps.pipelines.component_files import check_component, check_links, read_object
from image_exps.pipelines.components import LIBRARIES, assemble, component_class, load_component
from image_exps.pipelines.hub import UNUSED, fetch
from image_exps.pipelines.models import Model
from lml.arguments import check_choice

__all__ = ["DTYPES", "Loaded", "Source", "find_source", "inspect_folder", "load_pipeline"]

#: What the network may compute in.
DTYPES: tuple[str, ...] = ("float32", "float16", "bfloat16")


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
    model_dir = known.folder if model_dir is None else model_dir
    if model_dir is not None:
        if not model_dir.is_dir():
            raise ValueError(f"{model_dir} is {'a file' if model_dir.exists() else 'not there'}. {_advice(known)}")
        folder = model_dir
    elif known.shipped:
        from image_exps.networks import network_folder

        return Source(network_folder(known.name))  # every file of it has been compared with its checksum
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
    check_component(controlnet_dir, controlnet_dir)
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
    if not (folder / "model_index.json").exists():
        raise ValueError(f"{folder} is no diffusers folder: model_index.json is missing")
    check_links(folder, ["model_index.json"], folder)
    index = read_object(folder / "model_index.json")
    pipeline = index.get("_class_name")
    wanted = {known.pipeline}
    if known.controlnet is not None:
        wanted.add("StableDiffusionPipeline")  # the ControlNet comes from a folder of its own
    if not isinstance(pipeline, str) or pipeline not in wanted:
        raise ValueError(f"{folder} holds {pipeline!r}, but {known.name} is {known.pipeline}")
    for name in _components(folder, index):
        check_component(folder / name, folder)
    return pipeline


def _components(folder: Path, index: dict[str, Any]) -> dict[str, tuple[str, str]]:
    """Return the library and class of each component that an index names and that is used."""
    found = {}
    for name, source in index.items():
        if name.startswith("_") or not isinstance(source, list) or source[:1] == [None] or name in UNUSED:
            continue
        if not name.isidentifier():
            raise ValueError(f"{folder} names a component {name!r}, which is no name of a folder")
        if len(source) != 2 or not all(isinstance(part, str) for part in source):
            raise ValueError(f"{folder} must name library and class of {name}, got {source!r}")
        if source[0] not in LIBRARIES:
            raise ValueError(f"{folder} takes {name} from {source[0]!r}: only {', '.join(LIBRARIES)} may be")
        found[name] = (source[0], source[1])
    return found


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
    check_choice(dtype, "dtype", DTYPES)
    source = find_source(known, model_dir, controlnet_dir=controlnet_dir, hub=hub, revision=revision)
    # Whatever had to be fetched is there by now.
    import torch

    import lml.schedulers  # noqa: F401 - diffusers takes a class from a module only if that has been imported

    with _quiet():
        number = getattr(torch, dtype)
        pipe = _shipped(known, source.folder, number) if known.shipped else _pipeline(known, source, number)
        pipe.set_progress_bar_config(disable=True)
        try:
            return Loaded(pipe.to(device), source.revision)
        except RuntimeError as error:
            said = str(error).partition("\n")[0]
            raise ValueError(f"{known.name} cannot be put on device {device!r} in {dtype}: {said}") from error


def _shipped(known: Model, folder: Path, dtype: Any) -> Any:
    from image_exps.networks import pipeline_class

    options = {"use_safetensors": True, "local_files_only": True, "torch_dtype": dtype}
    return pipeline_class(known.name).from_pretrained(str(folder), **options)


def _pipeline(known: Model, source: Source, dtype: Any) -> Any:
    import diffusers

    folder, index = source.folder, read_object(source.folder / "model_index.json")
    named = _components(folder, index)
    where = {name: folder / name for name in named}
    if source.controlnet is not None:
        named["controlnet"] = ("diffusers", "ControlNetModel")
        where["controlnet"] = source.controlnet
    # All classes are found before the first weights take their time.
    classes = {name: component_class(library, cls, name) for name, (library, cls) in named.items()}
    parts = {name: None for name, value in index.items() if isinstance(value, list) and value[:1] == [None]}
    parts |= {name: load_component(where[name], cls, dtype) for name, cls in classes.items()}
    return assemble(getattr(diffusers, known.pipeline), parts, index)


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
