"""The components of a pipeline: their classes, by the names that an index gives, and their weights, whole."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from inspect import getattr_static, signature
from pathlib import Path
from typing import Any

from image_exps.pipelines.hub import UNUSED, in_half_precision

__all__ = ["LIBRARIES", "assemble", "component_class", "load_component"]

#: Where classes of components may come from: installed packages, none of which is the model's folder.
LIBRARIES: tuple[str, ...] = ("diffusers", "transformers", "lml.schedulers")


def component_class(library: str, name: str, slot: str) -> Any:
    """Return the class of a component.

    Args:
        library: one of `LIBRARIES`.
        name: of the class there.
        slot: the component's name in the pipeline: a scheduler, a tokenizer, or else a network.

    Raises:
        ValueError: for a class that is not there, is of another kind, or has a loader of its own: those of transformers
            may read pickles.
    """
    import transformers
    from diffusers import ModelMixin, SchedulerMixin

    found = getattr(importlib.import_module(library), name, None) if str(name).isidentifier() else None
    kinds: tuple[Any, ...]
    if "scheduler" in slot:
        kinds = (SchedulerMixin,)
    elif "tokenizer" in slot:
        kinds = (transformers.PreTrainedTokenizerBase,)
    else:
        kinds = (ModelMixin, transformers.PreTrainedModel)
    if not isinstance(found, type) or not issubclass(found, kinds):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise ValueError(f"{slot} must be a {wanted} of {library}, which {name!r} is not in the installed version")
    loaders = (transformers.PreTrainedTokenizerBase, transformers.PreTrainedModel)
    kind = next((kind for kind in loaders if issubclass(found, kind)), found)
    if getattr_static(found, "from_pretrained") is not getattr_static(kind, "from_pretrained"):
        raise ValueError(f"{slot} must be loaded as {kind.__name__} is, {name} of {library} is not")
    return found


def load_component(folder: Path, cls: Any, dtype: Any) -> Any:
    """Return a component out of its folder, which has been found safe.

    Args:
        folder: of the component.
        cls: its class.
        dtype: of its weights; ``None`` for one without.

    Raises:
        ValueError: if it cannot be loaded, or lacks weights: libraries would fill those with random numbers.
    """
    import torch

    options: dict[str, Any] = {"local_files_only": True}
    if not issubclass(cls, torch.nn.Module):
        return _loaded(folder, cls, options)
    weights = [path.name for path in folder.glob("*.safetensors")]
    options |= {"use_safetensors": True, "torch_dtype": dtype, "output_loading_info": True}
    if all(map(in_half_precision, weights)):
        options["variant"] = "fp16"
    made, report = _loaded(folder, cls, options)
    for what in ("missing_keys", "mismatched_keys", "error_msgs"):
        wrong = sorted(map(str, report.get(what, ())))
        if wrong:
            raise ValueError(
                f"{folder} has not the weights of a {cls.__name__}: {len(wrong)} {what.replace('_', ' ')}, first "
                f"{wrong[0]}. Fetch the model again"
            )
    return made


def _loaded(folder: Path, cls: Any, options: dict[str, Any]) -> Any:
    try:
        return cls.from_pretrained(str(folder), **options)
    except Exception as error:  # what a library raises of damaged files depends on the file, and on its version
        said = str(error).strip().partition("\n")[0] or type(error).__name__
        raise ValueError(f"{folder} cannot be loaded as {cls.__name__}: {said}") from error


def assemble(cls: Any, parts: Mapping[str, Any], index: Mapping[str, Any]) -> Any:
    """Return a pipeline of loaded components.

    Args:
        cls: of the pipeline.
        parts: components by name; those in `UNUSED` are left out.
        index: its ``model_index.json``, for settings that are no components.

    Raises:
        ValueError: for a component that is missing, or of another kind than the pipeline takes.
    """
    wanted = signature(cls.__init__).parameters
    given = {name: value for name, value in index.items() if name in wanted and not isinstance(value, list)}
    given |= {name: None for name in (*UNUSED, *cls._optional_components) if name in wanted}
    given |= {name: part for name, part in parts.items() if name in wanted}
    # Pictures are judged as the network makes them.
    given |= {name: False for name in ("requires_safety_checker", "add_watermarker") if name in wanted}
    for name, parameter in wanted.items():
        if name != "self" and name not in given and parameter.default is parameter.empty:
            raise ValueError(f"{cls.__name__} needs a {name}, which model_index.json does not name")
    try:
        return cls(**given)
    except Exception as error:  # a component of another kind than the pipeline takes fails in its own way
        raise ValueError(f"{cls.__name__} cannot be made of what model_index.json names: {error}") from error
