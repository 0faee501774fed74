"""What the README shows is what the toolkit does."""

import html
import re
from pathlib import Path

import pytest
import torch

from image_exps.sweeps.standings import standings_table
from image_exps.sweeps.store import read_results
from image_exps.sweeps.tables import quality_table
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.family import find_claims
from theory_checks.ledger.typeset import typeset

ROOT = Path(__file__).parents[1]
README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", README, re.S)


def test_the_ledger_is_the_one_that_is_expected():
    rows = re.findall(r"^\| ([A-Z]\d+[a-z]?) \| (.*) \| ([A-Z ]+) \|$", README, re.M)
    shown = {claim: (statement, verdict) for claim, statement, verdict in rows}
    expected = {
        c.id: (html.unescape(str(typeset(c.statement))).replace("|", "\\|"), str(c.expected)) for c in find_claims()
    }
    assert shown == expected
    assert {verdict for _, verdict in shown.values()} <= set(Verdict)


def shown_tables(mark):
    """Return the tables of arms against evaluations of which an entry has ``mark``: evaluations, lines of the arms."""
    found = re.findall(r"^\| evaluations \|(.*)\|\n\| ---.*\n((?:\|.*\|\n)+)", README, re.M)
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


@pytest.mark.filterwarnings(
    r"ignore:__array__ implementation doesn't accept a copy keyword:DeprecationWarning:diffusers\.schedulers"
)
@pytest.mark.filterwarnings("ignore:`algorithm_types dpmsolver:FutureWarning")
def test_the_pipelines_in_three_lines(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    pytest.importorskip("diffusers")
    names = {}
    (made,) = [b for b in BLOCKS if "ExactDenoiser" in b]
    (block,) = [b for b in BLOCKS if "pipe.scheduler" in b and "Tuned" not in b]
    (tuned,) = [b for b in BLOCKS if "Tuned" in b]
    exec(made.replace("num_inference_steps=10", "num_inference_steps=2"), names)
    assert (tmp_path / "emoji.png").is_file()
    exec(block, names)
    pipe = names["pipe"]
    assert type(pipe.scheduler).__name__ == "LMLDPMSolverMultistepScheduler"
    assert (pipe.scheduler.config.algorithm_type, pipe.scheduler.config.solver_order) == ("dpmsolver", 3)
    pipe.set_progress_bar_config(disable=True)
    picture = pipe(num_inference_steps=4, generator=torch.Generator().manual_seed(0), output_type="np").images
    assert picture.shape == (1, 32, 32, 3)
    exec(tuned, names)
    assert type(pipe.scheduler).__name__ == "LMLTunedDDIMScheduler"
    assert names["pictures"][0].size == (32, 32)


def test_the_claim_of_your_own_holds():
    (block,) = [b for b in BLOCKS if "FAMILY" in b]
    names = {}
    exec(block, names)
    (claim,) = names["FAMILY"].claims
    assert claim.check(Settings()).verdict is claim.expected is Verdict.HOLDS


def test_the_exact_world_gives_pictures():
    (block,) = [b for b in BLOCKS if "toy.noise_model" in b]
    names = {}
    exec(block.replace("(16, q.dim)", "(2, q.dim)"), names)
    pictures = names["pictures"]
    assert pictures.shape == (2, 3, 32, 32)
    # A sample of a data set ends on a picture of it, up to the noise of the last level.
    distance = (torch.cdist(pictures.flatten(1), names["q"].points).amin(1) / 3072**0.5).max()
    assert float(distance) < 0.05
