"""Find what is to be judged from the words of a command line, or from an object.

::

    diffusers:UniPCMultistepScheduler              a class of diffusers, or of any package: package.module:Class
    diffusers:UniPCMultistepScheduler{"solver_order": 3}      with options, as JSON
    scheduler_config.json                          options with "_class_name", as diffusers writes them
    models/sd15  or  models/sd15/scheduler         a saved pipeline, or its scheduler's folder
    k_diffusion.sampling:sample_dpmpp_2m           a function: (model, x, sigmas, ...) or (noise_model, x, levels)
    dpm-solver++-2m  or  ddim@time/lml             a sampler of lml.samplers; base@spacing/correction
    my-sampler                                     an entry point of the group "lml.judged"
"""

from __future__ import annotations

import importlib
import inspect
import json
import re
from collections.abc import Mapping
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from image_exps.judge.functions import judged_arm, judged_function, judged_sampler
from image_exps.judge.judged import CannotRunError, Judged
from image_exps.judge.schedulers import judged_scheduler
from image_exps.samplers.arms import arm
from image_exps.samplers.table import algorithm
from lml.samplers import SAMPLERS, Sampler

__all__ = ["GROUP", "find"]

#: The entry-point group in which packages publish what can be judged: a scheduler class, a function, a `Sampler`.
GROUP = "lml.judged"

_SPEC = re.compile(r"(?P<module>[\w.]+):(?P<name>[\w.]+)\s*(?P<options>\{.*\})?", re.DOTALL)
_FORMS = (
    "a scheduler class (diffusers:DDIMScheduler, package.module:Class, with JSON options behind it), a function "
    "(package.module:function), a .json file or a folder of a saved scheduler, a sampler by name "
    "(base@spacing/correction), or an entry point of the group lml.judged"
)


def find(what: object, **options: Any) -> Judged:
    """Return what is to be judged.

    Args:
        what: a text, see the module; or a scheduler, its class, a function, a `lml.samplers.Sampler`.
        options: of it, besides those that the text has.

    Raises:
        CannotRunError: with a sentence that says what is wrong with it.
    """
    if isinstance(what, Judged):
        return what
    if isinstance(what, Path):
        what = str(what)
    if not isinstance(what, str):
        return _of_object(what, options, getattr(what, "__name__", type(what).__name__))
    text = what.strip()
    if not text:
        raise CannotRunError(f"WHAT must be {_FORMS}; got an empty text")
    found = _SPEC.fullmatch(text)
    if found:
        given = _json(found["options"], text) if found["options"] else {}
        return _of_object(_imported(found["module"], found["name"]), {**given, **options}, text)
    if text.endswith(".json") or Path(text).is_dir():
        return _saved(Path(text), options)
    points = {point.name: point for point in entry_points(group=GROUP)}
    if text in points:
        try:
            thing = points[text].load()
        except Exception as error:
            raise CannotRunError(f"the entry point {text} of {GROUP} cannot be loaded: {error}") from error
        return _of_object(thing, options, text)
    if text in SAMPLERS:
        try:
            spacing: str = algorithm(text).spacing
        except ValueError:  # one of flow matching, which no table spaces
            spacing = "log-snr"
        return judged_sampler(SAMPLERS[text], text, spacing)
    try:
        return judged_arm(arm(text))
    except ValueError as error:
        raise CannotRunError(f"WHAT must be {_FORMS}; got {text!r}: {error}") from error


def _json(text: str, whole: str) -> dict[str, Any]:
    try:
        options = json.loads(text)
    except json.JSONDecodeError as error:
        raise CannotRunError(f"the options of {whole!r} are no JSON: {error}") from error
    if not isinstance(options, dict):
        raise CannotRunError(f"the options of {whole!r} must be a JSON object, got {type(options).__name__}")
    return options


def _imported(module: str, name: str) -> object:
    if module in ("k_diffusion", "k_diffusion.sampling"):
        from image_exps.judge.k_diffusion import sampling

        home: object = sampling()
    else:
        try:
            home = importlib.import_module(module)
        except ImportError as error:
            raise CannotRunError(f"{module} cannot be imported: {error}") from error
        except Exception as error:
            raise CannotRunError(f"{module} raises {type(error).__name__} as it is imported: {error}") from error
    for part in name.split("."):
        try:
            home = getattr(home, part)
        except AttributeError as error:
            raise CannotRunError(f"{module} has no {name}") from error
        except (ImportError, RuntimeError) as error:  # a name that diffusers has, and whose packages are missing
            raise CannotRunError(f"{module} cannot give {name}: {error}") from error
    return home


def _of_object(thing: object, options: Mapping[str, Any], name: str) -> Judged:
    if isinstance(thing, Judged):
        return thing
    if isinstance(thing, Sampler):
        return judged_sampler(thing, name if name != "Sampler" else thing.name)
    if isinstance(thing, type):
        return judged_scheduler(thing, options, name)
    if inspect.isroutine(thing) or (callable(thing) and not hasattr(thing, "set_timesteps")):
        return judged_function(thing, options, name)
    config = getattr(thing, "config", None)
    if callable(getattr(thing, "set_timesteps", None)) and isinstance(config, Mapping):
        return judged_scheduler(type(thing), {**_init_options(type(thing), config), **options}, name)
    raise CannotRunError(f"WHAT must be {_FORMS}; got {type(thing).__name__}")


def _init_options(cls: type, config: Mapping[str, Any]) -> dict[str, Any]:
    """Return what of a config the class takes; what it says of other classes is left out, as ``from_config`` does."""
    accepted = set(inspect.signature(cls).parameters)
    return {key: value for key, value in config.items() if key in accepted}


def _saved(path: Path, options: Mapping[str, Any]) -> Judged:
    file = path
    if path.is_dir():
        places = [path / "scheduler_config.json", path / "scheduler" / "scheduler_config.json"]
        found = [place for place in places if place.is_file()]
        if not found:
            raise CannotRunError(f"{path} holds no scheduler_config.json, and no folder scheduler with one")
        file = found[0]
    try:
        config = json.loads(file.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise CannotRunError(f"{file} cannot be read as JSON: {error}") from error
    if not isinstance(config, dict) or not isinstance(config.get("_class_name"), str):
        raise CannotRunError(f'{file} must name its class: "_class_name", as diffusers writes it')
    module, _, name = config["_class_name"].rpartition(":")
    cls = _imported(module or "diffusers", name)
    if not isinstance(cls, type):
        raise CannotRunError(f"{file} names {config['_class_name']}, which is no class")
    return judged_scheduler(cls, {**_init_options(cls, config), **options}, str(path))
