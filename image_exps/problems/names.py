"""Which targets there are for which model, by name, without loading any: a wrong name is refused at once.

The names stand beside what they name: a test holds `TARGET_NAMES` equal to `image_exps.problems.targets.TARGETS`,
`NETWORK_NAMES` to `image_exps.networks.NETWORKS` and the galaxies, `MODEL_PARAMETERS` to
`image_exps.problems.specification.MODELS`.
"""

from __future__ import annotations

from image_exps.samplers.names import parse_call
from image_exps.utils.plugins import plugins

__all__ = ["GROUP", "MODEL_PARAMETERS", "NETWORK_NAMES", "TARGET_NAMES", "check_model", "check_problem"]

#: The entry-point group of targets.
GROUP = "lml.targets"

#: The targets that come with the package.
TARGET_NAMES = (
    "digits", "mnist", "emoji", "digits-low-rank", "mnist-low-rank", "emoji-low-rank", "ring-2d", "random-16d",
    "photo-8", "photo-16", "photo-8-low-rank", "cross-2d", "random-16d-tuning",
)  # fmt: skip

#: The targets of the model ``network``.
NETWORK_NAMES = (
    "fashion-mnist", "emoji", "galaxy-hsc-32", "galaxy-hsc-64", "galaxy-ztf-32", "galaxy-ztf-64", "galaxy-lsst-60",
    "galaxy-quasar-72", "galaxy-roman-120",
)  # fmt: skip

#: The models, with the names of their parameters.
MODEL_PARAMETERS = {"exact": (), "network": (), "white": ("size",), "smooth": ("size",), "bias": ("size",)}


def check_model(name: str) -> None:
    """Refuse a model that does not exist or has no such parameter.

    Raises:
        ValueError: listing those that are known.
    """
    if not isinstance(name, str):
        raise ValueError(f"models must be names, got {name!r}")
    kind, parameters = parse_call(name)
    if kind not in MODEL_PARAMETERS:
        raise ValueError(f"models must be of {', '.join(MODEL_PARAMETERS)}, got {kind!r}")
    allowed = MODEL_PARAMETERS[kind]
    for parameter in parameters:
        if parameter not in allowed:
            raise ValueError(f"parameter of {kind} must be one of {', '.join(allowed) or '(none)'}, got {parameter!r}")


def check_problem(target_name: str, model_name: str) -> None:
    """Refuse a target that a model does not have; targets of other packages are known by name, and not loaded.

    Raises:
        ValueError: listing those that are known.
    """
    check_model(model_name)
    known = NETWORK_NAMES if parse_call(model_name)[0] == "network" else (*TARGET_NAMES, *plugins(GROUP))
    if target_name not in known:
        raise ValueError(f"targets must be of {', '.join(known)} for {model_name!r}, got {target_name!r}")
