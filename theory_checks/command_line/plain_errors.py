"""Errors for people: a command that fails for a reason outside of the code prints one sentence, with exit status 2."""

from __future__ import annotations

import errno
import functools
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import click

from theory_checks.command_line.readable import readable_output

__all__ = ["PlainError", "plain_errors", "sentence_of"]

F = TypeVar("F", bound=Callable[..., Any])

_ELSEWHERE = "choose another place"

#: What the system says, as what it means and what to do.
_MEANINGS = {
    errno.ENOSPC: f"no space is left on its disk: free some, or {_ELSEWHERE}",
    errno.EDQUOT: f"your quota of its disk is used up: free some space, or {_ELSEWHERE}",
    errno.EROFS: f"its disk can only be read: {_ELSEWHERE}",
    errno.EACCES: f"you have no permission for it: change that, or {_ELSEWHERE}",
    errno.EPERM: f"you have no permission for it: change that, or {_ELSEWHERE}",
    errno.ENOTDIR: f"it lies below a file, which is no folder: {_ELSEWHERE}",
    errno.EEXIST: f"something of this name is there already: {_ELSEWHERE}",
    errno.EISDIR: "it is a folder, and must be a file: give another name",
    errno.ENOENT: "it is not there: check the name",
    errno.ENAMETOOLONG: "its name is too long: give a shorter one",
    errno.EMFILE: "too many files are open: raise the limit with ulimit -n",
    errno.EIO: "its disk reports a fault: check the disk",
}


# A module of ours that is not there is a fault of the code.
_OURS = ("", "lml", "toy", "theory_checks", "image_exps", "paper_figures")


class PlainError(Exception):
    """A reason outside of the code, and no argument, for which a command cannot go on: a sentence with what to do."""


def plain_errors(function: F) -> F:
    """Let a command print what went wrong outside of the code as one sentence, exit status 2; an interruption, 130.

    These are errors of arguments, files, disks, memory and packages that are not installed, see `sentence_of`. With
    ``LML_TRACEBACK=1`` in the environment they are left as they are, to see where they arose; so is anything else.
    """

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        readable_output()
        try:
            try:
                return function(*args, **kwargs)
            finally:
                _flush_output()
        except KeyboardInterrupt:
            click.echo("Interrupted: what is finished is kept.", err=True)
            sys.exit(130)
        except Exception as error:
            sentence = sentence_of(error)
            if sentence is None or os.environ.get("LML_TRACEBACK"):
                raise
            _fail(sentence)

    return wrapped  # type: ignore[return-value]


def sentence_of(error: BaseException) -> str | None:
    """Return what went wrong outside of the code and what to do, in one line; ``None`` for a fault of the code."""
    if isinstance(error, OSError):
        return None if error.errno == errno.EPIPE else _of_the_system(error)
    if isinstance(error, (PlainError, ValueError)):
        return " ".join(str(error).split()) or type(error).__name__
    if isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError":  # torch's, without importing it
        return "the memory is too small for this: ask for less at a time, such as a smaller --batch or --count"
    if isinstance(error, ModuleNotFoundError) and (package := (error.name or "").partition(".")[0]) not in _OURS:
        return f"the package {package} is not installed: pip install 'lml-toolkit[verify,images]', or {package} alone"
    if type(error).__name__ == "SafetensorError":
        return f"a file of weights cannot be read or written: {error}"
    return None


def _of_the_system(error: OSError) -> str:
    if error.errno is None:  # of a library, which has a text of its own in place of a number
        return " ".join(str(error).split()) or type(error).__name__
    # Our files are named where they are written: what has no name is most likely what is shown.
    name = "standard output, or a file" if error.filename is None else os.fsdecode(error.filename)
    if len(name) > 200:
        name = f"{name[:80]}...{name[-80:]}"
    meaning = _MEANINGS.get(error.errno, error.strerror)
    return f"{name}: {meaning}"


def _flush_output() -> None:
    """Write what is still to be shown, so that it fails here and not when the interpreter ends.

    Raises:
        OSError: naming the standard output.
    """
    try:
        sys.stdout.flush()
    except OSError as error:
        if error.errno != errno.EPIPE:
            _drop_output()
            error.filename = "standard output"
        raise


def _drop_output() -> None:
    """Send what cannot be shown nowhere: the interpreter would try again at its end."""
    try:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except (OSError, ValueError):  # no file of the system
        return


def _fail(sentence: str) -> NoReturn:
    click.echo(f"Error: {sentence}", err=True)
    sys.exit(2)
