"""What samplers are run on: an exact score, one with a controlled error, or a network, by name beside a target's name.

``exact`` is the target's own noise prediction; the others are in `MODELS`. A network that nobody here trained, of
`image_exps.networks.galaxies`, has its own schedule, and no pictures: it is compared with its own flow.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cache, lru_cache, partial

import torch

from image_exps.networks import galaxies as galaxy
from image_exps.networks import network_model
from image_exps.networks.placement import network_device
from image_exps.problems.names import check_problem
from image_exps.problems.score_errors import Imperfect, Kind
from image_exps.problems.targets import SCHEDULE, TIMES, Target, target
from image_exps.samplers.names import parse_call
from lml.samplers import Level, NoiseModel
from toy import Pictures, dataset
from toy.fashion_mnist import fashion_mnist
from toy.levels import noise_levels
from toy.outside import OUTSIDE, required
from toy.schedule import NoiseSchedule

__all__ = ["MODELS", "SamplingProblem", "check_pictures", "check_weights", "sampling_problem"]


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
        schedule: of the noise levels.
        times: first and last time of every trajectory on it.
    """

    name: str
    shape: tuple[int, ...]
    dtype: torch.dtype
    compared: Callable[[], Target | Pictures]
    flow: NoiseModel
    model: Callable[[int, int, int], NoiseModel]
    schedule: NoiseSchedule = SCHEDULE
    times: tuple[float, float] = TIMES

    def levels(self, steps: int) -> list[Level]:
        """Return the ``steps + 1`` levels of a trajectory, equal in log-SNR."""
        return noise_levels(self.schedule, steps, times=self.times)

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
    if name in galaxy.GALAXIES:
        return _galaxies(name)
    noise = network_model(name)
    if network_device().type != "cpu":
        noise = replace(noise, net=deepcopy(noise.net).to(network_device()))
    size = noise.net.config["sample_size"]
    shape = (noise.net.config["in_channels"], size, size)
    return SamplingProblem(name, shape, torch.float32, _PICTURES[name], noise, lambda seed, first, count: noise)


def _galaxies(name: str) -> SamplingProblem:
    net = galaxy.galaxy_score(name).to(network_device())
    noise, shape = galaxy.GalaxyModel(net), (1, net.size, net.size)

    def compared() -> Pictures:
        raise ValueError(f"{name} comes without pictures: its distances are those to its own flow")

    return SamplingProblem(
        name, shape, torch.float32, compared, noise, lambda *samples: noise, galaxy.SCHEDULE, galaxy.TIMES
    )


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


def check_weights(target_name: str, model_name: str) -> None:
    """Refuse a network whose weights are not on this machine.

    Raises:
        ValueError: saying how they are had.
    """
    if parse_call(model_name)[0] == "network" and target_name in galaxy.GALAXIES:
        galaxy.galaxy_file(target_name)


def sampling_problem(target_name: str, model_name: str) -> SamplingProblem:
    """Return a target with a model, networks on the device of `on_device`; the last two are kept.

    Raises:
        ValueError: for what `check_problem` refuses, and for parameters out of range.
    """
    return _problem(target_name, model_name, str(network_device()))


@lru_cache(maxsize=2)
def _problem(target_name: str, model_name: str, device: str) -> SamplingProblem:
    check_problem(target_name, model_name)
    kind, parameters = parse_call(model_name)
    return MODELS[kind](target_name, **parameters)
