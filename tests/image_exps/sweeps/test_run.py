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
from small_sweep import PART, TOML, figures, grid

from image_exps.commands.sweep import command
from image_exps.commands.table import command as table_command
from image_exps.problems.endpoint_cache import cached_endpoints
from image_exps.problems.specification import sampling_problem
from image_exps.sweeps import run as sweep
from image_exps.sweeps import store as sweep_store
from image_exps.sweeps.cell import generate, run_cell
from image_exps.sweeps.grid import find_grid, load_grid, parse_grid
from image_exps.sweeps.run import in_order, run_sweep
from image_exps.sweeps.store import read_results
from theory_checks.command_line.plain_errors import PlainError
from theory_checks.ledger.code_version import imported_files

ROOT = Path(__file__).parents[3]
RESULTS = ROOT / "image_exps" / "results"


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


def test_endpoints_are_computed_once(tmp_path, monkeypatch):
    made = sampling_problem("ring-2d", "exact")
    first = cached_endpoints(made, 0, 1, tmp_path)
    (file,) = tmp_path.iterdir()
    monkeypatch.setattr("image_exps.problems.endpoint_cache.flow_endpoints", lambda *_: pytest.fail("computed twice"))
    again = cached_endpoints(made, 0, 1, tmp_path)
    assert torch.equal(first.exact, again.exact)
    assert first.exact.shape == (256, 2)
    assert file.name.endswith("-0-1.safetensors")
    assert float(first.refinement.mean()) < 1e-3


@pytest.mark.parametrize(
    "damage", [lambda b: b[:100], lambda b: b"", lambda b: b[:-8] + bytes(8), lambda b: b"x" * 500]
)
def test_damaged_endpoints_are_computed_again_and_named(tmp_path, damage, caplog):
    made = sampling_problem("ring-2d", "exact")
    first = cached_endpoints(made, 0, 1, tmp_path)
    (file,) = tmp_path.iterdir()
    whole = file.read_bytes()
    file.write_bytes(damage(whole))
    again = cached_endpoints(made, 0, 1, tmp_path)
    assert torch.equal(first.exact, again.exact)
    assert torch.equal(first.refinement, again.refinement)
    assert file.read_bytes() == whole
    assert caplog.messages == [f"{file} is damaged, or of something else: it is computed again"]


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


def test_the_digest_of_the_source_follows_what_a_cell_imports_and_no_grid():
    files = imported_files("image_exps.sweeps.cell", looks=("image_exps.sweeps.grid",))
    names = {file.relative_to(ROOT).as_posix() for file in files}
    assert {"lml/samplers/ipndm.py", "lml/tuned.json", "toy/levels.py", "image_exps/samplers/table.py"} < names
    assert not {name for name in names if name.endswith(".toml") or name.startswith("paper_figures/")}


GRIDS = sorted(path.stem for path in find_grid("quick").parent.glob("*.toml"))


@pytest.mark.parametrize("name", [name for name in GRIDS if (RESULTS / name).is_dir()])
def test_the_results_that_come_with_the_package_are_the_cells_of_their_grid(name):
    rows = read_results(RESULTS / name / "results.parquet")
    assert set(rows["key"]) == {cell.key for cell in load_grid(find_grid(name)).cells}


def test_pictures_that_are_not_here_are_said_before_a_cell_is_computed(tmp_path, monkeypatch):
    monkeypatch.setenv("LML_OUTSIDE", "none")
    monkeypatch.setattr(sweep, "run_cell", lambda *_: pytest.fail("a cell was computed"))
    part = {"targets": ["fashion-mnist"], "models": ["network"], "distances": ["frechet-pca"]}
    with pytest.raises(ValueError, match="Fashion-MNIST is not looked for"):
        run_sweep(grid(**part), tmp_path)


def test_a_network_is_judged_by_its_own_flow_without_its_pictures(tmp_path, monkeypatch):
    monkeypatch.setenv("LML_OUTSIDE", "none")
    part = {"targets": ["fashion-mnist"], "models": ["network"], "distances": ["endpoint-rmse"], "arms": ["ddim"]}
    cell = grid(**part, count=2, evaluations=[2]).cells[0]
    monkeypatch.setattr("image_exps.problems.endpoint_cache._STEPS_OF_PICTURES", 4)
    monkeypatch.setattr("image_exps.problems.endpoint_cache.BLOCK", 2)
    (row,) = run_cell(cell, tmp_path)
    assert row["dim"] == 784
    assert 0 < row["value"] < 2


def test_a_reason_outside_of_the_code_is_a_sentence_in_place_of_a_traceback(tmp_path, cache, monkeypatch):
    def failing(cell, folder):
        raise ValueError("pictures must be here") if cell.arm == "ddim" else RuntimeError("a fault")

    monkeypatch.setattr(sweep, "run_cell", failing)
    done = run_sweep(grid(), tmp_path, cache=cache)
    assert {cell.arm: error.count("\n") for cell, error in done.failed.items()}["ddim"] == 0
    assert {error for cell, error in done.failed.items() if cell.arm == "ddim"} == {"pictures must be here"}
    assert all("Traceback" in error for cell, error in done.failed.items() if cell.arm != "ddim")


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
    with pytest.raises(ValueError, match="workers must be a positive integer, got 0"):
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


def _end(item):
    os.kill(os.getpid(), signal.SIGKILL)


@pytest.mark.slow
def test_a_worker_that_is_ended_from_outside_is_a_sentence():
    with pytest.raises(PlainError, match=r"a worker was ended from outside, .* with fewer --workers"):
        list(sweep._on_processes(2, _end, [1, 2, 3]))


@pytest.mark.slow
def test_workers_of_a_killed_sweep_end_at_once_and_what_they_left_goes_with_the_next_run(tmp_path, cache):
    psutil = pytest.importorskip("psutil")
    file, out = tmp_path / "small.toml", tmp_path / "out"
    file.write_text(TOML.replace("count = 300", "count = 100000"))
    line = [
        sys.executable,
        "-m",
        "image_exps",
        "sweep",
        str(file),
        "--out",
        str(out),
        "--cache",
        str(tmp_path / "ends"),
    ]
    run = subprocess.Popen([*line, "--workers", "2"], cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 240
    while not (tmp_path / "ends").exists() and time.monotonic() < deadline:  # workers compute
        time.sleep(0.05)
    workers = [p for p in psutil.Process(run.pid).children(recursive=True) if "loky" in " ".join(p.cmdline())]
    assert len(workers) >= 2
    run.kill()
    run.wait()
    (out / "cells" / ".a.parquet.01234567.unfinished").touch()
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not [p for p in alive if p.status() != psutil.STATUS_ZOMBIE]
    store = sweep_store.Store(out, load_grid(file))
    with store.open():
        assert not list(out.rglob("*.unfinished"))


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
