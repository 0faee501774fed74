"""Commands that are killed again and again, and go on, leave what an uninterrupted run leaves, byte for byte."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("kills", "seed"), [pytest.param(8, 0, id="a few kills"), pytest.param(50, 1, marks=pytest.mark.slow, id="fifty")]
)
@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_killed_runs_that_go_on_equal_an_uninterrupted_one(tmp_path, kills, seed):
    helper = ROOT / "tests/helpers/killed_runs.py"
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "LML_CACHE": str(tmp_path / "fits")}
    done = subprocess.run(
        [sys.executable, str(helper), str(tmp_path / "runs"), str(kills), str(seed)],
        env=environment, cwd=ROOT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    reports = [json.loads(line) for line in done.stdout.splitlines()]
    assert [report["command"] for report in reports] == ["sample", "sweep", "tune", "evaluate"]
    assert sum(report["kills"] for report in reports) == kills
    assert [report["differences"] for report in reports] == [[], [], [], []]
