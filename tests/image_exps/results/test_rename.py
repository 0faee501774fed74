"""Results of earlier versions get present names, and every number stays the same to the last bit."""

import math

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner

from image_exps.evaluation.results import Result, write_results
from image_exps.results import rename
from image_exps.results.rename import main, new_arm, new_pipeline_name, rename_csv, rename_file, rename_markdown
from image_exps.samplers.arms import BASES, arm
from image_exps.samplers.corrections import CORRECTIONS
from image_exps.samplers.pipeline_sampler import pipeline_sampler
from image_exps.sweeps.grid import parse_grid
from image_exps.sweeps.store import read_results

ARMS = {
    "ddim": "ddim",
    "ddim/lml": "ddim/lml",
    "dpm-solver-3": "dpm-solver-3s",
    "dpm-solver-3m@time": "dpm-solver-3m@time",
    "dpm-solver++": "dpm-solver++-3m",
    "dpm-solver++-2m": "dpm-solver++-2m",
    "unipc@tuned": "unipc-3@tuned",
    "unipc-2": "unipc-2",
    "unipc@time/lml(damping=0.1, rank=2)": "unipc-3@time/lml(damping=0.1, rank=2)",
}
PIPELINES = {
    "": "",
    "ddim": "ddim",
    "lml-ddim": "ddim/lml",
    "tuned": "ddim@tuned/tuned",
    "unipc": "unipc-2",
    "lml-unipc": "unipc-2/lml",
    "lml-dpm-solver++": "dpm-solver++-3m/lml",
    "dpm-solver-3": "dpm-solver-3s",
}


@pytest.mark.parametrize("old", ARMS)
def test_an_arm_of_a_sweep_has_one_present_name(old):
    assert new_arm(old) == ARMS[old]
    assert new_arm(ARMS[old]) == ARMS[old]
    assert arm(new_arm(old)).correction in CORRECTIONS


@pytest.mark.parametrize("old", PIPELINES)
def test_a_sampler_of_pipelines_has_one_present_name(old):
    assert new_pipeline_name(old) == PIPELINES[old]
    assert new_pipeline_name(PIPELINES[old]) == PIPELINES[old]
    # Pipelines no longer run the learned setting; what was recorded of it keeps its name.
    assert old in ("", "tuned") or pipeline_sampler(new_pipeline_name(old), 5).name == PIPELINES[old]


def test_no_present_name_changes():
    assert [new_arm(name) for name in BASES] == list(BASES)


def old_rows():
    """Rows as the first format had them: keys of their own, numbers with NaN, of which no bit may change."""
    rng = np.random.default_rng(0)
    rows = [
        {"target": "ring-2d", "model": "exact", "arm": name, "evaluations": n, "seed": 0, "count": 20, "repeats": 5,
         "base": name.partition("/")[0].partition("@")[0], "distance": distance, "format": 1, "key": f"{name} {n}"}
        for name in ARMS for n in (5, 6) for distance in ("frechet", "endpoint-rmse")
    ]  # fmt: skip
    values = rng.normal(size=len(rows)) * 10.0 ** rng.integers(-300, 300, len(rows))
    values[::7] = math.nan
    return pd.DataFrame(rows).assign(value=values, damping=[math.nan, 1e-3] * (len(rows) // 2))


def test_rows_of_a_sweep_are_renamed_one_by_one_and_their_keys_are_those_of_a_grid(tmp_path):
    before, path = old_rows(), tmp_path / "results.parquet"
    before.to_parquet(path, index=False)
    assert rename_file(path)
    after = read_results(path)
    assert after["arm"].tolist() == [ARMS[name] for name in before["arm"]]
    assert after["base"].tolist() == [arm(name).base for name in after["arm"]]
    part = {"targets": ["ring-2d"], "arms": list(ARMS.values()), "evaluations": [5, 6], "count": 20, "repeats": 5,
            "distances": ["frechet", "endpoint-rmse"]}  # fmt: skip
    keys = {(cell.arm, cell.evaluations): cell.key for cell in parse_grid({"name": "x", "part": [part]}).cells}
    assert after["key"].tolist() == [keys[at] for at in zip(after["arm"], after["evaluations"], strict=True)]
    for column in ("value", "damping"):
        assert after[column].to_numpy().tobytes() == before[column].to_numpy().tobytes()
    assert after.drop(columns=["arm", "base", "key", "format"]).equals(
        before.drop(columns=["arm", "base", "key", "format"])
    )
    content = path.read_bytes()
    assert not rename_file(path)
    assert path.read_bytes() == content


def test_a_number_that_changed_on_the_way_is_refused_and_the_file_is_left_alone(tmp_path, monkeypatch):
    path = tmp_path / "results.parquet"
    old_rows().to_parquet(path, index=False)
    content = path.read_bytes()

    write = pq.write_table

    def careless(rows, file):
        place = rows.column_names.index("value")
        value = rows.column("value").to_pylist()
        value[1] = np.nextafter(value[1], math.inf)
        write(rows.set_column(place, "value", pa.array(value)), file)

    monkeypatch.setattr(rename.pq, "write_table", careless)
    with pytest.raises(ValueError, match=r"results\.parquet must hold .*column value must be the same to the last bit"):
        rename_file(path)
    assert path.read_bytes() == content
    assert [p.name for p in tmp_path.iterdir()] == ["results.parquet"]


def test_two_names_never_become_one(tmp_path):
    rows = old_rows()
    rows.loc[0, "arm"] = "dpm-solver-3s"
    rows.to_parquet(tmp_path / "mixed.parquet", index=False)
    with pytest.raises(ValueError, match="arm: two names must not become one"):
        rename_file(tmp_path / "mixed.parquet")


def test_results_of_pictures_are_renamed(tmp_path):
    path = tmp_path / "results.parquet"
    results = [Result("sd15", name, 10, "FID", 1.0 / (i + 3), math.nan, 2.0) for i, name in enumerate(PIPELINES)]
    write_results(results, path)
    before = pd.read_parquet(path)
    assert rename_file(path)
    after = pd.read_parquet(path)
    assert after["sampler"].tolist() == list(PIPELINES.values())
    assert after.drop(columns="sampler").equals(before.drop(columns="sampler"))


def test_names_in_csv_and_markdown_are_renamed_and_nothing_else_is():
    text = (
        "target,arm,best_baseline,value,note\n"
        "digits,unipc@time in twice the evaluations,dpm-solver-3@time,0.100,unipc\n"
        "digits,dpm-solver++-2m@log-snr,dpm-solver++@time,1e-300,\n"
    )
    assert rename_csv(text) == (
        "target,arm,best_baseline,value,note\n"
        "digits,unipc-3@time in twice the evaluations,dpm-solver-3s@time,0.100,unipc\n"
        "digits,dpm-solver++-2m@log-snr,dpm-solver++-3m@time,1e-300,\n"
    )
    page = (
        "| dpm-solver-3 | 1 |\n| dpm-solver-3m/lml | 2 |\nUniPC, `unipc`, DPM-Solver++ and `dpm-solver++@time/lml`.\n"
    )
    assert rename_markdown(page) == (
        "| dpm-solver-3s | 1 |\n| dpm-solver-3m/lml | 2 |\n"
        "UniPC, `unipc-3`, DPM-Solver++ and `dpm-solver++-3m@time/lml`.\n"
    )


def test_what_comes_with_the_package_has_present_names():
    done = CliRunner().invoke(main, [])
    assert done.exit_code == 0, done.output
    assert len(done.output.splitlines()) > 40
    assert ": renamed" not in done.output


def test_cells_of_a_sweep_that_goes_on_are_left_alone(tmp_path):
    (tmp_path / "cells").mkdir()
    for path in (tmp_path / "results.parquet", tmp_path / "cells" / "x.parquet"):
        old_rows().to_parquet(path, index=False)
    done = CliRunner().invoke(main, [str(tmp_path)])
    assert done.output == f"{tmp_path / 'results.parquet'}: renamed\n"


def test_a_file_that_holds_something_else_is_named(tmp_path):
    (tmp_path / "other.parquet").write_bytes(b"no rows")
    with pytest.raises(ValueError, match=r"other\.parquet must hold results of this package"):
        rename_file(tmp_path / "other.parquet")
