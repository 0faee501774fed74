"""What a sweep computes, declared in a TOML file: parts, each the product of its axes; a cell is one point of them.

::

    name = "quick"
    repeats = 200                      # a key up here is the default of every part
    [[part]]
    targets = ["digits"]
    models = ["exact"]                 # or "network", "white(size=0.1)", ...
    arms = ["table", "table/lml", "ddim/lml(damping=1e-4|1e-3)"]
    evaluations = [5, 10]
    seeds = [0, 1]
    count = 512
    distances = ["frechet", "endpoint-rmse"]

In a name of an arm ``table`` stands for each of `image_exps.samplers.table.TABLE_BASES`, ``baselines`` for each of
`image_exps.samplers.baselines.BASELINES`, and ``|`` separates spacings, or values of a parameter:
``baselines@time|log-snr|karras``.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import tomllib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from image_exps.problems.names import check_problem
from image_exps.samplers.baselines import BASELINES
from image_exps.samplers.table import TABLE_BASES, algorithm
from lml.arguments import check_integer

__all__ = ["Cell", "Grid", "expand", "find_grid", "load_grid", "parse_grid"]

T = TypeVar("T")

_HERE = Path(__file__).parent / "grids"

#: Of a grid, and of a cell: more is a mistake, or belongs into several grids. All samples of a cell are in memory.
MOST_CELLS, MOST_SAMPLES, MOST_EVALUATIONS, MOST_REPEATS, MOST_SEED = 100_000, 1_000_000, 10_000, 100_000, 2**63 - 1
_LISTS = ("targets", "models", "arms", "evaluations", "seeds", "distances")
_KEYS = (*_LISTS, "count", "repeats")
_DEFAULTS: dict[str, Any] = {"models": ["exact"], "seeds": [0], "repeats": 200}

# What stands for several bases in the name of an arm.
_SEVERAL = {"table": TABLE_BASES, "baselines": BASELINES}


@dataclass(frozen=True)
class Cell:
    """One point of a grid: a pure function of these parameters is its rows.

    Attributes:
        target, model, arm: by name.
        evaluations: of the network.
        seed, count: samples ``0 .. count - 1`` of the seed.
        distances: by name.
        repeats: resamples behind an interval.
    """

    target: str
    model: str
    arm: str
    evaluations: int
    seed: int
    count: int
    distances: tuple[str, ...]
    repeats: int

    @property
    def key(self) -> str:
        """A digest of the parameters: the name under which the cell is kept."""
        return hashlib.sha256(json.dumps(asdict(self), sort_keys=True).encode()).hexdigest()[:20]

    @property
    def problem(self) -> tuple[str, str]:
        """Target and model: what is built once and serves many cells."""
        return self.target, self.model

    def __str__(self) -> str:
        return f"{self.target} {self.model}, {self.arm}, {self.evaluations} evaluations, seed {self.seed}"


@dataclass(frozen=True)
class Grid:
    """A named set of cells."""

    name: str
    cells: tuple[Cell, ...]

    @property
    def digest(self) -> str:
        """Equal for grids with the same cells, in any order."""
        return hashlib.sha256("".join(sorted(cell.key for cell in self.cells)).encode()).hexdigest()[:20]


def expand(name: str) -> list[str]:
    """Return the arms that a name of a grid stands for: of every base for ``table``, of every choice between ``|``.

    Raises:
        ValueError: for a name that means no arm, or more than `MOST_CELLS`.
    """
    from image_exps.samplers.arms import arm

    _check_choices(name)
    base, rest = re.fullmatch(r"([^@/(]*)(.*)", name, re.S).groups()  # type: ignore[union-attr]
    if base in _SEVERAL:
        return [made for each in _SEVERAL[base] for made in expand(each + rest)]
    place, slash, correction = name.partition("/")
    base, _, spacings = place.partition("@")
    if "|" in spacings:
        return [made for spacing in spacings.split("|") for made in expand(f"{base}@{spacing}{slash}{correction}")]
    head, bracket, inside = name.partition("(")
    if not bracket:
        return [arm(name).name]
    choices = [
        [f"{part.partition('=')[0]}={value.strip()}" for value in part.partition("=")[2].split("|")]
        for part in inside.removesuffix(")").split(",")
    ]
    end = ")" if inside.endswith(")") else ""
    return [arm(f"{head}({', '.join(chosen)}{end}").name for chosen in itertools.product(*choices)]


def _check_choices(name: object) -> int:
    """Return how many arms a name stands for at most: the product of its numbers of bases, spacings and values.

    Raises:
        ValueError: for what is no name, has a base that is none, or stands for more than `MOST_CELLS`.
    """
    if not isinstance(name, str):
        raise ValueError(f"arms must be names, got {name!r}")
    place, _, values = name.partition("(")
    base = re.split("[@/]", place, maxsplit=1)[0]
    if base not in _SEVERAL:
        algorithm(base)
    many = len(_SEVERAL.get(base, (base,))) * (place.count("|") + 1)
    many *= math.prod(part.count("|") + 1 for part in values.split(","))
    if many > MOST_CELLS:
        raise ValueError(f"arms must stand for at most {MOST_CELLS} arms each, {name[:60]!r} stands for {many}")
    return many


def parse_grid(content: Mapping[str, Any]) -> Grid:
    """Return the grid that a table declares.

    Raises:
        ValueError: for a key, name or value that is not known or not of its kind, saying what is.
    """
    shared = dict(content)
    name, parts = shared.pop("name", None), shared.pop("part", None)
    if not isinstance(name, str) or not re.fullmatch(r"\w[\w.-]*", name):
        raise ValueError(f"name must be a word of letters, digits, '_', '-' and '.', got {name!r}")
    if not isinstance(parts, list) or not parts:
        raise ValueError("part must be a list of one or more tables, [[part]], got none")
    if not all(isinstance(part, Mapping) for part in parts):
        raise ValueError("part must be a list of tables, [[part]], got something else in it")
    whole = [{**_DEFAULTS, **shared, **part} for part in parts]
    _each(whole, name, _check_part)  # what can be seen without loading anything is seen first
    found = _each(whole, name, _cells)
    cells = tuple(dict.fromkeys(itertools.chain.from_iterable(found)))  # parts may overlap
    if len(cells) > MOST_CELLS:
        raise ValueError(f"grid {name!r} must have at most {MOST_CELLS} cells, it has {len(cells)}: make several of it")
    return Grid(name, cells)


def _each(parts: Iterable[Mapping[str, Any]], name: str, function: Callable[[Mapping[str, Any]], T]) -> list[T]:
    """Return what a function makes of each part; what it refuses is said of the part."""
    made = []
    for number, part in enumerate(parts, 1):
        try:
            made.append(function(part))
        except ValueError as error:
            raise ValueError(f"part {number} of grid {name!r}: {error}") from error
    return made


def _check_part(part: Mapping[str, Any]) -> None:
    """Refuse what is wrong whatever the names of arms and distances mean, and targets and models that do not exist."""
    _known("key", part, _KEYS)
    for key in _KEYS:
        if key not in part:
            raise ValueError(f"{key} must be given, in the part or for all parts")
        if key in _LISTS and not (isinstance(part[key], list) and part[key]):
            raise ValueError(f"{key} must be a list that is not empty, got {part[key]!r}")
    for key, least, most in (("evaluations", 1, MOST_EVALUATIONS), ("seeds", 0, MOST_SEED)):
        for value in part[key]:
            _check_integer(key, value, least, most)
    _check_integer("count", part["count"], 2, MOST_SAMPLES)
    _check_integer("repeats", part["repeats"], 2, MOST_REPEATS)
    many = math.prod(len(part[key]) for key in ("targets", "models", "seeds", "evaluations"))
    many *= sum(map(_check_choices, part["arms"]))
    if many > MOST_CELLS:
        raise ValueError(f"a grid must have at most {MOST_CELLS} cells, this part has {many}: make several of it")
    for target, model in itertools.product(part["targets"], part["models"]):
        check_problem(target, model)


def _cells(part: Mapping[str, Any]) -> list[Cell]:
    """Return the cells of a part; all but its arms and distances is checked."""
    from image_exps.samplers.arms import arm

    arms = list(dict.fromkeys(made for name in part["arms"] for made in expand(name)))
    for name, evaluations in itertools.product(arms, part["evaluations"]):
        arm(name).build(evaluations, 2, seed=0, count=1)  # what it cannot spend, it refuses now

    from image_exps.distances import DISTANCES, FLOW_DISTANCES  # after the rest: they take longest to load

    _known("distances", part["distances"], (*DISTANCES, *FLOW_DISTANCES))
    axes = itertools.product(part["targets"], part["models"], part["seeds"], part["evaluations"], arms)
    return [
        Cell(target, model, name, n, seed, part["count"], tuple(part["distances"]), part["repeats"])
        for target, model, seed, n, name in axes
    ]


def load_grid(path: Path) -> Grid:
    """Return the grid of a TOML file.

    Raises:
        ValueError: naming the file, for one that is not TOML, and for what `parse_grid` refuses.
    """
    try:
        return parse_grid(tomllib.loads(path.read_text(encoding="utf-8-sig")))
    except RecursionError:
        raise ValueError(f"{path} must be a TOML file of a few levels, it is nested too deep to be read") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a TOML file: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    except OSError as error:
        raise ValueError(f"{path} cannot be read: {error.strerror}") from error


def find_grid(name: str) -> Path:
    """Return the file of a grid: a path, or the name of one that comes with the package.

    Raises:
        ValueError: if there is none, listing those that come with the package.
    """
    for path in (Path(name), _HERE / f"{name}.toml"):
        if path.is_file():
            return path
    known = ", ".join(sorted(path.stem for path in _HERE.glob("*.toml")))
    raise ValueError(f"grid must be a TOML file or one of {known}, got {name!r}")


def _known(what: str, names: Iterable[str], known: Sequence[str] | Mapping[str, object]) -> None:
    unknown = [name for name in names if name not in known]
    if unknown:
        raise ValueError(f"{what} must be of {', '.join(known)}, got {', '.join(map(repr, unknown))}")


def _check_integer(name: str, value: object, least: int, most: int) -> None:
    value = check_integer(value, name, least=least)
    if value > most:
        shown = f"{value}" if value < 10**20 else f"one of {len(str(value))} digits"
        raise ValueError(f"{name} must be integers of at most {most}, got {shown}")
