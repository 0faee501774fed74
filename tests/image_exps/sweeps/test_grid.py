"""Grids: names that stand for several arms, and mistakes, which are refused with what is known, and at once."""

import time

import pytest
from small_sweep import PART, grid

from image_exps.samplers.arms import arm
from image_exps.samplers.baselines import BASELINE_ARMS
from image_exps.sweeps.grid import Cell, expand, find_grid, load_grid, parse_grid


def test_names_of_arms_stand_for_several():
    assert expand("table/lml(damping=1e-3|0.1)")[:2] == ["ddim/lml(damping=0.001)", "ddim/lml(damping=0.1)"]
    assert len(expand("table/lml(damping=1e-3|0.1, rank=1|2)")) == 6 * 4
    assert expand("unipc-3") == ["unipc-3"]
    assert expand("unipc-3@time|log-snr|karras/lml(rank=1|2)") == [
        "unipc-3@time/lml(rank=1)",
        "unipc-3@time/lml(rank=2)",
        "unipc-3/lml(rank=1)",
        "unipc-3/lml(rank=2)",
        "unipc-3@karras/lml(rank=1)",
        "unipc-3@karras/lml(rank=2)",
    ]
    assert set(map(arm, expand("baselines@time|log-snr|karras"))) == set(map(arm, BASELINE_ARMS))


GRIDS = sorted(path.stem for path in find_grid("quick").parent.glob("*.toml"))


@pytest.mark.parametrize("name", GRIDS)
def test_the_grids_that_come_with_the_package_are_valid(name):
    assert len(load_grid(find_grid(name)).cells) > 50


def test_a_cell_s_key_depends_on_every_parameter_and_on_no_order():
    base = grid().cells[0]
    changed = [
        Cell(**{**vars(base), key: other})
        for key, other in {"arm": "pndm", "seed": 1, "count": 2, "repeats": 3, "distances": ("w2",)}.items()
    ]
    assert len({cell.key for cell in (base, *changed)}) == 6
    assert grid().digest == grid(arms=PART["arms"][::-1]).digest != grid(seeds=[1]).digest


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"part": [PART]}, "name must be a word"),
        (
            {"name": "x/../../../escaped", "part": [PART]},
            "name must be a word of letters, .*, got 'x/../../../escaped'",
        ),
        ({"name": "..", "part": [PART]}, "name must be a word"),
        ({"name": "a\\b", "part": [PART]}, "name must be a word"),
        ({"name": "a\0b", "part": [PART]}, "name must be a word"),
        ({"name": "a\n", "part": [PART]}, "name must be a word"),
        ({"name": "x"}, "part must be a list of one or more tables"),
        ({"name": "x", "plugins": ["a.module"], "part": [PART]}, "key must be of .* got 'plugins'"),
        ({"name": "x", "part": [PART | {"arm": ["ddim"]}]}, "part 1 of grid 'x': key must be of targets, .* got 'arm'"),
        ({"name": "x", "part": [{k: v for k, v in PART.items() if k != "count"}]}, "count must be given"),
        ({"name": "x", "part": [PART | {"targets": ["digit"]}]}, "targets must be of digits, mnist, .* got 'digit'"),
        ({"name": "x", "part": [PART | {"models": ["network"]}]}, "targets must be of fashion-mnist, emoji, galaxy"),
        ({"name": "x", "part": [PART | {"models": ["exactt"]}]}, "models must be of exact, .* got 'exactt'"),
        ({"name": "x", "part": [PART | {"models": ["white(sigma=1)"]}]}, "parameter of white must be one of size"),
        ({"name": "x", "part": [PART | {"arms": ["table/lmm"]}]}, "correction must be one of none, lml"),
        ({"name": "x", "part": [PART | {"arms": []}]}, "arms must be a list that is not empty"),
        ({"name": "x", "part": [PART | {"arms": ["heun"], "evaluations": [5]}]}, "a number that heun can spend, got 5"),
        ({"name": "x", "part": [PART | {"evaluations": [0]}]}, "evaluations must be a positive integer, got 0"),
        ({"name": "x", "part": [PART | {"count": 0}]}, "count must be an integer of at least 2, got 0"),
        ({"name": "x", "part": [PART | {"distances": ["fid"]}]}, "distances must be of frechet, .* got 'fid'"),
        ({"name": "x", "part": ["ddim"]}, "part must be a list of tables"),
    ],
)
def test_a_grid_with_a_mistake_is_refused_with_what_is_known(content, message):
    with pytest.raises(ValueError, match=message):
        parse_grid(content)


@pytest.mark.parametrize(
    ("part", "message"),
    [
        ({"count": 10**15}, "count must be integers of at most 1000000, got 1000000000000000"),
        ({"count": 10**400}, "count must be integers of at most 1000000, got one of 401 digits"),
        ({"evaluations": [10**9]}, "evaluations must be integers of at most 10000, got 1000000000"),
        ({"seeds": [2**63]}, "seeds must be integers of at most"),
        ({"repeats": 10**9}, "repeats must be integers of at most 100000"),
        ({"seeds": list(range(400)), "evaluations": list(range(1, 401))}, "at most 100000 cells, this part has 480000"),
        ({"arms": [f"ddim/lml(damping={'|'.join(['1'] * 400)}, mixing={'|'.join(['0'] * 400)})"]},
         "arms must stand for at most 100000 arms each, .* stands for 160000"),
    ],
)  # fmt: skip
def test_what_would_never_end_is_refused_in_a_second(part, message):
    began = time.process_time()
    with pytest.raises(ValueError, match=f"part 1 of grid 'x': .*{message}"):
        parse_grid({"name": "x", "part": [PART | part]})
    assert time.process_time() - began < 1


def test_a_file_that_is_nested_too_deep_is_named(tmp_path):
    file = tmp_path / "deep.toml"
    file.write_text("x = " + "[" * 100_000 + "]" * 100_000)
    with pytest.raises(ValueError, match=r"deep.toml must be a TOML file of a few levels"):
        load_grid(file)


def test_a_file_that_is_no_grid_is_named(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text("name = ")
    with pytest.raises(ValueError, match=r"bad.toml must be a TOML file"):
        load_grid(file)
    with pytest.raises(ValueError, match=r"grid must be a TOML file or one of ablations, .* table1, got 'fast'"):
        find_grid("fast")
