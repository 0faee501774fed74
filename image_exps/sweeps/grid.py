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
import re
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from image_exps.distances import DISTANCES
from image_exps.distances.endpoint import ENDPOINT_DISTANCES
from image_exps.problems.specification import check_problem
from image_exps.samplers.arms import arm
from image_exps.samplers.baselines import BASELINES
from image_exps.samplers.table import TABLE_BASES

__all__ = ["Cell", "Grid", "expand", "find_grid", "load_grid", "parse_grid"]

_HERE = Path(__file__).parent / "grids"
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
        ValueError: for a name that means no arm.
    """
    if not isinstance(name, str):
        raise ValueError(f"arms must be names, got {name!r}")
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
    cells: dict[Cell, None] = {}  # an ordered set: parts may overlap
    for number, part in enumerate(parts, 1):
        try:
            cells.update(dict.fromkeys(_cells({**_DEFAULTS, **shared, **part})))
        except ValueError as error:
            raise ValueError(f"part {number} of grid {name!r}: {error}") from error
    return Grid(name, tuple(cells))


def _cells(part: Mapping[str, Any]) -> list[Cell]:
    _known("key", part, _KEYS)
    for key in _KEYS:
        if key not in part:
            raise ValueError(f"{key} must be given, in the part or for all parts")
        if key in _LISTS and not (isinstance(part[key], list) and part[key]):
            raise ValueError(f"{key} must be a list that is not empty, got {part[key]!r}")
    _known("distances", part["distances"], (*DISTANCES, *ENDPOINT_DISTANCES))
    for key in ("evaluations", "seeds"):
        for value in part[key]:
            _check_integer(key, value, 1 if key == "evaluations" else 0)
    _check_integer("count", part["count"], 2)
    _check_integer("repeats", part["repeats"], 2)
    for target, model in itertools.product(part["targets"], part["models"]):
        check_problem(target, model)
    arms = list(dict.fromkeys(made for name in part["arms"] for made in expand(name)))
    for name, evaluations in itertools.product(arms, part["evaluations"]):
        arm(name).build(evaluations, 2, seed=0, count=1)  # what it cannot spend, it refuses now
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
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} must be a TOML file: {error}") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


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


def _check_integer(name: str, value: object, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ValueError(f"{name} must be integers of at least {least}, got {value!r}")
