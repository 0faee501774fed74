import pandas as pd
from click.testing import CliRunner

from image_exps.judge.league import ENTRIES, Entry, main, row


def test_no_entry_stands_in_the_league_twice():
    assert len(set(ENTRIES)) == len(ENTRIES)


def test_what_cannot_be_judged_is_a_row_that_says_why(tmp_path):
    assert "cannot be imported" in row(Entry("no_such_package:Thing"), tmp_path)["remark"]


def test_rows_are_kept_and_a_second_run_takes_them_again(tmp_path):
    arguments = ["--out", str(tmp_path), "--match", "FlowMatchEulerDiscrete", "--only", "behaviour"]
    assert CliRunner().invoke(main, arguments).exit_code == 0
    (kept,) = (tmp_path / "answers").rglob("behaviour.json")
    before = kept.stat().st_mtime_ns
    assert CliRunner().invoke(main, arguments).exit_code == 0
    assert kept.stat().st_mtime_ns == before
    table = pd.read_parquet(tmp_path / "league.parquet")
    assert list(table["what"]) == ["diffusers:FlowMatchEulerDiscreteScheduler"]


def test_an_unknown_text_is_refused(tmp_path):
    done = CliRunner().invoke(main, ["--out", str(tmp_path), "--match", "no such entry"])
    assert done.exit_code == 2
