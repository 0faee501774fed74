"""k-diffusion's ``sampling.py`` without the dozen heavy packages that its own ``__init__`` imports.

``pip install --no-deps k-diffusion==0.1.1.post1`` and ``pip install 'lml-toolkit[k-diffusion]'`` bring what that one
module needs. It is loaded from the installed folder, with its own ``utils``, which reads pictures with torchvision:
where that is not installed, an empty stand-in takes its name while the module is loaded.
"""

from __future__ import annotations

import importlib
import sys
import warnings
from importlib.util import find_spec
from types import ModuleType

from image_exps.judge.judged import CannotRunError

__all__ = ["sampling"]

_PACKAGE = "k_diffusion"
_HOW = "pip install --no-deps k-diffusion==0.1.1.post1, and pip install 'lml-toolkit[k-diffusion]' for what it needs"


def sampling() -> ModuleType:
    """Return the module ``k_diffusion.sampling``.

    Raises:
        CannotRunError: where it is not installed, with what to do.
    """
    loaded = sys.modules.get(f"{_PACKAGE}.sampling")
    if loaded is not None:
        return loaded
    spec = find_spec(_PACKAGE)
    if spec is None or not spec.submodule_search_locations:
        raise CannotRunError(f"k-diffusion is not installed: {_HOW}")
    stand_ins = _stand_ins(list(spec.submodule_search_locations))
    sys.modules.update(stand_ins)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            module = importlib.import_module(f"{_PACKAGE}.sampling")
    except ImportError as error:
        raise CannotRunError(f"k-diffusion's sampling.py cannot be loaded, {error}: {_HOW}") from error
    finally:
        for name in stand_ins:
            sys.modules.pop(name, None)
    return module


def _stand_ins(folder: list[str]) -> dict[str, ModuleType]:
    """Return the package without its ``__init__``, and torchvision where it is missing, by the names of modules."""
    package = ModuleType(_PACKAGE)
    package.__path__ = folder
    made = {_PACKAGE: package}
    if find_spec("torchvision") is None:
        for name in ("torchvision", "torchvision.transforms", "torchvision.transforms.functional"):
            made[name] = ModuleType(name)
        made["torchvision"].transforms = made["torchvision.transforms"]  # type: ignore[attr-defined]
        made["torchvision.transforms"].functional = made["torchvision.transforms.functional"]  # type: ignore[attr-defined]
    return {name: module for name, module in made.items() if name not in sys.modules}
