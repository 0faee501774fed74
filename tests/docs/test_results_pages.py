"""Tables in the documents are those of the recorded results, and the ledger is the one that is expected."""

import html
import re
import sys
from pathlib import Path

from image_exps.samplers.pipeline_sampler import LML_OPTIONS
from image_exps.sweeps.standings import standings_table
from image_exps.sweeps.store import COLUMNS, read_results
from image_exps.sweeps.tables import quality_table
from theory_checks.ledger.claim import Verdict
from theory_checks.ledger.family import find_claims

ROOT = Path(__file__).parents[2]
RESULTS = (ROOT / "docs/explanation/results.md").read_text(encoding="utf-8")
sys.path.insert(0, str(ROOT / "docs"))
import ledger_table  # noqa: E402


def test_the_ledger_is_the_one_that_is_expected():
    page = ledger_table.PAGE.read_text(encoding="utf-8")
    assert ledger_table.with_table(page) == page, "run: python docs/ledger_table.py"
    rows = re.findall(r"^\| ([A-Z]\d+[a-z]?) \| (.*) \| ([A-Z ]+) \|$", page, re.M)
    assert [(claim, verdict) for claim, _, verdict in rows] == [(c.id, str(c.expected)) for c in find_claims()]
    assert {verdict for _, _, verdict in rows} <= set(Verdict)
    assert html.unescape(page) == page


def shown_tables(mark):
    """Return the tables of arms against evaluations of which an entry has ``mark``: evaluations, lines of the arms."""
    found = re.findall(r"^\| evaluations \|(.*)\|\n\| ---.*\n((?:\|.*\|\n)+)", RESULTS, re.M)
    return [([int(n) for n in head.split("|")], rows.splitlines()) for head, rows in found if mark in rows]


#: The tables of sweeps that are shown, in their order: sweep, target, model, distance.
SHOWN = (("table1", "digits", "exact", "frechet"), ("networks", "fashion-mnist", "network", "endpoint-rmse"))


def test_tables_of_sweeps_are_those_of_the_recorded_results():
    for (evaluations, rows), (sweep, target, model, distance) in zip(shown_tables(" ± "), SHOWN, strict=True):
        results = read_results(ROOT / f"image_exps/results/{sweep}/results.parquet")
        results = results[results["evaluations"].isin(evaluations)]
        made = quality_table(results, target=target, model=model, distance=distance).to_markdown().splitlines()
        assert len(rows) > 5
        assert set(rows) <= set(made)


def test_the_standings_are_those_of_the_recorded_results():
    ((evaluations, rows),) = shown_tables(" to ")
    arms = [row.split("|")[1].strip() for row in rows]
    results = read_results(ROOT / "image_exps/results/spacings/results.parquet")
    made = standings_table(results, distance="endpoint-rmse", arms=arms, evaluations=evaluations)
    assert len(rows) > 5
    assert made.splitlines()[2:] == rows


def test_before_and_after_are_those_of_the_recorded_results():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    with_lml, without = re.search(r"In 8 steps LML ends ([\d.]+) from .*?, DDIM ([\d.]+)", readme, re.S).groups()
    results = read_results(ROOT / "image_exps/results/networks/results.parquet")
    one = results[
        (results["target"] == "fashion-mnist")
        & (results["model"] == "network")
        & (results["distance"] == "endpoint-rmse")
        & (results["evaluations"] == 8)
    ].set_index("arm")["value"]
    assert (with_lml, without) == (f"{one['ddim/lml']:.3f}", f"{one['ddim']:.3f}")


def test_the_page_of_formats_has_every_column_of_a_sweep():
    page = (ROOT / "docs/reference/formats.md").read_text(encoding="utf-8")
    table = page[page.index("## A sweep") : page.index("## A judge's verdict")]
    named = [name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(COLUMNS)


def test_the_page_of_schedulers_has_every_option():
    page = (ROOT / "docs/reference/schedulers.md").read_text(encoding="utf-8")
    table = page[page.index("## Options") : page.index("## Why these defaults")]
    named = [name for row in re.findall(r"^\| (`.*?) \|", table, re.M) for name in re.findall(r"`(\w+)`", row)]
    assert sorted(named) == sorted(LML_OPTIONS)
