"""What the commands that draw are asked, ``sample`` and ``grid``: their common options, as one `SamplingOptions`."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from image_exps.commands._options import MOST, at_least, device_or_best
from image_exps.pipelines.loading import DTYPES
from image_exps.pipelines.models import Model
from image_exps.samplers.pipeline_sampler import (
    LML_OPTIONS,
    TIMESTEP_SPACINGS,
    PipelineSampler,
    paper_options,
    pipeline_sampler,
)

if TYPE_CHECKING:
    from image_exps.pipelines.session import Request

__all__ = [
    "SamplingOptions",
    "gathered",
    "lml_options",
    "load_options",
    "prompt_options",
    "read_prompts",
    "run_options",
]

F = TypeVar("F", bound=Callable[..., Any])

_FOLDER = click.Path(file_okay=False, path_type=Path)
_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _together(*options: Callable[[Any], Any]) -> Callable[[F], F]:
    def decorate(function: F) -> F:
        for option in reversed(options):
            function = option(function)
        return function

    return decorate


def _model(ctx: click.Context, param: click.Parameter, value: str) -> Model:
    from image_exps.pipelines.own import find_model

    try:
        return find_model(value)
    except ValueError as error:
        raise click.BadParameter(str(error), ctx, param) from error


def _damping(ctx: click.Context, param: click.Parameter, value: str | None) -> float | str | None:
    if value is None or value == "paper":
        return value
    try:
        return float(value)
    except ValueError:
        raise click.BadParameter(f"must be a number or 'paper', got {value!r}", ctx, param) from None


#: Which model, and where it is.
load_options = _together(
    click.option(
        "--model",
        "-m",
        callback=_model,
        metavar="NAME|FOLDER",
        required=True,
        help="Name of a model, list them: models; or the folder of a saved diffusers pipeline of your own.",
    ),
    click.option("--model-dir", type=_FOLDER, help="Local folder with its weights, in the layout of diffusers."),
    click.option("--controlnet-dir", type=_FOLDER, help="Local folder of the ControlNet, for the sd15-... models."),
    click.option("--hub", is_flag=True, help="Fetch the weights from the Hugging Face hub. Without: no network."),
    click.option("--revision", help="Commit, branch or tag there.", show_default="its main branch"),
    click.option(
        "--dtype",
        type=click.Choice(DTYPES),
        default="float32",
        show_default=True,
        help="What the network computes in; LML and the steps themselves use float32 in any case.",
    ),
    click.option("--device", help="cpu, cuda, cuda:N or mps.", show_default="cuda if there is one, or cpu"),
    click.option(
        "--threads",
        type=at_least(1, "threads"),
        help="Of torch on a CPU; part of a run's settings.",
        show_default="torch's own",
    ),
)

#: What can be set of LML.
lml_options = _together(
    click.option(
        "--damping",
        callback=_damping,
        metavar="NUMBER|paper",
        help="lambda of LML; 'paper' takes that of its Tables 6 and 7 and of B.2, and needs --mixing.",
    ),
    click.option("--mixing", type=float, help="kappa of LML in [0, 1); 0 is the base, bit for bit."),
    click.option("--damping-mode", help="absolute, relative (to |eps|^2) or adaptive.", show_default="relative"),
    click.option("--rank", type=click.IntRange(max=1000), help="How many past noises LML uses.", show_default="1"),
    click.option("--variant", help="algorithm1, or released: what the paper's code does.", show_default="algorithm1"),
    click.option("--start", type=float, help="LML acts from this part of the steps on.", show_default="0"),
    click.option("--stop", type=float, help="... and up to this part.", show_default="1"),
    click.option("--norm", help="kept, as in the paper, or extrapolated as the direction is.", show_default="kept"),
    click.option(
        "--spacing",
        type=click.Choice(TIMESTEP_SPACINGS),
        help="Where the timesteps lie, as diffusers names it. With leading, ddim in 5 evaluations begins at 800 of "
        "1000 as if pure noise were there; with linspace and trailing at 999.",
        show_default="as the model's config says, leading for the shipped ones; else as the sampler's class does",
    ),
)

#: What is drawn.
prompt_options = _together(
    click.option("--prompt", "-p", "texts", multiple=True, metavar="TEXT", help="A prompt; can be repeated."),
    click.option("--prompts", "file", type=_FILE, help="Prompts from a file: one a line, or a JSON list of texts."),
    click.option("--prompt-tag", "tag", help="Shipped prompts with this tag, e.g. color; 'all' for all 944."),
    click.option("--negative-prompt", help="What not to draw, for all pictures."),
    click.option(
        "--guidance", type=float, help="Scale of classifier-free guidance.", show_default="the model's, see models"
    ),
    click.option(
        "--size", type=at_least(1, "side"), help="Height and width in pixels.", show_default="the model's own"
    ),
    click.option(
        "--control",
        "controls",
        type=click.Path(exists=True, path_type=Path),
        multiple=True,
        help="Picture of edges, depth or pose for a ControlNet, or a folder of them; can be repeated.",
    ),
)

#: In how many evaluations, from which seeds, how many at a time.
run_options = _together(
    click.option(
        "--evaluations",
        "-n",
        type=at_least(1, "evaluations"),
        default=10,
        show_default=True,
        help="Of the network, a picture.",
    ),
    click.option(
        "--seed",
        # Those of all pictures fit into the 64 bits of a generator.
        type=click.IntRange(0, 2**63 - 1 - MOST["count"]),
        default=0,
        show_default=True,
        help="Of the first picture; then one more each.",
    ),
    click.option("--batch", type=at_least(1, "batch"), default=1, show_default=True, help="Pictures at a time."),
)


@dataclass(frozen=True)
class SamplingOptions:
    """The values of the options of this file, ``None`` where one was not given.

    Attributes:
        model, model_dir, controlnet_dir, hub, revision, dtype, device, threads: of `load_options`.
        evaluations, seed, batch: of `run_options`.
        prompts: from whichever option gave them.
        negative_prompt, guidance, size: of `prompt_options`.
        controls: pictures for a ControlNet, those of folders among them.
        spacing: of the timesteps.
        lml: those options of LML that were given, by name.
    """

    model: Model
    model_dir: Path | None
    controlnet_dir: Path | None
    hub: bool
    revision: str | None
    dtype: str
    device: str | None
    threads: int | None
    evaluations: int
    seed: int
    batch: int
    prompts: tuple[str, ...]
    negative_prompt: str | None
    guidance: float | None
    size: int | None
    controls: tuple[Path, ...]
    spacing: str | None
    lml: Mapping[str, Any]

    def sampler(self, name: str) -> PipelineSampler:
        """Return the sampler of a name with the options of LML, those that were not given left to its defaults.

        Raises:
            ValueError: for options that this sampler does not have.
        """
        given = dict(self.lml)
        if given.get("damping") == "paper":
            given |= paper_options(self.model, self.evaluations, given.get("mixing"))
        return pipeline_sampler(name, self.evaluations, given, self.spacing)

    def request(self, sampler: PipelineSampler, count: int, to_device: Callable[[str], str] = str) -> Request:
        """Return the request for pictures.

        Args:
            sampler: that draws them.
            count: how many.
            to_device: from the device that was asked for, or the best there is, to that of this process.
        """
        from image_exps.pipelines.session import Request

        return Request(
            model=self.model,
            sampler=sampler,
            count=count,
            seed=self.seed,
            prompts=self.prompts,
            guidance=self.guidance,
            negative_prompt=self.negative_prompt,
            size=self.size,
            batch=self.batch,
            dtype=self.dtype,
            device=to_device(device_or_best(self.device)),
            threads=self.threads,
            model_dir=self.model_dir,
            controlnet_dir=self.controlnet_dir,
            hub=self.hub,
            revision=self.revision,
            controls=self.controls,
        )


def gathered(function: F) -> F:
    """Hand the values of the four groups of options to a command as one `SamplingOptions`, its first argument."""

    @functools.wraps(function)
    def wrapped(
        *, texts: Sequence[str], file: Path | None, tag: str | None, controls: Sequence[Path], **given: Any
    ) -> Any:
        given |= {
            "prompts": read_prompts(texts, file, tag),
            "controls": _pictures_in(controls),
            "lml": {name: value for name in LML_OPTIONS if (value := given.pop(name)) is not None},
        }
        return function(
            SamplingOptions(**{field.name: given.pop(field.name) for field in fields(SamplingOptions)}), **given
        )

    return wrapped  # type: ignore[return-value]


def read_prompts(texts: Sequence[str], file: Path | None, tag: str | None) -> tuple[str, ...]:
    """Return the prompts from whichever option gave them.

    Raises:
        ValueError: if two gave some, or a file has none.
    """
    if sum(map(bool, (texts, file, tag))) > 1:
        raise ValueError("prompts must come from one of --prompt, --prompts, --prompt-tag, got several")
    if tag:
        from image_exps.prompts import prompts

        return prompts(None if tag == "all" else tag)
    return tuple(texts) if file is None else _prompts_of(file)


def _prompts_of(file: Path) -> tuple[str, ...]:
    from image_exps.prompts import prompts_in
    from image_exps.utils.text_files import read_json, read_text

    try:
        found = read_json(file) if file.suffix == ".json" else list(prompts_in(read_text(file)))
    except ValueError as error:
        raise ValueError(f"prompts: {error}") from error
    if not isinstance(found, list) or not all(isinstance(text, str) for text in found):
        raise ValueError(f"prompts: {file} must hold a JSON list of texts")
    kept = tuple(text.strip() for text in found if text.strip())
    if not kept:
        raise ValueError(f"prompts: {file} holds none")
    return kept


def _pictures_in(paths: Sequence[Path]) -> tuple[Path, ...]:
    """Return the files among ``paths``, and the pictures in the folders among them.

    Raises:
        ValueError: for a folder without any.
    """
    if not any(path.is_dir() for path in paths):
        return tuple(paths)
    from toy.picture_files import find_pictures

    try:
        return tuple(file for path in paths for file in (find_pictures(path).files if path.is_dir() else [path]))
    except ValueError as error:
        raise ValueError(f"controls: {error}") from error
