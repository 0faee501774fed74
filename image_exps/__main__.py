"""``python -m image_exps``: pictures, measurements and tables from the command line."""

from __future__ import annotations

import ast
import importlib
import pkgutil
from pathlib import Path

import click

from image_exps import commands
from theory_checks.command_line.readable import readable_output

__all__ = ["main"]


class LazyGroup(click.Group):
    """A group that imports a subcommand when it is called, not when it is listed: help comes at once."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        found = (module.name for module in pkgutil.iter_modules(commands.__path__))
        return sorted(name.replace("_", "-") for name in found if not name.startswith("_"))

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in self.list_commands(ctx):
            return None
        module = importlib.import_module(f"{commands.__name__}.{cmd_name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        rows = [(name, self._about(name)) for name in self.list_commands(ctx)]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)

    def _about(self, name: str) -> str:
        """Return the first line of the docstring of a subcommand's file, without importing it."""
        for folder in commands.__path__:
            file = Path(folder) / f"{name.replace('-', '_')}.py"
            if file.exists():
                about = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
                return about.partition("\n")[0].rstrip(".")
        return ""


@click.group(
    cls=LazyGroup,
    context_settings={"max_content_width": 110, "help_option_names": ["-h", "--help"]},
    no_args_is_help=True,
)
def main() -> None:
    """Pictures from diffusion models with and without LML, and what there is to measure on them.

    \b
    First pictures, with a network that comes with this package (a minute on a laptop):
      python -m image_exps sample --model fashion-mnist --sampler ddim/lml --count 16 --out out/shirts
      python -m image_exps grid   --model fashion-mnist --samplers ddim,ddim/lml,unipc-2 --out out/grid.png

    \b
    The same with a model of yours: only the folder changes.
      python -m image_exps models
      python -m image_exps sample --model sd15 --model-dir models/sd15 --prompt "a red fox" --out out/fox

    Each command has its own --help. LML_TRACEBACK=1 in the environment shows where an error arose.
    """  # noqa: D301


if __name__ == "__main__":
    readable_output()  # of the help too
    main(prog_name="python -m image_exps")
