"""What samplers are run on: an exact score, one with a controlled error, or a network, by name beside a target's name.

``exact`` is the target's own noise prediction; the others are in `MODELS`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial

import torch

from image_exps.networks import network_model
from image_exps.problems.names import check_problem
from image_exps.problems.score_errors import Imperfect, Kind
from image_exps.problems.targets import Target, target
from image_exps.samplers.names import parse_call
from lml.samplers import NoiseModel
from toy import Pictures, dataset
from toy.fashion_mnist import fashion_mnist
from toy.outside import OUTSIDE, required

__all__ = ["MODELS", "SamplingProblem", "check_pictures", "sampling_problem"]


@dataclass(frozen=True)
class SamplingProblem:
    """A target as a model sees it.

    Attributes:
        name: of the target.
        shape: of one sample.
        dtype: of the model's answers.
        compared: returns what distances are to: a target, or real pictures, which are not loaded before.
        flow: the model whose probability flow is the reference: the exact one, or the network itself.
        model: the noise prediction for samples ``first .. first + count - 1`` of a seed: ``model(seed, first, count)``.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    compared: Callable[[], Target | Pictures]
    flow: NoiseModel
    model: Callable[[int, int, int], NoiseModel]

    @property
    def dim(self) -> int:
        """The dimension d of one sample."""
        return math.prod(self.shape)


def _exact(name: str) -> SamplingProblem:
    made = target(name)
    noise = made.model()
    return SamplingProblem(name, made.shape, made.dtype, lambda: made, noise, lambda seed, first, count: noise)


def _network(name: str) -> SamplingProblem:
    """The network draws from all classes where it knows some; it is compared with the pictures that it learnt from."""
    noise = network_model(name)
    size = noise.net.config["sample_size"]
    shape = (noise.net.config["in_channels"], size, size)
    return SamplingProblem(name, shape, torch.float32, _PICTURES[name], noise, lambda seed, first, count: noise)


_PICTURES: dict[str, Callable[[], Pictures]] = {
    "fashion-mnist": cache(fashion_mnist),
    "emoji": partial(dataset, "emoji"),
}


def _imperfect(kind: Kind) -> Callable[..., SamplingProblem]:
    """Return the builder of an exact score with an error; ``size`` is the error's, relative to the noise."""

    def build(name: str, size: float = 0.1) -> SamplingProblem:
        made = _exact(name)
        # The white error belongs to a sample; the others are one function for all, like a network's.
        whole = Imperfect(made.flow, kind, size, 0, made.shape)

        def model(seed: int, first: int, count: int) -> NoiseModel:
            return replace(whole, seed=seed, first=first) if kind == "white" else whole

        return replace(made, model=model)

    return build


#: Builders by name: ``(target's name, **parameters) -> SamplingProblem``.
MODELS: dict[str, Callable[..., SamplingProblem]] = {
    "exact": _exact,
    "network": _network,
    "white": _imperfect("white"),
    "smooth": _imperfect("smooth"),
    "bias": _imperfect("bias"),
}


def check_pictures(target_name: str, model_name: str) -> None:
    """Refuse to compare samples with pictures that are not on this machine.

    Raises:
        ValueError: saying how they are had.
    """
    if parse_call(model_name)[0] == "network" and target_name in OUTSIDE:
        required(target_name)


@lru_cache(maxsize=2)
def sampling_problem(target_name: str, model_name: str) -> SamplingProblem:
    """Return a target with a model; the last two are kept.

    Raises:
        ValueError: for what `check_problem` refuses, and for parameters out of range.
    """
    check_problem(target_name, model_name)
    kind, parameters = parse_call(model_name)
    return MODELS[kind](target_name, **parameters)
