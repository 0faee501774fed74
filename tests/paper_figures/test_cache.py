"""The data of figures on disk: computed once, and again after a change of what they rest on or if damaged."""

from dataclasses import replace

import numpy as np
import pytest

from paper_figures import cache
from paper_figures.figure import find
from theory_checks.ledger.claim import Settings
from theory_checks.ledger.code_version import imported_files

SETTINGS = Settings(seed=3)


def counting(figure, calls):
    def compute(settings, **parameters):
        calls.append(parameters)
        return {"x": np.arange(3.0)}

    compute.__module__ = figure.compute.__module__
    return replace(figure, compute=compute)


def test_second_run_computes_nothing(tmp_path):
    calls = []
    figure = counting(find("geometry"), calls)
    first, kept = cache.data_of(figure, SETTINGS, tmp_path)
    assert not kept
    second, kept = cache.data_of(figure, SETTINGS, tmp_path)
    assert kept
    assert len(calls) == 1
    assert np.array_equal(first["x"], second["x"])
    cache.data_of(figure, SETTINGS, tmp_path, recompute=True)
    cache.data_of(figure, Settings(seed=4), tmp_path)
    cache.data_of(figure, SETTINGS, tmp_path, parameters={"count": 2})
    assert len(calls) == 4
    assert not list(tmp_path.glob(".*"))  # what is written in part goes by another name, and goes away


@pytest.mark.parametrize("damage", ["cut off", "empty", "another number", "no digest", "a folder"])
def test_damaged_data_are_computed_again_and_named(tmp_path, damage, caplog):
    calls = []
    figure = counting(find("geometry"), calls)
    cache.data_of(figure, SETTINGS, tmp_path)
    (file,) = tmp_path.glob("*.npz")
    with np.load(file) as arrays:
        held = dict(arrays)
    if damage == "another number":
        np.savez(file, **{**held, "x": held["x"] + 1})
    elif damage == "no digest":
        np.savez(file, x=held["x"])
    elif damage == "a folder":
        file.unlink()
        file.mkdir()
    else:
        file.write_bytes(file.read_bytes()[:40] if damage == "cut off" else b"")
    if damage == "a folder":
        with pytest.raises(IsADirectoryError) as caught:
            cache.data_of(figure, SETTINGS, tmp_path)
        assert caught.value.filename == str(file)
        return
    data, kept = cache.data_of(figure, SETTINGS, tmp_path)
    assert not kept
    assert list(data) == ["x"]
    assert caplog.messages == [f"{file} is damaged: its data are computed again"]
    assert cache.data_of(figure, SETTINGS, tmp_path)[1]


def test_inputs_decide_over_the_cache(tmp_path):
    table = tmp_path / "results.parquet"
    table.write_bytes(b"one")
    figure = replace(find("geometry"), inputs=lambda: (table,))
    before = cache.key(figure, SETTINGS, {})
    table.write_bytes(b"two")
    assert cache.key(figure, SETTINGS, {}) != before


def test_data_depend_on_what_is_imported_and_not_on_what_only_draws():
    files = {path.name for path in imported_files("paper_figures.geometry", looks=cache._LOOKS)}
    assert {"geometry.py", "kernel.py", "_rotation.py", "controls.py"} <= files
    assert not {"style.py", "stationary.py", "quality.py"} & files
