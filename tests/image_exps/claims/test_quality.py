"""Claims Q1 and Q2 and their faults."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fault_cases import kills

from image_exps.claims import FAMILY
from image_exps.claims.faults import REDUCED
from image_exps.claims.pictures import ROWS, arm_pictures, draw_arm_pictures, emoji_benchmark
from image_exps.claims.quality import check_attribution, check_gain
from image_exps.problems.endpoints import EVALUATIONS, compared_corrections, flow_benchmark
from lml.correction import LML
from theory_checks.ledger.claim import Settings, Verdict
from theory_checks.ledger.family import find_claims
from theory_checks.ledger.faults import injected
from theory_checks.ledger.plotting import to_svg

EXPECTED = {name: FAMILY.claim(name).expected for name in ("Q1", "Q2")}
KILLS = [pytest.param(fault, claim, id=f"{claim}-{fault.name}") for fault, claim in kills("Q1", "Q2")]
CHECKS = {name: REDUCED[name] for name in EXPECTED}


def test_lml_brings_ddim_nearer_to_the_flow():
    finding = check_gain(Settings(), pictures=False)
    assert finding.verdict is EXPECTED["Q1"] is Verdict.HOLDS


def test_the_gain_is_the_extrapolations_and_the_distance_decides():
    finding = check_attribution(Settings())
    assert finding.verdict is EXPECTED["Q2"] is Verdict.CORRECTED
    # Noise takes samples away from the flow, and yet improves the moments of all of them.
    assert finding.figure("gain of element noise 10% over LML's").high < 0
    moments = [f for f in finding.figures if f.name.startswith("gain in Frechet distance of element noise")]
    assert moments[0].low > 0
    assert len(to_svg(FAMILY.claim("Q2").load_draw()(finding))) < 200_000


@pytest.mark.parametrize(("fault", "claim"), KILLS)
def test_an_injected_fault_turns_its_check_red(fault, claim):
    with injected(fault):
        finding = CHECKS[claim](Settings())
    assert finding.verdict is not EXPECTED[claim]


@pytest.mark.parametrize("claim", CHECKS)
def test_the_reduced_check_is_green_without_a_fault(claim):
    assert CHECKS[claim](Settings()).verdict is EXPECTED[claim]


def test_the_claims_are_plug_ins():
    assert {"Q1", "Q2"} <= {claim.id for claim in find_claims()}


@pytest.fixture(scope="module")
def grid():
    benchmark = emoji_benchmark(2, 0)
    rows = lambda: {name: arm for name, arm in compared_corrections(LML(), 2, 0).items() if name in ROWS}
    return benchmark, arm_pictures(benchmark, "ddim", "log-snr", rows)


def test_the_grid_holds_what_each_correction_makes_alone(grid):
    benchmark, data = grid
    # A product of 10 rows and one of 2 round differently in float32: no byte moves by more than one.
    for row, column in ((0, 0), (1, 2), (3, 1), (4, 1)):
        alone = benchmark.endpoints(
            "ddim", "log-snr", EVALUATIONS[column], compared_corrections(LML(), 2, 0)[ROWS[row]]
        )
        pixels = ((alone.clamp(-1, 1) + 1) * 127.5).round().view(2, 3, 32, 32).movedim(1, -1)
        assert np.abs(data["pictures"][row, column].astype(int) - pixels.numpy()).max() <= 1
    assert data["picture errors"].shape == (5, 4)
    assert (data["picture errors"][:, 3] == 0).all()


def test_the_grid_is_drawn_into_a_picture_of_moderate_size(grid):
    svg = to_svg(draw_arm_pictures(grid[1]))
    assert svg.count("<image") == 20
    assert len(svg) < 1_000_000


def test_endpoints_do_not_depend_on_the_batch():
    whole = flow_benchmark("digits", 12, (3,))
    x = whole.endpoints("ddim", "time", 5, compared_corrections(LML(), 12, 0)["random turn"])
    y = replace(whole, x=whole.x[:5]).endpoints("ddim", "time", 5, compared_corrections(LML(), 5, 0)["random turn"])
    # float64 products of another shape: rounding, amplified where a sample passes between two pictures.
    torch.testing.assert_close(y, x[:5], rtol=0, atol=1e-9)
