"""The console command ``lml``, and ``python -m lml``: list the commands of all installed packages, and run one.

A package adds a command by one entry point of the group ``lml.commands``::

    [project.entry-points."lml.commands"]
    mine = "my_package.commands.mine:command"

The attribute is a command of click, or a function that reads ``sys.argv``. Commands are listed without being imported:
a command's line is the first line of its module's docstring, without what it says of ``python -m``.
"""

from __future__ import annotations

import ast
import difflib
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from importlib.abc import InspectLoader
from importlib.machinery import PathFinder
from importlib.metadata import EntryPoint, entry_points
from importlib.util import find_spec
from typing import Any

import lml

__all__ = ["GROUP", "find_commands", "main"]

#: The entry-point group in which packages publish commands.
GROUP = "lml.commands"

_HELP = """Usage: lml COMMAND [ARGUMENT]...

Levenberg-Marquardt-Langevin (LML) diffusion sampling: the claims, checked; pictures, measured.

Options:
  -h, --help  Show this and exit. Each command has its own: lml COMMAND --help.
  --version   Show the version and exit.
"""


def find_commands() -> dict[str, EntryPoint]:
    """Return the commands of every installed package by name, in alphabetical order.

    Raises:
        ValueError: if two packages publish different commands of one name.
    """
    found: dict[str, EntryPoint] = {}
    for point in sorted(entry_points(group=GROUP), key=lambda point: (point.name, point.value)):
        other = found.setdefault(point.name, point)
        if other.value != point.value:  # the same twice is one that is installed twice
            raise ValueError(f"the command {point.name} is published twice, as {other.value} and as {point.value}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run ``lml`` with these arguments, by default those of the command line, and return the exit status.

    A command that exits by itself, as those of click do, does so with its own status. An unknown command, or one that
    cannot be loaded, is said in one sentence, with status 2; ``LML_TRACEBACK=1`` in the environment shows where.
    """
    given = list(sys.argv[1:] if arguments is None else arguments) or ["--help"]
    name, rest = given[0], given[1:]
    if name == "--version":
        print(f"lml {lml.__version__}")
        return 0
    try:
        commands = find_commands()
        if name in ("-h", "--help"):
            print(_listing(commands))
            return 0
        if name not in commands:
            raise ValueError(_unknown(name, commands))
        command = _load(commands[name])
    except ValueError as error:
        if os.environ.get("LML_TRACEBACK"):
            raise
        print(f"Error: {error}", file=sys.stderr)
        return 2
    return _run(command, f"lml {name}", rest)


def _run(command: Any, called: str, arguments: list[str]) -> int:
    if callable(main_of := getattr(command, "main", None)):  # a command of click, whose function this is
        main_of(args=arguments, prog_name=called)
        return 0
    sys.argv = [called, *arguments]
    return int(command() or 0)


def _load(point: EntryPoint) -> Any:
    """Return the command.

    Raises:
        ValueError: if it cannot be loaded, with the name of the package that is missing, if one is.
    """
    try:
        return point.load()
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing != point.module.partition(".")[0]:
            raise ValueError(
                f"{point.name} needs {missing}, which is not installed{_remedy(point, missing)}"
            ) from error
        raise ValueError(f"the command {point.name} ({point.value}) cannot be loaded: {error}") from error
    except SystemExit as error:  # a script: its status would be taken for the command's
        raise ValueError(
            f"the command {point.name} ({point.value}) cannot be loaded: it exits when it is imported, {error.code!r}"
        ) from error
    except Exception as error:
        raise ValueError(f"the command {point.name} ({point.value}) cannot be loaded: {error}") from error


def _remedy(point: EntryPoint, missing: str) -> str:
    """Return what installs a package that a command needs: the extras of its distribution that name it."""
    if point.dist is None:
        return ""
    wanted = rf"{re.escape(missing)}\b.*extra == ['\"]([\w-]+)['\"]"
    extras = sorted({found[1] for line in point.dist.requires or () if (found := re.match(wanted, line))})
    return f": pip install '{point.dist.name}[{extras[0]}]'" if extras else ""


def _unknown(name: str, commands: Iterable[str]) -> str:
    near = difflib.get_close_matches(name, commands, n=1)
    hint = f"did you mean {near[0]}?" if near else "lml --help lists them."
    return f"there is no command {name!r}; {hint}"


def _listing(commands: Mapping[str, EntryPoint]) -> str:
    width = max(map(len, commands), default=0)
    rows = [f"  {name:<{width}}  {_about(point.module)}".rstrip() for name, point in commands.items()]
    return "\n".join([_HELP, "Commands:", *(rows or ["  none is installed"])])


def _about(module: str) -> str:
    """Return the first line of a module's docstring; neither it nor its packages are imported."""
    top, *rest = module.split(".")
    try:
        spec = find_spec(top)
        for part in rest:
            top = f"{top}.{part}"
            spec = PathFinder.find_spec(top, spec.submodule_search_locations if spec else None)
        source = spec.loader.get_source(top) if spec and isinstance(spec.loader, InspectLoader) else None
        text = ast.get_docstring(ast.parse(source or "")) or ""
    except (ImportError, SyntaxError, ValueError) as error:
        return f"(cannot be read: {error})"
    line = re.sub(r"``python -m [^`]*``", "", text.partition("\n")[0]).strip(" .:,;")
    return line[:1].upper() + line[1:]


if __name__ == "__main__":
    sys.exit(main())
