"""Results on disk: what is damaged is computed again and named, and nothing else than a sweep's own is touched."""

import shutil
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from small_sweep import grid

from image_exps.sweeps import run as sweep
from image_exps.sweeps import store as sweep_store
from image_exps.sweeps.cell import run_cell
from image_exps.sweeps.run import run_sweep
from image_exps.sweeps.store import read_results
from theory_checks.command_line.run_lock import only_run


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


@pytest.fixture
def copy(whole, tmp_path):
    return Path(shutil.copytree(whole, tmp_path / "copy"))


def _rewritten(change):
    """Return damage that rewrites a cell's rows, as a program that knows no digest would, or another version."""
    return lambda file: change(pd.read_parquet(file)).to_parquet(file, index=False)


def _kept_digest(change):
    """Return damage of the rows under the digest of before."""

    def damage(file):
        table = pq.read_table(file)
        changed = pa.Table.from_pandas(change(table.to_pandas()), preserve_index=False)
        pq.write_table(changed.replace_schema_metadata(table.schema.metadata), file)

    return damage


DAMAGES = {
    "cut off": (lambda file: file.write_bytes(file.read_bytes()[:-50]), "cannot be read as Parquet"),
    "empty": (lambda file: file.write_bytes(b""), "cannot be read as Parquet"),
    "a column more": (_rewritten(lambda frame: frame.assign(mood="good")), "has other columns than this version: mood"),
    "a column less": (_rewritten(lambda frame: frame.drop(columns="floor")), "than this version: floor"),
    "columns in another order": (_rewritten(lambda frame: frame[frame.columns[::-1]]), "in another order"),
    "another value": (_kept_digest(lambda frame: frame.assign(value=0.0)), "its rows are not those that were written"),
    "a row less": (_kept_digest(lambda frame: frame[:1]), "its rows are not those that were written"),
    "no digest": (_rewritten(lambda frame: frame), "its rows are not those that were written"),
}


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damaged_cell_is_computed_again_and_named_and_no_table_is_made_of_it(copy, whole, cache, name):
    damage, reason = DAMAGES[name]
    file = sorted((copy / "cells").iterdir())[0]
    damage(file)
    with pytest.raises(ValueError, match=rf"{file} .*{reason}.*: run the sweep again, which computes this cell anew"):
        read_results(copy)
    done = run_sweep(grid(), copy, cache=cache)
    assert (done.computed, done.kept, done.failed) == (1, 5, {})
    ((cell, said),) = done.damaged.items()
    assert cell.key == file.stem
    assert reason in said
    assert (copy / "results.parquet").read_bytes() == (whole / "results.parquet").read_bytes()


def test_rows_of_another_cell_do_not_count(copy, whole, cache):
    first, second, *_ = sorted((copy / "cells").iterdir())
    shutil.copyfile(first, second)
    done = run_sweep(grid(), copy, cache=cache)
    assert {cell.key: said for cell, said in done.damaged.items()} == {
        second.stem: "its rows are those of another cell"
    }
    assert (copy / "results.parquet").read_bytes() == (whole / "results.parquet").read_bytes()


def test_a_damaged_union_is_written_again(copy, whole, cache):
    (copy / "results.parquet").write_bytes(b"")
    run_sweep(grid(), copy, cache=cache)
    assert (copy / "results.parquet").read_bytes() == (whole / "results.parquet").read_bytes()


def test_a_column_that_is_not_declared_is_refused_where_it_is_made(tmp_path, cache, monkeypatch):
    monkeypatch.setattr(sweep, "run_cell", lambda cell, folder: [row | {"x": 1} for row in run_cell(cell, folder)])
    with pytest.raises(ValueError, match=r"rows must have the columns target, model, .* got target, .*, x, "):
        run_sweep(grid(arms=["ddim"], evaluations=[5]), tmp_path, cache=cache)


def test_two_runs_in_one_folder_at_once_are_refused(tmp_path, cache):
    with only_run(tmp_path), pytest.raises(ValueError, match="is written by one right now"):
        run_sweep(grid(), tmp_path, cache=cache)


@pytest.mark.parametrize("left", [(), ("cells",), (".lock", ".sweep.json.01234567.unfinished", "cells")])
def test_a_run_that_was_killed_at_its_very_beginning_blocks_no_folder(tmp_path, left):
    for name in left:
        (tmp_path / name).mkdir() if name == "cells" else (tmp_path / name).touch()
    store = sweep_store.Store(tmp_path, grid())
    with store.open():
        assert len(store.missing()) == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == [".lock", "cells", "sweep.json"]


def test_a_manifest_that_cannot_be_read_is_named(copy):
    (copy / "sweep.json").write_text("[" * 100_000)
    with pytest.raises(ValueError, match=f"{copy}/sweep.json cannot be read as JSON: it is nested too deeply"):
        run_sweep(grid(), copy)


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
