"""Which network, for the commands that measure one: their options, as one `NetworkOptions`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from image_exps.commands._options import MOST, at_least, device_or_best
from image_exps.commands._sampling_options import read_prompts
from image_exps.pipelines.loading import DTYPES

if TYPE_CHECKING:
    from image_exps.pipelines.network import Network

__all__ = ["NetworkOptions", "further_network_options", "gathered", "network_options", "numbers"]

#: What ``--model`` takes.
MODEL_HELP = "A network by name, or the folder of a saved diffusers pipeline."

F = TypeVar("F", bound=Callable[..., Any])


def network_options(function: F) -> F:
    """Add the options to a command."""
    return _added(function, _model_option(required=True))


def further_network_options(function: F) -> F:
    """Add all options but ``--model`` to a command that has one of its own."""
    return _added(function)


def _model_option(**options: Any) -> Callable[[F], F]:
    return click.option("--model", "-m", metavar="NAME|FOLDER", help=MODEL_HELP, **options)


def _added(function: F, *before: Callable[[F], F]) -> F:
    prompts = click.Path(exists=True, dir_okay=False, path_type=Path)
    own = "the pipeline's own"
    options: tuple[Callable[[Any], Any], ...] = (
        *before,
        click.option("--prompt", "-p", "texts", multiple=True, metavar="TEXT", help="A prompt; can be repeated."),
        click.option("--prompts", "file", type=prompts, help="Prompts: one a line, or a JSON list of texts."),
        click.option("--negative-prompt", help="What not to draw, for all pictures."),
        click.option("--guidance", type=float, help="Scale of classifier-free guidance.", show_default=own),
        click.option("--size", type=at_least(8, "side"), help="Height and width in pixels.", show_default=own),
        click.option("--batch", type=at_least(1, "batch"), help="Samples at a time.", show_default="4 with prompts"),
        click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True,
                     help="Of the network."),
        click.option("--device", help="cpu, cuda, cuda:N or mps.", show_default="cuda if there is one, or cpu"),
        click.option("--seed", type=click.IntRange(0, 2**63 - 1 - MOST["count"]), default=0, show_default=True,
                     help="Of the noises."),
    )  # fmt: skip
    for option in reversed(options):
        function = option(function)
    return function


@dataclass(frozen=True)
class NetworkOptions:
    """The values of the options, ``None`` where one was not given.

    Attributes:
        model: name or folder; ``None`` for a command that can do without.
        prompts, negative_prompt, guidance, size, batch, dtype, device: as `image_exps.network` takes them.
        seed: of the noises; of the first sample where each has its own.
    """

    model: str | None
    prompts: tuple[str, ...]
    negative_prompt: str | None
    guidance: float | None
    size: int | None
    batch: int | None
    dtype: str
    device: str | None
    seed: int

    def network(self) -> Network:
        """Return the network.

        Raises:
            ValueError: as `image_exps.network`.
        """
        from image_exps.pipelines.network import network

        return network(
            self.model or "", prompts=self.prompts, guidance=self.guidance, negative_prompt=self.negative_prompt,
            size=self.size, batch=self.batch, dtype=self.dtype, device=device_or_best(self.device),
        )  # fmt: skip


def gathered(function: F) -> F:
    """Hand the values of `network_options` to a command as one `NetworkOptions`, its first argument."""

    @functools.wraps(function)
    def wrapped(*, texts: tuple[str, ...], file: Path | None, **given: Any) -> Any:
        given["prompts"] = read_prompts(texts, file, None)
        return function(
            NetworkOptions(**{field.name: given.pop(field.name) for field in fields(NetworkOptions)}), **given
        )

    return wrapped  # type: ignore[return-value]


def numbers(text: str) -> tuple[int, ...]:
    """Return numbers of evaluations from a text with commas.

    Raises:
        ValueError: for something else, or numbers out of range.
    """
    try:
        found = tuple(dict.fromkeys(int(part) for part in text.split(",") if part.strip()))
    except ValueError:
        found = ()
    if not found or min(found) < 1 or max(found) > 200:
        raise ValueError(f"evaluations must be whole numbers from 1 to 200 with commas between them, got {text!r}")
    return found
