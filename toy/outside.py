"""What is taken from outside of the repository and its pinned packages: the one place where it is looked for.

``LML_OUTSIDE=none`` in the environment switches it off: nothing is found then, whatever the machine has, and what needs
it says so in the sentence of `missing`. What a caller names himself, such as a folder of his own, is not looked for.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

from lml.arguments import check_choice

__all__ = ["OUTSIDE", "Outside", "found", "missing", "required"]


@dataclass(frozen=True)
class Outside:
    """A thing that may or may not be on a machine.

    Attributes:
        what: its name in a sentence.
        install: how it is had, as an order to the reader.
        find: returns where it is, or ``None``.
    """

    what: str
    install: str
    find: Callable[[], str | None]


def _folder(*candidates: Path | None) -> str | None:
    return next((str(path) for path in candidates if path is not None and path.is_dir()), None)


def _fashion_mnist() -> str | None:
    own = os.environ.get("LML_DATA")
    return _folder(Path(own) / "fashion-mnist" if own else None, Path("/usr/share/datasets/fashion-mnist"))


def _cache() -> str | None:
    if chosen := os.environ.get("XDG_CACHE_HOME"):
        return chosen
    try:
        return str(Path.home() / ".cache")
    except RuntimeError:  # a user without a home
        return None


def _program(*names: str) -> Callable[[], str | None]:
    return lambda: next(filter(None, map(shutil.which, names)), None)


def _browser() -> str | None:
    system = _program("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")()
    if system is not None:
        return system
    own = os.environ.get("PLAYWRIGHT_BROWSERS_PATH") or (_cache() or "/") + "/ms-playwright"
    return next((str(path) for path in sorted(Path(own).glob("chromium-*/chrome-*/chrome"))), None)


def _package(name: str, known: str) -> Callable[[], str | None]:
    """Return the finder of an installed version of a package, which is not imported."""

    def find() -> str | None:
        try:
            installed = distribution(name)
        except PackageNotFoundError:
            return None
        return str(installed.locate_file(name)) if installed.version == known else None

    return find


def _gpu() -> str | None:
    import torch

    return "cuda" if torch.cuda.is_available() else None


#: Everything that is looked for, by name.
OUTSIDE: dict[str, Outside] = {
    "fashion-mnist": Outside(
        "Fashion-MNIST",
        "apt install dataset-fashion-mnist, or put the files of github.com/zalandoresearch/fashion-mnist into a folder "
        "named fashion-mnist and set LML_DATA to the folder that holds it",
        _fashion_mnist,
    ),
    "galaxygrad": Outside(
        "the package galaxygrad 0.2.1",
        "make outside, or pip install --no-deps galaxygrad==0.2.1",
        _package("galaxygrad", "0.2.1"),
    ),
    "cache": Outside("a home folder", "set LML_CACHE to a folder for the cache", _cache),
    "gpu": Outside("a CUDA GPU", "run on a machine with one, with a CUDA build of PyTorch", _gpu),
    "browser": Outside(
        "Chromium",
        "apt install chromium, or python -m playwright install chromium",
        _browser,
    ),
    "compiler": Outside("a C++ compiler", "apt install g++", _program("g++", "clang++")),
    "git": Outside("git", "apt install git", _program("git")),
    "hub": Outside("the Hugging Face hub", "give a local folder with --model-dir", lambda: "huggingface.co"),
}


def found(name: str, *others: str | Path) -> str | None:
    """Return where a thing is, or ``None`` if it is not there or `OUTSIDE` is switched off.

    Args:
        name: one of `OUTSIDE`.
        others: files or folders where it may be besides, which only the caller knows.

    Raises:
        ValueError: for another name, or a value of ``LML_OUTSIDE`` that is neither ``all`` nor ``none``.
    """
    check_choice(name, "name", OUTSIDE)
    if not _on():
        return None
    return OUTSIDE[name].find() or next((str(path) for path in others if Path(path).exists()), None)


def missing(name: str, *others: str | Path) -> str:
    """Return what to do about a thing that is not there, one sentence; empty if it is there. Arguments as `found`."""
    if found(name, *others) is not None:
        return ""
    if not _on():
        return f"{OUTSIDE[name].what} is not looked for: the environment has LML_OUTSIDE=none"
    return f"{OUTSIDE[name].what} is not there: {OUTSIDE[name].install}"


def required(name: str) -> Path:
    """Return where a thing is.

    Raises:
        ValueError: with the sentence of `missing`, if it is not there.
    """
    where = found(name)
    if where is None:
        raise ValueError(missing(name))
    return Path(where)


def _on() -> bool:
    value = os.environ.get("LML_OUTSIDE") or "all"
    if value not in ("all", "none"):
        raise ValueError(f"the environment variable LML_OUTSIDE must be 'all' or 'none', got {value!r}")
    return value == "all"
