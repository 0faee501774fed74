"""The pages of explanation: every sentence of advice has its claim, and tables are what was derived or recorded."""

import math
import re
from pathlib import Path

import pandas as pd
import pytest

from image_exps.sweeps import guided_stability
from image_exps.sweeps.norms import ROWS, controls, summary
from theory_checks.annealing.stability import SOLVERS, guidance_limit
from theory_checks.ledger.family import find_claims

FOLDER = Path(__file__).parents[2] / "docs/explanation"
PAGES = sorted(page for page in FOLDER.glob("*.md") if page.stem != "index")
ADVICE = (FOLDER / "theory-for-practitioners.md").read_text(encoding="utf-8")
HALF_RANGE = 10


@pytest.mark.parametrize("page", PAGES, ids=lambda path: path.stem)
def test_every_link_is_to_a_claim(page):
    linked = re.findall(r"\[(\w+)\]\(\.\./ledger/(\w+)\.md\)", page.read_text(encoding="utf-8"))
    assert linked
    assert all(shown == target for shown, target in linked)
    assert {shown for shown, _ in linked} <= {claim.id for claim in find_claims()}


def test_every_sentence_of_advice_has_its_claim():
    items = re.findall(r"^- (.*?)(?=\n- |\n\n|\Z)", ADVICE, re.M | re.S)
    assert len(items) > 15
    assert [item for item in items if "../ledger/" not in item] == []


def test_the_table_of_guidance_is_the_derived_one():
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in ADVICE.splitlines() if line[:1] == "|"]
    names = rows[0][1:]
    assert set(names) <= set(SOLVERS)
    for steps, *shown in rows[2:]:
        expected = [f"{guidance_limit(SOLVERS[name], HALF_RANGE / int(steps)):.1f}" for name in names]
        assert shown == expected


NORM = (FOLDER / "norm.md").read_text(encoding="utf-8")


def test_the_tables_of_norms_are_those_of_the_recorded_rows():
    rows = pd.read_csv(ROWS)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in NORM.splitlines() if line[:1] == "|"]
    assert [tuple(line) for line in lines if len(line) == 8][2:] == summary(rows)
    assert [line[1] for line in lines if len(line) == 2][2:] == [f"{value:.2f}" for value in controls(rows).values()]


def test_what_is_said_of_the_norms_in_words_is_what_was_recorded():
    rows = pd.read_csv(ROWS)
    ddim, others = rows[rows["base"] == "ddim"], rows[rows["base"] != "ddim"]
    nearer, further = ((frame["low of all"] > 0).sum() for frame in (ddim, others))
    assert f"certainly nearer in {nearer} of {len(ddim)} cases, at 95 % for all {len(rows)} at once" in _words(NORM)
    assert not (ddim["high of all"] < 0).any()
    alone = ddim[ddim["high"] < 0]
    assert set(zip(alone["target"], alone["spacing"], alone["evaluations"], strict=True)) == {
        ("digits", "time", 8),
        ("digits", "time", 10),
    }
    worse = int((others["high of all"] < 0).sum())
    assert f"certainly nearer in {further} of {len(others)} cases and certainly further in {worse}" in _words(NORM)
    ratio = (ddim["error extrapolated"] / ddim["error kept"]).map(math.log).groupby(ddim["evaluations"]).mean()
    assert ", ".join(f"{math.exp(x):.2f}" for x in ratio[:3]) + f" and {math.exp(ratio[20]):.2f}" in _words(NORM)


def test_the_table_of_the_guided_network_is_that_of_the_recorded_rows():
    text = (FOLDER / "guidance.md").read_text(encoding="utf-8")
    rows = pd.read_csv(guided_stability.ROWS)
    lines = [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line[:1] == "|"]
    assert [line for line in lines if len(line) == 5][2:] == [
        [str(row.steps), row.solver, f"{row.limit:.2f}", f"{row.predicted:.1f}", _scale(row)]
        for row in rows.itertuples()
    ]
    lost = rows[rows["loses"] < math.inf]
    ratio = lost["loses"] / lost["predicted"]
    assert f"they lose at {ratio.min():.1f} to {ratio.max():.1f} times the predicted one" in _words(text)
    assert set(rows[rows["loses"] == math.inf]["solver"]) == {"ddim"}
    broke = rows[(rows["steps"] == 10) & (rows["solver"] != "ddim")]["broke"]
    assert f"from scales of {broke.min():.0f} to {broke.max():.0f} on in 10 steps" in _words(text)
    for _, same in lost.groupby("steps"):
        assert same.loc[same["limit"].idxmin(), "solver"] == same.loc[same["loses"].idxmin(), "solver"]
    assert not (rows[rows["solver"] == "ddim"]["broke"] < math.inf).any()


def _scale(row):
    """Return the scale at which a solver loses to DDIM, which cannot lose to itself."""
    return "-" if row.solver == "ddim" else f"{row.loses:.1f}"


def _words(text):
    return " ".join(text.split())
