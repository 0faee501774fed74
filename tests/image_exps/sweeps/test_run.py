"""A sweep gives the same figures however it is run, loses and repeats nothing, and overwrites nothing."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
import torch
from click.testing import CliRunner

from image_exps.commands.sweep import command
from image_exps.commands.table import command as table_command
from image_exps.problems.endpoint_cache import cached_endpoints
from image_exps.problems.specification import sampling_problem
from image_exps.samplers.arms import arm
from image_exps.samplers.baselines import BASELINE_ARMS
from image_exps.sweeps import run as sweep
from image_exps.sweeps import store as sweep_store
from image_exps.sweeps.cell import generate, run_cell
from image_exps.sweeps.grid import Cell, expand, find_grid, load_grid, parse_grid
from image_exps.sweeps.run import in_order, run_sweep
from image_exps.sweeps.store import read_results

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "image_exps" / "results"
PART = {
    "targets": ["ring-2d"],
    "arms": ["ddim", "ddim/noise", "unipc-3/lml"],
    "evaluations": [5, 6],
    "count": 300,
    "distances": ["frechet", "endpoint-rmse"],
    "repeats": 20,
}
# What a run says of itself; all else is the same to the bit.
TIMES = ["seconds", "sampling_seconds", "distance_seconds", "revision", "source"]
TOML = f"""
name = "small"
[[part]]
{chr(10).join(f"{key} = {value!r}" for key, value in PART.items())}
""".replace("'", '"')


def grid(**part):
    return parse_grid({"name": "small", "part": [PART | part]})


def figures(path):
    frame = read_results(path).drop(columns=TIMES)
    return frame.sort_values(["key", "distance"]).reset_index(drop=True)


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def whole(tmp_path_factory, cache):
    """The folder of a sweep that was never interrupted."""
    folder = tmp_path_factory.mktemp("whole")
    done = run_sweep(grid(), folder, cache=cache)
    assert (done.computed, done.kept, done.failed) == (6, 0, {})
    return folder


def test_a_row_has_every_parameter_the_figure_and_where_it_comes_from(whole):
    rows = read_results(whole)
    assert len(rows) == 3 * 2 * 2
    assert set(PART["arms"]) == set(rows["arm"])
    assert (rows["spent"] == rows["evaluations"]).all()
    assert (rows["low"] <= rows["value"]).all()
    assert (rows["value"] <= rows["high"]).all()
    assert not rows[["value", "floor", "seconds"]].isna().any().any()
    expected = {"dim": 2, "dtype": "float64", "seed": 0, "count": 300, "torch": torch.__version__, "not_finite": 0}
    assert {key: rows[key].unique().tolist() for key in expected} == {key: [value] for key, value in expected.items()}
    lml = rows[rows["correction"] == "lml"]
    assert set(lml["damping"]) == {1e-3}
    assert set(lml["mixing"]) == {1e-4}
    pd.testing.assert_frame_equal(figures(whole / "results.parquet"), figures(whole))
    assert rows["source"].unique().tolist() == [sweep_store.source()]


def test_a_sample_is_the_same_in_a_run_of_any_size():
    few, many = (generate(cell)[0] for cell in (grid(count=7).cells[1], grid(count=300).cells[1]))
    assert torch.equal(few, many[:7])  # to the bit: blocks are whole


def test_a_sweep_goes_on_where_it_was_stopped(whole, tmp_path, cache, monkeypatch):
    asked = []

    def stopping(cell, folder):
        asked.append(cell)
        if len(asked) == 3:
            raise KeyboardInterrupt
        return run_cell(cell, folder)

    monkeypatch.setattr(sweep, "run_cell", stopping)
    with pytest.raises(KeyboardInterrupt):
        run_sweep(grid(), tmp_path, cache=cache)
    done = run_sweep(grid(), tmp_path, cache=cache)
    assert (done.computed, done.kept) == (4, 2)
    assert len(asked) == 3 + 4
    assert len(set(asked)) == 6  # the one in flight was asked twice, no finished one was
    pd.testing.assert_frame_equal(figures(tmp_path), figures(whole))
    assert run_sweep(grid(), tmp_path, cache=cache).computed == 0
    assert len(asked) == 7


def test_a_cell_that_fails_stops_no_other_and_is_tried_again(tmp_path, cache, monkeypatch):
    def failing(cell, folder):
        if cell.arm == "ddim":
            raise RuntimeError("out of paper")
        return run_cell(cell, folder)

    monkeypatch.setattr(sweep, "run_cell", failing)
    done = run_sweep(grid(), tmp_path, cache=cache)
    assert {cell.arm for cell in done.failed} == {"ddim"}
    assert all("RuntimeError: out of paper" in error for error in done.failed.values())
    assert done.computed == 4
    monkeypatch.undo()
    assert run_sweep(grid(), tmp_path, cache=cache).computed == 2


def test_a_folder_of_another_grid_or_version_is_refused_and_left_alone(whole, tmp_path, monkeypatch):
    def content():
        return {path: path.read_bytes() for path in whole.rglob("*") if path.is_file()}

    before = content()
    with pytest.raises(ValueError, match=r"out must be a folder of this grid and version, .* Nothing was changed"):
        run_sweep(grid(evaluations=[7]), whole)
    monkeypatch.setattr(sweep_store.lml, "__version__", "99.0")
    with pytest.raises(ValueError, match=r"package '.*', not '99.0'"):
        run_sweep(grid(), whole)
    assert content() == before
    (tmp_path / "mine.txt").write_text("precious")
    with pytest.raises(ValueError, match="out must be an empty folder"):
        run_sweep(grid(), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]


def test_results_of_another_format_are_refused(whole, tmp_path):
    file = tmp_path / "old.parquet"
    read_results(whole).assign(format=0).to_parquet(file)
    with pytest.raises(ValueError, match=r"results must be of format 2, .* has \[0\]: run the sweep again"):
        read_results(file)
    read_results(whole).assign(format=1).to_parquet(file)
    with pytest.raises(ValueError, match=r"has \[1\]: python -m image_exps.results.rename .*old.parquet"):
        read_results(file)
    for bad, message in ((tmp_path / "none", "does not exist"), (tmp_path, "has none"), (Path(__file__), "is not")):
        with pytest.raises(ValueError, match=message):
            read_results(bad)


def test_endpoints_are_computed_once(tmp_path, monkeypatch):
    made = sampling_problem("ring-2d", "exact")
    first = cached_endpoints(made, 0, 1, tmp_path)
    (file,) = tmp_path.iterdir()
    monkeypatch.setattr("image_exps.problems.endpoint_cache.flow_endpoints", lambda *_: pytest.fail("computed twice"))
    again = cached_endpoints(made, 0, 1, tmp_path)
    assert torch.equal(first.exact, again.exact)
    assert first.exact.shape == (256, 2)
    assert file.name.endswith("-0-1.npz")
    assert float(first.refinement.mean()) < 1e-3


def test_samples_that_are_not_finite_are_told_and_not_averaged(tmp_path, cache):
    # The published expression in float32 at kappa = 0, at a damping that makes it lose all digits.
    cell = grid(arms=["ddim/released-float32(damping=1e-30)"], evaluations=[5]).cells[0]
    rows = run_cell(cell, cache)
    assert all(row["not_finite"] > 0 for row in rows)
    assert all(row["value"] != row["value"] and "samples are not finite" in row["remark"] for row in rows)


def test_an_imperfect_score_is_a_model_of_a_sweep():
    exact, smooth = (
        generate(grid(models=[model], arms=["ddim"], count=4).cells[0])[0] for model in ("exact", "smooth(size=0.2)")
    )
    assert not torch.allclose(exact, smooth, atol=1e-3)


def test_cells_of_a_target_are_together_and_the_costly_ones_first():
    cells = parse_grid({"name": "x", "part": [PART, PART | {"targets": ["cross-2d"], "count": 900}]}).cells
    order = in_order(list(reversed(cells)))
    assert [cell.target for cell in order] == ["cross-2d"] * 6 + ["ring-2d"] * 6
    assert [cell.evaluations for cell in order[:6]] == [6, 6, 6, 5, 5, 5]
    assert order == in_order(cells)


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


@pytest.mark.parametrize("name", [name for name in GRIDS if (RESULTS / name).is_dir()])
def test_the_results_that_come_with_the_package_are_the_cells_of_their_grid(name):
    rows = read_results(RESULTS / name / "results.parquet")
    assert set(rows["key"]) == {cell.key for cell in load_grid(find_grid(name)).cells}


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
        ({"name": "x", "part": [PART | {"models": ["network"]}]}, "targets must be of fashion-mnist, emoji for"),
        ({"name": "x", "part": [PART | {"models": ["exactt"]}]}, "models must be of exact, .* got 'exactt'"),
        ({"name": "x", "part": [PART | {"models": ["white(sigma=1)"]}]}, "parameter of white must be one of size"),
        ({"name": "x", "part": [PART | {"arms": ["table/lmm"]}]}, "correction must be one of none, lml"),
        ({"name": "x", "part": [PART | {"arms": []}]}, "arms must be a list that is not empty"),
        ({"name": "x", "part": [PART | {"arms": ["heun"], "evaluations": [5]}]}, "a number that heun can spend, got 5"),
        ({"name": "x", "part": [PART | {"evaluations": [0]}]}, "evaluations must be integers of at least 1, got 0"),
        ({"name": "x", "part": [PART | {"count": 0}]}, "count must be integers of at least 2, got 0"),
        ({"name": "x", "part": [PART | {"distances": ["fid"]}]}, "distances must be of frechet, .* got 'fid'"),
    ],
)
def test_a_grid_with_a_mistake_is_refused_with_what_is_known(content, message):
    with pytest.raises(ValueError, match=message):
        parse_grid(content)


def test_a_file_that_is_no_grid_is_named(tmp_path):
    file = tmp_path / "bad.toml"
    file.write_text("name = ")
    with pytest.raises(ValueError, match=r"bad.toml must be a TOML file"):
        load_grid(file)
    with pytest.raises(ValueError, match=r"grid must be a TOML file or one of ablations, .* table1, got 'fast'"):
        find_grid("fast")


def test_rows_of_two_states_of_the_source_are_told(tmp_path, cache, monkeypatch):
    file = tmp_path / "small.toml"
    file.write_text(TOML)
    options = [str(file), "--out", str(tmp_path / "out"), "--cache", str(cache), "--workers", "1"]
    assert "states of the source" not in CliRunner().invoke(command, options).output
    next((tmp_path / "out" / "cells").iterdir()).unlink()
    (tmp_path / "out" / "results.parquet").unlink()
    monkeypatch.setattr(sweep, "source", lambda: "edited")
    done = CliRunner().invoke(command, options)
    assert "1 cells computed, 5 kept, 0 failed." in done.output
    assert "The rows come from 2 states of the source" in done.output


def test_workers_and_schedulers_that_are_none_are_refused(tmp_path, monkeypatch):
    with pytest.raises(ValueError, match="workers must be an integer of at least 1, got 0"):
        run_sweep(grid(), tmp_path / "a", workers=0)


def test_the_commands_sweep_and_tabulate_and_tell_mistakes_in_one_line(tmp_path, cache):
    file = tmp_path / "small.toml"
    file.write_text(TOML)
    run = CliRunner().invoke
    listed = run(command, [str(file), "--list"])
    assert listed.output.count("ring-2d exact, ddim") == 4
    options = [str(file), "--out", str(tmp_path / "out"), "--cache", str(cache), "--workers", "1"]
    first, second = run(command, options), run(command, options)
    assert "6 cells computed, 0 kept, 0 failed." in first.output
    assert "0 cells computed, 6 kept, 0 failed." in second.output
    assert first.exit_code == second.exit_code == 0
    made = run(table_command, [str(tmp_path / "out"), "--distance", "frechet"])
    assert made.output.count("| ddim") == 2
    assert run(table_command, [str(tmp_path / "out"), "--target", "x"]).exit_code == 2
    wrong = run(command, ["fast"])
    assert wrong.exit_code == 2
    assert "grid must be a TOML file or one of" in wrong.output


@pytest.mark.slow
def test_two_processes_give_the_same_figures_to_the_bit(whole, tmp_path, cache):
    run_sweep(grid(), tmp_path, workers=2, cache=cache)
    pd.testing.assert_frame_equal(figures(tmp_path), figures(whole), check_exact=True)


@pytest.mark.slow
def test_a_sweep_that_is_killed_loses_and_repeats_nothing(whole, tmp_path, cache):
    file, out = tmp_path / "small.toml", tmp_path / "out"
    file.write_text(TOML)
    line = [sys.executable, "-m", "image_exps", "sweep", str(file), "--out", str(out), "--cache", str(cache)]
    run = subprocess.Popen([*line, "--workers", "1"], cwd=ROOT, stdout=subprocess.DEVNULL, start_new_session=True)
    deadline = time.monotonic() + 120
    while len(kept := list((out / "cells").glob("*.parquet"))) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
        assert run.poll() is None or kept
    os.killpg(run.pid, signal.SIGKILL)
    run.wait()
    stamps = {path: path.stat().st_mtime_ns for path in (out / "cells").glob("*.parquet")}
    assert len(stamps) >= 2
    assert not (out / "results.parquet").exists() or len(stamps) == 6
    done = run_sweep(grid(), out, cache=cache)
    assert (done.computed, done.kept) == (6 - len(stamps), len(stamps))
    assert stamps == {path: path.stat().st_mtime_ns for path in stamps}
    pd.testing.assert_frame_equal(figures(out), figures(whole), check_exact=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")  # of distributed's own shutting down
def test_a_dask_cluster_of_two_workers_gives_the_same_figures_to_the_bit(whole, tmp_path, cache):
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None) as cluster:
        done = run_sweep(grid(), tmp_path, scheduler=cluster.scheduler_address, cache=cache)
    assert (done.computed, done.failed) == (6, {})
    pd.testing.assert_frame_equal(figures(tmp_path), figures(whole), check_exact=True)


@pytest.mark.slow
@pytest.mark.filterwarnings("default")
def test_a_scheduler_that_is_not_there_is_told(tmp_path, monkeypatch):
    pytest.importorskip("distributed")
    monkeypatch.setattr(sweep, "_CONNECT", 1)
    with pytest.raises(ValueError, match="scheduler must be the address of a running Dask scheduler, got 'tcp://127"):
        run_sweep(grid(), tmp_path, scheduler="tcp://127.0.0.1:1")
